"""Plasticity on the CPU: each thread changes the weights of the synapses into its own neurons.

In a step: spikes arrive (rows), neurons are updated, and the spikes among them are noted (`note_posts`). After a
window, the spikes of all threads are noted (`note_pre`) for their arrival in a later step.
"""

import numpy as np

from evsim.dynamics import clamp, depress, potentiate, strength
from evsim.jit import compile_kernel, register_jitable
from evsim.learning import (
    A_MINUS,
    A_PLUS,
    FROZEN,
    MINUS_0,
    MINUS_1,
    NEVER,
    PLUS_0,
    PLUS_1,
    TOGETHER,
    W_MAX,
    W_MIN,
    X_TARGET,
)
from evsim.model import N_THREADS, RING_MASK, TARGET_BITS
from evsim.plastic_dynamics import (
    apply_change,
    catch_up,
    count_units,
    find_delay,
    is_behind,
    last_arrival,
    mark_settled,
    note_post,
    note_pre,
    place_in_log,
    place_of_step,
    scale,
    settle_synapse,
    update_after,
    update_before,
)

f32 = np.float32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64


@compile_kernel
def _deliver_all(weight, first, n, ring, place, per_unit):
    """Deliver n weights to n inputs that follow each other."""
    for j in range(n):
        ring[place + j] += ring.dtype.type(np.rint(weight[first + j] * per_unit))


@register_jitable(forceinline=True)
def _arrive_at_all(rules, traces, learning, k, first, n, ring, place, per_unit, arrived, x_pre, step):
    """A spike arrives at all of a thread's targets: only those that have spiked have anything to learn."""
    start, count = rules.own_target[k, 0], traces.active_count[k] if learning else 0
    for j in range(count):
        target = traces.active[start + j]
        update_before(rules, traces, k, target, first + u64(target - start), arrived, x_pre)
    _deliver_all(traces.weight, first, n, ring, place, per_unit)
    for j in range(count):
        target = traces.active[start + j]
        update_after(rules, traces, k, target, first + u64(target - start), step)


@register_jitable(forceinline=True)
def _arrive_simply(
    rules, traces, k, synapse, start, stop, shift, target_mask, first, ring, slot, per_unit, arrived, x_pre, step
):  # fmt: skip
    """The commonest case: weights that change at once, along straight lines.

    Does what `update_before` and `update_after` do. Most targets have spiked at most three times since the last
    arrival; the others catch up first.
    """
    due, weight = traces.post_due, traces.weight
    for s in range(start, stop):
        target = (u64(synapse[s]) & target_mask) + first
        if due[(target << u64(2)) + u64(3)] >= arrived:
            w = weight[s + shift]
            weight[s + shift] = catch_up(rules, traces, k, i64(target), w, w, arrived, x_pre)
    post_last, post_trace, pre_decay, post_decay = (
        traces.post_last,
        traces.post_trace,
        rules.pre_decay,
        rules.post_decay,
    )
    value = rules.value
    a_plus, a_minus, x_target = value[k, A_PLUS], value[k, A_MINUS], value[k, X_TARGET]
    plus_0, plus_1, minus_0, minus_1 = value[k, PLUS_0], value[k, PLUS_1], value[k, MINUS_0], value[k, MINUS_1]
    low, high = value[k, W_MIN], value[k, W_MAX]
    pre_start, post_start = rules.pre_decay_start[k], rules.post_decay_start[k]
    pre_end, post_end = rules.pre_decay_start[k + 1] - 1 - pre_start, rules.post_decay_start[k + 1] - 1 - post_start
    for s in range(start, stop):
        place = u64(synapse[s]) & target_mask
        target = place + first
        w = weight[s + shift]
        if due[target << u64(2)] >= arrived and due[(target << u64(2)) + u64(3)] < arrived:
            for j in (u64(2), u64(1), u64(0)):
                since = due[(target << u64(2)) + j] - arrived
                left = pre_decay[u64(pre_start + min(max(since, 0), pre_end))]
                up = clamp(potentiate(w, x_pre, left, x_target, a_plus, strength(w, plus_0, plus_1)), low, high)
                w = up if since >= 0 else w
        ring[slot + place] += ring.dtype.type(np.rint(w * per_unit))
        left = post_decay[u64(post_start + min(step - post_last[target], post_end))]
        down = depress(w, post_trace[target], left, a_minus, strength(w, minus_0, minus_1))
        weight[s + shift] = clamp(down, low, high)


@register_jitable(forceinline=True)
def arrive(model, ring, rules, traces, learning, thread, step):
    """Deliver the spikes that arrive over plastic synapses in `step`, and change their weights.

    Returns the number of synaptic events.
    """
    n_threads, target_bits = i64(model.scalars[N_THREADS]), u64(model.scalars[TARGET_BITS])
    ring_mask, target_mask = u64(model.scalars[RING_MASK]), (u64(1) << target_bits) - u64(1)
    weight, synapse = traces.weight, model.synapse
    slot = (u64(step) << target_bits) & ring_mask
    events = u64(0)
    for k in range(rules.projection.size):
        q = rules.projection[k]
        shift = u64(model.projection_weight[q])
        first_target = u64(rules.first_input[k])
        targets = u64(rules.target_start[k])
        straight = rules.table_start[k, 0] < 0 and rules.table_start[k, 1] < 0
        simple = straight and rules.option[k, TOGETHER] == 0 and rules.option[k, FROZEN] == 0
        one_delay = rules.delay_start[k + 1] - rules.delay_start[k] == 1
        p, receptor = rules.population[k], rules.receptor[k]
        per_unit = f32(1.0) / model.input_unit[p, receptor]
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
                    start = find_delay(synapse, start, stop, delay, target_bits)
                    stop = find_delay(synapse, start, stop, delay + 1, target_bits)
                events += stop - start
                arrived, x_pre = last_arrival(rules, traces, k, rules.source_start[k] + source, delay, step)
                if rules.dense[k] == 1:
                    _arrive_at_all(
                        rules, traces, learning, k, start + shift, stop - start, ring,
                        slot + (u64(synapse[start]) & target_mask), per_unit, arrived, x_pre, step,
                    )  # fmt: skip
                    continue
                if learning and simple and arrived > NEVER:
                    _arrive_simply(
                        rules, traces, k, synapse, start, stop, shift, target_mask, targets - first_target, ring, slot,
                        per_unit, arrived, x_pre, step,
                    )  # fmt: skip
                    continue
                for s in range(start, stop):
                    place = u64(synapse[s]) & target_mask
                    target = i64(targets + (place - first_target))
                    if learning and traces.post_last[target] > NEVER:
                        update_before(rules, traces, k, target, s + shift, arrived, x_pre)
                        ring[slot + place] += ring.dtype.type(np.rint(weight[s + shift] * per_unit))
                        update_after(rules, traces, k, target, s + shift, step)
                    else:
                        ring[slot + place] += ring.dtype.type(np.rint(weight[s + shift] * per_unit))
    return events


@register_jitable(forceinline=True)
def _settle(model, rules, traces, learning, k, target, before):
    """Bring all synapses into a target up to date: spikes and arrivals before a step."""
    if learning and is_behind(rules, traces, k, target):
        for c in range(rules.column_start[target], rules.column_start[target + 1]):
            settle_synapse(model, rules, traces, k, target, c, before)
    for j in range(4 * target, 4 * target + 4):
        traces.post_due[j] = NEVER
    mark_settled(traces, target, before)


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
            if traces.post_last[target] == NEVER:
                traces.active[rules.own_target[k, 0] + traces.active_count[k]] = target
                traces.active_count[k] += 1
            for d in range(4 * target + 3, 4 * target, -1):
                traces.post_due[d] = traces.post_due[d - 1]
            traces.post_due[4 * target] = step
            if note_post(rules, traces, k, target, step):
                _settle(model, rules, traces, learning, k, target, step + 1)


@register_jitable(forceinline=True)
def note_step(rules, traces, step):
    """Spikes noted from now on are those of `step`."""
    for k in range(rules.projection.size):
        traces.log_first[place_of_step(rules, k, step)] = traces.log_count[k]


@register_jitable(forceinline=True)
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
        if traces.touched[target] == 0:
            continue
        traces.touched[target] = traces.post_last[target] > NEVER  # depression by that spike may go on
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
