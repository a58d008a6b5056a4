"""One way back through a recorded run, chunk by chunk: what goes on from step to step, and sums over all of them.

Every sum is made in an order of steps and samples that neither the chunks nor the threads decide: the last step first,
and samples in GROUPS groups.
"""

from itertools import pairwise
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.aligned import whole_lines
from evsim.batch_build import BatchBuilt, Node
from evsim.batch_input import EventInput
from evsim.layers import Connection, Conv2d, Linear, Recurrent
from evsim.sequential import Sequential
from evsim.threads import share_out
from evsim.training import backward_kernels as kernels
from evsim.training.gathering_kernels import collect_weights, fill_panels
from evsim.training.groups import group_edges, share_groups
from evsim.training.images import pool_gradient, source_gradient
from evsim.training.neuron_kernels import Kind, NeuronsBack
from evsim.training.record import Chunk
from evsim.training.stepwise import StepwiseNeurons

F4 = NDArray[np.float32]
NO_FRAMES = np.empty((0, 0, 0), np.uint8)
SOURCES_AT_ONCE = 128  # whose gradients a thread collects
LARGE = 2**14  # weights of a layer of which several threads collect the gradients
f32 = np.float32


class BackwardPass:
    """Takes chunks, the last one first, and then has the gradients."""

    def __init__(self, net: Sequential, built: BatchBuilt, n_samples: int, wants_input: bool) -> None:
        self._net, self._built, self._n_samples, self._wants_input = net, built, n_samples, wants_input
        nodes = built.nodes
        self._edges = group_edges(n_samples)
        self._is_new = True  # nothing has been summed up yet
        self._empty = net.buffers.empty
        self._connections: dict[int, Any] = {
            k: net.layers[node.connection] for k, node in enumerate(nodes) if node.connection is not None
        }
        self._sums = {k: self._sums_of(k) for k in self._connections}
        self._stepwise = {k: StepwiseNeurons(built, k, n_samples) for k in range(len(nodes)) if self._is_stepwise(k)}
        self._carried = {
            k: (
                self._empty(("dv", k), (n_samples, node.size), f32),
                self._empty(("di", k), (n_samples, node.size), f32),
            )
            for k, node in enumerate(nodes)
            if node.row[bm.NEURONS] == 1 and k not in self._stepwise
        }
        self._neurons = {k: self._neurons_back(k) for k in self._carried}
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
        behind: list[int] = []  # linear layers that are still to be gone through, all at once
        for k in reversed(range(len(nodes))):
            node = nodes[k]
            if behind and (node.layer in extra or not self._is_plain_linear(k)):
                given, behind = self._through_linear(behind, chunk, given), []
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
                behind.append(k)
                continue
            if k in self._carried:
                given = self._through_neurons(k, chunk, given)
            if isinstance(connection, Conv2d):
                self._add_convolution(k, chunk, given)
                if wanted:
                    given = source_gradient(connection, node, given)
            elif wanted:
                given = given * np.float32(node.scale_in)
        if behind:
            given = self._through_linear(behind, chunk, given)
        self._is_new = False
        if not self._wants_input:
            return given
        x = np.empty(given.shape, np.float32)
        x[:, :, nodes[0].order_in] = given
        return x

    def gradients(self) -> dict[str, F4]:
        """The gradients of all weights, biases and learned parameters of neurons, by name."""
        made, collected = dict[str, F4](), self._collect()
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
                made |= self._connection_gradients(k, collected.get(k))
        return made

    def _is_plain_linear(self, k: int) -> bool:
        return k not in self._stepwise and isinstance(self._connections.get(k), Linear)

    def _is_stepwise(self, k: int) -> bool:
        """Recurrent neurons, and those that learn themselves."""
        node = self._built.nodes[k]
        recurrent = isinstance(self._net.layers[node.layer], Recurrent)
        return node.neurons is not None and (recurrent or bool(node.neurons.learned()))

    def _neurons_back(self, k: int) -> NeuronsBack:
        node, model = self._built.nodes[k], self._built.model
        assert node.neurons is not None
        flags = (node.row[bm.SOFT], node.neurons.detach_reset, node.row[bm.FILTERED], node.row[bm.SPIKING])
        coefficients = model.parameter_value, model.parameter_start[k], model.parameter_step[k]
        return NeuronsBack(node.neurons.surrogate, Kind(*map(bool, flags)), *coefficients)

    def _through_neurons(self, k: int, chunk: Chunk, given: F4) -> F4:
        """The gradient of what enters neurons, from that of what they give."""
        gradient, given = np.empty_like(chunk.pre[k]), np.ascontiguousarray(given, np.float32)

        def work(low: int, high: int) -> None:
            self._back(k, chunk, low, high, given, gradient, 0)

        share_groups(self._net.threads, self._edges, work)
        return gradient

    def _back(self, k: int, chunk: Chunk, low: int, high: int, given: F4, made: F4, offset: int) -> None:
        """The same for groups [low, high), into an array whose first sample is number `offset`."""
        first, stop = int(self._edges[low]), int(self._edges[high])
        if k not in self._neurons:
            made[:, first - offset : stop - offset, : given.shape[2]] = given[:, first:stop]
            return
        if self._is_new:
            for each in self._carried[k]:
                each[first:stop] = 0.0
        s = chunk.frames[k] if self._built.nodes[k].row[bm.SPIKING] == 1 else NO_FRAMES
        self._neurons[k](chunk.pre[k], s, (first, stop), given, made, offset, self._carried[k])

    def _through_linear(self, layers: list[int], chunk: Chunk, given: F4) -> F4:
        """Through linear layers, one behind the other, with their neurons; of the sources of the last (T, B, units).

        A thread takes its samples through all of them: what one layer gives the next is then still in its cache.
        """
        frames, wanted = given.shape[:2], {k: k > 0 or self._wants_input for k in layers}
        between = {
            k: self._empty(("gradient", k), (*frames, self._built.nodes[k].order_in.size if wanted[k] else 0), f32)
            for k in layers
        }
        given = np.ascontiguousarray(given, np.float32)
        panels, sources = {k: self._panels(k, wanted[k]) for k in layers}, {k: self._source(k, chunk) for k in layers}

        def work(low: int, high: int) -> None:
            now, edges = given, self._edges[low : high + 1]
            first, n = int(edges[0]), int(edges[-1] - edges[0])
            for k in layers:
                gradient = self._empty(("entering", get_ident()), (frames[0], n, whole_lines(now.shape[2])), f32)
                self._back(k, chunk, low, high, now, gradient, first)
                sums, scratch = self._sums_of_groups(k, low, high), _room_for(self._built.nodes[k].order_in.size)
                kernels.through_linear(gradient, edges, sources[k], sums, wanted[k], panels[k], between[k], scratch)
                now = between[k]
                del gradient  # whose memory is the next one's

        share_groups(self._net.threads, self._edges, work)
        return between[layers[-1]]

    def _add_convolution(self, k: int, chunk: Chunk, gradient: F4) -> None:
        row, connection, source = self._built.nodes[k].row, self._connections[k], self._source(k, chunk)
        assert isinstance(connection, Conv2d)
        sizes = (
            int(row[bm.IN_COLUMNS]), int(row[bm.IN_CHANNELS]), int(row[bm.OUT_ROWS]), int(row[bm.OUT_COLUMNS]),
            connection.stride, connection.padding, connection.dilation,
        )  # fmt: skip
        most = int(np.diff(source[1]).max(initial=row[bm.N_IN]))

        def work(low: int, high: int) -> None:
            edges, sums = self._edges[low : high + 1], self._sums_of_groups(k, low, high)
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
        n_biases = 0 if connection.bias is None else n_out
        return (
            self._empty(("weights", k), (n_groups, *shape), f32),
            self._empty(("biases", k), (n_groups, n_biases), np.float64),
        )

    def _sums_of_groups(self, k: int, low: int, high: int) -> tuple[F4, NDArray[np.float64]]:
        """Those of groups [low, high), zeros at first."""
        weights, biases = self._sums[k]
        if self._is_new:
            weights[low:high], biases[low:high] = 0.0, 0.0
        return weights[low:high], biases[low:high]

    def _panels(self, k: int, wanted: bool) -> F4:
        """The weights of a linear layer as `_multiply` takes them, flat: (panel of sources, target, source of it)."""
        node, weight = self._built.nodes[k], self._connections[k].weight
        order = node.order_in if wanted else node.order_in[:0]
        panels = self._empty(("panels", k), (-(-order.size // kernels.PANEL), len(weight), kernels.PANEL), f32)
        fill_panels(weight, order, node.is_given_in_order, f32(node.scale_in), panels)
        return panels.reshape(-1)

    def _source(self, k: int, chunk: Chunk) -> tuple[Any, NDArray[np.int64], NDArray[np.uint32], int]:
        """What enters node k: its frames, or empty ones and listed spikes."""
        given = chunk.given
        if k == 0 and isinstance(given, EventInput):
            unit_of = self._built.nodes[0].unit_of
            index = given.index if unit_of is None else unit_of.take(given.index, mode="clip")
            return NO_FRAMES, given.start, index, given.stride
        return chunk.frames_before(k, self._built.nodes), np.empty(0, np.int64), np.empty(0, np.uint32), 0

    def _collect(self) -> dict[int, F4]:
        """The gradients of the weights of all linear layers, by node."""
        made, calls = dict[int, F4](), []
        for k, connection in self._connections.items():
            if isinstance(connection, Linear):
                node, n_in = self._built.nodes[k], connection.in_features
                made[k] = np.empty(connection.weight.shape, f32)
                shared = self._sums[k][0], node.order_in, f32(node.scale_in)
                at_once = SOURCES_AT_ONCE if connection.weight.size >= LARGE else n_in
                parts = [*range(0, n_in, at_once), n_in]
                calls += [(*shared, np.uint64(low), np.uint64(high), made[k]) for low, high in pairwise(parts)]
        share_out(self._net.threads if len(calls) > len(made) else 1, collect_weights, calls)
        return made

    def _connection_gradients(self, k: int, weight: F4 | None) -> dict[str, F4]:
        node, connection = self._built.nodes[k], self._connections[k]
        assert isinstance(connection, Connection)
        weights, biases = self._sums[k]
        if weight is None:
            total = (weights.sum(axis=0) * f32(node.scale_in)).transpose(3, 0, 1, 2)
            weight = np.ascontiguousarray(total).reshape(connection.weight.shape)
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
