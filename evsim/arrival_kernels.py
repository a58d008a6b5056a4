"""Spikes arrive over plastic synapses, on the CPU: each thread delivers to its own neurons and changes the weights.

The loops over synapses hold no branch that depends on a spike: which synapses have something to learn is listed first.
"""

from typing import NamedTuple

import numpy as np

from evsim.dynamics import clamp, depress, depression, potentiate, strength
from evsim.jit import compile_kernel, disjoint, prefetch, register_jitable
from evsim.lane_sums import add_rounded_lanes
from evsim.lanes import LANES
from evsim.learning import (
    A_MINUS,
    A_PLUS,
    DUE,
    FROZEN,
    HISTORY,
    MINUS_0,
    MINUS_1,
    NEVER,
    PLUS_0,
    PLUS_1,
    TOGETHER,
    W_MAX,
    W_MIN,
    X_TARGET,
    Rules,
    Traces,
)
from evsim.model import F4, F8, I8, N_THREADS, RING_MASK, TARGET_BITS, U4, U8
from evsim.plastic_dynamics import (
    depression_by,
    find_delay,
    last_arrival,
    last_arrival_of,
    may_learn,
    place_in_log,
    place_of_step,
    update_after,
    update_before,
)

f32 = np.float32
i64 = np.int64
u32 = np.uint32
u64 = np.uint64

PIECE = 512  # synapses of a row that are listed at a time


class Lists(NamedTuple):
    """A thread's working arrays of one arrival, or of normalising weights."""

    listed: U4  # (PIECE * (DUE + 1),) synapses of a piece of a row, level by level
    level_start: U8  # (DUE + 1,) where each level's begin, and the end
    row: U8  # (most sources,) the weights of each row begin here
    arrived: I8  # (most sources,) when a spike arrived at it before
    x_pre: F4  # (most sources,) the presynaptic trace right after that
    place: U8  # (n_targets,) where in a row each active target is, or each that is normalised
    amount: F4  # (n_targets,) how strongly it depresses
    units: I8  # (n_targets,) the sum of its weights
    factor: F8  # (n_targets,) what they are multiplied by


def make_lists(rules: Rules, traces: Traces) -> Lists:
    """Of a thread."""
    most_sources = np.diff(rules.source_start).max()
    return Lists(
        listed=np.zeros(PIECE * (DUE + 1), np.uint32),
        level_start=np.zeros(DUE + 1, np.uint64),
        row=np.zeros(most_sources, np.uint64),
        arrived=np.zeros(most_sources, np.int64),
        x_pre=np.zeros(most_sources, np.float32),
        place=np.zeros(traces.post_last.size, np.uint64),
        amount=np.zeros(traces.post_last.size, np.float32),
        units=np.zeros(traces.post_last.size, np.int64),
        factor=np.zeros(traces.post_last.size, np.float64),
    )


@register_jitable(forceinline=True)
def _is_simple(rules, k):
    """The commonest case: weights that change at once, along straight lines."""
    straight = rules.table_start[k, 0] < 0 and rules.table_start[k, 1] < 0
    return straight and rules.option[k, TOGETHER] == 0 and rules.option[k, FROZEN] == 0


@compile_kernel
def _potentiate_earlier(
    due, n_targets, synapse, start, n, mask, first, listed, level_start, weight, shift, arrived, lowest, x_pre,
    decay, value, k,
):  # fmt: skip
    """What the spikes of targets since the last arrival, but for the last of each, make of n weights of a row.

    Level l lists the synapses whose target has spiked more than l + 1 times since, and from step `lowest` on. The
    oldest spikes act first.
    """
    disjoint()
    end, at = u64(0), n_targets + first
    for i in range(n):
        listed[end] = u32(i)
        end += u64(due[(u64(synapse[start + i]) & mask) + at] >= lowest)
    level_start[u64(0)], level_start[u64(1)] = u64(0), end
    levels, begin = u64(1), u64(0)
    while end > begin and levels < u64(DUE - 1):
        stop = end
        at += n_targets
        for i in range(begin, stop):
            listed[end] = listed[i]
            end += u64(due[(u64(synapse[start + u64(listed[i])]) & mask) + at] >= lowest)
        begin = stop
        levels += u64(1)
        level_start[levels] = end
    a_plus, x_target, low, high = value[k, A_PLUS], value[k, X_TARGET], value[k, W_MIN], value[k, W_MAX]
    plus_0, plus_1, longest = value[k, PLUS_0], value[k, PLUS_1], u64(decay.size) - u64(1)
    for below in range(levels):
        level = levels - u64(1) - below
        at = (level + u64(1)) * n_targets + first
        for i in range(level_start[level], level_start[level + u64(1)]):
            s = start + u64(listed[i])
            since = due[(u64(synapse[s]) & mask) + at] - arrived
            left = decay[min(u64(since), longest)]
            w = weight[s + shift]
            w = potentiate(w, x_pre, left, x_target, a_plus, strength(w, plus_0, plus_1))
            weight[s + shift] = clamp(w, low, high)


@compile_kernel
def _deliver_row(
    ring, slot, per_unit, synapse, start, stop, mask, first, weight, shift, step, post_last, post_trace,
    arrived, lowest, x_pre, pre_decay, post_decay, value, k,
):  # fmt: skip
    """Potentiate the weights of a row by the last spike of their targets, deliver them, and depress them.

    The loop has few registers to spare. A time since an arrival that is negative is a large one as a uint64; what it
    gives is not used.
    """
    disjoint()
    pre_longest, post_longest = u64(pre_decay.size) - u64(1), u64(post_decay.size) - u64(1)
    a_plus, x_target, plus_0, plus_1 = value[k, A_PLUS], value[k, X_TARGET], value[k, PLUS_0], value[k, PLUS_1]
    a_minus, minus_0, minus_1 = value[k, A_MINUS], value[k, MINUS_0], value[k, MINUS_1]
    low, high = value[k, W_MIN], value[k, W_MAX]
    for s in range(start, stop):
        place = u64(synapse[s]) & mask
        target = place + first
        w, last = weight[s + shift], post_last[target]
        left = pre_decay[min(u64(last - arrived), pre_longest)]
        raised = clamp(potentiate(w, x_pre, left, x_target, a_plus, strength(w, plus_0, plus_1)), low, high)
        w = raised if last >= lowest else w
        ring[slot + place] += ring.dtype.type(np.rint(w * per_unit))
        left = post_decay[min(u64(step - last), post_longest)]
        w = depress(w, depression(post_trace[target], left, a_minus), strength(w, minus_0, minus_1))
        weight[s + shift] = clamp(w, low, high)


@register_jitable
def fetch_row(synapse, weight, start, stop, uniform, shift):
    """Ask for the first lines of a row that is delivered soon: rows lie anywhere in memory."""
    end = min(stop, start + u64(512))
    for s in range(start, end, u64(16)):
        prefetch(synapse, s)
        if not uniform:
            prefetch(weight, s + shift)


@register_jitable(forceinline=True)
def _fetch_next(model, rules, traces, k, thread, logged, last):
    """Ask for the row of the next spike but one that arrives."""
    if logged + 2 < last:
        source = i64(traces.log_source[place_in_log(rules, k, logged + 2)])
        q = rules.projection[k]
        row = u64(model.projection_row[q] + source * i64(model.scalars[N_THREADS]) + thread)
        start, stop = u64(model.row_start[row]), u64(model.row_start[row + u64(1)])
        fetch_row(model.synapse, traces.weight, start, stop, False, u64(model.projection_weight[q]))


@register_jitable(forceinline=True)
def _arrive_simply(
    rules, traces, lists, k, synapse, start, stop, shift, mask, first, ring, slot, per_unit, arrived, x_pre, step
):  # fmt: skip
    """A spike arrives at the synapses [start, stop); does what `update_before` and `update_after` do."""
    lowest = max(arrived, traces.settled_all[0]) if may_learn(rules, k, arrived) else step + 1
    n_targets = u64(traces.post_last.size)
    pre_decay = rules.pre_decay[rules.pre_decay_start[k] : rules.pre_decay_start[k + 1]]
    post_decay = rules.post_decay[rules.post_decay_start[k] : rules.post_decay_start[k + 1]]
    for piece in range(start, stop, u64(PIECE)):
        end = min(piece + u64(PIECE), stop)
        _potentiate_earlier(
            traces.post_due, n_targets, synapse, piece, end - piece, mask, first, lists.listed, lists.level_start,
            traces.weight, shift, arrived, lowest, x_pre, pre_decay, rules.value, u64(k),
        )  # fmt: skip
        _deliver_row(
            ring, slot, per_unit, synapse, piece, end, mask, first, traces.weight, shift, step, traces.post_last,
            traces.post_trace, arrived, lowest, x_pre, pre_decay, post_decay, rules.value, u64(k),
        )  # fmt: skip


@register_jitable
def _to_units(w, per_unit, ring):
    return ring.dtype.type(np.rint(w * per_unit))


@register_jitable
def _deliver_together(weight, rows, n, ring, place, per_unit):
    """Deliver a few rows of n weights to n inputs that follow each other."""
    whole = n - n % u64(LANES)
    for j in range(u64(0), whole, u64(LANES)):
        add_rounded_lanes(ring, place + j, weight, rows, per_unit, j)
    for j in range(whole, n):
        for r in range(len(rows)):
            ring[place + j] += _to_units(weight[rows[r] + j], per_unit, ring)


@compile_kernel
def _deliver_dense(weight, row, n_rows, n, ring, place, per_unit):
    """Deliver rows of n weights, four at a time."""
    fours = n_rows & ~u64(3)
    for r in range(u64(0), fours, u64(4)):
        rows = row[r], row[r + u64(1)], row[r + u64(2)], row[r + u64(3)]
        _deliver_together(weight, rows, n, ring, place, per_unit)
    if n_rows - fours >= u64(2):
        _deliver_together(weight, (row[fours], row[fours + u64(1)]), n, ring, place, per_unit)
        fours += u64(2)
    if n_rows > fours:
        _deliver_together(weight, (row[fours],), n, ring, place, per_unit)


@compile_kernel
def _potentiate_recent(
    weight, row, active, start, count, settled, post_last, post_count, post_step, arrived, x_pre,
    decay, decay_start, decay_stop, value, k,
):  # fmt: skip
    """What the spikes of targets since the last arrival make of a dense row; does what `catch_up` does.

    The targets active[start:start + count] are those that have spiked, the latest first.
    """
    disjoint()
    a_plus, x_target, low, high = value[k, A_PLUS], value[k, X_TARGET], value[k, W_MIN], value[k, W_MAX]
    plus_0, plus_1 = value[k, PLUS_0], value[k, PLUS_1]
    for j in range(start, start + count):
        target = u64(active[j])
        if post_last[target] < arrived:
            break  # as are all that follow
        lowest = max(arrived, settled[target])
        first, last = target * u64(HISTORY), post_count[target]
        i = last
        while i > 0 and last - i < HISTORY and post_step[first + u64((i - 1) & (HISTORY - 1))] >= lowest:
            i -= 1
        at = row + (target - start)
        w = weight[at]
        while i < last:
            since = post_step[first + u64(i & (HISTORY - 1))] - arrived
            left = decay[u64(min(decay_start + since, decay_stop - 1))]
            w = clamp(potentiate(w, x_pre, left, x_target, a_plus, strength(w, plus_0, plus_1)), low, high)
            i += 1
        weight[at] = w


@compile_kernel
def _depress_rows(weight, row, n_rows, place, amount, count, value, k):
    """Depress the weights at `count` places in each row by an amount of each place; does what `update_after` does."""
    disjoint()
    minus_0, minus_1, low, high = value[k, MINUS_0], value[k, MINUS_1], value[k, W_MIN], value[k, W_MAX]
    for r in range(n_rows):
        for j in range(count):
            at = row[r] + place[j]
            w = weight[at]
            weight[at] = clamp(depress(w, amount[j], strength(w, minus_0, minus_1)), low, high)


@compile_kernel
def _find_rows(
    row, arrived, x_pre, log_source, log_start, log_mask, logged, last, row_start, first_row, n_threads, shift,
    pre_count, pre_step, pre_value, source_start, pre_start, bits, delay, step,
):  # fmt: skip
    """Where the rows of spikes logged[...:last] begin, and what arrived at them before."""
    disjoint()
    for r in range(u64(last - logged)):
        source = i64(log_source[u64(log_start + ((logged + i64(r)) & log_mask))])
        row[r] = u64(row_start[u64(first_row + source * n_threads)] + shift)
        arrived[r], x_pre[r] = last_arrival_of(
            pre_count, pre_step, pre_value, u64(source_start + source), pre_start + (source << bits), bits, delay, step
        )


@register_jitable(forceinline=True)
def _arrive_at_all(model, ring, rules, traces, lists, learning, thread, k, logged, last, delay, place, per_unit, step):
    """Spikes logged[...:last] arrive at all of a thread's targets: only those that have spiked have something to learn.

    Returns the number of synaptic events.
    """
    start = rules.own_target[k, 0]
    n = u64(rules.own_target[k, 1] - start)
    count = traces.active_count[k] if learning else 0
    together, simple = rules.option[k, TOGETHER] == 1, _is_simple(rules, k)
    rows, q = lists.row, rules.projection[k]
    _find_rows(
        rows, lists.arrived, lists.x_pre, traces.log_source, rules.log_start[k], (i64(1) << rules.log_bits[k]) - 1,
        logged, last, model.row_start, model.projection_row[q] + thread, model.scalars[N_THREADS],
        model.projection_weight[q], traces.pre_count, traces.pre_step, traces.pre_value, rules.source_start[k],
        rules.pre_start[k], rules.pre_bits[k], delay, step,
    )  # fmt: skip
    n_rows = u64(last - logged)
    for r in range(n_rows if count > 0 else u64(0)):
        first, arrived, x_pre = rows[r], lists.arrived[r], lists.x_pre[r]
        if traces.post_last[traces.active[start]] < arrived and not together:
            continue  # that was the latest one
        if simple:
            _potentiate_recent(
                traces.weight, first, traces.active, u64(start), u64(count), traces.settled, traces.post_last,
                traces.post_count, traces.post_step, arrived, x_pre, rules.pre_decay, rules.pre_decay_start[k],
                rules.pre_decay_start[k + 1], rules.value, u64(k),
            )  # fmt: skip
            continue
        for j in range(count):
            target = traces.active[start + j]
            if traces.post_last[target] < arrived and not together:
                break  # as are all that follow
            update_before(rules, traces, k, target, first + u64(target - start), arrived, x_pre)
    _deliver_dense(traces.weight, rows, n_rows, n, ring, place, per_unit)
    for j in range(count):
        target = traces.active[start + j]
        lists.place[j] = u64(target - start)
        lists.amount[j] = depression_by(rules, traces, k, target, step)
    if simple:
        _depress_rows(traces.weight, rows, n_rows, lists.place, lists.amount, u64(count), rules.value, k)
        return n_rows * n
    for r in range(n_rows):
        for j in range(count):
            update_after(rules, traces, k, rows[r] + lists.place[j], lists.amount[j])
    return n_rows * n


@register_jitable(forceinline=True)
def arrive(model, ring, rules, traces, lists, learning, thread, step):
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
        simple = _is_simple(rules, k)
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
            if rules.dense[k] == 1:
                place = slot + first_target + u64(rules.own_target[k, 0]) - targets
                events += _arrive_at_all(
                    model, ring, rules, traces, lists, learning, thread, k, first_logged, last_logged, delay,
                    place, per_unit, step,
                )  # fmt: skip
                continue
            for logged in range(first_logged, last_logged):
                _fetch_next(model, rules, traces, k, thread, logged, last_logged)
                source = i64(traces.log_source[place_in_log(rules, k, logged)])
                row = u64(model.projection_row[q] + source * n_threads + thread)
                start, stop = u64(model.row_start[row]), u64(model.row_start[row + u64(1)])
                if not one_delay:
                    start = find_delay(synapse, start, stop, delay, target_bits)
                    stop = find_delay(synapse, start, stop, delay + 1, target_bits)
                events += stop - start
                arrived, x_pre = last_arrival(rules, traces, k, rules.source_start[k] + source, delay, step)
                if learning and simple:
                    _arrive_simply(
                        rules, traces, lists, k, synapse, start, stop, shift, target_mask, targets - first_target,
                        ring, slot, per_unit, arrived, x_pre, step,
                    )  # fmt: skip
                    continue
                for s in range(start, stop):
                    place = u64(synapse[s]) & target_mask
                    target = i64(targets + (place - first_target))
                    learns = learning and traces.post_last[target] > NEVER
                    if learns:
                        update_before(rules, traces, k, target, s + shift, arrived, x_pre)
                    ring[slot + place] += _to_units(weight[s + shift], per_unit, ring)
                    if learns:
                        amount = depression_by(rules, traces, k, target, step)
                        update_after(rules, traces, k, s + shift, amount)
    return events
