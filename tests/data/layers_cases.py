"""The cases of make_layers_golden.py: modules by the peer's own class names and keyword arguments, and their input.

A case has a name, modules (a list of {"class", "kwargs"}, the output of one being the input of the next), shape (T, B,
...) of the input x, and how x is drawn: {"uniform": [low, high]}, {"normal": [mean, sd]}, {"bernoulli": p} (spikes),
{"constant": c}, or {"held": [low, high]} (uniform, the same in every step). Optional entries:

gain : float
    factor on torch's initial weights, so that neurons fire
exact : bool
    weights are rounded to 1/64 and all else is dyadic as well, so float32 is exact and may meet the threshold
margin : float
    least distance of any voltage to a threshold
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, product
from typing import Any

Case = dict[str, Any]
STEPS, BATCH, NEURONS = 32, 2, 5
SHAPE = (STEPS, BATCH, NEURONS)
ODD = 0.7234  # a threshold that sums of a few spikes or ninths of spikes do not meet
MARGIN, CNN_MARGIN = 1e-4, 2e-5


def case(name: str, *modules: tuple[str, dict[str, Any]], shape: tuple[int, ...] = SHAPE, **rest: Any) -> Case:
    """One case from its modules, each (class, kwargs)."""
    listed = [{"class": kind, "kwargs": kwargs} for kind, kwargs in modules]
    return {"name": name, "modules": listed, "shape": list(shape), "margin": MARGIN, **rest}


def numbered(prefix: str, cases: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> Iterator[Case]:
    """Cases of one neuron each, (class, kwargs, x)."""
    for number, (kind, kwargs, x) in enumerate(cases):
        yield case(f"{prefix}_{number}", (kind, kwargs), x=x)


def drives(mean: float, several: int) -> list[dict[str, list[float]]]:
    """Uniform and normal inputs of a mean, in turn."""
    return [{"uniform": [-0.5 * mean, 2.5 * mean]}, {"normal": [mean, 2.0 * mean]}] * several


def spikingjelly_cases() -> Iterator[Case]:
    """IFNode, LIFNode and ParametricLIFNode, torch layers before an IFNode, and a chain."""
    yield case("document_if", ("IFNode", {}), shape=(150, 1), x={"constant": 0.5}, exact=True)
    yield case("document_heatmap", ("IFNode", {}), shape=(50, 32), x={"held": [0.0, 0.125]}, margin=1e-5)

    yield from numbered("if_default", [("IFNode", {}, x) for x in drives(0.3, 2)])
    grid = product((0.0, -0.2, None), (1.0, 0.5))
    settings = [{"v_reset": reset, "v_threshold": theta} for reset, theta in grid]
    xs = cycle(drives(0.3, 1))
    yield from numbered("if", [("IFNode", kwargs, x) for kwargs, x in zip(settings, xs, strict=False)])

    yield from numbered("lif_default", [("LIFNode", {}, x) for x in drives(1.2, 2)])
    grid = product((2.0, 3.5), (True, False), (0.0, -0.2, None), (1.0, 0.5))
    names = "tau", "decay_input", "v_reset", "v_threshold"
    settings = [dict(zip(names, values, strict=True)) for values in grid]
    lifs = []
    for number, kwargs in enumerate(settings):
        mean = kwargs["v_threshold"] * (0.6 * kwargs["tau"] if kwargs["decay_input"] else 0.5)
        lifs.append(("LIFNode", kwargs, drives(mean, 1)[number % 2]))
    yield from numbered("lif", lifs)

    plifs = [{}, {"init_tau": 3.5}, {"init_tau": 2.5, "decay_input": False, "v_reset": None}, {"init_tau": 5.0}]
    yield from numbered(
        "plif", [("ParametricLIFNode", kwargs, x) for kwargs, x in zip(plifs, cycle(drives(2.0, 1)), strict=False)]
    )

    soft = "IFNode", {"v_reset": None}
    yield from layer_cases(soft, ("IFNode", {"v_reset": None, "v_threshold": ODD}))
    yield case(
        "chain",
        ("Linear", {"in_features": 40, "out_features": 30}),
        ("LIFNode", {}),
        ("Linear", {"in_features": 30, "out_features": 10, "bias": False}),
        ("LIFNode", {"tau": 3.5, "v_reset": None, "decay_input": False}),
        shape=(STEPS, BATCH, 40), x={"bernoulli": 0.3}, gain=5.0,
    )  # fmt: skip


def layer_cases(neuron: tuple[str, dict[str, Any]], odd_neuron: tuple[str, dict[str, Any]]) -> Iterator[Case]:
    """Each torch layer on spikes, before a neuron (odd_neuron: the same with the threshold ODD)."""

    def of(name: str, kind: str, kwargs: dict[str, Any], *shape: int, last: tuple = neuron, **rest: Any) -> Case:
        return case(name, (kind, kwargs), last, shape=(16, BATCH, *shape), x={"bernoulli": 0.3}, **rest)

    def conv(**kwargs: Any) -> dict[str, Any]:
        return {"in_channels": 2, "out_channels": 4, "kernel_size": 3, **kwargs}

    linear = {"in_features": 12, "out_features": 8}
    yield of("linear_bias", "Linear", linear, 12, gain=1.5)
    yield of("linear_no_bias", "Linear", {**linear, "bias": False}, 12, gain=1.5)
    yield of("linear_exact", "Linear", linear, 12, gain=1.5, exact=True)
    yield of("conv1d", "Conv1d", conv(out_channels=3), 2, 9, gain=1.5)
    yield of("conv1d_strided", "Conv1d", conv(stride=2, padding=2, dilation=2, groups=2), 2, 12, gain=1.5)
    yield of("conv2d", "Conv2d", conv(), 2, 6, 5, gain=1.5)
    yield of("conv2d_no_bias", "Conv2d", conv(bias=False, padding=1), 2, 4, 5, gain=1.5)
    yield of("conv2d_stride", "Conv2d", conv(stride=2, padding=1), 2, 6, 5, gain=1.5)
    yield of("conv2d_padding", "Conv2d", conv(padding=2, stride=2), 2, 5, 4, gain=1.5)
    yield of("conv2d_dilation", "Conv2d", conv(dilation=2, padding=1), 2, 6, 7, gain=1.5)
    yield of("conv2d_oblong", "Conv2d", conv(kernel_size=[3, 2], stride=[2, 1], padding=[1, 0]), 2, 6, 5, gain=1.5)
    yield of("conv2d_groups", "Conv2d", conv(groups=2, in_channels=4), 4, 5, 5, gain=1.5)
    yield of("conv2d_depthwise", "Conv2d", conv(groups=3, in_channels=3, out_channels=3), 3, 5, 5, gain=1.5)
    yield of("avg_pool", "AvgPool2d", {"kernel_size": 2}, 2, 6, 5, exact=True)
    yield of("avg_pool_padded", "AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, 2, 6, 6, last=odd_neuron)
    yield of("max_pool", "MaxPool2d", {"kernel_size": 2}, 2, 6, 5, exact=True)
    yield of("max_pool_padded", "MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, 2, 6, 6, last=odd_neuron)
    yield of("flatten", "Flatten", {}, 2, 3, 2, exact=True)


def sinabs_cases() -> Iterator[Case]:
    """IAF, LIF, ExpLeak, ALIF and the recurrent ones, layers before an IAF, and a converted network."""
    thresholds, bounds, taus = cycle((1.0, 0.5, 1.0)), cycle((None, -1.0, 0.0, -1.0)), cycle((20.0, 5.0, 8.0))
    fires = ("MultiSpike", "MembraneSubtract"), ("SingleSpike", "MembraneReset")
    all_fires = list(product(*zip(*fires, strict=True)))

    def common(fire: tuple[str, str], tau_syn: float | None) -> dict[str, Any]:
        theta, low = next(thresholds), next(bounds)
        common = {"spike_fn": fire[0], "reset_fn": fire[1], "spike_threshold": theta, "min_v_mem": low}
        return common if tau_syn is None else {**common, "tau_syn": tau_syn}

    def x(kwargs: dict[str, Any], number: int) -> dict[str, Any]:
        mean = 0.4 * kwargs.get("spike_threshold", 1.0) / (3.0 if "tau_syn" in kwargs else 1.0)
        if kwargs.get("norm_input"):
            mean *= 0.3 * kwargs["tau_mem"]
        return drives(mean, 1)[number % 2]

    for kind, prefix, kwargs in (("IAF", "iaf", {}), ("LIF", "lif", {"tau_mem": 20.0})):
        mean = 0.4 if kind == "IAF" else 2.0
        yield from numbered(f"{prefix}_default", [(kind, kwargs, drive) for drive in drives(mean, 2)])
    iafs = [common(fire, tau_syn) for tau_syn, fire in product((None, 4.0), all_fires)]
    yield from numbered("iaf", [("IAF", kwargs, x(kwargs, n)) for n, kwargs in enumerate(iafs)])
    grid = product((True, False), (None, 4.0), all_fires)
    lifs = [{"tau_mem": next(taus), "norm_input": norm, **common(fire, tau)} for norm, tau, fire in grid]
    yield from numbered("lif", [("LIF", kwargs, x(kwargs, n)) for n, kwargs in enumerate(lifs)])

    leaks = [{"tau_mem": 10.0, "norm_input": norm, "min_v_mem": low} for norm in (False, True) for low in (None, -0.5)]
    yield from numbered("exp_leak", [("ExpLeak", kwargs, {"normal": [0.0, 0.8]}) for kwargs in leaks])

    grid = product((True, False), (None, 4.0), (*fires, ("SingleSpike", "MembraneSubtract")))
    alifs = [{"tau_mem": 20.0, "tau_adapt": 15.0, "norm_input": norm, **common(fire, tau)} for norm, tau, fire in grid]
    alifs += [{"tau_mem": 20.0, "tau_adapt": 10.0, "adapt_scale": 0.6, "norm_input": False}]
    drive = [x(kwargs, n) for n, kwargs in enumerate(alifs)]
    for kwargs, one in zip(alifs, drive, strict=True):
        if kwargs["norm_input"]:  # with tau_syn the kept current is small: see make_layers_golden.py
            kwargs["tau_mem"] = 4.0
            one.update({law: [4.0 * value for value in values] for law, values in one.items()})
    yield from numbered("alif", [("ALIF", *both) for both in zip(alifs, drive, strict=True)])

    linear = {"class": "Linear", "kwargs": {"in_features": NEURONS, "out_features": NEURONS}}
    for kind, prefix, extra in (("IAFRecurrent", "iaf", {}), ("LIFRecurrent", "lif", {"tau_mem": 10.0})):
        settings = [{**extra}, *({**extra, **common(*both)} for both in zip(fires, (None, 4.0), strict=True))]
        for number, kwargs in enumerate(settings):
            drive = x({**kwargs, "norm_input": bool(extra)}, number)
            yield case(f"{prefix}_recurrent_{number}", (kind, {**kwargs, "rec_connect": linear}), x=drive, gain=0.5)

    odd = "IAF", {"spike_threshold": ODD}
    kept = "linear_bias", "conv1d_strided", "conv2d_padding", "conv2d_depthwise", "avg_pool", "avg_pool_padded"
    yield from (made for made in layer_cases(("IAF", {"min_v_mem": -1.0}), odd) if made["name"] in kept)
    pool = {"shape": (16, BATCH, 2, 6, 5), "x": {"bernoulli": 0.3}}
    yield case("sum_pool", ("SumPool2d", {"kernel_size": 2}), ("IAF", {"spike_threshold": 1.5}), exact=True, **pool)
    yield case("sum_pool_strided", ("SumPool2d", {"kernel_size": 3, "stride": 2}), odd, **pool)
    yield cnn_case()


def cnn_case() -> Case:
    """The document's network made small; from_model gives its neurons min_v_mem = -1."""
    neuron = "IAF", {"min_v_mem": -1.0}
    modules: list[tuple[str, dict[str, Any]]] = []
    for size_in, size_out, kernel in ((1, 4, 5), (4, 6, 5), (6, 8, 3)):
        conv = {"in_channels": size_in, "out_channels": size_out, "kernel_size": kernel, "bias": False}
        modules += [("Conv2d", conv), neuron, ("AvgPool2d", {"kernel_size": 2})]
    modules += [("Flatten", {}), ("Linear", {"in_features": 8, "out_features": 10, "bias": False}), neuron]
    shape = (20, BATCH, 1, 28, 28)
    return case("cnn", *modules, shape=shape, x={"bernoulli": 0.3}, gain=3.0, margin=CNN_MARGIN, from_model=True)


def snntorch_cases() -> Iterator[Case]:
    """Leaky and Synaptic."""
    leaky = [
        {"beta": beta, "threshold": theta, "reset_mechanism": reset}
        for beta, theta, reset in product((0.9, 0.5), (1.0, 0.5), ("subtract", "zero", "none"))
    ]
    xs = cycle(drives(0.3, 1))
    yield from numbered("leaky_default", [("Leaky", {"beta": 0.9}, x) for x in drives(0.3, 2)])
    yield from numbered("leaky", [("Leaky", kwargs, x) for kwargs, x in zip(leaky, xs, strict=False)])
    synaptic = [
        {"alpha": alpha, "beta": beta, "threshold": theta, "reset_mechanism": reset}
        for (alpha, beta), theta, reset in product(((0.8, 0.9), (0.5, 0.7)), (1.0, 0.5), ("subtract", "zero", "none"))
    ]
    xs = cycle(drives(0.1, 1))
    yield from numbered("synaptic", [("Synaptic", kwargs, x) for kwargs, x in zip(synaptic, xs, strict=False)])


CASES = {"spikingjelly": spikingjelly_cases, "sinabs": sinabs_cases, "snntorch": snntorch_cases}
