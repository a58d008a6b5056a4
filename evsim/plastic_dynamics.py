"""How one synapse learns, written once: functions over Rules and Traces shared by the kernels of every backend."""

import numpy as np

from evsim.dynamics import add_to_trace, clamp, depress, depression, potentiate, strength
from evsim.jit import fma, register_jitable
from evsim.learning import (
    A_MINUS,
    A_PLUS,
    DUE,
    FROZEN,
    HISTORY,
    LEFT,
    MINUS_0,
    NEAREST,
    NEVER,
    PLUS_0,
    TABLE,
    TOGETHER,
    W_MAX,
    W_MIN,
    X_TARGET,
)
from evsim.model import TARGET_BITS

f32 = np.float32
i64 = np.int64
u64 = np.uint64


@register_jitable(forceinline=True)
def decayed(decay, start, stop, steps):
    """What is left of a trace after some steps."""
    return decay[u64(start + steps)] if steps < stop - start else f32(0.0)


@register_jitable(forceinline=True)
def dependence(w, value, k, constant, table, at):
    """f(w): a straight line, or a table that starts at `at`."""
    if at < 0:
        return strength(w, value[k, constant], value[k, constant + 1])
    low, high = value[k, W_MIN], value[k, W_MAX]
    place = (w - low) / (high - low)
    piece = min(max(i64(place * f32(TABLE)), 0), TABLE - 1)
    left, right = table[at + piece], table[at + piece + 1]
    return strength(fma(place, f32(TABLE), -f32(piece)), left, right - left)


@register_jitable(forceinline=True)
def catch_up(rules, traces, k, target, w, sum_of, arrived, x_pre, left):
    """What the spikes of `target` since a synapse's last arrival make of its weight, or of the sum of its changes.

    `arrived` is the step of that arrival (NEVER: none yet) and x_pre the presynaptic trace right after it; w is the
    weight that changes depend on, and sum_of what they are added to. The last `left` spikes are for later.
    """
    value, together, frozen = rules.value, rules.option[k, TOGETHER] == 1, rules.option[k, FROZEN] == 1
    plus_at, minus_at = rules.table_start[k, 0], rules.table_start[k, 1]
    settled = traces.settled[target]
    pending = together and arrived >= settled and arrived > NEVER
    lowest = max(arrived + 1 if together else arrived, settled)
    n_spikes, first = traces.post_count[target], target * HISTORY
    count = n_spikes - left
    j = count
    while j > 0 and n_spikes - j < HISTORY and traces.post_step[first + ((j - 1) & (HISTORY - 1))] >= lowest:
        j -= 1
    if pending and j > 0:
        at = first + ((j - 1) & (HISTORY - 1))
        since = arrived - traces.post_step[at]
        decay = decayed(rules.post_decay, rules.post_decay_start[k], rules.post_decay_start[k + 1], since)
        f_minus = dependence(w, value, k, MINUS_0, rules.table, minus_at)
        sum_of = depress(sum_of, depression(traces.post_value[at], decay, value[k, A_MINUS]), f_minus)
        if since == 0:
            f_plus = dependence(w, value, k, PLUS_0, rules.table, plus_at)
            sum_of = potentiate(sum_of, x_pre, f32(1.0), value[k, X_TARGET], value[k, A_PLUS], f_plus)
        if not frozen:
            sum_of = w = clamp(sum_of, value[k, W_MIN], value[k, W_MAX])
    while j < count:
        since = traces.post_step[first + (j & (HISTORY - 1))] - arrived
        decay = f32(0.0)
        if arrived > NEVER:
            decay = decayed(rules.pre_decay, rules.pre_decay_start[k], rules.pre_decay_start[k + 1], since)
        f_plus = dependence(w, value, k, PLUS_0, rules.table, plus_at)
        sum_of = potentiate(sum_of, x_pre, decay, value[k, X_TARGET], value[k, A_PLUS], f_plus)
        if not frozen:
            sum_of = w = clamp(sum_of, value[k, W_MIN], value[k, W_MAX])
        j += 1
    return sum_of


@register_jitable(forceinline=True)
def last_arrival(rules, traces, k, source, delay, before):
    """The latest arrival before a step over `delay`: (its step or NEVER, the trace right after it)."""
    bits = rules.pre_bits[k]
    first, number = rules.pre_start[k] + ((source - rules.source_start[k]) << bits), u64(source)
    return last_arrival_of(traces.pre_count, traces.pre_step, traces.pre_value, number, first, bits, delay, before)


@register_jitable(forceinline=True)
def last_arrival_of(pre_count, pre_step, pre_value, number, first, bits, delay, before):
    """The same for a source whose last spikes are Traces.pre_step[first:] and Traces.pre_value[first:]."""
    mask, j = (i64(1) << bits) - 1, pre_count[number] - 1
    while j >= 0 and pre_step[u64(first + (j & mask))] + delay >= before:
        j -= 1
    if j < 0:
        return i64(NEVER), f32(0.0)
    at = u64(first + (j & mask))
    return pre_step[at] + delay, pre_value[at]


@register_jitable(forceinline=True)
def catch_up_at(rules, traces, k, target, at, arrived, x_pre, left):
    """Let synapse `at` catch up: its weight, or the sum of its changes."""
    w = traces.weight[at]
    if rules.option[k, FROZEN] == 1:
        traces.change[at] = catch_up(rules, traces, k, target, w, traces.change[at], arrived, x_pre, left)
    else:
        traces.weight[at] = catch_up(rules, traces, k, target, w, w, arrived, x_pre, left)


@register_jitable(forceinline=True)
def update_before(rules, traces, k, target, at, arrived, x_pre):
    """A spike arrives at synapse `at`: what the target's spikes since the last arrival have made of its weight."""
    together = rules.option[k, TOGETHER] == 1
    if traces.post_last[target] >= arrived or (together and arrived > NEVER):
        catch_up_at(rules, traces, k, target, at, arrived, x_pre, i64(0))


@register_jitable(forceinline=True)
def depression_by(rules, traces, k, target, step):
    """What the spikes of `target` take, but for the weight dependence, from synapses at which a spike now arrives.

    0 with TOGETHER, which waits for the spikes of this step.
    """
    start, stop = rules.post_decay_start[k], rules.post_decay_start[k + 1]
    since = step - traces.post_last[target]
    if rules.option[k, TOGETHER] == 1 or since >= stop - start:
        return f32(0.0)
    return depression(traces.post_trace[target], rules.post_decay[u64(start + since)], rules.value[k, A_MINUS])


@register_jitable(forceinline=True)
def update_after(rules, traces, k, at, amount):
    """A spike has arrived at synapse `at`: depression by `amount` (see `depression_by`)."""
    if amount == f32(0.0):
        return
    w, value = traces.weight[at], rules.value
    f_minus = dependence(w, value, k, MINUS_0, rules.table, rules.table_start[k, 1])
    if rules.option[k, FROZEN] == 1:
        traces.change[at] = depress(traces.change[at], amount, f_minus)
    else:
        traces.weight[at] = clamp(depress(w, amount, f_minus), value[k, W_MIN], value[k, W_MAX])


@register_jitable(forceinline=True)
def is_behind(rules, traces, k, target):
    """Whether a target has spiked since its column was settled; with TOGETHER, ever: arrivals wait for it, too."""
    last = traces.post_last[target]
    return last >= traces.settled[target] or (rules.option[k, TOGETHER] == 1 and last > NEVER)


@register_jitable(forceinline=True)
def may_learn(rules, k, arrived):
    """Whether the target's spikes can change a synapse whose last arrival was at step `arrived`, or NEVER."""
    return arrived > NEVER or rules.value[k, X_TARGET] != f32(0.0)


@register_jitable(forceinline=True)
def settle_synapse(model, rules, traces, k, target, c, before, until, left):
    """Bring entry c of a target's column up to date: arrivals before a step, and spikes before the step `until`.

    The `left` spikes from then on are for later. A synapse at which a spike has arrived since then knows of all others.
    """
    synapse = rules.first_synapse[k] + i64(rules.column_synapse[c])
    source = rules.source_start[k] + i64(rules.column_source[c])
    delay = rules.delay[rules.delay_start[k]]
    if rules.delay_start[k + 1] - rules.delay_start[k] > 1:
        delay = i64(u64(model.synapse[synapse]) >> u64(model.scalars[TARGET_BITS]))
    arrived, x_pre = last_arrival(rules, traces, k, source, delay, before)
    if arrived < until and may_learn(rules, k, arrived):
        at = synapse + model.projection_weight[rules.projection[k]]
        catch_up_at(rules, traces, k, target, at, arrived, x_pre, left)


@register_jitable(forceinline=True)
def settled_until(rules, traces, k, target, step):
    """How far a column is settled whose history is full in `step`: (the first step, and how many spikes, left out).

    With TOGETHER, where arrivals wait for the next spike, none are.
    """
    first, count = target * HISTORY, traces.post_count[target]
    if rules.option[k, TOGETHER] == 1:
        return step + 1, i64(0)
    left = i64(LEFT)
    until = traces.post_step[first + ((count - left) & (HISTORY - 1))]
    while left < DUE and traces.post_step[first + ((count - left - 1) & (HISTORY - 1))] == until:
        left += 1  # spikes of one step stay together
    return until, left


@register_jitable(forceinline=True)
def mark_settled(traces, target, until, left):
    """Note that the column of a target is up to date, but for the `left` spikes from the step `until` on."""
    traces.settled[target] = until
    traces.settled_count[target] = traces.post_count[target] - left


@register_jitable(forceinline=True)
def note_post(rules, traces, k, target, step):
    """Remember a spike of a target; returns whether its column must be settled before it spikes again."""
    since = step - traces.post_last[target]
    left = decayed(rules.post_decay, rules.post_decay_start[k], rules.post_decay_start[k + 1], since)
    x = add_to_trace(traces.post_trace[target], left, rules.option[k, NEAREST] == 1)
    count = traces.post_count[target]
    at = target * HISTORY + (count & (HISTORY - 1))
    traces.post_last[target], traces.post_trace[target] = step, x
    traces.post_step[at], traces.post_value[at] = step, x
    traces.post_count[target] = count + 1
    traces.touched[target] = 1
    return count + 1 - traces.settled_count[target] >= DUE


@register_jitable(forceinline=True)
def note_pre(pre_count, pre_step, pre_value, number, first, bits, decay, decay_start, decay_stop, nearest, step):
    """Remember a spike of a source, whose last spikes are Traces.pre_step[first:] and Traces.pre_value[first:]."""
    mask, count = (i64(1) << bits) - 1, pre_count[number]
    x = f32(1.0)
    if count > 0:
        before = u64(first + ((count - 1) & mask))
        left = decayed(decay, decay_start, decay_stop, step - pre_step[before])
        x = add_to_trace(pre_value[before], left, nearest)
    at = u64(first + (count & mask))
    pre_step[at], pre_value[at] = step, x
    pre_count[number] = count + 1


@register_jitable(forceinline=True)
def find_delay(synapse, start, stop, delay, target_bits):
    """The first synapse of a row that has this delay or a longer one."""
    key = u64(delay) << target_bits
    while start < stop:
        middle = (start + stop) >> u64(1)
        if u64(synapse[middle]) < key:
            start = middle + u64(1)
        else:
            stop = middle
    return start


@register_jitable(forceinline=True)
def place_in_log(rules, k, number):
    """Where the log of a projection holds its spike of that number."""
    return u64(rules.log_start[k] + (number & ((i64(1) << rules.log_bits[k]) - 1)))


@register_jitable(forceinline=True)
def place_of_step(rules, k, step):
    """Where Traces.log_first holds a step."""
    return u64((k << rules.slot_bits[0]) + (step & ((i64(1) << rules.slot_bits[0]) - 1)))


@register_jitable(forceinline=True)
def apply_change(traces, at, w_min, w_max):
    """Let the changes of a run act."""
    traces.weight[at] = clamp(traces.weight[at] + traces.change[at], w_min, w_max)
    traces.change[at] = f32(0.0)


@register_jitable(forceinline=True)
def count_units(w, per_unit):
    """A weight in whole units, of which `per_unit` (a power of two) are 1: their sum does not depend on the order."""
    return i64(round(np.float64(w) * per_unit))


@register_jitable(forceinline=True)
def scale(w, factor, w_min, w_max):
    """A weight times a factor, within its bounds."""
    return clamp(f32(np.float64(w) * factor), w_min, w_max)
