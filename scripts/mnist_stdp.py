"""Handwritten digits without labels: STDP on MNIST (Diehl & Cook 2015), labels assigned to neurons afterwards.

`python scripts/mnist_stdp.py --data FOLDER --neurons 400 --epochs 1 --json`

Each image is shown for 250 ms as Poisson spikes; weights into each neuron are normalised before it, and all traces and
potentials start afresh. Then learning stops, neurons get the class of the training images they respond to most, and
the test images are predicted. Ctrl-C keeps a checkpoint; `--resume` goes on from it exactly.
"""

import argparse
import json
import time
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import evsim
from evsim import labelling
from evsim.experiment import report
from evsim.interrupt import Interrupt
from evsim.io.idx import load_mnist
from evsim.io.output import check_output
from evsim.plotting import plot_confusion_matrix, plot_receptive_fields
from evsim.reference_networks import diehl_cook

SAMPLE_MS = 250.0
RATE = 128.0  # Hz, of a white pixel
NORM = 78.4  # sum of the weights into each neuron
WINDOW = 1000  # samples between two looks at the running accuracy
CHECKPOINT = 5000  # samples between two checkpoints
CLASSES = 10


class Experiment:
    """The network, shown one image after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        network = diehl_cook(options.neurons, rate=RATE, seed=options.seed)
        self.sim = evsim.Simulation(network, backend=options.backend, threads=options.threads)
        self.exc = network.populations["exc"]
        self.plastic = network.projections[0]
        self.checkpoint = Path(options.out).with_suffix(".checkpoint.h5")
        self.running: list[tuple[int, float]] = []  # (samples seen, accuracy on the last WINDOW / 2 of them)

    @property
    def n_shown(self) -> int:
        """Images shown so far, in all runs of a resumed training."""
        return round(self.sim.time / SAMPLE_MS)

    def show(self, image: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The spikes (n_neurons,) with which the excitatory neurons respond to an image."""
        before = self.sim.neuron_spikes(self.exc)
        self.sim.set_rate("inputs", image.ravel() * (RATE / 255.0))
        self.sim.run(SAMPLE_MS)
        self.sim.reset_state()
        return self.sim.neuron_spikes(self.exc) - before

    def train(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """Show the images not shown yet, learning; returns the seconds it took."""
        responses: list[NDArray[np.int64]] = []
        started = time.perf_counter()
        bar = tqdm(total=len(images), initial=self.n_shown, desc="train", unit=" images", disable=None)
        try:
            with bar, Interrupt() as interrupted:  # held back once, not in each of many short runs
                while self.n_shown < len(images):
                    self.sim.normalize(self.plastic, NORM)
                    responses.append(self.show(images[self.n_shown]))
                    bar.update()
                    if len(responses) == WINDOW:
                        accuracy = self._running_accuracy(responses, labels[self.n_shown - WINDOW : self.n_shown])
                        self.running.append((self.n_shown, accuracy))
                        bar.set_postfix(accuracy=f"{accuracy:.3f}")
                        responses.clear()
                    if self.n_shown % CHECKPOINT == 0:
                        self.sim.save(self.checkpoint)
            if interrupted.seen:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.sim.run(-self.sim.time % SAMPLE_MS)
            self.sim.reset_state()
            self.sim.save(self.checkpoint)
            raise SystemExit(f"interrupted after {self.n_shown} images; go on with --resume") from None
        return time.perf_counter() - started

    def _running_accuracy(self, responses: list[NDArray[np.int64]], labels: NDArray[np.int64]) -> float:
        """Labels from the first half of the responses, accuracy on the second."""
        half = len(responses) // 2
        assignments, proportions = labelling.assign_labels(np.array(responses[:half]), labels[:half], CLASSES)
        predictions = labelling.predict_proportion(np.array(responses[half:]), assignments, proportions)
        return labelling.accuracy(labels[half:], predictions)

    def respond(self, images: NDArray[np.uint8], what: str) -> NDArray[np.int64]:
        """Responses (n_images, n_neurons) without learning."""
        self.sim.learning = False
        return np.array([self.show(image) for image in tqdm(images, desc=what, unit=" images", disable=None)])


def main() -> None:
    options = _parser().parse_args()
    if options.small:
        options.samples, options.label_samples, options.test_samples = 300, 200, 200
    check_output(options.out, options.overwrite or options.resume)
    images, labels = load_mnist(options.data, "train")
    test_images, test_labels = load_mnist(options.data, "test")
    order = np.concatenate(
        [
            np.random.default_rng([options.seed, epoch]).permutation(len(images))[: options.samples]
            for epoch in range(options.epochs)
        ]
    )
    experiment = Experiment(options)
    sim = experiment.sim
    if options.resume:
        sim.load(experiment.checkpoint)
    already, events, spikes = experiment.n_shown, sim.n_events, sim.spike_counts()
    run_s = experiment.train(images[order], labels[order])
    shown = max(experiment.n_shown - already, 1)
    spikes = {name: n - spikes[name] for name, n in sim.spike_counts().items()}
    result = report(sim, run_s, shown * SAMPLE_MS, spikes, sim.n_events - events)

    sim.normalize(experiment.plastic, NORM)
    first = order[: options.label_samples]
    assignments, proportions = labelling.assign_labels(
        experiment.respond(images[first], "label"), labels[first], CLASSES
    )
    responses = experiment.respond(test_images[: options.test_samples], "test")
    expected = test_labels[: options.test_samples]
    predictions = labelling.predict_proportion(responses, assignments, proportions)
    confusion = labelling.confusion_matrix(expected, predictions, CLASSES)
    result |= {
        "test_accuracy": labelling.accuracy(expected, predictions),
        "test_accuracy_all_activity": labelling.accuracy(
            expected, labelling.predict_all_activity(responses, assignments, CLASSES)
        ),
        "samples": int(order.size),
        "epoch_s": run_s / shown * len(order) / options.epochs,
        "samples_per_s": shown / run_s,
    }
    weights = sim.weights(experiment.plastic).toarray()
    with h5py.File(options.out, "w") as file:
        file.attrs["result"] = json.dumps(result)
        file["weights"], file["theta"] = weights, sim.values(experiment.exc, "theta")
        file["assignments"], file["proportions"] = assignments, proportions
        file["running_accuracy"], file["confusion_matrix"] = np.array(experiment.running), confusion
    figure, _ = plot_receptive_fields(weights, (28, 28), labels=assignments)
    figure.savefig(Path(options.out).with_suffix(".fields.png"))
    figure, _ = plot_confusion_matrix(confusion)
    figure.savefig(Path(options.out).with_suffix(".confusion.png"))
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{options.neurons} neurons, {order.size:,} images at {result['samples_per_s']:.0f} a second")
        print(f"test accuracy {result['test_accuracy']:.4f}; weights, labels and pictures beside {options.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the four MNIST files (IDX, .gz or plain)")
    parser.add_argument("--neurons", type=int, default=400, help="excitatory neurons")
    parser.add_argument("--epochs", type=int, default=1, help="times the training images are shown")
    parser.add_argument("--samples", type=int, default=60_000, help="training images of an epoch")
    parser.add_argument("--label-samples", type=int, default=10_000, help="training images that give the labels")
    parser.add_argument("--test-samples", type=int, default=10_000, help="test images")
    parser.add_argument("--seed", type=int, default=1, help="of weights, spikes and the order of images")
    parser.add_argument("--threads", type=int, help="CPU threads; by default what suits the network")
    parser.add_argument("--backend", choices=("auto", "cpu", "cuda"), default="auto", help="where to run")
    parser.add_argument("--out", type=Path, default=Path("mnist_stdp.h5"), help="weights and labels; pictures beside")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside --out")
    parser.add_argument("--small", action="store_true", help="a few hundred images, to see that it works")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line")
    return parser


if __name__ == "__main__":
    main()
