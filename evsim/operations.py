"""Synaptic operations of layered networks, counted exactly, and what they cost.

A spike costs one operation, an addition, for each synapse that its unit has: as many as its row of weights has entries
at the place where it is. At the borders of an image those are fewer; a spike that a pool passes on costs what the unit
of the pool costs, and pools themselves cost nothing; several spikes of one unit in a step cost so many times as much.
Biases are constants and cost nothing. An analog value that is not 0 costs a multiplication and an addition for each
synapse; these are counted apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt, Node
from evsim.batch_input import BatchInput, EventInput, PoissonInput, RepeatedInput
from evsim.layer_frames import Part, run_parts
from evsim.layer_values import as_frames
from evsim.sequential import Sequential

__all__ = ["ADDITION", "MULTIPLY_ACCUMULATE", "Operations", "count_operations", "fan_out"]

I8 = NDArray[np.int64]
F4 = NDArray[np.float32]

# Joules of 32-bit floating-point arithmetic in a 45 nm process: an addition 0.9 pJ, a multiplication 3.7 pJ. Memory,
# not counted here, costs more than either. Source: M. Horowitz, "Computing's energy problem", ISSCC 2014.
ADDITION = 0.9e-12
MULTIPLY_ACCUMULATE = 4.6e-12


@dataclass(frozen=True, eq=False)
class Operations:
    """What a network did for each sample in each step, layer by layer.

    Attributes
    ----------
    layers : names of the L connections, or of neurons that follow none.
    spikes : (T, B, L) int64, of the neurons behind each.
    synaptic : (T, B, L) int64, operations of spikes, in the step in which they arrive.
    multiply_accumulates : (T, B, L) int64, operations of analog values.
    ann : (L,) int64, multiply-accumulates of an ordinary network of these layers for one sample.
    """

    layers: tuple[str, ...]
    spikes: I8
    synaptic: I8
    multiply_accumulates: I8
    ann: I8

    @property
    def n_samples(self) -> int:
        """B."""
        return int(self.synaptic.shape[1])

    def energy(
        self, joules_per_operation: float = ADDITION, joules_per_multiply_accumulate: float = MULTIPLY_ACCUMULATE
    ) -> NDArray[np.float64]:
        """Joules of each sample, (B,), by what an operation costs; by default Horowitz' figures for 45 nm."""
        operations = self.synaptic.sum(axis=(0, 2)) * joules_per_operation
        return np.asarray(
            operations + self.multiply_accumulates.sum(axis=(0, 2)) * joules_per_multiply_accumulate, np.float64
        )

    def ann_energy(self, joules_per_multiply_accumulate: float = MULTIPLY_ACCUMULATE) -> float:
        """Joules of an ordinary network of these layers for one sample."""
        return float(self.ann.sum() * joules_per_multiply_accumulate)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [
            ("layer", "spikes", "synaptic operations", "multiply-accumulates", "ANN multiply-accumulates")
        ]
        done = (self.spikes, self.synaptic, self.multiply_accumulates)
        columns = [each.sum(axis=(0, 1)) / self.n_samples for each in done]
        numbers = np.array([*columns, self.ann]).T
        for name, values in zip((*self.layers, "a sample"), [*numbers, numbers.sum(axis=0)], strict=True):
            rows.append((name, *(f"{value:,.0f}" for value in values)))
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        return "\n".join(lines)


def count_operations(net: Sequential, x: Any) -> Operations:
    """Run a network on x and count its spikes and operations, for each sample, step and layer.

        done = evsim.count_operations(net, evsim.encoders.poisson(images, 200))
        done.synaptic.sum(axis=0).mean(axis=0)      # of a sample, each layer
        done.energy().mean()                        # J a sample

    The state is reset before and afterwards. Memory is bounded: frames of layers are kept of some samples at a time.

    Parameters
    ----------
    x : array (T, B, ...), or an input of `evsim.encoders`.

    Raises
    ------
    As the network itself does.
    """
    parts = [count_part(net, part) for part in run_parts(net, x, counted_nodes)]
    return join(parts)


def join(parts: list[Operations]) -> Operations:
    """Those of several batches, one after another."""
    first = parts[0]
    spikes, synaptic, multiplied = (
        np.concatenate([getattr(part, name) for part in parts], axis=1)
        for name in ("spikes", "synaptic", "multiply_accumulates")
    )
    return Operations(first.layers, spikes, synaptic, multiplied, first.ann)


def counted_nodes(built: BatchBuilt) -> list[int]:
    """The nodes whose frames tell of operations: those that spike, and those that a connection follows."""
    rows = [node.row for node in built.nodes]
    followed = [k + 1 < len(rows) and rows[k + 1][bm.KIND] != bm.POOL for k in range(len(rows))]
    return [k for k, row in enumerate(rows) if row[bm.SPIKING] == 1 or followed[k]]


def count_part(net: Sequential, part: Part) -> Operations:
    """What the frames of some samples tell."""
    given, nodes = part.given, part.built.nodes
    shape = given.shape[:2]
    layers, columns, ann = [], [], []
    counts = False  # whether what enters is known to be spikes
    for k, node in enumerate(nodes):
        row = node.row
        if row[bm.KIND] == bm.POOL:
            continue
        if k == 0:
            synaptic, multiplied = _of_input(given, node)
        else:
            synaptic, multiplied = _weigh(part.frames[k - 1], fan_out(node), counts)
        spikes = np.zeros(shape, np.int64)
        counts = bool(row[bm.SPIKING] == 1)
        if counts:
            spikes = part.frames[k].sum(axis=2, dtype=np.float64).astype(np.int64)
            if row[bm.BACK] >= 0:  # each spike comes back to all neurons of the layer in the next step
                synaptic[1:] += spikes[:-1] * node.size
        index = node.layer if node.connection is None else node.connection
        layers.append(f"{index} {net.layers[index]!r}" if node.connection is not None else f"{index} one to one")
        columns.append((spikes, synaptic, multiplied))
        ann.append(0 if row[bm.KIND] == bm.IDENTITY else node.n_synapses)
    spikes, synaptic, multiplied = (np.stack(each, axis=2) for each in zip(*columns, strict=True))
    return Operations(tuple(layers), spikes, synaptic, multiplied, np.array(ann, np.int64))


def fan_out(node: Node) -> I8:
    """Synapses of each unit before a node to it, in the engine's order: (units,)."""
    row = node.row
    if row[bm.KIND] != bm.CONV:
        return np.full(row[bm.N_IN], 1 if row[bm.KIND] == bm.IDENTITY else row[bm.N_OUT], np.int64)
    reach = []
    for n_in, n_out, kernel, stride, padding, dilation in (
        (bm.IN_ROWS, bm.OUT_ROWS, bm.KERNEL_ROWS, bm.STRIDE_ROWS, bm.PADDING_ROWS, bm.DILATION_ROWS),
        (bm.IN_COLUMNS, bm.OUT_COLUMNS, bm.KERNEL_COLUMNS, bm.STRIDE_COLUMNS, bm.PADDING_COLUMNS, bm.DILATION_COLUMNS),
    ):
        source = (
            np.add.outer(np.arange(row[n_out]) * row[stride], np.arange(row[kernel]) * row[dilation]) - row[padding]
        )
        inside = source[(source >= 0) & (source < row[n_in])]
        reach.append(np.bincount(inside, minlength=row[n_in]))
    targets = row[bm.OUT_CHANNELS] // row[bm.GROUPS]
    return np.repeat(np.multiply.outer(reach[0], reach[1]).ravel() * targets, row[bm.IN_CHANNELS]).astype(np.int64)


def _of_input(given: BatchInput | NDArray[Any], node: Node) -> tuple[I8, I8]:
    """Operations (T, B) of the input of the first node: of spikes, of values."""
    fan = fan_out(node)
    n_steps, n_samples = given.shape[:2]
    if isinstance(given, PoissonInput):
        given = given.events()
    if isinstance(given, EventInput):
        of_unit = np.empty_like(fan)
        of_unit[node.order_in] = fan
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(of_unit[given.index])])
        made = np.diff(total[given.start]).reshape(n_samples, n_steps).T
        return np.ascontiguousarray(made), np.zeros((n_steps, n_samples), np.int64)
    if isinstance(given, RepeatedInput):
        once = _weigh(as_frames(given.current[np.newaxis], node.order_in), fan)
        synaptic, multiplied = (np.repeat(each, n_steps, axis=0) for each in once)
        return synaptic, multiplied
    return _weigh(as_frames(given, node.order_in), fan)


def _weigh(frames: F4, fan: I8, counts: bool = False) -> tuple[I8, I8]:
    """Operations (T, B) of frames (T, B, units): of those that hold whole numbers of spikes, and of others."""
    synaptic, multiplied = np.zeros((2, *frames.shape[:2]), np.int64)
    weights = fan.astype(np.float64)  # whole numbers up to 2^53 are exact
    for t, frame in enumerate(frames):
        if counts:
            synaptic[t] = frame.astype(np.float64) @ weights
            continue
        whole = ((frame >= 0) & (frame <= bm.MOST_SPIKES) & (frame == np.rint(frame))).all(axis=1)
        cost = np.where(whole[:, np.newaxis], frame, frame != 0).astype(np.float64) @ weights
        synaptic[t], multiplied[t] = np.where(whole, cost, 0), np.where(whole, 0, cost)
    return synaptic, multiplied
