"""MNIST with the convolutional network of sinabs' first example, trained by surrogate gradients instead of converted.

`python scripts/mnist_cnn.py --data FOLDER --epochs 3 --json`

Three convolutions with IAF neurons and average pools, Linear(128, 500), IAF, Linear(500, 10), as there; pixels are
currents that last T steps, the output is the sum of the last layer's inputs over the steps, the loss is cross-entropy.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import evsim
from evsim.io.idx import load_mnist
from evsim.versions import versions


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64, help="samples of a batch")
    parser.add_argument("--T", type=int, default=6, help="steps that an image is shown")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate at first; it falls to 0 like a cosine")
    parser.add_argument("--samples", type=int, default=60_000, help="training images of an epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--backend", choices=("auto", "cpu", "cuda"), default="auto", help="where the network runs")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint and the network")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args()
    images, labels = (array[: given.samples] for array in load_mnist(given.data, "train"))
    test_images, test_labels = load_mnist(given.data, "test")
    net = network(given)

    def encode(x: np.ndarray, _first: int) -> evsim.RepeatedInput:
        return evsim.encoders.repeat(x[:, np.newaxis] / np.float32(255.0), given.T)

    trainer = evsim.Trainer(
        net,
        evsim.MeanCrossEntropy(),
        evsim.Adam(lr=given.lr),
        encoder=encode,
        schedule=evsim.CosineAnnealingLR(max(given.epochs, 1)),
        seed=given.seed,
    )
    checkpoint = None
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        checkpoint = given.out / "mnist_cnn_run.h5"
        if given.resume:
            trainer.resume(checkpoint)
    started = time.perf_counter()
    history = trainer.fit(images, labels, given.epochs, given.batch, checkpoint=checkpoint)
    seconds = time.perf_counter() - started
    test = trainer.evaluate(test_images, test_labels)
    print(f"test accuracy {100 * test['accuracy']:.2f} %, loss {test['loss']:.4f}")
    if given.out:
        net.save(given.out / "mnist_cnn.h5", overwrite=True)
    if given.json:
        result = {
            "test_accuracy": test["accuracy"],
            "test_loss": test["loss"],
            "epoch_s": seconds / max(given.epochs, 1),
            "history": history,
            "threads": net.threads,
            "versions": versions(),
        }
        print(json.dumps(result))


def network(given: argparse.Namespace) -> evsim.Sequential:
    """Four layers of neurons; the threshold of 0.5 lets them spike with the weights that they begin with."""
    iaf = evsim.sinabs.IAF(spike_threshold=0.5, min_v_mem=-1.0)
    layers = []
    for n_in, n_out, size in ((1, 20, 5), (20, 32, 5), (32, 128, 3)):
        layers += [evsim.Conv2d(n_in, n_out, size, bias=False), iaf, evsim.AvgPool2d(2)]
    layers += [evsim.Flatten(), evsim.Linear(128, 500, bias=False), iaf, evsim.Linear(500, 10, bias=False)]
    return evsim.Sequential(*layers, seed=given.seed, threads=given.threads, backend=given.backend)


if __name__ == "__main__":
    main()
