"""Frames on the GPU: a step of the input read into one, pooled, its spikes listed; all by one block of threads.

Casts are explicit throughout: NumPy, which runs in the simulator, and numba disagree on mixed integer types.
"""

from typing import NamedTuple

import numpy as np

from evsim import batch_model as bm
from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import compile_device_function, cuda
from evsim.encoding_kernels import encoder_words
from evsim.jit import register_jitable
from evsim.model import F4, I4, I8, U1, U4

f32, i32, i64, u8, u16, u32, u64 = (
    np.float32, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
)  # fmt: skip

LARGEST = np.finfo(np.float32).max
LISTED = 1024  # units whose spikes are listed at a time


@register_jitable
def divide(a, b):
    """(a // b, a % b) of numbers in [0, 2^31), in the 32 bits that a GPU divides fast."""
    a, b = u32(a), u32(b)
    return i32(a // b), i32(a % b)


class Frames(NamedTuple):
    """What nodes emit in the step that a block is at: frame 0 is of the input, 1 and 2 are of nodes in turn.

    Frame 3 holds the sums of an analog input, so that one that is repeated is summed once.
    """

    counts: bm.U2  # (blocks * entries,) spikes of each unit
    words: U4  # the same memory, two units a word
    values: F4  # (blocks * entries,) analog values
    start: I8  # (5,) a block's first entry of each frame, and its entries


class Spikes(NamedTuple):
    """Units of a frame that spiked, in any order, in the memory that the threads of a block share."""

    n: I4  # (1,)
    unit: I4  # (LISTED,) units; of an image, their channels
    times: I4  # (LISTED,) how often they spiked
    row: I4  # (LISTED,) where they lie in an image
    column: I4  # (LISTED,)


class Records(NamedTuple):
    """What a run writes: node k's are the records [begin[k], begin[k + 1])."""

    begin: I8  # (n_nodes + 1,)
    variable: I8  # (n,)
    start: I8  # (n,) first entry in out, or in counts, of (T, B, units)
    out: F4
    counts: U1  # spikes as bytes: of COUNTS


@register_jitable
def _entry(unit, n, channels):
    """Where a unit of a sample of n, channel after channel, lies in a frame, place after place."""
    channel, place = divide(unit, n // channels)
    return place * channels + channel


@compile_device_function
def read_input(given, frames, at, sample, step, row, channels, n):
    """Read the sample's frame of a step, which is `row` of a tensor, to entries from `at`; all threads come here.

    Returns what the frame holds, or -1 where a value is not finite.
    """
    kind, dense, start, index, threshold, seed, t_total, first_sample = given
    thread = i64(cuda.threadIdx.x)
    if kind == bm.DENSE or kind == bm.REPEATED:
        return _read_dense(dense, row, sample, frames, at, channels, n)
    if kind == bm.EVENTS:
        for i in range(thread, n, i64(THREADS)):
            frames.counts[at + i64(i)] = u16(0)
        cuda.syncthreads()
        first = i64(sample) * i64(t_total) + i64(step)
        for e in range(start[first] + thread, start[first + i64(1)], i64(THREADS)):
            to = at + _entry(index[e], n, channels)
            cuda.atomic.add(frames.words, to >> i64(1), u32(65536) if to & i64(1) else u32(1))
    else:
        for group in range(thread, (n + i64(3)) >> i64(2), i64(THREADS)):
            words = encoder_words(u64(group), u64(step), u64(first_sample) + u64(sample), seed[0], seed[1])
            for lane in range(4):
                unit = i64(group) * i64(4) + i64(lane)
                if unit < n:
                    frames.counts[at + _entry(unit, n, channels)] = (
                        u16(1) if words[lane] < threshold[sample, unit] else u16(0)
                    )
    cuda.syncthreads()
    return i64(bm.SPIKE_COUNTS)


@compile_device_function
def _read_dense(dense, row, sample, frames, at, channels, n):
    """One frame of a tensor, whose channels lie one after another: counts where all are whole, else values."""
    whole, finite = True, True
    for i in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
        x = f32(dense[row, sample, i])
        times = i32(x) if x >= f32(0.0) and x <= f32(bm.MOST_SPIKES) else i32(-1)
        whole = whole and f32(times) == x
        finite = finite and x >= f32(-LARGEST) and x <= f32(LARGEST)
        to = at + _entry(i, n, channels)
        frames.counts[to] = u16(times) if times > i32(0) else u16(0)
        frames.values[to] = x
    if not cuda.syncthreads_or(i32(0) if whole else i32(1)):
        return i64(bm.SPIKE_COUNTS)
    if cuda.syncthreads_or(i32(0) if finite else i32(1)):
        return i64(-1)
    return i64(bm.VALUES)


@compile_device_function
def pool(node, holds, frames, source, target, records, k, row):
    """The sum or the largest of each window; all threads come here."""
    channels, out_columns = node[bm.OUT_CHANNELS], node[bm.OUT_COLUMNS]
    in_rows, in_columns, maximum = node[bm.IN_ROWS], node[bm.IN_COLUMNS], node[bm.MAXIMUM] == 1
    for i in range(i64(cuda.threadIdx.x), node[bm.N_OUT], i64(THREADS)):
        place, channel = divide(i, channels)
        row_out, column_out = divide(place, out_columns)
        top = row_out * node[bm.STRIDE_ROWS] - node[bm.PADDING_ROWS]
        left = column_out * node[bm.STRIDE_COLUMNS] - node[bm.PADDING_COLUMNS]
        times, x, first = i32(0), f32(0.0), True
        for y in range(max(top, i64(0)), min(top + node[bm.KERNEL_ROWS], in_rows)):
            for z in range(max(left, i64(0)), min(left + node[bm.KERNEL_COLUMNS], in_columns)):
                at = source + (i64(y) * in_columns + i64(z)) * channels + channel
                if holds == bm.SPIKE_COUNTS:
                    one = i32(frames.counts[at])
                    times = max(times, one) if maximum else i32(times + one)
                else:
                    value = frames.values[at]
                    x = value if first or (maximum and value > x) else x if maximum else x + value
                first = False
        if holds == bm.SPIKE_COUNTS:
            frames.counts[target + i64(i)] = u16(times)
            x = f32(times)
        else:
            frames.values[target + i64(i)] = x
        put_out(records, k, row, node[bm.N_OUT], i64(i), x, x, x, x)
    cuda.syncthreads()


@compile_device_function
def list_spikes(node, count, at, first, stop, spikes):
    """List which of units [first, stop) spiked; all threads come here, and meet before and after."""
    in_image = node[bm.KIND] == bm.CONV
    if cuda.threadIdx.x == 0:
        spikes.n[0] = i32(0)
    cuda.syncthreads()
    for i in range(first + i64(cuda.threadIdx.x), stop, i64(THREADS)):
        times = i32(count[at + i64(i)])
        if times > i32(0):
            e = cuda.atomic.add(spikes.n, 0, i32(1))
            spikes.times[e] = times
            if in_image:
                place, channel = divide(i, node[bm.IN_CHANNELS])
                y, x = divide(place, node[bm.IN_COLUMNS])
                spikes.unit[e], spikes.row[e], spikes.column[e] = i32(channel), i32(y), i32(x)
            else:
                spikes.unit[e] = i32(i)
    cuda.syncthreads()


@compile_device_function
def put_out(records, k, row, n, i, emitted, v, v_pre_reset, current):
    """Write what is recorded of unit i of n of node k; `row` counts the frames of all samples and steps."""
    for r in range(records.begin[k], records.begin[k + i64(1)]):
        variable = records.variable[r]
        if variable == bm.COUNTS:
            records.counts[records.start[r] + row * n + i] = u8(emitted)
            continue
        x = emitted if variable == bm.SPIKES else v
        if variable == bm.V_PRE_RESET:
            x = v_pre_reset
        elif variable == bm.CURRENT:
            x = current
        records.out[records.start[r] + row * n + i] = x
