"""Frames on the CPU: the input becomes frames, pools make frames of frames, units are listed, frames are recorded.

The frames of a chunk of steps that a node gives are a tuple: what each of them holds (steps,), counts, values, and
how many entries lie from one frame to the next.
"""

import numpy as np

from evsim import batch_model as bm
from evsim.batch_model import (
    DENSE,
    DONE,
    DRAWN,
    EVENTS,
    NOT_FINITE,
    POISSON,
    REPEATED,
    SAME_VALUES,
    SPIKE_COUNTS,
    VALUES,
)
from evsim.encoding_kernels import draw_poisson_frame, list_lit
from evsim.jit import register_jitable
from evsim.lane_sums import pool_lanes
from evsim.lanes import LANES, MASK, mask_nonzero, trailing_zeros

f32 = np.float32
i32 = np.int32
i64 = np.int64
u8 = np.uint8
u16 = np.uint16
u64 = np.uint64


@register_jitable
def _read_dense(frame, channels, count, value, at):
    """One frame of a tensor (n,), whose channels lie one after another: counts where all are whole, else values.

    Returns what the frame holds, or -1 where a value is not finite.
    """
    n = u64(frame.size)
    places = n // channels
    whole = True
    for c in range(channels):
        for i in range(places):
            x = f32(frame[c * places + i])
            times = i32(x) if x >= f32(0.0) and x <= f32(bm.MOST_SPIKES) else i32(0)  # which x then is not
            whole = whole and f32(times) == x
            count[at + i * channels + c] = u16(times)
    if whole:
        return SPIKE_COUNTS
    finite = True
    for c in range(channels):
        for i in range(places):
            x = f32(frame[c * places + i])
            finite = finite and x - x == f32(0.0)
            value[at + i * channels + c] = x
    return VALUES if finite else -1


@register_jitable
def _read_events(index, first, stop, channels, places, count, at):
    """One frame of listed spikes."""
    for i in range(at, at + channels * places):
        count[i] = u16(0)
    if channels == u64(1):
        for e in range(first, stop):
            count[at + u64(index[e])] += u16(1)
        return
    for e in range(first, stop):
        unit = u64(index[e])
        count[at + (unit % places) * channels + unit // places] += u16(1)


@register_jitable
def read_input(given, sample, first_step, n_steps, channels, n, frames, scratch):
    """The frames of a sample's input for steps [first_step, first_step + n_steps); returns what stopped it."""
    holds, count, value, size = frames
    kind, dense, start, index, threshold, seed, stride, first_sample = given
    places = n // channels
    lit, spiking, listed = scratch
    n_lit = list_lit(threshold[sample], lit) if kind == POISSON or kind == DRAWN else u64(0)
    for t in range(u64(n_steps)):
        at, step = t * size, u64(first_step) + t
        holds[t] = SPIKE_COUNTS
        if kind == DRAWN:
            _draw_kept(
                start, index, u64(sample) * u64(stride) + step, lit, n_lit, step, first_sample + sample, seed, spiking
            )
        if kind == DENSE or (kind == REPEATED and t == u64(0)):
            read = _read_dense(dense[i64(step) if kind == DENSE else 0, sample], channels, count, value, at)
            if read < 0:
                return NOT_FINITE
            holds[t] = u8(read)
        elif kind == REPEATED:
            holds[t] = holds[0]
            if holds[0] == SPIKE_COUNTS:
                for i in range(n):
                    count[at + i] = count[i]
            else:
                holds[t] = SAME_VALUES
        elif kind == EVENTS or kind == DRAWN:
            row = u64(sample) * u64(stride) + step
            _read_events(index, u64(start[row]), u64(start[row + u64(1)]), channels, places, count, at)
        else:
            drawn = draw_poisson_frame(
                lit, n_lit, step, u64(first_sample + sample), seed[0], seed[1], spiking, listed, u64(0)
            )
            _read_events(listed, u64(0), drawn, channels, places, count, at)
    return DONE


@register_jitable
def make_room(node, frames, t):
    """Make values of a frame's counts where the node's sums have no room for so many. Returns the largest count."""
    holds, count, value, size = frames
    if holds[t] != SPIKE_COUNTS or node[bm.COUNTED] == 0:
        return u16(1)
    at = u64(t) * size
    stop = at + u64(node[bm.N_IN])
    most = u16(0)
    for i in range(at, stop):
        most = count[i] if count[i] > most else most
    if i64(most) > node[bm.MOST]:
        holds[t] = VALUES
        for i in range(at, stop):
            value[i] = f32(count[i])
    return most


@register_jitable
def pool(node, n_steps, source, target):
    """The sum or the largest of each window, of all frames."""
    holds_in, count_in, value_in, size_in = source
    holds_out, count_out, value_out, size_out = target
    channels, in_rows, in_columns = u64(node[bm.IN_CHANNELS]), node[bm.IN_ROWS], node[bm.IN_COLUMNS]
    out_rows, out_columns = node[bm.OUT_ROWS], node[bm.OUT_COLUMNS]
    kernel_rows, kernel_columns = node[bm.KERNEL_ROWS], node[bm.KERNEL_COLUMNS]
    stride_rows, stride_columns = node[bm.STRIDE_ROWS], node[bm.STRIDE_COLUMNS]
    padding_rows, padding_columns = node[bm.PADDING_ROWS], node[bm.PADDING_COLUMNS]
    maximum = node[bm.MAXIMUM] == 1
    for t in range(n_steps):
        frame_in, frame_out = u64(t) * size_in, u64(t) * size_out
        make_room(node, source, t)
        holds_out[t] = holds_in[t]
        for i in range(out_rows):
            for j in range(out_columns):
                at = frame_out + u64(i * out_columns + j) * channels
                first = True
                for a in range(kernel_rows):
                    y = i * stride_rows - padding_rows + a
                    if y < 0 or y >= in_rows:
                        continue
                    for b in range(kernel_columns):
                        x = j * stride_columns - padding_columns + b
                        if x < 0 or x >= in_columns:
                            continue
                        place = frame_in + u64(y * in_columns + x) * channels
                        if holds_in[t] == SPIKE_COUNTS:
                            _take(count_in, place, count_out, at, channels, maximum, first)
                        elif holds_in[t] == VALUES:
                            _take(value_in, place, value_out, at, channels, maximum, first)
                        first = False


@register_jitable(forceinline=True)
def _take(source, first, target, at, n, maximum, is_first):
    """Take in n channels of a place."""
    c = u64(0)
    while c + u64(LANES) <= n:
        pool_lanes(target, at + c, source, first + c, is_first, maximum, LANES)
        c += u64(LANES)
    while c + u64(4) <= n:
        pool_lanes(target, at + c, source, first + c, is_first, maximum, 4)
        c += u64(4)
    while c < n:
        pool_lanes(target, at + c, source, first + c, is_first, maximum, 1)
        c += u64(1)


@register_jitable
def list_frames(node, n_steps, frames, lists):
    """List the units of each frame that are not zero; with the largest count that each frame then holds."""
    begin, most, index, _ = lists
    stored = u64(0)
    begin[0] = stored
    for t in range(n_steps):
        stored = _list_units(frames, t, u64(node[bm.N_IN]), index, stored)
        most[t] = make_room(node, frames, t)
        begin[t + 1] = stored


@register_jitable
def _draw_kept(start, index, row, lit, n_lit, step, sample, seed, spiking):
    """Draw one frame of a DrawnInput behind the one before."""
    at = u64(start[row])
    n = draw_poisson_frame(lit, n_lit, step, u64(sample), seed[0], seed[1], spiking, index, at)
    start[row + u64(1)] = at + n


@register_jitable
def list_input(given, sample, first_step, n_steps, frames, lists, scratch):
    """The same for an input of spikes that are lists already, or that are drawn as lists: no frames are made.

    Lists that are there already stay where they are; returns the lists.
    """
    begin, most, index, back_index = lists
    kind, _, start, given_index, threshold, seed, stride, first_sample = given
    for t in range(n_steps):
        most[t] = u16(1)
        frames[0][t] = SPIKE_COUNTS
    lit, spiking, _ = scratch
    n_lit = list_lit(threshold[sample], lit) if kind == POISSON or kind == DRAWN else u64(0)
    if kind == EVENTS or kind == DRAWN:
        row = u64(sample) * u64(stride) + u64(first_step)
        for t in range(u64(n_steps)):
            if kind == DRAWN:
                _draw_kept(
                    start, given_index, row + t, lit, n_lit, u64(first_step) + t, first_sample + sample, seed, spiking
                )
        for t in range(u64(n_steps) + u64(1)):
            begin[t] = u64(start[row + t])
        return begin, most, given_index, back_index
    begin[0] = u64(0)
    for t in range(n_steps):
        begin[t + 1] = begin[t] + draw_poisson_frame(
            lit, n_lit, u64(first_step + t), u64(first_sample + sample), seed[0], seed[1], spiking, index, begin[t]
        )
    return lists


@register_jitable
def _list_units(frames, t, n, index, stored):
    """Append the units of a frame that are not zero to index; returns how many it then holds."""
    holds, count, value, size = frames
    at = u64(t) * size
    if holds[t] == SPIKE_COUNTS:
        for first in range(u64(0), n, u64(MASK)):
            mask = mask_nonzero(count, at + first)
            if n - first < u64(MASK):
                mask &= (u64(1) << (n - first)) - u64(1)
            while mask != u64(0):
                index[stored] = first + trailing_zeros(mask)
                stored += u64(1)
                mask &= mask - u64(1)
    elif holds[t] == VALUES:
        for i in range(n):
            index[stored] = i
            stored += u64(value[at + i] != f32(0.0))
    return stored


@register_jitable
def put_out(k, n, sample, n_steps, first_step, records, frames):
    """Write the frames of node k where they are recorded."""
    holds, count, value, size = frames
    table, record_start, out, n_samples = records
    for r in range(table.shape[0]):
        if table[r, 0] != k or (table[r, 1] != bm.SPIKES and table[r, 1] != bm.COUNTS):
            continue
        if table[r, 1] == bm.COUNTS:
            counts = out.view(np.uint8)
            for t in range(u64(n_steps)):
                at = u64(4) * u64(record_start[r]) + ((u64(first_step) + t) * u64(n_samples) + u64(sample)) * n
                for i in range(n):
                    counts[at + i] = u8(count[t * size + i])
            continue
        frame = u64(0)
        for t in range(u64(n_steps)):
            at = u64(record_start[r]) + ((u64(first_step) + t) * u64(n_samples) + u64(sample)) * n
            frame = frame if holds[t] == SAME_VALUES else t * size
            if holds[t] == SPIKE_COUNTS:
                for i in range(n):
                    out[at + i] = f32(count[frame + i])
            else:
                for i in range(n):
                    out[at + i] = value[frame + i]
