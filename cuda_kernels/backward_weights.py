"""Gradients through connections on the GPU: of weights from spikes, and of what enters from what leaves.

A linear layer is a convolution of one place with a kernel of one (see Window). No sum depends on the order in which
threads come: each has one owner, who adds the last step first, so that a run can be added in parts.
"""

import numpy as np

from evsim.cuda_kernels.batch_frames import divide
from evsim.cuda_kernels.phases import THREADS, WARP
from evsim.cuda_kernels.target import compile_cuda_kernel, compile_device_function, cuda
from evsim.jit import fma

f32, i32, i64 = np.float32, np.int32, np.int64

WARPS = THREADS // WARP
ROWS = 4 * WARPS  # of a tile of the product
TARGETS = 4  # of a thread that adds weights
GRADIENTS, WEIGHTS = ROWS * WARP, WARP * WARP  # entries of its tiles


@compile_device_function
def _source(window, frames, before, before_at, lag, t, sample, place, tap):
    """What the source of a kernel's entry `tap` = (channel, a, b) gave for a place of the targets, `lag` steps before.

    Frames before the first one are `before` (B, ...), from entry before_at of a sample.
    """
    channel, entry = divide(tap, window.kernel_rows * window.kernel_columns)
    a, b = divide(entry, window.kernel_columns)
    i, j = divide(place, window.out_columns)
    y = i64(i) * window.stride_rows - window.padding_rows + i64(a) * window.dilation_rows
    x = i64(j) * window.stride_columns - window.padding_columns + i64(b) * window.dilation_columns
    if y < 0 or y >= window.in_rows or x < 0 or x >= window.in_columns:
        return f32(0.0)
    unit = (y * window.in_columns + x) * window.in_channels + i64(channel)
    if t < lag:
        return f32(before[sample, before_at + unit])
    return f32(frames[t - lag, sample, unit])


@compile_cuda_kernel(THREADS)
def add_weights(window, frames, before, before_at, lag, gradient, n_steps, n_samples, edges, width, is_new, sums):
    """sums (groups, weights) += frames of the sources times the gradient of the targets, over steps, samples, places.

    Weights are numbered (source channel, row, column, target channel of its group). A block has 4 * width targets of
    THREADS / width entries (source channel, row, column), of a group of samples; a thread has four, `width` apart. The
    block first reads what the sources gave in `width` steps, samples and places, side by side; of those that gave
    nothing no gradient is read.

    Parameters
    ----------
    frames : (T, B, units).
    gradient : (T * B * units,).
    edges : (groups + 1,) first sample of each group.
    is_new : the sums begin with 0.
    """
    for _ in range(2):  # see batch.advance_samples
        x_of = cuda.shared.array(THREADS, np.float32)
        at_of = cuda.shared.array(THREADS, np.int64)
        cuda.syncthreads()
    thread, group = cuda.threadIdx.x, i64(cuda.blockIdx.z)
    entries = window.kernel_rows * window.kernel_columns
    group_in, _ = divide(window.in_channels, window.groups)
    group_out, _ = divide(window.out_channels, window.groups)
    own, lane = divide(thread, width)
    tap = i64(cuda.blockIdx.x) * i64(divide(THREADS, width)[0]) + i64(own)
    o = i64(cuda.blockIdx.y) * i64(TARGETS) * width + i64(lane)
    is_tap = tap < window.in_channels * entries
    has0, has1 = is_tap and o < group_out, is_tap and o + width < group_out
    has2, has3 = is_tap and o + i64(2) * width < group_out, is_tap and o + i64(3) * width < group_out
    places, low, n_here = window.out_rows * window.out_columns, edges[group], edges[group + i64(1)] - edges[group]
    first_target = i64(divide(divide(tap, entries)[0], group_in)[0]) * i64(group_out)
    weight = tap * i64(group_out) + o
    s0 = f32(0.0) if is_new or not has0 else sums[group, weight]
    s1 = f32(0.0) if is_new or not has1 else sums[group, weight + width]
    s2 = f32(0.0) if is_new or not has2 else sums[group, weight + i64(2) * width]
    s3 = f32(0.0) if is_new or not has3 else sums[group, weight + i64(3) * width]
    first, rows = i64(0), n_steps * n_here * places
    while first < rows:
        row = first + i64(lane)
        x, at = f32(0.0), i64(0)
        if is_tap and row < rows:
            frame, place = divide(row, places)
            back, sample = divide(frame, n_here)
            t, sample = n_steps - i64(1) - i64(back), low + i64(sample)
            x = _source(window, frames, before, before_at, lag, t, sample, place, tap)
            at = ((t * n_samples + sample) * places + i64(place)) * window.out_channels + first_target
        x_of[thread], at_of[thread] = x, at
        cuda.syncthreads()
        if has0:
            for e in range(i64(own) * width, i64(own) * width + width):
                x, at = x_of[e], at_of[e] + o
                if x != f32(0.0):
                    s0 = fma(x, gradient[at], s0)
                    s1 = fma(x, gradient[at + width], s1) if has1 else s1
                    s2 = fma(x, gradient[at + i64(2) * width], s2) if has2 else s2
                    s3 = fma(x, gradient[at + i64(3) * width], s3) if has3 else s3
        cuda.syncthreads()
        first += width
    if has0:
        sums[group, weight] = s0
    if has1:
        sums[group, weight + width] = s1
    if has2:
        sums[group, weight + i64(2) * width] = s2
    if has3:
        sums[group, weight + i64(3) * width] = s3


@compile_cuda_kernel(THREADS)
def add_groups(sums, total):
    """total (n,) becomes the sum over all groups of sums (groups, n), the first group first."""
    i = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x)
    if i < total.size:
        x = sums[0, i]
        for group in range(1, sums.shape[0]):
            x = x + sums[group, i]
        total[i] = x


@compile_device_function
def _place(window, m):
    """Frame, row and column of place m of all sources' places of all frames."""
    frame, place = divide(m, window.in_rows * window.in_columns)
    y, x = divide(place, window.in_columns)
    return frame, y, x


@compile_device_function
def _target(window, gradient, frame, y, x, a, b, unit):
    """The gradient of the target that entry (a, b) of a kernel joins to a source's place; 0 where there is none."""
    below = i32(y + window.padding_rows - a * window.dilation_rows)
    beside = i32(x + window.padding_columns - b * window.dilation_columns)
    if below < 0 or beside < 0:
        return f32(0.0)
    i, rest_rows = divide(below, window.stride_rows)
    j, rest_columns = divide(beside, window.stride_columns)
    if (rest_rows | rest_columns) != 0 or i >= window.out_rows or j >= window.out_columns:
        return f32(0.0)
    place = (i64(frame) * window.out_rows + i64(i)) * window.out_columns + i64(j)
    return gradient[place * window.out_channels + unit]


@compile_cuda_kernel(THREADS)
def multiply_back(window, gradient, weight, n_frames, made):
    """made (frames, units) becomes the gradient of what enters a connection, from that of its targets.

    A product of matrices, tile by tile, a channel of the sources a column: a thread has four places of one. Terms are
    added in the order of the weights.

    Parameters
    ----------
    gradient : (frames * units of the targets,).
    weight : (groups, kernel row, kernel column, target channel of the group, source channel of the group).
    """
    for _ in range(2):  # see batch.advance_samples
        g = cuda.shared.array(GRADIENTS, np.float32)
        w = cuda.shared.array(WEIGHTS, np.float32)
        cuda.syncthreads()
    warp, lane = divide(cuda.threadIdx.x, WARP)
    warp, lane, group = i64(warp), i64(lane), i64(cuda.blockIdx.z)
    group_in = i64(divide(window.in_channels, window.groups)[0])
    group_out = i64(divide(window.out_channels, window.groups)[0])
    column = i64(cuda.blockIdx.y) * i64(WARP) + lane
    first, n_rows = i64(cuda.blockIdx.x) * i64(ROWS), n_frames * window.in_rows * window.in_columns
    depth = window.kernel_rows * window.kernel_columns * group_out
    m0, m1 = first + warp, first + warp + i64(WARPS)
    m2, m3 = m1 + i64(WARPS), m1 + i64(2 * WARPS)
    frame0, y0, x0 = _place(window, m0)
    frame1, y1, x1 = _place(window, m1)
    frame2, y2, x2 = _place(window, m2)
    frame3, y3, x3 = _place(window, m3)
    s0, s1, s2, s3 = f32(0.0), f32(0.0), f32(0.0), f32(0.0)
    at, k = warp * i64(WARP) + lane, i64(0)
    rows = i64(WARPS * WARP)  # entries of the tile from one of a thread's rows to the next
    while k < depth:
        tap, o = divide(k + lane, group_out)
        a, b = divide(tap, window.kernel_columns)
        unit, is_term = group * group_out + i64(o), k + lane < depth
        g[at] = _target(window, gradient, frame0, y0, x0, a, b, unit) if is_term and m0 < n_rows else f32(0.0)
        g[at + rows] = _target(window, gradient, frame1, y1, x1, a, b, unit) if is_term and m1 < n_rows else f32(0.0)
        g[at + i64(2) * rows] = (
            _target(window, gradient, frame2, y2, x2, a, b, unit) if is_term and m2 < n_rows else f32(0.0)
        )
        g[at + i64(3) * rows] = (
            _target(window, gradient, frame3, y3, x3, a, b, unit) if is_term and m3 < n_rows else f32(0.0)
        )
        q = warp
        while q < WARP:
            is_weight = k + q < depth and column < group_in
            w[q * i64(WARP) + lane] = weight[(group * depth + k + q) * group_in + column] if is_weight else f32(0.0)
            q += i64(WARPS)
        cuda.syncthreads()
        for q in range(i64(WARP)):
            x, own = w[i64(q) * i64(WARP) + lane], warp * i64(WARP) + i64(q)
            s0, s1 = fma(g[own], x, s0), fma(g[own + rows], x, s1)
            s2, s3 = fma(g[own + i64(2) * rows], x, s2), fma(g[own + i64(3) * rows], x, s3)
        cuda.syncthreads()
        k += i64(WARP)
    if column < group_in:
        to = group * group_in + column
        if m0 < n_rows:
            made[m0 * window.in_channels + to] = s0
        if m1 < n_rows:
            made[m1 * window.in_channels + to] = s1
        if m2 < n_rows:
            made[m2 * window.in_channels + to] = s2
        if m3 < n_rows:
            made[m3 * window.in_channels + to] = s3
