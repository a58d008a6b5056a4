"""Spikes of some samples in continuous time, as flat arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


class Spikes(NamedTuple):
    """Spikes of some samples, sorted by time in each."""

    start: NDArray[np.int64]  # (B + 1,) where each sample's begin
    time: Doubles  # (S,) ms
    unit: NDArray[np.uint32]  # (S,)
    slope: Doubles  # (S,) dv/dt just before; (0,) for the input's

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self)

    def counts(self, n_units: int) -> NDArray[np.int64]:
        """How often each unit spikes, (B, n_units)."""
        n = len(self.start) - 1
        sample = np.repeat(np.arange(n), np.diff(self.start))
        return np.bincount(sample * n_units + self.unit, minlength=n * n_units).reshape(n, n_units)

    def first(self, n_units: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The place of the first spike of each (sample, unit) that spikes, and sample * n_units + unit of it."""
        sample = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        key, place = np.unique(sample * n_units + self.unit, return_index=True)
        return place, key


def sorted_spikes(times: Doubles) -> Spikes:
    """Times (K, B, n) as spikes, those of one time by unit; inf is none."""
    each, sample, unit = np.nonzero(np.isfinite(times))
    time = times[each, sample, unit]
    order = np.lexsort((unit, time, sample))
    start = np.concatenate(([0], np.cumsum(np.bincount(sample, minlength=times.shape[1]))))
    return Spikes(start.astype(np.int64), time[order], unit[order].astype(np.uint32), np.empty(0))
