"""Backpropagation through time, the loops: through neurons, and from spikes to gradients of weights.

Arrays are (T, B, units), float32, units in the engine's order. Each call handles some samples, so that threads can
share a batch; sums over samples are made in groups of them, whose number does not depend on the threads.
"""

import numpy as np

from evsim.batch_model import TILE
from evsim.jit import compile_kernel, register_jitable
from evsim.lanes import LANES, load_lanes, plus_times, store_lanes
from evsim.model import BLOCK, COUPLING, DECAY, GAIN, JUMP, LEAK, V_MIN, V_RESET
from evsim.training.reset_gradient import through_spike

f32 = np.float32
i64 = np.int64
u64 = np.uint64

STEPS_AT_ONCE = 16  # of a sum over samples and steps: few enough for parts of a run, and enough for speed
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
def add_linear_gradient(start, index, times, gradient, edges, weight_gradient, dx):
    """weight_gradient (groups, sources, n_row) += each source's spikes times gradient (T, B, targets), tile by tile.

    Group g's samples are [edges[g], edges[g + 1]); events are as list_events has them, from the first of all samples on
    (no `times`: once each). The last STEPS_AT_ONCE steps first, so that a run can be added in parts. The targets of
    weight_gradient are filled up to a multiple of LANES, for loops without a remainder; dx (TILE,) is scratch.
    """
    n_steps, n_out, n_row = gradient.shape[0], u64(gradient.shape[2]), u64(weight_gradient.shape[2])
    for group in range(edges.size - 1):
        sums = weight_gradient[group].reshape(-1)
        for first in range(u64(0), n_row, u64(TILE)):
            n = min(u64(TILE), n_row - first)
            for low in range((n_steps - 1) // STEPS_AT_ONCE * STEPS_AT_ONCE, -1, -STEPS_AT_ONCE):
                for b in range(edges[group], edges[group + 1]):
                    for t in range(low, min(low + STEPS_AT_ONCE, n_steps)):
                        row = (b - edges[0]) * n_steps + t
                        for i in range(n):
                            dx[i] = gradient[t, b, first + i] if first + i < n_out else f32(0.0)
                        for i in range(u64(0), n, u64(LANES)):
                            _add_outer(sums, first + i, n_row, index, times, start[row], start[row + 1], dx, i)


@register_jitable(forceinline=True)
def _add_outer(weight_gradient, at, n_row, index, times, begin, end, dx, i):
    """LANES targets: what they get is dx[i:], for each source of index[begin:end]."""
    x = load_lanes(dx, i)
    if times.size == 0:
        for e in range(u64(begin), u64(end)):
            row = u64(index[e]) * u64(n_row) + at
            store_lanes(weight_gradient, row, plus_times(load_lanes(weight_gradient, row), f32(1.0), x))
        return
    for e in range(u64(begin), u64(end)):
        row = u64(index[e]) * u64(n_row) + at
        store_lanes(weight_gradient, row, plus_times(load_lanes(weight_gradient, row), times[e], x))


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
    """sums[at:] += the weights of targets [low, high) times their gradient."""
    i = u64(0)
    while i + u64(4 * LANES) <= n:
        at0, at1, at2, at3 = at + i, at + i + u64(LANES), at + i + u64(2 * LANES), at + i + u64(3 * LANES)
        a, b, c, d = load_lanes(sums, at0), load_lanes(sums, at1), load_lanes(sums, at2), load_lanes(sums, at3)
        for j in range(low, high):
            row, g = j * n_row + tile + i, gradient[j]
            a = plus_times(a, g, load_lanes(weight, row))
            b = plus_times(b, g, load_lanes(weight, row + u64(LANES)))
            c = plus_times(c, g, load_lanes(weight, row + u64(2 * LANES)))
            d = plus_times(d, g, load_lanes(weight, row + u64(3 * LANES)))
        store_lanes(sums, at0, a)
        store_lanes(sums, at1, b)
        store_lanes(sums, at2, c)
        store_lanes(sums, at3, d)
        i += u64(4 * LANES)
    while i < n:
        a = load_lanes(sums, at + i)
        for j in range(low, high):
            a = plus_times(a, gradient[j], load_lanes(weight, j * n_row + tile + i))
        store_lanes(sums, at + i, a)
        i += u64(LANES)


@compile_kernel
def add_convolution_gradient(
    start, index, times, gradient, in_columns, in_channels, out_rows, out_columns, stride, padding, dilation, edges,
    weight_gradients,
):  # fmt: skip
    """The same for a convolution: weight_gradients (groups, source channel of a group, row, column, target channel)."""
    for group in range(edges.size - 1):
        _add_convolution_gradient(
            start, index, times, gradient, edges[0], edges[group], edges[group + 1], in_columns, in_channels, out_rows,
            out_columns, stride, padding, dilation, weight_gradients[group],
        )  # fmt: skip


@register_jitable
def _add_convolution_gradient(
    start, index, times, gradient, listed, sample, stop, in_columns, in_channels, out_rows, out_columns, stride,
    padding, dilation, weight_gradient,
):  # fmt: skip
    """Add what samples [sample, stop) give; events are listed from sample `listed` on."""
    n_steps = gradient.shape[0]
    group_in, kernel_rows, kernel_columns, n_out = weight_gradient.shape
    group_out = n_out // (in_channels // group_in)
    for low in range((n_steps - 1) // STEPS_AT_ONCE * STEPS_AT_ONCE, -1, -STEPS_AT_ONCE):
        for frame in range((stop - sample) * STEPS_AT_ONCE):
            b, t = sample + frame // STEPS_AT_ONCE, low + frame % STEPS_AT_ONCE
            if t >= n_steps:
                continue
            dx, row = gradient[t, b], (b - listed) * n_steps + t
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
                    for column in range(kernel_columns):
                        right = x + padding[1] - column * dilation[1]
                        j = right // stride[1]
                        if right < 0 or j * stride[1] != right or j >= out_columns:
                            continue
                        source = dx[(i * out_columns + j) * n_out + group * group_out :]
                        target = weight_gradient[c, a, column, group * group_out :]
                        for o in range(u64(group_out)):
                            target[o] += times_e * source[o]
