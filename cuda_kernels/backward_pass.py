"""Backpropagation through time on the GPU, the host's side: what a run keeps stays there, and so does the way back.

The host sends the gradient of the output and the weights as float32, and fetches gradients; nothing step by step. The
order of every sum is decided by steps and groups of samples, as many as on the CPU, never by blocks, threads or chunks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt, Node
from evsim.buffers import Buffers
from evsim.cuda_kernels.backward_frames import Window, add_rows, pool_back, read_frames, scale_and_add
from evsim.cuda_kernels.backward_neurons import Neurons, slope_kernel, through_neurons, through_recurrent
from evsim.cuda_kernels.backward_weights import ROWS, TARGETS, add_groups, add_weights, multiply_back
from evsim.cuda_kernels.phases import THREADS, WARP
from evsim.cuda_kernels.target import configure_launch, cuda
from evsim.layers import Conv2d, Recurrent
from evsim.model import JUMP
from evsim.sequential import Sequential
from evsim.training.backward_pass import as_units
from evsim.training.groups import group_edges
from evsim.training.record import Chunk, Record
from evsim.training.stepwise import parameter_gradients

F4 = NDArray[np.float32]
COLUMNS = (  # of a node, in the order of Window
    bm.IN_ROWS, bm.IN_COLUMNS, bm.IN_CHANNELS, bm.OUT_ROWS, bm.OUT_COLUMNS, bm.OUT_CHANNELS,
    bm.KERNEL_ROWS, bm.KERNEL_COLUMNS, bm.STRIDE_ROWS, bm.STRIDE_COLUMNS, bm.PADDING_ROWS, bm.PADDING_COLUMNS,
    bm.DILATION_ROWS, bm.DILATION_COLUMNS,
)  # fmt: skip
READING_BLOCKS = 128  # that read the input's frames


class CudaRecord(Record):
    """A run whose chunks stay on the device, and with them its input."""

    def __init__(
        self, built: BatchBuilt, engine: Any, state: bm.BatchState, given: Any, every: int | None, buffers: Buffers
    ) -> None:
        self._sent = engine.send(given)
        super().__init__(built, engine, state, given, every, buffers)

    def frames(self, k: int) -> NDArray[Any]:
        on_device: Any = self.last.frames[k]
        made: NDArray[Any] = on_device.copy_to_host()
        return made

    def _run(self, state: bm.BatchState, first: int, stop: int) -> Chunk:
        kept = self._engine.run_kept(state, self._given, self._sent, first, stop, self._requests)
        return self._chunk_of(first, stop, (self._engine, self._sent), kept)

    def _count(self, counts: Any) -> NDArray[np.int64]:
        return _sum_over(counts, cuda.to_device(group_edges(counts.shape[1]))).astype(np.int64)


class CudaBackwardPass:
    """Takes chunks, the last one first, and then has the gradients: BackwardPass on the GPU."""

    def __init__(self, net: Sequential, built: BatchBuilt, n_samples: int, wants_input: bool) -> None:
        self._net, self._built, self._n_samples, self._wants_input = net, built, n_samples, wants_input
        self._edges = cuda.to_device(group_edges(n_samples))
        self._n_groups = self._edges.size - 1
        self._is_new = True  # nothing has been carried or summed yet
        self._at_rest = False
        self._rooms: list[Any] = [None, None]  # for gradients: what is read and what is written, in turn
        self._turn = 0
        self._kept: dict[Any, Any] = {}  # arrays on the device that go on from chunk to chunk

    def through(self, chunk: Chunk, output_gradient: Any, layers: dict[int, Any]) -> F4:
        """Go back through a chunk; where that is wanted, returns the gradient of its input (T, B, units)."""
        nodes = self._built.nodes
        self._at_rest = chunk.first == 0 and int(chunk.state.step[0]) == 0  # the neurons before the first step
        self._source: Any = None
        given = cuda.to_device(as_units(nodes[-1], output_gradient) * np.float32(nodes[-1].scale))
        for k in reversed(range(len(nodes))):
            node = nodes[k]
            if node.layer in layers:
                _combine(given, 1.0, cuda.to_device(as_units(node, layers[node.layer])))
            wanted = k > 0 or self._wants_input
            if node.row[bm.KIND] == bm.POOL:
                given = self._through_pool(k, chunk, given)
                continue
            if node.row[bm.NEURONS] == 1:
                given = self._through_neurons(k, chunk, given)
            if node.connection is not None:
                self._add_connection(k, chunk, given)
                if wanted:
                    given = self._multiply_back(k, given)
            elif wanted:
                _combine(given, node.scale_in)
        self._is_new = False
        if not self._wants_input:
            return np.empty(0, np.float32)
        x = np.empty(given.shape, np.float32)
        x[:, :, nodes[0].order_in] = given.copy_to_host()
        return x

    def gradients(self) -> dict[str, F4]:
        """The gradients of all weights, biases and learned parameters of neurons, by name."""
        made = dict[str, F4]()
        for k in reversed(range(len(self._built.nodes))):
            node, name = self._built.nodes[k], self._built.nodes[k].layer
            layer: Any = self._net.layers[name]
            if _learns(node):
                sums, dv = (
                    _sum_over(each.reshape(1, self._n_samples, each.size // self._n_samples), self._edges)
                    for each in (self._kept[k, "sums"], self._kept[k, "dv"])
                )
                at_rest = dv if self._at_rest else None
                learned = parameter_gradients(node, self._net.dt, sums.reshape(JUMP + 1, node.size), at_rest)
                made.update({f"{name}.{each}": gradient for each, gradient in learned.items()})
            if isinstance(layer, Recurrent):
                weight, bias = np.empty((node.size, node.size), np.float32), np.empty(node.size, np.float32)
                weight[np.ix_(node.order, node.order)] = self._total_of(k, "back").reshape(node.size, node.size).T
                bias[node.order] = self._sum_of(k, "back")
                made[f"{name}.connection.weight"] = weight
                if layer.connection is not None and layer.connection.bias is not None:
                    made[f"{name}.connection.bias"] = bias
            if node.connection is not None:
                made |= self._connection_gradients(k)
        return made

    def _room(self, *shape: int) -> Any:
        """An array (T, B, n) that is not the one before."""
        size, self._turn = int(np.prod(shape)), 1 - self._turn
        if self._rooms[self._turn] is None or self._rooms[self._turn].size < size:
            largest = max(self._built.nodes[0].order_in.size, *(node.size for node in self._built.nodes))
            self._rooms[self._turn] = cuda.device_array(max(size, size // shape[-1] * largest), np.float32)
        return self._rooms[self._turn][:size].reshape(shape)

    def _keep(self, key: Any, *shape: int, dtype: Any = np.float32) -> Any:
        """An array that goes on from chunk to chunk, not yet filled at first."""
        if key not in self._kept:
            self._kept[key] = cuda.device_array(shape, dtype)
        return self._kept[key]

    def _send(self, key: Any, array: NDArray[Any]) -> Any:
        """An array on the device, sent once."""
        if key not in self._kept:
            self._kept[key] = cuda.to_device(np.ascontiguousarray(array))
        return self._kept[key]

    def _through_neurons(self, k: int, chunk: Chunk, given: Any) -> Any:
        node, (engine, _) = self._built.nodes[k], chunk.given
        n_steps, n_samples, n = chunk.pre[k].shape
        gradient, model = self._room(n_steps, n_samples, n), engine.model
        value, start, step = model.parameter_value, model.parameter_start[k], model.parameter_step[k]
        neurons, learns, spiking = node.neurons, _learns(node), bool(node.row[bm.SPIKING])
        assert neurons is not None
        if spiking:
            kernel, numbers = slope_kernel(neurons.surrogate)
            pre, slope = _rows(chunk.pre[k]), _rows(gradient)
            configure_launch(kernel, n_steps * n_samples, THREADS)(numbers, pre, value, start, step, slope)
        nothing = self._send("nothing", np.zeros((1, 1, 1), np.float32))
        run = Neurons(
            pre=chunk.pre[k],
            count=chunk.frames[k] if spiking else self._send("no counts", np.zeros((1, 1, 1), np.uint8)),
            current=chunk.current.get(k, nothing),
            given=given,
            gradient=gradient,
            v_first=chunk.state.v,
            i_first=chunk.state.current,
            v_at=int(node.row[bm.V_AT]),
            i_at=max(int(node.row[bm.CURRENT_AT]), 0),
            dv=self._keep((k, "dv"), n_samples, n),
            di=self._keep((k, "di"), n_samples, n),
            sums=self._keep((k, "sums"), n_samples if learns else 1, JUMP + 1, n if learns else 1, dtype=np.float64),
            value=value,
            start=start,
            step=step,
            spiking=spiking,
            soft=bool(node.row[bm.SOFT]),
            detach=bool(neurons.detach_reset),
            filtered=bool(node.row[bm.FILTERED]),
            learns=learns,
        )
        layer: Any = self._net.layers[node.layer]
        if isinstance(layer, Recurrent):
            self._through_recurrent(k, chunk, run, layer)
        else:
            configure_launch(through_neurons, -(-n_samples * n // THREADS), THREADS)(run, self._is_new)
        return gradient

    def _through_recurrent(self, k: int, chunk: Chunk, run: Neurons, layer: Recurrent) -> None:
        node = self._built.nodes[k]
        n_samples, n = run.pre.shape[1:]
        assert layer.connection is not None
        weight = self._send((k, "back weight"), layer.connection.weight[np.ix_(node.order, node.order)])
        after = self._keep((k, "after"), n_samples, n)
        configure_launch(through_recurrent, n_samples, THREADS)(run, weight, after, self._is_new)
        window = _window_of_linear(n, n)
        self._add_weights((k, "back"), window, run.count, 1, chunk.state.back, int(node.row[bm.BACK_AT]), run.gradient)
        first = 0 if chunk.first > 0 or int(chunk.state.step[0]) > 0 else 1
        self._add_rows(k, "back", run.gradient, first)

    def _add_connection(self, k: int, chunk: Chunk, given: Any) -> None:
        """Add what a chunk says of the gradients of node k's weights and biases."""
        connection: Any = self._net.layers[self._built.nodes[k].connection]  # type: ignore[index]
        frames = self._frames_before(k, chunk)
        nothing = self._send("no back", np.zeros((1, 1), np.uint16))
        self._add_weights((k, "weight"), self._window(k), frames, 0, nothing, 0, given)
        if connection.bias is not None:
            self._add_rows(k, "bias", given, 0)

    def _add_weights(
        self, key: Any, window: Window, frames: Any, lag: int, before: Any, before_at: int, gradient: Any
    ) -> None:
        n_steps, n_samples, n = gradient.shape
        targets = window.out_channels // window.groups
        taps = window.in_channels * window.kernel_rows * window.kernel_columns
        sums = self._keep((*key, "sums"), self._n_groups, taps * targets)
        width = min(THREADS, 1 << (targets - 1).bit_length())
        grid = -(-taps // (THREADS // width)), -(-targets // (TARGETS * width)), self._n_groups
        flat = gradient.reshape(n_steps * n_samples * n)
        configure_launch(add_weights, grid, THREADS)(
            window, frames, before, before_at, lag, flat, n_steps, n_samples, self._edges, width, self._is_new, sums
        )

    def _total_of(self, k: int, name: str) -> F4:
        """The sum over all groups of samples, fetched."""
        sums = self._kept[k, name, "sums"]
        total = cuda.device_array(sums.shape[1], np.float32)
        configure_launch(add_groups, -(-total.size // THREADS), THREADS)(sums, total)
        made: F4 = total.copy_to_host()
        return made

    def _add_rows(self, k: int, name: str, x: Any, first_step: int) -> None:
        sums = self._keep((k, name, "rows"), self._n_groups, x.shape[2], dtype=np.float64)
        _add_rows(x, self._edges, first_step, self._is_new, sums)

    def _sum_of(self, k: int, name: str) -> NDArray[np.float64]:
        """The sum of rows over all groups of samples, fetched."""
        sums: NDArray[np.float64] = self._kept[k, name, "rows"].copy_to_host()
        return sums.sum(axis=0)

    def _multiply_back(self, k: int, gradient: Any) -> Any:
        """The gradient of what enters node k's connection, from that of its targets; both (T, B, units)."""
        node, window = self._built.nodes[k], self._window(k)
        connection: Any = self._net.layers[node.connection]  # type: ignore[index]
        if isinstance(connection, Conv2d):
            kernel = connection.kernel().reshape(window.groups, -1, *connection.kernel().shape[1:])
            weight = kernel.transpose(0, 3, 4, 1, 2)  # (group, row, column, target, source)
        else:
            weight = connection.weight[:, node.order_in]
        weight = self._send((k, "weight"), (weight * np.float32(node.scale_in)).reshape(-1))
        n_steps, n_samples, n = gradient.shape
        made = self._room(n_steps, n_samples, node.order_in.size)
        rows = n_steps * n_samples * window.in_rows * window.in_columns
        grid = -(-rows // ROWS), -(-(window.in_channels // window.groups) // WARP), window.groups
        flat = gradient.reshape(n_steps * n_samples * n)
        configure_launch(multiply_back, grid, THREADS)(
            window, flat, weight, n_steps * n_samples, made.reshape(made.size)
        )
        return made

    def _through_pool(self, k: int, chunk: Chunk, given: Any) -> Any:
        node = self._built.nodes[k]
        maximum = bool(node.row[bm.MAXIMUM])
        n_steps, n_samples, _ = given.shape
        made = self._room(n_steps, n_samples, node.order_in.size)
        before, after = (self._frames_before(k, chunk), chunk.frames[k]) if maximum else (given, given)
        rows = [_rows(each) for each in (before, after, given, made)]
        configure_launch(pool_back, n_steps * n_samples, THREADS)(self._window(k), maximum, *rows)
        return made

    def _frames_before(self, k: int, chunk: Chunk) -> Any:
        """What enters node k."""
        if k > 0:
            return chunk.frames[k - 1]
        if self._source is None:
            engine, sent = chunk.given
            n_steps, n = chunk.stop - chunk.first, self._built.nodes[0].order_in.size
            self._source = cuda.device_array((n_steps, self._n_samples, n), np.float32)
            blocks = min(n_steps * self._n_samples, READING_BLOCKS)
            configure_launch(read_frames, blocks, THREADS)(
                sent, engine.frames_of(blocks), self._built.channels, chunk.first, self._n_samples, _rows(self._source)
            )
        return self._source

    def _window(self, k: int) -> Window:
        """The geometry of node k."""
        row, node = self._built.nodes[k].row, self._built.nodes[k]
        if row[bm.KIND] == bm.LINEAR:
            return _window_of_linear(node.order_in.size, node.size)
        return Window._make([*(int(row[column]) for column in COLUMNS), max(int(row[bm.GROUPS]), 1)])

    def _connection_gradients(self, k: int) -> dict[str, F4]:
        node, window = self._built.nodes[k], self._window(k)
        connection: Any = self._net.layers[node.connection]  # type: ignore[index]
        total = self._total_of(k, "weight") * np.float32(node.scale_in)
        if isinstance(connection, Conv2d):
            kernel = window.kernel_rows, window.kernel_columns
            by_group = total.reshape(window.groups, window.in_channels // window.groups, *kernel, -1)
            weight = np.ascontiguousarray(by_group.transpose(0, 4, 1, 2, 3)).reshape(connection.weight.shape)
        else:
            weight = np.empty(connection.weight.shape, np.float32)
            weight[:, node.order_in] = total.reshape(node.order_in.size, node.size).T
        made = {f"{node.connection}.weight": weight}
        if connection.bias is not None:  # units are numbered (row, column, channel)
            bias = self._sum_of(k, "bias").reshape(-1, connection.bias.size).sum(axis=0)
            made[f"{node.connection}.bias"] = bias.astype(np.float32)
        return made


def _learns(node: Node) -> bool:
    return node.neurons is not None and bool(node.neurons.learned())


def _add_rows(x: Any, edges: Any, first_step: int, is_new: bool, sums: Any) -> None:
    """Add x (T, B, n) of the steps from first_step on to sums (groups, n)."""
    grid = -(-x.shape[2] // THREADS), edges.size - 1
    configure_launch(add_rows, grid, THREADS)(x, edges, first_step, is_new, sums)


def _sum_over(x: Any, edges: Any) -> NDArray[np.float64]:
    """The sum of x (T, B, n) over steps and samples, fetched."""
    sums = cuda.device_array((edges.size - 1, x.shape[2]), np.float64)
    _add_rows(x, edges, 0, True, sums)
    total: NDArray[np.float64] = sums.copy_to_host().sum(axis=0)
    return total


def _combine(x: Any, scale: float, y: Any = None) -> None:
    """x (T, B, n) becomes scale * x + y."""
    if scale == 1.0 and y is None:
        return
    rows = _rows(x)
    added = cuda.device_array((0, 0), np.float32) if y is None else _rows(y)
    configure_launch(scale_and_add, rows.shape[0], THREADS)(rows, np.float32(scale), added)


def _rows(x: Any) -> Any:
    """(T, B, n) as (T * B, n)."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _window_of_linear(n_in: int, n_out: int) -> Window:
    return Window(1, 1, n_in, 1, 1, n_out, 1, 1, 1, 1, 0, 0, 1, 1, 1)
