"""MNIST with a convolutional network that is trained as usual and then converted: sinabs' first example.

`python scripts/mnist_convert.py --data FOLDER --T 200 --json`

The network is Conv(1, 20, 5) - ReLU - AvgPool - Conv(20, 32, 5) - ReLU - AvgPool - Conv(32, 128, 3) - ReLU - AvgPool -
Linear(128, 500) - ReLU - Linear(500, 10), without biases, trained on pixels from 0 to 255 (3 epochs of Adam, learning
rate 1e-4, batches of 128, cross-entropy) or read from --weights. Every ReLU becomes integrate-and-fire neurons, which
are shown T steps of spikes, each with probability pixel / 255. `--normalize none` leaves the weights as they are, as
the example does: it takes ten times as many steps to be as accurate.
"""

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import evsim
from evsim.io.idx import load_mnist
from evsim.plotting import plot_accuracy_over_time, plot_activations
from evsim.versions import versions

SCALE = 255.0  # of pixels
MARGINS = (3.0, 10.0, 30.0, 100.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    parser.add_argument("--weights", type=Path, help=".npz of the trained weights: conv1.weight ... linear2.weight")
    parser.add_argument("--epochs", type=int, default=3, help="of the training, without --weights")
    parser.add_argument("--samples", type=int, default=60_000, help="training images of an epoch")
    parser.add_argument("--images", type=int, default=10_000, help="test images")
    parser.add_argument("--T", type=int, default=200, help="steps that an image is shown")
    parser.add_argument(
        "--code", choices=("poisson", "direct"), default="poisson", help="spikes, or pixels as currents"
    )
    parser.add_argument(
        "--normalize", default="max", help="'max', a percentile of activations such as '99.9%%', or 'none'"
    )
    parser.add_argument("--max-rate", type=float, default=0.25, help="spikes a step at that activation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--backend", choices=("auto", "cpu", "cuda"), default="auto", help="where to run")
    parser.add_argument("--out", type=Path, help="folder for weights and pictures")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args()
    images, labels = (array[: given.samples] for array in load_mnist(given.data, "train"))
    test_images, test_labels = (array[: given.images] for array in load_mnist(given.data, "test"))
    images, test_images = images[:, np.newaxis], test_images[:, np.newaxis]  # one channel
    ann = network(given.seed)
    started = time.perf_counter()
    if given.weights:
        with np.load(given.weights) as weights:
            ann.load_parameters(dict(weights))
    else:
        evsim.training.fit_analog(ann, images, labels, given.epochs, evsim.Adam(lr=1e-4), seed=given.seed)
    train_s = time.perf_counter() - started
    ann_accuracy = float(np.mean(ann(test_images).argmax(axis=1) == test_labels))

    chosen = {"threads": given.threads, "backend": given.backend}
    if given.normalize == "none":
        net = evsim.convert(ann, add_spiking_output=True, **chosen)
    else:
        scaled = {"normalize": given.normalize, "data": images[:1000], "max_rate": given.max_rate, "input_scale": SCALE}
        net = evsim.convert(ann, min_v_mem=None, **scaled, **chosen)
    started = time.perf_counter()
    table = evsim.accuracy_over_time(
        net, test_images / SCALE, test_labels, given.T, given.code, seed=given.seed, margins=MARGINS
    )
    run_s = time.perf_counter() - started
    one = evsim.count_operations(net, evsim.encoders.repeat(test_images[:1] / SCALE, 1))
    ann_macs, ann_energy = int(one.ann.sum()), one.ann_energy()
    print(f"ANN  {100 * ann_accuracy:.2f} %, {ann_macs:,} multiply-accumulates, {1e6 * ann_energy:.2f} uJ an image")
    print(
        f"SNN  {100 * table.accuracy[-1]:.2f} % after {given.T} steps, {table.spikes[-1]:,.0f} spikes, "
        f"{table.synaptic_operations[-1]:,.0f} synaptic operations, {1e6 * table.joules[-1]:.2f} uJ an image"
    )
    print(table)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        np.savez(given.out / "mnist_convert.npz", **ann.parameters())
        if find_spec("nir"):
            evsim.to_nir(net, given.out / "mnist_convert.nir", shape=(1, 28, 28), overwrite=True)
        else:
            print("no NIR file is written: it needs pip install 'evsim[nir]'")
        save_pictures(ann, net, table, ann_accuracy, test_images[:100] / SCALE, given)
    if given.json:
        result = {
            "ann_accuracy": ann_accuracy,
            "test_accuracy": float(table.accuracy[-1]),
            "images": table.n_samples,
            "spikes": float(table.spikes[-1]),  # these four of an image
            "synaptic_operations": float(table.synaptic_operations[-1]),
            "multiply_accumulates": float(table.multiply_accumulates[-1]),
            "energy_j": float(table.joules[-1]),
            "ann_multiply_accumulates": ann_macs,
            "ann_energy_j": ann_energy,
            "exits": [vars(exit) for exit in table.exits],
            "train_s": train_s,
            "run_s": run_s,
            "backend": net.backend,
            "threads": net.threads,
            "seed": given.seed,
            "versions": versions(),
        }
        print(json.dumps(result))


def network(seed: int) -> evsim.AnalogNetwork:
    """The document's network, before it is trained."""
    layers = {
        "conv1": evsim.Conv2d(1, 20, 5, bias=False),
        "relu1": evsim.ReLU(),
        "pool1": evsim.AvgPool2d(2),
        "conv2": evsim.Conv2d(20, 32, 5, bias=False),
        "relu2": evsim.ReLU(),
        "pool2": evsim.AvgPool2d(2),
        "conv3": evsim.Conv2d(32, 128, 3, bias=False),
        "relu3": evsim.ReLU(),
        "pool3": evsim.AvgPool2d(2),
        "flatten": evsim.Flatten(),
        "linear1": evsim.Linear(128, 500, bias=False),
        "relu4": evsim.ReLU(),
        "linear2": evsim.Linear(500, 10, bias=False),
    }
    return evsim.AnalogNetwork(*layers.values(), names=list(layers), seed=seed)


def save_pictures(
    ann: evsim.AnalogNetwork,
    net: evsim.Converted,
    table: evsim.AccuracyOverTime,
    ann_accuracy: float,
    x: np.ndarray,
    given: argparse.Namespace,
) -> None:
    """Accuracy over time, and rates against activations of some images."""
    figure, _ = plot_accuracy_over_time(table, ann_accuracy, title="MNIST, converted network")
    figure.savefig(given.out / "accuracy_over_time.png", dpi=150)
    layers = evsim.compare_activations(ann, net, x, given.T, given.code, given.seed)
    print(*layers, sep="\n")
    figure, _ = plot_activations(layers, title=f"rates of {given.T} steps against activations, {len(x)} images")
    figure.savefig(given.out / "activations.png", dpi=150)


if __name__ == "__main__":
    main()
