"""Layers -> BatchModel: nodes, fixed-point weights, coefficients, and the places of their state."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.aligned import aligned_zeros, join_aligned, whole_lines
from evsim.batch_node import Node
from evsim.batch_weights import write_weights
from evsim.coefficients import CoefficientPool, list_coefficients, resolve_parameters
from evsim.lanes import LANES
from evsim.layers import Connection, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pool, Recurrent
from evsim.model import BLOCK, JUMP
from evsim.neuron_checks import check_neurons
from evsim.neurons import NeuronModel

__all__ = ["BatchBuilt", "Node", "build_batch"]

Shape = tuple[int, ...]
HEADROOM = 8  # spikes of all units before in one step that sums have room for; with more they are sums of float32


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
            shape = n_samples, self.sizes[name]
            return aligned_zeros(shape, dtype) if shape[1] > 0 else np.zeros(shape, dtype)

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
    is_image = any(isinstance(layer, Conv2d | Pool) for layer in layers)
    builder = _Builder(shape, is_image, dt, seed)
    for index, layer in enumerate(layers):
        builder.add(index, layer)
    built = builder.finish()
    update_weights(built, layers)
    return built


def update_weights(built: BatchBuilt, layers: Sequence[Layer | NeuronModel]) -> None:
    """Write the weights and biases that the layers have now."""
    for k, node in enumerate(built.nodes):
        connection = None if node.connection is None else layers[node.connection]
        layer = layers[node.layer]
        back = layer.connection if isinstance(layer, Recurrent) else None
        if node.row[bm.KIND] != bm.POOL:
            write_weights(node, connection, back, built.model.weight)
        built.model.node[k], built.model.node_unit[k] = node.row, node.unit


class _Builder:
    """Adds nodes one after another; a connection waits for the neurons behind it."""

    def __init__(self, shape: Shape, is_image: bool, dt: float, seed: int) -> None:
        self.dt = dt
        self.key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.int64)
        self.nodes: list[Node] = []
        self.n_weights = 0
        self.pool = CoefficientPool(BLOCK)
        self.start, self.step = [], []  # type: ignore[var-annotated]
        self.theta: list[tuple[float, float]] = []
        self.initial_v: list[NDArray[np.float32]] = []
        self.sizes = {"v": 0, "current": 0, "refractory": 0, "theta": 0, "back": 0}
        self.waiting: tuple[int, Connection] | None = None
        self.shape = shape  # of what reaches the next layer
        self.source_shape = shape  # of what reaches the next node
        entering = shape if is_image else (prod(shape),)  # in the user's order, unless a layer looks at neighbours
        self.order = _order(entering)
        self.channels = _image(entering)[0]
        self.scale = 1.0
        self.most = HEADROOM  # as in Node

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
        """The arrays, still without weights."""
        if self.waiting is not None:
            self._add_connection(*self.waiting, None, self.shape)
        if not self.nodes:
            raise ValueError("Sequential: it has no layer that does anything; add a Linear, a Conv2d or neurons")
        model = bm.BatchModel(
            node=np.zeros((len(self.nodes), bm.N_COLUMNS), np.int64),
            node_unit=np.ones(len(self.nodes), np.float32),
            node_theta=np.array(self.theta),
            weight=aligned_zeros(self.n_weights, np.int32),
            parameter_value=self.pool.values(),
            parameter_start=np.array(self.start),
            parameter_step=np.array(self.step),
        )
        initial_v = join_aligned(self.initial_v, np.float32)
        return BatchBuilt(model, self.nodes, self.channels, self.shape, initial_v, self.sizes)

    def _new_node(self, index: int, label: str, shape: Shape, order: NDArray[np.int64], scale: float) -> Node:
        node = Node(label, index, shape, order, scale, self.order, self.scale, self.most)
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
        self._set_connection(node, connection, back)
        node.connection = None if self.waiting is None else self.waiting[0]
        self.waiting = None
        self.scale, self.most = 1.0, HEADROOM if node.row[bm.MULTI] else 1
        self.order = order
        self.source_shape = shape

    def _set_connection(self, node: Node, connection: Connection | None, back: Linear | None) -> None:
        """The kind and geometry of a node, and the places of its weights."""
        row, n_in = node.row, self.order.size
        row[bm.TILE_SIZE] = min(bm.TILE, whole_lines(node.size))
        if connection is None:
            row[bm.KIND], node.n_synapses = bm.IDENTITY, node.size
        elif isinstance(connection, Conv2d):
            row[bm.KIND], kernel = bm.CONV, connection.kernel()
            out_shape = connection.output_shape("", self.source_shape)
            geometry = connection.kernel_size, connection.stride, connection.padding, connection.dilation
            _set_geometry(row, self.source_shape, out_shape, *geometry)
            row[bm.GROUPS] = connection.groups
            row[bm.RUN] = whole_lines(kernel.shape[3] * kernel.shape[0] // connection.groups + LANES - 1)
            row[bm.WEIGHT] = self._reserve(connection.groups * kernel.shape[1] * kernel.shape[2] * int(row[bm.RUN]))
            node.n_synapses, node.n_weights = _count_synapses(row) * kernel.shape[0] * kernel.shape[1], kernel.size
        else:
            row[bm.KIND], row[bm.WEIGHT] = bm.LINEAR, self._reserve_tiles(node, n_in)
            node.n_synapses = node.n_weights = n_in * node.size
        if back is not None:
            row[bm.BACK], row[bm.BACK_AT] = self._reserve_tiles(node, node.size), self._take("back", node.size)
            node.n_synapses, node.n_weights = node.n_synapses + node.size**2, node.n_weights + node.size**2
        for column, each in ((bm.BIAS, connection), (bm.BACK_BIAS, back)):
            if each is not None and each.bias is not None:
                row[column] = self._reserve(node.size)

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

    def _reserve(self, n: int) -> int:
        """Where n fixed-point weights lie from now on."""
        start = self.n_weights
        self.n_weights += whole_lines(n)
        return start

    def _reserve_tiles(self, node: Node, n_in: int) -> int:
        tile = int(node.row[bm.TILE_SIZE])
        return self._reserve(-(-node.size // tile) * tile * n_in)

    def _take(self, name: str, n: int) -> int:
        start = self.sizes[name]
        self.sizes[name] += whole_lines(n)
        return start


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
