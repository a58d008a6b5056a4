"""Memory of training a 784-1000-10 network against the number of steps, with and without checkpoints.

`python bench/training_memory.py --out bench/results/training_memory.json`

One batch of 64 random images, whose pixels are as bright as MNIST's in the mean (0.13), shown for T steps as Poisson
spikes: the peak of all arrays during the batch (tracemalloc), that of the process, and seconds. Each case is a process
of its own, run `--repeat` times, of which medians are given. Gradients with and without checkpoints must be the same
bits.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, median, parser

import evsim
from evsim.training import forward
from evsim.versions import versions

STEPS = (25, 100, 400)
EVERY = 16
BATCH = 64


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--case", type=int, nargs=2, help=argparse.SUPPRESS)  # T, checkpoint_every (0: none)
    given = options.parse_args()
    if given.case:
        print(json.dumps(run(given.threads, given.case[0], given.case[1] or None)))
        return
    result: dict[str, Any] = {"benchmark": "training_memory", "threads": given.threads, "versions": versions()}
    run(given.threads, 2, None)  # compiles
    for n_steps in STEPS:
        runs = {every: [run_case(given.threads, n_steps, every) for _ in range(given.repeat)] for every in (0, EVERY)}
        assert len({each["gradients"] for cases in runs.values() for each in cases}) == 1
        for every, cases in runs.items():
            name = f"T{n_steps}_{f'every_{every}' if every else 'whole'}"
            result[name] = {key: round(median(cases, key), 3) for key in ("arrays_mb", "process_mb", "seconds")}
    finish(result, given.out)


def run_case(threads: int, n_steps: int, every: int) -> dict[str, Any]:
    """A case in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--case", str(n_steps), str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run(threads: int, n_steps: int, every: int | None) -> dict[str, Any]:
    """One batch forwards and backwards: peaks in MB, seconds, a checksum of the gradients."""
    net = evsim.Sequential(
        evsim.Linear(784, 1000, bias=False),
        evsim.spikingjelly.LIFNode(v_threshold=0.1, surrogate=evsim.ATan()),
        evsim.Linear(1000, 10, bias=False),
        evsim.spikingjelly.LIFNode(surrogate=evsim.ATan()),
        seed=1,
        threads=threads,
        backend="cpu",
    )
    rng = np.random.default_rng(1)
    x = np.where(rng.random((BATCH, 784)) < 0.19, rng.uniform(0.4, 1.0, (BATCH, 784)), 0.0)
    loss = evsim.RateMSE()

    def batch(steps: int, size: int) -> dict[str, Any]:
        net.reset()
        output, backward = forward(net, evsim.encoders.poisson(x[:size], steps, seed=1), checkpoint_every=every)
        return backward(loss(output, np.arange(size) % 10)[1])

    batch(2, 1)
    tracemalloc.start()
    started = time.perf_counter()
    gradients = batch(n_steps, BATCH)
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    digest = hashlib.sha256(b"".join(each.tobytes() for each in gradients.values())).hexdigest()
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"arrays_mb": peak / 1e6, "process_mb": process, "seconds": seconds, "gradients": digest}


if __name__ == "__main__":
    main()
