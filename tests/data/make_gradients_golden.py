"""Make gradients_spikingjelly.npz and gradients_sinabs.npz: gradients that PyTorch's autograd finds in peers' layers.

Run with the peers' Python, for the peers named::

    .venv-peers-layers/bin/python tests/data/make_gradients_golden.py spikingjelly sinabs

The cases are in gradients_cases.py, and their forward equations in make_layers_golden.py. The loss is sum(c * output),
with c drawn once. Each case is run in the peer in float32 and float64, and by the equations below in NumPy (float64):
the gradients of all three agree to 1e-5 of the largest entry of each. The seed of a case is the first at which this
holds, neurons spike, and no voltage comes closer to a threshold than 1e-4.

Below, gn[t] is dL/dn of the spikes from the layer behind, gv dL/dv carried back from step t + 1, g the surrogate's
derivative, u (SpikingJelly's h) the voltage before the spikes, and steps are taken from the last to the first.

SpikingJelly, with q = 1/tau (sigmoid(w) of ParametricLIFNode; IFNode: q = 0 for v, 1 for x)::

    gu = gn g(h - theta) + gv r
    r  = (1 - s) + (v_reset - h) g    hard;     1 - theta g    soft;      detach_reset leaves out the term with g
    gx = gu q  (decay_input)  or  gu;           gv = gu (1 - q)
    dL/dw = q (1 - q) sum(gu (x - (v[t-1] - vr)))       without decay_input: sum(gu (vr - v[t-1]))

sinabs, with share = 1 - alpha_mem (norm_input) or 1::

    gv = gv where v > min_v_mem, else 0
    gn = gn + W_rec^T gx[t+1]                           recurrent
    gu = (gn - theta gv) g(u) + gv                      MembraneSubtract;  ExpLeak: gn + gv
    gu = gn g(u) + gv (n == 0)                          MembraneReset: no gradient passes the reset
    gi = share gu + alpha_syn gi[t+1];  gx = alpha_syn gi        without tau_syn: gx = gi = share gu
    gv = alpha_mem gu
    dL/dtau_mem = alpha_mem / tau_mem^2 sum(gu (v[t-1] - i (norm_input)));  dL/dtau_syn likewise, sum(gi (i[t-1] + x))

MultiSpike has the same g, once, however many spikes there are; no gradient passes the threshold. The gradient of a
window of MaxPool2d goes to its first largest value in C order, which among spikes is the first spike, and without
spikes the window's first place (padding left out). sinabs' SumPool2d gives windows with sum 0 the gradient 0, against
the sum's own derivative 1; the cases do without such windows.

Keys of each file: "versions" and "cases" are JSON texts, the latter a list of {name, modules, shape, x, seed, margin
(the distance found), float32 (the largest relative difference of the peer's float32 gradients)}. Arrays of a case are
"<name>/x" (T, B, ...), "<name>/c" and "<name>/output" (of the last module), and with i a module's place
"<name>/<i>.weight", "<name>/<i>.bias", "<name>/<i>.rec_connect.weight" and .bias as in torch. Gradients are the peer's
in float64, rounded to float32: "<name>/gradient/<i>.weight" and so on, "<name>/gradient/x" where x is not spikes,
"<name>/gradient/<i>.w" of ParametricLIFNode, and "<name>/gradient/<i>.tau_mem" and .tau_syn of sinabs' neurons.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import snntorch.surrogate
import torch
from gradients_cases import CASES, Case
from make_layers_golden import NEURONS, PACKAGES, SPIKINGJELLY, apply_layer, draw, find_seed, is_weight, make_modules
from sinabs import activation
from spikingjelly.activation_based import surrogate as spikingjelly_surrogate

TOLERANCE = 1e-5

Array = np.ndarray
Gradients = dict[str, Array]


def normal(x: Array, mean: float, sd: float) -> Array:
    """The normal density."""
    return np.exp(-(((x - mean) / sd) ** 2) / 2) / (sd * np.sqrt(2 * np.pi))


def periodic(u: Array, theta: float) -> Array:
    """The distance to the nearest multiple of theta, twice, as PeriodicExponential has it; below theta, to theta."""
    phase = u / theta - 0.5
    return np.where(u < theta, u - theta, theta * (2 * (phase - np.floor(phase)) - 1))


# A surrogate's derivative at x = u - theta.
DERIVATIVES = {
    "ATan": lambda x, theta, alpha: alpha / 2 / (1 + (np.pi / 2 * alpha * x) ** 2),
    "Sigmoid": lambda x, theta, alpha: alpha / (2 * np.cosh(alpha * x / 2)) ** 2,
    "PiecewiseQuadratic": lambda x, theta, alpha: np.maximum(alpha - alpha**2 * np.abs(x), 0.0),
    "PiecewiseExp": lambda x, theta, alpha: alpha / 2 * np.exp(-alpha * np.abs(x)),
    "SoftSign": lambda x, theta, alpha: alpha / 2 / (1 + alpha * np.abs(x)) ** 2,
    "Erf": lambda x, theta, alpha: alpha / np.sqrt(np.pi) * np.exp(-((alpha * x) ** 2)),
    "FastSigmoid": lambda x, theta, slope: 1 / (1 + slope * np.abs(x)) ** 2,
    "SingleExponential": lambda x, theta, grad_width=0.5, grad_scale=1.0: (
        grad_scale / (theta * grad_width) * np.exp(-np.abs(x) / (theta * grad_width))
    ),
    "PeriodicExponential": lambda x, theta, grad_width: np.exp(-np.abs(periodic(x + theta, theta)) / grad_width),
    "Gaussian": lambda x, theta, sigma: normal(x, 0.0, sigma),
    "MultiGaussian": lambda x, theta: 1.15 * normal(x, 0.0, 0.5) - 0.15 * (normal(x, 0.5, 3.0) + normal(x, -0.5, 3.0)),
}


def derivative(p: dict[str, Any], u: Array, theta: float) -> Array:
    """The surrogate derivative of a neuron with the keywords p."""
    return DERIVATIVES[p["surrogate"]["class"]](u - theta, theta, **p["surrogate"]["kwargs"])


def peer_module(listed: dict[str, Any]) -> dict[str, Any]:
    """A module's entry with the peer's surrogate object among its keywords."""
    kwargs = dict(listed["kwargs"])
    if "surrogate" in kwargs:
        kind, of = kwargs.pop("surrogate").values()
        if kind == "FastSigmoid":
            made = snntorch.surrogate.fast_sigmoid(**of)
        else:
            made = getattr(spikingjelly_surrogate if listed["class"] in SPIKINGJELLY else activation, kind)(**of)
        kwargs["surrogate_function" if listed["class"] in SPIKINGJELLY else "surrogate_grad_fn"] = made
    return {"class": listed["class"], "kwargs": kwargs}


def run_peer(case: Case, seed: int, c: Array, dtype: torch.dtype) -> tuple[Array, Gradients]:
    """The peer's output, and its gradients of sum(c * output)."""
    modules = [module.to(dtype) for module in make_modules(case, seed)]
    x = values = draw(case, seed).to(dtype).requires_grad_()
    for listed, module in zip(case["modules"], modules, strict=True):
        kind = listed["class"]
        if kind not in NEURONS:
            values = apply_layer(module, values)
        elif kind in SPIKINGJELLY:
            values = module(values).to(dtype)  # snnTorch's and sinabs' functions make float32 spikes
        else:
            if "rec_connect" in listed["kwargs"]:
                module.rec_connect.register_forward_pre_hook(lambda _, given: given[0].to(dtype))
            values = module(values.transpose(0, 1)).transpose(0, 1).to(dtype)
    torch.sum(torch.from_numpy(c).to(dtype) * values).backward()
    gradients = {
        f"{number}.{name}": weights.grad.double().numpy()
        for number, module in enumerate(modules)
        for name, weights in module.named_parameters()
        if weights.grad is not None
    }
    return values.detach().numpy(), {**gradients, "x": x.grad.double().numpy()}


def backward_spikingjelly(kind: str, p: dict[str, Any], x: Array, v: Array, gn: Array) -> tuple[Array, Gradients]:
    """The equations above: dL/dx and dL/dw."""
    theta, reset, detach = p.get("v_threshold", 1.0), p.get("v_reset", 0.0), p.get("detach_reset", False)
    rest = 0.0 if reset is None else reset
    q = 0.0 if kind == "IFNode" else 1.0 / p.get("tau", p.get("init_tau", 2.0))
    of_x = q if p.get("decay_input", True) and kind != "IFNode" else 1.0
    before = np.concatenate([np.full_like(v[:1], rest), v[:-1]])
    h = before + of_x * x - q * (before - rest)
    g = derivative(p, h, theta)
    through_spike = 0.0 if detach else g * (-theta if reset is None else reset - h)
    r = (np.ones_like(h) if reset is None else h < theta) + through_spike
    gu, gv = np.zeros_like(x), np.zeros_like(x[0])
    for t in range(len(x))[::-1]:
        gu[t] = gn[t] * g[t] + gv * r[t]
        gv = gu[t] * (1.0 - q)
    if kind != "ParametricLIFNode":
        return gu * of_x, {}
    input_decays = p.get("decay_input", True)
    return gu * of_x, {"w": q * (1.0 - q) * np.sum(gu * ((x if input_decays else 0.0) - (before - rest)))}


def backward_sinabs(
    kind: str, p: dict[str, Any], x: Array, n: Array, v: Array, gn: Array, recurrent: tuple[Array, Array] | None
) -> tuple[Array, Gradients]:
    """The equations above: dL/dx and those of time constants and rec_connect; n is the neuron's output."""
    theta, low = p.get("spike_threshold", 1.0), p.get("min_v_mem")
    norm = p.get("norm_input", kind in ("LIF", "LIFRecurrent"))
    alpha = 1.0 if kind.startswith("IAF") else np.exp(-1.0 / p["tau_mem"])
    share = 1.0 - alpha if norm else 1.0
    alpha_syn = np.exp(-1.0 / p["tau_syn"]) if "tau_syn" in p else 0.0
    gain = alpha_syn if "tau_syn" in p else 1.0
    if recurrent is not None:
        weight, bias = recurrent
        x = np.concatenate([x[:1], x[1:] + n[:-1] @ weight.T + bias])
    i = np.zeros_like(x)
    for t in range(len(x)):
        i[t] = gain * x[t] + (alpha_syn * i[t - 1] if t > 0 else 0.0)
    before, i_before = (np.concatenate([np.zeros_like(v[:1]), values[:-1]]) for values in (v, i))
    u = alpha * before + share * i
    if kind == "ExpLeak":
        g, r, subtracted = np.ones_like(u), np.ones_like(u), 0.0
    elif p.get("reset_fn") == "MembraneReset":
        g, r, subtracted = derivative(p, u, theta), n == 0, 0.0
    else:
        g, r, subtracted = derivative(p, u, theta), np.ones_like(u), theta
    gu, gi, gx = (np.zeros_like(x) for _ in range(3))
    gv = np.zeros_like(x[0])
    for t in range(len(x))[::-1]:
        gv = gv if low is None else gv * (v[t] > low)
        back = gx[t + 1] @ weight if recurrent is not None and t + 1 < len(x) else 0.0
        gu[t] = (gn[t] + back - subtracted * gv) * g[t] + gv * r[t]
        gi[t] = share * gu[t] + (alpha_syn * gi[t + 1] if t + 1 < len(x) else 0.0)
        gx[t] = gain * gi[t]
        gv = alpha * gu[t]
    gradients = {}
    if not kind.startswith("IAF"):
        gradients["tau_mem"] = alpha / p["tau_mem"] ** 2 * np.sum(gu * (before - (i if norm else 0.0)))
    if "tau_syn" in p:
        gradients["tau_syn"] = alpha_syn / p["tau_syn"] ** 2 * np.sum(gi * (i_before + x))
    if recurrent is not None:
        gradients["rec_connect.weight"] = np.einsum("tbo,tbi->oi", gx[1:], n[:-1])
        gradients["rec_connect.bias"] = gx[1:].sum((0, 1))
    return gx, gradients


def backward_layer(module: torch.nn.Module, x: Array, gy: Array) -> tuple[Array, Gradients]:
    """The gradients of a layer without state (float64)."""
    given = torch.from_numpy(x).requires_grad_()
    out = apply_layer(module, given)
    names = [name for name, _ in module.named_parameters()]
    found = torch.autograd.grad(out, [given, *module.parameters()], torch.from_numpy(gy))
    gx, *of_weights = (gradient.numpy() for gradient in found)
    return gx, dict(zip(names, of_weights, strict=True))


def run_reference(case: Case, seed: int, c: Array, modules: list[Any], expected: list[tuple[Array, Any]]) -> Gradients:
    """The gradients by the equations above; expected is each module's output and v."""
    inputs = [draw(case, seed).double().numpy(), *(out for out, _ in expected)]
    gy, gradients = c.astype(float), {}
    for number in range(len(modules))[::-1]:
        kind, p = case["modules"][number].values()
        module, x, (out, v) = modules[number].double(), inputs[number], expected[number]
        if kind not in NEURONS:
            gy, found = backward_layer(module, x, gy)
        elif kind in SPIKINGJELLY:
            gy, found = backward_spikingjelly(kind, p, x, v, gy)
        else:
            recurrent = None
            if "rec_connect" in p:
                recurrent = tuple(
                    part.detach().numpy() for part in (module.rec_connect.weight, module.rec_connect.bias)
                )
            gy, found = backward_sinabs(kind, p, x, out, v, gy, recurrent)
        gradients |= {f"{number}.{name}": value for name, value in found.items()}
    return {**gradients, "x": gy}


def difference(some: Gradients, others: Gradients) -> float:
    """The largest difference, of the largest entry of each gradient."""
    assert some.keys() == others.keys(), (some.keys(), others.keys())
    return max(float(np.abs(some[key] - others[key]).max() / np.abs(others[key]).max()) for key in others)


def suits(case: Case, expected: list[tuple[Array, Any]]) -> bool:
    """Whether values are clipped, and no pool's window is silent, where the case wants it so."""
    clipped, silent = False, False
    for (kind, p), (out, v) in zip((listed.values() for listed in case["modules"]), expected, strict=True):
        clipped |= p.get("min_v_mem") is not None and bool(np.any(v[:-1] == p["min_v_mem"]))
        silent |= kind == "SumPool2d" and bool(np.any(out == 0))
    return clipped >= case.get("clipped", False) and not (silent and case.get("no_silent_window", False))


def run_case(case: Case, first_seed: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """A case's entry of "cases" and its arrays, at the first seed where all three gradients agree."""
    peers = {**case, "modules": [peer_module(listed) for listed in case["modules"]]}
    seed = first_seed - 1
    while True:
        with torch.no_grad():
            seed, margin, modules, expected = find_seed(peers, seed + 1)
        if not suits(case, expected):
            continue
        c = np.random.default_rng([seed, 1]).normal(size=expected[-1][0].shape)
        c = np.float32(np.round(16 * c) / 16)  # takes little room in the file
        output, single = run_peer(peers, seed, c, torch.float32)
        spikes = case["modules"][-1]["class"] in NEURONS and case["modules"][-1]["class"] != "ExpLeak"
        np.testing.assert_allclose(output, expected[-1][0], atol=0.0 if spikes else 1e-5)
        _, double = run_peer(peers, seed, c, torch.float64)
        arrays = {
            f"{number}.{name}": weights.detach().numpy()
            for number, module in enumerate(make_modules(peers, seed))
            for name, weights in module.named_parameters()
            if is_weight(name)
        }
        ours = run_reference(case, seed, c, modules, expected)
        differences = difference(single, double), difference(ours, double)
        if max(differences) < TOLERANCE:
            break
        print(f"  {case['name']}: float32 differs by {differences[0]:.1e}, equations by {differences[1]:.1e}")
        assert differences[1] < TOLERANCE
    print(
        f"  {case['name']:32} seed {seed}, margin {margin:.1e}, differences {differences[0]:.1e} {differences[1]:.1e}"
    )
    x = draw(case, seed).numpy()
    if "bernoulli" in case["x"]:
        x = x.astype(np.uint8)
        double.pop("x")
    arrays |= {"x": x, "c": c, "output": output.astype(np.uint8) if spikes else output}
    arrays |= {f"gradient/{name}": np.float32(value) for name, value in double.items()}
    entry = {**case, "seed": seed, "margin": margin if np.isfinite(margin) else None, "float32": differences[0]}
    return entry, {f"{case['name']}/{name}": array for name, array in arrays.items()}


def main() -> None:
    """Make the files of the peers named on the command line."""
    torch.set_num_threads(1)
    for peer in sys.argv[1:] or CASES:
        print(peer)
        entries, arrays = [], {}
        for number, case in enumerate(CASES[peer]()):
            entry, made = run_case(case, 1000 * number)
            entries.append(entry)
            arrays |= made
        texts = {"versions": json.dumps({name: version(name) for name in PACKAGES}), "cases": json.dumps(entries)}
        path = Path(__file__).with_name(f"gradients_{peer}.npz")
        np.savez_compressed(path, **{name: np.array(text) for name, text in texts.items()}, **arrays)
        print(f"{path.name}: {len(entries)} cases, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
