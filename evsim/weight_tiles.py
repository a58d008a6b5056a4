"""Weights of linear layers as fixed-point numbers, in tiles: the loops."""

import numpy as np

from evsim.jit import compile_kernel

f32 = np.float32
f64 = np.float64
i32 = np.int32
i64 = np.int64


@compile_kernel
def largest_sum(weight, scale):
    """The largest sum of the positive or of the negative weights of one target (first axis)."""
    largest = f64(0.0)
    for target in range(weight.shape[0]):
        row = weight[target]
        total, size = f64(0.0), f64(0.0)
        more_total, more_size = f64(0.0), f64(0.0)  # two sums each, which do not wait for one another
        for source in range(0, row.size - 1, 2):
            total += f64(row[source])
            size += abs(f64(row[source]))
            more_total += f64(row[source + 1])
            more_size += abs(f64(row[source + 1]))
        if row.size % 2 == 1:
            total += f64(row[row.size - 1])
            size += abs(f64(row[row.size - 1]))
        largest = max(largest, (size + more_size + abs(total + more_total)) / f64(2.0))
    return largest * scale


@compile_kernel
def fill_tiles(weight, order_out, order_in, scale, unit, tile, into):
    """Weights (targets, sources), scaled and rounded to float32, as multiples of unit: (tile, source, target of it).

    Returns the largest sum of the positive or of the negative ones of one target.
    """
    n_out, n_in = weight.shape
    largest, per_unit = i64(0), f64(1.0) / unit  # exact: unit is a power of two
    for target in range(n_out):
        row = weight[order_out[target]]
        at = target // tile * n_in * tile + target % tile
        above, below = i64(0), i64(0)
        for source in range(n_in):
            fixed = i64(np.rint(f64(f32(f64(row[order_in[source]]) * scale)) * per_unit))
            into[at + source * tile] = i32(fixed)
            above += max(fixed, i64(0))
            below -= min(fixed, i64(0))
        largest = max(largest, above, below)
    return largest
