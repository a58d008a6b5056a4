"""Layers -> BatchModel: nodes, fixed-point weights, coefficients, and the places of their state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.aligned import aligned_zeros, join_aligned, whole_lines
from evsim.coefficients import CoefficientPool, list_coefficients, resolve_parameters
from evsim.dynamics import MAX_SPIKES
from evsim.lanes import LANES
from evsim.layers import Connection, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pool, Recurrent
from evsim.model import BLOCK, JUMP
from evsim.neuron_checks import check_neurons
from evsim.neurons import NeuronModel
from evsim.synapses import unit_for

__all__ = ["BatchBuilt", "Node", "build_batch"]

Shape = tuple[int, ...]
FIXED_BITS = 31  # of a sum of fixed-point weights, without its sign
HEADROOM = 8  # spikes of all units before in one step that sums have room for; with more they are sums of float32


@dataclass
class Node:
    """A node on its way into the BatchModel."""

    label: str  # for messages
    layer: int  # of the Sequential: the neurons, where there are any
    shape: Shape  # of a sample that leaves it, as the user sees it
    order: NDArray[np.int64]  # (n,) the user's number of each unit
    scale: float  # what its counts and values must be multiplied by: that of the pools before
    order_in: NDArray[np.int64]  # the same two of what enters it
    scale_in: float
    connection: int | None = None  # the layer whose weights it has
    row: NDArray[np.int64] = field(default_factory=lambda: np.full(bm.N_COLUMNS, -1, np.int64))
    unit: float = 1.0
    neurons: NeuronModel | None = None
    values: dict[str, Any] = field(default_factory=dict)  # the neurons' parameters, in the order of the units
    n_synapses: int = 0
    n_weights: int = 0

    @property
    def size(self) -> int:
        """Its units."""
        return int(self.order.size)


@dataclass(frozen=True)
class BatchBuilt:
    """A Sequential compiled for samples of one shape."""

    model: bm.BatchModel
    nodes: list[Node]
    channels: int  # of a sample that enters
    shape: Shape  # of a sample that leaves it
    initial_v: NDArray[np.float32]  # (units with v,)
    sizes: dict[str, int]  # entries of a sample's state, by the fields of BatchState

    def new_state(self, n_samples: int) -> bm.BatchState:
        """The state of n samples before their first step."""

        def zeros(name: str, dtype: Any) -> NDArray[Any]:
            return aligned_zeros((n_samples, self.sizes[name]), dtype)

        state = bm.BatchState(
            v=zeros("v", np.float32),
            current=zeros("current", np.float32),
            refractory=zeros("refractory", np.int32),
            theta=zeros("theta", np.float64),
            back=zeros("back", np.uint16),
            step=np.zeros(1, np.int64),
        )
        state.v[:] = self.initial_v
        return state


def owner(index: int, layer: Any) -> str:
    """How messages call a layer."""
    return f"layer {index} ({type(layer).__name__})"


def build_batch(layers: Sequence[Layer | NeuronModel], shape: Shape, dt: float, seed: int) -> BatchBuilt:
    """Compile layers for samples of `shape`."""
    builder = _Builder(shape, dt, seed)
    for index, layer in enumerate(layers):
        builder.add(index, layer)
    return builder.finish()


class _Builder:
    """Adds nodes one after another; a connection waits for the neurons behind it."""

    def __init__(self, shape: Shape, dt: float, seed: int) -> None:
        self.dt = dt
        self.key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.int64)
        self.nodes: list[Node] = []
        self.weights: list[NDArray[np.int32]] = []
        self.n_weights = 0
        self.pool = CoefficientPool(BLOCK)
        self.start, self.step = [], []  # type: ignore[var-annotated]
        self.theta: list[tuple[float, float]] = []
        self.initial_v: list[NDArray[np.float32]] = []
        self.sizes = {"v": 0, "current": 0, "refractory": 0, "theta": 0, "back": 0}
        self.waiting: tuple[int, Connection] | None = None
        self.shape = shape  # of what reaches the next layer
        self.source_shape = shape  # of what reaches the next node
        self.order = _order(shape)
        self.channels = _image(shape)[0]
        self.scale = 1.0
        self.most = HEADROOM  # spikes of a unit before in a step that sums must have room for

    def add(self, index: int, layer: Layer | NeuronModel) -> None:
        """Take in the next layer."""
        name = owner(index, layer)
        shape = layer.output_shape(name, self.shape) if isinstance(layer, Layer) else self.shape
        if isinstance(layer, Connection | Pool) and self.waiting is not None:
            self._add_connection(*self.waiting, None, self.shape)
        if isinstance(layer, Connection):
            self.waiting = (index, layer)
        elif isinstance(layer, Pool):
            self._add_pool(index, layer, shape)
        elif isinstance(layer, Recurrent | NeuronModel):
            before = self.waiting[1] if self.waiting is not None else None
            self._add_connection(index, before, layer, shape)
        elif not isinstance(layer, Flatten):
            raise TypeError(f"{name}: it is {layer!r}; it must be a layer or a neuron model")
        elif self.waiting is None:
            self.source_shape = shape
        self.shape = shape

    def finish(self) -> BatchBuilt:
        """The arrays."""
        if self.waiting is not None:
            self._add_connection(*self.waiting, None, self.shape)
        if not self.nodes:
            raise ValueError("Sequential: it has no layer that does anything; add a Linear, a Conv2d or neurons")
        model = bm.BatchModel(
            node=np.array([node.row for node in self.nodes]),
            node_unit=np.array([node.unit for node in self.nodes], np.float32),
            node_theta=np.array(self.theta),
            weight=join_aligned(self.weights, np.int32),
            parameter_value=self.pool.values(),
            parameter_start=np.array(self.start),
            parameter_step=np.array(self.step),
        )
        initial_v = join_aligned(self.initial_v, np.float32)
        return BatchBuilt(model, self.nodes, self.channels, self.shape, initial_v, self.sizes)

    def _new_node(self, index: int, label: str, shape: Shape, order: NDArray[np.int64], scale: float) -> Node:
        node = Node(label, index, shape, order, scale, self.order, self.scale)
        row = node.row
        row[bm.N_IN], row[bm.N_OUT] = self.order.size, order.size
        row[bm.COUNTED], row[bm.MOST] = self.most > 1, bm.MOST_SPIKES
        row[[bm.NEURONS, bm.SPIKING, bm.SOFT, bm.MULTI, bm.FILTERED, bm.REFRACTORY, bm.THETA_RESETS]] = 0
        self.nodes.append(node)
        self.start.append(np.zeros(JUMP + 1, np.int64))
        self.step.append(np.zeros(JUMP + 1, np.int64))
        self.theta.append((0.0, 1.0))
        return node

    def _add_pool(self, index: int, pool: Pool, shape: Shape) -> None:
        maximum = isinstance(pool, MaxPool2d)
        node = self._new_node(index, owner(index, pool), shape, _order(shape), self.scale * pool.scale)
        row = node.row
        row[bm.KIND], row[bm.MAXIMUM] = bm.POOL, maximum
        _set_geometry(row, self.source_shape, shape, pool.kernel_size, pool.stride, pool.padding, (1, 1))
        if not maximum:
            area = pool.kernel_size[0] * pool.kernel_size[1]
            self.most *= area
            row[bm.MOST] = bm.MOST_SPIKES // area
        self.scale, self.order, self.source_shape = node.scale, node.order, shape

    def _add_connection(
        self, index: int, connection: Connection | None, behind: Recurrent | NeuronModel | None, shape: Shape
    ) -> None:
        """A node: the connection that waits (or none: unit to unit), and the neurons behind it (or none)."""
        back = behind.connection if isinstance(behind, Recurrent) else None
        neurons = behind.neurons if isinstance(behind, Recurrent) else behind
        what = behind if behind is not None else connection
        own_shape = shape if connection is None else connection.output_shape("", self.source_shape)
        order = self.order if connection is None else _order(own_shape)
        node = self._new_node(index, owner(index, what), own_shape if neurons is None else shape, order, 1.0)
        if neurons is not None:
            self._set_neurons(node, neurons)
        if back is not None and node.row[bm.SPIKING] == 0:
            raise ValueError(f"{node.label}: its neurons, {type(neurons).__name__}, do not spike; they must")
        self._set_weights(node, connection, back)
        node.connection = None if self.waiting is None else self.waiting[0]
        self.waiting = None
        self.scale, self.most = 1.0, HEADROOM if node.row[bm.MULTI] else 1
        self.order = order
        self.source_shape = shape

    def _set_weights(self, node: Node, connection: Connection | None, back: Linear | None) -> None:
        """The fixed-point weights of a node, in the order that its kind has them in."""
        row = node.row
        bias, back_bias = (
            None if c is None or c.bias is None else c.bias.astype(np.float64) for c in (connection, back)
        )
        if connection is None:
            row[bm.KIND] = bm.IDENTITY
            weight = _scaled(np.ones((1, 1), np.float32), self.scale)
            node.n_synapses, node.n_weights = node.size, 0
        elif isinstance(connection, Conv2d):
            row[bm.KIND] = bm.CONV
            out_shape = connection.output_shape("", self.source_shape)
            geometry = connection.kernel_size, connection.stride, connection.padding, connection.dilation
            _set_geometry(row, self.source_shape, out_shape, *geometry)
            row[bm.GROUPS] = connection.groups
            weight = _scaled(connection.kernel(), self.scale)
            node.n_synapses, node.n_weights = _count_synapses(row) * weight.shape[0] * weight.shape[1], weight.size
        else:
            row[bm.KIND] = bm.LINEAR
            weight = _scaled(connection.weight[:, self.order], self.scale)
            node.n_synapses = node.n_weights = weight.size
        own = None if back is None else back.weight.astype(np.float64)[np.ix_(node.order, node.order)]
        back_bias = None if back_bias is None else back_bias[node.order]
        if own is not None:
            node.n_synapses, node.n_weights = node.n_synapses + own.size, node.n_weights + own.size
        biases = [each for each in (bias, back_bias) if each is not None]
        back_most = MAX_SPIKES if row[bm.MULTI] else 1
        node.unit = _unit(weight, self.most, own, back_most, biases)
        fixed = np.rint(weight / node.unit).astype(np.int64)
        rest = 2**FIXED_BITS - 1  # room for the spikes of the units before
        row[bm.TILE_SIZE] = min(bm.TILE, -(-node.size // LANES) * LANES)
        if row[bm.KIND] == bm.IDENTITY:
            row[bm.WEIGHT] = fixed[0, 0]
        elif row[bm.KIND] == bm.CONV:
            runs = _kernel_runs(fixed, int(row[bm.GROUPS]))
            row[bm.RUN], row[bm.WEIGHT] = runs.shape[-1], self._store(runs)
        else:
            row[bm.WEIGHT] = self._store(_tiles(fixed, int(row[bm.TILE_SIZE])))
        if own is not None:
            fixed_back = np.rint(own / node.unit).astype(np.int64)
            row[bm.BACK] = self._store(_tiles(fixed_back, int(row[bm.TILE_SIZE])))
            row[bm.BACK_AT] = self._take("back", node.size)
            rest -= int(_largest_sum(fixed_back)) * back_most
        for column, values in ((bm.BIAS, bias), (bm.BACK_BIAS, back_bias)):
            if values is not None:
                fixed_bias = np.rint(values / node.unit).astype(np.int64)
                each = fixed_bias if fixed_bias.size == node.size else np.tile(fixed_bias, node.size // fixed_bias.size)
                row[column] = self._store(each)
                rest -= int(np.abs(fixed_bias).max())
        row[bm.MOST] = min(rest // max(int(_largest_sum(fixed)), 1), bm.MOST_SPIKES)

    def _set_neurons(self, node: Node, neurons: NeuronModel) -> None:
        """The coefficients of a node's neurons, and the places of their state."""
        row, n = node.row, node.size
        check_neurons(node.label, neurons, n, self.dt)
        receptors = neurons.receptors()
        if len(receptors) != 1:
            raise ValueError(f"{node.label}: it has receptors {', '.join(receptors)}; a layer's neurons must have one")
        values = {
            name: value if value.ndim == 0 else value[node.order]
            for name, value in resolve_parameters(neurons, n, len(self.nodes), self.key).items()
        }
        c = neurons.coefficients(values, self.dt)
        for j, coefficient in enumerate(list_coefficients(neurons, c)):
            self.start[-1][j], self.step[-1][j] = self.pool.add(coefficient)
        self.theta[-1] = (c.theta_plus, c.theta_decay)
        node.neurons, node.values = neurons, values
        row[bm.NEURONS] = 1
        row[bm.SPIKING] = np.isfinite(c.v_threshold).any()
        row[bm.SOFT], row[bm.MULTI] = c.soft_reset, c.multi_spike
        row[bm.V_AT] = self._take("v", n)
        v = np.broadcast_to(np.asarray(neurons.resting_v(values), np.float32), (n,))
        self.initial_v.append(v.astype(np.float32))
        if neurons.currents():
            row[bm.FILTERED], row[bm.CURRENT_AT] = 1, self._take("current", n)
        if np.any(np.asarray(c.refractory_steps) > 0.0):
            row[bm.REFRACTORY], row[bm.REFRACTORY_AT] = 1, self._take("refractory", n)
        if c.theta_plus != 0.0:
            row[bm.THETA_AT], row[bm.THETA_RESETS] = self._take("theta", n), c.theta_resets

    def _store(self, fixed: NDArray[np.int64]) -> int:
        """Where fixed-point weights lie from now on."""
        start = self.n_weights
        self.weights.append(fixed.reshape(-1).astype(np.int32))
        self.n_weights += whole_lines(fixed.size)
        return start

    def _take(self, name: str, n: int) -> int:
        start = self.sizes[name]
        self.sizes[name] += whole_lines(n)
        return start


def _scaled(weight: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    """Weights with the scale of the pools before them, as float32 would hold them."""
    return (weight.astype(np.float64) * scale).astype(np.float32).astype(np.float64)


def _image(shape: Shape) -> tuple[int, int, int]:
    """(channels, rows, columns) of a sample's shape."""
    if len(shape) == 3:
        return shape
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (1, 1, int(np.prod(shape)))


def _order(shape: Shape) -> NDArray[np.int64]:
    """The user's number (C order of shape) of each unit, in the order (row, column, channel)."""
    channels, rows, columns = _image(shape)
    return np.arange(channels * rows * columns).reshape(channels, rows * columns).T.reshape(-1)


def _set_geometry(
    row: NDArray[np.int64],
    shape: Shape,
    out_shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    row[[bm.IN_CHANNELS, bm.IN_ROWS, bm.IN_COLUMNS]] = _image(shape)
    row[[bm.OUT_CHANNELS, bm.OUT_ROWS, bm.OUT_COLUMNS]] = _image(out_shape)
    row[[bm.KERNEL_ROWS, bm.KERNEL_COLUMNS]], row[[bm.STRIDE_ROWS, bm.STRIDE_COLUMNS]] = kernel, stride
    row[[bm.PADDING_ROWS, bm.PADDING_COLUMNS]] = padding
    row[[bm.DILATION_ROWS, bm.DILATION_COLUMNS]] = dilation


def _count_synapses(row: NDArray[np.int64]) -> int:
    """Pairs of a place and a place in reach of a convolution's kernel."""
    pairs = 1
    for n_in, n_out, kernel, stride, padding, dilation in (
        (bm.IN_ROWS, bm.OUT_ROWS, bm.KERNEL_ROWS, bm.STRIDE_ROWS, bm.PADDING_ROWS, bm.DILATION_ROWS),
        (bm.IN_COLUMNS, bm.OUT_COLUMNS, bm.KERNEL_COLUMNS, bm.STRIDE_COLUMNS, bm.PADDING_COLUMNS, bm.DILATION_COLUMNS),
    ):
        source = (
            np.arange(row[n_out])[:, None] * row[stride] + np.arange(row[kernel])[None] * row[dilation] - row[padding]
        )
        pairs *= int(((source >= 0) & (source < row[n_in])).sum())
    return pairs


def _tiles(fixed: NDArray[np.int64], tile: int) -> NDArray[np.int64]:
    """(targets, sources) as (tile, source, target of the tile), the last tile filled up with zeros."""
    n_out, n_in = fixed.shape
    n_tiles = -(-n_out // tile)
    filled = np.zeros((n_tiles * tile, n_in), np.int64)
    filled[:n_out] = fixed
    return filled.reshape(n_tiles, tile, n_in).transpose(0, 2, 1)


def _kernel_runs(fixed: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """(targets, sources of a group, rows, columns) as (source, row, run): column from the right, target, zeros."""
    n_out, n_in, rows, columns = fixed.shape
    grouped = fixed.reshape(groups, n_out // groups, n_in, rows, columns)[..., ::-1]
    runs = grouped.transpose(0, 2, 3, 4, 1).reshape(groups * n_in, rows, -1)
    return np.pad(runs, ((0, 0), (0, 0), (0, whole_lines(runs.shape[-1] + LANES - 1) - runs.shape[-1])))


def _largest_sum(weight: NDArray[Any]) -> Any:
    """The largest sum of the positive or of the negative weights of one target (first axis)."""
    flat = weight.reshape(len(weight), -1)
    return max(flat.clip(min=0).sum(axis=1).max(), -flat.clip(max=0).sum(axis=1).min())


def _unit(
    weight: NDArray[np.float64], most: int, back: NDArray[np.float64] | None, back_most: int, biases: list[Any]
) -> float:
    """What one unit of a node's fixed-point sums is worth: a power of two for which the largest sum fits.

    The largest sum is that of a step in which all units before spike `most` times, and its own spiked `back_most`.
    """
    bound = float(_largest_sum(weight)) * most + sum(float(np.abs(b).max()) for b in biases)
    bound += 0.0 if back is None else float(_largest_sum(back)) * back_most
    return float(unit_for(np.array(bound), FIXED_BITS))
