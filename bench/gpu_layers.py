"""A layered network on the GPU: samples a second, against the same calls on the CPU.

    python bench/gpu_layers.py CASE [--out FILE] [--tiny]

chain: 784-1000-1000-10 LIFNodes of SpikingJelly, 100 steps, batches of 512. cnn: the network of sinabs' MNIST example,
converted, 200 steps, batches of 512. Weights are random; inputs are Poisson spikes of images of which a fifth is
lit, drawn on the device. The first batch, which compiles the kernel, is not timed. A smaller batch runs on the CPU
too: its numbers must be the same, bit for bit, and give the seconds of a sample there.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from common import write_line
from device import DeviceMemory, describe_device, device_parser

import evsim

LONGEST_S = 8.0  # of the timed batches
CPU_SAMPLES = 16


class Case(NamedTuple):
    """A network to measure."""

    make: Callable[[str, tuple[int, ...]], evsim.Sequential]  # for a backend, of these sizes
    sizes: tuple[int, ...]
    tiny_sizes: tuple[int, ...]
    shape: tuple[int, ...]  # of a sample
    steps: int


def draw(seed: int, spread: float, *shape: int) -> Any:
    """Random weights whose sum over a target's inputs has standard deviation spread * sqrt(their number)."""
    fan_in = int(np.prod(shape[1:]))
    return np.random.default_rng(seed).normal(0.0, spread / np.sqrt(fan_in), shape)


def make_chain(backend: str, sizes: tuple[int, ...]) -> evsim.Sequential:
    """Linear layers of these sizes."""
    layers: list[Any] = []
    for n_in, n_out in pairwise(sizes):
        weight = draw(n_in, 8.0, n_out, n_in)
        layers += [evsim.Linear(n_in, n_out, bias=False, weight=weight), evsim.spikingjelly.LIFNode()]
    return evsim.Sequential(*layers, backend=backend)


def make_cnn(backend: str, sizes: tuple[int, ...]) -> evsim.Sequential:
    """Three convolutions with an average pool each, of these channels; two linear layers."""

    def iaf() -> Any:
        return evsim.sinabs.IAF(min_v_mem=-1.0)

    layers: list[Any] = []
    for n_in, n_out, kernel in zip((1, *sizes), sizes[:3], (5, 5, 3), strict=False):
        weight = draw(n_in, 2.0, n_out, n_in, kernel, kernel)
        layers += [evsim.Conv2d(n_in, n_out, kernel, bias=False, weight=weight), iaf(), evsim.AvgPool2d(2)]
    layers.append(evsim.Flatten())
    for n_in, n_out in pairwise(sizes[2:]):
        layers += [evsim.Linear(n_in, n_out, bias=False, weight=draw(n_in, 2.0, n_out, n_in)), iaf()]
    return evsim.Sequential(*layers, backend=backend)


CASES = {
    "chain": Case(make_chain, (784, 1000, 1000, 10), (784, 20, 10), (784,), 100),
    "cnn": Case(make_cnn, (20, 32, 128, 500, 10), (2, 2, 3, 4), (1, 28, 28), 200),
}


def make_input(case: Case, batch: int, steps: int, number: int) -> Any:
    """Poisson spikes of the batch of this number."""
    rng = np.random.default_rng(number)
    shape = (batch, *case.shape)
    return evsim.encoders.poisson(rng.random(shape) * (rng.random(shape) < 0.2), steps, first_sample=number * batch)


def run(net: evsim.Sequential, given: Any) -> tuple[float, Any]:
    """Seconds of a batch from a fresh state, and its output."""
    net.reset()
    started = time.perf_counter()
    output = net(given)
    return time.perf_counter() - started, output


def main() -> None:
    parser = device_parser(__doc__ or "")
    parser.add_argument("case", choices=CASES)
    given = parser.parse_args()
    case = CASES[given.case]
    batch, steps, few = (2, 1, 1) if given.tiny else (512, case.steps, CPU_SAMPLES)
    on_gpu, on_cpu = (case.make(name, case.tiny_sizes if given.tiny else case.sizes) for name in ("cuda", "cpu"))
    with DeviceMemory() as memory:
        first_s, _ = run(on_gpu, make_input(case, batch, steps, 0))
        seconds: list[float] = []
        while len(seconds) < 20 and sum(seconds) < (1e-9 if given.tiny else LONGEST_S):
            seconds.append(run(on_gpu, make_input(case, batch, steps, 1 + len(seconds)))[0])
    small = make_input(case, few, steps, 0)
    run(on_cpu, small)
    cpu_s, expected = run(on_cpu, small)
    neurons = [index for index, layer in enumerate(on_gpu) if isinstance(layer, evsim.neurons.NeuronModel)]
    records = [on_gpu.record(index, "spikes") for index in neurons]
    single_s, output = run(on_gpu, small)
    if output.tobytes() != expected.tobytes():
        raise SystemExit("gpu_layers: the GPU's output differs from the CPU's")
    batch_s = statistics.median(seconds)
    result = {
        "benchmark": f"layers-{given.case}",
        "backend": on_gpu.backend,
        "batch": batch,
        "steps": steps,
        "batches": len(seconds),
        "seconds_per_batch": batch_s,
        "samples_per_s": batch / batch_s,
        "us_per_sample_step": batch_s / batch / steps * 1e6,
        "small_batch": few,
        "seconds_per_small_batch": single_s,
        "first_batch_s": first_s,
        "layer_rates": [round(float(record.spikes.mean()), 4) for record in records],
        "cpu_samples_per_s": few / cpu_s,
        "cpu_threads": on_cpu.threads,
        "device_memory_bytes": memory.peak,
        **describe_device(),
    }
    write_line(result, given.out)


if __name__ == "__main__":
    main()
