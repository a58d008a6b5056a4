"""Accuracy of a layered network against the time that it is given, with the spikes and operations that it takes.

The output is added up over steps: what has come by step t predicts the class with the largest sum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks, encoders
from evsim.batch_build import BatchBuilt
from evsim.batch_input import BatchInput
from evsim.early_exit import running_sums
from evsim.layer_frames import run_parts
from evsim.layer_values import as_seen
from evsim.operations import ADDITION, MULTIPLY_ACCUMULATE, count_part, counted_nodes
from evsim.sequential import Sequential

__all__ = ["AccuracyOverTime", "EarlyExit", "accuracy_over_time"]

F8 = NDArray[np.float64]
Encoder = Callable[[NDArray[Any], int], Any]
SHOWN = (1, 2, 5)  # times powers of ten: the steps of the printed table


@dataclass(frozen=True)
class EarlyExit:
    """What comes of stopping a sample as soon as one class leads by `margin`; means over samples."""

    margin: float
    accuracy: float
    steps: float
    spikes: float
    operations: float
    joules: float


@dataclass(frozen=True, eq=False)
class AccuracyOverTime:
    """A row for each step; spikes, operations and joules are means of a sample, all steps so far together.

    Attributes
    ----------
    steps : (T,) 1 ... T
    accuracy : (T,) share of samples predicted right after so many steps.
    spikes, synaptic_operations, multiply_accumulates : (T,)
    joules : (T,) of both kinds of operations.
    layers, layer_spikes, layer_operations : (L,) names, and means of a sample over all steps.
    exits : an `EarlyExit` for each margin.
    n_samples : so many.
    """

    steps: NDArray[np.int64]
    accuracy: F8
    spikes: F8
    synaptic_operations: F8
    multiply_accumulates: F8
    joules: F8
    layers: tuple[str, ...]
    layer_spikes: F8
    layer_operations: F8
    exits: tuple[EarlyExit, ...]
    n_samples: int

    def __str__(self) -> str:
        shown = [s * 10**k for k in range(10) for s in SHOWN if s * 10**k < len(self.steps)] + [len(self.steps)]
        lines = [f"{'steps':>8}  {'accuracy':>8}  {'spikes':>12}  {'operations':>14}  {'energy':>10}"]
        for t in shown:
            numbers = (self.accuracy[t - 1], self.spikes[t - 1], self._operations[t - 1], self.joules[t - 1])
            lines.append(_line(f"{t}", *numbers))
        if self.exits:
            lines.append("stopped when one class leads by a margin, steps on average:")
        for exit in self.exits:
            numbers = (exit.accuracy, exit.spikes, exit.operations, exit.joules)
            lines.append(_line(f"{exit.steps:.1f}", *numbers) + f"  margin {exit.margin:g}")
        return "\n".join(lines)

    @property
    def _operations(self) -> F8:
        return self.synaptic_operations + self.multiply_accumulates


def _line(steps: str, accuracy: float, spikes: float, operations: float, joules: float) -> str:
    return f"{steps:>8}  {100 * accuracy:>6.2f} %  {spikes:>12,.0f}  {operations:>14,.0f}  {1e6 * joules:>7.2f} uJ"


def accuracy_over_time(
    net: Sequential,
    x: Any,
    y: Any,
    n_steps: int,
    encoder: str | Encoder = "direct",
    seed: int = 0,
    margins: Sequence[float] = (),
    batch_size: int = 64,
    joules_per_operation: float = ADDITION,
    joules_per_multiply_accumulate: float = MULTIPLY_ACCUMULATE,
) -> AccuracyOverTime:
    """Accuracy, spikes and synaptic operations after 1, 2, ... n_steps steps, over a data set.

        table = evsim.accuracy_over_time(net, images / 255, labels, 200, "poisson", margins=(2, 5, 10))
        print(table)
        evsim.plotting.plot_accuracy_over_time(table)

    A sample without any output so far is predicted as no class, which counts as wrong. Memory does not grow with the
    number of samples.

    Parameters
    ----------
    net : Sequential
        Whose output is (T, B, classes): spikes or sums. Its state is reset.
    x, y : (N, ...) samples and (N,) their classes.
    n_steps : T.
    encoder : "direct" (x is the same current in each step), "poisson" (a spike with probability x; x in [0, 1]), or
        callable (x (B, ...), number of the first sample) -> input of n_steps steps.
    seed : of Poisson spikes.
    margins : of early exits: a sample is stopped after the first step in which its largest sum is so much above the
        next; one that never is takes all steps.
    batch_size : samples that are given to the network at once.
    joules_per_operation, joules_per_multiply_accumulate : as in `Operations.energy`.

    Raises
    ------
    ValueError : as many labels as samples are not given; an encoder or output of another shape.
    """
    labels = np.asarray(y)
    n_steps = checks.size("accuracy_over_time", "n_steps", n_steps, 1)
    size = checks.size("accuracy_over_time", "batch_size", batch_size, 1)
    limits = np.array([checks.number("accuracy_over_time", "margins", m, 0.0) for m in margins])
    if labels.shape != (len(x),) or not len(x):
        raise ValueError(f"accuracy_over_time: there are {len(x)} samples, y has shape {labels.shape}; it must be (N,)")
    encode = _encoder(encoder, n_steps, seed)
    totals = _Totals(n_steps, limits, np.array([joules_per_operation, joules_per_multiply_accumulate]))
    for first in range(0, len(x), size):
        given = encode(x[first : first + size], first)
        if len(given) != n_steps:
            raise ValueError(f"accuracy_over_time: encoder gives {len(given)} steps; it must give n_steps = {n_steps}")
        for part in run_parts(net, given, _nodes):
            at, last = first + part.first, part.built.nodes[-1]
            output = as_seen(last, part.frames[len(part.built.nodes) - 1], last.scale)
            if output.ndim != 3:
                raise ValueError(f"accuracy_over_time: the network gives {output.shape}; it must give (T, B, classes)")
            totals.add(output, labels[at : at + output.shape[1]], count_part(net, part))
    return totals.table()


def _nodes(built: BatchBuilt) -> list[int]:
    return sorted({*counted_nodes(built), len(built.nodes) - 1})


def _encoder(encoder: str | Encoder, n_steps: int, seed: int) -> Encoder:
    if callable(encoder):
        return encoder
    known: dict[str, Callable[[NDArray[Any], int], BatchInput]] = {
        "direct": lambda x, first: encoders.repeat(x, n_steps),
        "poisson": lambda x, first: encoders.poisson(x, n_steps, seed, first),
    }
    if encoder not in known:
        raise ValueError(
            f"accuracy_over_time: encoder is {encoder!r}; it must be {' or '.join(map(repr, known))}, or callable"
        )
    return known[encoder]


class _Totals:
    """Sums over samples."""

    def __init__(self, n_steps: int, margins: F8, joules: F8) -> None:
        self.margins, self.joules = margins, joules
        self.n_samples = 0
        self.correct = np.zeros(n_steps, np.int64)
        self.spikes = self.synaptic = self.multiplied = np.zeros((n_steps, 1), np.int64)  # (T, L)
        self.exits = np.zeros((len(margins), 5))  # correct, steps, spikes, synaptic operations, multiply-accumulates
        self.layers: tuple[str, ...] = ()

    def add(self, output: NDArray[np.float32], labels: NDArray[Any], done: Any) -> None:
        """Take in a batch."""
        sums, lead = running_sums(output)
        correct = (sums.argmax(axis=2) == labels) & sums.any(axis=2)
        self.n_samples += len(labels)
        self.correct += correct.sum(axis=1)
        self.layers = done.layers
        self.spikes = self.spikes + done.spikes.sum(axis=1)
        self.synaptic = self.synaptic + done.synaptic.sum(axis=1)
        self.multiplied = self.multiplied + done.multiply_accumulates.sum(axis=1)
        if not len(self.margins):
            return
        spent = [
            np.cumsum(each.sum(axis=2), axis=0) for each in (done.spikes, done.synaptic, done.multiply_accumulates)
        ]
        sample = np.arange(len(labels))
        for row, margin in zip(self.exits, self.margins, strict=True):
            enough = lead >= margin
            stop = np.where(enough.any(axis=0), enough.argmax(axis=0), len(sums) - 1)
            row += [correct[stop, sample].sum(), (stop + 1).sum(), *(each[stop, sample].sum() for each in spent)]

    def table(self) -> AccuracyOverTime:
        """The means."""
        n = self.n_samples
        spikes, synaptic, multiplied = (
            np.cumsum(each.sum(axis=1)) / n for each in (self.spikes, self.synaptic, self.multiplied)
        )
        exits = []
        for margin, means in zip(self.margins, (self.exits / n).tolist(), strict=True):
            correct, steps, spent, *both = means
            exits.append(EarlyExit(float(margin), correct, steps, spent, sum(both), float(both @ self.joules)))
        return AccuracyOverTime(
            steps=np.arange(1, len(self.correct) + 1),
            accuracy=self.correct / n,
            spikes=spikes,
            synaptic_operations=synaptic,
            multiply_accumulates=multiplied,
            joules=self.joules[0] * synaptic + self.joules[1] * multiplied,
            layers=self.layers,
            layer_spikes=self.spikes.sum(axis=0) / n,
            layer_operations=(self.synaptic + self.multiplied).sum(axis=0) / n,
            exits=tuple(exits),
            n_samples=n,
        )
