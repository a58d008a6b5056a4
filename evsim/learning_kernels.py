"""Plasticity on the CPU: each thread changes the weights of the synapses into its own neurons.

In a step: spikes arrive (see `arrival_kernels`), neurons are updated, and the spikes among them are noted
(`note_posts`). After a window, the spikes of all threads are noted (`note_pre`) for their arrival in a later step.
"""

import numpy as np

from evsim.jit import compile_kernel, disjoint, register_jitable
from evsim.learning import DUE, NEAREST, NEVER, W_MAX, W_MIN
from evsim.plastic_dynamics import (
    apply_change,
    catch_up_at,
    count_units,
    is_behind,
    last_arrival,
    mark_settled,
    may_learn,
    note_post,
    note_pre,
    place_of_step,
    scale,
    settle_synapse,
    settled_until,
)

i64 = np.int64
u32 = np.uint32
u64 = np.uint64


@register_jitable(forceinline=True)
def _settle_column(model, rules, traces, k, target, before, until, left):
    """Bring the synapses into a target up to date."""
    if is_behind(rules, traces, k, target):
        for c in range(rules.column_start[target], rules.column_start[target + 1]):
            settle_synapse(model, rules, traces, k, target, c, before, until, left)


@register_jitable(forceinline=True)
def _settle_rows(model, rules, traces, k, before):
    """Bring a dense projection up to date, in the order in which weights lie in memory."""
    start, delay = rules.own_target[k, 0], rules.delay[rules.delay_start[k]]
    first_weight = rules.first_synapse[k] + model.projection_weight[rules.projection[k]]
    for source in range(rules.source_start[k + 1] - rules.source_start[k]):
        arrived, x_pre = last_arrival(rules, traces, k, rules.source_start[k] + source, delay, before)
        if not may_learn(rules, k, arrived):
            continue
        row = first_weight + i64(rules.column_synapse[rules.column_start[start] + source])
        for j in range(start, start + traces.active_count[k]):
            target = traces.active[j]
            if is_behind(rules, traces, k, target):
                catch_up_at(rules, traces, k, target, row + (target - start), arrived, x_pre, i64(0))


@register_jitable(forceinline=True)
def _put_first(traces, k, first, target):
    """Make a target the first of the active ones of projection k, which begin at active[first]."""
    held = target
    for j in range(first, first + traces.active_count[k]):
        held, traces.active[j] = traces.active[j], held
        if held == target:
            return
    traces.active[first + traces.active_count[k]] = held
    traces.active_count[k] += 1


@register_jitable(forceinline=True)
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
            if rules.dense[k] == 1:
                _put_first(traces, k, rules.own_target[k, 0], target)
            stride = traces.post_last.size
            for d in range(min(traces.post_count[target] - traces.settled_count[target], i64(DUE - 1)), 0, -1):
                traces.post_due[d * stride + target] = traces.post_due[(d - 1) * stride + target]
            if note_post(rules, traces, k, target, step):
                until, left = settled_until(rules, traces, k, target, step)
                if learning:
                    _settle_column(model, rules, traces, k, target, step + 1, until, left)
                for d in range(max(left, i64(1)), DUE):
                    traces.post_due[d * stride + target] = NEVER
                mark_settled(traces, target, until, left)


@register_jitable(forceinline=True)
def note_step(rules, traces, step):
    """Spikes noted from now on are those of `step`."""
    for k in range(rules.projection.size):
        traces.log_first[place_of_step(rules, k, step)] = traces.log_count[k]


@register_jitable(forceinline=True)
def note_sources(model, rules, traces, q, spikes, first, stop, step):
    """Remember spikes[first:stop] of the sources of projection q, which will arrive after its delays."""
    k = u64(rules.number[q])
    traces.log_count[k] = _note_sources(
        spikes, first, stop, model.projection_source[q, 0], model.projection_source[q, 1], traces.log_source,
        rules.log_start[k], (i64(1) << rules.log_bits[k]) - 1, traces.log_count[k], traces.pre_count, traces.pre_step,
        traces.pre_value, rules.source_start[k], rules.pre_start[k], rules.pre_bits[k], rules.pre_decay,
        rules.pre_decay_start[k], rules.pre_decay_start[k + 1], rules.option[k, NEAREST] == 1, step,
    )  # fmt: skip


@compile_kernel
def _note_sources(
    spikes, first, stop, low, high, log_source, log_start, log_mask, log_count, pre_count, pre_step, pre_value,
    source_start, pre_start, bits, decay, decay_start, decay_stop, nearest, step,
):  # fmt: skip
    """Returns how many spikes are then logged."""
    disjoint()
    for j in range(first, stop):
        source = i64(spikes[j]) - low
        if source >= 0 and source < high - low:
            log_source[u64(log_start + (log_count & log_mask))] = u32(source)
            note_pre(
                pre_count, pre_step, pre_value, u64(source_start + source), pre_start + (source << bits), bits,
                decay, decay_start, decay_stop, nearest, step,
            )  # fmt: skip
            log_count += 1
    return log_count


@compile_kernel
def settle_all(model, rules, traces, learning, before):
    """Bring all plastic synapses of a thread up to date: spikes and arrivals before a step."""
    for k in range(rules.projection.size):
        start, stop = rules.own_target[k, 0], rules.own_target[k, 1]
        if learning and rules.dense[k] == 1:
            _settle_rows(model, rules, traces, k, before)
        elif learning:
            for target in range(start, stop):
                _settle_column(model, rules, traces, k, target, before, before, i64(0))
        for target in range(start, stop):
            mark_settled(traces, target, before, i64(0))
    traces.settled_all[0] = before


@compile_kernel
def apply_changes(model, rules, traces, k):
    """Add to the weights of a projection what has added up in a run."""
    q = rules.projection[k]
    low, high = rules.value[k, W_MIN], rules.value[k, W_MAX]
    for c in range(rules.column_start[rules.own_target[k, 0]], rules.column_start[rules.own_target[k, 1]]):
        at = rules.first_synapse[k] + i64(rules.column_synapse[c]) + model.projection_weight[q]
        apply_change(traces, at, low, high)


@compile_kernel
def normalize(model, rules, traces, lists, k, total, per_unit):
    """Scale the weights into each target so that they sum to `total` (n_targets,).

    Sums are of whole units, of which `per_unit` (a power of two) are 1.
    """
    first, stop = rules.own_target[k, 0], rules.own_target[k, 1]
    n = u64(0)
    for target in range(first, stop):
        if traces.touched[target] == 1:
            traces.touched[target] = traces.post_last[target] > NEVER  # depression by that spike may go on
            lists.place[n] = u64(target - first)
            n += u64(1)
    low, high = rules.value[k, W_MIN], rules.value[k, W_MAX]
    shift = rules.first_synapse[k] + model.projection_weight[rules.projection[k]]
    own_total = total[first - rules.target_start[k] :]
    if rules.dense[k] == 1 and n > u64(0):
        first_row, last_row = u64(rules.column_start[first]), u64(rules.column_start[first + 1])
        _normalize_rows(
            traces.weight, u64(shift), rules.column_synapse, first_row, last_row, lists.place, lists.units,
            lists.factor, n, own_total, per_unit, low, high,
        )  # fmt: skip
        return
    for j in range(n):
        target = u64(first) + lists.place[j]
        start, end = rules.column_start[target], rules.column_start[target + u64(1)]
        units = i64(0)
        for c in range(start, end):
            units += count_units(traces.weight[shift + i64(rules.column_synapse[c])], per_unit)
        factor = _factor(own_total[lists.place[j]], units, per_unit)
        for c in range(start, end):
            at = shift + i64(rules.column_synapse[c])
            traces.weight[at] = scale(traces.weight[at], factor, low, high)


@register_jitable
def _factor(total, units, per_unit):
    """What weights that sum to some units are multiplied by; 1 where all are 0."""
    return total / (np.float64(units) / per_unit) if units != 0 else 1.0


@compile_kernel
def _normalize_rows(
    weight, shift, row, first_row, last_row, place, units, factor, n, total, per_unit, low, high
):  # fmt: skip
    """Normalise the n targets at `place` in each row of a dense projection, in the order of memory."""
    disjoint()
    for j in range(n):
        units[j] = 0
    for r in range(first_row, last_row):
        start = shift + u64(row[r])
        for j in range(n):
            units[j] += count_units(weight[start + place[j]], per_unit)
    for j in range(n):
        factor[j] = _factor(total[place[j]], units[j], per_unit)
    for r in range(first_row, last_row):
        start = shift + u64(row[r])
        for j in range(n):
            weight[start + place[j]] = scale(weight[start + place[j]], factor[j], low, high)


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
