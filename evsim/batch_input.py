"""Input of a batch of samples over T steps, kept small: the tensor (T, B, ...) is made only when it is asked for.

B samples of n units each; units are numbered in C order of the sample's own shape, such as (channels, rows, columns).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.buffers import Buffers
from evsim.encoding_kernels import draw_poisson, drawing_scratch, make_room
from evsim.threads import share_out

LAST_SAMPLE = 2**53  # sample numbers below this, the random numbers' counter holds
CERTAIN = 2**32  # the threshold of an input that spikes in every step
MOST_SPIKES = 2**16 - 1  # of a unit in a step: what networks count


def require_batch(owner: str, name: str, array: NDArray[Any]) -> None:
    """Refuse an array without a batch axis."""
    if array.ndim < 2:
        raise ValueError(
            f"{owner}: {name} has shape {array.shape}; it must be (B, ...), with the samples of a batch along its "
            "first axis; x[numpy.newaxis] makes a batch of one sample"
        )


def _event_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) < 3 or not all(isinstance(size, int | np.integer) and size >= 0 for size in shape):
        raise ValueError(f"EventInput: shape is {shape}; it must be (T, B, ...), three or more whole numbers")
    return tuple(int(size) for size in shape)


class BatchInput(ABC):
    """What goes into a network in T steps for B samples: `shape` is (T, B, ...), `numpy.asarray` makes the tensor."""

    shape: tuple[int, ...]

    @abstractmethod
    def dense(self) -> NDArray[np.float32]:
        """The tensor (T, B, ...): spikes of each unit in each step, or its current."""

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{type(self).__name__}: the tensor is not stored, so that it cannot be had without copy")
        return self.dense().astype(dtype or np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class RepeatedInput(BatchInput):
    """The same current in every step.

    Parameters
    ----------
    current
        (B, ...) float32, finite.
    n_steps
        T.
    """

    current: NDArray[np.float32]
    n_steps: int
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        owner = type(self).__name__
        checks.size(owner, "n_steps", self.n_steps, 1)
        current = checks.as_floats(owner, "current", self.current)
        require_batch(owner, "current", current)
        checks.numbers(owner, "current", current, current.shape)
        object.__setattr__(self, "current", np.ascontiguousarray(current, np.float32))
        object.__setattr__(self, "shape", (self.n_steps, *current.shape))

    def dense(self) -> NDArray[np.float32]:
        return np.repeat(self.current[np.newaxis], self.n_steps, axis=0)


@dataclass(frozen=True, eq=False)
class EventInput(BatchInput):
    """Given spikes: those of sample b in step t are of the units index[start[b * T + t] : start[b * T + t + 1]].

    A unit that spikes several times in a step stands there as often.

    Parameters
    ----------
    start
        (B * T + 1,) int64.
    index
        (n_spikes,) uint32, units.
    shape
        (T, B, ...).

    Raises
    ------
    ValueError : start does not ascend from 0 to n_spikes, a unit that the shape does not have, or that spikes more than
        65535 times in a step.
    """

    start: NDArray[np.int64]
    index: NDArray[np.uint32]
    shape: tuple[int, ...]
    stride: int = field(init=False)  # from one sample's first entry of start to the next one's

    def __post_init__(self) -> None:
        shape = _event_shape(self.shape)
        n_frames, n_units, n_spikes = shape[0] * shape[1], prod(shape[2:]), len(self.index)
        start = np.asarray(self.start)
        ends = (0, n_spikes)
        if start.shape != (n_frames + 1,) or (start[0], start[-1]) != ends or (np.diff(start) < 0).any():
            raise ValueError(
                f"EventInput: start is {start}; it must be B * T + 1 = {n_frames + 1} numbers that ascend from 0 to "
                f"the number of spikes, {n_spikes}"
            )
        index = checks.indices("EventInput", "index", self.index, n_units)
        for frame in np.flatnonzero(np.diff(start) > MOST_SPIKES):
            times = np.bincount(index[start[frame] : start[frame + 1]])
            if times.max() > MOST_SPIKES:
                sample, step = divmod(int(frame), shape[0])
                raise ValueError(
                    f"EventInput: unit {times.argmax()} of sample {sample} spikes {times.max()} times in step {step}; "
                    f"it may {MOST_SPIKES} times"
                )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "stride", shape[0])
        object.__setattr__(self, "start", np.ascontiguousarray(start, np.int64))
        object.__setattr__(self, "index", index.astype(np.uint32))

    @classmethod
    def trusted(cls, start: NDArray[np.int64], index: NDArray[np.uint32], shape: tuple[int, ...]) -> EventInput:
        """An input of arrays that are known to be right, units ascending: they are not looked at."""
        made = object.__new__(cls)
        fields = {"start": start, "index": index, "shape": shape, "stride": shape[0], "ascending": True}
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made

    @classmethod
    def from_spikes(cls, step: Any, sample: Any, unit: Any, shape: tuple[int, ...]) -> EventInput:
        """Spikes in any order, given by three arrays (n_spikes,), as the input of `shape` (T, B, ...)."""
        shape = _event_shape(shape)
        n_steps, n_samples, n_units = shape[0], shape[1], prod(shape[2:])
        step = checks.indices("EventInput", "step", step, n_steps)
        sample = checks.indices("EventInput", "sample", sample, n_samples)
        unit = checks.indices("EventInput", "unit", unit, n_units)
        if not step.shape == sample.shape == unit.shape:
            raise ValueError(
                f"EventInput: there are {step.size} steps, {sample.size} samples and {unit.size} units; "
                "there must be one of each for a spike"
            )
        place = np.sort((sample * n_steps + step) * n_units + unit)  # in the tensor (B, T, n)
        start = np.searchsorted(place, np.arange(n_samples * n_steps + 1) * n_units)
        return cls(start, place % max(n_units, 1), shape)

    @classmethod
    def from_events(
        cls,
        times: Sequence[Any],
        units: Sequence[Any],
        n_steps: int,
        n_units: int | tuple[int, ...],
        dt: float,
        crop: bool = False,
        names: Sequence[str] | None = None,
    ) -> EventInput:
        """Events at real times: one at time t is a spike in step floor(t / dt).

        A time closer than 1e-6 steps below a step belongs to it, so that 0.3 is in step 3 of 0.1.

        Parameters
        ----------
        times, units
            (B,) arrays (n_events,) of times, in the unit of dt, and of whole numbers.
        n_steps
            T.
        n_units
            Units of a sample, or its shape, in which units are numbered in C order.
        dt
            Length of a step.
        crop
            Whether to leave out the events from T dt on; else they are refused.
        names
            (B,) what messages call the samples.

        Raises
        ------
        ValueError : times that are negative, not finite or too late, no such unit, not as many times as units.
        """
        n_steps = checks.size("EventInput", "n_steps", n_steps, 1)
        dt = checks.number("EventInput", "dt", dt, 0.0, inclusive=False)
        sample_shape = n_units if isinstance(n_units, tuple) else (n_units,)
        if len(times) != len(units) or len(times) == 0:
            raise ValueError(
                f"EventInput: there are times of {len(times)} samples and units of {len(units)}; "
                "there must be as many of both, and one at least"
            )
        steps, kept = [], []
        for b, (when, which) in enumerate(zip(times, units, strict=True)):
            owner = f"EventInput: {names[b] if names else f'sample {b}'}"
            time = checks.as_floats(owner, "times", when)
            unit = checks.indices(owner, "units", which, prod(sample_shape))
            if time.shape != unit.shape:
                raise ValueError(f"{owner}: times has shape {time.shape} and units {unit.shape}; they must be the same")
            step = np.floor(time / dt + 1e-6)
            good = (step >= 0) & (step < np.inf if crop else step < n_steps)
            if not good.all():
                allowed = "finite and at least 0" if crop else f"in [0, {n_steps * dt:g}), or be cropped by crop=True"
                raise ValueError(f"{owner}: {checks.first_bad(time, good, 'times')}; times must be {allowed}")
            steps.append(step[step < n_steps])
            kept.append(unit[step < n_steps])
        sample = np.repeat(np.arange(len(steps)), [step.size for step in steps])
        shape = (n_steps, len(steps), *sample_shape)
        return cls.from_spikes(np.concatenate(steps).astype(np.int64), sample, np.concatenate(kept), shape)

    @classmethod
    def from_dense(cls, spikes: Any) -> EventInput:
        """The spikes of a tensor (T, B, ...) of whole numbers of spikes."""
        array = np.asarray(spikes)
        if array.ndim < 3 or array.dtype.kind not in "biuf":
            raise ValueError(f"EventInput: spikes is {array.dtype} {array.shape}; it must be numbers (T, B, ...)")
        rows = array.reshape(*array.shape[:2], prod(array.shape[2:]))
        step, sample, unit = np.nonzero(rows)
        n = checks.as_floats("EventInput", "spikes", rows[step, sample, unit])
        if not ((n > 0) & (n == np.rint(n)) & (n <= MOST_SPIKES)).all():
            good = (array >= 0) & (array == np.rint(array)) & (array <= MOST_SPIKES)
            raise ValueError(
                f"EventInput: {checks.first_bad(array, good, 'spikes')}; "
                f"it must be a whole number of spikes in [0, {MOST_SPIKES}]"
            )
        step, sample, unit = (np.repeat(each, n.astype(np.int64)) for each in (step, sample, unit))
        return cls.from_spikes(step, sample, unit, array.shape)

    def steps(self, first: int, stop: int) -> EventInput:
        """The input of steps [first, stop) alone."""
        n_steps = self.shape[0]
        row = np.arange(self.shape[1]) * n_steps
        begin, end = self.start[row + first], self.start[row + stop]
        index = np.concatenate([self.index[a:b] for a, b in zip(begin, end, strict=True)])
        count = np.diff(self.start).reshape(-1, n_steps)[:, first:stop]
        start = np.concatenate([[0], np.cumsum(count)])
        return EventInput.trusted(start, index, (stop - first, *self.shape[1:]))

    @property
    def n_spikes(self) -> int:
        return self.index.size

    @cached_property
    def ascending(self) -> bool:
        """Whether the units of every frame ascend, so that none spikes twice in a step."""
        same_frame = np.ones(max(self.index.size, 1), bool)
        same_frame[self.start[:-1][self.start[:-1] < self.index.size]] = False
        return bool((np.diff(self.index.astype(np.int64)) > 0)[same_frame[1:]].all())

    def dense(self) -> NDArray[np.float32]:
        n_steps, n_samples, n_units = self.shape[0], self.shape[1], prod(self.shape[2:])
        first = np.arange(n_steps * n_samples).reshape(n_steps, n_samples).T.ravel() * n_units  # place of each frame
        out = np.zeros(prod(self.shape), np.float32)
        np.add.at(out, np.repeat(first, np.diff(self.start)) + self.index, np.float32(1.0))
        return out.reshape(self.shape)


@dataclass(frozen=True, eq=False)
class PoissonInput(BatchInput):
    """Random spikes, drawn where they are needed: in each step a unit spikes with probability threshold / 2^32.

    Whether it does is a function of seed, sample number, step and unit alone, not of the batch a sample is in.

    Parameters
    ----------
    threshold
        (B, ...) uint64 in [0, 2^32]: 0 never spikes, 2^32 in every step.
    n_steps
        T.
    seed
        In [0, 2^64).
    first_sample
        The number of the first sample of the batch, in [0, 2^53); the others follow it.
    """

    threshold: NDArray[np.uint64]
    n_steps: int
    seed: int = 0
    first_sample: int = 0
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        checks.size("PoissonInput", "n_steps", self.n_steps, 1)
        checks.size("PoissonInput", "seed", self.seed, high=2**64 - 1)
        checks.size("PoissonInput", "first_sample", self.first_sample, high=LAST_SAMPLE - 1)
        threshold = np.asarray(self.threshold)
        require_batch("PoissonInput", "threshold", threshold)
        if threshold.dtype.kind not in "iu":
            raise TypeError(f"PoissonInput: threshold has dtype {threshold.dtype}; thresholds must be whole numbers")
        if threshold.size and not (threshold.min() >= 0 and threshold.max() <= CERTAIN):
            good = (threshold >= 0) & (threshold <= CERTAIN)
            raise ValueError(
                f"PoissonInput: {checks.first_bad(threshold, good, 'threshold')}; thresholds must be in [0, 2^32]"
            )
        object.__setattr__(self, "threshold", np.ascontiguousarray(threshold, np.uint64))
        object.__setattr__(self, "shape", (self.n_steps, *threshold.shape))

    @classmethod
    def trusted(cls, threshold: NDArray[np.uint64], n_steps: int, seed: int, first_sample: int) -> PoissonInput:
        """An input whose thresholds are known to be right: they are not looked at."""
        made = cls(threshold[:, :0], n_steps, seed, first_sample)
        object.__setattr__(made, "threshold", threshold)
        object.__setattr__(made, "shape", (n_steps, *threshold.shape))
        return made

    @property
    def key(self) -> tuple[np.uint64, np.uint64]:
        """The seed as the kernels take it."""
        return np.uint64(self.seed & 0xFFFFFFFF), np.uint64(self.seed >> 32)

    def drawn(self, buffers: Buffers) -> DrawnInput:
        """The same spikes, for one run that draws and stores them."""
        return DrawnInput(self, buffers)

    def events(self, threads: int = 1) -> EventInput:
        """The same spikes, drawn and stored; samples are shared out among threads."""
        made, n_samples = self.drawn(Buffers()), len(self.threshold)
        rows = self.threshold.reshape(n_samples, prod(self.shape[2:]))
        numbers = np.uint64(self.first_sample), *self.key

        def draw(first: int, stop: int) -> None:
            scratch = drawing_scratch(rows.shape[1])[:2]
            draw_poisson(rows, np.uint64(self.n_steps), first, stop, *numbers, *scratch, made.start, made.index)

        share_out(threads, draw, pairwise(n_samples * part // threads for part in range(threads + 1)))
        return made.closed()

    @property
    def n_spikes(self) -> int:
        return self.events().n_spikes

    def dense(self) -> NDArray[np.float32]:
        return self.events().dense()


class DrawnInput(EventInput):
    """The spikes of a PoissonInput, which the first run of them draws and stores, each thread those of its samples.

    As EventInput's, but that there is room behind the spikes of each sample: those of sample b in step t are of the
    units index[start[b * stride + t] : start[b * stride + t + 1]], with stride T + 1. Before the run, start has where
    each sample's begin.
    """

    source: PoissonInput

    def __init__(self, source: PoissonInput, buffers: Buffers) -> None:
        n_steps, n_samples = source.shape[:2]
        threshold = source.threshold.reshape(n_samples, prod(source.shape[2:]))
        start = buffers.empty("start", n_samples * (n_steps + 1), np.int64)
        index = buffers.empty("spikes", make_room(threshold, n_steps, start), np.uint32)
        fields = {"start": start, "index": index, "shape": source.shape, "stride": n_steps + 1, "ascending": True}
        for name, value in {**fields, "source": source}.items():
            object.__setattr__(self, name, value)

    def closed(self) -> EventInput:
        """Without the room between samples, once all are drawn."""
        starts = self.start.reshape(-1, self.stride)
        index = np.concatenate([self.index[:0], *(self.index[row[0] : row[-1]] for row in starts)])
        start = np.concatenate([[0], np.cumsum(np.diff(starts))])
        return EventInput.trusted(start, index, self.shape)

    def dense(self) -> NDArray[np.float32]:
        return self.closed().dense()
