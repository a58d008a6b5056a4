"""One way back through a recorded run, chunk by chunk: what goes on from step to step, and sums over all of them.

Every sum is made in an order of steps and samples that neither the chunks nor the threads decide: the last step first,
and samples in GROUPS groups.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.aligned import aligned_zeros, whole_lines
from evsim.batch_build import BatchBuilt, Node
from evsim.batch_input import EventInput
from evsim.layers import Connection, Conv2d, Linear, Recurrent
from evsim.sequential import Sequential
from evsim.training import backward_kernels as kernels
from evsim.training.gathering_kernels import collect_weights, fill_panels
from evsim.training.groups import group_edges, share_groups
from evsim.training.images import pool_gradient, source_gradient
from evsim.training.record import Chunk
from evsim.training.slopes import slopes
from evsim.training.stepwise import StepwiseNeurons

F4 = NDArray[np.float32]
NO_FRAMES, NO_VALUES = np.empty((0, 0, 0), np.uint8), np.empty((0, 0, 0), np.float32)
NO_CARRIED = np.empty((0, 0), np.float32)


class BackwardPass:
    """Takes chunks, the last one first, and then has the gradients."""

    def __init__(self, net: Sequential, built: BatchBuilt, n_samples: int, wants_input: bool) -> None:
        self._net, self._built, self._n_samples, self._wants_input = net, built, n_samples, wants_input
        nodes = built.nodes
        self._edges = group_edges(n_samples)
        self._connections: dict[int, Any] = {
            k: net.layers[node.connection] for k, node in enumerate(nodes) if node.connection is not None
        }
        self._sums = {k: self._sums_of(k) for k in self._connections}
        self._stepwise = {k: StepwiseNeurons(built, k, n_samples) for k in range(len(nodes)) if self._is_stepwise(k)}
        self._carried = {  # dv, di
            k: tuple(np.zeros((n_samples, node.size), np.float32) for _ in range(2))
            for k, node in enumerate(nodes)
            if node.row[bm.NEURONS] == 1 and k not in self._stepwise
        }
        recurrent = [k for k, node in enumerate(nodes) if isinstance(net.layers[node.layer], Recurrent)]
        self._after = {k: np.zeros((n_samples, nodes[k].size), np.float32) for k in recurrent}
        self._back_weights = {k: np.zeros((nodes[k].size, nodes[k].size), np.float32) for k in recurrent}
        self._back_biases = {k: np.zeros(nodes[k].size) for k in recurrent}

    def through(self, chunk: Chunk, output_gradient: Any, layers: dict[int, Any]) -> F4:
        """Go back through a chunk; where that is wanted, returns the gradient of its input (T, B, units)."""
        nodes = self._built.nodes
        extra = {node.layer: as_units(node, layers[node.layer]) for node in nodes if node.layer in layers}
        given = as_units(nodes[-1], output_gradient)
        if nodes[-1].scale != 1.0:
            given = given * np.float32(nodes[-1].scale)
        for k in reversed(range(len(nodes))):
            node = nodes[k]
            if node.layer in extra:
                given = given + extra[node.layer]
            wanted = k > 0 or self._wants_input
            if node.row[bm.KIND] == bm.POOL:
                given = pool_gradient(node.row, chunk.frames_before(k, nodes), chunk.frames[k], given)
                continue
            if k in self._stepwise:
                given = self._through_steps(k, chunk, given)
            connection = self._connections.get(k)
            if isinstance(connection, Linear):
                given = self._through_linear(k, chunk, given, wanted)
                continue
            if k in self._carried:
                given = self._through_neurons(k, chunk, given)
            if isinstance(connection, Conv2d):
                self._add_convolution(k, chunk, given)
                if wanted:
                    given = source_gradient(connection, node, given)
            elif wanted:
                given = given * np.float32(node.scale_in)
        if not self._wants_input:
            return given
        x = np.empty(given.shape, np.float32)
        x[:, :, nodes[0].order_in] = given
        return x

    def gradients(self) -> dict[str, F4]:
        """The gradients of all weights, biases and learned parameters of neurons, by name."""
        made = dict[str, F4]()
        nodes = self._built.nodes
        for k in reversed(range(len(nodes))):
            node, name = nodes[k], nodes[k].layer
            if k in self._stepwise:
                learned = self._stepwise[k].parameter_gradients(self._net.dt)
                made.update({f"{name}.{each}": gradient for each, gradient in learned.items()})
            if k in self._after:
                back = self._net.layers[name].connection  # type: ignore[union-attr]
                weight, bias = np.zeros_like(self._back_weights[k]), np.zeros(node.size, np.float32)
                weight[np.ix_(node.order, node.order)] = self._back_weights[k]
                bias[node.order] = self._back_biases[k]
                made[f"{name}.connection.weight"] = weight
                if back.bias is not None:
                    made[f"{name}.connection.bias"] = bias
            if k in self._connections:
                made |= self._connection_gradients(k)
        return made

    def _is_stepwise(self, k: int) -> bool:
        """Recurrent neurons, and those that learn themselves."""
        node = self._built.nodes[k]
        recurrent = isinstance(self._net.layers[node.layer], Recurrent)
        return node.neurons is not None and (recurrent or bool(node.neurons.learned()))

    def _neurons(self, k: int, chunk: Chunk, first: int, stop: int) -> tuple[Any, ...]:
        """The neurons of node k for samples [first, stop), as kernels have them; empty, where none are."""
        node, model = self._built.nodes[k], self._built.model
        row, starts, steps = node.row, model.parameter_start[k], model.parameter_step[k]
        if k not in self._carried:
            return NO_VALUES, NO_FRAMES, NO_VALUES, model.parameter_value, starts, steps, False, False, False, False
        assert node.neurons is not None
        pre, count, spiking = chunk.pre[k], chunk.frames[k], bool(row[bm.SPIKING])
        if spiking:
            slope = slopes(node.neurons.surrogate, pre, first, stop, model.parameter_value, starts, steps)
        else:
            slope, count = pre, np.zeros(pre.shape, np.uint8)
        return (
            pre, count, slope, model.parameter_value, starts, steps, bool(row[bm.SOFT]),
            bool(node.neurons.detach_reset), bool(row[bm.FILTERED]), spiking,
        )  # fmt: skip

    def _through_neurons(self, k: int, chunk: Chunk, given: F4) -> F4:
        """The gradient of what enters neurons, from that of what they give."""
        gradient, given = np.empty_like(chunk.pre[k]), np.ascontiguousarray(given, np.float32)

        def work(low: int, high: int) -> None:
            edges = self._edges[low : high + 1]
            neurons = self._neurons(k, chunk, edges[0], edges[-1])
            kernels.through_neurons(neurons, given, edges, gradient, *self._carried[k])

        share_groups(self._net.threads, self._edges, work)
        return gradient

    def _through_linear(self, k: int, chunk: Chunk, given: F4, wanted: bool) -> F4:
        """Through the neurons of a linear layer and the layer itself; of its sources (T, B, units), where wanted."""
        node, given = self._built.nodes[k], np.ascontiguousarray(given, np.float32)
        made = np.empty((*given.shape[:2], node.order_in.size if wanted else 0), np.float32)
        weight = self._panels(k) if wanted else np.empty(0, np.float32)
        source, carried = self._source(k, chunk), self._carried.get(k, (NO_CARRIED, NO_CARRIED))
        room = len(given), int(np.diff(self._edges).max()), self._sums[k][0].shape[2]

        def work(low: int, high: int) -> None:
            edges, sums = self._edges[low : high + 1], tuple(each[low:high] for each in self._sums[k])
            neurons = self._neurons(k, chunk, edges[0], edges[-1])
            panel = aligned_zeros(kernels.PANEL_ROOM, np.float32)
            scratch = aligned_zeros(room, np.float32), *_room_for(node.order_in.size), panel
            kernels.through_linear(neurons, given, source, edges, carried, sums, wanted, weight, made, scratch)

        share_groups(self._net.threads, self._edges, work)
        return made

    def _add_convolution(self, k: int, chunk: Chunk, gradient: F4) -> None:
        row, connection, source = self._built.nodes[k].row, self._connections[k], self._source(k, chunk)
        assert isinstance(connection, Conv2d)
        sizes = (
            int(row[bm.IN_COLUMNS]), int(row[bm.IN_CHANNELS]), int(row[bm.OUT_ROWS]), int(row[bm.OUT_COLUMNS]),
            connection.stride, connection.padding, connection.dilation,
        )  # fmt: skip
        most = int(np.diff(source[1]).max(initial=row[bm.N_IN]))

        def work(low: int, high: int) -> None:
            edges, sums = self._edges[low : high + 1], tuple(each[low:high] for each in self._sums[k])
            kernels.add_convolution(gradient, source, sizes, edges, sums, _room_for(most))

        share_groups(self._net.threads, self._edges, work)

    def _through_steps(self, k: int, chunk: Chunk, given: F4) -> F4:
        """Step by step; what recurrent spikes give back to the next step is part of their gradient."""
        node, neurons = self._built.nodes[k], self._stepwise[k]
        neurons.enter(chunk)
        gradient = np.empty_like(chunk.pre[k])
        if k not in self._after:
            for t in reversed(range(len(gradient))):
                gradient[t] = neurons.back(t, given[t])
            return gradient
        weight = self._net.layers[node.layer].connection.weight[np.ix_(node.order, node.order)]  # type: ignore[union-attr]
        at = node.row[bm.BACK_AT]
        first_back = np.asarray(chunk.state.back)[:, at : at + node.size]
        for t in reversed(range(len(gradient))):
            gradient[t] = neurons.back(t, given[t] + self._after[k])
            self._after[k] = gradient[t] @ weight
            if chunk.state.step[0] + t > 0:
                spikes = chunk.frames[k][t - 1] if t > 0 else first_back
                self._back_weights[k] += gradient[t].T @ spikes.astype(np.float32)
                self._back_biases[k] += gradient[t].sum(axis=0, dtype=np.float64)
        return gradient

    def _sums_of(self, k: int) -> tuple[F4, NDArray[np.float64]]:
        """Room for the sums of a connection's weights and biases, in the order that the kernels have them in."""
        row, connection = self._built.nodes[k].row, self._connections[k]
        n_out, n_groups = int(row[bm.N_OUT]), len(self._edges) - 1
        shape: tuple[int, ...] = (int(row[bm.N_IN]), whole_lines(n_out))
        if isinstance(connection, Conv2d):
            shape = (connection.in_channels // connection.groups, *connection.kernel_size, int(row[bm.OUT_CHANNELS]))
        biases = np.zeros((n_groups, 0 if connection.bias is None else n_out))
        return aligned_zeros((n_groups, *shape), np.float32), biases

    def _panels(self, k: int) -> F4:
        """The weights of a linear layer as `_multiply` takes them, flat: (panel of sources, target, source of it)."""
        node, weight = self._built.nodes[k], self._connections[k].weight
        n_panels = -(-node.order_in.size // kernels.PANEL)
        panels = aligned_zeros((n_panels, len(weight), kernels.PANEL), np.float32)
        fill_panels(weight, node.order_in, np.float32(node.scale_in), panels)
        return panels.reshape(-1)

    def _source(self, k: int, chunk: Chunk) -> tuple[Any, NDArray[np.int64], NDArray[np.uint32], int]:
        """What enters node k: its frames, or empty ones and listed spikes."""
        given = chunk.given
        if k == 0 and isinstance(given, EventInput):
            unit_of = self._built.nodes[0].unit_of
            index = given.index if unit_of is None else unit_of.take(given.index, mode="clip")
            return NO_FRAMES, given.start, index, given.stride
        return chunk.frames_before(k, self._built.nodes), np.empty(0, np.int64), np.empty(0, np.uint32), 0

    def _connection_gradients(self, k: int) -> dict[str, F4]:
        node, connection = self._built.nodes[k], self._connections[k]
        assert isinstance(connection, Connection)
        weights, biases = self._sums[k]
        weight, scale = np.empty(connection.weight.shape, np.float32), np.float32(node.scale_in)
        if isinstance(connection, Conv2d):
            weight[:] = (weights.sum(axis=0) * scale).transpose(3, 0, 1, 2).reshape(weight.shape)
        else:
            collect_weights(weights, node.order_in, scale, weight)
        made = {f"{node.connection}.weight": weight}
        if connection.bias is not None:  # units are numbered (row, column, channel)
            bias = biases.sum(axis=0).reshape(-1, connection.bias.size).sum(axis=0)
            made[f"{node.connection}.bias"] = bias.astype(np.float32)
        return made


def as_units(node: Node, gradient: Any) -> F4:
    """A gradient in the user's shape, in the order of a node's units."""
    flat = np.asarray(gradient, np.float32).reshape(*np.shape(gradient)[:2], node.size)
    return np.ascontiguousarray(flat if node.in_order else flat[:, :, node.order])


def _room_for(n: int) -> tuple[NDArray[np.uint32], F4]:
    """Room for n units of a frame and how often they spiked; one more is written."""
    return np.empty(n + 1, np.uint32), np.empty(n + 1, np.float32)
