"""Plastic projections -> Rules and Traces, one of each for every thread."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import learning_kernels
from evsim.distributions import Distribution
from evsim.layout import Layout, delay_range
from evsim.learning import DUE, HISTORY, NEVER, Rules, Traces
from evsim.model import Model
from evsim.network import Network, Population, Projection

__all__ = ["Learning", "build_learning", "learning_bytes"]

Learning = tuple[Rules, Traces]


def build_learning(network: Network, layout: Layout, model: Model) -> list[Learning]:
    """(Rules, Traces) of each thread, which share what belongs to targets; empty where nothing is plastic."""
    plastic = [q for q in network.projections if q.plasticity is not None]
    if not plastic:
        return []
    places = {int(index): place for place, index in enumerate(model.projection_index)}
    numbers = np.array([places[q.index] for q in plastic], np.int64)
    common = _rule_fields(network, plastic)
    targets = _starts(len(q.target) for q in plastic)
    populations = np.array([layout.index(q.target.population) for q in plastic], np.int64)
    first_neuron = layout.population_start[populations] + [q.target.start for q in plastic]
    source_neuron = model.projection_source[numbers]
    number = np.full(model.projection_index.size, -1, np.int64)
    number[numbers] = np.arange(len(plastic))
    sizes = [_history_bits(q, layout, network.dt) for q in plastic]
    pre_bits, log_bits = (np.array(bits, np.int64) for bits in zip(*sizes, strict=True))
    slot_bits = _bits(_span(layout) + 1)
    rows = model.row_start[model.projection_row[numbers]]
    learns = np.zeros(len(layout.populations), np.uint8)
    learns[populations] = 1
    rules = {
        **common,
        "number": number,
        "projection": numbers,
        "source_start": _starts(len(q.source) for q in plastic),
        "pre_start": _starts(len(q.source) << int(b) for q, b in zip(plastic, pre_bits, strict=True)),
        "pre_bits": pre_bits,
        "log_start": _starts(1 << int(b) for b in log_bits),
        "log_bits": log_bits,
        "slot_bits": np.array([slot_bits], np.int64),
        "target_start": targets,
        "population": populations,
        "receptor": np.array([q.receptor for q in plastic], np.int64),
        "first_input": np.array([_first_input(q, layout) for q in plastic], np.int64),
        "first_neuron": first_neuron,
        "source_neuron": source_neuron,
        "first_synapse": rows,
        "learns": learns,
        "dense": np.array([q.dense for q in plastic], np.uint8),
    }
    shared = _shared_traces(model, plastic, int(targets[-1]))
    if hasattr(model.synapse, "copy_to_host"):  # it lies on the GPU
        model = model._replace(synapse=model.synapse.copy_to_host())
    return [
        (
            Rules(**rules, **_columns(plastic, numbers, targets, layout, model, t)),
            Traces(**shared, **_own_traces(rules, slot_bits)),
        )
        for t in range(layout.n_threads)
    ]


def learning_bytes(projection: Projection, layout: Layout, dt: float) -> int:
    """What a plastic projection takes beside its synapses and weights."""
    if projection.plasticity is None:
        return 0
    pre_bits, log_bits = _history_bits(projection, layout, dt)
    each = 12 if projection.plasticity.apply == "run" else 8  # column_synapse, column_source, change
    sources = len(projection.source) * (8 + (12 << pre_bits)) + (4 << log_bits) + (8 << _bits(_span(layout) + 1))
    targets = len(projection.target) * (37 + 8 * DUE + 12 * HISTORY + 8 * layout.n_threads)
    return round(projection.expected_synapses()) * each + sources * layout.n_threads + targets


def _span(layout: Layout) -> int:
    """The steps for which a spike is remembered at least."""
    return layout.max_delay + layout.window + 1


def _history_bits(projection: Projection, layout: Layout, dt: float) -> tuple[int, int]:
    """log2 of the remembered spikes of a source, and of those of all."""
    spikes = _span(layout) // _shortest_interval(projection.source.population, dt) + 3
    return _bits(spikes), _bits(spikes * len(projection.source))


def _rule_fields(network: Network, plastic: list[Projection]) -> dict[str, Any]:
    """The rules themselves: numbers, options, tables and delays."""
    values, options, starts, tables, pre, post, delays = [], [], [], [np.zeros(0, np.float32)], [], [], []
    size = 0
    for projection in plastic:
        rule = projection.plasticity
        assert rule is not None
        strengths = rule.strengths()
        values.append([rule.a_plus, rule.a_minus, rule.x_target, rule.w_min, rule.w_max])
        values[-1] += [number for strength in strengths for number in strength[:2]]
        options.append([rule.order == "together", rule.traces == "nearest", rule.apply == "run"])
        starts.append([-1, -1])
        for side, (_, _, table) in enumerate(strengths):
            if table is not None:
                starts[-1][side] = size
                tables.append(table)
                size += table.size
        pre.append(rule.trace_decay(rule.tau_pre, network.dt))
        post.append(rule.trace_decay(rule.tau_post, network.dt))
        low, high = delay_range(projection, network.dt)
        given = projection.delay
        steps = np.arange(low, high + 1)
        if not isinstance(given, Distribution):
            steps = np.unique(np.maximum(np.rint(np.ravel(given) / network.dt), 1)).astype(np.int64)
        delays.append(steps)
    return {
        "value": np.array(values, np.float32),
        "option": np.array(options, np.uint8),
        "table_start": np.array(starts, np.int64),
        "table": np.concatenate(tables),
        "pre_decay_start": _starts(table.size for table in pre),
        "pre_decay": np.concatenate(pre),
        "post_decay_start": _starts(table.size for table in post),
        "post_decay": np.concatenate(post),
        "delay_start": _starts(steps.size for steps in delays),
        "delay": np.concatenate(delays).astype(np.int64),
    }


def _shared_traces(model: Model, plastic: list[Projection], n_targets: int) -> dict[str, Any]:
    """What belongs to synapses and targets."""
    frozen = any(q.plasticity is not None and q.plasticity.apply == "run" for q in plastic)
    weight = model.synapse_weight.view(np.float32)
    post_due = np.full(DUE * n_targets, NEVER, np.int64)
    return {
        "weight": weight,
        "change": np.zeros(weight.size if frozen else 0, np.float32),
        "post_last": post_due[:n_targets],
        "post_trace": np.zeros(n_targets, np.float32),
        "post_count": np.zeros(n_targets, np.int64),
        "post_step": np.full(n_targets * HISTORY, NEVER, np.int64),
        "post_value": np.zeros(n_targets * HISTORY, np.float32),
        "post_due": post_due,
        "settled": np.zeros(n_targets, np.int64),
        "settled_count": np.zeros(n_targets, np.int64),
        "active": np.zeros(n_targets, np.int64),
        "touched": np.ones(n_targets, np.uint8),
    }


def _own_traces(rules: dict[str, Any], slot_bits: int) -> dict[str, Any]:
    """A thread's own notes of the sources' spikes."""
    n_plastic = rules["projection"].size
    return {
        "pre_count": np.zeros(rules["source_start"][-1], np.int64),
        "pre_step": np.full(rules["pre_start"][-1], NEVER, np.int64),
        "pre_value": np.zeros(rules["pre_start"][-1], np.float32),
        "log_source": np.zeros(rules["log_start"][-1], np.uint32),
        "log_first": np.zeros(n_plastic << slot_bits, np.int64),
        "log_count": np.zeros(n_plastic, np.int64),
        "settled_all": np.zeros(1, np.int64),
        "active_count": np.zeros(n_plastic, np.int64),
    }


def _columns(
    plastic: list[Projection],
    numbers: NDArray[np.int64],
    targets: NDArray[np.int64],
    layout: Layout,
    model: Model,
    thread: int,
) -> dict[str, Any]:
    """The thread's synapses by target."""
    count = np.zeros(targets[-1], np.int64)
    mask = np.uint32((1 << layout.target_bits) - 1)
    places = [
        (
            model.row_start,
            model.projection_row[number],
            len(q.source),
            layout.n_threads,
            thread,
            model.synapse,
            mask,
            _first_input(q, layout),
        )
        for q, number in zip(plastic, numbers, strict=True)
    ]
    for place, first, stop in zip(places, targets, targets[1:], strict=False):
        learning_kernels.count_columns(*place, count[first:stop])
    start = np.cumsum(np.concatenate([[0], count]))
    synapse, source = np.empty(start[-1], np.uint32), np.empty(start[-1], np.uint32)
    cursor = start[:-1].copy()
    for place, first, stop in zip(places, targets, targets[1:], strict=False):
        learning_kernels.fill_columns(*place, cursor[first:stop], synapse, source)
    own = []
    for q, first in zip(plastic, targets, strict=False):
        p = layout.index(q.target.population)
        edges = np.array([layout.slice_start[p, thread], layout.slice_stop[p, thread]])
        own.append(first + np.clip(edges - q.target.start, 0, len(q.target)))
    return {
        "column_start": start,
        "column_synapse": synapse,
        "column_source": source,
        "own_target": np.array(own, np.int64),
    }


def _first_input(projection: Projection, layout: Layout) -> int:
    """The input index of a projection's first target."""
    p = layout.index(projection.target.population)
    size = layout.population_start[p + 1] - layout.population_start[p]
    return int(layout.population_input[p] + projection.receptor * size + projection.target.start)


def _shortest_interval(population: Population, dt: float) -> int:
    """The fewest steps between two spikes of a neuron."""
    t_ref: Any = getattr(population.model, "t_ref", 0.0)  # a spike source has none
    return round(float(t_ref) / dt) + 1 if isinstance(t_ref, float | int) else 1


def _bits(n: int) -> int:
    """log2 of the power of two that holds n."""
    return max(n - 1, 1).bit_length()


def _starts(sizes: Any) -> NDArray[np.int64]:
    return np.cumsum(np.array([0, *sizes], np.int64))
