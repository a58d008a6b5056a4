"""The cases of make_gradients_golden.py, in the words of layers_cases.py.

A neuron's keyword "surrogate" is {"class", "kwargs"}: a class of SpikingJelly's or sinabs' or, for FastSigmoid,
snnTorch's fast_sigmoid. Further optional entries of a case:

clipped : bool
    some v must end a step at min_v_mem
no_silent_window : bool
    no window of a SumPool2d may be without spikes: PyTorch gives such a window the gradient 0
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, pairwise, product
from typing import Any

from layers_cases import ODD, Case
from layers_cases import case as layers_case

STEPS, BATCH = 10, 3
INPUTS, HIDDEN, OUTPUTS = 12, 9, 6
SPIKES = {"bernoulli": 0.3}
ANALOG = {"normal": [0.2, 0.8]}
CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stride": {"stride": 2, "padding": 1},
    "padding": {"padding": 2, "stride": 2, "bias": False},
    "dilation": {"dilation": 2, "padding": 1},
    "oblong": {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0]},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "padding": 1},
}

Module = tuple[str, dict[str, Any]]


def case(name: str, *modules: Module, size: tuple[int, ...] = (INPUTS,), steps: int = STEPS, **rest: Any) -> Case:
    """A case of so many steps; spikes at the input, and weights half as large again, unless told otherwise."""
    return layers_case(name, *modules, **{"shape": (steps, BATCH, *size), "x": SPIKES, "gain": 1.5, **rest})


def surrogate(kind: str, **kwargs: float) -> dict[str, Any]:
    """A surrogate as a neuron's keyword has it."""
    return {"surrogate": {"class": kind, "kwargs": kwargs}}


def linear(size_in: int = INPUTS, size_out: int = HIDDEN, **kwargs: Any) -> Module:
    """A Linear."""
    return "Linear", {"in_features": size_in, "out_features": size_out, **kwargs}


def conv2d(size_in: int, size_out: int, kernel_size: int = 3, **kwargs: Any) -> Module:
    """A Conv2d."""
    return "Conv2d", {"in_channels": size_in, "out_channels": size_out, "kernel_size": kernel_size, **kwargs}


def in_turn(prefix: str, cases: Iterator[tuple[tuple[Module, ...], dict[str, Any]]]) -> Iterator[Case]:
    """Numbered cases, with spikes and analog values at the input in turn."""
    for number, (modules, rest) in enumerate(cases):
        yield case(f"{prefix}_{number}", *modules, **{"x": (SPIKES, ANALOG)[number % 2], **rest})


def spikingjelly_cases() -> Iterator[Case]:
    """IFNode, LIFNode and ParametricLIFNode with each reset and surrogate, chains, and each torch layer."""
    shapes = [
        surrogate("ATan", alpha=2.0),
        surrogate("Sigmoid", alpha=4.0),
        surrogate("PiecewiseQuadratic", alpha=1.0),
        surrogate("SoftSign", alpha=2.0),
        surrogate("FastSigmoid", slope=5.0),
    ]
    turns, thresholds = cycle(shapes), cycle((1.0, 0.5, ODD))

    def neuron(kind: str, **kwargs: Any) -> Module:
        return kind, {"v_threshold": next(thresholds), **next(turns), **kwargs}

    resets = [{"v_reset": reset, "detach_reset": detach} for reset, detach in product((0.0, None, -0.2), (False, True))]
    yield from in_turn("if", (((linear(), neuron("IFNode", **reset)), {}) for reset in resets))
    lifs = [
        {"tau": (2.0, 3.5)[number % 2], "decay_input": decay, **reset}
        for number, (reset, decay) in enumerate(product(resets, (True, False)))
    ]
    yield from in_turn("lif", (((linear(), neuron("LIFNode", **lif)), {"gain": 3.0}) for lif in lifs))
    plifs = [
        {"init_tau": (2.0, 3.5, 2.5)[number % 3], "decay_input": decay, **reset}
        for number, (reset, decay) in enumerate(zip(resets, cycle((True, True, False)), strict=False))
    ]
    yield from in_turn("plif", (((linear(), neuron("ParametricLIFNode", **plif)), {"gain": 3.0}) for plif in plifs))

    more = [
        surrogate("ATan", alpha=5.0),
        surrogate("Sigmoid", alpha=2.0),
        surrogate("PiecewiseQuadratic", alpha=0.6),
        surrogate("SoftSign", alpha=4.0),
        surrogate("FastSigmoid", slope=25.0),
        surrogate("PiecewiseExp", alpha=1.5),
        surrogate("Erf", alpha=2.0),
    ]
    for number, shape in enumerate(shapes + more):
        kwargs = {"v_threshold": (1.0, 0.5)[number % 2], **shape}
        layers = linear(), ("LIFNode", kwargs), linear(HIDDEN, OUTPUTS), ("LIFNode", kwargs)
        yield case(f"surrogate_{number}_{shape['surrogate']['class']}", *layers, gain=3.0)

    default = surrogate("ATan", alpha=2.0)
    node, soft = ("LIFNode", default), ("LIFNode", {"v_reset": None, **default})
    yield case("neurons_alone", ("LIFNode", {"detach_reset": True, **default}), x={"normal": [1.0, 2.0]})
    yield case("one_step", linear(), node, linear(HIDDEN, OUTPUTS), node, steps=1, gain=4.0)
    yield case("long", linear(), soft, linear(HIDDEN, OUTPUTS), node, steps=60, gain=3.0)
    yield case("analog_output", linear(), node, linear(HIDDEN, OUTPUTS), gain=3.0)
    chain = linear(), node, linear(HIDDEN, 8, bias=False), soft, linear(8, OUTPUTS), ("IFNode", default)
    yield case("chain_3", *chain, gain=3.5)
    yield case("chain_3_analog", *chain, x=ANALOG, gain=3.5)
    learned = ("ParametricLIFNode", default), ("ParametricLIFNode", {"init_tau": 3.0, "v_reset": None, **default})
    yield case("chain_plif", linear(), learned[0], linear(HIDDEN, OUTPUTS), learned[1], gain=3.5)
    yield from layer_cases(("IFNode", {"v_threshold": ODD, **default}), ("IFNode", {"v_reset": None, **default}))


def layer_cases(first: Module, last: Module) -> Iterator[Case]:
    """Each torch layer between spiking neurons, so that gradients pass it, and one on analog input."""
    image = {"size": (2, 6, 6), "steps": 8, "gain": 2.5}
    before = conv2d(2, 4, padding=1), first
    for name, kwargs in CONVOLUTIONS.items():
        yield case(f"conv2d_{name}", *before, conv2d(4, 4, **kwargs), last, **image)
    yield case("conv2d_analog", conv2d(2, 3, stride=2, padding=1), last, **{**image, "x": ANALOG, "steps": 4})
    row, one = {"size": (2, 11), "steps": 8, "gain": 2.5}, {"in_channels": 4, "kernel_size": 3}
    conv1d = ("Conv1d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1}), first
    yield case("conv1d", *conv1d, ("Conv1d", {**one, "out_channels": 3}), last, **row)
    odd = {"out_channels": 4, "stride": 2, "padding": 2, "dilation": 2, "groups": 2, "bias": False}
    yield case("conv1d_strided", *conv1d, ("Conv1d", {**one, **odd}), last, **row)
    padded = {"kernel_size": 3, "stride": 2, "padding": 1}
    for kind in ("AvgPool2d", "MaxPool2d"):
        small = kind[:3].lower()
        yield case(f"{small}_pool", *before, (kind, {"kernel_size": 2}), conv2d(4, 3), last, **image)
        yield case(f"{small}_pool_padded", *before, (kind, padded), conv2d(4, 3), last, **image)
        to_neurons = (kind, {"kernel_size": 2}), (last[0], {**last[1], "v_threshold": ODD})
        yield case(f"{small}_pool_to_neurons", *before, *to_neurons, **image)
    yield case("flatten", *before, ("Flatten", {}), linear(64, OUTPUTS), last, **{**image, "size": (2, 4, 4)})


def sinabs_cases() -> Iterator[Case]:
    """IAF and LIF with each reset and surrogate, recurrent ones, ExpLeak at the end, pools, and two networks."""
    thresholds, bounds, taus = cycle((1.0, 0.5, ODD)), cycle((None, -0.25, -0.5)), cycle((20.0, 5.0, 8.0))
    turns = cycle([surrogate("SingleExponential", **kwargs) for kwargs in ({}, {"grad_width": 1.2, "grad_scale": 0.7})])
    fires = list(product(("MultiSpike", "SingleSpike"), ("MembraneSubtract", "MembraneReset")))

    def neuron(kind: str, fire: tuple[str, str], tau_syn: float | None, **kwargs: Any) -> tuple[Module, dict[str, Any]]:
        """The neuron and what its case needs beside."""
        made = {"spike_fn": fire[0], "reset_fn": fire[1], "spike_threshold": next(thresholds), **next(turns), **kwargs}
        low = next(bounds)
        made |= {} if low is None else {"min_v_mem": low}
        made |= {} if tau_syn is None else {"tau_syn": tau_syn}
        gain = (10.0 if kwargs.get("norm_input", kind.startswith("LIF")) else 2.5) / (1.0 if tau_syn is None else 2.0)
        return (kind, made), {"clipped": low is not None, "gain": gain}

    def behind_linear(*made: Any, **kwargs: Any) -> tuple[tuple[Module, ...], dict[str, Any]]:
        module, rest = neuron(*made, **kwargs)
        return (linear(), module), rest

    grid = list(product((None, 4.0), fires))
    yield from in_turn("iaf", (behind_linear("IAF", fire, tau_syn) for tau_syn, fire in grid))
    yield from in_turn(
        "lif",
        (
            behind_linear("LIF", fire, tau_syn, tau_mem=next(taus), norm_input=norm)
            for norm, (tau_syn, fire) in product((True, False), grid)
        ),
    )

    shapes = [
        surrogate("SingleExponential", grad_width=0.2),
        surrogate("SingleExponential", grad_width=1.0, grad_scale=2.0),
        surrogate("PeriodicExponential", grad_width=0.4),
        surrogate("Gaussian", sigma=0.4),
        surrogate("MultiGaussian"),
    ]
    for number, shape in enumerate(shapes):
        kwargs = {"spike_threshold": (1.0, 0.5)[number % 2], **shape}
        layers = linear(), ("IAF", kwargs), linear(HIDDEN, OUTPUTS), ("LIF", {"tau_mem": 6.0, **kwargs})
        yield case(f"surrogate_{number}_{shape['surrogate']['class']}", *layers, gain=4.0)

    default = surrogate("SingleExponential")
    iaf = "IAF", default
    for number, (norm, low) in enumerate(product((False, True), (None, -0.1))):
        leak = {"tau_mem": 8.0, "norm_input": norm, **({} if low is None else {"min_v_mem": low})}
        layers = linear(), iaf, linear(HIDDEN, OUTPUTS), ("ExpLeak", leak)
        yield case(f"exp_leak_{number}", *layers, gain=2.5, clipped=low is not None)
    yield case("exp_leak_alone", ("ExpLeak", {"tau_mem": 4.0, "min_v_mem": -0.5}), x=ANALOG, clipped=True)

    again = {"rec_connect": {"class": "Linear", "kwargs": {"in_features": HIDDEN, "out_features": HIDDEN}}}
    settings = product((("IAFRecurrent", {}), ("LIFRecurrent", {"tau_mem": 10.0})), ((None, 0), (None, 3), (4.0, 1)))
    for number, ((kind, kwargs), (tau_syn, fire)) in enumerate(settings):
        module, rest = neuron(kind, fires[fire], tau_syn, **kwargs, **again)
        rest["gain"] = min(rest["gain"], 4.0)
        yield case(f"recurrent_{number}", linear(), module, linear(HIDDEN, OUTPUTS), iaf, **rest)
    yield case("recurrent_alone", ("IAFRecurrent", {**again, **default}), size=(HIDDEN,), x={"normal": [0.3, 0.6]})

    image = {"size": (2, 6, 6), "steps": 8, "gain": 2.5}
    before = conv2d(2, 4, padding=1), ("IAF", {"spike_threshold": ODD, **default})
    single = conv2d(2, 4, padding=1), ("IAF", {"spike_fn": "SingleSpike", **default})
    yield case("avg_pool", *before, ("AvgPool2d", {"kernel_size": 2}), conv2d(4, 3), iaf, **image)
    yield case("max_pool", *single, ("MaxPool2d", {"kernel_size": 2}), conv2d(4, 3), iaf, **image)
    pool = "SumPool2d", {"kernel_size": 2, "stride": 1}
    after = conv2d(2, 3, padding=1), pool, iaf
    yield case("sum_pool_overlapping", *after, **{**image, "gain": 1.0})
    many = {"no_silent_window": True, "size": (2, 4, 4), "steps": 6, "gain": 4.0, "x": {"bernoulli": 0.6}}
    layers = conv2d(2, 2, padding=1), ("IAF", {"spike_threshold": 0.25, **default}), ("SumPool2d", {"kernel_size": 2})
    yield case("sum_pool", *layers, ("Flatten", {}), linear(8, OUTPUTS), iaf, **many)
    yield cnn_case(default)
    yield rows_case(default)


def cnn_case(default: dict[str, Any]) -> Case:
    """Convolutions and pools as in the document's network, made small."""
    neuron = "IAF", {"min_v_mem": -1.0, **default}
    modules = [conv2d(1, 4, 5, bias=False), neuron, ("AvgPool2d", {"kernel_size": 2})]
    modules += [conv2d(4, 6, 3, bias=False), neuron, ("AvgPool2d", {"kernel_size": 2})]
    modules += [("Flatten", {}), linear(24, 10, bias=False), neuron]
    return case("cnn", *modules, size=(1, 16, 16), steps=8, gain=3.0, clipped=True)


def rows_case(default: dict[str, Any]) -> Case:
    """The network that reads an image row by row, made small."""
    sizes = 28, 20, 16, 10
    neuron = "LIF", {"tau_mem": 20.0, "norm_input": False, **default}
    modules = [part for size in pairwise(sizes) for part in (linear(*size), neuron)]
    return case("rows", *modules, size=(28,), steps=28, gain=2.0)


CASES = {"spikingjelly": spikingjelly_cases, "sinabs": sinabs_cases}
