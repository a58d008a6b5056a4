"""Make nir_<case>.nir and nir_golden.npz: graphs that snnTorch, Norse and sinabs write, and what they make of an input.

Run with a Python that has the three and nir >= 1.0.8 (snnTorch writes v_reset, which older ones do not take)::

    .venv-peers-layers/bin/python tests/data/make_nir_golden.py

Parameters are given as tensors with a value for each neuron, since all three write shapes () otherwise, which the
package's own check refuses. The seed of a case is the first whose spikes stay the same where all weights are larger or
smaller by 1e-5 of themselves, so that they are a fair demand of any simulator.

Norse's to_nir multiplies time constants by its dt (default 0.001): only dt=1 gives seconds. "norse_scaled" has the
default, so that its time constants are thousandths of the true ones.

snnTorch's delayed reset "zero" of RLeaky also drops the next step's input; with reset_delay=False it is NIR's. Its
recurrent bias acts from the first step on, evsim's from the second: the one here is 0.

nir_golden.npz: "versions" (JSON) and, for each case, "<case>/x" (T, B, ...) uint8 and "<case>/out" (T, B, ...): spikes
as uint8, or the output of an integrator as float32.
"""

import copy
import json
import warnings
from importlib.metadata import version
from pathlib import Path

import nir
import norse.torch as norse
import numpy as np
import sinabs.layers as sl
import sinabs.nir
import snntorch
import torch
from snntorch.export_nir import export_to_nir
from torch import nn

HERE = Path(__file__).parent
STEPS, SAMPLES, RATE = 60, 2, 0.4


def full(value, *shape):
    return torch.full(shape, value)


def leaky(beta, *shape, **options):
    return snntorch.Leaky(beta=full(beta, *shape), threshold=full(1.0, *shape), init_hidden=True, **options)


def strong(layer, gain=4.0):
    """A layer with larger weights than PyTorch draws, so that neurons spike."""
    with torch.no_grad():
        layer.weight.mul_(gain)
        layer.weight.add_(0.1 * gain * layer.weight.abs().mean())
    return layer


def snntorch_zero():
    return nn.Sequential(
        strong(nn.Conv2d(1, 2, 3, stride=2, padding=1)),
        leaky(0.9, 2, 4, 4, reset_mechanism="zero"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        strong(nn.Linear(8, 5)),
        leaky(0.5, 5, reset_mechanism="zero", output=True),
    )


def snntorch_subtract():
    synaptic = {"alpha": full(0.7, 4), "beta": full(0.8, 4), "threshold": full(1.0, 4)}
    return nn.Sequential(
        strong(nn.Linear(6, 8)),
        leaky(0.9, 8),
        strong(nn.Linear(8, 4, bias=False), 1.5),
        snntorch.Synaptic(**synaptic, init_hidden=True, output=True),
    )


def snntorch_recurrent():
    options = {"init_hidden": True, "output": True, "reset_mechanism": "zero", "reset_delay": False}
    neurons = snntorch.RLeaky(beta=0.8, all_to_all=True, linear_features=5, **options)
    nn.init.zeros_(neurons.recurrent.bias)
    return nn.Sequential(strong(nn.Linear(6, 5)), neurons)


def norse_box():
    spiking = norse.LIFBoxParameters(
        tau_mem_inv=torch.linspace(60.0, 200.0, 8), v_leak=torch.linspace(-0.1, 0.1, 8), v_th=full(0.2, 8)
    )
    reading = norse.LIBoxParameters(tau_mem_inv=full(50.0, 3), v_leak=full(0.3, 3))
    return norse.SequentialState(
        strong(nn.Linear(6, 8)), norse.LIFBoxCell(spiking), nn.Linear(8, 3), norse.LIBoxCell(reading)
    )


def norse_current():
    p = norse.LIFParameters(
        tau_syn_inv=full(200.0, 5), tau_mem_inv=full(100.0, 5), v_leak=full(0.0, 5), v_th=full(0.3, 5)
    )
    return norse.SequentialState(strong(nn.Linear(6, 5)), norse.LIFCell(p))


def sinabs_single():
    one = {"spike_fn": sinabs.activation.SingleSpike, "batch_size": SAMPLES}
    return nn.Sequential(
        strong(nn.Conv2d(1, 2, 3, bias=False)),
        sl.IAFSqueeze(**one),
        sl.SumPool2d(2),
        nn.Flatten(),
        strong(nn.Linear(8, 5)),
        sl.LIFSqueeze(tau_mem=full(10.0, 5), spike_threshold=full(1.0, 5), **one),
        nn.Linear(5, 3),
        sl.ExpLeakSqueeze(tau_mem=full(5.0, 3), batch_size=SAMPLES),
    )


def run_snntorch(net, x):
    for module in net:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    outs = []
    for frame in x:
        out = net(frame)
        outs.append(out[0] if isinstance(out, tuple) else out)
    return torch.stack(outs)


def run_norse(net, x):
    state, outs = None, []
    for frame in x:
        out, state = net(frame, state)
        outs.append(out)
    return torch.stack(outs)


def run_sinabs(net, x):
    for module in net:
        if hasattr(module, "reset_states"):
            module.reset_states()
    squeezed = x.transpose(0, 1).reshape(-1, *x.shape[2:])
    out = net(squeezed)
    return out.reshape(SAMPLES, STEPS, *out.shape[1:]).transpose(0, 1)


def write_snntorch(net, x):
    return export_to_nir(net, x[0, :1] if x.ndim > 3 else x[0, 0], ignore_dims=[0] if x.ndim > 3 else [])


CASES = {  # name: (net, shape of a sample, how it is run, how it is written)
    "snntorch_zero": (snntorch_zero, (1, 8, 8), run_snntorch, write_snntorch),
    "snntorch_subtract": (snntorch_subtract, (6,), run_snntorch, write_snntorch),
    "snntorch_recurrent": (snntorch_recurrent, (6,), run_snntorch, write_snntorch),
    "norse_box": (norse_box, (6,), run_norse, lambda net, x: norse.to_nir(net, x[0, 0], dt=1.0)),
    "norse_scaled": (norse_box, (6,), run_norse, lambda net, x: norse.to_nir(net, x[0, 0])),
    "norse_current": (norse_current, (6,), run_norse, lambda net, x: norse.to_nir(net, x[0, 0], dt=1.0)),
    "sinabs_single": (sinabs_single, (1, 6, 6), run_sinabs, lambda net, x: sinabs.nir.to_nir(net, x[0])),
}


def scaled(net, factor):
    """A copy with other weights and biases."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        for module in other.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                for parameter in module.parameters():
                    parameter.mul_(factor)
    return other


def make(name):
    make_net, shape, run, write = CASES[name]
    for seed in range(200):
        torch.manual_seed(seed)
        net = make_net()
        x = (torch.rand(STEPS, SAMPLES, *shape) < RATE).float()
        with torch.no_grad():
            out, *others = (run(scaled(net, factor), x).numpy() for factor in (1.0, 1.0 - 1e-5, 1.0 + 1e-5))
        spiking = np.isin(out, (0.0, 1.0)).all()
        busy = 0.02 < out.mean() < 0.7 if spiking else np.abs(out).max() > 0.1
        if busy and all(np.abs(out - other).max() < 1e-3 for other in others):
            graph = write(copy.deepcopy(net), x)
            nir.write(HERE / f"nir_{name}.nir", graph)
            print(name, "seed", seed, "mean", out.mean())
            return x.numpy().astype(np.uint8), out.astype(np.uint8 if spiking else np.float32)
    raise SystemExit(f"{name}: no seed gives what it must")


def main():
    warnings.simplefilter("ignore")
    packages = ("torch", "snntorch", "norse", "sinabs", "nir", "nirtorch")
    arrays = {"versions": json.dumps({name: version(name) for name in packages})}
    for name in CASES:
        arrays[f"{name}/x"], arrays[f"{name}/out"] = make(name)
    np.savez_compressed(HERE / "nir_golden.npz", **arrays)


if __name__ == "__main__":
    main()
