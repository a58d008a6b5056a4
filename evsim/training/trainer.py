"""`Trainer`: epochs and batches, evaluation, the best model, history, interrupt and resume."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from evsim import checks
from evsim.batches import shuffled
from evsim.interrupt import Interrupt
from evsim.io.training_file import read_training, write_training
from evsim.layers import Recurrent
from evsim.sequential import Sequential
from evsim.training.backward import forward
from evsim.training.eventprop import EventSequential
from evsim.training.losses import Loss, RateRegulariser
from evsim.training.optimizers import Optimizer, clip_gradients

SILENT, SATURATED = 1e-3, 0.9  # spikes of a neuron in a step, below and above which a layer is told
IDLE = 0.9  # share of a layer's neurons without a spike in a batch, above which it is told
FIRST_LOOK = 100  # batches of the first epoch after which layers are looked at; later on after each epoch

Encoder = Callable[[NDArray[Any], int], Any]


@dataclass
class Position:
    """How far training has come."""

    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the epoch so far, over samples


class Trainer:
    """Trains a `Sequential` by backpropagation through time, an `EventSequential` by EventProp.

        trainer = evsim.Trainer(net, loss=evsim.RateMSE(), optimizer=evsim.Adam(lr=1e-3),
                                encoder=lambda x, first: evsim.encoders.poisson(x, 100, seed=1, first_sample=first))
        trainer.fit(images, labels, epochs=5, batch_size=64, validation=(test_images, test_labels))

    In each batch the state is reset, the loss and its gradients are computed, and the optimiser takes a step.

    Parameters
    ----------
    net : Sequential or EventSequential
    loss : a loss of `evsim.training`, of the output (T, B, ...) and the targets of a batch.
    optimizer : SGD, Adam, AdamW.
    encoder : callable (x (B, ...), number of the first sample) -> input of T steps, optional
        The number counts the samples of all epochs, so that each has random spikes of its own. Without an encoder x is
        (N, T, ...).
    schedule : callable, optional
        Factor of the learning rate, from the epoch.
    clip_norm : float, optional
        Largest norm of all gradients together.
    regularisers : {layer index: RateRegulariser}, optional
        Penalties on the rates of layers.
    checkpoint_every : int, optional
        Steps from one kept state to the next: memory then does not grow with T; see `evsim.training.forward`.
    seed : int
        Of the order of samples.

    Attributes
    ----------
    history : one entry an epoch of "loss", "accuracy", "validation_loss", "validation_accuracy", and of each spiking
        layer "rate.<layer>", spikes of a neuron in a step, and "silent.<layer>", the share of its neurons that do not
        spike in a batch.
    """

    def __init__(
        self,
        net: Sequential | EventSequential,
        loss: Loss,
        optimizer: Optimizer,
        encoder: Encoder | None = None,
        schedule: Callable[[int], float] | None = None,
        clip_norm: float | None = None,
        regularisers: Mapping[int, RateRegulariser] | None = None,
        seed: int = 0,
        checkpoint_every: int | None = None,
    ) -> None:
        self.net, self.loss, self.optimizer = net, loss, optimizer
        self.encoder = encoder if encoder is not None else _swap_axes
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.regularisers = dict(regularisers or {})
        self.seed = checks.size("Trainer", "seed", seed, high=2**64 - 1)
        if checkpoint_every is not None:
            checks.size("Trainer", "checkpoint_every", checkpoint_every, 1)
        self.checkpoint_every = checkpoint_every
        self.history: dict[str, list[float]] = {}
        self._position = Position()

    def train_batch(self, x: Any, y: Any, first_sample: int = 0, factor: float = 1.0) -> dict[str, float]:
        """One step on a batch; returns loss, accuracy and the rate of each neuron layer."""
        self.net.reset()
        output, backward = forward(self.net, self.encoder(x, first_sample), checkpoint_every=self.checkpoint_every)
        loss, gradient, classes = self.loss.judge(output, y)
        figures = {"accuracy": int(np.count_nonzero(classes == _classes(y))) / len(classes)}
        layers = {}
        for index, rate in backward.rates().items():
            figures[f"rate.{index}"] = float(rate.sum()) / rate.size
            figures[f"silent.{index}"] = 1.0 - int(np.count_nonzero(rate)) / rate.size
            if index in self.regularisers:
                penalty, slope = self.regularisers[index](rate[np.newaxis, np.newaxis])
                loss += penalty
                frames = output.shape[:2]
                layers[index] = np.broadcast_to(slope / (frames[0] * frames[1]), (*frames, *rate.shape))
        gradients = backward(gradient, layers)
        if self.clip_norm is not None:
            gradients = clip_gradients(gradients, self.clip_norm)
        parameters = self.optimizer.update(self.net.parameters(), gradients, factor)
        for each in parameters.values():
            each.flags.writeable = False  # nobody else has them: they need not be copied
        self.net.load_parameters(parameters)
        return {"loss": loss, **figures}

    def evaluate(self, x: Any, y: Any, batch_size: int = 256) -> dict[str, float]:
        """Loss and accuracy on other samples; nothing is learned."""
        sums = {"loss": 0.0, "accuracy": 0.0}
        for first in range(0, len(x), batch_size):
            part, wanted = x[first : first + batch_size], y[first : first + batch_size]
            self.net.reset()
            output = self.net(self.encoder(part, first))
            loss, _, classes = self.loss.judge(output, wanted)
            sums["loss"] += loss * len(part)
            sums["accuracy"] += float(np.sum(classes == _classes(wanted)))
        return {name: value / len(x) for name, value in sums.items()}

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int,
        batch_size: int = 64,
        validation: tuple[Any, Any] | None = None,
        checkpoint: str | Path | None = None,
        best: str | Path | None = None,
    ) -> dict[str, list[float]]:
        """Train until `epochs` epochs are done in all; returns the history.

        Parameters
        ----------
        x, y : (N, ...) samples and their targets.
        epochs : counted from the first fit.
        batch_size : samples of a batch; the last one of an epoch may be smaller.
        validation : (x, y) to evaluate after each epoch.
        checkpoint : HDF5 file written after each epoch, and at an interrupt (Ctrl-C); `resume` goes on from it.
        best : HDF5 file of the network with the best accuracy, as `net.save` writes it: of validation, where there is
            one.
        """
        checks.size("fit", "batch_size", batch_size, 1)
        done = self._position
        if done.batch and done.sums["samples"] != min(done.batch * batch_size, len(x)):
            raise ValueError(
                f"fit: batch_size is {batch_size} and there are {len(x)} samples; the epoch to go on with has seen "
                f"{done.sums['samples']:g} in {done.batch} batches"
            )
        if best is not None:
            self.net.describe()  # refuses what a file cannot hold, before anything is learned
        if len(x) != len(y):
            raise ValueError(f"fit: there are {len(x)} samples and {len(y)} targets; there must be as many of each")
        n_batches = -(-len(x) // batch_size)
        try:
            while self._position.epoch < epochs:
                self._train_epoch(x, y, batch_size, n_batches)
                self._end_epoch(validation, best)
                if checkpoint is not None:
                    self.save(checkpoint)
        except KeyboardInterrupt:
            if checkpoint is not None:
                self.save(checkpoint)
            raise
        return self.history

    def save(self, path: str | Path) -> None:
        """Keep parameters, the optimiser's state, history and position in an HDF5 file."""
        position = self._position
        where = {"epoch": position.epoch, "batch": position.batch, "seed": self.seed}
        write_training(Path(path), self.net.parameters(), self.optimizer.state(), self.history, where, position.sums)

    def resume(self, path: str | Path) -> None:
        """Go on from where `save` or an interrupted fit left off: with the same data, to the same weights."""
        parameters, state, history, where, sums = read_training(Path(path))
        if where["seed"] != self.seed:
            raise ValueError(f"resume: {path} was made with seed {where['seed']}, this Trainer has {self.seed}")
        self.net.load_parameters(parameters)
        self.optimizer.load_state(state)
        self.history = history
        self._position = Position(where["epoch"], where["batch"], sums)

    def _train_epoch(self, x: Any, y: Any, batch_size: int, n_batches: int) -> None:
        """The rest of an epoch."""
        position = self._position
        order = shuffled(len(x), self.seed, position.epoch)
        factor = 1.0 if self.schedule is None else self.schedule(position.epoch)
        name = f"epoch {position.epoch + 1}"
        with tqdm(total=n_batches, initial=position.batch, desc=name, unit="batch", disable=None) as bar:
            while position.batch < n_batches:
                interrupt = Interrupt()
                with interrupt:
                    self._step(x, y, order, batch_size, factor)
                if interrupt.seen:
                    raise KeyboardInterrupt
                means = self._means()
                shown = {name: round(value, 4) for name, value in means.items() if not name.startswith("silent")}
                bar.set_postfix(shown, refresh=False)
                bar.update()
                if (position.epoch, position.batch) == (0, FIRST_LOOK):
                    _tell(_diagnose(self.net, means))

    def _step(self, x: Any, y: Any, order: NDArray[np.int64], batch_size: int, factor: float) -> None:
        position = self._position
        first = position.batch * batch_size
        chosen = order[first : first + batch_size]
        figures = self.train_batch(x[chosen], y[chosen], position.epoch * len(order) + first, factor)
        for name, value in {**figures, "samples": 1.0}.items():
            position.sums[name] = position.sums.get(name, 0.0) + value * len(chosen)
        position.batch += 1

    def _means(self) -> dict[str, float]:
        sums = self._position.sums
        return {name: value / sums["samples"] for name, value in sums.items() if name != "samples"}

    def _end_epoch(self, validation: tuple[Any, Any] | None, best: str | Path | None) -> None:
        figures = self._means()
        if validation is not None:
            figures.update({f"validation_{name}": value for name, value in self.evaluate(*validation).items()})
        for name, value in figures.items():
            self.history.setdefault(name, []).append(value)
        judged = self.history["validation_accuracy" if validation is not None else "accuracy"]
        self._position = Position(self._position.epoch + 1)
        if best is not None and judged[-1] == max(judged):
            self.net.save(best, overwrite=True)
        _tell(self.diagnose())

    def diagnose(self) -> list[str]:
        """Layers that were silent or saturated in the last epoch, with what to change."""
        return _diagnose(self.net, {name: values[-1] for name, values in self.history.items()})


def _diagnose(net: Sequential | EventSequential, figures: Mapping[str, float]) -> list[str]:
    """What is wrong with the rates of layers."""
    lines = []
    for index, layer in enumerate(net):
        rate, idle = figures.get(f"rate.{index}"), figures.get(f"silent.{index}", 0.0)
        if rate is None:
            continue
        neurons = layer.neurons if isinstance(layer, Recurrent) else layer
        label = f"layer {index} ({type(layer).__name__})"
        if rate < SILENT:
            lines.append(
                f"{label}: its neurons spike {rate:.2g} times a step, too seldom to learn; raise the weights before "
                "it, or lower its threshold"
            )
        elif rate > SATURATED and not getattr(neurons, "multi_spike", False):
            lines.append(
                f"{label}: its neurons spike {rate:.2g} times a step, nearly always; lower the weights before it, or "
                "raise its threshold"
            )
        elif idle > IDLE:
            lines.append(
                f"{label}: {100 * idle:.0f} % of its neurons do not spike in a batch; raise the weights before it, or "
                "lower its threshold"
            )
    return lines


def _tell(lines: list[str]) -> None:
    for line in lines:
        tqdm.write(line, file=sys.stderr)


def _classes(y: Any) -> NDArray[Any]:
    """Targets (B,), (B, 1) or one-hot (B, N) as classes (B,)."""
    wanted = np.asarray(y)
    if wanted.ndim == 1:
        return wanted
    return wanted[:, 0] if wanted.shape[1] == 1 else wanted.argmax(axis=1)


def _swap_axes(x: NDArray[Any], _first_sample: int) -> NDArray[Any]:
    """Samples (B, T, ...) as an input (T, B, ...)."""
    return np.swapaxes(x, 0, 1)
