"""Make learned.npz: gradients of learned constants of neurons that PyTorch's autograd finds in peers' layers.

Run with the peers' Python::

    .venv-peers-layers/bin/python tests/data/make_learned_golden.py

Each case is a Linear(8, 6) and neurons of a peer, run over 12 steps of spikes of 4 samples; the loss is sum(c *
output). The seed of a case is the first at which float32 and float64 give the same spikes and gradients to 1e-5 of the
largest entry of each, and a tenth of the values spike or more.

snnTorch learns with learn_alpha, learn_beta and learn_threshold; SpikingJelly's SimpleLIFNode and SimpleIFNode where
tau, v_threshold and v_reset are parameters, with v at v_reset at first. sinabs' LIF learns alpha_mem and alpha_syn with
train_alphas=True. The threshold gets a gradient there through the reset only, not through the spike function, which
gives none; the one below, with - surrogate for ds / d threshold, is used in its place.

Keys: "cases" (JSON: a list of {name, peer, class, kwargs, learn, seed}); arrays "<name>/x" (T, B, 8), "<name>/c",
"<name>/output", "<name>/weight", "<name>/bias", "<name>/start/<parameter>" (its value), and, the gradients in float64
rounded to float32, "<name>/gradient/weight", "<name>/gradient/bias" and "<name>/gradient/<parameter>".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import sinabs.layers
import snntorch
import torch
from sinabs import activation
from spikingjelly.activation_based import neuron, surrogate

STEPS, BATCH, INPUTS, UNITS = 12, 4, 8, 6
TOLERANCE = 1e-5
MANY = np.linspace(0.8, 1.2, UNITS)
DEFAULTS: dict[str, dict[str, Any]] = {"LIFNode": {"tau": 2.0, "decay_input": True}, "IFNode": {}}

# name: peer, class, keywords, what is learned, a factor of the weights
CASES: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...], float]] = {
    "leaky_subtract": ("snntorch", "Leaky", {"beta": 0.8}, ("beta", "threshold"), 3.0),
    "leaky_zero": ("snntorch", "Leaky", {"beta": 0.7, "reset_mechanism": "zero"}, ("beta", "threshold"), 3.0),
    "leaky_none": ("snntorch", "Leaky", {"beta": 0.6, "reset_mechanism": "none"}, ("beta", "threshold"), 3.0),
    "leaky_many": ("snntorch", "Leaky", {"beta": 0.7 * MANY, "threshold": 0.8 * MANY}, ("beta", "threshold"), 3.0),
    "leaky_beta": ("snntorch", "Leaky", {"beta": 0.9, "threshold": 0.5}, ("beta",), 2.0),
    "synaptic": ("snntorch", "Synaptic", {"alpha": 0.6, "beta": 0.8}, ("alpha", "beta", "threshold"), 2.0),
    "synaptic_many": ("snntorch", "Synaptic", {"alpha": 0.6 * MANY, "beta": 0.8}, ("alpha", "threshold"), 2.0),
    "lif_hard": ("spikingjelly", "LIFNode", {"tau": 2.5}, ("tau", "v_threshold"), 4.0),
    "lif_reset": ("spikingjelly", "LIFNode", {"tau": 2.5, "v_reset": -0.2}, ("tau", "v_threshold", "v_reset"), 4.0),
    "lif_detached": ("spikingjelly", "LIFNode", {"detach_reset": True}, ("tau", "v_threshold"), 4.0),
    "lif_undecayed": ("spikingjelly", "LIFNode", {"decay_input": False}, ("tau", "v_threshold"), 2.0),
    "lif_many": ("spikingjelly", "LIFNode", {"tau": 2.0 * MANY, "v_threshold": MANY}, ("tau", "v_threshold"), 4.0),
    "if_soft": ("spikingjelly", "IFNode", {"v_reset": None}, ("v_threshold",), 2.0),
    "if_soft_detached": ("spikingjelly", "IFNode", {"v_reset": None, "detach_reset": True}, ("v_threshold",), 2.0),
    "alpha": ("sinabs", "LIF", {"tau_mem": 6.0}, ("alpha_mem",), 8.0),
    "alphas": ("sinabs", "LIF", {"tau_mem": 6.0, "tau_syn": 3.0}, ("alpha_mem", "alpha_syn"), 5.0),
    "alphas_plain": (
        "sinabs", "LIF", {"tau_mem": 6.0, "tau_syn": 3.0, "norm_input": False, "min_v_mem": -0.3},
        ("alpha_mem", "alpha_syn"), 1.5,
    ),
    "sinabs_threshold": ("sinabs", "LIF", {"tau_mem": 6.0}, ("alpha_mem", "spike_threshold"), 8.0),
    "sinabs_iaf": ("sinabs", "IAF", {"spike_threshold": 0.7}, ("spike_threshold",), 2.0),
}  # fmt: skip


class MultiSpike(activation.MultiSpike):
    """sinabs' own, with a gradient for the threshold."""

    @staticmethod
    def forward(ctx: Any, v_mem: torch.Tensor, spike_threshold: torch.Tensor, surrogate_grad_fn: Any) -> torch.Tensor:
        return activation.MultiSpike.forward(ctx, v_mem, spike_threshold, surrogate_grad_fn).to(v_mem)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
        gradient = activation.MultiSpike.backward(ctx, grad_output)[0]
        return gradient, -gradient.sum(), None, None


def make(peer: str, kind: str, kwargs: dict[str, Any], learn: tuple[str, ...], dtype: torch.dtype) -> torch.nn.Module:
    """The peer's neurons; what is learned are parameters."""
    kwargs = {
        name: torch.tensor(value, dtype=dtype) if isinstance(value, np.ndarray) else value
        for name, value in kwargs.items()
    }
    if peer == "snntorch":
        made = getattr(snntorch, kind)(**kwargs, **{f"learn_{name}": True for name in learn})
    elif peer == "spikingjelly":
        made = getattr(neuron, f"Simple{kind}")(**{**DEFAULTS[kind], **kwargs})
        made.surrogate_function, made.step_mode = surrogate.ATan(alpha=2.0), "m"
        for name in learn:
            value = torch.as_tensor(getattr(made, name), dtype=dtype)
            delattr(made, name)
            setattr(made, name, torch.nn.Parameter(value))
    else:
        more = {"train_alphas": True} if kind == "LIF" else {}
        made = getattr(sinabs.layers, kind)(**kwargs, **more, spike_fn=MultiSpike)
        made.spike_threshold.requires_grad_("spike_threshold" in learn)
    return made.to(dtype)


def run(name: str, seed: int, dtype: torch.dtype) -> dict[str, np.ndarray]:
    """A case's arrays."""
    peer, kind, kwargs, learn, gain = CASES[name]
    torch.manual_seed(seed)
    linear = torch.nn.Linear(INPUTS, UNITS)
    linear.weight.data *= gain
    neurons = make(peer, kind, kwargs, learn, dtype)
    rng = np.random.default_rng(seed)
    x = (rng.random((STEPS, BATCH, INPUTS)) < 0.4).astype(np.uint8)
    c = np.round(16 * rng.normal(size=(STEPS, BATCH, UNITS))) / 16
    arrays = {"x": x, "c": np.float32(c), "weight": linear.weight.detach().numpy().copy()}
    arrays["bias"] = linear.bias.detach().numpy().copy()
    linear.to(dtype)
    values = linear(torch.from_numpy(x).to(dtype))
    if peer == "snntorch":
        output = torch.stack([neurons(step)[0] for step in values])
    elif peer == "spikingjelly":
        if neurons.v_reset is not None:
            neurons.v = torch.as_tensor(neurons.v_reset, dtype=dtype).expand(BATCH, UNITS)
        output = neurons(values)
    else:
        output = neurons(values.transpose(0, 1)).transpose(0, 1)
    torch.sum(torch.from_numpy(c).to(dtype) * output.to(dtype)).backward()
    for key in learn:
        parameter = getattr(neurons, key)
        arrays[f"start/{key}"] = parameter.detach().double().numpy()
        arrays[f"gradient/{key}"] = parameter.grad.double().numpy()
    arrays["gradient/weight"], arrays["gradient/bias"] = (each.grad.double().numpy() for each in linear.parameters())
    return {**arrays, "output": output.detach().numpy().astype(np.uint8)}


def run_case(name: str, first: int) -> tuple[int, dict[str, np.ndarray]]:
    """The first seed that suits from this one on, and the arrays."""
    for seed in range(first, first + 300):
        single, double = run(name, seed, torch.float32), run(name, seed, torch.float64)
        if not np.array_equal(single["output"], double["output"]) or np.mean(double["output"] > 0) < 0.1:
            continue
        gradients = [key for key in double if key.startswith("gradient/")]
        worst = max(np.abs(single[key] - double[key]).max() / np.abs(double[key]).max() for key in gradients)
        if worst < TOLERANCE:
            print(f"  {name:20} seed {seed}, difference {worst:.1e}, rate {np.mean(double['output']):.2f}")
            return seed, double
    raise SystemExit(f"{name}: no seed found")


def main() -> None:
    """Make the file."""
    torch.set_num_threads(1)
    entries, arrays = [], {}
    for number, (name, (peer, kind, kwargs, learn, _)) in enumerate(CASES.items()):
        seed, made = run_case(name, 1000 * number)
        plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in kwargs.items()}
        entries.append({"name": name, "peer": peer, "class": kind, "kwargs": plain, "learn": learn, "seed": seed})
        for key, array in made.items():
            arrays[f"{name}/{key}"] = array.astype(np.float32) if key.startswith("gradient/") else array
    path = Path(__file__).with_name("learned.npz")
    np.savez_compressed(path, cases=np.array(json.dumps(entries)), **arrays)
    print(f"{path.name}: {len(entries)} cases, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
