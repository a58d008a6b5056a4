"""Backpropagation through time, the loops: through neurons, and from spikes to gradients of weights.

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
from evsim.model import BLOCK, COUPLING, DECAY, GAIN, JUMP, LEAK, V_MIN, V_RESET
from evsim.training.reset_gradient import through_spike

f32 = np.float32
f64 = np.float64
i64 = np.int64
u32 = np.uint32
u64 = np.uint64

STEPS_AT_ONCE = 16  # of a sum over samples and steps: few enough for parts of a run, and enough for speed
PANEL = 2 * LANES  # sources whose gradients are summed up at a time, for ROWS steps or samples
ROWS = 8


@compile_kernel
def through_neurons(neurons, given, edges, gradient, all_dv, all_di):
    """From the gradient of a layer's output to that of its input x, for the samples of all groups.

    With h the potential before the reset, s the spikes, and slope = ds/dh (the surrogate's derivative), backwards:

        dh   = ds * slope + dv * dv/dh         see reset_gradient
        dx   = jump * dh + gain * di
        dv   <- leak * dh;   di <- decay * di + coupling * dh

    Where v stands at its lower bound nothing goes on. Neurons that do not spike give h itself.

    Parameters
    ----------
    neurons : h, s, and ds/dh of these samples alone; coefficients of the layer, as in BatchModel: values, where those
        of the first neuron lie, and steps from neuron to neuron; whether they reset by subtraction, detach the reset,
        filter their input, spike.
    given : the gradient of the output.
    gradient : dx, written.
    all_dv, all_di : (B, n), dv and di of the step behind the last one; then of the first one.
    """
    n = u64(given.shape[2])
    for back in range(given.shape[0]):
        t = given.shape[0] - 1 - back
        for b in range(edges[0], edges[edges.size - 1]):
            _through_step(neurons, t, b, b - edges[0], n, given, gradient[t, b], all_dv[b], all_di[b])


@register_jitable
def _through_step(neurons, t, b, b_slope, n, given, dx, dv, di):
    """All neurons of a sample through one step: whole vectors, then what is left over."""
    start, step = neurons[4], neurons[5]
    for at in range(u64(0), n, u64(BLOCK)):  # coefficients lie there once a neuron, or BLOCK times
        places = (
            _place(start, step, V_RESET, at), _place(start, step, V_MIN, at), _place(start, step, JUMP, at),
            _place(start, step, LEAK, at), _place(start, step, GAIN, at), _place(start, step, DECAY, at),
            _place(start, step, COUPLING, at),
        )  # fmt: skip
        stop = min(at + u64(BLOCK), n)
        whole = stop - (stop - at) % u64(LANES)
        for i in range(at, whole, u64(LANES)):
            _through_some(neurons, t, b, b_slope, i, u64(LANES), places, given, dx, dv, di)
        if whole < stop:
            _through_some(neurons, t, b, b_slope, whole, stop - whole, places, given, dx, dv, di)


@register_jitable(forceinline=True)
def _through_some(neurons, t, b, b_slope, i, n, places, given, dx, dv, di):
    """Neurons [i, i + n), n up to LANES."""
    pre, count, slope, value, _, _, soft, detach, filtered, spiking = neurons
    v_reset, v_min, jump, leak, gain, decay, coupling = places
    h, s, d = load_some(pre[t, b], i, n), load_some(count[t, b], i, n), load_some(slope[t, b_slope], i, n)
    ds, v = load_some(given[t, b], i, n), load_some(dv, i, n)
    to, lowest = load_some(value, v_reset + i, n), load_some(value, v_min + i, n)
    dh = through_spike(h, s, d, ds, v, to, lowest, spiking, soft, detach)
    x = load_some(value, jump + i, n) * dh
    store_some(dv, i, n, load_some(value, leak + i, n) * dh)
    if filtered:
        current = load_some(di, i, n)
        x = x + load_some(value, gain + i, n) * current
        store_some(di, i, n, load_some(value, decay + i, n) * current + load_some(value, coupling + i, n) * dh)
    store_some(dx, i, n, x)


@register_jitable(forceinline=True)
def _place(start, step, coefficient, at):
    """What to add to a neuron's number for where its coefficient lies, from neuron `at` on."""
    return u64(start[coefficient]) + u64(step[coefficient]) * at - at


@compile_kernel
def through_linear(neurons, given, source, edges, carried, sums, wanted, weight, made, scratch):
    """Back through a linear layer's neurons, unless they are empty, to gradients of its weights, biases and sources.

    Parameters
    ----------
    neurons, given, edges, carried : as in through_neurons; carried has dv and di.
    source : what entered the layer: frames, or spikes as EventInput has them (frames are then empty), with its stride.
    sums : of weights (groups, sources, n_row), targets filled up to whole vectors; of biases (groups, targets) float64;
        both are added to.
    wanted : whether the gradient of the sources is.
    weight : as `_multiply` has it.
    made : that gradient, (T, B, sources), written.
    scratch : the gradient of the layer's input (T, samples of a group, n_row), of which what lies behind the targets
        goes nowhere; units of a frame and how often they spiked.
    """
    gradient, index, times = scratch
    weight_sums, bias_sums = sums
    n_steps, n_out = given.shape[0], u64(given.shape[2])
    for group in range(edges.size - 1):
        first, stop = edges[group], edges[group + 1]
        for back in range(n_steps):
            t = n_steps - 1 - back
            for b in range(first, stop):
                dx = gradient[t, b - first]
                if neurons[0].size > 0:
                    _through_step(neurons, t, b, b - edges[0], n_out, given, dx, carried[0][b], carried[1][b])
                else:
                    for i in range(n_out):
                        dx[i] = given[t, b, i]
        _add_biases(gradient, i64(0), stop - first, bias_sums[group])
        _add_weights(gradient, first, stop, source, weight_sums[group], index, times)
        if wanted:
            for low in range(u64(0), u64(made.shape[2]), u64(PANEL)):
                for row in range(u64(0), u64(n_steps) * u64(stop - first), u64(ROWS)):
                    _multiply(gradient, row, u64(first), u64(stop - first), n_out, weight, low, made)


@register_jitable
def _add_biases(gradient, first, stop, sums):
    """sums += the gradient, over all steps and samples, step by step from the last one."""
    for back in range(gradient.shape[0]):
        for b in range(first, stop):
            dx = gradient[gradient.shape[0] - 1 - back, b]
            for i in range(u64(sums.size)):
                sums[i] += f64(dx[i])


@register_jitable
def _add_weights(gradient, first, stop, source, weight_sums, index, times):
    """weight_sums (sources, n_row) += each source's spikes times gradient, tile by tile of the targets."""
    frames, start, listed, stride = source
    n_steps, n_row = gradient.shape[0], u64(weight_sums.shape[1])
    sums = weight_sums.reshape(-1)
    for tile in range(u64(0), n_row, u64(TILE)):
        high = min(tile + u64(TILE), n_row)
        for low in range((n_steps - 1) // STEPS_AT_ONCE * STEPS_AT_ONCE, -1, -STEPS_AT_ONCE):
            for b in range(first, stop):
                for t in range(low, min(low + STEPS_AT_ONCE, n_steps)):
                    dx = gradient[t, b - first]
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
def _multiply(gradient, row, first, n_samples, n_out, weight, low, made):
    """made = the gradient of the targets times weight (panel of sources, target, source of it), for one panel from low.

    Of ROWS steps and samples (step, sample of a group) from `row` on. Terms are added target by target, in registers.
    """
    g, last = gradient.reshape(-1), u64(gradient.shape[0]) * n_samples - u64(1)
    g0, g1 = _row(gradient, row, n_samples), _row(gradient, min(row + u64(1), last), n_samples)
    g2, g3 = _row(gradient, min(row + u64(2), last), n_samples), _row(gradient, min(row + u64(3), last), n_samples)
    g4, g5 = _row(gradient, min(row + u64(4), last), n_samples), _row(gradient, min(row + u64(5), last), n_samples)
    g6, g7 = _row(gradient, min(row + u64(6), last), n_samples), _row(gradient, min(row + u64(7), last), n_samples)
    zero = load_some(weight, u64(0), u64(0))
    a0, a1, a2, a3, a4, a5, a6, a7 = zero, zero, zero, zero, zero, zero, zero, zero
    b0, b1, b2, b3, b4, b5, b6, b7 = zero, zero, zero, zero, zero, zero, zero, zero
    for j in range(n_out):
        at = low * n_out + j * u64(PANEL)
        x, y = load_lanes(weight, at), load_lanes(weight, at + u64(LANES))
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
def _row(gradient, row, n_samples):
    """Where a row (step, sample of n_samples) of the gradient begins."""
    return (row // n_samples * u64(gradient.shape[1]) + row % n_samples) * u64(gradient.shape[2])


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
