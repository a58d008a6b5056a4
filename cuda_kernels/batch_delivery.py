"""What the spikes or values of one frame add to the inputs of a node on the GPU, in the layouts of `batch_model`.

Spikes are delivered by all threads of a block, to sums that the block shares: threads lie along the targets of a run of
weights, whose entries they read side by side; where a run is short, several groups of threads take units in turn.
Values are collected by the thread that owns the target, in ascending order of their units, as the CPU adds them.
"""

import numpy as np

from evsim import batch_model as bm
from evsim.cuda_kernels.batch_frames import divide
from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import compile_device_function, cuda
from evsim.jit import fma

f32, i32, i64, u64 = np.float32, np.int32, np.int64, np.uint64


@compile_device_function
def add_linear(node, start, n_in, weight, spikes, total, first, n):
    """Add to total (n,), of targets from `first`, what the listed spikes of n_in sources give them."""
    thread = i64(cuda.threadIdx.x)
    width = min(n, i64(THREADS))
    group, own_first = divide(thread, width)
    step, tile, listed = u64(divide(THREADS, width)[0]), u64(node[bm.TILE_SIZE]), u64(spikes.n[0])
    if u64(group) >= step:
        return
    j = own_first  # not range(), which divides by its step
    while j < n:
        k, offset = divide(first + j, tile)
        column = u64(start + k * n_in * node[bm.TILE_SIZE] + offset)
        own, e = i32(0), u64(group)
        while e + u64(3) * step < listed:  # four reads on their way at a time
            a = _times_weight(spikes, e, weight, column, tile)
            b = _times_weight(spikes, e + step, weight, column, tile)
            c = _times_weight(spikes, e + u64(2) * step, weight, column, tile)
            d = _times_weight(spikes, e + u64(3) * step, weight, column, tile)
            own = i32(own + i32(a + b) + i32(c + d))
            e += u64(4) * step
        while e < listed:
            own = i32(own + _times_weight(spikes, e, weight, column, tile))
            e += step
        cuda.atomic.add(total, j, own)
        j += width


@compile_device_function
def _times_weight(spikes, e, weight, column, tile):
    return i32(spikes.times[e] * weight[column + u64(spikes.unit[e]) * tile])


@compile_device_function
def add_convolution(node, weight, spikes, total, first, n):
    """Add to total (n,), of targets from `first`, what the listed spikes give them over a convolution."""
    out_rows, out_columns, out_channels = i32(node[bm.OUT_ROWS]), i32(node[bm.OUT_COLUMNS]), i32(node[bm.OUT_CHANNELS])
    stride_rows, stride_columns = i32(node[bm.STRIDE_ROWS]), i32(node[bm.STRIDE_COLUMNS])
    kernel_columns, groups = i32(node[bm.KERNEL_COLUMNS]), i32(node[bm.GROUPS])
    group_in, group_out = divide(node[bm.IN_CHANNELS], groups)[0], divide(out_channels, groups)[0]
    size = i32(node[bm.KERNEL_ROWS] * kernel_columns * group_out)  # weights of one source channel
    width = min(size, i32(THREADS))
    group, r = divide(cuda.threadIdx.x, width)
    step, listed = divide(THREADS, width)[0], spikes.n[0]
    while group < step and r < size:
        place, offset = divide(r, group_out)
        a, q = divide(place, kernel_columns)
        down = i32(node[bm.PADDING_ROWS] - a * node[bm.DILATION_ROWS])
        right = i32(node[bm.PADDING_COLUMNS] - (kernel_columns - i32(1) - q) * node[bm.DILATION_COLUMNS])
        offset = i32(offset - first)
        row = node[bm.WEIGHT] + i64(r)
        r = i32(r + width)
        e = i32(group - step)
        while i32(e + step) < listed:
            e = i32(e + step)
            below, beside = i32(spikes.row[u64(e)] + down), i32(spikes.column[u64(e)] + right)
            if below < i32(0) or beside < i32(0):
                continue
            i, rest_rows = divide(below, stride_rows)
            j, rest_columns = divide(beside, stride_columns)
            if (rest_rows | rest_columns) != 0 or i >= out_rows or j >= out_columns:
                continue
            channel = spikes.unit[u64(e)]
            target = i32((i * out_columns + j) * out_channels + offset)
            if groups > 1:
                target = i32(target + divide(channel, group_in)[0] * group_out)
            if target >= 0 and target < n:
                fixed = weight[u64(row + i64(channel) * i64(size))]
                cuda.atomic.add(total, target, i32(spikes.times[u64(e)] * fixed))


@compile_device_function
def _input_value(frames, holds, at):
    """What a unit gives: its value, or how often it spiked."""
    return f32(frames.count[at]) if holds == bm.SPIKE_COUNTS else frames.value[at]


@compile_device_function
def collect_values(node, weight, frames, holds, source, target, first, n):
    """Values of frame `target` become, for units [first, first + n), the weighted sums of those of frame `source`.

    They are in units of the fixed-point weights. Each thread has the units that are its own in the node's update.
    """
    for j in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
        i = first + i64(j)
        if node[bm.KIND] == bm.IDENTITY:
            x = _input_value(frames, holds, source + i) * f32(node[bm.WEIGHT])
        elif node[bm.KIND] == bm.LINEAR:
            x = _collect_linear(node, weight, frames, holds, source, i)
        else:
            x = _collect_convolution(node, weight, frames, holds, source, i)
        frames.value[target + i] = x


@compile_device_function
def _collect_linear(node, weight, frames, holds, source, i):
    tile = node[bm.TILE_SIZE]
    k, offset = divide(i, tile)
    at = u64(node[bm.WEIGHT] + k * node[bm.N_IN] * tile + offset)
    sum_of_values = f32(0.0)
    for j in range(node[bm.N_IN]):
        x = _input_value(frames, holds, source + i64(j))
        if x != f32(0.0):
            sum_of_values = fma(x, f32(weight[at]), sum_of_values)
        at += u64(tile)
    return sum_of_values


@compile_device_function
def _collect_convolution(node, weight, frames, holds, source, i):
    in_columns, in_channels, kernel_columns = node[bm.IN_COLUMNS], node[bm.IN_CHANNELS], node[bm.KERNEL_COLUMNS]
    groups = node[bm.GROUPS]
    group_in, group_out = divide(in_channels, groups)[0], divide(node[bm.OUT_CHANNELS], groups)[0]
    size = node[bm.KERNEL_ROWS] * kernel_columns * group_out
    place, channel = divide(i, node[bm.OUT_CHANNELS])
    group, offset = divide(channel, group_out)
    row_out, column_out = divide(place, node[bm.OUT_COLUMNS])
    top = row_out * node[bm.STRIDE_ROWS] - node[bm.PADDING_ROWS]
    left = column_out * node[bm.STRIDE_COLUMNS] - node[bm.PADDING_COLUMNS]
    sum_of_values = f32(0.0)
    for a in range(node[bm.KERNEL_ROWS]):
        y = top + i64(a) * node[bm.DILATION_ROWS]
        if y < 0 or y >= node[bm.IN_ROWS]:
            continue
        for b in range(kernel_columns):
            z = left + i64(b) * node[bm.DILATION_COLUMNS]
            if z < 0 or z >= in_columns:
                continue
            first = group * group_in
            at = source + (y * in_columns + z) * in_channels + first
            run = (i64(a) * kernel_columns + kernel_columns - i64(1) - i64(b)) * group_out
            row = node[bm.WEIGHT] + first * size + run + offset
            for c in range(group_in):
                x = _input_value(frames, holds, at + i64(c))
                if x != f32(0.0):
                    sum_of_values = fma(x, f32(weight[u64(row + i64(c) * size)]), sum_of_values)
    return sum_of_values
