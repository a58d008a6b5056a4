"""How one synapse learns, written once: functions over Rules and Traces shared by the kernels of every backend."""

import numpy as np

from evsim.dynamics import clamp, depress, potentiate, strength
from evsim.jit import register_jitable
from evsim.learning import (
    A_MINUS,
    A_PLUS,
    FROZEN,
    HISTORY,
    MINUS_0,
    NEVER,
    PLUS_0,
    TABLE,
    TOGETHER,
    W_MAX,
    W_MIN,
    X_TARGET,
)

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
    place = (w - low) / (high - low) * f32(TABLE)
    piece = min(max(i64(place), 0), TABLE - 1)
    left, right = table[at + piece], table[at + piece + 1]
    return strength(place - f32(piece), left, right - left)


@register_jitable(forceinline=True)
def catch_up(rules, traces, k, target, w, sum_of, arrived, x_pre):
    """What the spikes of `target` since a synapse's last arrival make of its weight, or of the sum of its changes.

    `arrived` is the step of that arrival (NEVER: none yet) and x_pre the presynaptic trace right after it; w is the
    weight that changes depend on, and sum_of what they are added to.
    """
    value, together, frozen = rules.value, rules.option[k, TOGETHER] == 1, rules.option[k, FROZEN] == 1
    plus_at, minus_at = rules.table_start[k, 0], rules.table_start[k, 1]
    settled = traces.settled[target]
    pending = together and arrived >= settled and arrived > NEVER
    lowest = max(arrived + 1 if together else arrived, settled)
    count, first = traces.post_count[target], target * HISTORY
    j = count
    while j > 0 and count - j < HISTORY and traces.post_step[first + ((j - 1) & (HISTORY - 1))] >= lowest:
        j -= 1
    if pending and j > 0:
        at = first + ((j - 1) & (HISTORY - 1))
        since = arrived - traces.post_step[at]
        left = decayed(rules.post_decay, rules.post_decay_start[k], rules.post_decay_start[k + 1], since)
        f_minus = dependence(w, value, k, MINUS_0, rules.table, minus_at)
        sum_of = depress(sum_of, traces.post_value[at], left, value[k, A_MINUS], f_minus)
        if since == 0:
            f_plus = dependence(w, value, k, PLUS_0, rules.table, plus_at)
            sum_of = potentiate(sum_of, x_pre, f32(1.0), value[k, X_TARGET], value[k, A_PLUS], f_plus)
        if not frozen:
            sum_of = w = clamp(sum_of, value[k, W_MIN], value[k, W_MAX])
    while j < count:
        since = traces.post_step[first + (j & (HISTORY - 1))] - arrived
        left = f32(0.0)
        if arrived > NEVER:
            left = decayed(rules.pre_decay, rules.pre_decay_start[k], rules.pre_decay_start[k + 1], since)
        f_plus = dependence(w, value, k, PLUS_0, rules.table, plus_at)
        sum_of = potentiate(sum_of, x_pre, left, value[k, X_TARGET], value[k, A_PLUS], f_plus)
        if not frozen:
            sum_of = w = clamp(sum_of, value[k, W_MIN], value[k, W_MAX])
        j += 1
    return sum_of


@register_jitable(forceinline=True)
def last_arrival(rules, traces, k, source, delay, before):
    """The latest arrival before a step over `delay`: (its step or NEVER, the trace right after it)."""
    bits = rules.pre_bits[k]
    first = rules.pre_start[k] + ((source - rules.source_start[k]) << bits)
    j = traces.pre_count[source] - 1
    while j >= 0 and traces.pre_step[first + (j & ((1 << bits) - 1))] + delay >= before:
        j -= 1
    if j < 0:
        return i64(NEVER), f32(0.0)
    at = first + (j & ((1 << bits) - 1))
    return traces.pre_step[at] + delay, traces.pre_value[at]
