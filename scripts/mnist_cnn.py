"""MNIST with the convolutional network of sinabs' first example, trained by surrogate gradients instead of converted.

`python scripts/mnist_cnn.py --data FOLDER --epochs 3 --json`

Three convolutions with IAF neurons and average pools, Linear(128, 500), IAF, Linear(500, 10), as there; pixels are
currents that last T steps, the output is the sum of the last layer's inputs over the steps, the loss is cross-entropy.
"""

import argparse

import numpy as np

import evsim
from evsim.training_experiment import train_on_mnist, training_parser


def main() -> None:
    lr_help = "learning rate at first; it falls to 0 like a cosine"
    out = "folder for the checkpoint and the network"
    given = training_parser(__doc__, epochs=3, batch=64, lr=2e-3, steps=6, lr_help=lr_help, out=out).parse_args()
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
    run = train_on_mnist(trainer, given, "mnist_cnn_run.h5")
    if given.out:
        net.save(given.out / "mnist_cnn.h5", overwrite=True)
    run.report()


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
