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
    stride = node[bm.KERNEL_ROWS] * node[bm.RUN]  # from one source channel's to the next's
    width = min(size, i32(THREADS))
    group, r = divide(cuda.threadIdx.x, width)
    step, listed = divide(THREADS, width)[0], spikes.n[0]
    while group < step and r < size:
        place, offset = divide(r, group_out)
        a, q = divide(place, kernel_columns)
        down = i32(node[bm.PADDING_ROWS] - a * node[bm.DILATION_ROWS])
        right = i32(node[bm.PADDING_COLUMNS] - (kernel_columns - i32(1) - q) * node[bm.DILATION_COLUMNS])
        row = node[bm.WEIGHT] + i64(a) * node[bm.RUN] + i64(q * group_out + offset)
        offset = i32(offset - first)
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
                fixed = weight[u64(row + i64(channel) * stride)]
                cuda.atomic.add(total, target, i32(spikes.times[u64(e)] * fixed))


@compile_device_function
def collect_values(node, weight, frames, source, sums, first, n):
    """Values from entry `sums` on become, for targets [first, first + n), the weighted sums of those from `source` on.

    They are in units of the fixed-point weights. A value of 0 adds nothing, to the bit, so none is left out. Each
    thread has the targets that are its own in the node's update.
    """
    for j in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
        i = first + i64(j)
        if node[bm.KIND] == bm.IDENTITY:
            x = frames.values[source + i] * f32(node[bm.WEIGHT])
        elif node[bm.KIND] == bm.LINEAR:
            k, offset = divide(i, node[bm.TILE_SIZE])
            row = node[bm.WEIGHT] + k * node[bm.N_IN] * node[bm.TILE_SIZE] + offset
            x = _add_run(frames, source, node[bm.N_IN], weight, row, node[bm.TILE_SIZE], f32(0.0))
        else:
            x = _collect_convolution(node, weight, frames, source, i)
        frames.values[sums + i] = x


@compile_device_function
def _add_run(frames, at, n, weight, row, step, x):
    """x plus the values of n units from entry `at`, times the weights from `row`, `step` apart."""
    unit, entry = u64(at), u64(row)
    for _ in range(n):
        x = fma(frames.values[unit], f32(weight[entry]), x)
        unit += u64(1)
        entry += u64(step)
    return x


@compile_device_function
def _collect_convolution(node, weight, frames, source, i):
    """The sum of target i."""
    kernel_columns, groups = i32(node[bm.KERNEL_COLUMNS]), node[bm.GROUPS]
    group_in, group_out = divide(node[bm.IN_CHANNELS], groups)[0], divide(node[bm.OUT_CHANNELS], groups)[0]
    stride = node[bm.KERNEL_ROWS] * node[bm.RUN]
    place, channel = divide(i, node[bm.OUT_CHANNELS])
    group, offset = divide(channel, group_out)
    row_out, column_out = divide(place, node[bm.OUT_COLUMNS])
    top = i32(row_out * node[bm.STRIDE_ROWS] - node[bm.PADDING_ROWS])
    left = i32(column_out * node[bm.STRIDE_COLUMNS] - node[bm.PADDING_COLUMNS])
    first = i32(group * group_in)
    start = node[bm.WEIGHT] + i64(first) * stride + i64(offset)
    x = f32(0.0)
    for place in range(node[bm.KERNEL_ROWS] * node[bm.KERNEL_COLUMNS]):
        a, b = divide(place, kernel_columns)
        y, z = i32(top + a * node[bm.DILATION_ROWS]), i32(left + b * node[bm.DILATION_COLUMNS])
        if y >= 0 and y < node[bm.IN_ROWS] and z >= 0 and z < node[bm.IN_COLUMNS]:
            at = source + (i64(y) * node[bm.IN_COLUMNS] + i64(z)) * node[bm.IN_CHANNELS] + i64(first)
            run = i64(a) * node[bm.RUN] + i64((kernel_columns - i32(1) - b) * group_out)
            x = _add_run(frames, at, i64(group_in), weight, start + run, stride, x)
    return x
