"""Training: seconds a batch of SpikingJelly's 784-10 network and of sinabs' network of rows, evsim and PyTorch in turn.

Both sides train batches of 64 MNIST images: encoding, forward, backward, update; medians over batches, then over runs.
SpikingJelly runs step by step, as its example does, and in its faster multi-step mode; evsim has one way for both.
Goals on two cores: 20 times SpikingJelly, 5 times sinabs. scripts/mnist_lif.py and mnist_rows.py give accuracies.
"""

import resource
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import LAYER_PEERS, finish, parser, peer_run

import evsim
from evsim.io.idx import load_mnist
from evsim.versions import versions

ROWS = (28, 128, 128, 256, 256, 10)
BATCH = 64


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    options.add_argument("--batches", type=int, default=100, help="timed batches of each run")
    given = options.parse_args()
    result: dict[str, Any] = {"benchmark": "training", "threads": given.threads, "versions": versions()}
    for case in ("lif_steps", "lif", "rows"):
        ours, theirs = [], []
        for _ in range(given.repeat):
            ours.append(run(given, case))
            common = ["--case", case, "--data", str(given.data), "--batches", str(given.batches)]
            theirs.append(
                peer_run("torch_training.py", *common, "--threads", str(given.threads), environment=LAYER_PEERS)
            )
        key = "seconds_per_batch"
        peer = {**theirs[0], key: statistics.median(each[key] for each in theirs)}
        own = statistics.median(ours)
        result[case] = {key: own, "peer": peer, "speedup": peer[key] / own, "epoch_s": own * 60_000 / BATCH}
    result["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    finish(result, given.out)


def make_trainer(case: str, threads: int) -> evsim.Trainer:
    """The network of a case with its loss and optimiser."""
    if case != "rows":
        neurons = evsim.spikingjelly.LIFNode(tau=2.0, surrogate=evsim.ATan())
        net = evsim.Sequential(evsim.Linear(784, 10, bias=False), neurons, threads=threads)

        def encode(x: np.ndarray, first: int) -> Any:
            return evsim.encoders.poisson(x.reshape(len(x), 784), 100, seed=1, first_sample=first)

        return evsim.Trainer(net, evsim.RateMSE(), evsim.Adam(lr=1e-3), encoder=encode)
    layers = [part for sizes in pairwise(ROWS) for part in (evsim.Linear(*sizes), evsim.sinabs.IAF(min_v_mem=-1.0))]

    def rows(x: np.ndarray, first: int) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=[1, first]))
        return np.swapaxes(rng.random(x.shape, dtype=np.float32) < x, 0, 1)

    net = evsim.Sequential(*layers, threads=threads)
    return evsim.Trainer(net, evsim.CountCrossEntropy(), evsim.Adam(lr=1e-3), encoder=rows)


def run(given: Any, case: str) -> float:
    """Median seconds a batch."""
    images, labels = load_mnist(given.data, "train")
    x = (images / np.float32(255)).astype(np.float32)
    trainer, seconds = make_trainer(case, given.threads), []
    for number in range(given.batches + 5):
        part = slice(number * BATCH, (number + 1) * BATCH)
        started = time.perf_counter()
        trainer.train_batch(x[part], labels[part], part.start)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[5:])


if __name__ == "__main__":
    main()
