"""A tour of single neurons and layers, step by step, with its pictures.

`python scripts/neurons.py --out FOLDER`

One IF neuron with input 0.5 for 150 steps; 32 neurons with inputs of their own for 50 steps; hard and soft reset side
by side; the leak of a LIF neuron; and one step at a time against all steps at once. Leaves four pictures in the folder.
"""

import argparse
from pathlib import Path

import numpy as np

import evsim
from evsim.plotting import plot_heatmap, plot_neuron, plot_spikes


def show_shapes() -> None:
    """A layer takes the shape of its first input, and another one after a reset."""
    net = evsim.Sequential(evsim.spikingjelly.IFNode(v_threshold=0.5))
    recording = net.record(0, "v")
    rng = np.random.default_rng(0)
    for shape in ((2, 3), (4, 5, 6)):
        x = rng.random(shape, dtype=np.float32)
        net.step(x)
        print(f"one step of x {shape}: v has shape {recording.v[0].shape}")
        if len(shape) == 2:
            print(f"x =\n{x.round(4)}\nv =\n{recording.v[0].round(4)}\n(0 where v reached the threshold, 0.5)")
        net.reset()
        recording.clear()


def run_one_neuron(folder: Path) -> None:
    """One IF neuron, input 0.5 in every step: it spikes in every second."""
    net = evsim.Sequential(evsim.spikingjelly.IFNode())
    recording = net.record(0, "v", "spikes")
    net(np.full((150, 1), 0.5))
    spikes = recording.spikes[:, 0]
    print(f"input 0.5 for 150 steps: {int(spikes.sum())} spikes")
    figure, _ = plot_neuron(recording.v[:, 0], spikes, v_threshold=1.0, v_reset=0.0, title="IF neuron, input 0.5")
    figure.savefig(folder / "one_neuron.png", dpi=150)


def run_many_neurons(folder: Path) -> None:
    """32 IF neurons, each with a constant input in [0, 1/8): heat map of v, and spikes with rates."""
    x = np.random.default_rng(1).random(32) / 8.0
    net = evsim.Sequential(evsim.spikingjelly.IFNode())
    recording = net.record(0, "v", "spikes")
    spikes = net(evsim.encoders.repeat(x[:, np.newaxis], 50))[:, :, 0]
    fastest = 50 / spikes.sum(axis=0).max()
    print(f"32 neurons for 50 steps: {int(spikes.sum())} spikes; the fastest spikes every {fastest:.0f} steps")
    figure, _ = plot_heatmap(recording.v[:, :, 0], title="membrane potentials of 32 IF neurons", label="v")
    figure.savefig(folder / "many_neurons_v.png", dpi=150)
    figure, _ = plot_spikes(spikes, title="spikes of 32 IF neurons")
    figure.savefig(folder / "many_neurons_spikes.png", dpi=150)


def compare_resets(folder: Path) -> None:
    """A hard reset throws away what v is above the threshold; a soft one keeps it."""
    x = np.full((60, 1), 0.3)
    traces = {}
    for name, v_reset in (("hard", 0.0), ("soft", None)):
        net = evsim.Sequential(evsim.spikingjelly.IFNode(v_reset=v_reset))
        recording = net.record(0, "v")
        spikes = net(x)[:, 0]
        traces[name] = recording.v[:, 0], spikes
        print(f"{name} reset, input 0.3 for 60 steps: {int(spikes.sum())} spikes")
    figure, _ = plot_neuron(*traces["soft"], v_reset=None, title="IF neuron with soft reset, input 0.3")
    figure.savefig(folder / "soft_reset.png", dpi=150)


def show_leak() -> None:
    """Between spikes a LIF neuron's v goes towards its input, so that it needs more than the threshold to spike."""
    for x in (0.9, 1.1):
        spikes = evsim.Sequential(evsim.spikingjelly.LIFNode(tau=2.0))(np.full((50, 1), x))
        print(f"LIF neuron, tau = 2, input {x} for 50 steps: {int(spikes.sum())} spikes")


def compare_step_modes() -> None:
    """One step at a time, or all steps at once: the same bits."""
    x = np.random.default_rng(2).random((8, 2))
    net = evsim.Sequential(evsim.spikingjelly.IFNode())
    one_by_one = np.stack([net.step(frame) for frame in x])
    net.reset()
    at_once = net(x)
    print(f"one-step and multi-step mode give the same: {np.array_equal(one_by_one, at_once)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the pictures (default: here)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    show_shapes()
    run_one_neuron(folder)
    run_many_neurons(folder)
    compare_resets(folder)
    show_leak()
    compare_step_modes()
    print(f"pictures in {folder.resolve()}")


if __name__ == "__main__":
    main()
