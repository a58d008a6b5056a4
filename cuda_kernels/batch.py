"""The batch engine on the GPU: a block of threads takes a sample through all steps of a launch, node by node.

Within a step and node: the block lists the spikes of the frame before, delivers them to integer sums that its threads
share, and advances the neurons, a thread each. A node with more targets than there is room for sums is taken in parts.
Blocks never meet, so samples are independent and any number of blocks gives the same numbers.

Only lists and sums lie in shared memory. Frames and the state of neurons lie in global memory: they are a few bytes a
unit, read and written side by side and found in the caches, where a spike brings a whole row of weights.
"""

import numba
import numpy as np

from evsim import batch_model as bm
from evsim.cuda_kernels.batch_delivery import add_convolution, add_linear, collect_values
from evsim.cuda_kernels.batch_frames import LISTED, Spikes, list_spikes, pool, put_out, read_input
from evsim.cuda_kernels.batch_neurons import advance_neuron
from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import compile_cuda_kernel, compile_device_function, cuda
from evsim.dynamics import MAX_SPIKES
from evsim.jit import product

f32, i32, i64, u16 = np.float32, np.int32, np.int64, np.uint16


@compile_device_function
def _is_analog(node, holds, frames, source):
    """Whether a frame holds values, or counts that sums have no room for: they become values; all threads meet here."""
    if holds != bm.SPIKE_COUNTS:
        return True
    too_many = False
    if node[bm.COUNTED] == 1:
        for i in range(i64(cuda.threadIdx.x), node[bm.N_IN], i64(THREADS)):
            too_many = too_many or i64(frames.counts[source + i64(i)]) > node[bm.MOST]
    if not cuda.syncthreads_or(i32(1) if too_many else i32(0)):
        return False
    for i in range(i64(cuda.threadIdx.x), node[bm.N_IN], i64(THREADS)):
        frames.values[source + i64(i)] = f32(frames.counts[source + i64(i)])
    cuda.syncthreads()
    return True


@compile_device_function
def _sum_spikes(model, state, k, sample, is_first, is_analog, frames, source, first, n, total, spikes):
    """total (n,) becomes the input of targets from `first` that comes from spikes and biases; all threads come here."""
    node = model.node[k]
    bias, back_bias = node[bm.BIAS], i64(-1) if is_first else node[bm.BACK_BIAS]
    for j in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
        fixed = model.weight[bias + first + i64(j)] if bias >= 0 else i32(0)
        if back_bias >= 0:
            fixed = i32(fixed + model.weight[back_bias + first + i64(j)])
        total[j] = fixed
    if node[bm.KIND] != bm.IDENTITY and not is_analog:
        for begin in range(i64(0), node[bm.N_IN], i64(LISTED)):
            list_spikes(node, frames.counts, source, i64(begin), min(i64(begin) + i64(LISTED), node[bm.N_IN]), spikes)
            if node[bm.KIND] == bm.LINEAR:
                add_linear(node, node[bm.WEIGHT], node[bm.N_IN], model.weight, spikes, total, first, n)
            else:
                add_convolution(node, model.weight, spikes, total, first, n)
            cuda.syncthreads()
    if node[bm.BACK] >= 0:
        for begin in range(i64(0), node[bm.N_OUT], i64(LISTED)):
            stop = min(i64(begin) + i64(LISTED), node[bm.N_OUT])
            list_spikes(node, state.back[sample], node[bm.BACK_AT], i64(begin), stop, spikes)
            add_linear(node, node[bm.BACK], node[bm.N_OUT], model.weight, spikes, total, first, n)
            cuda.syncthreads()


@compile_device_function
def _update(model, state, k, sample, is_analog, sums, frames, source, target, first, n, total, records, row):
    """Advance neurons [first, first + n) of node k, or give its sums where it has none; returns their largest count.

    Where the input is analog, its sums lie among the values, from entry `sums` on.
    """
    node, unit = model.node[k], model.node_unit[k]
    most = i32(0)
    for j in range(i64(cuda.threadIdx.x), n, i64(THREADS)):
        i = first + i64(j)
        fixed, analog = total[j], f32(0.0)
        if is_analog:
            analog = product(frames.values[sums + i], unit)
        elif node[bm.KIND] == bm.IDENTITY:
            fixed = i32(fixed + i32(node[bm.WEIGHT]) * i32(frames.counts[source + i]))
        x = product(f32(fixed), unit)
        times, v, v_pre_reset, current = i32(0), f32(0.0), x + analog if is_analog else x, f32(0.0)
        if node[bm.NEURONS] == 1:
            times, v, v_pre_reset, current = advance_neuron(model, state, k, sample, i, x, analog, is_analog)
            most = max(most, times)
        emitted = v_pre_reset
        if node[bm.SPIKING] == 1:
            frames.counts[target + i] = u16(times)
            emitted = f32(times)
        else:
            frames.values[target + i] = emitted
        put_out(records, k, row, node[bm.N_OUT], i, emitted, v, v_pre_reset, current)
    return most


@compile_device_function
def _advance_node(
    model, state, k, sample, is_first, is_kept, holds, frames, source, sums, target, targets, total, spikes, records,
    row,
):  # fmt: skip
    """One step of node k, `targets` at a time; returns what its frame holds, or -1 where a neuron spikes too often.

    `is_kept` says that the sums of an analog input are those of the step before.
    """
    node = model.node[k]
    is_analog = _is_analog(node, holds, frames, source)
    most = i32(0)
    first = i64(0)
    while first < node[bm.N_OUT]:
        n = min(targets, node[bm.N_OUT] - first)
        _sum_spikes(model, state, k, sample, is_first, is_analog, frames, source, first, n, total, spikes)
        if is_analog and not is_kept:
            collect_values(node, model.weight, frames, source, sums, first, n)
        largest = _update(
            model, state, k, sample, is_analog, sums, frames, source, target, first, n, total, records, row
        )  # fmt: skip
        most = max(most, largest)
        first += n
    if cuda.syncthreads_or(i32(1) if most > i32(MAX_SPIKES) else i32(0)):
        return i64(-1)
    if node[bm.BACK] >= 0:
        for i in range(i64(cuda.threadIdx.x), node[bm.N_OUT], i64(THREADS)):
            state.back[sample, node[bm.BACK_AT] + i64(i)] = frames.counts[target + i64(i)]
    return i64(bm.SPIKE_COUNTS) if node[bm.NEURONS] == 1 and node[bm.SPIKING] == 1 else i64(bm.VALUES)


@compile_cuda_kernel((THREADS, 2))
def advance_samples(
    model, state, given, channels, frames, records, targets, n_samples, steps_before, first_step, n_steps, stopped
):  # fmt: skip
    """Advance samples by n_steps, from step first_step of the input on; one-dimensional blocks, any number of them.

    Parameters
    ----------
    given : the input as `batch_call.input_arrays` has it; a tensor's first row is step first_step.
    channels : of a sample of the input.
    targets : sums that the launch's shared memory has room for.
    steps_before : steps of the state before step 0 of the input.
    stopped : (n_samples, 3) becomes what stopped a sample, and its node and step.
    """
    for _ in range(2):  # the simulator's threads race to make an array: what the second pass finds is the same for all
        n_listed = cuda.shared.array(1, np.int32)
        unit = cuda.shared.array(LISTED, np.int32)
        times = cuda.shared.array(LISTED, np.int32)
        row_of = cuda.shared.array(LISTED, np.int32)
        column_of = cuda.shared.array(LISTED, np.int32)
        cuda.syncthreads()
    total = cuda.shared.array(0, numba.int32)  # (targets,)
    spikes = Spikes(n_listed, unit, times, row_of, column_of)
    block = i64(cuda.blockIdx.x) * frames.start[4]
    source = block + frames.start[0]
    sample = i64(cuda.blockIdx.x)
    while sample < n_samples:
        why, read = i64(bm.DONE), i64(bm.SPIKE_COUNTS)
        for t in range(n_steps):
            step = first_step + i64(t)
            source = block + frames.start[0]
            is_same = t > 0 and given[0] == bm.REPEATED
            if not is_same:
                tensor_row = i64(0) if given[0] == bm.REPEATED else i64(t)
                read = read_input(given, frames, source, sample, step, tensor_row, channels, model.node[0, bm.N_IN])
            holds, node = read, i64(-1)
            why = i64(bm.NOT_FINITE) if read < 0 else i64(bm.DONE)
            row = i64(t) * n_samples + sample
            while why == bm.DONE and node + i64(1) < model.node.shape[0]:
                node += i64(1)
                target = block + frames.start[i64(1) + (node & i64(1))]
                if model.node[node, bm.KIND] == bm.POOL:
                    if _is_analog(model.node[node], holds, frames, source):
                        holds = i64(bm.VALUES)
                    pool(model.node[node], holds, frames, source, target, records, node, row)
                else:
                    sums = block + frames.start[3] if node == 0 else target  # the first node's are kept
                    is_first, is_kept = steps_before + step == 0, is_same and node == 0
                    holds = _advance_node(
                        model, state, node, sample, is_first, is_kept, holds, frames, source, sums, target, targets,
                        total, spikes, records, row,
                    )  # fmt: skip
                    why = i64(bm.TOO_MANY_SPIKES) if holds < 0 else i64(bm.DONE)
                source = target
            if why != bm.DONE:
                if cuda.threadIdx.x == 0:
                    stopped[sample, 0], stopped[sample, 1], stopped[sample, 2] = why, node, step
                break
        sample += i64(cuda.gridDim.x)
        cuda.syncthreads()
