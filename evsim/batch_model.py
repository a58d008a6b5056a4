"""The flat arrays a `Sequential` is compiled into: `BatchModel` (read-only) and `BatchState` (what a step changes).

A *node* takes the frames of the node before it and gives frames of its own: a frame is what all units of a node emit
in one step, either counts of spikes (uint16) or analog values (float32). A node is a pool, or a connection with the
neurons behind it. Units of images are numbered (row, column, channel), so that all channels of a place lie together.

Weights are fixed-point, as in `model`: weight = fixed * node_unit. A linear layer's are kept in tiles of up to TILE
targets: tile k of source j is one run at weight + (k * n_in + j) * tile. A convolution's kernel is kept once, as
(source channel, row, column from right to left, target channel): the columns that a source reaches are one run too,
behind which zeros follow (RUN entries in all), so that it can be added in whole vectors.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I4 = NDArray[np.int32]
I8 = NDArray[np.int64]
F4 = NDArray[np.float32]
F8 = NDArray[np.float64]
U2 = NDArray[np.uint16]

TILE = 128  # targets whose weights from a thousand sources stay in the second-level cache
SUMS = 2**14  # of all targets and some steps that are added up before neurons take them
MOST_SPIKES = 65535  # of a unit in a step: what a uint16 holds

# Kinds of nodes.
POOL, IDENTITY, LINEAR, CONV = range(4)

# Columns of BatchModel.node.
(
    KIND,
    N_IN, N_OUT,  # units of the node before, and of this
    IN_ROWS, IN_COLUMNS, IN_CHANNELS, OUT_ROWS, OUT_COLUMNS, OUT_CHANNELS,
    KERNEL_ROWS, KERNEL_COLUMNS, RUN,  # and weights of one source and row of a kernel, filled up
    STRIDE_ROWS, STRIDE_COLUMNS, PADDING_ROWS, PADDING_COLUMNS,
    DILATION_ROWS, DILATION_COLUMNS, GROUPS,
    MAXIMUM,  # 1: a pool takes the largest rather than the sum
    WEIGHT,  # first entry in weight; of IDENTITY: the one weight
    TILE_SIZE,
    BIAS,  # first entry in weight, -1: none
    BACK, BACK_BIAS,  # the same of the connection from the node's own spikes of the step before
    COUNTED,  # 1: a unit of the node before may spike more than once in a step
    MOST,  # largest count for which sums cannot overflow
    NEURONS,  # 0: the node's values are what the connection gives
    SPIKING,  # 0: the node's values are v
    SOFT, MULTI, FILTERED, REFRACTORY, THETA_RESETS,
    V_AT, CURRENT_AT, REFRACTORY_AT, THETA_AT, BACK_AT,  # first entry in a sample's state, -1: none
    N_COLUMNS,
) = range(40)  # fmt: skip

# Variables that are recorded; COUNTS are the spikes of neurons as uint8.
SPIKES, V, V_PRE_RESET, CURRENT, COUNTS = range(5)

# Kinds of input.
DENSE, REPEATED, EVENTS, POISSON, DRAWN = range(5)

# What a frame holds.
SPIKE_COUNTS, VALUES, SAME_VALUES = range(3)  # the last: those of the step before

# What stopped a run.
DONE, NOT_FINITE, TOO_MANY_SPIKES = range(3)


class BatchModel(NamedTuple):
    """Read-only."""

    node: I8  # (n_nodes, N_COLUMNS)
    node_unit: F4  # (n_nodes,) what one unit of fixed-point input is worth
    node_theta: F8  # (n_nodes, 2) what a spike adds to the threshold, and its decay in a step
    weight: I4
    parameter_value: F4  # coefficients, as in Model
    parameter_start: I8  # (n_nodes, 10)
    parameter_step: I8  # (n_nodes, 10)


class BatchState(NamedTuple):
    """What a step changes, of each of B samples."""

    v: F4  # (B, units with v)
    current: F4  # (B, units with a synaptic current)
    refractory: I4  # (B, units with a refractory time) steps left
    theta: F8  # (B, units with an adaptive threshold)
    back: U2  # (B, units of recurrent nodes) spikes of the step before
    step: I8  # (1,) steps since the state was new, before this run
