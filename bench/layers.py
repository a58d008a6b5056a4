"""Layered networks: sinabs' CNN one image at a time and in batches, and a chain of LIF layers against SpikingJelly.

The CNN is that of sinabs' MNIST example, converted: 28x28 input spikes, 200 steps, trained weights (made first where
there are none: some minutes). Goals on two cores: 8 times sinabs for one image at a time, 3 times for batches of 64.
The chain is 784-1000-1000-10 LIFNodes, 100 steps, batches of 64, at 2, 10 and 30 % input spikes: 5, 3 and 1 times
SpikingJelly. Both sides run the same weights on the same input, in turn; their output spikes are compared.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import LAYER_PEERS, ROOT, finish, parser, peer_run

import evsim
from evsim.io.idx import load_mnist
from evsim.versions import versions

RATES = (0.02, 0.1, 0.3)


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    options.add_argument("--weights", type=Path, default=ROOT / "bench" / "weights", help="folder of the weights")
    options.add_argument("--batches", type=int, default=10, help="timed batches of each run")
    options.add_argument("--without-peers", action="store_true")
    given = options.parse_args()
    given.weights.mkdir(exist_ok=True)
    cnn, chain = given.weights / "cnn_mnist.npz", given.weights / "chain.npz"
    if not cnn.exists():
        peer_run("sinabs_cnn.py", "--train", "--data", str(given.data), "--weights", str(cnn), environment=LAYER_PEERS)
    if not chain.exists():
        peer_run("spikingjelly_chain.py", "--make", "--weights", str(chain), environment=LAYER_PEERS)
    result: dict[str, Any] = {"benchmark": "layers", "threads": given.threads, "versions": versions()}
    for batch in (1, 64):
        arguments = ["--data", str(given.data), "--weights", str(cnn), "--batch", str(batch)]
        result[f"cnn_batch_{batch}"] = compare(
            given, "sinabs_cnn.py", "seconds_per_sample", arguments, lambda b=batch: run_cnn(given, cnn, b)
        )
    for rate in RATES:
        arguments = ["--weights", str(chain), "--rate", str(rate)]
        result[f"chain_{round(100 * rate)}_percent"] = compare(
            given, "spikingjelly_chain.py", "seconds_per_batch", arguments, lambda r=rate: run_chain(given, chain, r)
        )
    finish(result, given.out)


def compare(given: Any, script: str, key: str, arguments: list[str], run: Any) -> dict[str, Any]:
    """Medians of both sides, run in turn."""
    ours, theirs = [], []
    batches = max(2, given.batches // 4) if "64" in arguments else given.batches
    for _ in range(given.repeat):
        ours.append(run())
        if not given.without_peers:
            common = ["--threads", str(given.threads), "--batches", str(batches)]
            theirs.append(peer_run(script, *arguments, *common, environment=LAYER_PEERS))
    made = {**ours[0], key: statistics.median(each[key] for each in ours)}
    if theirs:
        made["peer"] = {**theirs[0], key: statistics.median(each[key] for each in theirs)}
        made["speedup"] = made["peer"][key] / made[key]
    print({name: made[name] for name in (key, "layer_rates", "speedup") if name in made}, file=sys.stderr)
    return made


def convolution(weight: Any) -> evsim.Conv2d:
    """A Conv2d with this weight and no bias."""
    n_out, n_in, *kernel = weight.shape
    return evsim.Conv2d(n_in, n_out, tuple(kernel), bias=False, weight=weight)


def linear(weight: Any) -> evsim.Linear:
    """A Linear with this weight and no bias."""
    n_out, n_in = weight.shape
    return evsim.Linear(n_in, n_out, bias=False, weight=weight)


def run_cnn(given: Any, weights: Path, batch: int) -> dict[str, Any]:
    """Seconds a sample of the converted CNN."""
    with np.load(weights) as w:
        kernels = [convolution(w[f"conv{i}.weight"]) for i in (1, 2, 3)]
        linears = [linear(w[f"linear{i}.weight"]) for i in (1, 2)]

    def iaf() -> Any:
        return evsim.sinabs.IAF(min_v_mem=-1.0)

    layers = [layer for kernel in kernels for layer in (kernel, iaf(), evsim.AvgPool2d(2))]
    net = evsim.Sequential(*layers, evsim.Flatten(), linears[0], iaf(), linears[1], iaf(), threads=given.threads)
    batches = max(2, given.batches // 4) if batch > 1 else given.batches
    images = load_mnist(given.data, "test")[0].reshape(-1, 1, 28, 28)
    rng = np.random.default_rng(1)
    seconds, output_spikes = [], 0
    for number in range(batches + 2):
        pixels = images[number * batch : (number + 1) * batch]
        spikes = rng.random((batch, 200, 1, 28, 28), dtype=np.float32) < pixels[:, None] / np.float32(255)
        x = np.ascontiguousarray(spikes.swapaxes(0, 1), np.float32)
        started = time.perf_counter()
        net.reset()
        out = net(x)
        if number >= 2:
            seconds.append((time.perf_counter() - started) / batch)
            output_spikes += int(out.sum())
    return {"batch": batch, "seconds_per_sample": statistics.median(seconds), "output_spikes": output_spikes}


def run_chain(given: Any, weights: Path, rate: float) -> dict[str, Any]:
    """Seconds a batch of the chain."""
    with np.load(weights) as w:
        linears = [linear(w[f"linear{i}.weight"]) for i in (1, 2, 3)]
    layers = [layer for each in linears for layer in (each, evsim.spikingjelly.LIFNode())]
    net = evsim.Sequential(*layers, threads=given.threads)
    rng = np.random.default_rng(1)
    seconds = []
    for number in range(given.batches + 2):
        x = (rng.random((100, 64, 784), dtype=np.float32) < rate).astype(np.float32)
        started = time.perf_counter()
        net.reset()
        net(x)
        if number >= 2:
            seconds.append(time.perf_counter() - started)
    records = [net.record(index, "spikes") for index in (1, 3, 5)]
    net.reset()
    net(x)
    rates = [round(float(record.spikes.mean()), 4) for record in records]
    return {"rate": rate, "layer_rates": rates, "seconds_per_batch": statistics.median(seconds)}


if __name__ == "__main__":
    main()
