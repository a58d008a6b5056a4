"""What a step on the GPU is made of: one neuron's potential, spikes into the list, rows into the ring.

Casts are explicit throughout: NumPy, which runs in the simulator, and numba disagree on mixed integer types.
"""

from typing import NamedTuple

import numpy as np

from evsim.cuda_kernels.target import SIMULATED, compile_device_function, cuda
from evsim.dynamics import MAX_SPIKES, count_spikes, decay_current, fire, integrate, receive
from evsim.model import (
    COUPLING,
    DECAY,
    DRIVE,
    GAIN,
    I4,
    I8,
    JUMP,
    KEY0,
    KEY1,
    LEAK,
    RING_MASK,
    TARGET_BITS,
    V_MIN,
)
from evsim.philox import PURPOSE_POISSON, philox

f32, i32, i64, u32, u64 = np.float32, np.int32, np.int64, np.uint32, np.uint64

THREADS = 8 if SIMULATED else 256  # of a block
WARP = 8 if SIMULATED else 32  # threads that share a chunk of a row
CHUNK = 32 if SIMULATED else 256  # synapses of a row that one warp delivers at a time


class Tasks(NamedTuple):
    """How the rows of a spike are shared out: a task is one chunk of one projection's row."""

    group_population: I8  # (n_neurons / 128,) population of each group of neurons
    projection: I4  # (n_pop, tasks of a spike), -1: none
    chunk: I4  # (n_pop, tasks of a spike)


@compile_device_function
def interval(change_step, first, stop, step):
    """Which of the intervals that begin at change_step[first:stop] holds `step`; -1 before the first."""
    low, high = first, stop
    while low < high:
        middle = (low + high) >> i64(1)
        if change_step[middle] <= step:
            low = middle + i64(1)
        else:
            high = middle
    return low - first - i64(1)


@compile_device_function
def coefficient(model, p, j, i):
    """Coefficient j of neuron i of population p."""
    return model.parameter_value[model.parameter_start[p, j] + model.parameter_step[p, j] * i]


@compile_device_function
def _add_currents(model, p, i, step, drive):
    for c in range(model.current_start[p], model.current_start[p + i64(1)]):
        row = interval(model.current_change_step, model.current_change[c], model.current_change[c + 1], step)
        if row >= 0 and model.current_range[c, 0] <= i and i < model.current_range[c, 1]:
            at = model.current_value_start[c] + row * model.current_value_step[c, 0]
            drive = drive + model.current_value[at + model.current_value_step[c, 1] * (i - model.current_range[c, 0])]
    return drive


@compile_device_function
def _poisson(model, p, k, i, step):
    """The fixed-point Poisson input of receptor k of neuron i in this step."""
    x = i64(0)
    for s in range(model.poisson_start[p], model.poisson_start[p + i64(1)]):
        row = interval(model.poisson_change_step, model.poisson_change[s], model.poisson_change[s + 1], step)
        inside = model.poisson_range[s, 0] <= i and i < model.poisson_range[s, 1]
        if model.poisson_receptor[s] != k or row < 0 or not inside:
            continue
        call = u64((i >> i64(7)) * i64(32) + (i & i64(31)))
        step_low, step_high = u64(step) & u64(0xFFFFFFFF), u64(step) >> u64(32)
        x0, x1, x2, x3 = philox(
            call, step_low, u64(model.poisson_index[s]), (step_high << u64(8)) | u64(PURPOSE_POISSON),
            u64(model.scalars[KEY0]), u64(model.scalars[KEY1]),
        )  # fmt: skip
        lane = (i >> i64(5)) & i64(3)
        word = u32(x0 if lane == 0 else x1 if lane == 1 else x2 if lane == 2 else x3)
        at = model.poisson_class_start[s] + row * model.poisson_class_step[s, 0]
        one = i64(model.poisson_class[at + model.poisson_class_step[s, 1] * (i - model.poisson_range[s, 0])])
        count = i64(model.poisson_base[one])
        j = i64(0)
        while j < model.poisson_n_thresholds[one] and word > model.poisson_threshold[one, j]:
            j += i64(1)
        x += (count + j) * model.poisson_weight[s]
    return x


@compile_device_function
def locate(model, state, tasks, neuron, stage):
    """(population, neuron within it, whether there is a neuron to update in this stage) of a neuron place."""
    p, i = i64(0), i64(0)
    active = neuron < i64(state.neuron_v.size)
    if active:
        p = i64(tasks.group_population[neuron >> i64(7)])
        i = neuron - model.population_start[p]
        active = i < model.population_size[p] and model.population_input[p] >= 0 and model.population_stage[p] == stage
    return p, i, active


@compile_device_function
def padded_size(model, p):
    """Neuron places of a population."""
    return ((model.population_size[p] + i64(127)) >> i64(7)) << i64(7)


@compile_device_function
def potential(model, state, p, i, step, v, refractory, first_input, padded):
    """Take in what arrives at neuron i of population p in this step; returns v before the reset."""
    target_bits, ring_mask = u64(model.scalars[TARGET_BITS]), u64(model.scalars[RING_MASK])
    drive = _add_currents(model, p, i, step, coefficient(model, p, i64(DRIVE), i))
    for k in range(model.population_n_receptors[p]):
        at = first_input + i64(k) * padded + i
        slot = ((u64(step) << target_bits) & ring_mask) + u64(at)
        fixed = i64(state.ring[slot]) + _poisson(model, p, k, i, step)
        state.ring[slot] = 0
        j = i64(4) * i64(k)
        x = f32(fixed) * model.input_unit[p, k]
        jump = coefficient(model, p, i64(JUMP) + j, i)
        if model.parameter_start[p, i64(DECAY) + j] < 0:  # a delta synapse
            drive = receive(drive, f32(0.0), x, f32(0.0), jump)
        else:
            current = state.input_current[at]
            drive = receive(drive, current, x, coefficient(model, p, i64(COUPLING) + j, i), jump)
            decay, gain = coefficient(model, p, i64(DECAY) + j, i), coefficient(model, p, i64(GAIN) + j, i)
            state.input_current[at] = decay_current(current, x, decay, gain)
    leak, v_min = coefficient(model, p, i64(LEAK), i), coefficient(model, p, i64(V_MIN), i)
    return integrate(v, drive, leak, v_min, refractory)


@compile_device_function
def spikes_of(model, state, p, v, threshold, refractory, step):
    """How many spikes a neuron of population p has; more than MAX_SPIKES are noted for the host."""
    if model.population_multi_spike[p] == 0:
        return i32(1) if fire(v, threshold, refractory) else i32(0)
    n = count_spikes(v, threshold, refractory)
    if n > i32(MAX_SPIKES):
        cuda.atomic.min(state.record_count, (0, 3), step * i64(model.population_size.size) + p)
        n = i32(MAX_SPIKES)
    return n


@compile_device_function
def record_frames(model, state, p, i, step, chunk_start, v, v_pre, first_input, padded):
    """Write neuron i's values into the frames that are due at `step`."""
    for probe in range(model.probe_population.size):
        every = model.probe_every[probe]
        if model.probe_population[probe] != p or step % every != 0:
            continue
        start, stop = model.probe_start[probe], model.probe_start[probe + 1]
        at = start + interval(model.probe_neuron, start, stop, i)
        if at < start or model.probe_neuron[at] != i:
            continue
        frame = step // every - (chunk_start + every - i64(1)) // every
        row = state.frame_start[probe] + frame * (stop - start)
        variable = model.probe_variable[probe]
        if variable == -1:
            x = v
        elif variable == -2:
            x = v_pre
        else:
            x = state.input_current[first_input + variable * padded + i]
        state.frame_value[row + at - start] = x


@compile_device_function
def append(state, neuron, step, fired, n_fired, list_start):
    """Append a block's spikes to the list: one global atomic a block."""
    count = cuda.syncthreads_count(i32(1) if fired else i32(0))
    if count == 0:
        return
    if cuda.threadIdx.x == 0:
        n_fired[0] = 0
        list_start[0] = cuda.atomic.add(state.record_count, (0, 0), i64(count))
    cuda.syncthreads()
    if fired:
        at = list_start[0] + i64(cuda.atomic.add(n_fired, 0, i32(1)))
        state.record_step[0, at] = step
        state.record_neuron[0, at] = u32(neuron)
    cuda.syncthreads()


@compile_device_function
def append_spikes(state, neuron, step, n):
    """Append n spikes of one neuron to the list."""
    first = cuda.atomic.add(state.record_count, (0, 0), i64(n))
    for j in range(n):
        state.record_step[0, first + i64(j)] = step
        state.record_neuron[0, first + i64(j)] = u32(neuron)


@compile_device_function
def train_spikes(model, p, first_step, n_steps):
    """Which explicit spikes of population p belong to these steps: [first, stop)."""
    start, stop = model.train_start[p], model.train_start[p + 1]
    first = start + interval(model.train_step, start, stop, first_step - i64(1)) + i64(1)
    return first, start + interval(model.train_step, start, stop, first_step + n_steps - i64(1)) + i64(1)


@compile_device_function
def deliver(model, state, tasks, thread, n_all, begin, end, same_step):
    """Add the weights of the rows of spikes [begin, end) to the ring, a chunk of a row a warp at a time.

    With `same_step` of projections of delay 0, without it of all others.
    """
    lane, warp, n_warps = thread % i64(WARP), thread // i64(WARP), n_all // i64(WARP)
    per_spike = i64(tasks.projection.shape[1])
    target_bits, ring_mask = u64(model.scalars[TARGET_BITS]), u64(model.scalars[RING_MASK])
    for task in range(warp, (end - begin) * per_spike, n_warps):
        spike, part = begin + i64(task) // per_spike, i64(task) % per_spike
        neuron = i64(state.record_neuron[0, spike])
        p = i64(tasks.group_population[neuron >> i64(7)])
        q = i64(tasks.projection[p, part])
        if q < 0 or neuron < model.projection_source[q, 0] or neuron >= model.projection_source[q, 1]:
            continue
        if (model.projection_same_step[q] == 1) != same_step:
            continue
        source = neuron - model.projection_source[q, 0]
        row = model.projection_row[q] + source * model.projection_row_step[q]
        start = model.row_start[row] + i64(tasks.chunk[p, part]) * i64(CHUNK)
        stop = min(model.row_start[row + i64(1)], start + i64(CHUNK))
        base = u64(state.record_step[0, spike]) << target_bits
        if model.projection_target[q] >= 0:
            base += u64(model.source_target[model.projection_target[q] + source])
        first_weight = model.projection_weight[q] + source * model.projection_weight_step[q]
        uniform, shift = model.projection_uniform[q] == 1, model.projection_shift[q]
        weight = model.projection_fixed_weight[q]
        for s in range(start + lane, stop, i64(WARP)):
            if not uniform:
                weight = i64(model.synapse_weight[i64(s) + first_weight]) << shift
            at = (u64(model.synapse[s]) + base) & ring_mask
            cuda.atomic.add(state.ring, at, state.ring.dtype.type(weight))
