"""Statistics of recorded spikes: rates, interspike intervals, correlations. Plain NumPy.

Spikes are given as two arrays of one length, the way recordings return them: `ids` (n,), index of the neuron
in its population, and `times` (n,) in ms, in any order.
"""

from __future__ import annotations

import numpy as np

GRID = 1e-6  # share of a bin by which a time on a bin edge may miss it in floating point


def firing_rates(ids: np.ndarray, n_neurons: int, duration: float) -> np.ndarray:
    """Mean rate of every neuron: r_i = n_i / duration.

    Parameters
    ----------
    ids
        (n,) neuron of each spike.
    n_neurons
        Size of the population.
    duration
        Ms.

    Returns
    -------
    (n_neurons,) float64, Hz.

    Raises
    ------
    ValueError : an id out of range, a duration that is not positive.
    """
    _check_window(0.0, duration)
    return np.bincount(_checked(ids, n_neurons), minlength=n_neurons) / (duration * 1e-3)


def population_rates(
    times: np.ndarray, n_neurons: int, start: float, stop: float, bin_width: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rate of a population in time: r_k = n_k / (n_neurons * bin_width), n_k the spikes in bin k.

    Parameters
    ----------
    times
        (n,) spike times, ms; those outside start <= t < stop are left out.
    n_neurons
        Size of the population.
    start, stop, bin_width
        Ms. A last, incomplete bin is left out.

    Returns
    -------
    edges : (n_bins + 1,) ms. rates : (n_bins,) float64, Hz per neuron.

    Raises
    ------
    ValueError : an empty window, or a bin that does not fit into it.
    """
    n_bins = _n_bins(start, stop, bin_width)
    bins = _bins(times, start, bin_width)
    counts = np.bincount(bins[(bins >= 0) & (bins < n_bins)], minlength=n_bins)
    return start + bin_width * np.arange(n_bins + 1), counts / (n_neurons * bin_width * 1e-3)


def isi(ids: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interspike intervals: d_ij = t_i(j+1) - t_ij for the spikes t_i1 <= t_i2 <= ... of neuron i.

    Returns
    -------
    neurons : (m,) neuron of each interval, ascending. intervals : (m,) ms, in order of time within a neuron.
    """
    ids, times = np.asarray(ids), np.asarray(times, np.float64)
    if ids.shape != times.shape:
        raise ValueError(f"isi: ids {ids.shape} and times {times.shape} must be of one length")
    order = np.lexsort((times, ids))
    ids, times = ids[order], times[order]
    same = ids[1:] == ids[:-1]
    return ids[1:][same], np.diff(times)[same]


def cv_isi(ids: np.ndarray, times: np.ndarray, n_neurons: int, min_spikes: int = 3) -> np.ndarray:
    """Coefficient of variation of each neuron's intervals: CV_i = std_j(d_ij) / mean_j(d_ij).

    1 for a Poisson process, 0 for a clock.

    Parameters
    ----------
    ids, times
        Spikes, ms.
    n_neurons
        Size of the population.
    min_spikes
        Neurons with fewer spikes get NaN; at least 3.

    Returns
    -------
    (n_neurons,) float64.

    Raises
    ------
    ValueError : an id out of range, `min_spikes` below 3.
    """
    if min_spikes < 3:
        raise ValueError(f"cv_isi: min_spikes is {min_spikes}; a deviation needs two intervals, so at least 3 spikes")
    neurons, intervals = isi(_checked(ids, n_neurons), times)
    n = np.bincount(neurons, minlength=n_neurons)
    enough = n >= min_spikes - 1
    mean = np.bincount(neurons, intervals, n_neurons) / np.maximum(n, 1)
    spread = np.bincount(neurons, (intervals - mean[neurons]) ** 2, n_neurons) / np.maximum(n, 1)
    cv = np.full(n_neurons, np.nan)
    np.divide(np.sqrt(spread), mean, out=cv, where=enough & (mean > 0))
    return cv


def spike_counts(
    ids: np.ndarray, times: np.ndarray, neurons: np.ndarray, start: float, stop: float, bin_width: float
) -> np.ndarray:
    """Spike counts of chosen neurons in bins of `bin_width` ms.

    Parameters
    ----------
    ids, times
        Spikes, ms.
    neurons
        (m,) distinct neurons.
    start, stop, bin_width
        Ms, as in `population_rates`.

    Returns
    -------
    (m, n_bins) int64.
    """
    n_bins = _n_bins(start, stop, bin_width)
    neurons = np.asarray(neurons)
    order = np.argsort(neurons)
    row = np.searchsorted(neurons, ids, sorter=order)
    row = order[np.minimum(row, len(neurons) - 1)]
    bins = _bins(times, start, bin_width)
    kept = (neurons[row] == ids) & (bins >= 0) & (bins < n_bins)
    flat = np.bincount(row[kept] * n_bins + bins[kept], minlength=len(neurons) * n_bins)
    return flat.reshape(len(neurons), n_bins)


def pairwise_correlations(
    ids: np.ndarray,
    times: np.ndarray,
    n_neurons: int,
    start: float,
    stop: float,
    bin_width: float = 2.0,
    n_sample: int = 200,
    seed: int = 0,
) -> np.ndarray:
    """Pearson correlations of binned spike counts c_i between the pairs of a random sample of neurons.

    rho_ij = cov(c_i, c_j) / sqrt(var(c_i) var(c_j)), i < j; neurons without spikes in the window are not
    sampled.

    Parameters
    ----------
    ids, times
        Spikes, ms.
    n_neurons
        Size of the population.
    start, stop, bin_width
        Ms.
    n_sample
        Neurons drawn, without replacement.
    seed
        Of the draw.

    Returns
    -------
    (m (m - 1) / 2,) float64, m the number of neurons drawn that vary over the window.

    Raises
    ------
    ValueError : an id out of range, an empty window, or a bin that does not fit into it.
    """
    ids, times = _checked(ids, n_neurons), np.asarray(times)
    inside = (times >= start) & (times < stop)
    active = np.unique(ids[inside])
    drawn = np.random.default_rng(seed).choice(active, min(n_sample, len(active)), replace=False)
    if len(drawn) < 2:
        return np.zeros(0)
    counts = spike_counts(ids, times, np.sort(drawn), start, stop, bin_width)
    counts = counts[counts.std(axis=1) > 0]
    if len(counts) < 2:
        return np.zeros(0)
    return np.corrcoef(counts)[np.triu_indices(len(counts), 1)]


def _checked(ids: np.ndarray, n_neurons: int) -> np.ndarray:
    ids = np.asarray(ids)
    if len(ids) and (ids.min() < 0 or ids.max() >= n_neurons):
        bad = ids[(ids < 0) | (ids >= n_neurons)][0]
        raise ValueError(f"neuron {bad} is not in a population of {n_neurons}; ids must be 0 to {n_neurons - 1}")
    return ids


def _check_window(start: float, stop: float) -> None:
    if not stop > start:
        raise ValueError(f"the window from {start} to {stop} ms is empty; stop must be greater than start")


def _n_bins(start: float, stop: float, bin_width: float) -> int:
    _check_window(start, stop)
    if not 0 < bin_width <= (stop - start) * (1 + GRID):
        raise ValueError(f"bin_width is {bin_width} ms; it must be above 0 and at most {stop - start}, the window")
    return int((stop - start) / bin_width + GRID)


def _bins(times: np.ndarray, start: float, bin_width: float) -> np.ndarray:
    return np.floor((np.asarray(times, np.float64) - start) / bin_width + GRID).astype(np.int64)
