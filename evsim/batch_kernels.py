"""The batch engine on the CPU: a thread takes a sample, and node by node all steps of a chunk.

Node by node, so that a tile of a layer's weights stays in the cache for all steps. Nothing is shared between samples
but the model, so threads need no locks, and a sample's result does not depend on the batch that it is in. Where there
are fewer samples than threads, a team of threads shares a sample: one is ahead with the first nodes in a later chunk.
"""

import numpy as np

from evsim import batch_model as bm
from evsim.batch_delivery import ANALOG, COUNTED_TIMES, ONCE, add_convolution, add_linear
from evsim.batch_frames import list_frames, list_input, pool, put_out, read_input
from evsim.batch_model import DONE, SAME_VALUES, SPIKE_COUNTS, TOO_MANY_SPIKES, VALUES
from evsim.batch_neurons import advance_neurons
from evsim.jit import atomic_add, atomic_load, compile_kernel, register_jitable, yield_core
from evsim.model import BLOCK

f32 = np.float32
i32 = np.int32
i64 = np.int64
u16 = np.uint16
u64 = np.uint64


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
    model, state, k, sample, t0, n_steps, first_step, first, n, begin, most, index, records, frames_in, frames_out,
    scratch, back_first, back_stop, back_index,
):  # fmt: skip
    """Targets [first, first + n) of node k through n_steps from step t0 of the chunk; returns what stopped it."""
    node = model.node[k]
    holds_in, count_in, value_in, size_in = frames_in
    _, count_out, value_out, size_out = frames_out
    total, analog, pre = scratch
    table, record_start, out, n_samples = records
    unit = model.node_unit[k]
    for t in range(t0, t0 + n_steps):
        frame_in, frame_out = u64(t) * size_in, u64(t) * size_out
        holds = holds_in[t]
        at_bias = node[bm.BIAS]
        for i in range(first, first + n):
            total[i] = model.weight[u64(at_bias) + i] if at_bias >= 0 else i32(0)
        how = ONCE if most[t] == u16(1) else COUNTED_TIMES
        if holds != SPIKE_COUNTS:
            how = ANALOG
        if holds == VALUES:
            for i in range(first, first + n):
                analog[i] = f32(0.0)
        if holds == SAME_VALUES:
            pass  # analog still holds what they give
        elif node[bm.KIND] == bm.IDENTITY:
            _pass_on(node[bm.WEIGHT], how, first, n, total, analog, count_in, value_in, frame_in)
        elif node[bm.KIND] == bm.LINEAR:
            add_linear(
                node, node[bm.WEIGHT], node[bm.N_IN], how, total, analog, first, model.weight, index, begin[t],
                begin[t + 1], count_in, value_in, frame_in,
            )  # fmt: skip
        else:
            add_convolution(
                node, node[bm.WEIGHT], how, total, analog, model.weight, index, begin[t], begin[t + 1], count_in,
                value_in, frame_in,
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
                value_out[frame_out + i] = x + analog[i] * unit if is_analog else x
            continue
        for at in range(first, first + n, u64(BLOCK)):
            m = min(u64(BLOCK), first + n - at)
            fine = advance_neurons(
                model, state, k, sample, at, m, total, analog, is_analog, pre, count_out, value_out, frame_out + at
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
    model, state, k, sample, n_steps, first_step, records, frames_in, frames_out, lists, scratch
):  # fmt: skip
    """All steps of a chunk of node k; returns what stopped it."""
    node = model.node[k]
    holds_out, count_out, _, size_out = frames_out
    begin, most, index, back_index = lists
    if node[bm.KIND] == bm.POOL:
        pool(node, n_steps, frames_in, frames_out)
        return DONE
    for t in range(n_steps):
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
                    model, state, k, sample, t, 1, first_step, first, min(tile, n_out - first), begin,
                    most, index, records, frames_in, frames_out, scratch, none, listed, back_index,
                )  # fmt: skip
                if stopped != DONE:
                    return stopped
            for i in range(n_out):
                state.back[sample, at + i] = count_out[u64(t) * size_out + i]
        return DONE
    tile = n_out if node[bm.KIND] == bm.CONV else u64(node[bm.TILE_SIZE])
    for first in range(none, n_out, tile):
        stopped = _connect(
            model, state, k, sample, 0, n_steps, first_step, first, min(tile, n_out - first), begin, most, index,
            records, frames_in, frames_out, scratch, none, none, back_index,
        )  # fmt: skip
        if stopped != DONE:
            return stopped
    return DONE


@register_jitable
def _frames(team, part, chunk):
    """The frames that a part of a team's work writes in a chunk."""
    holds, count, value, place, n_slots, n_steps = team[:6]
    slot = u64(chunk) % n_slots
    size = u64(place[part, 1])
    at, n = u64(place[part, 0]) + slot * n_steps * size, n_steps * size
    first = (u64(part) * n_slots + slot) * n_steps
    return holds[first : first + n_steps], count[at : at + n], value[at : at + n], size


@register_jitable
def _do_part(model, state, given, records, n_steps, sample, team, own, part, chunk):
    """One part of a sample's work, for one chunk: to read the input (part 0), or node part - 1. What stopped it."""
    lists, work, drawing = own
    first_step = chunk * i64(team[5])
    n = min(i64(team[5]), n_steps - first_step)
    target = _frames(team, part, chunk)
    source_arrays, is_listed, channels = given
    if part == 0:
        if is_listed:
            return DONE
        n_in = u64(model.node[0, bm.N_IN])
        return read_input(source_arrays, sample, first_step, n, u64(channels), n_in, target, drawing)
    k = part - 1
    source = _frames(team, k, chunk)
    if k == 0 and is_listed:
        list_input(source_arrays, sample, first_step, n, source, lists, drawing)
    elif model.node[k, bm.KIND] != bm.POOL:
        list_frames(model.node[k], n, source, lists)
    why = _advance_node(model, state, k, sample, n, first_step, records, source, target, lists, work)
    if why == DONE:
        put_out(k, u64(model.node[k, bm.N_OUT]), sample, n, first_step, records, target)
    return why


@register_jitable
def _share_sample(model, state, given, records, n_steps, sample, team, own, stopped):
    """Take part after part of a sample's work, the latest that is ready, until none is left.

    `finished` counts the chunks that a part is through with; a part is ready where the part before is ahead of it, and
    where the part behind has read the frames that it would overwrite.
    """
    n_slots, chunk_steps, finished, taken = i64(team[4]), i64(team[5]), team[6], team[7]
    last = model.node.shape[0]
    n_chunks = (n_steps + chunk_steps - 1) // chunk_steps
    while atomic_load(finished, u64(last)) < n_chunks and atomic_load(stopped, u64(0)) == DONE:
        worked = False
        part = last
        while part >= 0 and not worked:
            chunk = atomic_load(finished, u64(part))
            ready = chunk < n_chunks
            ready = ready and (part == 0 or atomic_load(finished, u64(part - 1)) > chunk)
            ready = ready and (part == last or chunk - atomic_load(finished, u64(part + 1)) < n_slots)
            if ready:
                mine = atomic_add(taken, u64(part), i64(1)) == 0
                if mine and atomic_load(finished, u64(part)) == chunk:
                    why = _do_part(
                        model, state, given, records, n_steps, sample, team, own, part, chunk
                    )  # fmt: skip
                    if why != DONE:
                        _stop(stopped, why, part - 1, sample, chunk * chunk_steps)
                    atomic_add(finished, u64(part), i64(1))
                    worked = True
                atomic_add(taken, u64(part), i64(-1))
            part -= 1
        if not worked:
            yield_core()


@register_jitable
def _stop(stopped, why, k, sample, step):
    """Stop all threads; the first to find a reason gives it."""
    if atomic_add(stopped, u64(4), i64(1)) == 0:
        stopped[1:4] = k, sample, step
        atomic_add(stopped, u64(0), i64(why))


@compile_kernel
def run_samples(model, state, given, records, n_steps, next_sample, team, own, stopped):
    """Advance samples, each through all its steps, until none is left; `next_sample` is shared by all threads.

    Parameters
    ----------
    given : the input, see batch_call.input_arrays; whether its spikes are lists already; channels of a sample.
    records : (what is recorded (n, 2): node and variable; where; the values; number of samples).
    team : what the threads that share a sample share: frames of all parts (what they hold, counts, values), where a
        part's begin and how many entries a frame has, chunks that they have room for, steps of a chunk, and progress,
        see _share_sample; the sample (-1: a thread is alone, and takes sample after sample).
    own : the thread's lists of units, inputs of one frame, and scratch of the encoder.
    stopped : (5,) what stopped a run, its node, sample and first step, and how many threads found a reason.
    """
    if team[8] >= 0:
        _share_sample(model, state, given, records, n_steps, team[8], team, own, stopped)
        return
    chunk_steps = i64(team[5])
    while atomic_load(stopped, u64(0)) == DONE:
        sample = i64(atomic_add(next_sample, u64(0), u64(1)))
        if sample >= i64(records[3]):
            break
        for chunk in range((n_steps + chunk_steps - 1) // chunk_steps):
            for part in range(model.node.shape[0] + 1):
                why = _do_part(model, state, given, records, n_steps, sample, team, own, part, chunk)
                if why != DONE:
                    _stop(stopped, why, part - 1, sample, chunk * chunk_steps)
                    return
