"""The neurons of a node through one step: loops over a tile, around the scalar functions of `dynamics`."""

import numpy as np

from evsim import batch_model as bm
from evsim.dynamics import (
    MAX_SPIKES,
    adapted,
    bound_below,
    count_spikes,
    decay_current,
    decay_theta,
    fire,
    integrate,
    receive,
    reset,
)
from evsim.jit import product, register_jitable
from evsim.model import COUPLING, DECAY, DRIVE, GAIN, JUMP, LEAK, REFRACTORY_STEPS, V_MIN, V_RESET, V_THRESHOLD

f32 = np.float32
i32 = np.int32
i64 = np.int64
u16 = np.uint16
u64 = np.uint64


@register_jitable
def _receive_delta(drive, at_drive, total, analog, first, n, unit, is_analog, value, at_jump, out):
    if is_analog:
        for i in range(n):
            x = f32(total[first + i]) * unit
            injected = drive[at_drive + i] + product(value[at_jump + i], analog[first + i] * unit)
            out[i] = receive(injected, f32(0.0), x, f32(0.0), value[at_jump + i])
    else:
        for i in range(n):
            x = f32(total[first + i]) * unit
            out[i] = receive(drive[at_drive + i], f32(0.0), x, f32(0.0), value[at_jump + i])


@register_jitable
def _receive_filtered(
    current, at_drive, total, analog, first, n, unit, is_analog, value, at_jump, at_coupling, at_decay, at_gain, out
):  # fmt: skip
    for i in range(n):
        x = f32(total[first + i]) * unit
        if is_analog:
            x += analog[first + i] * unit
        out[i] = receive(value[at_drive + i], current[i], x, value[at_coupling + i], value[at_jump + i])
        current[i] = decay_current(current[i], x, value[at_decay + i], value[at_gain + i])


@register_jitable
def _integrate(v, pre, n, value, at_leak):
    """pre becomes v before a spike and before its lower bound, for neurons without a refractory time."""
    for i in range(n):
        pre[i] = integrate(v[i], pre[i], value[at_leak + i], f32(-np.inf), i32(0))


@register_jitable
def _integrate_refractory(v, pre, n, value, at_leak, refractory):
    for i in range(n):
        pre[i] = integrate(v[i], pre[i], value[at_leak + i], f32(-np.inf), refractory[i])


@register_jitable
def _fire_once(v, pre, n, value, at_threshold, at_reset, at_v_min, soft, count, at):
    for i in range(n):
        spikes = i32(fire(pre[i], value[at_threshold + i], i32(0)))
        after = reset(pre[i], value[at_reset + i], soft, spikes) if spikes > i32(0) else pre[i]
        v[i] = bound_below(after, value[at_v_min + i])
        count[at + i] = u16(spikes)


@register_jitable
def _fire_often(v, pre, n, value, at_threshold, at_reset, at_v_min, soft, count, at):
    """Returns the largest count."""
    most = i32(0)
    for i in range(n):
        spikes = count_spikes(pre[i], value[at_threshold + i], i32(0))
        after = reset(pre[i], value[at_reset + i], soft, spikes) if spikes > i32(0) else pre[i]
        v[i] = bound_below(after, value[at_v_min + i])
        count[at + i] = u16(spikes)
        most = spikes if spikes > most else most
    return most


@register_jitable
def _fire_any(
    v, pre, n, value, at_threshold, at_reset, at_v_min, at_steps, soft, multi, refractory, theta, theta_resets, plus,
    decay, count, at,
):  # fmt: skip
    """The same with what few neurons have: refractory times, thresholds that adapt. Returns the largest count."""
    most = i32(0)
    for i in range(n):
        left, threshold, by = i32(0), value[at_threshold + i], value[at_reset + i]
        if refractory.size > 0:
            left = refractory[i]
        if theta.size > 0:
            theta[i] = decay_theta(theta[i], decay)
            threshold = adapted(threshold, theta[i])
            by = adapted(by, theta[i]) if theta_resets and soft else by
        spikes = count_spikes(pre[i], threshold, left) if multi else i32(fire(pre[i], threshold, left))
        after = reset(pre[i], by, soft, spikes) if spikes > i32(0) else pre[i]
        v[i] = bound_below(after, value[at_v_min + i])
        if refractory.size > 0:
            refractory[i] = i32(value[at_steps + i]) if spikes > i32(0) else max(left - i32(1), i32(0))
        if theta.size > 0:
            theta[i] += plus * np.float64(spikes)
        count[at + i] = u16(spikes)
        most = spikes if spikes > most else most
    return most


@register_jitable
def _put_out_v(v, pre, n, value, at_leak, at_v_min, out, at):
    """Neurons that do not spike give v before its lower bound."""
    for i in range(n):
        pre[i] = integrate(v[i], pre[i], value[at_leak + i], f32(-np.inf), i32(0))
        out[at + i] = pre[i]
        v[i] = bound_below(pre[i], value[at_v_min + i])


@register_jitable
def advance_neurons(model, state, k, sample, first, n, total, analog, is_analog, pre, count, value_out, at):
    """Advance neurons [first, first + n) of node k by one step, with the input `total` and, where it is, `analog`.

    Writes their v before the reset to `pre`, and their spikes to count[at:] (or v to value_out[at:]). Returns False
    where a neuron would spike more than MAX_SPIKES times.
    """
    node, value, unit = model.node[k], model.parameter_value, model.node_unit[k]
    start, step = model.parameter_start[k], model.parameter_step[k]
    i = i64(first)
    at_leak, at_drive = u64(start[LEAK] + step[LEAK] * i), u64(start[DRIVE] + step[DRIVE] * i)
    at_threshold = u64(start[V_THRESHOLD] + step[V_THRESHOLD] * i)
    at_reset, at_v_min = u64(start[V_RESET] + step[V_RESET] * i), u64(start[V_MIN] + step[V_MIN] * i)
    at_jump = u64(start[JUMP] + step[JUMP] * i)
    v = state.v[sample, node[bm.V_AT] + i : node[bm.V_AT] + i + i64(n)]
    soft = node[bm.SOFT] == 1
    if node[bm.FILTERED] == 1:
        at_coupling, at_decay = u64(start[COUPLING] + step[COUPLING] * i), u64(start[DECAY] + step[DECAY] * i)
        at_gain = u64(start[GAIN] + step[GAIN] * i)
        current = state.current[sample, node[bm.CURRENT_AT] + i : node[bm.CURRENT_AT] + i + i64(n)]
        _receive_filtered(
            current, at_drive, total, analog, first, n, unit, is_analog, value, at_jump, at_coupling, at_decay,
            at_gain, pre,
        )  # fmt: skip
    else:
        _receive_delta(value, at_drive, total, analog, first, n, unit, is_analog, value, at_jump, pre)
    if node[bm.SPIKING] == 0:
        _put_out_v(v, pre, n, value, at_leak, at_v_min, value_out, at)
        return True
    if node[bm.REFRACTORY] == 1 or node[bm.THETA_AT] >= 0:
        refractory, theta = state.refractory[sample, 0:0], state.theta[sample, 0:0]
        if node[bm.REFRACTORY] == 1:
            refractory = state.refractory[sample, node[bm.REFRACTORY_AT] + i : node[bm.REFRACTORY_AT] + i + i64(n)]
            _integrate_refractory(v, pre, n, value, at_leak, refractory)
        else:
            _integrate(v, pre, n, value, at_leak)
        if node[bm.THETA_AT] >= 0:
            theta = state.theta[sample, node[bm.THETA_AT] + i : node[bm.THETA_AT] + i + i64(n)]
        at_steps = u64(start[REFRACTORY_STEPS] + step[REFRACTORY_STEPS] * i)
        most = _fire_any(
            v, pre, n, value, at_threshold, at_reset, at_v_min, at_steps, soft, node[bm.MULTI] == 1, refractory, theta,
            node[bm.THETA_RESETS] == 1, model.node_theta[k, 0], model.node_theta[k, 1], count, at,
        )  # fmt: skip
        return most <= i32(MAX_SPIKES)
    _integrate(v, pre, n, value, at_leak)
    if node[bm.MULTI] == 1:
        return _fire_often(v, pre, n, value, at_threshold, at_reset, at_v_min, soft, count, at) <= i32(MAX_SPIKES)
    _fire_once(v, pre, n, value, at_threshold, at_reset, at_v_min, soft, count, at)
    return True
