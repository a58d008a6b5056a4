"""Backpropagation through time, the loops: from spikes to gradients of weights, and from targets to sources.

Arrays are (T, B, units), float32, units in the engine's order. Each call handles some groups of samples, so that
threads can share a batch: those of group g are [edges[g], edges[g + 1]). Sums over samples are made group by group, and
so do not depend on the threads; within a group the last STEPS_AT_ONCE steps come first, so that a run can be added in
parts.
"""

import numpy as np

from evsim.batch_model import TILE
from evsim.jit import compile_kernel, register_jitable
from evsim.lanes import (
    LANES,
    MASK,
    load_lanes,
    load_some,
    mask_nonzero,
    plus_times,
    store_lanes,
    store_some,
    trailing_zeros,
)

f32 = np.float32
f64 = np.float64
i64 = np.int64
u32 = np.uint32
u64 = np.uint64

STEPS_AT_ONCE = 16  # of a sum over samples and steps: few enough for parts of a run, and enough for speed
PANEL = 2 * LANES  # sources whose gradients are summed up at a time, for ROWS steps or samples
ROWS = 8


@compile_kernel
def through_linear(gradient, edges, source, sums, wanted, weight, made, scratch):
    """Back through a linear layer: from the gradient of its targets' input to those of weights, biases and sources.

    Parameters
    ----------
    gradient : (T, samples of all groups here, n_row); what lies behind the targets goes nowhere.
    source : what entered the layer: frames, or spikes as EventInput has them (frames are then empty), with its stride.
    sums : of weights (groups, sources, n_row), targets filled up to whole vectors; of biases (groups, targets) float64;
        both are added to.
    wanted : whether the gradient of the sources is.
    weight : as `_multiply` has it.
    made : that gradient, (T, B, sources), written.
    scratch : units of a frame and how often they spiked.
    """
    index, times = scratch
    weight_sums, bias_sums = sums
    n_steps = u64(gradient.shape[0])
    for group in range(edges.size - 1):
        first, stop, offset = edges[group], edges[group + 1], edges[0]
        _add_biases(gradient, first - offset, stop - offset, bias_sums[group])
        _add_weights(gradient, offset, first, stop, source, weight_sums[group], index, times)
        if wanted:
            for low in range(u64(0), u64(made.shape[2]), u64(PANEL)):
                for row in range(u64(0), n_steps * u64(stop - first), u64(ROWS)):
                    _multiply(gradient, row, u64(offset), u64(first), u64(stop - first), weight, low, made)


@register_jitable
def _add_biases(gradient, first, stop, sums):
    """sums += the gradient, over all steps and samples, step by step from the last one."""
    for back in range(gradient.shape[0]):
        for b in range(first, stop):
            dx = gradient[gradient.shape[0] - 1 - back, b]
            for i in range(u64(sums.size)):
                sums[i] += f64(dx[i])


@register_jitable
def _add_weights(gradient, offset, first, stop, source, weight_sums, index, times):
    """weight_sums (sources, n_row) += each source's spikes times gradient, tile by tile of the targets."""
    frames, start, listed, stride = source
    n_steps, n_row = gradient.shape[0], u64(weight_sums.shape[1])
    sums = weight_sums.reshape(-1)
    for tile in range(u64(0), n_row, u64(TILE)):
        high = min(tile + u64(TILE), n_row)
        for low in range((n_steps - 1) // STEPS_AT_ONCE * STEPS_AT_ONCE, -1, -STEPS_AT_ONCE):
            for b in range(first, stop):
                for t in range(low, min(low + STEPS_AT_ONCE, n_steps)):
                    dx = gradient[t, b - offset]
                    if frames.size == 0:
                        row = b * stride + t
                        for at in range(tile, high, u64(LANES)):
                            x = load_lanes(dx, at)
                            for e in range(u64(start[row]), u64(start[row + 1])):
                                to = u64(listed[e]) * n_row + at
                                store_lanes(sums, to, load_lanes(sums, to) + x)
                        continue
                    n = _list_frame(frames[t, b], index, times)
                    for at in range(tile, high, u64(LANES)):
                        x = load_lanes(dx, at)
                        for e in range(n):
                            to = u64(index[e]) * n_row + at
                            store_lanes(sums, to, plus_times(load_lanes(sums, to), times[e], x))


@register_jitable
def _list_source(source, t, b, index, times):
    """The units of a frame of the source, ascending, and how often they spiked; how many there are."""
    frames, start, listed, stride = source
    if frames.size > 0:
        return i64(_list_frame(frames[t, b], index, times))
    row = b * stride + t
    for e in range(start[row], start[row + 1]):
        index[e - start[row]] = listed[e]
        times[e - start[row]] = f32(1.0)
    return start[row + 1] - start[row]


@register_jitable
def _list_frame(frame, index, times):
    """The units of a frame that are not zero, ascending, how often they spiked (or how much); how many there are."""
    n, i, n_units = u64(0), u64(0), u64(frame.size)
    while i + u64(MASK) <= n_units:
        mask = mask_nonzero(frame, i)
        while mask != u64(0):
            unit = i + trailing_zeros(mask)
            index[n] = u32(unit)
            times[n] = f32(frame[unit])
            n += u64(1)
            mask &= mask - u64(1)
        i += u64(MASK)
    for unit in range(i, n_units):
        index[n] = u32(unit)
        times[n] = f32(frame[unit])
        n += u64(frame[unit] != 0)
    return n


@register_jitable(forceinline=True)
def _multiply(gradient, row, offset, first, n_samples, weight, low, made):
    """made = the gradient of the targets times weight (panel of sources, target, source of it), for one panel from low.

    Of ROWS rows (step, sample of a group's n_samples) from `row` on; the group begins at sample `first`, the gradient
    at `offset`. Terms are added target by target, in registers.
    """
    n_out = u64(weight.size) // ((u64(made.shape[2]) + u64(PANEL - 1)) // u64(PANEL) * u64(PANEL))
    g, last, at = gradient.reshape(-1), u64(gradient.shape[0]) * n_samples - u64(1), first - offset
    g0, g1 = _row(gradient, row, n_samples, at), _row(gradient, min(row + u64(1), last), n_samples, at)
    g2 = _row(gradient, min(row + u64(2), last), n_samples, at)
    g3 = _row(gradient, min(row + u64(3), last), n_samples, at)
    g4 = _row(gradient, min(row + u64(4), last), n_samples, at)
    g5 = _row(gradient, min(row + u64(5), last), n_samples, at)
    g6 = _row(gradient, min(row + u64(6), last), n_samples, at)
    g7 = _row(gradient, min(row + u64(7), last), n_samples, at)
    zero = load_some(weight, u64(0), u64(0))
    a0, a1, a2, a3, a4, a5, a6, a7 = zero, zero, zero, zero, zero, zero, zero, zero
    b0, b1, b2, b3, b4, b5, b6, b7 = zero, zero, zero, zero, zero, zero, zero, zero
    for j in range(n_out):
        place = low * n_out + j * u64(PANEL)
        x, y = load_lanes(weight, place), load_lanes(weight, place + u64(LANES))
        a0, b0 = plus_times(a0, g[g0 + j], x), plus_times(b0, g[g0 + j], y)
        a1, b1 = plus_times(a1, g[g1 + j], x), plus_times(b1, g[g1 + j], y)
        a2, b2 = plus_times(a2, g[g2 + j], x), plus_times(b2, g[g2 + j], y)
        a3, b3 = plus_times(a3, g[g3 + j], x), plus_times(b3, g[g3 + j], y)
        a4, b4 = plus_times(a4, g[g4 + j], x), plus_times(b4, g[g4 + j], y)
        a5, b5 = plus_times(a5, g[g5 + j], x), plus_times(b5, g[g5 + j], y)
        a6, b6 = plus_times(a6, g[g6 + j], x), plus_times(b6, g[g6 + j], y)
        a7, b7 = plus_times(a7, g[g7 + j], x), plus_times(b7, g[g7 + j], y)
    _put(made, row, last, first, n_samples, low, a0, b0)
    _put(made, row + u64(1), last, first, n_samples, low, a1, b1)
    _put(made, row + u64(2), last, first, n_samples, low, a2, b2)
    _put(made, row + u64(3), last, first, n_samples, low, a3, b3)
    _put(made, row + u64(4), last, first, n_samples, low, a4, b4)
    _put(made, row + u64(5), last, first, n_samples, low, a5, b5)
    _put(made, row + u64(6), last, first, n_samples, low, a6, b6)
    _put(made, row + u64(7), last, first, n_samples, low, a7, b7)


@register_jitable(forceinline=True)
def _row(gradient, row, n_samples, at):
    """Where a row (step, sample of n_samples from the gradient's sample `at` on) begins."""
    return (row // n_samples * u64(gradient.shape[1]) + at + row % n_samples) * u64(gradient.shape[2])


@register_jitable(forceinline=True)
def _put(made, row, last, first, n_samples, low, a, b):
    """Sources [low, low + PANEL), as many as there are, of one step and sample; rows behind the last go nowhere."""
    if row > last:
        return
    to = made[row // n_samples, first + row % n_samples]
    n = u64(to.size) - low
    store_some(to, low, n, a)
    if n > u64(LANES):
        store_some(to, low + u64(LANES), n - u64(LANES), b)


@compile_kernel
def add_convolution(gradient, source, sizes, edges, sums, scratch):
    """The same for the weights and biases of a convolution, from the gradient of its targets.

    Parameters
    ----------
    gradient : (T, B, targets).
    source, edges : as in through_linear.
    sizes : columns and channels of the source, rows and columns of the targets, stride, padding, dilation.
    sums : of weights (groups, source channel of a channel group, row, column, target channel), of biases.
    scratch : units of a frame and how often they spiked.
    """
    weight_sums, bias_sums = sums
    for group in range(edges.size - 1):
        first, stop = edges[group], edges[group + 1]
        _add_biases(gradient, first, stop, bias_sums[group])
        for low in range((gradient.shape[0] - 1) // STEPS_AT_ONCE * STEPS_AT_ONCE, -1, -STEPS_AT_ONCE):
            for b in range(first, stop):
                for t in range(low, min(low + STEPS_AT_ONCE, gradient.shape[0])):
                    _add_kernels(gradient, t, b, source, sizes, weight_sums[group], scratch)


@register_jitable
def _add_kernels(gradient, t, b, source, sizes, sums, scratch):
    """Add what a sample gives in a step: each spike of a source, the targets that it reaches."""
    in_columns, in_channels, out_rows, out_columns, stride, padding, dilation = sizes
    index, times = scratch
    group_in, kernel_rows, kernel_columns, n_out = sums.shape
    group_out = n_out // (in_channels // group_in)
    dx = gradient[t, b]
    for e in range(_list_source(source, t, b, index, times)):
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
                given = dx[(i * out_columns + j) * n_out + group * group_out :]
                target = sums[c, a, column, group * group_out :]
                for o in range(u64(group_out)):
                    target[o] += times[e] * given[o]
