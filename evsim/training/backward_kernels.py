"""Backpropagation through time, the loops: through neurons, and from spikes to gradients of weights.

Arrays are (T, B, units), float32, units in the engine's order. Each call handles some samples, so that threads can
share a batch; sums over samples are made in groups of them, whose number does not depend on the threads.
"""

import numpy as np

from evsim.batch_model import TILE
from evsim.jit import compile_kernel, register_jitable
from evsim.lanes import LANES, add_scaled_lanes
from evsim.model import BLOCK, COUPLING, DECAY, GAIN, JUMP, LEAK, V_MIN, V_RESET
from evsim.training.reset_gradient import through_spike

f32 = np.float32
i64 = np.int64
u64 = np.uint64

TARGETS = 32  # whose weights to a tile of sources multiply_back takes at a time


@compile_kernel
def through_neurons(
    pre, count, slope, given, value, start, step, soft, detach, filtered, spiking, first, stop, gradient, all_dv, all_di
):  # fmt: skip
    """From the gradient of a layer's output to that of its input x, for samples [first, stop).

    With h the potential before the reset, s the spikes, and slope = ds/dh (the surrogate's derivative), backwards:

        dh   = ds * slope + dv * dv/dh         see reset_gradient
        dx   = jump * dh + gain * di
        dv   <- leak * dh;   di <- decay * di + coupling * dh

    Where v stands at its lower bound nothing goes on. Neurons that do not spike give h itself.

    Parameters
    ----------
    pre, count, slope : h, s and ds/dh.
    given : the gradient of the output.
    value, start, step : coefficients of the layer, as in BatchModel.
    gradient : dx, written.
    all_dv, all_di : (B, n), dv and di of the step behind the last one; then of the first one.
    """
    n_steps, n = pre.shape[0], u64(pre.shape[2])
    at_leak, at_reset, at_v_min = u64(start[LEAK]), u64(start[V_RESET]), u64(start[V_MIN])
    at_jump, at_gain = u64(start[JUMP]), u64(start[GAIN])
    at_coupling, at_decay = u64(start[COUPLING]), u64(start[DECAY])
    by_leak, by_reset, by_v_min, by_jump = u64(step[LEAK]), u64(step[V_RESET]), u64(step[V_MIN]), u64(step[JUMP])
    by_gain, by_coupling, by_decay = u64(step[GAIN]), u64(step[COUPLING]), u64(step[DECAY])
    for b in range(first, stop):
        dv, di = all_dv[b], all_di[b]
        for back in range(n_steps):
            t = n_steps - 1 - back
            h, s, d, ds, dx = pre[t, b], count[t, b], slope[t, b], given[t, b], gradient[t, b]
            for at in range(u64(0), n, u64(BLOCK)):  # coefficients lie there once a neuron, or BLOCK times
                leak, v_min = at_leak + by_leak * at - at, at_v_min + by_v_min * at - at
                to, jump, gain = at_reset + by_reset * at - at, at_jump + by_jump * at - at, at_gain + by_gain * at - at
                coupling, decay = at_coupling + by_coupling * at - at, at_decay + by_decay * at - at
                for i in range(at, min(at + u64(BLOCK), n)):
                    v_reset, spikes = value[to + i], f32(s[i])
                    dh = through_spike(
                        h[i], spikes, d[i], ds[i], dv[i], v_reset, value[v_min + i], spiking, soft, detach
                    )
                    dx[i] = value[jump + i] * dh
                    dv[i] = value[leak + i] * dh
                    if filtered:
                        dx[i] += value[gain + i] * di[i]
                        di[i] = value[decay + i] * di[i] + value[coupling + i] * dh


@compile_kernel
def list_events(frames, first, stop, start, index, times):
    """The units of samples [first, stop) that are not zero: start (samples * T + 1,), index, and how often (or much).

    Those of the b-th sample in step t are index[start[b * T + t] : start[b * T + t + 1]]. Returns how many there are;
    where they do not fit, only that.
    """
    n_steps, n = frames.shape[0], frames.shape[2]
    stored = 0
    for b in range(first, stop):
        for t in range(n_steps):
            start[(b - first) * n_steps + t] = stored
            frame = frames[t, b]
            for i in range(n):
                if frame[i] != 0:
                    if stored < index.size:
                        index[stored] = i
                        times[stored] = frame[i]
                    stored += 1
    start[(stop - first) * n_steps] = stored
    return stored


@compile_kernel
def add_linear_gradient(start, index, times, gradient, sample, n_samples, weight_gradient, n_row, dx):
    """weight_gradient, flat (sources, n_row), += each source's spikes times gradient (T, B, targets), tile by tile.

    For `n_samples` from `sample` on, whose events are as list_events has them (no `times`: once each); the last step
    first, so that a run can be added in parts. The targets of weight_gradient are filled up to a multiple of LANES,
    for loops without a remainder; dx (TILE,) is scratch.
    """
    n_steps, n_out, none = gradient.shape[0], u64(gradient.shape[2]), u64(0)
    for first in range(u64(0), u64(n_row), u64(TILE)):
        n = min(u64(TILE), u64(n_row) - first)
        for back in range(n_steps):
            t = n_steps - 1 - back
            for b in range(n_samples):
                row = b * n_steps + t
                for i in range(n):
                    dx[i] = gradient[t, sample + b, first + i] if first + i < n_out else f32(0.0)
                for e in range(start[row], start[row + 1]):
                    at, x = u64(index[e]) * n_row + first, times[e] if times.size > 0 else f32(1.0)
                    for i in range(u64(0), n, u64(LANES)):
                        add_scaled_lanes(weight_gradient, at + i, dx, (i,), (x,), none)


@compile_kernel
def multiply_back(gradient, first, stop, weight, n_row, made, sums):
    """made (T, B, sources) = gradient (T, B, targets) times weight, flat (targets, n_row), for samples [first, stop).

    Terms are added target by target, in whole vectors: tile by tile of the sources, and for all steps a few targets,
    whose weights then stay in the nearest cache.

    Parameters
    ----------
    n_row : sources, filled up to whole vectors.
    sums : (T * TILE,), scratch.
    """
    n_steps, n_out, n_in = u64(gradient.shape[0]), u64(gradient.shape[2]), u64(made.shape[2])
    for b in range(first, stop):
        for tile in range(u64(0), u64(n_row), u64(TILE)):
            n = min(u64(TILE), u64(n_row) - tile)
            for i in range(n_steps * n):
                sums[i] = f32(0.0)
            for low in range(u64(0), n_out, u64(TARGETS)):
                high = min(low + u64(TARGETS), n_out)
                for t in range(n_steps):
                    _add_targets(gradient[t, b], low, high, weight, u64(n_row), tile, sums, t * n, n)
            for t in range(n_steps):
                for i in range(min(n, n_in - tile)):
                    made[t, b, tile + i] = sums[t * n + i]


@register_jitable(forceinline=True)
def _add_targets(gradient, low, high, weight, n_row, tile, sums, at, n):
    """sums[at:] += the weights of targets [low, high) times their gradient, four at a time."""
    j = low
    while j + u64(4) <= high:
        a, b, c, d = gradient[j], gradient[j + u64(1)], gradient[j + u64(2)], gradient[j + u64(3)]
        row = j * n_row + tile
        rows = row, row + n_row, row + u64(2) * n_row, row + u64(3) * n_row
        for i in range(u64(0), n, u64(LANES)):
            add_scaled_lanes(sums, at + i, weight, rows, (a, b, c, d), i)
        j += u64(4)
    while j < high:
        for i in range(u64(0), n, u64(LANES)):
            add_scaled_lanes(sums, at + i, weight, (j * n_row + tile,), (gradient[j],), i)
        j += u64(1)


@compile_kernel
def add_convolution_gradient(
    start, index, times, gradient, sample, n_samples, in_columns, in_channels, out_rows, out_columns, stride, padding,
    dilation, weight_gradient,
):  # fmt: skip
    """The same for a convolution: weight_gradient (source channel of a group, row, column, target channel)."""
    n_steps = gradient.shape[0]
    group_in, kernel_rows, kernel_columns, n_out = weight_gradient.shape
    group_out = n_out // (in_channels // group_in)
    for back in range(n_steps):
        t = n_steps - 1 - back
        for sample_of in range(n_samples):
            dx, row = gradient[t, sample + sample_of], sample_of * n_steps + t
            for e in range(start[row], start[row + 1]):
                times_e = times[e] if times.size > 0 else f32(1.0)
                place = i64(index[e]) // in_channels
                channel = i64(index[e]) - place * in_channels
                y, x = place // in_columns, place % in_columns
                group = channel // group_in
                c = channel - group * group_in
                for a in range(kernel_rows):
                    below = y + padding[0] - a * dilation[0]
                    i = below // stride[0]
                    if below < 0 or i * stride[0] != below or i >= out_rows:
                        continue
                    for b in range(kernel_columns):
                        right = x + padding[1] - b * dilation[1]
                        j = right // stride[1]
                        if right < 0 or j * stride[1] != right or j >= out_columns:
                            continue
                        source = dx[(i * out_columns + j) * n_out + group * group_out :]
                        target = weight_gradient[c, a, b, group * group_out :]
                        for o in range(u64(group_out)):
                            target[o] += times_e * source[o]
