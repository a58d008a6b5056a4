"""Plasticity on the CPU: each thread changes the weights of the synapses into its own neurons.

In a step: spikes arrive (rows), neurons are updated, and the spikes among them are noted (`note_posts`). After a
window, the spikes of all threads are noted (`note_pre`) for their arrival in a later step.
"""

import numpy as np

from evsim.jit import compile_kernel, register_jitable
from evsim.learning import W_MAX, W_MIN
from evsim.model import N_THREADS, RING_MASK, TARGET_BITS
from evsim.plastic_dynamics import (
    apply_change,
    arrival_rule,
    change_at_arrival,
    count_units,
    find_delay,
    in_ring_units,
    last_arrival,
    mark_settled,
    note_post,
    note_pre,
    place_in_log,
    place_of_step,
    scale,
    settle_synapse,
)

f32 = np.float32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64


@compile_kernel
def arrive(model, ring, rules, traces, learning, thread, step):
    """Deliver the spikes that arrive over plastic synapses in `step`, and change their weights.

    Returns the number of synaptic events.
    """
    n_threads, target_bits = i64(model.scalars[N_THREADS]), u64(model.scalars[TARGET_BITS])
    ring_mask, target_mask = u64(model.scalars[RING_MASK]), (u64(1) << target_bits) - u64(1)
    slot = (u64(step) << target_bits) & ring_mask
    events = u64(0)
    for k in range(rules.projection.size):
        q = rules.projection[k]
        shift = u64(model.projection_weight[q])
        rule = arrival_rule(rules, k)
        first_target = u64(rules.first_input[k])
        targets = u64(rules.target_start[k])
        one_delay = rules.delay_start[k + 1] - rules.delay_start[k] == 1
        per_unit = f32(1.0) / model.input_unit[rules.population[k], rules.receptor[k]]
        for d in range(rules.delay_start[k], rules.delay_start[k + 1]):
            delay = rules.delay[d]
            emitted = step - delay
            if emitted < 0:
                continue
            first_logged = traces.log_first[place_of_step(rules, k, emitted)]
            last_logged = traces.log_first[place_of_step(rules, k, emitted + 1)]
            for logged in range(first_logged, last_logged):
                source = i64(traces.log_source[place_in_log(rules, k, logged)])
                row = u64(model.projection_row[q] + source * n_threads + thread)
                start, stop = u64(model.row_start[row]), u64(model.row_start[row + u64(1)])
                if not one_delay:
                    start = find_delay(model.synapse, start, stop, delay, target_bits)
                    stop = find_delay(model.synapse, start, stop, delay + 1, target_bits)
                events += stop - start
                arrived, x_pre = last_arrival(rules, traces, k, rules.source_start[k] + source, delay, step)
                for s in range(start, stop):
                    place = u64(model.synapse[s]) & target_mask
                    target = targets + (place - first_target)
                    w = change_at_arrival(
                        rules, traces, k, rule, s + shift, target, step, learning, arrived, x_pre
                    )  # fmt: skip
                    ring[slot + place] += ring.dtype.type(in_ring_units(w, per_unit))
    return events


@register_jitable(forceinline=True)
def _settle(model, rules, traces, learning, k, target, before):
    """Bring all synapses into a target up to date: spikes and arrivals before a step."""
    if learning:
        for c in range(rules.column_start[target], rules.column_start[target + 1]):
            settle_synapse(model, rules, traces, k, target, c, before)
    mark_settled(traces, target, before)


@compile_kernel
def note_posts(model, rules, traces, learning, p, spikes, first, stop, step):
    """Remember the spikes of population p in `step`: spikes[first:stop]."""
    for k in range(rules.projection.size):
        if rules.population[k] != p:
            continue
        n_targets = rules.target_start[k + 1] - rules.target_start[k]
        for j in range(first, stop):
            target = i64(spikes[j]) - rules.first_neuron[k]
            if target < 0 or target >= n_targets:
                continue
            target += rules.target_start[k]
            if note_post(rules, traces, k, target, step):
                _settle(model, rules, traces, learning, k, target, step + 1)


@compile_kernel
def note_step(rules, traces, step):
    """Spikes noted from now on are those of `step`."""
    for k in range(rules.projection.size):
        traces.log_first[place_of_step(rules, k, step)] = traces.log_count[k]


@compile_kernel
def note_source(rules, traces, k, source, step):
    """Remember a spike of a projection's source, which will arrive after the delays of its synapses."""
    traces.log_source[place_in_log(rules, k, traces.log_count[k])] = u32(source)
    traces.log_count[k] += 1
    note_pre(rules, traces, k, source, step)


@compile_kernel
def settle_all(model, rules, traces, learning, before):
    """Bring all plastic synapses of a thread up to date: spikes and arrivals before a step."""
    for k in range(rules.projection.size):
        for target in range(rules.own_target[k, 0], rules.own_target[k, 1]):
            _settle(model, rules, traces, learning, k, target, before)


@compile_kernel
def apply_changes(model, rules, traces, k):
    """Add to the weights of a projection what has added up in a run."""
    q = rules.projection[k]
    low, high = rules.value[k, W_MIN], rules.value[k, W_MAX]
    for c in range(rules.column_start[rules.own_target[k, 0]], rules.column_start[rules.own_target[k, 1]]):
        at = rules.first_synapse[k] + i64(rules.column_synapse[c]) + model.projection_weight[q]
        apply_change(traces, at, low, high)


@compile_kernel
def normalize(model, rules, traces, k, total, unit):
    """Scale the weights into each target so that they sum to `total` (n_targets,); sums are whole numbers of `unit`."""
    q = rules.projection[k]
    low, high = rules.value[k, W_MIN], rules.value[k, W_MAX]
    shift = rules.first_synapse[k] + model.projection_weight[q]
    for target in range(rules.own_target[k, 0], rules.own_target[k, 1]):
        start, stop = rules.column_start[target], rules.column_start[target + 1]
        units = i64(0)
        for c in range(start, stop):
            units += count_units(traces.weight[shift + i64(rules.column_synapse[c])], unit)
        if units == 0:
            continue
        factor = total[target - rules.target_start[k]] / (np.float64(units) * unit)
        for c in range(start, stop):
            at = shift + i64(rules.column_synapse[c])
            traces.weight[at] = scale(traces.weight[at], factor, low, high)


@compile_kernel
def count_columns(row_start, first_row, n_sources, n_threads, thread, synapse, mask, first_input, count):
    """Count this thread's synapses into each target (n_targets,)."""
    for source in range(n_sources):
        row = first_row + source * n_threads + thread
        for s in range(row_start[row], row_start[row + 1]):
            count[i64(synapse[s] & mask) - first_input] += 1


@compile_kernel
def fill_columns(
    row_start, first_row, n_sources, n_threads, thread, synapse, mask, first_input,
    cursor, column_synapse, column_source,
):  # fmt: skip
    """List this thread's synapses by target; `cursor` (n_targets,) is where each target's begin."""
    for source in range(n_sources):
        row = first_row + source * n_threads + thread
        for s in range(row_start[row], row_start[row + 1]):
            target = i64(synapse[s] & mask) - first_input
            column_synapse[cursor[target]] = u32(s - row_start[first_row])
            column_source[cursor[target]] = u32(source)
            cursor[target] += 1
