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
from evsim.lanes import LANES
from evsim.layers import Connection, Conv2d, Linear, Recurrent
from evsim.model import V_THRESHOLD
from evsim.sequential import Sequential
from evsim.training import backward_kernels as kernels
from evsim.training.groups import group_edges, share_groups
from evsim.training.images import pool_gradient, source_gradient
from evsim.training.record import Chunk
from evsim.training.stepwise import StepwiseNeurons

F4 = NDArray[np.float32]
SLOPES = 2**18  # surrogate derivatives computed at a time


class BackwardPass:
    """Takes chunks, the last one first, and then has the gradients."""

    def __init__(self, net: Sequential, built: BatchBuilt, n_samples: int, wants_input: bool) -> None:
        self._net, self._built, self._n_samples, self._wants_input = net, built, n_samples, wants_input
        nodes = built.nodes
        self._edges = group_edges(n_samples)
        order = nodes[0].order_in
        self._unit_of = np.empty(order.size, np.uint32)  # the engine's number of each unit of the input
        self._unit_of[order] = np.arange(order.size)
        self._in_order = bool((order == np.arange(order.size)).all())
        self._connections = {
            k: net.layers[node.connection] for k, node in enumerate(nodes) if node.connection is not None
        }
        self._weights = {k: self._sums_of(k) for k in self._connections}  # (groups, ...) float32
        self._biases = {k: np.zeros(nodes[k].size) for k in self._connections}
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
        given = as_units(nodes[-1], output_gradient) * np.float32(nodes[-1].scale)
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
            elif node.row[bm.NEURONS] == 1:
                given = self._through_neurons(k, chunk, given)
            connection: Any = self._connections.get(k)
            if connection is not None:
                self._add_weights(k, chunk, given)
                if connection.bias is not None:
                    steps = given[::-1].sum(axis=1, dtype=np.float64)
                    self._biases[k] = np.concatenate([self._biases[k][np.newaxis], steps]).sum(axis=0)
                if wanted and isinstance(connection, Conv2d):
                    given = source_gradient(connection, node, given)
                elif wanted:
                    given = self._multiply_back(connection, node, given)
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

    def _through_neurons(self, k: int, chunk: Chunk, given: F4) -> F4:
        node, model = self._built.nodes[k], self._built.model
        assert node.neurons is not None
        spiking, pre = bool(node.row[bm.SPIKING]), chunk.pre[k]
        slope = pre
        if spiking:
            start, step = model.parameter_start[k, V_THRESHOLD], model.parameter_step[k, V_THRESHOLD]
            threshold = model.parameter_value[start : start + (node.size if step else 1)]
            slope = np.empty_like(pre)
            at_once = max(1, SLOPES // pre[0].size)
            for t in range(0, len(pre), at_once):
                slope[t : t + at_once] = node.neurons.surrogate.derivative(pre[t : t + at_once], threshold)
        gradient = np.empty_like(pre)
        shared = (
            pre, chunk.frames[k], slope, np.ascontiguousarray(given, np.float32), model.parameter_value,
            model.parameter_start[k], model.parameter_step[k], bool(node.row[bm.SOFT]), bool(node.neurons.detach_reset),
            bool(node.row[bm.FILTERED]), spiking,
        )  # fmt: skip
        dv, di = self._carried[k]

        def work(low: int, high: int) -> None:
            kernels.through_neurons(*shared, *self._edges[[low, high]], gradient, dv, di)

        share_groups(self._net.threads, self._edges, work)
        return gradient

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

    def _multiply_back(self, connection: Linear, node: Node, gradient: F4) -> F4:
        """The gradient of what enters a linear layer, from that of its targets; both (T, B, units)."""
        n_row = whole_lines(node.order_in.size)
        weight = aligned_zeros((gradient.shape[2], n_row), np.float32)
        weight[:, : node.order_in.size] = connection.weight[:, node.order_in] * np.float32(node.scale_in)
        made = np.empty((*gradient.shape[:2], node.order_in.size), np.float32)

        def work(low: int, high: int) -> None:
            sums = aligned_zeros(len(gradient) * bm.TILE, np.float32)
            kernels.multiply_back(gradient, *self._edges[[low, high]], weight.reshape(-1), n_row, made, sums)

        share_groups(self._net.threads, self._edges, work)
        return made

    def _sums_of(self, k: int) -> F4:
        """Room for the sums of a connection's weights, in the order that the kernels have them in."""
        row, connection = self._built.nodes[k].row, self._connections[k]
        shape: tuple[int, ...] = (int(row[bm.N_IN]), -(-int(row[bm.N_OUT]) // LANES) * LANES)
        if isinstance(connection, Conv2d):
            shape = (connection.in_channels // connection.groups, *connection.kernel_size, int(row[bm.OUT_CHANNELS]))
        return aligned_zeros((len(self._edges) - 1, *shape), np.float32)

    def _add_weights(self, k: int, chunk: Chunk, gradient: F4) -> None:
        row, connection, sums = self._built.nodes[k].row, self._connections[k], self._weights[k]

        def add(low: int, high: int) -> None:
            events = self._events(k, chunk, *self._edges[[low, high]])
            groups = self._edges[low : high + 1], sums[low:high]
            if isinstance(connection, Conv2d):
                kernels.add_convolution_gradient(
                    *events, gradient, int(row[bm.IN_COLUMNS]), int(row[bm.IN_CHANNELS]), int(row[bm.OUT_ROWS]),
                    int(row[bm.OUT_COLUMNS]), connection.stride, connection.padding, connection.dilation, *groups,
                )  # fmt: skip
            else:
                kernels.add_linear_gradient(*events, gradient, *groups, aligned_zeros(bm.TILE, np.float32))

        share_groups(self._net.threads, self._edges, add)

    def _events(self, k: int, chunk: Chunk, first: int, stop: int) -> tuple[Any, Any, Any]:
        """What enters node k of samples [first, stop), as `kernels.list_events` has it."""
        given = chunk.given
        if k == 0 and isinstance(given, EventInput):
            n_steps = given.shape[0]
            start = given.start[first * n_steps : stop * n_steps + 1]
            index = given.index[start[0] : start[-1]]
            if not self._in_order:
                index = self._unit_of[index]
            return start - start[0], index, np.empty(0, np.float32)
        frames = chunk.frames_before(k, self._built.nodes)
        start = np.zeros((stop - first) * len(frames) + 1, np.int64)
        index, times = np.empty(0, np.uint32), np.empty(0, np.float32)
        n = kernels.list_events(frames, first, stop, start, index, times)
        index, times = np.empty(n, np.uint32), np.empty(n, np.float32)
        kernels.list_events(frames, first, stop, start, index, times)
        return start, index, times

    def _connection_gradients(self, k: int) -> dict[str, F4]:
        node, connection = self._built.nodes[k], self._connections[k]
        assert isinstance(connection, Connection)
        total = self._weights[k].sum(axis=0) * np.float32(node.scale_in)
        if isinstance(connection, Conv2d):
            weight = np.ascontiguousarray(total.transpose(3, 0, 1, 2)).reshape(connection.weight.shape)
        else:
            weight = np.empty(connection.weight.shape, np.float32)
            weight[:, node.order_in] = total[:, : len(weight)].T
        made = {f"{node.connection}.weight": weight}
        if connection.bias is not None:  # units are numbered (row, column, channel)
            bias = self._biases[k].reshape(-1, connection.bias.size).sum(axis=0)
            made[f"{node.connection}.bias"] = bias.astype(np.float32)
        return made


def as_units(node: Node, gradient: Any) -> F4:
    """A gradient in the user's shape, in the order of a node's units."""
    flat = np.asarray(gradient, np.float32).reshape(*np.shape(gradient)[:2], node.size)
    return np.ascontiguousarray(flat if node.in_order else flat[:, :, node.order])
