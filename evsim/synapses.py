"""Projections -> sorted CSR rows of fixed-point weights: count, allocate, fill, sort, scale."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import construction
from evsim.distributions import Distribution
from evsim.layout import MAX_MAKERS, Layout
from evsim.network import Network, Projection
from evsim.philox import permutation_half_bits
from evsim.stimuli import largest_counts

WEIGHT_PRECISION = 1e-5  # largest rounding error of a weight, relative to its projection's mean |weight|
BATCH = 1024  # candidates whose weights and delays are drawn at a time
_NO_INTS = np.zeros(1, np.int64)
_NO_FLOATS = np.zeros(1, np.float64)
_NO_TABLE = np.zeros(1)

Progress = Callable[[int], None]


@dataclass
class Rows:
    """The rows of one projection on their way into the Model."""

    projection: Projection
    rule: NDArray[np.int64]  # as construction.draw_pair takes it
    edges: NDArray[np.int64]  # candidates [edges[m], edges[m + 1]) are maker m's
    count: NDArray[np.int32]  # (n_makers, n_source * n_threads) synapses each maker makes for each row
    varied: bool  # a weight each, rather than one for all
    row_start: NDArray[np.int64]  # (n_source * n_threads + 1,) view into Model.row_start
    weight_shift: int = 0  # weight of synapse s is synapse_weight[s + weight_shift]

    @property
    def n_synapses(self) -> int:
        return int(self.count.sum(dtype=np.int64))


def build_synapses(
    network: Network, layout: Layout, key: NDArray[np.int64], pool: ThreadPoolExecutor, progress: Progress
) -> tuple[dict[str, Any], NDArray[np.int64], bool]:
    """The synapse fields of Model, the synapses of each projection, and whether sums need 64 bits."""
    order = sorted(network.projections, key=lambda q: layout.index(q.source.population))
    all_rows = [_count(projection, layout, key, pool) for projection in order]
    first_row = np.cumsum([0, *(rows.count.shape[1] for rows in all_rows)])
    row_start = np.cumsum(
        np.concatenate([np.zeros(1, np.int64), *(rows.count.sum(axis=0, dtype=np.int64) for rows in all_rows)])
    )
    n_weights = sum(rows.n_synapses for rows in all_rows if rows.varied)
    synapse = np.empty(int(row_start[-1]), np.uint32)
    bits = np.empty(n_weights, np.int32)
    n_weights = 0
    for rows, first, stop in zip(all_rows, first_row, first_row[1:], strict=False):
        rows.row_start = row_start[first : stop + 1]
        rows.weight_shift = n_weights - int(rows.row_start[0])
        n_weights += rows.n_synapses if rows.varied else 0
        _fill(rows, layout, network.dt, pool, synapse, bits)
        progress(rows.n_synapses)
    unit, wide = _units(network, layout, all_rows, pool, synapse, bits.view(np.float32))
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
            largest = _largest(rows.projection.weight) / own_unit
            shifts[q] = max(0, int(np.ceil(np.log2(max(largest, 1.0) / 2.0**30)))) if wide else 0
            _to_fixed_point(rows, own_unit * 2.0 ** shifts[q], pool, bits)
    owners = np.array([layout.index(projection.source.population) for projection in order], np.int64)
    starts = layout.population_start[owners]
    sources = [(at + q.source.start, at + q.source.stop) for at, q in zip(starts, order, strict=True)]
    by_index = {rows.projection.index: rows.n_synapses for rows in all_rows}
    fields = {
        "input_unit": unit.astype(np.float32),
        "outgoing_start": np.searchsorted(owners, np.arange(len(layout.populations) + 1)).astype(np.int64),
        "projection_source": np.array(sources, np.int64).reshape(-1, 2),
        "projection_index": np.array([q.index for q in order], np.int64),
        "projection_row": first_row[:-1].astype(np.int64),
        "projection_weight": np.array([rows.weight_shift for rows in all_rows], np.int64),
        "projection_uniform": np.array([not rows.varied for rows in all_rows], np.uint8),
        "projection_fixed_weight": np.rint(fixed).astype(np.int64),
        "projection_shift": shifts,
        "row_start": row_start,
        "synapse": synapse,
        "synapse_weight": bits,
    }
    return fields, np.array([by_index[i] for i in range(len(order))], np.int64), wide


def _count(projection: Projection, layout: Layout, key: NDArray[np.int64], pool: ThreadPoolExecutor) -> Rows:
    rule = _rule(projection, layout, key)
    threads = layout.n_threads
    candidates = projection.rule.n_candidates(len(projection.source), len(projection.target))
    makers = min(threads, MAX_MAKERS)
    edges = np.array([candidates * m // makers for m in range(makers + 1)], np.int64)
    count = np.zeros((makers, len(projection.source) * threads), np.int32)
    group_thread = layout.group_thread(projection.target.population)
    pre, post = _listed_pairs(projection)

    def work(t: int) -> None:
        construction.count_synapses(rule, pre, post, edges[t], edges[t + 1], group_thread, threads, count[t])

    list(pool.map(work, range(makers)))
    plastic = projection.plasticity is not None
    varied = isinstance(projection.weight, Distribution) or projection.weight.ndim > 0 or plastic
    return Rows(projection, rule, edges, count, varied, _NO_INTS)


def _fill(
    rows: Rows, layout: Layout, dt: float, pool: ThreadPoolExecutor, synapse: NDArray[Any], bits: NDArray[Any]
) -> None:
    """Write and sort the rows; weights as float32, which `_to_fixed_point` replaces once the units are known."""
    threads = layout.n_threads
    cursor = rows.row_start[:-1] + np.cumsum(rows.count, axis=0, dtype=np.int64) - rows.count
    weights, delays = rows.projection.weight, rows.projection.delay
    weight_kind, weight_list, weight_table = _kernel_values(weights)
    delay_kind, delay_list, delay_table = _kernel_values(delays)
    delay_steps = np.maximum(np.rint(delay_list / dt), 1).astype(np.int64)
    group_thread = layout.group_thread(rows.projection.target.population)
    pre, post = _listed_pairs(rows.projection)
    shift, n_rows = rows.weight_shift, rows.row_start.size - 1
    longest = int(np.diff(rows.row_start).max(initial=0))

    def fill(t: int) -> None:
        scratch = [np.empty(BATCH, kind) for kind in (np.int64, np.int64, np.uint64, np.uint64, np.float32)]
        construction.fill_synapses(
            rows.rule, pre, post, rows.edges[t], rows.edges[t + 1], group_thread, threads,
            weight_kind, weight_list, weight_table, delay_kind, delay_steps, delay_table, dt, *scratch,
            cursor[t], synapse, bits.view(np.float32), shift,
        )  # fmt: skip

    def sort(t: int) -> None:
        first, stop = n_rows * t // threads, n_rows * (t + 1) // threads
        n_bits = layout.target_bits + layout.max_delay.bit_length()
        scratch = np.empty(256, np.int64), np.empty(longest, np.uint32), np.empty(longest, np.int32)
        construction.sort_rows(rows.row_start, first, stop, n_bits, synapse, bits, shift, not rows.varied, *scratch)

    list(pool.map(fill, range(len(rows.count))))
    if rows.varied and weight_kind == construction.UNIFORM:  # equal until they learn
        bits.view(np.float32)[rows.row_start[0] + shift : rows.row_start[-1] + shift] = weights
    list(pool.map(sort, range(threads)))


def _units(
    network: Network,
    layout: Layout,
    all_rows: list[Rows],
    pool: ThreadPoolExecutor,
    synapse: NDArray[np.uint32],
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.float64], bool]:
    """The value of one unit of the ring per population and receptor (n_pop, most receptors); are 64 bits needed?

    The unit is the smallest power of two for which the largest sum that can arrive in one step still fits.
    """
    threads = layout.n_threads
    most, least = np.zeros(layout.n_inputs), np.zeros(layout.n_inputs)
    mask = np.uint32((1 << layout.target_bits) - 1)
    shape = (len(layout.populations), max(int(layout.n_receptors.max()), 1))
    mean = np.full(shape, np.inf)
    for projected, value in [(rows, value) for rows in all_rows for value in _bounds(rows)]:

        def work(t: int, rows: Rows = projected, value: float | None = value) -> None:
            construction.sum_weights(
                rows.row_start,
                t,
                threads,
                synapse,
                weight,
                rows.weight_shift,
                value is not None,
                value or 0.0,
                mask,
                most,
                least,
            )

        list(pool.map(work, range(threads)))
        _note(projected.projection.weight, mean, *_place(projected.projection, layout))
    for poisson, count in zip(network.poissons, largest_counts(network), strict=True):
        p, k = _place(poisson, layout)
        first = layout.population_input[p] + k * (layout.population_start[p + 1] - layout.population_start[p])
        reached = most if poisson.weight > 0.0 else least
        reached[first + poisson.target.start : first + poisson.target.stop] += count * poisson.weight
        _note(np.asarray(poisson.weight), mean, p, k)
    bound = np.zeros(shape)
    for p in range(shape[0]):
        size = layout.population_start[p + 1] - layout.population_start[p]
        for k in range(int(layout.n_receptors[p])):
            own = slice(layout.population_input[p] + k * size, layout.population_input[p] + (k + 1) * size)
            bound[p, k] = max(most[own].max(), -least[own].min())
    unit = _unit_for(bound, 31)
    wide = bool(((bound > 0.0) & (0.5 * unit > WEIGHT_PRECISION * mean)).any())
    return (_unit_for(bound, 62) if wide else unit), wide


def _unit_for(bound: NDArray[np.float64], n_bits: int) -> NDArray[np.float64]:
    """The smallest power of two of which `bound`, and what rounding adds to it, is less than 2^n_bits."""
    needed = np.where(bound > 0.0, bound * 1.0001 / (2.0**n_bits - 1.0), 1.0)
    unit: NDArray[np.float64] = 2.0 ** np.maximum(np.ceil(np.log2(needed)), -126.0)
    return unit


def _note(weight: Any, mean: NDArray[np.float64], p: int, k: int) -> None:
    """Keep the smallest mean |weight| into receptor k of population p."""
    if isinstance(weight, Distribution):
        size = weight.mean_size()
    else:
        size = float(np.abs(weight).mean()) if weight.size else 0.0
    if size > 0.0:
        mean[p, k] = min(mean[p, k], size)


def _largest(weight: Any) -> float:
    """The largest |weight| that can occur."""
    if isinstance(weight, Distribution):
        return float(np.abs(weight.bounds()).max())
    return float(np.abs(weight).max(initial=0.0))


def _bounds(rows: Rows) -> list[float | None]:
    """What a weight of the projection can be at most, and at least: numbers for all of its synapses, or None."""
    rule = rows.projection.plasticity
    if rule is not None:
        return [rule.w_min, rule.w_max]
    return [None if rows.varied else float(rows.projection.weight)]


def _place(item: Any, layout: Layout) -> tuple[int, int]:
    return layout.index(item.target.population), item.receptor


def _to_fixed_point(rows: Rows, unit: float, pool: ThreadPoolExecutor, bits: NDArray[np.int32]) -> None:
    edges = np.linspace(rows.row_start[0], rows.row_start[-1], 9).astype(np.int64) + rows.weight_shift

    def work(part: int) -> None:
        construction.to_fixed_point(bits.view(np.float32), bits, edges[part], edges[part + 1], unit)

    list(pool.map(work, range(8)))


def _kernel_values(value: Any) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Weights or delays as a kernel takes them: (kind, list, quantile table)."""
    if isinstance(value, Distribution):
        return construction.DRAWN, _NO_FLOATS, value.quantile_table()
    kind = construction.LISTED if value.ndim else construction.UNIFORM
    return kind, value.reshape(-1), _NO_TABLE


def _listed_pairs(projection: Projection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    pre, post = projection.rule.pre, projection.rule.post
    return (_NO_INTS, _NO_INTS) if pre is None or post is None else (pre, post)


def _rule(projection: Projection, layout: Layout, key: NDArray[np.int64]) -> NDArray[np.int64]:
    rule, source, target = projection.rule, projection.source, projection.target
    p, k = _place(projection, layout)
    padded_size = layout.population_start[p + 1] - layout.population_start[p]
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
    values[construction.INPUT] = layout.population_input[p] + k * padded_size + target.start
    values[construction.TARGET_BITS] = layout.target_bits
    values[construction.TARGET_START] = target.start
    return values
