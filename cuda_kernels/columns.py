"""All synapses into a target, by a block of threads: brought up to date, applied, normalised."""

import numpy as np

from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import compile_cuda_kernel, compile_device_function, cuda
from evsim.learning import NEVER, W_MAX, W_MIN
from evsim.plastic_dynamics import apply_change, count_units, is_behind, mark_settled, scale, settle_synapse

i64 = np.int64


@compile_device_function
def settle_column(model, rules, traces, learning, target, before):
    """Bring a target's synapses up to date: spikes and arrivals before a step; all threads of the block come here."""
    k = i64(0)
    while target >= rules.target_start[k + i64(1)]:
        k += i64(1)
    if learning and is_behind(rules, traces, k, target):
        start, stop = rules.column_start[target], rules.column_start[target + i64(1)]
        for c in range(start + i64(cuda.threadIdx.x), stop, i64(cuda.blockDim.x)):
            settle_synapse(model, rules, traces, k, target, i64(c), before, before, i64(0))
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        mark_settled(traces, target, before, i64(0))


@compile_cuda_kernel(THREADS)
def settle_all(model, rules, traces, learning, before):
    """Bring all plastic synapses up to date: spikes and arrivals before a step."""
    for target in range(i64(cuda.blockIdx.x), rules.target_start[rules.projection.size], i64(cuda.gridDim.x)):
        settle_column(model, rules, traces, learning == 1, i64(target), before)


@compile_cuda_kernel(THREADS)
def apply_changes(model, rules, traces, k):
    """Add to the weights of a projection what has added up in a run."""
    first = rules.first_synapse[k] + model.projection_weight[rules.projection[k]]
    start, stop = rules.column_start[rules.target_start[k]], rules.column_start[rules.target_start[k + 1]]
    for s in range(i64(cuda.grid(1)), stop - start, i64(cuda.gridsize(1))):
        apply_change(traces, first + i64(s), rules.value[k, W_MIN], rules.value[k, W_MAX])


@compile_cuda_kernel(THREADS)
def normalize(model, rules, traces, k, total, per_unit):
    """Scale the weights into each target of a projection so that they sum to `total` (n_targets,).

    Sums are of whole units, of which `per_unit` are 1.
    """
    for _ in range(2):  # as in `advance`
        units = cuda.shared.array(1, np.int64)
        cuda.syncthreads()
    low, high = rules.value[k, W_MIN], rules.value[k, W_MAX]
    first = rules.first_synapse[k] + model.projection_weight[rules.projection[k]]
    for number in range(i64(cuda.blockIdx.x), i64(total.size), i64(cuda.gridDim.x)):
        target = rules.target_start[k] + i64(number)
        cuda.syncthreads()
        if traces.touched[target] == 0:
            continue
        start = rules.column_start[target] + i64(cuda.threadIdx.x)
        stop = rules.column_start[target + i64(1)]
        if cuda.threadIdx.x == 0:
            units[0] = 0
        cuda.syncthreads()
        own = i64(0)
        for c in range(start, stop, i64(cuda.blockDim.x)):
            own += count_units(traces.weight[first + i64(rules.column_synapse[c])], per_unit)
        cuda.atomic.add(units, 0, own)
        cuda.syncthreads()
        n_units = units[0]
        if cuda.threadIdx.x == 0:  # depression by its last spike may go on
            traces.touched[target] = traces.post_last[target] > NEVER
        if n_units == 0:
            continue
        factor = total[number] / (np.float64(n_units) / per_unit)
        for c in range(start, stop, i64(cuda.blockDim.x)):
            at = first + i64(rules.column_synapse[c])
            traces.weight[at] = scale(traces.weight[at], factor, low, high)
