"""Make conversion.npz: what sinabs' from_model and SpikingJelly's ann2snn make of small networks.

Run with the peers' Python::

    .venv-peers-layers/bin/python tests/data/make_conversion_golden.py

Each case is a torch.nn.Sequential with random weights, its conversion, an input, and the spikes of every layer of
neurons and the output of the last layer, step by step. sinabs' cases have weights, biases and thresholds that are
multiples of 1/16, so that float32 rounds nothing. SpikingJelly's are divided by measured activations: the seed of a
case is the first for which its spikes are the same in float64, and with weights changed at random by up to 2e-5.

"versions" and "cases" are JSON texts, the latter a list of {name, peer, modules, convert}: modules as {class, kwargs},
convert as evsim.convert's arguments. Arrays: <name>/<i>.weight, .bias, .mean, .variance of module i; <name>/x the input
(T, B, ...); <name>/data samples to normalise with; <name>/spikes.<k> (T, B, ...) uint8 of the k-th layer of neurons;
<name>/out (T, B, n).
"""

from __future__ import annotations

import copy
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sinabs.from_torch import from_model
from sinabs.layers import IAFSqueeze, SumPool2d
from spikingjelly.activation_based import ann2snn, functional, neuron
from spikingjelly.activation_based.ann2snn.modules import ChannelVoltageScaler
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
from torch import nn

Module = tuple[str, dict[str, Any]]
GROUPS = {"groups": 2, "dilation": [1, 2]}
CNN: list[Module] = [
    ("Conv2d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1}),
    ("ReLU", {}),
    ("AvgPool2d", {"kernel_size": 2}),
    ("Dropout", {}),
    ("Conv2d", {"in_channels": 4, "out_channels": 6, "kernel_size": [3, 2], "stride": [1, 2], **GROUPS}),
    ("ReLU", {}),
    ("Flatten", {}),
    ("Linear", {"in_features": 12, "out_features": 8}),
    ("ReLU", {}),
    ("Linear", {"in_features": 8, "out_features": 3}),
]
MAXIMUM: list[Module] = [
    ("Conv2d", {"in_channels": 1, "out_channels": 5, "kernel_size": 3, "bias": False}),
    ("ReLU", {}),
    ("MaxPool2d", {"kernel_size": 2, "stride": 1}),
    ("Conv2d", {"in_channels": 5, "out_channels": 3, "kernel_size": 2}),
    ("ReLU", {}),
    ("SumPool2d", {"kernel_size": 2}),
    ("Flatten", {}),
    ("Linear", {"in_features": 12, "out_features": 4}),
    ("ReLU", {}),
]
NORMALISED: list[Module] = [
    ("Conv2d", {"in_channels": 2, "out_channels": 4, "kernel_size": 3, "padding": 1, "bias": False}),
    ("BatchNorm2d", {"num_features": 4}),
    ("ReLU", {}),
    ("AvgPool2d", {"kernel_size": 2}),
    ("Conv2d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3}),
    ("BatchNorm2d", {"num_features": 6}),
    ("ReLU", {}),
    ("MaxPool2d", {"kernel_size": 2}),
    ("Flatten", {}),
    ("Linear", {"in_features": 6, "out_features": 7}),
    ("ReLU", {}),
    ("Linear", {"in_features": 7, "out_features": 3}),
]
SINABS = {
    "defaults": (CNN, {"add_spiking_output": True}),
    "threshold and biases": (CNN, {"spike_threshold": 1.5, "bias_rescaling": 2.0, "add_spiking_output": True}),
    "no lower bound": (CNN, {"min_v_mem": None}),
    "pools": (MAXIMUM, {"add_spiking_output": True, "min_v_mem": -0.5}),
}
SPIKINGJELLY: dict[str, tuple[list[Module], dict[str, Any], bool]] = {  # the last: analog input
    "max": (NORMALISED, {"normalize": "max"}, False),
    "percentile": (NORMALISED, {"normalize": "99.9%"}, True),
    "share": (NORMALISED, {"normalize": 0.75}, True),
    "channels": (NORMALISED, {"normalize": "max", "per_channel": True}, False),
    "channels, percentile": (NORMALISED, {"normalize": "99%", "per_channel": True}, True),
}


def build(modules: list[Module], rng: np.random.Generator, step: float) -> nn.Sequential:
    """The network with random weights, multiples of `step`."""
    made = []
    for kind, kwargs in modules:
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in kwargs.items()}
        module = SumPool2d(**given) if kind == "SumPool2d" else getattr(nn, kind)(**given)
        for parameter in module.parameters():
            bound = 2.0 / np.sqrt(max(np.prod(parameter.shape[1:]), 8))
            values = rng.uniform(-bound, 1.3 * bound, parameter.shape)
            parameter.data = torch.tensor(np.rint(values / step) * step, dtype=torch.float32)
        if kind == "BatchNorm2d":
            n = kwargs["num_features"]
            module.weight.data = torch.tensor(rng.uniform(0.6, 1.5, n), dtype=torch.float32)
            module.bias.data = torch.tensor(rng.uniform(-0.1, 0.4, n), dtype=torch.float32)
            module.running_mean.data = torch.tensor(rng.normal(0.0, 0.2, n), dtype=torch.float32)
            module.running_var.data = torch.tensor(rng.uniform(0.5, 1.5, n), dtype=torch.float32)
        made.append(module)
    return nn.Sequential(*made).eval()


def arrays(network: nn.Sequential) -> dict[str, np.ndarray]:
    """Weights and statistics by module."""
    made = {}
    names = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
    for index, module in enumerate(network):
        for theirs, ours in names.items():
            value = getattr(module, theirs, None)
            if value is not None:
                made[f"{index}.{ours}"] = value.detach().numpy().copy()
    return made


def run_sinabs(network: nn.Sequential, convert: dict[str, Any], x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Spikes of each layer of neurons and the output, (T, B, ...)."""
    n_steps, n_samples = x.shape[:2]
    kwargs = {**convert}
    if "spike_threshold" in kwargs:
        kwargs["spike_threshold"] = torch.tensor(kwargs["spike_threshold"])
    snn = from_model(network, batch_size=n_samples, **kwargs).spiking_model
    seen: list[np.ndarray] = []

    def as_steps(values: torch.Tensor) -> np.ndarray:
        flat = values.detach().numpy()
        return np.swapaxes(flat.reshape(n_samples, n_steps, *flat.shape[1:]), 0, 1)

    for module in snn.modules():
        if isinstance(module, IAFSqueeze):
            module.register_forward_hook(lambda m, given, out: seen.append(as_steps(out)))
    with torch.no_grad():
        out = snn(torch.tensor(np.swapaxes(x, 0, 1)).flatten(0, 1))
    return seen, as_steps(out)


def run_spikingjelly(
    network: nn.Sequential, convert: dict[str, Any], data: np.ndarray, x: np.ndarray, dtype: Any = torch.float32
) -> tuple[list[np.ndarray], np.ndarray]:
    """The same."""
    mode = "Max" if convert["normalize"] == "max" else convert["normalize"]
    samples = torch.tensor(data, dtype=dtype)
    recipe = RateCodingRecipe([(samples, 0)], mode=mode, channel_wise=convert.get("per_channel", False))
    snn = ann2snn.Converter(recipe).convert(copy.deepcopy(network).to(dtype))
    functional.set_step_mode(snn, "s")
    for module in snn.modules():
        if isinstance(module, ChannelVoltageScaler) and module.scale.min() < 0.05 * module.scale.max():
            raise ValueError("a channel is all but silent: what evsim scales otherwise")
    seen: list[list[np.ndarray]] = []
    for module in snn.modules():
        if isinstance(module, neuron.IFNode):
            frames: list[np.ndarray] = []
            seen.append(frames)
            module.register_forward_hook(lambda m, given, out, frames=frames: frames.append(out.numpy().copy()))
    with torch.no_grad():
        out = [snn(torch.tensor(frame, dtype=dtype)).numpy().copy() for frame in x]
    return [np.stack(frames) for frames in seen], np.stack(out)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    """Whether all spikes are."""
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def spikingjelly_case(
    modules: list[Module], convert: dict[str, Any], analog: bool
) -> tuple[nn.Sequential, np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """Network, data, input, spikes and output for the first seed at which rounding changes no spike."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        network = build(modules, rng, 1e-6)
        data = rng.random((8, 2, 8, 8), dtype=np.float32)
        x = rng.random((1, 2, 2, 8, 8), dtype=np.float32)
        x = np.repeat(x, 24, axis=0) if analog else (rng.random((24, 2, 2, 8, 8)) < x).astype(np.float32)
        try:
            spikes, out = run_spikingjelly(network, convert, data, x)
            exact, _ = run_spikingjelly(network, convert, data, x, torch.float64)
            if min(each.mean() for each in spikes) < 0.03 or not same(spikes, exact):
                continue
            for _ in range(4):
                other = copy.deepcopy(network).double()
                for parameter in other.parameters():
                    parameter.data *= 1.0 + torch.tensor(rng.uniform(-2e-5, 2e-5, parameter.shape))
                if not same(spikes, run_spikingjelly(other, convert, data, x, torch.float64)[0]):
                    break
            else:
                return network, data, x, spikes, out
        except ValueError:  # a silent layer or channel
            continue
    raise RuntimeError("no seed will do")


def main() -> None:
    """Write the file."""
    torch.set_num_threads(1)
    cases, kept = [], {}

    def keep(name: str, peer: str, modules: list[Module], convert: dict[str, Any], spikes: Any, **named: Any) -> None:
        listed = [{"class": kind, "kwargs": kwargs} for kind, kwargs in modules]
        cases.append({"name": name, "peer": peer, "modules": listed, "convert": convert})
        for key, value in {**named, **{f"spikes.{k}": each.astype(np.uint8) for k, each in enumerate(spikes)}}.items():
            kept[f"{name}/{key}"] = value
        print(name, [round(float(each.mean()), 3) for each in spikes])

    for number, (name, (modules, convert)) in enumerate(SINABS.items()):
        rng = np.random.default_rng(number)
        network = build(modules, rng, 1 / 16)
        channels = modules[0][1]["in_channels"]
        x = rng.integers(0, 2, (20, 2, channels, 8, 8)) * (rng.random((20, 2, channels, 8, 8)) < 0.6)
        x = x.astype(np.float32)
        spikes, out = run_sinabs(network, convert, x)
        keep(f"sinabs {name}", "sinabs", modules, convert, spikes, x=x.astype(np.uint8), out=out, **arrays(network))
    for name, (modules, convert, analog) in SPIKINGJELLY.items():
        network, data, x, spikes, out = spikingjelly_case(modules, convert, analog)
        x = x[:1] if analog else x.astype(np.uint8)
        named = {"data": data, "x": x, "out": out, **arrays(network)}
        keep(f"ann2snn {name}", "spikingjelly", modules, {"neurons": "IF", **convert}, spikes, **named)
    versions = {each: version(each) for each in ("sinabs", "spikingjelly", "torch", "numpy")}
    path = Path(__file__).parent / "conversion.npz"
    np.savez_compressed(path, cases=json.dumps(cases), versions=json.dumps(versions), **kept)


if __name__ == "__main__":
    main()
