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
from evsim.lanes import LANES

f32 = np.float32
i32 = np.int32
i64 = np.int64
u16 = np.uint16
u64 = np.uint64


@register_jitable
def _kept(records, k, variable):
    """(values, where the variable of node k begins among them; -1: it is not recorded)."""
    table, record_start, out, _ = records
    start = i64(-1)
    for r in range(table.shape[0]):
        if table[r, 0] == k and table[r, 1] == variable:
            start = record_start[r]
    return out, start


@register_jitable(forceinline=True)
def _add_up(node, weight, t, first, n, lists, frames_in, sums, at, before, back):
    """total[at:] becomes what targets [first, first + n) of a node get in step t of the chunk.

    Values add to analog[at:], where those of the step before are at `before`; `back`: units that spiked in the step
    before and act on the node itself, see _advance_node.
    """
    total, analog = sums
    begin, most, index, back_index = lists
    n_back, back_count, has_back_bias = back
    holds_in, count_in, value_in, size_in = frames_in
    frame, holds, at_bias = u64(t) * size_in, holds_in[t], node[bm.BIAS]
    if at_bias >= 0:
        for i in range(n):
            total[at + i] = weight[u64(at_bias) + first + i]
    else:
        for i in range(n):
            total[at + i] = i32(0)
    how = ONCE if most[t] == u16(1) else COUNTED_TIMES
    if holds != SPIKE_COUNTS:
        how = ANALOG
    if holds == VALUES:
        for i in range(n):
            analog[at + i] = f32(0.0)
    if holds == SAME_VALUES:
        for i in range(n):
            analog[at + i] = analog[before + i]
    elif node[bm.KIND] == bm.IDENTITY:
        _pass_on(node[bm.WEIGHT], how, n, total, analog, at, count_in, value_in, frame + first)
    elif node[bm.KIND] == bm.LINEAR:
        add_linear(
            node, node[bm.WEIGHT], node[bm.N_IN], how, total, analog, at, first, weight, index, begin[t],
            begin[t + u64(1)], count_in, value_in, frame,
        )  # fmt: skip
    else:
        add_convolution(
            node, node[bm.WEIGHT], how, total, analog, at, weight, index, begin[t], begin[t + u64(1)],
            count_in, value_in, frame,
        )  # fmt: skip
    if node[bm.BACK] >= 0:
        add_linear(
            node, node[bm.BACK], node[bm.N_OUT], COUNTED_TIMES, total, analog, at, first, weight, back_index, u64(0),
            n_back, back_count, value_in, u64(0),
        )  # fmt: skip
        if has_back_bias:
            for i in range(n):
                total[at + i] += weight[u64(node[bm.BACK_BIAS]) + first + i]


@register_jitable
def _connect(
    model, state, k, sample, t0, n_steps, first_step, first, n, lists, records, frames_in, frames_out, scratch, back
):  # fmt: skip
    """Targets [first, first + n) of node k through n_steps from step t0 of the chunk; returns what stopped it.

    Some steps at a time: what they get is added up, then the neurons take them.
    """
    node, unit = model.node[k], model.node_unit[k]
    holds_in = frames_in[0]
    _, count_out, value_out, size_out = frames_out
    total, analog, is_analog, pre = scratch
    width = (u64(node[bm.N_OUT]) + u64(LANES - 1)) // u64(LANES) * u64(LANES)
    n_rows = u64(1) if node[bm.BACK] >= 0 else max(u64(bm.SUMS) // width, u64(1))
    kept = _kept(records, k, bm.V), _kept(records, k, bm.V_PRE_RESET), _kept(records, k, bm.CURRENT)
    for low in range(u64(t0), u64(t0 + n_steps), n_rows):
        high = min(low + n_rows, u64(t0 + n_steps))
        for t in range(low, high):
            r = t - low
            before = (r + n_rows - u64(1)) % n_rows * width + first
            _add_up(
                node, model.weight, t, first, n, lists, frames_in, (total, analog), r * width + first, before, back
            )  # fmt: skip
            is_analog[r] = holds_in[t] != SPIKE_COUNTS
        if node[bm.NEURONS] == 0:
            for t in range(low, high):
                at, out = (t - low) * width + first, t * size_out + first
                for i in range(n):
                    x = f32(total[at + i]) * unit
                    value_out[out + i] = x + analog[at + i] * unit if is_analog[t - low] else x
            continue
        fine = advance_neurons(
            model, state, k, sample, first, n, high - low, (total, analog, width, is_analog, pre),
            (count_out, value_out, low * size_out, size_out), (*kept, u64(first_step) + low), u64(records[3]),
        )  # fmt: skip
        if not fine:
            return TOO_MANY_SPIKES
    return DONE


@register_jitable
def _pass_on(weight, how, n, total, analog, at, count, value, frame):
    """Unit i to target i."""
    if how == ANALOG:
        for i in range(n):
            analog[at + i] = value[frame + i] * f32(weight)
    else:
        for i in range(n):
            total[at + i] += i32(weight) * i32(count[frame + i])


@register_jitable
def _advance_node(
    model, state, k, sample, n_steps, first_step, records, frames_in, frames_out, lists, scratch
):  # fmt: skip
    """All steps of a chunk of node k; returns what stopped it."""
    node = model.node[k]
    holds_out, count_out, _, size_out = frames_out
    back_index = lists[3]
    if node[bm.KIND] == bm.POOL:
        pool(node, n_steps, frames_in, frames_out)
        return DONE
    for t in range(n_steps):
        holds_out[t] = SPIKE_COUNTS if node[bm.NEURONS] == 1 and node[bm.SPIKING] == 1 else VALUES
    n_out = u64(node[bm.N_OUT])
    none = u64(0)
    tile = n_out if node[bm.KIND] == bm.CONV else u64(node[bm.TILE_SIZE])
    recurrent = node[bm.BACK] >= 0
    own = state.back[sample, node[bm.BACK_AT] : node[bm.BACK_AT] + i64(n_out)] if recurrent else state.back[sample, 0:0]
    at_once = 1 if recurrent else n_steps
    for t in range(0, n_steps, at_once):
        n_back = none
        for i in range(u64(own.size)):
            if own[i] > u16(0):
                back_index[n_back] = i
                n_back += u64(1)
        has_bias = node[bm.BACK_BIAS] >= 0 and state.step[0] + first_step + t > 0
        for first in range(none, n_out, tile):
            stopped = _connect(
                model, state, k, sample, t, at_once, first_step, first, min(tile, n_out - first), lists, records,
                frames_in, frames_out, scratch, (n_back, own, has_bias),
            )  # fmt: skip
            if stopped != DONE:
                return stopped
        for i in range(u64(own.size)):
            own[i] = count_out[u64(t) * size_out + i]
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
        lists = list_input(source_arrays, sample, first_step, n, source, lists, drawing)
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
    """Advance samples, each through all its steps, until none is left.

    Parameters
    ----------
    next_sample : (2,) the next sample and the one behind the last, which threads may share.
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
        if sample >= i64(next_sample[1]):
            break
        for chunk in range((n_steps + chunk_steps - 1) // chunk_steps):
            for part in range(model.node.shape[0] + 1):
                why = _do_part(model, state, given, records, n_steps, sample, team, own, part, chunk)
                if why != DONE:
                    _stop(stopped, why, part - 1, sample, chunk * chunk_steps)
                    return
