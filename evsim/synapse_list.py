"""Synapses as users see them: listed by source, then delay, then target."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built
from evsim.io.recording import step_times
from evsim.layout import SYNAPSE_BITS
from evsim.model import row_bounds
from evsim.network import Projection


class Synapses(NamedTuple):
    """All synapses of a projection, by source, then delay, then target."""

    pre: NDArray[np.int64]
    post: NDArray[np.int64]
    weight: NDArray[np.float64]
    delay: NDArray[np.float64]  # ms


def list_synapses(built: Built, projection: Projection, q: int, dt: float) -> Synapses:
    """Every synapse of a projection (q: its place in Model), with its weight and delay as used."""
    pre, post, steps, fixed, order = _in_order(built, projection, q)
    model, p = built.model, built.layout.index(projection.target.population)
    unit = model.input_unit[p, projection.receptor].astype(np.float64) * 2.0 ** model.projection_shift[q]
    weight = fixed[order].astype(np.float64) * (1.0 if projection.plasticity is not None else unit)
    return Synapses(pre[order], post[order], weight, np.asarray(step_times(steps[order], dt)))


def weight_order(built: Built, projection: Projection, q: int) -> tuple[int, NDArray[np.int64]]:
    """Where the weights of a projection begin in Model.synapse_weight, and the order that makes a list of them."""
    first = built.model.row_start[built.model.projection_row[q]] + built.model.projection_weight[q]
    return int(first), _in_order(built, projection, q)[-1]


def plastic_weights(built: Built, first: int, order: NDArray[np.int64], chosen: Any = ...) -> NDArray[np.float32]:
    """The weights that `weight_order` tells of, or those of `chosen` synapses, as Model has them now (a copy)."""
    weight: NDArray[np.float32] = _on_host(built.model.synapse_weight.view(np.float32), first, first + order.size)
    return weight[order[chosen]]


def _in_order(built: Built, projection: Projection, q: int) -> tuple[NDArray[Any], ...]:
    """pre, post, delay in steps and weight as stored, as they lie in Model; and the order of the list."""
    model, layout = built.model, built.layout
    bounds = row_bounds(model, q)
    first, stop = bounds[:, 0], bounds[:, -1]
    pre = np.repeat(np.arange(first.size), stop - first)
    place = np.arange(pre.size) + np.repeat(stop - np.cumsum(stop - first), stop - first)
    entries = _gather(model.synapse, place).astype(np.int64)
    if model.projection_target[q] >= 0:
        entries += model.source_target[model.projection_target[q] + pre]
    p = layout.index(projection.target.population)
    size = layout.population_start[p + 1] - layout.population_start[p]
    base = layout.population_input[p] + projection.receptor * size + projection.target.start
    post = (entries & ((1 << layout.target_bits) - 1)) - base
    at = place + model.projection_weight[q] + pre * model.projection_weight_step[q]
    if projection.plasticity is not None:
        fixed = _gather(model.synapse_weight.view(np.float32), at)
    elif model.projection_uniform[q]:
        fixed = np.full(pre.size, model.projection_fixed_weight[q], np.int64)
    else:
        fixed = _gather(model.synapse_weight, at).astype(np.int64)
    return pre, post, entries >> layout.target_bits, fixed, _order(pre << SYNAPSE_BITS | entries, fixed)


def _order(key: NDArray[np.int64], fixed: NDArray[Any]) -> NDArray[np.int64]:
    """Sort by key and then weight; keys come in long ascending runs, and seldom twice."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = np.lexsort((fixed, key))
    return order


def _gather(array: Any, at: NDArray[np.int64]) -> NDArray[Any]:
    """array[at], wherever it lies."""
    first, stop = (at.min(), at.max() + 1) if at.size else (0, 0)
    return _on_host(array, first, stop)[at - first]


def _on_host(array: Any, first: int, stop: int) -> NDArray[Any]:
    """array[first:stop]; copied where the array lies on the GPU."""
    part = array[int(first) : int(stop)]
    return part.copy_to_host() if hasattr(part, "copy_to_host") else part
