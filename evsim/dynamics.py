"""The physics of one step, written once: plain scalar functions shared by the kernels of every backend.

All models are one affine update. With v the membrane potential, i_k the synaptic current of receptor k, and x_k
the summed weight of the spikes that arrive at receptor k in this step:

    v   <- leak * v + sum_k (coupling_k * i_k + jump_k * x_k) + drive        (v held while refractory)
    i_k <- decay_k * i_k + gain_k * x_k
    spike if v >= v_threshold;  then v <- v_reset (hard)  or  v <- v - v_reset (soft),  refractory for t_ref

Multi-spike neurons spike n = trunc(v / v_threshold) times in such a step, and their soft reset is v <- v - n * v_reset.

The coefficients are computed by the host once, in float64 (see `neurons`); no function here is transcendental.
"""

import numpy as np

from evsim.jit import fma, product, register_jitable

f32 = np.float32
i32 = np.int32

MAX_SPIKES = 255  # of a multi-spike neuron in a step


@register_jitable
def receive(drive, i, x, coupling, jump):
    """Add one receptor's share to the drive: coupling * i + jump * x."""
    return fma(coupling, i, fma(jump, x, drive))


@register_jitable
def decay_current(i, x, decay, gain):
    """The synaptic current after this step's input."""
    return fma(decay, i, gain * x)


@register_jitable
def bound_below(v, v_min):
    """v, but never below v_min."""
    return v_min if v < v_min else v  # not max(), which a GPU rounds otherwise: +0 above -0, and no nan


@register_jitable
def integrate(v, drive, leak, v_min, refractory):
    """The membrane potential before a spike: held while refractory, never below v_min."""
    return v if refractory > i32(0) else bound_below(fma(leak, v, drive), v_min)


@register_jitable
def fire(v, v_threshold, refractory):
    """Whether the neuron spikes (v >= v_threshold, outside the refractory time)."""
    return v >= v_threshold and refractory <= i32(0)


@register_jitable
def count_spikes(v, v_threshold, refractory):
    """The spikes of a multi-spike neuron, trunc(v / v_threshold) where it fires; MAX_SPIKES + 1 stands for more."""
    if not fire(v, v_threshold, refractory):
        return i32(0)
    if v >= f32(2 * (MAX_SPIKES + 1)) * v_threshold:  # an integer might not hold the quotient
        return i32(MAX_SPIKES + 1)
    return min(i32(v / v_threshold), i32(MAX_SPIKES + 1))


@register_jitable
def reset(v, v_reset, soft, n):
    """The membrane potential after n spikes: set to v_reset (hard) or lowered by it for each (soft)."""
    return fma(f32(-n), v_reset, v) if soft else v_reset


@register_jitable
def count_passed(word, t0, t1, t2, t3):
    """How many of four thresholds a uniform 32-bit word passes: a Poisson number is the count over all of them."""
    return i32(word > t0) + i32(word > t1) + i32(word > t2) + i32(word > t3)


@register_jitable
def decay_theta(theta, decay):
    """What is left after a step of what spikes have added to a threshold."""
    return product(theta, decay)


@register_jitable
def adapted(v_threshold, theta):
    """The threshold that adaptation has raised; theta is float64, since it grows and decays in small steps."""
    return f32(np.float64(v_threshold) + theta)


# Pair-based plasticity (see plasticity.PairSTDP). `trace * decay` always enters by fma, so that no compiler may fuse
# it otherwise.


@register_jitable
def strength(w, constant, slope):
    """A weight dependence that is a straight line: f(w) = constant + slope * w."""
    return fma(slope, w, constant)


@register_jitable
def potentiate(w, x_pre, decay, x_target, a_plus, f):
    """w + a_plus * (decay * x_pre - x_target) * f."""
    return fma(a_plus * fma(decay, x_pre, -x_target), f, w)


@register_jitable
def depression(x_post, decay, a_minus):
    """a_minus * (decay * x_post): how strongly a spike that arrives depresses the synapses into a neuron."""
    return a_minus * (decay * x_post)


@register_jitable
def depress(w, amount, f):
    """w - amount * f."""
    return fma(-amount, f, w)


@register_jitable
def clamp(w, w_min, w_max):
    """w, no further than its bounds."""
    w = w_min if w < w_min else w
    return w_max if w > w_max else w


@register_jitable
def add_to_trace(x, decay, nearest):
    """A trace right after a spike: one more than what is left of it, or just one."""
    return f32(1.0) if nearest else fma(x, decay, f32(1.0))
