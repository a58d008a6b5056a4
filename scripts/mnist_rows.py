"""MNIST row by row: 28 rows are 28 steps of a network of IAF neurons, trained through time: sinabs' BPTT example.

`python scripts/mnist_rows.py --data FOLDER --epochs 10 --json`

A pixel spikes with its brightness as the probability; Linear layers 28-128-128-256-256-10, each followed by sinabs' IAF
(min_v_mem = -1); the output is summed over the 28 steps; cross-entropy, Adam 1e-3. The state is reset for each batch.
The example begins with the weights of a trained analog network; here they are random, those of hidden layers twice as
large as PyTorch's, so that the deeper ones spike. What is changed from it for accuracy: batches of 16, a learning rate
that falls to 0, gradients clipped, and ATan for sinabs' exponential surrogate.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

import evsim
from evsim.training_experiment import train_on_mnist, training_parser

SIZES = (28, 128, 128, 256, 256, 10)


def main() -> None:
    lr_help = "learning rate at first; it falls to 0 like a cosine"
    out = "folder for the checkpoint and a picture"
    given = training_parser(__doc__, epochs=10, batch=16, lr=1e-3, lr_help=lr_help, out=out).parse_args()
    layers = [
        layer
        for n_in, n_out in pairwise(SIZES)
        for layer in (evsim.Linear(n_in, n_out), evsim.sinabs.IAF(min_v_mem=-1.0, surrogate=evsim.ATan()))
    ]
    net = evsim.Sequential(*layers, seed=given.seed, threads=given.threads, backend=given.backend)
    hidden = [f"{index}.weight" for index in range(0, len(layers) - 2, 2)]
    net.load_parameters({name: 2.0 * net.parameters()[name] for name in hidden})

    def encode(x: np.ndarray, first: int) -> np.ndarray:
        """Rows as steps: (28, B, 28) spikes, of numbers that belong to the samples' presentation."""
        rng = np.random.Generator(np.random.Philox(key=[given.seed, first]))
        return np.swapaxes(rng.random(x.shape, dtype=np.float32) < x / np.float32(255.0), 0, 1)

    trainer = evsim.Trainer(
        net,
        evsim.CountCrossEntropy(),
        evsim.Adam(lr=given.lr),
        encoder=encode,
        schedule=evsim.CosineAnnealingLR(max(given.epochs, 1)),
        clip_norm=1.0,
        seed=given.seed,
    )
    run = train_on_mnist(trainer, given, "mnist_rows.h5")
    if given.out:
        draw_activity(net, encode(run.test_images[:64], 0), given.out)
    run.report()


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
