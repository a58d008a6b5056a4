"""One neuron of a node through one step on the GPU: the functions of `dynamics` in the order of evsim.batch_neurons."""

import numpy as np

from evsim import batch_model as bm
from evsim.dynamics import (
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

f32, i32, i64 = np.float32, np.int32, np.int64


@register_jitable
def _coefficient(model, k, j, i):
    """Coefficient j of neuron i of node k."""
    return model.parameter_value[model.parameter_start[k, j] + model.parameter_step[k, j] * i]


@register_jitable
def _receive(model, state, k, sample, i, x, analog, is_analog):
    """What input x, in spikes, and `analog` add to v; returns it, and the synaptic current after the step (or 0)."""
    node = model.node[k]
    drive, jump = _coefficient(model, k, DRIVE, i), _coefficient(model, k, JUMP, i)
    if node[bm.FILTERED] == 0:
        if is_analog:
            drive = drive + product(jump, analog)
        return receive(drive, f32(0.0), x, f32(0.0), jump), f32(0.0)
    if is_analog:
        x = x + analog
    current = state.current[sample, node[bm.CURRENT_AT] + i]
    drive = receive(drive, current, x, _coefficient(model, k, COUPLING, i), jump)
    current = decay_current(current, x, _coefficient(model, k, DECAY, i), _coefficient(model, k, GAIN, i))
    state.current[sample, node[bm.CURRENT_AT] + i] = current
    return drive, current


@register_jitable
def advance_neuron(model, state, k, sample, i, x, analog, is_analog):
    """Advance neuron i of node k by one step, with input x from spikes and, where it is, `analog` from values.

    Returns its spikes, v after and before the reset, and its synaptic current.
    """
    node = model.node[k]
    at = node[bm.V_AT] + i
    drive, current = _receive(model, state, k, sample, i, x, analog, is_analog)
    left = state.refractory[sample, node[bm.REFRACTORY_AT] + i] if node[bm.REFRACTORY] == 1 else i32(0)
    pre = integrate(state.v[sample, at], drive, _coefficient(model, k, LEAK, i), f32(-np.inf), left)
    v_min = _coefficient(model, k, V_MIN, i)
    if node[bm.SPIKING] == 0:
        v = bound_below(pre, v_min)
        state.v[sample, at] = v
        return i32(0), v, pre, current
    soft = node[bm.SOFT] == 1
    threshold, by, theta = _coefficient(model, k, V_THRESHOLD, i), _coefficient(model, k, V_RESET, i), np.float64(0.0)
    if node[bm.THETA_AT] >= 0:
        theta = decay_theta(state.theta[sample, node[bm.THETA_AT] + i], model.node_theta[k, 1])
        threshold = adapted(threshold, theta)
        if soft and node[bm.THETA_RESETS] == 1:
            by = adapted(by, theta)
    spikes = count_spikes(pre, threshold, left) if node[bm.MULTI] == 1 else i32(fire(pre, threshold, left))
    v = bound_below(reset(pre, by, soft, spikes) if spikes > i32(0) else pre, v_min)
    state.v[sample, at] = v
    if node[bm.REFRACTORY] == 1:
        left = i32(_coefficient(model, k, REFRACTORY_STEPS, i)) if spikes > i32(0) else i32(left - i32(1))
        state.refractory[sample, node[bm.REFRACTORY_AT] + i] = left if left > i32(0) else i32(0)
    if node[bm.THETA_AT] >= 0:
        theta = theta + product(model.node_theta[k, 0], np.float64(spikes))
        state.theta[sample, node[bm.THETA_AT] + i] = theta
    return spikes, v, pre, current
