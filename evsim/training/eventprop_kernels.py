"""LIF neurons in continuous time, from spike to spike, and their adjoints back from spike to spike (EventProp).

Between arrivals v and i have a closed form, so nothing happens between events. Unlike the kernels of the step engines
these call exp: spike times are real numbers here, and gradients need not be bit-identical between machines.

Spikes of samples [0, B) are flat arrays, sorted by time in each sample: start (B + 1,), time (S,) in ms, unit (S,).
Weights are (sources, targets) float32; all else is float64. v counts from v_leak.
"""

import math
from typing import NamedTuple

import numpy as np

from evsim.jit import compile_kernel, register_jitable

u64 = np.uint64

PRECISION = 1e-13  # of a spike time, in tau_mem
STEPS = (
    60  # of Newton's method: each halves the distance at least, near the threshold's touching point, else squares it
)
LEAST_SLOPE = 1e-9  # dv/dt of a spike in thresholds per tau_mem: where v only touches the threshold nothing is finite


class Constants(NamedTuple):
    """Of a layer: tau_mem dv/dt = -v + r_mem i, tau_syn di/dt = -i, v = reset where v reaches threshold."""

    tau_mem: float
    tau_syn: float
    r_mem: float
    threshold: float
    reset: float
    v_leak: float  # what v counts from


@register_jitable
def propagators(lif, h):
    """(e_mem, e_syn, k): h ms later v is e_mem * v + k * i and i is e_syn * i, for any two time constants."""
    slower, gap = min(h / lif.tau_mem, h / lif.tau_syn), abs(h / lif.tau_mem - h / lif.tau_syn)
    larger, fallen = math.exp(-slower), -math.expm1(-gap)
    smaller = larger * (1.0 - fallen)
    k = lif.r_mem * h / lif.tau_mem * larger * (fallen / gap if gap > 0.0 else 1.0)
    return (larger, smaller, k) if lif.tau_mem >= lif.tau_syn else (smaller, larger, k)


@register_jitable
def next_spike(lif, v, i, h):
    """How long v takes from below the threshold to it; h where it takes longer, or never gets there.

    With i > 0 v has one maximum and is concave before it: Newton's method from the left never goes beyond the
    crossing, and if it comes to h or to a falling v there is none.
    """
    s, v_now, i_now = 0.0, v, i
    for _ in range(STEPS):
        slope = (lif.r_mem * i_now - v_now) / lif.tau_mem
        if slope <= 0.0:
            return h
        ds = (lif.threshold - v_now) / slope
        s += max(ds, 0.0)  # v may have come to the threshold by rounding at the end of the interval before
        if s >= h:
            return h
        if ds <= PRECISION * lif.tau_mem:
            return s
        e_mem, e_syn, k = propagators(lif, s)
        v_now, i_now = e_mem * v + k * i, e_syn * i
    return s


@compile_kernel
def run_layer(
    # Model:
    lif, weight, duration,
    # Input:
    start, time, unit, sample,
    # State (n,):
    v, i, spiked, spiked_v,
    # Output:
    out_start, out_time, out_unit, out_slope,
):  # fmt: skip
    """The spikes of a layer, for samples from `sample` on; returns the first sample whose spikes do not fit, or B.

    out_slope is dv/dt just before each spike. Spikes of a sample are not in order of time: those of an interval between
    arrivals are by unit.
    """
    n = u64(v.size)
    for b in range(sample, start.size - 1):
        v[:] = 0.0
        i[:] = 0.0
        stored, e, stop = out_start[b], start[b], start[b + 1]
        while e < stop:
            now = time[e]
            while e < stop and time[e] == now:
                row = weight[unit[e]]
                for j in range(n):
                    i[j] += row[j]
                e += 1
            end = time[e] if e < stop else duration
            h = end - now
            n_spiked = 0
            for j in range(n):
                drive = lif.r_mem * i[j]  # v is concave where it may spike: below its tangent
                if drive <= lif.threshold or v[j] + (drive - v[j]) * h / lif.tau_mem < lif.threshold:
                    continue
                v_now, i_now, left = v[j], i[j], h
                s = next_spike(lif, v_now, i_now, left)
                if s >= left:
                    continue
                while s < left:
                    if stored == out_time.size:
                        return b
                    _, e_syn, _ = propagators(lif, s)
                    v_now, i_now, left = lif.reset, e_syn * i_now, left - s
                    slope = (lif.r_mem * i_now - lif.threshold) / lif.tau_mem
                    out_time[stored] = end - left
                    out_unit[stored] = j
                    out_slope[stored] = max(slope, LEAST_SLOPE * lif.threshold / lif.tau_mem)
                    stored += 1
                    s = next_spike(lif, v_now, i_now, left)
                e_mem, _, k = propagators(lif, left)
                spiked[n_spiked], spiked_v[n_spiked] = j, e_mem * v_now + k * i_now
                n_spiked += 1
            e_mem, e_syn, k = propagators(lif, h)
            for j in range(n):
                v[j] = e_mem * v[j] + k * i[j]
                i[j] = e_syn * i[j]
            for m in range(n_spiked):
                v[spiked[m]] = spiked_v[m]
        out_start[b + 1] = stored
    return start.size - 1


@compile_kernel
def through_layer(
    # Model:
    lif, weight,
    # Input:
    start, time, unit, own_start, own_time, own_unit, own_slope, own_gradient,
    # State (n,):
    p, q,
    # Output:
    time_gradient, weight_gradient,
):  # fmt: skip
    """From dL/dt of a layer's own spikes to dL/dt of those that arrive, and dL/dweight, both added to.

    Backwards in time, p = dL/dv and q = dL/di of each neuron (-tau_mem lambda_V and -tau_syn lambda_I of Wunderlich &
    Pehle) obey

        p(t - h) = e_mem p,    q(t - h) = e_syn q + k p                   between events
        p <- (p * (slope + (threshold - reset) / tau_mem) - dL/dt) / slope    at an own spike; q goes on
        dL/dweight += q,    dL/dt = weight . (q / tau_syn - r_mem p / tau_mem)   at an arrival

    Where time_gradient is empty that of the arrivals is not wanted.
    """
    n = u64(p.size)
    rise = (lif.threshold - lif.reset) / lif.tau_mem  # of dv/dt at a spike
    from_v, from_i = lif.r_mem / lif.tau_mem, 1.0 / lif.tau_syn
    for b in range(start.size - 1):
        e, first, own, own_first = start[b + 1], start[b], own_start[b + 1], own_start[b]
        while own > own_first and own_gradient[own - 1] == 0.0:
            own -= 1  # nothing depends on what is later
        if own == own_first:
            continue
        now = own_time[own - 1]
        while e > first and time[e - 1] > now:
            e -= 1
        p[:] = 0.0
        q[:] = 0.0
        while e > first:
            spikes = own > own_first and own_time[own - 1] >= time[e - 1]
            at = own_time[own - 1] if spikes else time[e - 1]
            if at < now:
                e_mem, e_syn, k = propagators(lif, now - at)
                for j in range(n):
                    q[j] = e_syn * q[j] + k * p[j]
                    p[j] = e_mem * p[j]
                now = at
            if spikes:
                own -= 1
                j = u64(own_unit[own])
                p[j] = (p[j] * (own_slope[own] + rise) - own_gradient[own]) / own_slope[own]
                continue
            e -= 1
            row = weight_gradient[unit[e]]
            for j in range(n):
                row[j] += q[j]
            if time_gradient.size:
                w = weight[unit[e]]
                total = 0.0
                for j in range(n):
                    total += w[j] * (from_i * q[j] - from_v * p[j])
                time_gradient[e] += total


@register_jitable
def mean_share(lif, h, duration):
    """What an arrival h ms before the end adds to the mean of v over duration, for each unit of its weight."""
    _, e_syn, k = propagators(lif, h)
    return (lif.r_mem * lif.tau_syn * (1.0 - e_syn) - lif.tau_mem * k) / duration


@compile_kernel
def mean_potential(lif, weight, duration, start, time, unit, mean):
    """mean (B, n) += the mean of v over [0, duration] of neurons that never spike."""
    n = u64(mean.shape[1])
    for b in range(start.size - 1):
        for e in range(start[b], start[b + 1]):
            share, row = mean_share(lif, duration - time[e], duration), weight[unit[e]]
            for j in range(n):
                mean[b, j] += share * row[j]


@compile_kernel
def through_mean(lif, weight, duration, start, time, unit, mean_gradient, time_gradient, weight_gradient):
    """From dL/dmean (B, n) of `mean_potential` to dL/dt of the arrivals, unless that is empty, and dL/dweight.

    Both are added to.
    """
    n = u64(mean_gradient.shape[1])
    for b in range(start.size - 1):
        given = mean_gradient[b]
        for e in range(start[b], start[b + 1]):
            h = duration - time[e]
            share, w, row = mean_share(lif, h, duration), weight[unit[e]], weight_gradient[unit[e]]
            _, _, k = propagators(lif, h)
            total = 0.0
            for j in range(n):
                row[j] += share * given[j]
                total += w[j] * given[j]
            if time_gradient.size:
                time_gradient[e] -= total * k / duration
