"""Frames backwards on the GPU: the input's frames of some steps, gradients through pools, sums and scales of gradients.

Arrays are (T, B, units), or (rows, units) with a row for each step and sample; units in the engine's order.
"""

from typing import NamedTuple

import numpy as np

from evsim import batch_model as bm
from evsim.cuda_kernels.batch_frames import divide, read_input
from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import compile_cuda_kernel, compile_device_function, cuda
from evsim.jit import product

f32, f64, i32, i64 = np.float32, np.float64, np.int32, np.int64


class Window(NamedTuple):
    """What a connection or a pool reaches; a linear layer is a convolution of one place with a kernel of one."""

    in_rows: int
    in_columns: int
    in_channels: int
    out_rows: int
    out_columns: int
    out_channels: int
    kernel_rows: int
    kernel_columns: int
    stride_rows: int
    stride_columns: int
    padding_rows: int
    padding_columns: int
    dilation_rows: int
    dilation_columns: int
    groups: int


@compile_cuda_kernel(THREADS)
def read_frames(given, frames, channels, first_step, n_samples, made):
    """made (rows, n) becomes the input's frames from first_step on; a block takes row after row.

    `given` and `frames` are those of `batch.advance_samples`, but a tensor has all steps.
    """
    n = i64(made.shape[1])
    at = i64(cuda.blockIdx.x) * frames.start[4]
    row = i64(cuda.blockIdx.x)
    while row < made.shape[0]:
        step, sample = divide(row, n_samples)
        step, sample = first_step + i64(step), i64(sample)
        tensor_row = i64(0) if given[0] == bm.REPEATED else step
        holds = read_input(given, frames, at, sample, step, tensor_row, channels, n)
        for i in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
            here = at + i64(i)
            made[row, i] = f32(frames.counts[here]) if holds == bm.SPIKE_COUNTS else frames.values[here]
        cuda.syncthreads()
        row += i64(cuda.gridDim.x)


@compile_device_function
def _is_taken(window, before, row, top, left, channel, a, b, largest):
    """Whether a unit of a window before (a, b) is its largest too: it then takes the gradient."""
    for earlier in range(a * i32(window.kernel_columns) + b):
        q, r = divide(earlier, window.kernel_columns)
        y, x = i32(top + q), i32(left + r)
        if y >= 0 and y < window.in_rows and x >= 0 and x < window.in_columns:
            unit = (i64(y) * window.in_columns + i64(x)) * window.in_channels + i64(channel)
            if f32(before[row, unit]) == largest:
                return True
    return False


@compile_cuda_kernel(THREADS)
def pool_back(window, maximum, before, after, given, made):
    """made (rows, units) becomes the gradient of what enters a pool; a block a row.

    All of a window gets it for a sum, its first largest unit for a maximum. `before` and `after` are the frames that
    enter and leave the pool.
    """
    row = i64(cuda.blockIdx.x)
    for i in range(i64(cuda.threadIdx.x), made.shape[1], i64(THREADS)):
        place, channel = divide(i, window.in_channels)
        y, x = divide(place, window.in_columns)
        total = f32(0.0)
        for tap in range(window.kernel_rows * window.kernel_columns):
            a, b = divide(tap, window.kernel_columns)
            below, beside = i32(y + window.padding_rows - a), i32(x + window.padding_columns - b)
            if below < 0 or beside < 0:
                continue
            p, rest_rows = divide(below, window.stride_rows)
            q, rest_columns = divide(beside, window.stride_columns)
            if (rest_rows | rest_columns) != 0 or p >= window.out_rows or q >= window.out_columns:
                continue
            out = (i64(p) * window.out_columns + i64(q)) * window.out_channels + i64(channel)
            if maximum:
                largest = f32(after[row, out])
                top, left = i32(y - a), i32(x - b)
                if f32(before[row, i]) != largest:
                    continue
                if _is_taken(window, before, row, top, left, channel, a, b, largest):
                    continue
            total = total + given[row, out]
        made[row, i] = total


@compile_cuda_kernel(THREADS)
def scale_and_add(x, scale, y):
    """x (rows, n) becomes scale * x, plus y where there is any; a block a row."""
    row = i64(cuda.blockIdx.x)
    for i in range(i64(cuda.threadIdx.x), x.shape[1], i64(THREADS)):
        scaled = product(x[row, i], scale)
        x[row, i] = scaled + y[row, i] if y.shape[0] > 0 else scaled


@compile_cuda_kernel(THREADS)
def add_rows(x, edges, first_step, is_new, sums):
    """sums (groups, n) += x (T, B, n) over the steps from first_step on, the last first, and a group's samples.

    Group g has samples [edges[g], edges[g + 1]); `is_new`: the sums begin with 0.
    """
    n_steps, n = i64(x.shape[0]), x.shape[2]
    i, group = i64(cuda.blockIdx.x) * i64(THREADS) + i64(cuda.threadIdx.x), i64(cuda.blockIdx.y)
    if i >= n:
        return
    total = f64(0.0) if is_new else sums[group, i]
    for back in range(n_steps - first_step):
        t = n_steps - i64(1) - i64(back)
        for sample in range(edges[group], edges[group + i64(1)]):
            total = total + f64(x[t, sample, i])
    sums[group, i] = total
