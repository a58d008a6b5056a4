"""MNIST with one layer of 10 LIF neurons, trained by surrogate gradients: SpikingJelly's first example.

`python scripts/mnist_lif.py --data FOLDER --epochs 5 --json`

Pixels are Poisson spikes of T = 100 steps, the network Flatten - Linear(784, 10, no bias) - LIF(tau = 2), the loss the
mean squared error between firing rates and one-hot labels, the optimiser Adam. Afterwards v and spikes of the output
layer for the first test image are kept (`v_t_array.npy`, `s_t_array.npy`) and drawn.
"""

from pathlib import Path

import numpy as np

import evsim
from evsim.plotting import plot_heatmap, plot_spikes
from evsim.training_experiment import train_on_mnist, training_parser


def main() -> None:
    out = "folder for arrays, pictures and the checkpoint"
    parser = training_parser(__doc__, epochs=5, batch=64, lr=1e-3, steps=100, out=out)
    parser.add_argument("--tau", type=float, default=2.0, help="membrane time constant in steps")
    given = parser.parse_args()
    layer = evsim.spikingjelly.LIFNode(tau=given.tau, surrogate=evsim.ATan())
    settings = {"seed": given.seed, "threads": given.threads, "backend": given.backend}
    net = evsim.Sequential(evsim.Flatten(), evsim.Linear(784, 10, bias=False), layer, **settings)

    def encode(x: np.ndarray, first: int) -> evsim.PoissonInput:
        return evsim.encoders.poisson(x / np.float32(255), given.T, seed=given.seed, first_sample=first)

    trainer = evsim.Trainer(net, evsim.RateMSE(), evsim.Adam(lr=given.lr), encoder=encode, seed=given.seed)
    run = train_on_mnist(trainer, given, "mnist_lif.h5")
    if given.out:
        keep_first_image(net, encode(run.test_images[:1], 0), given.out)
    run.report(samples_per_s=run.samples_per_s)


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
