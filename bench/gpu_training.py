"""Training on the GPU: seconds a batch, against the same batches on the CPU.

    python bench/gpu_training.py CASE [--out FILE] [--tiny]

lif: SpikingJelly's 784-10 LIF network, 100 steps, batches of 64 (scripts/mnist_lif.py). chain: 784-1000-10 LIF neurons,
100 steps, batches of 128. cnn: the network of scripts/mnist_cnn.py, 6 steps, batches of 128. Images are random, a fifth
lit. A batch is encoding, forward, backward and update; the first, which compiles the kernels, is not timed. The
gradients of one batch must be the CPU's to 1e-4 of a gradient's largest entry.
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
from evsim.training import forward

LONGEST_S = 8.0  # of the timed batches


class Case(NamedTuple):
    """A network to train."""

    make: Callable[[bool], list[Any]]  # its layers
    loss: Any
    batch: int
    steps: int
    poisson: bool  # pixels are spikes; else currents


def make_chain(*hidden: int) -> Callable[[bool], list[Any]]:
    """Linear layers of LIF neurons."""

    def make(tiny: bool) -> list[Any]:
        layers: list[Any] = [evsim.Flatten()]
        for n_in, n_out in pairwise((9, 4, 10) if tiny else (784, *hidden, 10)):
            layers.append(evsim.Linear(n_in, n_out, bias=False))
            layers.append(evsim.spikingjelly.LIFNode(tau=2.0, v_threshold=0.2, surrogate=evsim.ATan()))
        return layers

    return make


def make_cnn(tiny: bool) -> list[Any]:
    """That of scripts/mnist_cnn.py."""
    iaf = evsim.sinabs.IAF(spike_threshold=0.5, min_v_mem=-1.0)
    if tiny:
        return [evsim.Conv2d(1, 2, 2, bias=False), iaf, evsim.AvgPool2d(2), evsim.Flatten(), evsim.Linear(2, 10)]
    layers: list[Any] = []
    for n_in, n_out, size in ((1, 20, 5), (20, 32, 5), (32, 128, 3)):
        layers += [evsim.Conv2d(n_in, n_out, size, bias=False), iaf, evsim.AvgPool2d(2)]
    return [*layers, evsim.Flatten(), evsim.Linear(128, 500, bias=False), iaf, evsim.Linear(500, 10, bias=False)]


CASES = {
    "lif": Case(make_chain(), evsim.RateMSE(), 64, 100, poisson=True),
    "chain": Case(make_chain(1000), evsim.RateMSE(), 128, 100, poisson=True),
    "cnn": Case(make_cnn, evsim.MeanCrossEntropy(), 128, 6, poisson=False),
}


def make_trainer(case: Case, backend: str, steps: int, tiny: bool) -> evsim.Trainer:
    """A case on a backend, with its encoder."""

    def encode(x: np.ndarray, first: int) -> Any:
        if case.poisson:
            return evsim.encoders.poisson(x, steps, seed=1, first_sample=first)
        return evsim.encoders.repeat(x, steps)

    net = evsim.Sequential(*case.make(tiny), seed=1, backend=backend)
    return evsim.Trainer(net, case.loss, evsim.Adam(lr=1e-3), encoder=encode)


def make_batch(batch: int, number: int, tiny: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of the batch of this number."""
    rng = np.random.default_rng(number)
    shape = (batch, 1, *((3, 3) if tiny else (28, 28)))
    x = rng.random(shape, dtype=np.float32) * (rng.random(shape) < 0.2)
    return x.astype(np.float32), rng.integers(0, 10, batch)


def gradients_of(trainer: evsim.Trainer, x: np.ndarray, y: np.ndarray) -> tuple[dict[str, Any], float, float]:
    """Gradients of a batch, and the seconds forward and backward take."""
    trainer.net.reset()
    given = trainer.encoder(x, 0)
    started = time.perf_counter()
    output, backward = forward(trainer.net, given)
    middle = time.perf_counter()
    _, gradient = trainer.loss(output, y)
    gradients = backward(gradient)  # on the host, so that the device is through with them
    return gradients, middle - started, time.perf_counter() - middle


def seconds_of(trainer: evsim.Trainer, batch: int, tiny: bool) -> list[float]:
    """Seconds of each batch, without the first."""
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < 20 and sum(seconds) < (1e-9 if tiny else LONGEST_S)):
        x, y = make_batch(batch, len(seconds), tiny)
        started = time.perf_counter()
        trainer.train_batch(x, y, batch * len(seconds))
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def main() -> None:
    parser = device_parser(__doc__ or "")
    parser.add_argument("case", choices=CASES)
    given = parser.parse_args()
    case = CASES[given.case]
    batch, steps = (2, 2) if given.tiny else (case.batch, case.steps)
    on_gpu, on_cpu = (make_trainer(case, backend, steps, given.tiny) for backend in ("cuda", "cpu"))
    x, y = make_batch(batch, 0, given.tiny)
    expected, *_ = gradients_of(on_cpu, x, y)
    difference = 0.0
    with DeviceMemory() as memory:
        gradients, *_ = gradients_of(on_gpu, x, y)
        for name, gradient in expected.items():
            largest = float(np.abs(gradient).max())
            difference = max(difference, float(np.abs(gradients[name] - gradient).max()) / max(largest, 1e-30))
        if difference > 1e-4:
            raise SystemExit(
                f"gpu_training: a gradient differs from the CPU's by {difference:.1e} of its largest entry"
            )
        parts = [gradients_of(on_gpu, x, y)[1:] for _ in range(1 if given.tiny else 5)]
        seconds = statistics.median(seconds_of(on_gpu, batch, given.tiny))
    cpu_seconds = statistics.median(seconds_of(on_cpu, batch, given.tiny))
    forward_s, backward_s = (statistics.median(each) for each in zip(*parts, strict=True))
    result = {
        "benchmark": f"training-{given.case}",
        "backend": on_gpu.net.backend,
        "batch": batch,
        "steps": steps,
        "seconds_per_batch": seconds,
        "samples_per_s": batch / seconds,
        "forward_s": forward_s,
        "backward_s": backward_s,
        "largest_difference": difference,
        "cpu_seconds_per_batch": cpu_seconds,
        "cpu_threads": on_cpu.net.threads,
        "device_memory_bytes": memory.peak,
        **describe_device(),
    }
    write_line(result, given.out)


if __name__ == "__main__":
    main()
