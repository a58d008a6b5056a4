"""Projections -> sorted CSR rows of fixed-point weights: count, allocate, fill, sort, scale.

What is made and where it goes is decided here; a `Maker` (CpuMaker, CudaMaker) does the work on its backend's arrays.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evsim import construction
from evsim.distributions import Distribution
from evsim.dynamics import MAX_SPIKES
from evsim.layout import Layout
from evsim.network import Network, Projection
from evsim.philox import permutation_half_bits
from evsim.rows import NO_INTS, Rows, SharedRows, delay_steps
from evsim.stimuli import largest_counts

WEIGHT_PRECISION = 1e-5  # largest rounding error of a weight, relative to its projection's mean |weight|

PLACES = ("projection_row", "projection_row_step", "projection_target", "projection_weight", "projection_weight_step")

I8 = NDArray[np.int64]
Progress = Callable[[int], None]


class Maker(Protocol):
    """Makes the synapses of a network, in the memory of its backend, in the order of these verbs."""

    def available_memory(self) -> float:
        """Bytes that can still be allocated."""

    def scratch_bytes(self) -> int:
        """What it takes beside the arrays of the Model, while it works."""

    def count(self, all_rows: Sequence[Rows]) -> NDArray[Any]:
        """The synapses of each row of all projections, one after another."""

    def allocate(self, row_start: NDArray[np.int64], n_synapses: int, n_weights: int) -> None:
        """Make room for synapses and weights; rows that are shared come behind those of `row_start`."""

    def fill(self, rows: Rows) -> None:
        """Write and sort a projection's rows; weights as float32."""

    def copy(self, rows: SharedRows) -> None:
        """Write a projection's rows that sources share; weights as float32."""

    def sum_weights(self, all_rows: Sequence[Rows], scales: Sequence[float]) -> NDArray[np.int64]:
        """The largest sums of positive and of negative weights that can reach each input, (2, n_inputs).

        Of |weight| * the projection's scale, rounded up: integers, so that their order does not matter. Rows.bounds
        says which weights.
        """

    def to_fixed_point(self, first: int, stop: int, unit: float) -> None:
        """Replace the float32 weights [first, stop) by whole numbers of units."""

    def finish(self) -> tuple[Any, Any]:
        """Model.synapse and Model.synapse_weight."""


def build_synapses(
    network: Network, layout: Layout, key: NDArray[np.int64], maker: Maker, progress: Progress
) -> tuple[dict[str, Any], NDArray[np.int64], bool]:
    """The synapse fields of Model, the synapses of each projection, and whether sums need 64 bits."""
    order = sorted(network.projections, key=lambda q: layout.index(q.source.population))
    all_rows, row_start, shift = _make_rows(network, layout, order, key, maker, progress)
    unit, wide = _units(network, layout, all_rows, maker)
    fixed, shifts = np.zeros(len(order)), np.zeros(len(order), np.int64)
    for q, rows in enumerate(all_rows):
        own_unit = float(unit[_place(rows.projection, layout)])
        if rows.n_synapses == 0:
            continue  # a weight that is never used may not fit
        if rows.projection.plasticity is not None:
            continue  # learned as float32, and rounded at each spike
        if not rows.varied:
            fixed[q] = float(rows.projection.weight) / own_unit
        else:
            largest = rows.largest / own_unit
            shifts[q] = max(0, int(np.ceil(np.log2(max(largest, 1.0) / 2.0**30)))) if wide else 0
            maker.to_fixed_point(*rows.weights_at, own_unit * 2.0 ** shifts[q])
    synapse, synapse_weight = maker.finish()
    owners = np.array([layout.index(projection.source.population) for projection in order], np.int64)
    starts = layout.population_start[owners]
    sources = [(at + q.source.start, at + q.source.stop) for at, q in zip(starts, order, strict=True)]
    by_index = {rows.projection.index: rows.n_synapses for rows in all_rows}
    fields = {
        "input_unit": unit.astype(np.float32),
        "outgoing_start": np.searchsorted(owners, np.arange(len(layout.populations) + 1)).astype(np.int64),
        "projection_source": np.array(sources, np.int64).reshape(-1, 2),
        "projection_index": np.array([q.index for q in order], np.int64),
        "projection_same_step": np.array([q.same_step for q in order], np.uint8),
        **dict(
            zip(PLACES, np.array([r.places(layout) for r in all_rows], np.int64).reshape(-1, 5).T.copy(), strict=True)
        ),
        "projection_uniform": np.array([not rows.varied for rows in all_rows], np.uint8),
        "projection_fixed_weight": np.rint(fixed).astype(np.int64),
        "projection_shift": shifts,
        "row_start": row_start,
        "source_target": shift,
        "synapse": synapse,
        "synapse_weight": synapse_weight,
    }
    return fields, np.array([by_index[i] for i in range(len(order))], np.int64), wide


def _make_rows(
    network: Network, layout: Layout, order: list[Projection], key: I8, maker: Maker, progress: Progress
) -> tuple[list[Rows | SharedRows], I8, NDArray[np.uint32]]:
    """The rows of all projections, made; Model.row_start and Model.source_target."""
    all_rows: list[Rows | SharedRows] = []
    n_rows = 0
    for projection in order:
        rule = _rule(projection, layout, network.dt, key)
        if projection.shares_rows:
            all_rows.append(SharedRows(projection, rule))
        else:
            number = sum(isinstance(rows, Rows) for rows in all_rows)
            n_own = len(projection.source) * layout.n_threads
            all_rows.append(Rows(projection, rule, number, n_rows, n_own, NO_INTS))
            n_rows += n_own
    own = [rows for rows in all_rows if isinstance(rows, Rows)]
    shared = [rows for rows in all_rows if isinstance(rows, SharedRows)]
    row_start = np.zeros(n_rows + 1, np.int64)
    np.cumsum(maker.count(own), out=row_start[1:])
    n_weights = 0
    for rows in own:
        rows.row_start = row_start[rows.first_row : rows.first_row + rows.n_rows + 1]
        rows.weight_shift = n_weights - int(rows.row_start[0])
        n_weights += rows.n_synapses if rows.varied else 0
    n_synapses, starts, targets = int(row_start[-1]), [row_start], [np.zeros(0, np.uint32)]
    for each in shared:
        each.first_row, each.first_place = sum(part.size for part in starts), sum(part.size for part in targets)
        each.first_synapse, each.first_weight = n_synapses, n_weights
        n_synapses, n_weights = n_synapses + each.n_stored, n_weights + each.n_weights
        starts.append(each.starts(layout).reshape(-1))
        targets.append(each.source_targets())
    maker.allocate(row_start, n_synapses, n_weights)
    for made in all_rows:
        if isinstance(made, Rows):
            maker.fill(made)
        else:
            maker.copy(made)
        progress(made.n_synapses)
    return all_rows, np.concatenate(starts), np.concatenate(targets)


def _units(
    network: Network, layout: Layout, all_rows: Sequence[Rows | SharedRows], maker: Maker
) -> tuple[NDArray[np.float64], bool]:
    """The value of one unit of the ring per population and receptor (n_pop, most receptors); are 64 bits needed?

    The unit is the smallest power of two for which the largest sum that can arrive in one step still fits. Where
    multi-spike sources reach a receptor it is `unit_with_headroom`; MAX_SPIKES times the largest sum then fits too, in
    64 bits if not in 32, and the unit is the same with both.
    """
    shape = (len(layout.populations), max(int(layout.n_receptors.max()), 1))
    mean, room = np.full(shape, np.inf), np.ones(shape)
    largest, number = np.zeros(shape), np.zeros(shape, np.int64)
    places = [_place(rows.projection, layout) for rows in all_rows]
    for rows, place in zip(all_rows, places, strict=True):
        _note(rows.mean_size, mean, *place)
        if rows.projection.source.population.multi_spike:
            room[place] = MAX_SPIKES
        if rows.n_synapses:
            largest[place] = max(largest[place], rows.largest)
            number[place] += rows.n_synapses * len(rows.bounds)
    scale = np.ones(shape)
    for place in set(places):
        scale[place] = _scale_for(float(largest[place]), int(number[place]))
    own = [rows for rows in all_rows if isinstance(rows, Rows)]
    sums = maker.sum_weights(own, [float(scale[_place(rows.projection, layout)]) for rows in own])
    for rows, place in zip(all_rows, places, strict=True):
        if isinstance(rows, SharedRows):
            rows.add_sums(float(scale[place]), sums)
    most, least = np.zeros(layout.n_inputs), np.zeros(layout.n_inputs)
    receptors = [(p, k) for p in range(shape[0]) for k in range(int(layout.n_receptors[p]))]
    for place in receptors:
        inputs = _inputs(layout, *place)
        most[inputs], least[inputs] = sums[:, inputs] / scale[place]
    for poisson, count in zip(network.poissons, largest_counts(network), strict=True):
        place = _place(poisson, layout)
        first = _inputs(layout, *place).start
        reached = most if poisson.weight > 0.0 else least
        reached[first + poisson.target.start : first + poisson.target.stop] += count * abs(poisson.weight)
        _note(abs(poisson.weight), mean, *place)
    bound = np.zeros(shape)
    for place in receptors:
        inputs = _inputs(layout, *place)
        bound[place] = max(most[inputs].max(), least[inputs].max())
    given = {p: population.input_unit for p, population in enumerate(layout.populations) if population.input_unit}
    units_for = np.vectorize(unit_for, otypes=[np.float64])
    narrow = units_for(room * bound, 31)
    wide = bool(((bound > 0.0) & (0.5 * narrow > WEIGHT_PRECISION * mean)).any())
    wide |= any(bound[p, 0] > 0.0 and narrow[p, 0] > own_unit for p, own_unit in given.items())
    unit = units_for(room * bound, 62 if wide else 31)
    for place in receptors:
        if room[place] > 1.0 and bound[place] > 0.0:
            unit[place] = unit_with_headroom(float(unit[place]), float(mean[place]))
    for p, own_unit in given.items():
        unit[p, 0] = own_unit
    return unit, wide


def unit_with_headroom(unit: float, mean: float) -> float:
    """The largest power of two that rounds weights by at most WEIGHT_PRECISION * mean, but not less than `unit`.

    Where sources spike several times in a step: 32-bit sums then hold at least 21,474 weights of the mean size.
    """
    exponent = math.frexp(2.0 * WEIGHT_PRECISION * mean)[1] - 1
    return max(unit, math.ldexp(1.0, exponent))


def _scale_for(largest: float, number: int) -> float:
    """A power of two for which `number` times `largest` is below 2^62, half of what an int64 holds, once scaled."""
    if largest == 0.0:
        return 1.0
    return math.ldexp(1.0, min(62 - math.frexp(largest)[1] - number.bit_length(), 1000))


def unit_for(bound: float, n_bits: int) -> float:
    """The smallest power of two of which `bound`, and what rounding adds to it, is less than 2^n_bits."""
    needed = bound * 1.0001 / (2.0**n_bits - 1.0) if bound > 0.0 else 1.0
    return 2.0 ** max(math.ceil(math.log2(needed)), -126)


def _note(size: float, mean: NDArray[np.float64], p: int, k: int) -> None:
    """Keep the smallest mean |weight| into receptor k of population p."""
    if size > 0.0:
        mean[p, k] = min(mean[p, k], size)


def _place(item: Any, layout: Layout) -> tuple[int, int]:
    return layout.index(item.target.population), item.receptor


def _inputs(layout: Layout, p: int, k: int) -> slice:
    """The input indices of receptor k of population p."""
    size = int(layout.population_start[p + 1] - layout.population_start[p])
    first = int(layout.population_input[p]) + k * size
    return slice(first, first + size)


def _kind(value: Any) -> int:
    """How weights or delays are given."""
    if isinstance(value, Distribution):
        return construction.DRAWN
    return construction.LISTED if value.ndim else construction.UNIFORM


def _rule(projection: Projection, layout: Layout, dt: float, key: NDArray[np.int64]) -> NDArray[np.int64]:
    rule, source, target = projection.rule, projection.source, projection.target
    p, k = _place(projection, layout)
    domain = {
        construction.FIXED_INDEGREE: len(source),
        construction.FIXED_OUTDEGREE: len(target),
        construction.FIXED_TOTAL_NUMBER: len(source) * len(target),
    }.get(rule.code, 1)
    values = np.zeros(construction.N_RULE, np.int64)
    values[construction.CODE] = rule.code
    values[construction.DEGREE] = rule.degree
    values[construction.N_SOURCE] = len(source)
    values[construction.N_TARGET] = len(target)
    values[construction.SELF_OFFSET] = target.start - source.start
    values[construction.SAME] = source.overlap(target) > 0
    values[construction.AUTAPSES] = rule.allow_autapses
    values[construction.MULTAPSES] = rule.allow_multapses
    values[construction.THRESHOLD] = round(rule.probability * 2**32)
    values[construction.PROJECTION] = projection.index
    values[construction.HALF_BITS] = permutation_half_bits(domain)
    values[construction.KEY0], values[construction.KEY1] = key
    values[construction.INPUT] = _inputs(layout, p, k).start + target.start
    values[construction.TARGET_BITS] = layout.target_bits
    values[construction.TARGET_START] = target.start
    values[construction.WEIGHT_KIND] = _kind(projection.weight)
    if projection.plasticity is not None and values[construction.WEIGHT_KIND] == construction.UNIFORM:
        values[construction.WEIGHT_KIND] = construction.EQUAL  # until they learn
    values[construction.DELAY_KIND] = _kind(projection.delay)
    if values[construction.DELAY_KIND] == construction.UNIFORM:
        values[construction.DELAY] = delay_steps(projection.delay, dt)
    return values
