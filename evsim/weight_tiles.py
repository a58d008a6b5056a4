"""Weights of linear layers and biases as fixed-point numbers: the loops."""

import numpy as np

from evsim.jit import compile_kernel, disjoint
from evsim.lanes import LANES

f32 = np.float32
f64 = np.float64
i32 = np.int32
i64 = np.int64
u64 = np.uint64


@compile_kernel
def largest_sum(weight, scale):
    """The largest sum of the positive or of the negative weights of one target (first axis)."""
    n, most = u64(weight.shape[1]), f64(0.0)
    for target in range(weight.shape[0]):
        row = weight[target]
        t0, t1, t2, t3 = f64(0.0), f64(0.0), f64(0.0), f64(0.0)  # sums of the weights and of their sizes: four each,
        s0, s1, s2, s3 = f64(0.0), f64(0.0), f64(0.0), f64(0.0)  # which do not wait for one another
        for i in range(u64(0), n - n % u64(4), u64(4)):
            w0, w1 = f64(row[i]), f64(row[i + u64(1)])
            w2, w3 = f64(row[i + u64(2)]), f64(row[i + u64(3)])
            t0, t1, t2, t3 = t0 + w0, t1 + w1, t2 + w2, t3 + w3
            s0, s1, s2, s3 = s0 + abs(w0), s1 + abs(w1), s2 + abs(w2), s3 + abs(w3)
        for i in range(n - n % u64(4), n):
            t0, s0 = t0 + f64(row[i]), s0 + abs(f64(row[i]))
        most = max(most, (s0 + s1 + (s2 + s3) + abs(t0 + t1 + (t2 + t3))) / f64(2.0))
    return most * scale


@compile_kernel
def largest_size(bias):
    """The largest of the absolute values."""
    largest = f64(0.0)
    for i in range(bias.size):
        largest = max(largest, abs(f64(bias[i])))
    return largest


@compile_kernel
def fill_biases(bias, order, unit, into):
    """into[i] becomes bias[order[i] % biases] as a multiple of unit; returns the largest absolute value."""
    largest = i64(0)
    for i in range(order.size):
        fixed = i64(np.rint(f64(bias[order[i] % bias.size]) / unit))
        into[i] = i32(fixed)
        largest = max(largest, abs(fixed))
    return largest


@compile_kernel
def fill_tiles(weight, order_out, order_in, scale, unit, tile, fixed, into):
    """Weights (targets, sources), scaled and rounded to float32, as multiples of unit: (tile, source, target of it).

    Returns the largest sum of the positive or of the negative ones of one target. fixed: (LANES, sources), scratch.
    """
    disjoint()
    n_out, n_in = u64(weight.shape[0]), u64(weight.shape[1])
    largest, per_unit = i64(0), f64(1.0) / unit  # exact: unit is a power of two
    for first in range(u64(0), n_out, u64(LANES)):  # as many as a cache line has room for
        some, at = min(u64(LANES), n_out - first), first // tile * n_in * tile + first % tile
        for i in range(some):
            row, made, above, below = weight[order_out[first + i]], fixed[i], i64(0), i64(0)
            for source in range(n_in):
                whole = i64(np.rint(f64(f32(f64(row[source]) * scale)) * per_unit))
                made[source] = i32(whole)
                above += max(whole, i64(0))
                below -= min(whole, i64(0))
            largest = max(largest, above, below)
        for source in range(n_in):
            given = u64(order_in[source])
            for i in range(some):
                into[at + source * tile + i] = fixed[i, given]
    return largest
