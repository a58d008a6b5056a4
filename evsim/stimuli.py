"""Poisson, current and spike-train stimuli as flat arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evsim.layout import Layout
from evsim.network import Current, Network, Poisson, SpikeSource
from evsim.neurons import IAF

Arrays = dict[str, Any]
MOST_OF_FIRST = 20.0  # spikes a step at which no spike at all is still possible


def poisson_thresholds(mean: float) -> tuple[int, NDArray[np.uint32]]:
    """(base, thresholds) such that base + (number of thresholds a uniform 32-bit word is above) is Poisson(mean).

    The probabilities are exact to 2^-32; the tail beyond that is cut.
    """
    if mean == 0.0:
        return 0, np.zeros(0, np.uint32)
    low, high = max(0, int(mean - 8.0 * np.sqrt(mean) - 40)), int(mean + 8.0 * np.sqrt(mean) + 40)
    cumulative = np.rint(special.pdtr(np.arange(low, high), mean) * 2.0**32)
    base = low + int((cumulative <= 0.0).sum())
    inside = cumulative[(cumulative > 0.0) & (cumulative < 2.0**32)]
    return base, (inside - 1.0).astype(np.uint32)


def largest_counts(network: Network) -> list[int]:
    """For each Poisson stimulus the largest number it can draw in a step."""
    largest = [poisson_thresholds(p.rates.max(initial=0.0) * network.dt * 1e-3) for p in network.poissons]
    return [base + thresholds.size for base, thresholds in largest]


def poisson_arrays(network: Network, layout: Layout, unit: NDArray[np.float32]) -> Arrays:
    """The poisson_* fields of Model; `unit` (n_pop, n_receptors) is what one unit of the ring is worth."""
    stimuli, start = _by_population(network.poissons, layout)
    rates = [p.rates.ravel() for p in stimuli]
    values, classes = np.unique(np.concatenate([np.zeros(1), *rates]), return_inverse=True)
    change, change_step, class_start, class_step = _intervals([(p.change_steps, p.rates) for p in stimuli])
    rows, table = classes[1:].astype(np.uint32), threshold_table(values, network.dt)
    return {
        "population_poisson": _pure_sources(network, layout, stimuli),
        "poisson_start": start,
        "poisson_range": _ranges(stimuli),
        "poisson_receptor": np.array([p.receptor for p in stimuli], np.int64),
        "poisson_weight": np.array(
            [round(p.weight / float(unit[layout.index(p.target.population), p.receptor])) for p in stimuli],
            np.int64,
        ),
        "poisson_index": np.array([p.index for p in stimuli], np.int64),
        "poisson_change": change,
        "poisson_change_step": change_step,
        "poisson_class_start": class_start,
        "poisson_class_step": class_step,
        "poisson_class": rows,
        "poisson_first": table["poisson_threshold"][rows, 0],
        **table,
    }


def _pure_sources(network: Network, layout: Layout, stimuli: list[Poisson]) -> NDArray[np.int64]:
    """For each population that only spikes when its one Poisson stimulus does, the number of that; -1 for others."""
    found = np.full(len(layout.populations), -1, np.int64)
    for number, p in enumerate(stimuli):
        population, model = p.target.population, p.target.population.model
        others = [q.target.population for q in network.projections]
        others += [q.target.population for q in network.currents]
        others += [q.target.population for q in stimuli if q is not p]
        alone = population not in others and len(p.target) == population.size and len(p.rates) == 1
        plain = (
            isinstance(model, IAF)
            and model.tau_syn is None
            and (model.leak, model.v_reset, model.t_ref, model.i_bias) == (0.0, 0.0, 0.0, 0.0)
            and isinstance(model.v_threshold, float | int)
            and isinstance(model.r_mem, float | int)
            and isinstance(model.v_min, float | int)
            and 0.0 < model.v_threshold <= p.weight
        )
        often = p.rates.max(initial=0.0) * network.dt * 1e-3 > MOST_OF_FIRST
        if alone and plain and not often and population.initial_v is None and not population.one_winner:
            found[layout.index(population)] = number
    return found


def threshold_table(rates: NDArray[np.float64], dt: float) -> Arrays:
    """The fields of Model with a row for each rate (Hz): poisson_base, poisson_n_thresholds, poisson_threshold."""
    tables = [poisson_thresholds(rate * dt * 1e-3) for rate in rates]
    widths = np.array([-(-thresholds.size // 4) * 4 for _, thresholds in tables], np.int64)
    threshold = np.full((len(tables), max(widths.max(), 4)), 0xFFFFFFFF, np.uint32)
    for row, (_, thresholds) in zip(threshold, tables, strict=True):
        row[: thresholds.size] = thresholds
    return {
        "poisson_base": np.array([base for base, _ in tables], np.int32),
        "poisson_n_thresholds": widths,
        "poisson_threshold": threshold,
    }


def ordered_poissons(network: Network, layout: Layout) -> list[Poisson]:
    """The Poisson stimuli as they are numbered in Model."""
    return _by_population(network.poissons, layout)[0]


def current_arrays(network: Network, layout: Layout, gain: Sequence[Any]) -> Arrays:
    """The current_* fields of Model; gain[p] is what a unit of current adds to v in a step (scalar or per neuron)."""
    stimuli, start = _by_population(network.currents, layout)
    pieces = []
    for current in stimuli:
        factor = np.asarray(gain[layout.index(current.target.population)])
        if factor.ndim:
            factor = factor[current.target.start : current.target.stop]
        pieces.append((current.change_steps, current.amplitudes * factor))
    change, change_step, value_start, value_step = _intervals(pieces)
    return {
        "current_start": start,
        "current_range": _ranges(stimuli),
        "current_change": change,
        "current_change_step": change_step,
        "current_value_start": value_start,
        "current_value_step": value_step,
        "current_value": np.concatenate([np.zeros(0), *(v.ravel() for _, v in pieces)]).astype(np.float32),
    }


def train_arrays(layout: Layout) -> Arrays:
    """The train_* fields of Model."""
    models = [p.model if isinstance(p.model, SpikeSource) else None for p in layout.populations]
    starts = layout.population_start[:-1]
    ids = [m.ids + np.uint32(at) for m, at in zip(models, starts, strict=True) if m is not None]
    return {
        "train_start": np.cumsum([0, *(0 if m is None else m.steps.size for m in models)]),
        "train_step": np.concatenate([np.zeros(0, np.int64), *(m.steps for m in models if m is not None)]),
        "train_neuron": np.concatenate([np.zeros(0, np.uint32), *ids]),
    }


def _by_population(stimuli: Sequence[Any], layout: Layout) -> tuple[list[Any], NDArray[np.int64]]:
    """The stimuli in the order of their populations, and where each population's begin."""
    owner = [layout.index(s.target.population) for s in stimuli]
    order = np.argsort(owner, kind="stable")
    start = np.searchsorted(np.sort(owner), np.arange(len(layout.populations) + 1))
    return [stimuli[i] for i in order], start.astype(np.int64)


def _ranges(stimuli: Sequence[Poisson | Current]) -> NDArray[np.int64]:
    return np.array([(s.target.start, s.target.stop) for s in stimuli], np.int64).reshape(-1, 2)


def _intervals(pieces: Sequence[tuple[NDArray[np.int64], NDArray[Any]]]) -> tuple[NDArray[np.int64], ...]:
    """For (first steps, values (n_intervals, 1 or n)) of each stimulus: change, change_step, value start, strides."""
    change = np.cumsum([0, *(steps.size for steps, _ in pieces)])
    change_step = np.concatenate([np.zeros(0, np.int64), *(steps for steps, _ in pieces)])
    start = np.cumsum([0, *(values.size for _, values in pieces)])[:-1]
    strides = [(values.shape[1], int(values.shape[1] > 1)) for _, values in pieces]
    return change, change_step, start.astype(np.int64), np.array(strides, np.int64).reshape(-1, 2)
