"""The GPU engine: one persistent kernel advances many windows a launch.

In each window every thread updates its neurons and appends the spikes to one list; the grid meets; warps deliver the
list's new spikes to the ring; the grid meets again. The list is the recording too: the host drains it between launches,
and a launch ends while it could still hold every neuron's spikes in every step of one more window.

Where some delays are 0 a window is one step, and this is done for each of its stages: over delays of 0 after all but
the last, over all others after the last.
"""

import numpy as np

from evsim.cuda_kernels.phases import (
    THREADS,
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
from evsim.dynamics import reset
from evsim.model import N_STAGES, REFRACTORY_STEPS, V_RESET, V_THRESHOLD, WINDOW

f32, i32, i64 = np.float32, np.int32, np.int64


@compile_device_function
def _update(model, state, tasks, neuron, stage, first_step, n_steps, chunk_start, n_fired, list_start):
    """Advance one neuron place of a stage through a window; all threads of the block come here together.

    `n_fired` and `list_start` are the block's shared counter and place in the spike list.
    """
    p, i, active = locate(model, state, tasks, neuron, stage)
    v, refractory = f32(0.0), i32(0)
    if active:
        v, refractory = state.neuron_v[neuron], state.neuron_refractory[neuron]
    padded, first_input = padded_size(model, p), model.population_input[p]
    for w in range(n_steps):
        step = first_step + i64(w)
        n = i32(0)
        if active:
            v_pre = potential(model, state, p, i, step, v, refractory, first_input, padded)
            n = spikes_of(model, state, p, v_pre, coefficient(model, p, i64(V_THRESHOLD), i), refractory, step)
            refractory = i32(max(i64(refractory) - i64(1), i64(0)))
            v = v_pre
            if n > 0:
                v = reset(v, coefficient(model, p, i64(V_RESET), i), model.population_soft_reset[p] == 1, n)
                refractory = i32(coefficient(model, p, i64(REFRACTORY_STEPS), i))
            record_frames(model, state, p, i, step, chunk_start, v, v_pre, first_input, padded)
        append(state, neuron, step, n > 0, n_fired, list_start)
        if n > 1:
            append_spikes(state, neuron, step, n - i32(1))
    if active:
        state.neuron_v[neuron], state.neuron_refractory[neuron] = v, refractory


@compile_device_function
def _emit_trains(model, state, thread, n_all, first_step, n_steps):
    """Append the explicit spikes of the window."""
    for p in range(model.population_size.size):
        first, stop = train_spikes(model, p, first_step, n_steps)
        for s in range(first + thread, stop, n_all):
            append_spikes(state, model.train_neuron[s], model.train_step[s], i32(1))


@compile_cuda_kernel((THREADS, 2))
def advance(model, state, tasks, chunk_start, n_steps):
    """Advance by up to n_steps from step chunk_start; a cooperative launch of one-dimensional blocks.

    Leaves in state.record_count[0] the spikes appended to the list and the steps done: fewer than n_steps where the
    list might not hold one more window.
    """
    for _ in range(2):  # the simulator's threads race to make an array: what the second pass finds is the same for all
        n_fired = cuda.shared.array(1, np.int32)
        list_start = cuda.shared.array(1, np.int64)
        cuda.syncthreads()
    thread, n_all = i64(cuda.grid(1)), i64(cuda.gridsize(1))
    n_neurons, capacity = i64(state.neuron_v.size), i64(state.record_step.shape[1])
    window, n_stages, most_spikes = model.scalars[WINDOW], model.scalars[N_STAGES], state.spike_offset[1]
    begin, end, done = i64(0), i64(0), i64(0)
    while done < n_steps and end + window * most_spikes <= capacity:
        first_step = chunk_start + done
        n = min(window, n_steps - done)
        for stage in range(n_stages):
            for first in range(i64(0), n_neurons, n_all):
                neuron = i64(first) + thread
                _update(model, state, tasks, neuron, stage, first_step, n, chunk_start, n_fired, list_start)
            if stage == 0:
                _emit_trains(model, state, thread, n_all, first_step, n)
            grid_sync()
            same_step = stage < n_stages - i64(1)
            own, end = end, state.record_count[0, 0]
            deliver(model, state, tasks, thread, n_all, own if same_step else begin, end, same_step)
            grid_sync()
        begin = end
        done += n
    if thread == 0:
        state.record_count[0, 1] = done
