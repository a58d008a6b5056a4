"""Make layers_spikingjelly.npz, layers_sinabs.npz and layers_snntorch.npz: what the peers' layers make of given input.

Run with the peers' Python, for the peers named::

    .venv-peers-layers/bin/python tests/data/make_layers_golden.py spikingjelly sinabs snntorch

The cases are in layers_cases.py. Each is run in the peer (float32) and, by the equations below, in NumPy (float64):
both must give the same spikes, and v to 4e-6; SpikingJelly's one-step and multi-step modes must give the same bits. The
seed of a case is the first at which neurons spike and no voltage comes closer to a threshold than the case's margin,
so that the same spikes are a fair demand of any float32 simulator. Below, v[t] is what the peer shows after step t, vr
the reset (0 for None), theta the threshold, alpha = exp(-1/tau), R whether mem[t-1] > theta.

SpikingJelly, v[-1] = vr; s = (h >= theta); v = vr where s (hard) or h - s theta (v_reset None)::

    IFNode               h = v + x
    LIFNode              h = v + (x - (v - vr)) / tau       or, without decay_input, v - (v - vr) / tau + x
    ParametricLIFNode    as LIFNode with tau = init_tau

sinabs, in this order; n are the spikes, i = x without tau_syn::

    i = alpha_syn (i + x)
    v = alpha_mem v + (1 - alpha_mem if norm_input else 1) i          ALIF keeps i as scaled here, LIF as it was
    theta = spike_threshold + adapt_scale b                           ALIF
    n = trunc(v / theta) where v > 0 (MultiSpike)   or   v >= theta (SingleSpike)
    v = v - n theta (MembraneSubtract)   or   0 where n > 0 (MembraneReset)
    b = alpha_adapt b + (1 - alpha_adapt) n                           ALIF
    v = max(v, min_v_mem)                                             ExpLeak's output is v before this

with x[t] + rec_connect(n[t-1]) for x in the recurrent ones. (What sinabs 3.1.3 records of those and of ALIF is
another step's v, so here v is the state after the first t steps, for each t.)

snnTorch; spk = (mem > theta)::

    Leaky       mem = beta mem + x - R theta (subtract)   or   beta (1 - R) mem + x (zero)
    Synaptic    syn = alpha syn + x;   mem = beta mem + syn - R theta   or   (1 - R) (beta mem + syn)

Keys of each file: "versions" and "cases" are JSON texts, the latter a list of {name, modules, shape, x, seed, margin
(the distance found), exact, from_model}. Arrays of a case are "<name>/x" (T, B, ...), and with i the module's place
"<name>/<i>.weight", "<name>/<i>.bias", "<name>/<i>.rec_connect.weight" and .bias as in torch, "<name>/<i>.out" (T, B,
...): spikes or their number, uint8, or ExpLeak's output, float32, and "<name>/<i>.v" (T, B, ...) float32 (of the CNN
for the last neurons only).
"""

from __future__ import annotations

import copy
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sinabs
import sinabs.from_torch
import snntorch
import torch
from layers_cases import CASES, Case
from sinabs import activation
from spikingjelly.activation_based import neuron as spikingjelly_neuron

SPIKINGJELLY = "IFNode", "LIFNode", "ParametricLIFNode"
SNNTORCH = "Leaky", "Synaptic"
SINABS = "IAF", "LIF", "ExpLeak", "ALIF", "IAFRecurrent", "LIFRecurrent"
NEURONS = (*SPIKINGJELLY, *SNNTORCH, *SINABS)
TOLERANCE = 4e-6
LARGE = 8_000  # values; v of larger neuron layers is not kept
PACKAGES = "torch", "spikingjelly", "sinabs", "snntorch", "numpy"

Array = np.ndarray


def draw(case: Case, seed: int) -> torch.Tensor:
    """The input, (T, B, ...) float32."""
    rng, shape = np.random.default_rng(seed), case["shape"]
    ((law, of),) = case["x"].items()
    if law == "constant":
        x = np.full(shape, of)
    elif law == "bernoulli":
        x = rng.random(shape) < of
    elif law == "held":
        x = np.broadcast_to(rng.uniform(*of, shape[1:]), shape)
    else:
        x = getattr(rng, law)(*of, shape)
    return torch.from_numpy(x.astype(np.float32))


def make(kind: str, kwargs: dict[str, Any]) -> torch.nn.Module:
    """A peer's or torch's module."""
    if kind in SPIKINGJELLY:
        return getattr(spikingjelly_neuron, kind)(**kwargs, step_mode="m", store_v_seq=True)
    if kind in SNNTORCH:
        return getattr(snntorch, kind)(**kwargs)
    if kind not in SINABS:
        return getattr(sinabs.layers if kind == "SumPool2d" else torch.nn, kind)(**kwargs)
    kwargs = dict(kwargs)
    if "spike_fn" in kwargs:
        kwargs["spike_fn"] = getattr(activation, kwargs["spike_fn"])
    if "reset_fn" in kwargs:
        kwargs["reset_fn"] = getattr(activation, kwargs["reset_fn"])()
    if "rec_connect" in kwargs:
        kwargs["rec_connect"] = torch.nn.Linear(**kwargs["rec_connect"]["kwargs"])
    return getattr(sinabs.layers, kind)(**kwargs)


def is_weight(name: str) -> bool:
    """Whether a parameter is a layer's or rec_connect's weight or bias (sinabs has others)."""
    return name.removeprefix("rec_connect.") in ("weight", "bias")


def make_modules(case: Case, seed: int) -> list[torch.nn.Module]:
    """The case's modules with their weights."""
    torch.manual_seed(seed)
    modules = [make(module["class"], module["kwargs"]) for module in case["modules"]]
    for module in modules:
        for name, weights in module.named_parameters():
            if is_weight(name):
                weights.data *= case.get("gain", 1.0)
                if case.get("exact"):
                    weights.data = torch.round(weights.data * 64) / 64
    return modules


def apply_layer(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A layer without state on every step of (T, B, ...)."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def run_neuron(kind: str, neuron: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A peer's output and v after each step, both (T, B, ...)."""
    if kind in SPIKINGJELLY:
        out, v = neuron(x), neuron.v_seq
        neuron.reset()
        neuron.step_mode = "s"
        assert torch.equal(out, torch.stack([neuron(step) for step in x]))
        assert torch.equal(v, neuron.v_seq)
        return out, v
    if kind in SNNTORCH:
        steps = [neuron(step) for step in x]
        return torch.stack([step[0] for step in steps]), torch.stack([step[-1] for step in steps])
    x, v = x.transpose(0, 1), []  # sinabs wants (B, T, ...)
    for n_steps in range(1, x.shape[1] + 1):
        neuron.reset_states()
        out = neuron(x[:, :n_steps])
        v.append(neuron.v_mem.clone())  # reset_states overwrites it
    return out.transpose(0, 1), torch.stack(v)


def reference_spikingjelly(kind: str, p: dict[str, Any], x: Array) -> tuple[Array, Array, float]:
    """The equations above: spikes, v, and the least distance to the threshold."""
    theta, reset = p.get("v_threshold", 1.0), p.get("v_reset", 0.0)
    rest = 0.0 if reset is None else reset
    tau = p.get("tau", p.get("init_tau", 2.0))
    spikes, vs, margin = np.zeros_like(x), np.zeros_like(x), np.inf
    v = np.full(x.shape[1:], rest)
    for t in range(len(x)):
        if kind == "IFNode":
            h = v + x[t]
        elif p.get("decay_input", True):
            h = v + (x[t] - (v - rest)) / tau
        else:
            h = v - (v - rest) / tau + x[t]
        s = spikes[t] = h >= theta
        v = vs[t] = h - s * theta if reset is None else np.where(s, reset, h)
        margin = min(margin, np.abs(h - theta).min())
    return spikes, vs, margin


def reference_sinabs(
    kind: str, p: dict[str, Any], x: Array, recurrent: tuple[Array, Array] | None
) -> tuple[Array, Array, float]:
    """The equations above; recurrent is the weight (post, pre) and bias of rec_connect."""
    alpha = 1.0 if kind.startswith("IAF") else np.exp(-1.0 / p["tau_mem"])
    scale = 1.0 - alpha if p.get("norm_input", kind in ("LIF", "LIFRecurrent", "ALIF")) else 1.0
    alpha_syn = np.exp(-1.0 / p["tau_syn"]) if "tau_syn" in p else None
    alpha_adapt = np.exp(-1.0 / p["tau_adapt"]) if kind == "ALIF" else 0.0
    multi = p.get("spike_fn", "SingleSpike" if kind == "ALIF" else "MultiSpike") == "MultiSpike"
    outs, vs, margin = np.zeros_like(x), np.zeros_like(x), np.inf
    v = i = b = n = np.zeros(x.shape[1:])
    for t in range(len(x)):
        i = x[t] if alpha_syn is None else alpha_syn * (i + x[t])
        if recurrent is not None and t > 0:
            weight, bias = recurrent
            i = i + (n @ weight.T + bias) * (1.0 if alpha_syn is None else alpha_syn)
        if kind == "ALIF":
            i = scale * i
        v = alpha * v + (i if kind == "ALIF" else scale * i)
        if kind == "ExpLeak":
            outs[t] = v
        else:
            theta = p.get("spike_threshold", 1.0) + (p.get("adapt_scale", 1.8) * b if kind == "ALIF" else 0.0)
            near = np.maximum(np.round(v / theta), 1.0) if multi else 1.0
            margin = min(margin, np.abs(v - near * theta).min())
            outs[t] = np.trunc(np.maximum(v, 0.0) / theta) if multi else v >= theta
            n = outs[t]
            v = np.where(n > 0, 0.0, v) if p.get("reset_fn") == "MembraneReset" else v - n * theta
            b = alpha_adapt * b + (1.0 - alpha_adapt) * n
        if p.get("min_v_mem") is not None:
            v = np.maximum(v, p["min_v_mem"])
        vs[t] = v
    return outs, vs, margin


def reference_snntorch(kind: str, p: dict[str, Any], x: Array) -> tuple[Array, Array, float]:
    """The equations above."""
    beta, theta, mechanism = p["beta"], p.get("threshold", 1.0), p.get("reset_mechanism", "subtract")
    spikes, vs, margin = np.zeros_like(x), np.zeros_like(x), np.inf
    mem = syn = reset = np.zeros(x.shape[1:])
    for t in range(len(x)):
        syn = p["alpha"] * syn + x[t] if kind == "Synaptic" else x[t]
        if mechanism == "zero":
            mem = (1 - reset) * (beta * mem + syn) if kind == "Synaptic" else beta * (1 - reset) * mem + syn
        else:
            mem = beta * mem + syn - (reset * theta if mechanism == "subtract" else 0.0)
        vs[t] = mem
        reset = spikes[t] = mem > theta
        margin = min(margin, np.abs(mem - theta).min())
    return spikes, vs, margin


def reference(
    kind: str, kwargs: dict[str, Any], module: torch.nn.Module, x: Array
) -> tuple[Array, Array | None, float]:
    """What a module makes of x in float64: output, v and least distance to a threshold."""
    if kind not in NEURONS:
        return apply_layer(copy.deepcopy(module).double(), torch.from_numpy(x)).numpy(), None, np.inf
    if kind in SPIKINGJELLY:
        return reference_spikingjelly(kind, kwargs, x)
    if kind in SNNTORCH:
        return reference_snntorch(kind, kwargs, x)
    recurrent = None
    if "rec_connect" in kwargs:
        recurrent = tuple(part.double().numpy() for part in (module.rec_connect.weight, module.rec_connect.bias))
    return reference_sinabs(kind, kwargs, x, recurrent)


def find_seed(case: Case, first: int) -> tuple[int, float, list[torch.nn.Module], list[tuple[Array, Array | None]]]:
    """The first seed with a sufficient margin and spikes of all neuron layers; the margin, modules and reference."""
    for seed in range(first, first + 500):
        modules, x = make_modules(case, seed), draw(case, seed).double().numpy()
        margin, expected = np.inf, []
        for listed, module in zip(case["modules"], modules, strict=True):
            x, v, found = reference(listed["class"], listed["kwargs"], module, x)
            margin = min(margin, found)
            expected.append((x, v))
            if listed["class"] in NEURONS and np.mean(x > 0) < 0.01:
                break
        else:
            if case.get("exact") or margin > case["margin"]:
                return seed, margin, modules, expected
    raise SystemExit(f"{case['name']}: no seed found; last margin {margin:.1e}")


def converted_output(case: Case, modules: list[torch.nn.Module], x: torch.Tensor) -> torch.Tensor:
    """What from_model makes of the same layers with ReLUs for the neurons."""
    layers = [
        torch.nn.ReLU() if listed["class"] == "IAF" else module
        for listed, module in zip(case["modules"], modules, strict=True)
    ]
    network = sinabs.from_torch.from_model(
        torch.nn.Sequential(*layers[:-1]), case["shape"][2:], add_spiking_output=True, batch_size=x.shape[1]
    )
    network.reset_states()
    return network(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (x.shape[1], -1)).transpose(0, 1)


def run_case(case: Case, first_seed: int) -> tuple[dict[str, Any], dict[str, Array]]:
    """A case's entry of "cases" and its arrays, after comparison with the reference."""
    seed, margin, modules, expected = find_seed(case, first_seed)
    x = draw(case, seed)
    arrays, tolerance = {"x": x.numpy()}, 0.0 if case.get("exact") else TOLERANCE
    inputs, difference, fired = x, 0.0, []
    for number, (listed, module) in enumerate(zip(case["modules"], modules, strict=True)):
        kind = listed["class"]
        arrays |= {
            f"{number}.{name}": weights.numpy() for name, weights in module.named_parameters() if is_weight(name)
        }
        if kind not in NEURONS:
            x = apply_layer(module, x)
            continue
        x, v = run_neuron(kind, module, x)
        out, expected_v = expected[number]
        difference = max(difference, np.abs(v.numpy() - expected_v).max())
        if kind == "ExpLeak":
            difference = max(difference, np.abs(x.numpy() - out).max())
        else:
            assert np.array_equal(x.numpy(), out), f"{case['name']}: other spikes than the reference"
            fired.append(float(x.mean()))
        arrays[f"{number}.out"] = x.numpy() if kind == "ExpLeak" else x.numpy().astype(np.uint8)
        if v.numel() <= LARGE:
            arrays[f"{number}.v"] = v.numpy()
    assert difference <= tolerance, f"{case['name']}: v differs from the reference by {difference:.1e}"
    if case.get("from_model"):
        assert torch.equal(converted_output(case, modules, inputs), x)
    rates = np.round(fired, 3)
    print(f"  {case['name']:20} seed {seed}, margin {margin:.1e}, v to {difference:.1e}, spikes a step {rates}")
    entry = {**case, "seed": seed, "margin": margin if np.isfinite(margin) else None}
    return entry, {f"{case['name']}/{name}": array for name, array in arrays.items()}


def main() -> None:
    """Make the files of the peers named on the command line."""
    torch.set_num_threads(2)
    for peer in sys.argv[1:] or CASES:
        print(peer)
        entries, arrays = [], {}
        for number, case in enumerate(CASES[peer]()):
            entry, made = run_case(case, 1000 * number)
            entries.append(entry)
            arrays |= made
        texts = {"versions": json.dumps({name: version(name) for name in PACKAGES}), "cases": json.dumps(entries)}
        path = Path(__file__).with_name(f"layers_{peer}.npz")
        np.savez_compressed(path, **{name: np.array(text) for name, text in texts.items()}, **arrays)
        print(f"{path.name}: {len(entries)} cases, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    with torch.no_grad():
        main()
