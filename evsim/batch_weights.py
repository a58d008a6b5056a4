"""The fixed-point weights of a Sequential's nodes, in the order that the kernels have them in (see `batch_model`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.aligned import whole_lines
from evsim.batch_node import Node
from evsim.dynamics import MAX_SPIKES
from evsim.lanes import LANES
from evsim.layers import Connection, Linear
from evsim.synapses import unit_for
from evsim.weight_tiles import fill_biases, fill_tiles, largest_size, largest_sum

__all__ = ["write_weights"]

FIXED_BITS = 31  # of a sum of fixed-point weights, without its sign

ONE = np.ones((1, 1), np.float32)  # from unit to unit; read-only, as all weights are
ONE.flags.writeable = False

f64 = np.float64


def write_weights(node: Node, connection: Any, back: Linear | None, into: NDArray[np.int32]) -> None:
    """Write a node's weights and biases to their places, as multiples of its unit, which is found here.

    The unit is a power of two for which the largest sum fits: that of a step in which all units before spike `most_in`
    times, and the node's own spiked as often as they may. `connection`: None joins unit to unit.
    """
    row, most = node.row, MAX_SPIKES if node.row[bm.MULTI] else 1
    weight = ONE if connection is None else connection.weight.reshape(len(connection.weight), -1)
    biases = [  # in the order (row, column, channel) of the units, or the user's
        (row[column], each.bias, order)
        for column, each, order in ((bm.BIAS, connection, np.arange(node.size)), (bm.BACK_BIAS, back, node.order))
        if isinstance(each, Connection) and each.bias is not None
    ]
    bound = largest_sum(weight, f64(node.scale_in)) * node.most_in
    bound += sum(largest_size(bias) for _, bias, _ in biases)
    if back is not None:
        bound += largest_sum(back.weight, f64(1.0)) * most
    node.unit = unit = unit_for(bound, FIXED_BITS)
    rest = 2**FIXED_BITS - 1  # room for the spikes of the units before
    if back is not None:
        rest -= most * _write_tiles(node, back.weight, node.order, 1.0, into[row[bm.BACK] :])
    rest -= sum(fill_biases(bias, order, unit, into[at:]) for at, bias, order in biases)
    if row[bm.KIND] == bm.LINEAR:
        largest = _write_tiles(node, weight, node.order_in, node.scale_in, into[row[bm.WEIGHT] :])
    else:
        fixed = np.rint(_scaled(weight, node.scale_in) / unit)
        largest = int(max(fixed.clip(min=0).sum(axis=1).max(), -fixed.clip(max=0).sum(axis=1).min()))
        if row[bm.KIND] == bm.IDENTITY:
            row[bm.WEIGHT] = fixed[0, 0]
        else:
            runs = _kernel_runs(fixed.reshape(connection.kernel().shape), int(row[bm.GROUPS]))
            into[row[bm.WEIGHT] :][: runs.size] = runs.reshape(-1)
    row[bm.MOST] = min(rest // max(largest, 1), bm.MOST_SPIKES)


def _scaled(weight: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    """Weights with the scale of the pools before them, as float32 would hold them."""
    return (weight.astype(np.float64) * scale).astype(np.float32).astype(np.float64)


def _kernel_runs(fixed: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """(targets, sources of a group, rows, columns) as (source, row, run): column from the right, target, zeros."""
    n_out, n_in, rows, columns = fixed.shape
    grouped = fixed.reshape(groups, n_out // groups, n_in, rows, columns)[..., ::-1]
    runs = grouped.transpose(0, 2, 3, 4, 1).reshape(groups * n_in, rows, -1)
    return np.pad(runs, ((0, 0), (0, 0), (0, whole_lines(runs.shape[-1] + LANES - 1) - runs.shape[-1])))


def _write_tiles(
    node: Node, weight: NDArray[np.float32], order: NDArray[np.int64], scale: float, into: NDArray[np.int32]
) -> int:
    tile, scratch = np.uint64(node.row[bm.TILE_SIZE]), np.empty((LANES, order.size), np.int32)
    return int(fill_tiles(weight, node.order, order, f64(scale), f64(node.unit), tile, scratch, into))
