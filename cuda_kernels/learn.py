"""The GPU engine of a network that learns: plastic synapses, thresholds that adapt, populations with one winner.

Again one persistent kernel, but with windows of a step, whose phases are:

    spikes arrive over plastic synapses, which changes their weights
    --- the grid meets
    neurons are updated; spikes are appended to the list and noted for both sides of plastic synapses
    --- the grid meets; where one neuron of a population wins, it now spikes, and the grid meets again
    columns whose history is full are settled; if there are any, the grid meets
    the spikes of the step are delivered over the other synapses

What is delivered last and what then arrives in the next step both only add to the ring: nobody waits in between.
Where some delays are 0, neurons are updated in stages, each followed by its deliveries over delays of 0.
"""

from typing import NamedTuple

import numpy as np

from evsim.cuda_kernels.columns import settle_column
from evsim.cuda_kernels.phases import (
    CHUNK,
    THREADS,
    WARP,
    append,
    append_spikes,
    coefficient,
    deliver,
    locate,
    padded_size,
    potential,
    record_frames,
    spikes_of,
    train_spikes,
)
from evsim.cuda_kernels.target import compile_cuda_kernel, compile_device_function, cuda, grid_sync
from evsim.dynamics import adapted, decay_theta, reset
from evsim.learning import NEAREST, NEVER
from evsim.model import I8, N_STAGES, REFRACTORY_STEPS, RING_MASK, TARGET_BITS, U8, V_RESET, V_THRESHOLD
from evsim.plastic_dynamics import (
    depression_by,
    find_delay,
    last_arrival,
    note_post,
    note_pre,
    place_in_log,
    place_of_step,
    update_after,
    update_before,
)

f32, i32, i64, u32, u64 = np.float32, np.int32, np.int64, np.uint32, np.uint64


class Notes(NamedTuple):
    """What the phases of a step leave for each other."""

    n_chunks: I8  # (n_plastic,) of a projection's longest row
    winner: U8  # (n_pop,) the neuron furthest above threshold, as `_rank` has it; 0: none
    full: I8  # (n_targets,) targets whose columns must be settled
    n_full: I8  # (1,)


@compile_device_function
def _arrive(model, state, rules, traces, notes, thread, n_all, step):
    """Deliver the spikes that arrive over plastic synapses in `step`, a chunk of a row a warp at a time.

    Changes the weights of the synapses; returns how many they are.
    """
    lane, warp, n_warps = thread % i64(WARP), thread // i64(WARP), n_all // i64(WARP)
    target_bits, ring_mask = u64(model.scalars[TARGET_BITS]), u64(model.scalars[RING_MASK])
    target_mask = (u64(1) << target_bits) - u64(1)
    slot = (u64(step) << target_bits) & ring_mask
    learning = state.learning[0] == 1
    events, n_before = i64(0), i64(0)
    for k in range(rules.projection.size):
        q, n_chunks = rules.projection[k], notes.n_chunks[k]
        shift = model.projection_weight[q]  # can be negative
        first_target, targets = u64(rules.first_input[k]), u64(rules.target_start[k])
        one_delay = rules.delay_start[k + 1] - rules.delay_start[k] == 1
        per_unit = f32(1.0) / model.input_unit[rules.population[k], rules.receptor[k]]
        for d in range(rules.delay_start[k], rules.delay_start[k + 1]):
            delay = rules.delay[d]
            emitted = step - delay
            if emitted < 0:
                continue
            first = traces.log_first[place_of_step(rules, k, emitted)]
            last = traces.log_count[k] if delay == 1 else traces.log_first[place_of_step(rules, k, emitted + i64(1))]
            n_tasks = (last - first) * n_chunks
            own = (warp + n_warps - n_before % n_warps) % n_warps
            n_before += n_tasks
            for task in range(own, n_tasks, n_warps):
                source = i64(traces.log_source[place_in_log(rules, k, first + i64(task) // n_chunks)])
                skipped = u64(i64(task) % n_chunks * i64(CHUNK))
                row = model.projection_row[q] + source
                start, stop = u64(model.row_start[row]), u64(model.row_start[row + i64(1)])
                if start + skipped >= stop:
                    continue
                if not one_delay:
                    start = find_delay(model.synapse, start, stop, delay, target_bits)
                    stop = find_delay(model.synapse, start, stop, delay + i64(1), target_bits)
                start = start + skipped
                stop = min(stop, start + u64(CHUNK))
                arrived, x_pre = last_arrival(rules, traces, k, rules.source_start[k] + source, delay, step)
                for s in range(start + u64(lane), stop, u64(WARP)):
                    place = u64(model.synapse[s]) & target_mask
                    target, at = i64(targets + (place - first_target)), u64(i64(s) + shift)
                    learns = learning and traces.post_last[target] > NEVER
                    if learns:
                        update_before(rules, traces, k, target, at, arrived, x_pre)
                    fixed = i64(round(traces.weight[at] * per_unit))
                    cuda.atomic.add(state.ring, slot + place, state.ring.dtype.type(fixed))
                    if learns:
                        update_after(rules, traces, k, at, depression_by(rules, traces, k, target, step))
                    events += i64(1)
    return events


@compile_device_function
def _rank(excess, i):
    """Higher for the neuron i that is further above threshold, then for the smaller i; never 0."""
    bits = u64(f32(excess).view(np.uint32)) & u64(0x7FFFFFFF)  # ascend with a number that is not negative
    return (bits << u64(32)) | (u64(0xFFFFFFFF) - u64(i))


@compile_device_function
def _update(model, state, tasks, rules, traces, notes, neuron, stage, step, chunk_start, n_fired, list_start):
    """Advance one neuron place of a stage through a step; all threads of the block come here together."""
    p, i, active = locate(model, state, tasks, neuron, stage)
    n = i32(0)
    if active:
        padded, first_input = padded_size(model, p), model.population_input[p]
        learning, theta_plus = state.learning[0] == 1, model.population_theta[p, 0]
        v, refractory = state.neuron_v[neuron], state.neuron_refractory[neuron]
        v_pre = potential(model, state, p, i, step, v, refractory, first_input, padded)
        threshold = coefficient(model, p, i64(V_THRESHOLD), i)
        if theta_plus != 0.0:
            theta = state.neuron_theta[neuron]
            if learning:
                theta = decay_theta(theta, model.population_theta[p, 1])
                state.neuron_theta[neuron] = theta
            threshold = adapted(threshold, theta)
        n = spikes_of(model, state, p, v_pre, threshold, refractory, step)
        refractory = i32(max(i64(refractory) - i64(1), i64(0)))
        v = v_pre
        if n > 0:
            amount = coefficient(model, p, i64(V_RESET), i)
            if model.population_theta[p, 2] != 0.0:  # v is lowered by the threshold as it now is
                amount = threshold
            v = reset(v, amount, model.population_soft_reset[p] == 1, n)
            refractory = i32(coefficient(model, p, i64(REFRACTORY_STEPS), i))
        record_frames(model, state, p, i, step, chunk_start, v, v_pre, first_input, padded)
        state.neuron_v[neuron], state.neuron_refractory[neuron] = v, refractory
        if n > 0 and model.population_one_winner[p] == 1:
            cuda.atomic.max(notes.winner, p, _rank(v_pre - threshold, i))
            n = i32(0)
    append(state, neuron, step, n > 0, n_fired, list_start)
    if n > 1:
        append_spikes(state, neuron, step, n - i32(1))
    if n > 0:
        _note(model, state, rules, traces, notes, p, neuron, step)


@compile_device_function
def _note(model, state, rules, traces, notes, p, neuron, step):
    """What follows from a spike: a higher threshold, and memories for both sides of plastic synapses."""
    if state.learning[0] == 1 and model.population_theta[p, 0] != 0.0:
        state.neuron_theta[neuron] += model.population_theta[p, 0]
    for k in range(rules.projection.size):
        target = neuron - rules.first_neuron[k]
        first, stop = rules.target_start[k], rules.target_start[k + 1]
        if target >= 0 and target < stop - first and note_post(rules, traces, k, first + target, step):
            notes.full[cuda.atomic.add(notes.n_full, 0, i64(1))] = first + target
        if rules.source_neuron[k, 0] <= neuron and neuron < rules.source_neuron[k, 1]:
            source = neuron - rules.source_neuron[k, 0]
            number = i64(cuda.atomic.add(traces.log_count, k, i64(1)))
            traces.log_source[place_in_log(rules, k, number)] = u32(source)
            bits = rules.pre_bits[k]
            note_pre(
                traces.pre_count, traces.pre_step, traces.pre_value, u64(rules.source_start[k] + source),
                rules.pre_start[k] + (source << bits), bits, rules.pre_decay, rules.pre_decay_start[k],
                rules.pre_decay_start[k + 1], rules.option[k, NEAREST] == 1, step,
            )  # fmt: skip


@compile_device_function
def _emit_trains(model, state, rules, traces, notes, thread, n_all, step):
    """Append and note the explicit spikes of the step."""
    for p in range(model.population_size.size):
        first, stop = train_spikes(model, p, step, i64(1))
        for s in range(first + thread, stop, n_all):
            neuron = i64(model.train_neuron[s])
            append_spikes(state, neuron, step, i32(1))
            _note(model, state, rules, traces, notes, i64(p), neuron, step)


@compile_device_function
def _emit_winners(model, state, rules, traces, notes, thread, n_all, step):
    """Append and note the spikes of the neurons that won."""
    for p in range(thread, i64(model.population_size.size), n_all):
        rank = notes.winner[p]
        if rank != u64(0):
            notes.winner[p] = u64(0)
            neuron = model.population_start[p] + i64(u64(0xFFFFFFFF) - (rank & u64(0xFFFFFFFF)))
            append_spikes(state, neuron, step, i32(1))
            _note(model, state, rules, traces, notes, i64(p), neuron, step)


@compile_device_function
def _settle(model, state, rules, traces, notes, thread, n_all, step):
    """Note where the spikes of the step end, and settle the columns whose history is full."""
    for k in range(thread, i64(rules.projection.size), n_all):
        traces.log_first[place_of_step(rules, i64(k), step + i64(1))] = traces.log_count[k]
    n_full = notes.n_full[0]
    if n_full > 0:
        for j in range(i64(cuda.blockIdx.x), n_full, i64(cuda.gridDim.x)):
            settle_column(model, rules, traces, state.learning[0] == 1, notes.full[j], step + i64(1))
        grid_sync()
        if thread == 0:
            notes.n_full[0] = 0


@compile_cuda_kernel((THREADS, 1))
def advance_learning(model, state, tasks, rules, traces, notes, chunk_start, n_steps):
    """Advance by up to n_steps from step chunk_start; a cooperative launch of one-dimensional blocks.

    Leaves in state.record_count[0] what `advance` does, and then the events at plastic synapses.
    """
    for _ in range(2):  # as in `advance`
        n_fired = cuda.shared.array(1, np.int32)
        list_start = cuda.shared.array(1, np.int64)
        cuda.syncthreads()
    thread, n_all = i64(cuda.grid(1)), i64(cuda.gridsize(1))
    n_neurons, capacity = i64(state.neuron_v.size), i64(state.record_step.shape[1])
    with_winners = False
    for p in range(model.population_size.size):
        with_winners = with_winners or model.population_one_winner[p] == 1
    n_stages, most_spikes = model.scalars[N_STAGES], state.spike_offset[1]
    begin, end, done, events = i64(0), i64(0), i64(0), i64(0)
    while done < n_steps and end + most_spikes <= capacity:
        step = chunk_start + done
        events += _arrive(model, state, rules, traces, notes, thread, n_all, step)
        grid_sync()
        for stage in range(n_stages):
            for first in range(i64(0), n_neurons, n_all):
                neuron = i64(first) + thread
                _update(
                    model, state, tasks, rules, traces, notes, neuron, stage, step, chunk_start, n_fired, list_start
                )  # fmt: skip
            if stage == 0:
                _emit_trains(model, state, rules, traces, notes, thread, n_all, step)
            grid_sync()
            if with_winners:
                _emit_winners(model, state, rules, traces, notes, thread, n_all, step)
                grid_sync()
            same_step = stage < n_stages - i64(1)
            own, end = end, state.record_count[0, 0]
            if not same_step:
                _settle(model, state, rules, traces, notes, thread, n_all, step)
            deliver(model, state, tasks, thread, n_all, own if same_step else begin, end, same_step)
            if same_step:
                grid_sync()
        begin = end
        done += i64(1)
    cuda.atomic.add(state.record_count, (0, 2), events)
    if thread == 0:
        state.record_count[0, 1] = done
