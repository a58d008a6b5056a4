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
from evsim.model import BLOCK, COUPLING, DECAY, DRIVE, GAIN, JUMP, LEAK, REFRACTORY_STEPS, V_MIN, V_RESET, V_THRESHOLD

f32 = np.float32
i32 = np.int32
i64 = np.int64
u16 = np.uint16
u64 = np.uint64


@register_jitable(forceinline=True)
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


@register_jitable(forceinline=True)
def _receive_filtered(
    current, at_drive, total, analog, first, n, unit, is_analog, value, at_jump, at_coupling, at_decay, at_gain, out
):  # fmt: skip
    for i in range(n):
        x = f32(total[first + i]) * unit
        if is_analog:
            x += analog[first + i] * unit
        out[i] = receive(value[at_drive + i], current[i], x, value[at_coupling + i], value[at_jump + i])
        current[i] = decay_current(current[i], x, value[at_decay + i], value[at_gain + i])


@register_jitable(forceinline=True)
def _integrate(v, pre, n, value, at_leak):
    """pre becomes v before a spike and before its lower bound, for neurons without a refractory time."""
    for i in range(n):
        pre[i] = integrate(v[i], pre[i], value[at_leak + i], f32(-np.inf), i32(0))


@register_jitable
def _integrate_refractory(v, pre, n, value, at_leak, refractory):
    for i in range(n):
        pre[i] = integrate(v[i], pre[i], value[at_leak + i], f32(-np.inf), refractory[i])


@register_jitable(forceinline=True)
def _fire_once(v, pre, n, value, at_threshold, at_reset, at_v_min, soft, count, at):
    for i in range(n):
        spikes = i32(fire(pre[i], value[at_threshold + i], i32(0)))
        after = reset(pre[i], value[at_reset + i], soft, spikes) if spikes > i32(0) else pre[i]
        v[i] = bound_below(after, value[at_v_min + i])
        count[at + i] = u16(spikes)


@register_jitable(forceinline=True)
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


@register_jitable(forceinline=True)
def _keep(source, n, kept, at):
    """Record n numbers where `kept`, (array, start), says that they are; at: their place in (T, B, neurons)."""
    out, start = kept
    if start >= i64(0):
        at += u64(start)
        for i in range(n):
            out[at + i] = source[i]


@register_jitable(forceinline=True)
def _place(at, first, n):
    """Where n neurons from `first` on have a variable in a sample's state: nowhere, if at is -1."""
    return (at + i64(first), at + i64(first + n)) if at >= 0 else (i64(0), i64(0))


@register_jitable
def advance_neurons(model, state, k, sample, first, n, n_steps, sums, frames_out, kept, n_samples):
    """Advance neurons [first, first + n) of node k through some steps; False where one would spike too often in one.

    Parameters
    ----------
    sums : their input in the r-th step: total and, where is_analog[r], analog, from entry r * width + first on; and
        scratch for their v before the reset.
    frames_out : counts of spikes and values (v, of neurons that do not spike) of the r-th step, from at + r * size on.
    kept : where v, v before the reset and the current of neuron 0 are recorded, each (array, start), start -1: not; and
        the first step's number.
    """
    total, analog, width, is_analog, pre = sums
    count, value_out, at_out, size = frames_out
    kept_v, kept_pre, kept_current, first_step = kept
    node, value, unit, n_out = model.node[k], model.parameter_value, model.node_unit[k], u64(model.node[k, bm.N_OUT])
    soft, multi, spiking, filtered = node[bm.SOFT] == 1, node[bm.MULTI] == 1, node[bm.SPIKING] == 1, node[bm.FILTERED]
    theta_resets, theta_plus, theta_decay = node[bm.THETA_RESETS] == 1, model.node_theta[k, 0], model.node_theta[k, 1]
    start, step = model.parameter_start[k], model.parameter_step[k]
    most = i32(0)
    for begin in range(first, first + n, u64(BLOCK)):
        m, i = min(u64(BLOCK), first + n - begin), i64(begin)
        at_leak, at_drive = u64(start[LEAK] + step[LEAK] * i), u64(start[DRIVE] + step[DRIVE] * i)
        at_threshold = u64(start[V_THRESHOLD] + step[V_THRESHOLD] * i)
        at_reset, at_v_min = u64(start[V_RESET] + step[V_RESET] * i), u64(start[V_MIN] + step[V_MIN] * i)
        at_steps = u64(start[REFRACTORY_STEPS] + step[REFRACTORY_STEPS] * i)
        at_jump, at_gain = u64(start[JUMP] + step[JUMP] * i), u64(start[GAIN] + step[GAIN] * i)
        at_coupling, at_decay = u64(start[COUPLING] + step[COUPLING] * i), u64(start[DECAY] + step[DECAY] * i)
        low, high = _place(node[bm.V_AT], begin, m)
        v = state.v[sample, low:high]
        low, high = _place(node[bm.CURRENT_AT], begin, m)
        current = state.current[sample, low:high]
        low, high = _place(node[bm.REFRACTORY_AT], begin, m)
        refractory = state.refractory[sample, low:high]
        low, high = _place(node[bm.THETA_AT], begin, m)
        theta = state.theta[sample, low:high]
        for r in range(n_steps):
            at, at_sum = at_out + r * size + begin, r * width + begin
            if filtered == 1:
                _receive_filtered(
                    current, at_drive, total, analog, at_sum, m, unit, is_analog[r], value, at_jump, at_coupling,
                    at_decay, at_gain, pre,
                )  # fmt: skip
            else:
                _receive_delta(value, at_drive, total, analog, at_sum, m, unit, is_analog[r], value, at_jump, pre)
            if not spiking:
                _put_out_v(v, pre, m, value, at_leak, at_v_min, value_out, at)
            elif refractory.size > 0 or theta.size > 0:
                if refractory.size > 0:
                    _integrate_refractory(v, pre, m, value, at_leak, refractory)
                else:
                    _integrate(v, pre, m, value, at_leak)
                most = _fire_any(
                    v, pre, m, value, at_threshold, at_reset, at_v_min, at_steps, soft, multi, refractory, theta,
                    theta_resets, theta_plus, theta_decay, count, at,
                )  # fmt: skip
            else:
                _integrate(v, pre, m, value, at_leak)
                if multi:
                    most = _fire_often(v, pre, m, value, at_threshold, at_reset, at_v_min, soft, count, at)
                else:
                    _fire_once(v, pre, m, value, at_threshold, at_reset, at_v_min, soft, count, at)
            if most > i32(MAX_SPIKES):
                return False
            row = ((first_step + r) * n_samples + u64(sample)) * n_out + begin
            _keep(v, m, kept_v, row)
            _keep(pre, m, kept_pre, row)
            _keep(current, m, kept_current, row)
    return True
