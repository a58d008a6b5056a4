"""MNIST's whole test set through the converted CNN, 200 steps: accuracy and time, against sinabs.

The CNN is that of sinabs' MNIST example with trained weights (made first where there are none: some minutes). Both
sides run the same converted network: weights normalised so that the largest activation on 1,000 training images is a
rate of ``--max-rate``, IAF neurons behind the output too, v bounded at -1. evsim takes all images, sinabs some batches
of 1 and of 16; its time for all images is that of the faster ones, times as many. evsim's time includes the drawing of
the input spikes, sinabs' does not. Goal on two cores: 5 times sinabs, and at most 0.5 points of accuracy below the
CNN's.

``--direct`` is the CNN on constant currents, without a bound of v and without neurons behind the output. Goal with
``--steps 1000``: at most 0.1 points.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import LAYER_PEERS, ROOT, finish, parser, peer_run

import evsim
from evsim.io.idx import load_mnist
from evsim.versions import versions

LAYERS = {"conv1": 0, "conv2": 3, "conv3": 6, "linear1": 10, "linear2": 12}  # name -> place in the network
SCALE = 255.0  # of pixels


def main() -> None:
    options = parser(__doc__ or "", repeat=3)
    options.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    options.add_argument("--weights", type=Path, default=ROOT / "bench" / "weights" / "cnn_mnist.npz")
    options.add_argument("--images", type=int, default=10_000, help="of the test set")
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--batches", type=int, default=10, help="timed batches of one image of a run of sinabs")
    options.add_argument("--max-rate", type=float, default=0.25, help="spikes a step at the largest activation")
    options.add_argument("--direct", action="store_true", help="constant currents; evsim alone")
    options.add_argument("--without-peers", action="store_true")
    given = options.parse_args()
    if not given.weights.exists():
        given.weights.parent.mkdir(exist_ok=True)
        arguments = ["--train", "--data", str(given.data), "--weights", str(given.weights)]
        peer_run("sinabs_cnn.py", *arguments, environment=LAYER_PEERS)
    ann = network(given.weights)
    images, labels = (array[: given.images] for array in load_mnist(given.data, "test"))
    images = images[:, np.newaxis]
    training = load_mnist(given.data, "train")[0][:1000, np.newaxis]
    scaled: dict[str, Any] = {"normalize": "max", "data": training, "max_rate": given.max_rate, "input_scale": SCALE}
    kind = {"min_v_mem": None} if given.direct else {"min_v_mem": -1.0, "add_spiking_output": True}
    net = evsim.convert(ann, threads=given.threads, backend="cpu", **kind, **scaled)
    ours: list[dict[str, float]] = []
    theirs: dict[int, list[dict[str, Any]]] = {1: [], 16: []}
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "converted.npz"
        np.savez(converted, **{f"{name}.weight": net.layers[place].weight for name, place in LAYERS.items()})
        for _ in range(given.repeat):
            ours.append(run(net, images, labels, given))
            print(ours[-1], file=sys.stderr)
            for batch, runs in theirs.items():
                if not (given.direct or given.without_peers):
                    runs.append(run_sinabs(given, converted, batch))
                    print(runs[-1], file=sys.stderr)
    result: dict[str, Any] = {
        "benchmark": "conversion",
        "threads": given.threads,
        "steps": given.steps,
        "images": len(images),
        "max_rate": given.max_rate,
        "input": "direct" if given.direct else "poisson",
        "ann_accuracy": float(np.mean(ann(images).argmax(axis=1) == labels)),
        "test_accuracy": ours[0]["accuracy"],
        "seconds": statistics.median(each["seconds"] for each in ours),
        "versions": versions(),
    }
    if theirs[1]:
        per_image = {b: statistics.median(each["seconds_per_sample"] for each in runs) for b, runs in theirs.items()}
        seconds = min(per_image.values()) * len(images)
        result["peer"] = {**theirs[1][0], "seconds_per_sample": per_image, "seconds_extrapolated": seconds}
        result["speedup"] = seconds / result["seconds"]
    finish(result, given.out)


def network(weights: Path) -> evsim.AnalogNetwork:
    """The trained CNN."""
    with np.load(weights) as w:
        kernels = [w[f"conv{i}.weight"] for i in (1, 2, 3)]
        linears = [w[f"linear{i}.weight"] for i in (1, 2)]
    layers: list[Any] = []
    for k in kernels:
        layers += [evsim.Conv2d(k.shape[1], k.shape[0], k.shape[2:], bias=False, weight=k), evsim.ReLU()]
        layers.append(evsim.AvgPool2d(2))
    first, last = (evsim.Linear(k.shape[1], k.shape[0], bias=False, weight=k) for k in linears)
    return evsim.AnalogNetwork(*layers, evsim.Flatten(), first, evsim.ReLU(), last)


def run(net: Any, images: Any, labels: Any, given: Any, batch: int = 100) -> dict[str, float]:
    """Seconds for all images, and the share that is predicted right."""
    net.reset()
    net(encode(images[:2], 0, given))  # compiled, and room made
    right, started = 0, time.perf_counter()
    for first in range(0, len(images), batch):
        net.reset()
        output = net(encode(images[first : first + batch], first, given)).sum(axis=0)
        right += int(np.sum(output.argmax(axis=1) == labels[first : first + batch]))
    return {"seconds": time.perf_counter() - started, "accuracy": right / len(images)}


def encode(images: Any, first: int, given: Any) -> Any:
    """The input of a batch."""
    if given.direct:
        return evsim.encoders.repeat(images / SCALE, given.steps)
    return evsim.encoders.poisson(images / SCALE, given.steps, seed=1, first_sample=first)


def run_sinabs(given: Any, weights: Path, batch: int) -> dict[str, Any]:
    """Seconds an image of some batches."""
    batches = given.batches if batch == 1 else max(1, given.batches // 5)
    arguments = ["--data", str(given.data), "--weights", str(weights), "--batch", str(batch), "--batches", str(batches)]
    arguments += ["--warmup", "1", "--time", str(given.steps), "--threads", str(given.threads)]
    return peer_run("sinabs_cnn.py", *arguments, environment=LAYER_PEERS)


if __name__ == "__main__":
    main()
