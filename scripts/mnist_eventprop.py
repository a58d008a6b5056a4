"""MNIST in spike times, trained by EventProp: 784-350-10 LIF neurons in continuous time; the first spike is the answer.

`python scripts/mnist_eventprop.py --data FOLDER --epochs 12 --json`

A pixel brighter than THRESHOLD spikes once, the earlier the brighter it is (up to T_LAST ms); CLOCK further inputs
spike at fixed times in every image, so that images of few pixels make spikes too. The loss is the cross-entropy of the
output's first spike times. Neurons that fall silent are brought back by a penalty on rates below LOW.
Source: Wunderlich & Pehle 2021, Sci. Rep. 11:12829.
"""

from pathlib import Path

import numpy as np

import evsim
from evsim.plotting import plot_raster
from evsim.training import ExponentialLR, forward
from evsim.training_experiment import train_on_mnist, training_parser

N_HIDDEN, CLOCK = 350, 20
T_LAST, DURATION = 10.0, 25.0  # ms
THRESHOLD = 0.2
LOW = 0.08  # spikes per ms


def main() -> None:
    lr_help, out = "learning rate of the first epoch", "folder for the picture and the checkpoint"
    parser = training_parser(__doc__, epochs=12, batch=60, lr=4e-3, lr_help=lr_help, backends=("auto", "cpu"), out=out)
    parser.add_argument("--decay", type=float, default=0.75, help="factor of the learning rate from epoch to epoch")
    given = parser.parse_args()
    net = make_network(given.seed, given.threads)
    awake = evsim.RateRegulariser(low=LOW, high=np.inf, strength=100.0)
    trainer = evsim.Trainer(
        net,
        evsim.SpikeTimeCrossEntropy(tau=0.5, late=3e-3, tau_late=10.0),
        evsim.Adam(lr=given.lr),
        encoder=encode,
        schedule=ExponentialLR(given.decay),
        clip_norm=1.0,  # a spike that barely came has a very large gradient
        regularisers={1: awake, 3: awake},
        seed=given.seed,
    )
    run = train_on_mnist(trainer, given, "mnist_eventprop.h5")
    _, backward = forward(net, encode(run.test_images[:100], 0))
    if given.out:
        draw_first_image(backward, given.out)
    run.report(samples_per_s=run.samples_per_s, kept_bytes_per_sample=backward.nbytes / 100)


def make_network(seed: int, threads: int | None) -> evsim.EventSequential:
    """The network with weights from which all layers spike."""
    generator = np.random.Generator(np.random.Philox(seed))
    neurons = evsim.LIF(tau_mem=20.0, tau_syn=5.0)
    hidden = generator.normal(0.06, 0.08, (N_HIDDEN, 784 + CLOCK))
    output = generator.normal(0.2, 0.37, (10, N_HIDDEN))
    return evsim.EventSequential(
        evsim.Linear(784 + CLOCK, N_HIDDEN, bias=False, weight=hidden),
        neurons,
        evsim.Linear(N_HIDDEN, 10, bias=False, weight=output),
        neurons,
        duration=DURATION,
        threads=threads,
    )


def encode(x: np.ndarray, _first: int) -> np.ndarray:
    """Images (B, 28, 28) as spike times (1, B, 784 + CLOCK)."""
    pixels = evsim.encoders.spike_times(x / 255.0, T_LAST, THRESHOLD)
    clock = np.broadcast_to(np.linspace(0.0, T_LAST, CLOCK), (1, len(x), CLOCK))
    return np.concatenate((pixels, clock), axis=2)


def draw_first_image(backward: evsim.training.EventBackward, folder: Path) -> None:
    """The spikes of all layers for the first test image."""
    layers = {"input": -1, "hidden": 1, "output": 3}
    spikes = {name: backward.spikes(layer)[0] for name, layer in layers.items()}
    sizes = {"input": 784 + CLOCK, "hidden": N_HIDDEN, "output": 10}
    figure, _ = plot_raster(spikes, sizes=sizes, max_neurons=2000, title="spikes for the first test image")
    figure.savefig(folder / "eventprop_spikes.png", dpi=150)


if __name__ == "__main__":
    main()
