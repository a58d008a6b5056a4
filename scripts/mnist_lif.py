"""MNIST with one layer of 10 LIF neurons, trained by surrogate gradients: SpikingJelly's first example.

`python scripts/mnist_lif.py --data FOLDER --epochs 5 --json`

Pixels are Poisson spikes of T = 100 steps, the network Flatten - Linear(784, 10, no bias) - LIF(tau = 2), the loss the
mean squared error between firing rates and one-hot labels, the optimiser Adam. Afterwards v and spikes of the output
layer for the first test image are kept (`v_t_array.npy`, `s_t_array.npy`) and drawn.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import evsim
from evsim.io.idx import load_mnist
from evsim.plotting import plot_heatmap, plot_spikes
from evsim.versions import versions


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the MNIST files")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64, help="samples of a batch")
    parser.add_argument("--T", type=int, default=100, help="steps that an image is shown")
    parser.add_argument("--tau", type=float, default=2.0, help="membrane time constant in steps")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--samples", type=int, default=60_000, help="training images of an epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--out", type=Path, help="folder for arrays, pictures and the checkpoint")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args()
    images, labels = (array[: given.samples] for array in load_mnist(given.data, "train"))
    test_images, test_labels = load_mnist(given.data, "test")
    layer = evsim.spikingjelly.LIFNode(tau=given.tau, surrogate=evsim.ATan())
    net = evsim.Sequential(
        evsim.Flatten(), evsim.Linear(784, 10, bias=False), layer, seed=given.seed, threads=given.threads
    )

    def encode(x: np.ndarray, first: int) -> evsim.PoissonInput:
        return evsim.encoders.poisson(x / 255.0, given.T, seed=given.seed, first_sample=first)

    trainer = evsim.Trainer(net, evsim.RateMSE(), evsim.Adam(lr=given.lr), encoder=encode, seed=given.seed)
    checkpoint = None
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        checkpoint = given.out / "mnist_lif.h5"
        if given.resume:
            trainer.resume(checkpoint)
    started = time.perf_counter()
    history = trainer.fit(images, labels, given.epochs, given.batch, checkpoint=checkpoint)
    seconds = time.perf_counter() - started
    test = trainer.evaluate(test_images, test_labels)
    print(f"test accuracy {100 * test['accuracy']:.2f} %, loss {test['loss']:.4f}")
    if given.out:
        keep_first_image(net, encode(test_images[:1], 0), given.out)
    if given.json:
        result = {
            "test_accuracy": test["accuracy"],
            "test_loss": test["loss"],
            "epoch_s": seconds / max(given.epochs, 1),
            "samples_per_s": given.epochs * len(images) / seconds,
            "history": history,
            "threads": net.threads,
            "versions": versions(),
        }
        print(json.dumps(result))


def keep_first_image(net: evsim.Sequential, x: evsim.PoissonInput, folder: Path) -> None:
    """v and spikes of the output layer for one image, as arrays and pictures."""
    net.reset()
    recording = net.record(2, "v", "spikes")
    rates = net(x).mean(axis=0)[0]
    print(f"firing rates for the first test image: {rates}")
    v, spikes = recording.v[:, 0], recording.spikes[:, 0]
    np.save(folder / "v_t_array.npy", v)
    np.save(folder / "s_t_array.npy", spikes)
    figure, _ = plot_heatmap(v, title="membrane potentials of the output layer", label="v")
    figure.savefig(folder / "output_v.png", dpi=150)
    figure, _ = plot_spikes(spikes, title="spikes of the output layer")
    figure.savefig(folder / "output_spikes.png", dpi=150)


if __name__ == "__main__":
    main()
