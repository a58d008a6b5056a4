"""The batch engine on the CPU: a thread takes a sample, and node by node all steps of a chunk.

Node by node, so that a tile of a layer's weights stays in the cache for all steps. Nothing is shared between samples
but the model, so threads need no locks, and a sample's result does not depend on the batch that it is in.
"""

import numpy as np

from evsim import batch_model as bm
from evsim.batch_delivery import ANALOG, COUNTED_TIMES, ONCE, add_convolution, add_linear
from evsim.batch_model import (
    DENSE,
    DONE,
    EVENTS,
    NOT_FINITE,
    REPEATED,
    SAME_VALUES,
    SPIKE_COUNTS,
    TOO_MANY_SPIKES,
    VALUES,
)
from evsim.batch_neurons import advance_neurons
from evsim.encoding_kernels import draw_poisson_frame
from evsim.jit import atomic_add, compile_kernel, register_jitable
from evsim.model import BLOCK

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
    for e in range(first, stop):
        unit = u64(index[e])
        count[at + (unit % places) * channels + unit // places] += u16(1)


@register_jitable
def _read_input(given, sample, first_step, n_steps, channels, n, frame_size, holds, count, value, scratch):
    """The frames of a sample's input for steps [first_step, first_step + n_steps); returns what stopped it."""
    kind, dense, start, index, threshold, seed, t_total, first_sample = given
    places = n // channels
    for t in range(u64(n_steps)):
        at, step = t * frame_size, u64(first_step) + t
        holds[t] = SPIKE_COUNTS
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
        elif kind == EVENTS:
            row = u64(sample) * u64(t_total) + step
            _read_events(index, u64(start[row]), u64(start[row + u64(1)]), channels, places, count, at)
        else:
            drawn = draw_poisson_frame(
                threshold[sample], step, u64(first_sample + sample), seed[0], seed[1], n, scratch
            )
            _read_events(scratch, u64(0), drawn, channels, places, count, at)
    return DONE


@register_jitable
def _make_room(node, holds, t, count, value, at):
    """Make values of a frame's counts where the node's sums have no room for so many."""
    if holds[t] != SPIKE_COUNTS or node[bm.COUNTED] == 0:
        return
    stop = at + u64(node[bm.N_IN])
    most = u16(0)
    for i in range(at, stop):
        most = count[i] if count[i] > most else most
    if i64(most) > node[bm.MOST]:
        holds[t] = VALUES
        for i in range(at, stop):
            value[i] = f32(count[i])


@register_jitable
def _pool(node, n_steps, frame_size, holds_in, count_in, value_in, holds_out, count_out, value_out):
    """The sum or the largest of each window, of all frames."""
    channels, in_rows, in_columns = u64(node[bm.IN_CHANNELS]), node[bm.IN_ROWS], node[bm.IN_COLUMNS]
    maximum = node[bm.MAXIMUM] == 1
    for t in range(n_steps):
        frame = u64(t) * frame_size
        _make_room(node, holds_in, t, count_in, value_in, frame)
        holds_out[t] = holds_in[t]
        for i in range(node[bm.OUT_ROWS]):
            for j in range(node[bm.OUT_COLUMNS]):
                at = frame + u64(i * node[bm.OUT_COLUMNS] + j) * channels
                first = True
                for a in range(node[bm.KERNEL_ROWS]):
                    y = i * node[bm.STRIDE_ROWS] - node[bm.PADDING_ROWS] + a
                    if y < 0 or y >= in_rows:
                        continue
                    for b in range(node[bm.KERNEL_COLUMNS]):
                        x = j * node[bm.STRIDE_COLUMNS] - node[bm.PADDING_COLUMNS] + b
                        if x < 0 or x >= in_columns:
                            continue
                        source = frame + u64(y * in_columns + x) * channels
                        if holds_in[t] == SPIKE_COUNTS:
                            _take(count_in, source, count_out, at, channels, maximum, first)
                        elif holds_in[t] == VALUES:
                            _take(value_in, source, value_out, at, channels, maximum, first)
                        first = False


@register_jitable
def _take(source, first, target, at, n, maximum, replace):
    """target[at:] becomes source[first:], or the larger of both, or their sum."""
    for c in range(n):
        x, y = source[first + c], target[at + c]
        if replace:
            target[at + c] = x
        elif maximum:
            target[at + c] = x if x > y else y
        else:
            target[at + c] = x + y


@register_jitable
def _list_units(holds, count, words, value, at, n, index, stored):
    """Append the units of a frame that are not zero to index; returns how many it then holds."""
    if holds == SPIKE_COUNTS:
        for word in range(u64(0), n, u64(4)):
            if words[(at + word) >> u64(2)] == u64(0):
                continue
            for i in range(word, min(word + u64(4), n)):  # written in any case, which is faster than a branch
                index[stored] = i
                stored += u64(count[at + i] > u16(0))
    elif holds == VALUES:
        for i in range(n):
            index[stored] = i
            stored += u64(value[at + i] != f32(0.0))
    return stored


@register_jitable
def _record(model, state, k, variable, sample, first, n, pre, out, at):
    """Write v, v before the reset or the current of neurons [first, first + n) to out[at:]."""
    node = model.node[k]
    if variable == bm.V:
        start = u64(node[bm.V_AT]) + first
        for i in range(n):
            out[at + i] = state.v[sample, start + i]
    elif variable == bm.V_PRE_RESET:
        for i in range(n):
            out[at + i] = pre[i]
    elif variable == bm.CURRENT:
        start = u64(node[bm.CURRENT_AT]) + first
        for i in range(n):
            out[at + i] = state.current[sample, start + i]


@register_jitable
def _connect(
    model, state, k, sample, t0, n_steps, first_step, frame_size, first, n, begin, index, records, frames_in,
    frames_out, scratch, back_first, back_stop, back_index,
):  # fmt: skip
    """Targets [first, first + n) of node k through n_steps from step t0 of the chunk; returns what stopped it."""
    node = model.node[k]
    holds_in, count_in, _, value_in = frames_in
    _, count_out, _, value_out = frames_out
    total, analog, pre = scratch
    table, record_start, out, n_samples = records
    unit = model.node_unit[k]
    for t in range(t0, t0 + n_steps):
        frame = u64(t) * frame_size
        holds = holds_in[t]
        at_bias = node[bm.BIAS]
        for i in range(first, first + n):
            total[i] = model.weight[u64(at_bias) + i] if at_bias >= 0 else i32(0)
        how = ONCE if holds == SPIKE_COUNTS and node[bm.COUNTED] == 0 else COUNTED_TIMES
        if holds != SPIKE_COUNTS:
            how = ANALOG
        if holds == VALUES:
            for i in range(first, first + n):
                analog[i] = f32(0.0)
        if holds == SAME_VALUES:
            pass  # analog still holds what they give
        elif node[bm.KIND] == bm.IDENTITY:
            _pass_on(node[bm.WEIGHT], how, first, n, total, analog, count_in, value_in, frame)
        elif node[bm.KIND] == bm.LINEAR:
            add_linear(
                node, node[bm.WEIGHT], node[bm.N_IN], how, total, analog, first, model.weight, index, begin[t],
                begin[t + 1], count_in, value_in, frame,
            )  # fmt: skip
        else:
            add_convolution(
                node, node[bm.WEIGHT], how, total, analog, model.weight, index, begin[t], begin[t + 1], count_in,
                value_in, frame,
            )  # fmt: skip
        if node[bm.BACK] >= 0:
            add_linear(
                node, node[bm.BACK], node[bm.N_OUT], COUNTED_TIMES, total, analog, first, model.weight, back_index,
                back_first, back_stop, state.back[sample], value_in, u64(node[bm.BACK_AT]),
            )  # fmt: skip
            if node[bm.BACK_BIAS] >= 0 and state.step[0] + first_step + t > 0:
                for i in range(first, first + n):
                    total[i] += model.weight[u64(node[bm.BACK_BIAS]) + i]
        is_analog = holds != SPIKE_COUNTS
        if node[bm.NEURONS] == 0:
            for i in range(first, first + n):
                x = f32(total[i]) * unit
                value_out[frame + i] = x + analog[i] * unit if is_analog else x
            continue
        for at in range(first, first + n, u64(BLOCK)):
            m = min(u64(BLOCK), first + n - at)
            fine = advance_neurons(
                model, state, k, sample, at, m, total, analog, is_analog, pre, count_out, value_out, frame + at
            )
            if not fine:
                return TOO_MANY_SPIKES
            for r in range(table.shape[0]):
                if table[r, 0] == k and table[r, 1] != bm.SPIKES:
                    row = (u64(first_step) + u64(t)) * u64(n_samples) + u64(sample)
                    target = u64(record_start[r]) + row * u64(node[bm.N_OUT]) + at
                    _record(model, state, k, table[r, 1], sample, at, m, pre, out, target)
    return DONE


@register_jitable
def _pass_on(weight, how, first, n, total, analog, count, value, frame):
    """Unit i to target i."""
    if how == ANALOG:
        for i in range(first, first + n):
            analog[i] = value[frame + i] * f32(weight)
    else:
        for i in range(first, first + n):
            total[i] += i32(weight) * i32(count[frame + i])


@register_jitable
def _advance_node(
    model, state, k, sample, n_steps, first_step, frame_size, records, frames_in, frames_out, lists, scratch
):  # fmt: skip
    """All steps of a chunk of node k; returns what stopped it."""
    node = model.node[k]
    holds_in, count_in, words_in, value_in = frames_in
    holds_out, count_out, words_out, value_out = frames_out
    begin, index, back_index = lists
    if node[bm.KIND] == bm.POOL:
        _pool(node, n_steps, frame_size, holds_in, count_in, value_in, holds_out, count_out, value_out)
        return DONE
    stored = u64(0)
    begin[0] = stored
    for t in range(n_steps):
        frame = u64(t) * frame_size
        stored = _list_units(holds_in[t], count_in, words_in, value_in, frame, u64(node[bm.N_IN]), index, stored)
        _make_room(node, holds_in, t, count_in, value_in, frame)
        begin[t + 1] = stored
        holds_out[t] = SPIKE_COUNTS if node[bm.NEURONS] == 1 and node[bm.SPIKING] == 1 else VALUES
    n_out = u64(node[bm.N_OUT])
    none = u64(0)
    if node[bm.BACK] >= 0:
        for t in range(n_steps):
            at = u64(node[bm.BACK_AT])
            listed = none
            for i in range(n_out):
                if state.back[sample, at + i] > u16(0):
                    back_index[listed] = i
                    listed += u64(1)
            tile = u64(node[bm.TILE_SIZE])
            for first in range(none, n_out, tile):
                stopped = _connect(
                    model, state, k, sample, t, 1, first_step, frame_size, first, min(tile, n_out - first), begin,
                    index, records, frames_in, frames_out, scratch, none, listed, back_index,
                )  # fmt: skip
                if stopped != DONE:
                    return stopped
            for i in range(n_out):
                state.back[sample, at + i] = count_out[u64(t) * frame_size + i]
        return DONE
    tile = n_out if node[bm.KIND] == bm.CONV else u64(node[bm.TILE_SIZE])
    for first in range(none, n_out, tile):
        stopped = _connect(
            model, state, k, sample, 0, n_steps, first_step, frame_size, first, min(tile, n_out - first), begin, index,
            records, frames_in, frames_out, scratch, none, none, back_index,
        )  # fmt: skip
        if stopped != DONE:
            return stopped
    return DONE


@register_jitable
def _put_out(k, n, sample, n_steps, first_step, frame_size, records, frames):
    """Write the frames of node k where they are recorded."""
    holds, count, _, value = frames
    table, record_start, out, n_samples = records
    for r in range(table.shape[0]):
        if table[r, 0] != k or (table[r, 1] != bm.SPIKES and table[r, 1] != bm.COUNTS):
            continue
        if table[r, 1] == bm.COUNTS:
            counts = out.view(np.uint8)
            for t in range(u64(n_steps)):
                at = u64(4) * u64(record_start[r]) + ((u64(first_step) + t) * u64(n_samples) + u64(sample)) * n
                for i in range(n):
                    counts[at + i] = u8(count[t * frame_size + i])
            continue
        frame = u64(0)
        for t in range(u64(n_steps)):
            at = u64(record_start[r]) + ((u64(first_step) + t) * u64(n_samples) + u64(sample)) * n
            frame = frame if holds[t] == SAME_VALUES else t * frame_size
            if holds[t] == SPIKE_COUNTS:
                for i in range(n):
                    out[at + i] = f32(count[frame + i])
            else:
                for i in range(n):
                    out[at + i] = value[frame + i]


@compile_kernel
def run_samples(model, state, given, channels, records, first_step, n_steps, chunk, next_sample, scratch, stopped):
    """Advance samples, each through all its steps, until none is left; `next_sample` is shared by all threads.

    Parameters
    ----------
    given : the input: its kind, tensor, event lists, thresholds, seed, steps and samples it is numbered from.
    channels : of a sample of the input.
    records : (what is recorded (n, 2): node and variable; where; the values; number of samples).
    chunk : steps that a node advances at a time.
    stopped : (4,) what stopped a run, and its node, sample and first step.
    """
    frames_a, frames_b, lists, work, frame_size = scratch
    n_in, n_samples = u64(model.node[0, bm.N_IN]), u64(records[3])
    while stopped[0] == DONE:
        sample = i64(atomic_add(next_sample, u64(0), u64(1)))
        if sample >= i64(n_samples):
            break
        done = first_step
        while done < n_steps:
            n = min(chunk, n_steps - done)
            why = _read_input(
                given, sample, done, n, u64(channels), n_in, frame_size, frames_a[0], frames_a[1], frames_a[3],
                lists[2],
            )  # fmt: skip
            if why != DONE:
                stopped[:] = why, -1, sample, done
                return
            for k in range(model.node.shape[0]):
                source, target = (frames_a, frames_b) if k % 2 == 0 else (frames_b, frames_a)
                why = _advance_node(
                    model, state, k, sample, n, done, frame_size, records, source, target, lists, work
                )  # fmt: skip
                if why != DONE:
                    stopped[:] = why, k, sample, done
                    return
                _put_out(k, u64(model.node[k, bm.N_OUT]), sample, n, done, frame_size, records, target)
            done += n
