"""Kernels that make synapses on the GPU; the draws are those of evsim.construction, and so are the results.

Candidates are shared out in grid-stride loops; a synapse takes its place in its row by an atomic, in any order, and
sorting then makes the row unique, since equal synapses are ordered by their weights. Launches are one-dimensional.

Casts are explicit throughout: NumPy, which runs in the simulator, and numba disagree on mixed integer types.
"""

import numpy as np
from numba import uint64

from evsim.construction import (
    DELAY,
    DELAY_KIND,
    DRAWN,
    EQUAL,
    KEY0,
    KEY1,
    LISTED,
    PROJECTION,
    UNIFORM,
    WEIGHT_KIND,
    count_units,
    draw_delay,
    draw_pair,
    draw_weight,
    draw_words,
    join_bits,
    round_up,
)
from evsim.cuda_kernels.target import SIMULATED, compile_cuda_kernel, compile_device_function, cuda

f32, f64, i32, i64, u32, u64 = np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint64

THREADS = 8 if SIMULATED else 256  # of a block
SORT_THREADS = 8 if SIMULATED else 512  # of a block that sorts a row, at most


@compile_cuda_kernel(THREADS)
def count_synapses(rules, q, pre, post, k_first, k_stop, first_row, left):
    """Count the synapses of candidates [k_first, k_stop) of projection q in left[first_row + source] (int32).

    The explicit lists begin at candidate k_first.
    """
    rule = rules[q]
    for k in range(i64(k_first) + i64(cuda.grid(1)), i64(k_stop), i64(cuda.gridsize(1))):
        wanted, source, target = draw_pair(rule, pre, post, i64(k), i64(k) - i64(k_first))
        if wanted:
            cuda.atomic.add(left, u64(first_row + source), i32(1))


@compile_cuda_kernel(THREADS)
def fill_synapses(
    rules, q, pre, post, weight_list, weight_table, delay_list, delay_table, dt, k_first, k_stop,
    first_row, row_start, left, synapse, weight, weight_shift,
):  # fmt: skip
    """Write the synapses of candidates [k_first, k_stop) of projection q; `left` (of each row) counts down.

    The lists begin at candidate k_first. The weight (float32) of synapse s goes to weight[s + weight_shift] unless
    it is UNIFORM.
    """
    rule = rules[q]
    weight_kind, delay_kind = rule[WEIGHT_KIND], rule[DELAY_KIND]
    for k in range(i64(k_first) + i64(cuda.grid(1)), i64(k_stop), i64(cuda.gridsize(1))):
        place = i64(k) - i64(k_first)
        wanted, source, target = draw_pair(rule, pre, post, i64(k), place)
        if not wanted:
            continue
        weight_word, delay_word = u64(0), u64(0)
        if weight_kind == DRAWN or delay_kind == DRAWN:
            weight_word, delay_word = draw_words(u64(k), u64(rule[PROJECTION]), u64(rule[KEY0]), u64(rule[KEY1]))
        if delay_kind == DRAWN:
            steps = i64(draw_delay(delay_table, delay_word, dt))
        else:
            steps = delay_list[u64(place)] if delay_kind == LISTED else rule[DELAY]
        row = u64(first_row + source)
        s = row_start[row] + i64(cuda.atomic.add(left, row, i32(-1))) - i64(1)
        synapse[u64(s)] = join_bits(rule, steps, target)
        if weight_kind != UNIFORM:
            if weight_kind == DRAWN:
                w = draw_weight(weight_table, weight_word)
            else:
                w = f32(weight_list[u64(0) if weight_kind == EQUAL else u64(place)])
            weight[u64(s + weight_shift)] = w


@compile_device_function
def _read(synapse, weight, s, weight_shift, uniform):
    """Synapse s with its weight's bits below: what it is sorted by."""
    high = u64(synapse[u64(s)]) << u64(32)
    return high if uniform else high | u64(weight[u64(s + weight_shift)])


@compile_device_function
def _write(synapse, weight, s, weight_shift, uniform, key):
    synapse[u64(s)] = u32(key >> u64(32))
    if not uniform:
        weight[u64(s + weight_shift)] = u32(key & u64(0xFFFFFFFF))


@compile_device_function
def _put_in_order(keys, synapse, weight, first, weight_shift, uniform, inside, i, j):
    """Exchange entries i < j of the row that begins at `first` if they are out of order."""
    if inside:
        a, b = keys[i], keys[j]
        if a > b:
            keys[i], keys[j] = b, a
    else:
        a = _read(synapse, weight, first + i64(i), weight_shift, uniform)
        b = _read(synapse, weight, first + i64(j), weight_shift, uniform)
        if a > b:
            _write(synapse, weight, first + i64(i), weight_shift, uniform, b)
            _write(synapse, weight, first + i64(j), weight_shift, uniform, a)


@compile_cuda_kernel(SORT_THREADS)
def sort_rows(first_row, row_start, synapse, weight, weight_shift, uniform, capacity):
    """Sort a row for each block by synapse: by delay, then target; equal ones by their weights' bits.

    The weight of synapse s, its bits as uint32, is weight[s + weight_shift]. Rows of up to `capacity` entries are
    sorted in shared memory (8 * capacity bytes, dynamic), longer ones where they lie.

    Bitonic merge sort in which every exchange goes upwards, as the second half of a merge is read backwards by its
    first stage: entries beyond the row, which are thought of as infinite, then never move and need not exist.
    """
    keys = cuda.shared.array(0, uint64)  # the simulator knows no NumPy type here
    row = u64(first_row + i64(cuda.blockIdx.x))
    first = row_start[row]
    n = u64(row_start[row + u64(1)] - first)
    inside = n <= u64(capacity)
    thread, n_threads = u64(cuda.threadIdx.x), u64(cuda.blockDim.x)
    if inside:
        for i in range(thread, n, n_threads):
            keys[u64(i)] = _read(synapse, weight, first + i64(i), weight_shift, uniform)
    cuda.syncthreads()
    half = u64(1)  # of a merge: the length of its sorted inputs
    while half < n:
        n_pairs = ((n + half + half - u64(1)) & ~(half + half - u64(1))) >> u64(1)
        distance = half
        while distance > u64(0):
            below = distance - u64(1)
            pair = thread
            while pair < n_pairs:  # a range would divide, for its length
                i = ((pair & ~below) << u64(1)) | (pair & below)
                j = i ^ (half + half - u64(1)) if distance == half else i + distance
                if j < n:
                    _put_in_order(keys, synapse, weight, first, weight_shift, uniform, inside, i, j)
                pair += n_threads
            cuda.syncthreads()
            distance >>= u64(1)
        half <<= u64(1)
    if inside:
        for i in range(thread, n, n_threads):
            _write(synapse, weight, first + i64(i), weight_shift, uniform, keys[u64(i)])


@compile_cuda_kernel(THREADS)
def sum_weights(first, stop, synapse, weight, weight_shift, uniform, value, scale, mask, sums):
    """Add |weight| * scale, rounded up, of synapses [first, stop) to their inputs' sums (2, n_inputs) (int64).

    Positive weights to the first, negative ones to the second. `mask` cuts the input index out of a synapse.
    """
    for s in range(i64(first) + i64(cuda.grid(1)), i64(stop), i64(cuda.gridsize(1))):
        w = value if uniform else f64(weight[u64(i64(s) + weight_shift)])
        at = u64(synapse[u64(s)]) & u64(mask)
        if w > 0.0:
            cuda.atomic.add(sums, (u64(0), at), round_up(w, scale))
        elif w < 0.0:
            cuda.atomic.add(sums, (u64(1), at), round_up(w, scale))


@compile_cuda_kernel(THREADS)
def to_fixed_point(weight, bits, first, stop, unit):
    """Replace float32 weights by the nearest whole number of units, in place (`bits` is the int32 view)."""
    for s in range(i64(first) + i64(cuda.grid(1)), i64(stop), i64(cuda.gridsize(1))):
        bits[u64(s)] = count_units(weight[u64(s)], unit)
