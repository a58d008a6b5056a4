"""MNIST row by row: 28 rows are 28 steps of a network of IAF neurons, trained through time: sinabs' BPTT example.

`python scripts/mnist_rows.py --data FOLDER --epochs 10 --json`

A pixel spikes with its brightness as the probability. As in the example, an ordinary network, Linear layers
28-128-128-256-256-10 each followed by a ReLU, first learns to tell the digit from single rows, and is converted: an IAF
(min_v_mem = -1) for each ReLU. Then the spiking network learns from all rows: its output is summed over the 28 steps;
cross-entropy, Adam, whose rate here falls to 0. The state is reset for each batch.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import evsim
from evsim.io.idx import load_mnist
from evsim.training import fit_analog
from evsim.versions import versions

SIZES = (28, 128, 128, 256, 256, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64, help="samples of a batch")
    parser.add_argument("--ann-epochs", type=int, default=2, help="of the ordinary network before")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate at first; it falls to 0 like a cosine")
    parser.add_argument("--samples", type=int, default=60_000, help="training images of an epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint and a picture")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args()
    images, labels = (array[: given.samples] for array in load_mnist(given.data, "train"))
    test_images, test_labels = load_mnist(given.data, "test")
    started = time.perf_counter()
    ann = fit_rows(images, labels, 0 if given.resume else given.ann_epochs, given.seed)
    ann_s = time.perf_counter() - started
    net = evsim.convert(ann, threads=given.threads)

    def encode(x: np.ndarray, first: int) -> np.ndarray:
        """Rows as steps: (28, B, 28) spikes, of numbers that belong to the samples' presentation."""
        return np.swapaxes(draw_spikes(x, given.seed, first), 0, 1)

    trainer = evsim.Trainer(
        net,
        evsim.CountCrossEntropy(),
        evsim.Adam(lr=given.lr),
        encoder=encode,
        schedule=evsim.CosineAnnealingLR(max(given.epochs, 1)),
        seed=given.seed,
    )
    checkpoint = None
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        checkpoint = given.out / "mnist_rows.h5"
        if given.resume:
            trainer.resume(checkpoint)
    started = time.perf_counter()
    history = trainer.fit(images, labels, given.epochs, given.batch, checkpoint=checkpoint)
    seconds = time.perf_counter() - started
    test = trainer.evaluate(test_images, test_labels)
    print(f"test accuracy {100 * test['accuracy']:.2f} %, loss {test['loss']:.4f}")
    if given.out:
        draw_activity(net, encode(test_images[:64], 0), given.out)
    if given.json:
        result = {
            "test_accuracy": test["accuracy"],
            "test_loss": test["loss"],
            "ann_s": ann_s,
            "epoch_s": seconds / max(given.epochs, 1),
            "history": history,
            "threads": net.threads,
            "versions": versions(),
        }
        print(json.dumps(result))


def draw_spikes(x: np.ndarray, seed: int, number: int) -> np.ndarray:
    """Each pixel with its brightness as the probability."""
    rng = np.random.Generator(np.random.Philox(key=[seed, number]))
    return rng.random(x.shape, dtype=np.float32) < x / np.float32(255.0)


def fit_rows(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> evsim.AnalogNetwork:
    """The ordinary network: each row by itself should tell the digit."""
    layers = [layer for sizes in pairwise(SIZES) for layer in (evsim.Linear(*sizes), evsim.ReLU())]
    ann, adam = evsim.AnalogNetwork(*layers, seed=seed), evsim.Adam(lr=1e-3)
    for epoch in range(epochs):
        rows = draw_spikes(images, seed, 2**63 + epoch).reshape(-1, 28)
        (loss,) = fit_analog(ann, rows, np.repeat(labels, 28), 1, adam, batch_size=28 * 64, seed=epoch)
        print(f"rows one by one, epoch {epoch + 1}: loss {loss:.3f}")
    return ann


def draw_activity(net: evsim.Sequential, x: np.ndarray, folder: Path) -> None:
    """The rates of all layers over the rows of some test images."""
    from evsim.plotting import plot_layer_activity

    net.reset()
    records = {f"layer {index}": net.record(index, "spikes") for index in range(1, len(net), 2)}
    net(x)
    activity = {name: record.spikes.mean(axis=1) for name, record in records.items()}
    figure, _ = plot_layer_activity(activity, title="rates over the rows of 64 test images")
    figure.savefig(folder / "activity.png", dpi=150)
    net.stop_recording()


if __name__ == "__main__":
    main()
