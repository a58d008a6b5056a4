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
        above, below = f64(0.0), f64(0.0)
        for source in range(weight.shape[1]):
            w = f64(weight[target, source]) * scale
            if w > f64(0.0):
                above += w
            else:
                below -= w
        largest = max(largest, above, below)
    return largest


@compile_kernel
def fill_tiles(weight, order_out, order_in, scale, unit, tile, into):
    """Weights (targets, sources), scaled and rounded to float32, as multiples of unit: (tile, source, target of it).

    Returns the largest sum of the positive or of the negative ones of one target.
    """
    n_out, n_in = weight.shape
    largest = i64(0)
    for target in range(n_out):
        row = weight[order_out[target]]
        at = target // tile * n_in * tile + target % tile
        above, below = i64(0), i64(0)
        for source in range(n_in):
            fixed = i64(np.rint(f64(f32(f64(row[order_in[source]]) * scale)) / unit))
            into[at + source * tile] = i32(fixed)
            above += max(fixed, i64(0))
            below -= min(fixed, i64(0))
        largest = max(largest, above, below)
    return largest
