"""Backpropagation through time over a `Sequential`: forward keeps spikes and potentials, backward gives gradients.

    output, backward = evsim.training.forward(net, x)     # output (T, B, ...)
    gradients = backward(output_gradient)                  # {"0.weight": ..., "0.bias": ...}

Gradients of weights are sums over spikes: a source that is silent costs nothing. Gradients of hidden layers are dense.
Names are those of PyTorch's state dicts: the index of the layer and the attribute. Sums over samples are made in
GROUPS groups, so that the number of threads changes nothing.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt, Node
from evsim.batch_input import EventInput, PoissonInput
from evsim.layer_values import as_frames, as_seen, checked_input
from evsim.layers import Connection, Conv2d, Recurrent
from evsim.model import V_THRESHOLD
from evsim.sequential import Sequential
from evsim.training import backward_kernels as kernels
from evsim.training.images import pool_gradient, source_gradient

F4 = NDArray[np.float32]
GROUPS = 8


@singledispatch
def forward(net: Any, x: Any, input_gradient: bool = False) -> tuple[F4, "Backward"]:
    """Run a batch, keeping what the gradients need.

    Parameters
    ----------
    net : a Sequential, reset before, unless its state is to go on; or an EventSequential.
    x : array (T, B, ...), or an input of `evsim.encoders`.
    input_gradient : whether the gradient of x is wanted too.

    Returns
    -------
    output : (T, B, ...) float32, as net(x).
    backward : a function of the gradient of the output, which returns those of all weights, by name.

    Raises
    ------
    NotImplementedError : neurons that cannot be trained (refractory times, thresholds that adapt).
    """
    given = checked_input(x)
    if isinstance(given, PoissonInput):
        given = given.events(net.threads)
    built, engine, state = net.begin(given.shape[1], given.shape[2:])
    nodes = range(len(built.nodes))
    for node in built.nodes:
        if node.row[bm.REFRACTORY] == 1 or node.row[bm.THETA_AT] >= 0:
            raise NotImplementedError(
                f"{node.label}: neurons with a refractory time or an adaptive threshold cannot be trained"
            )
    spiking = [k for k in nodes if built.nodes[k].row[bm.NEURONS] == 1]
    requests = [(k, bm.SPIKES) for k in nodes] + [(k, bm.V_PRE_RESET) for k in spiking]
    kept = engine.run(state, given, requests)
    frames, pre = kept[: len(nodes)], dict(zip(spiking, kept[len(nodes) :], strict=True))
    last = built.nodes[-1]
    output = as_seen(last, frames[-1], last.scale).reshape(*given.shape[:2], *built.shape)
    return output, Backward(net, built, given, frames, pre, input_gradient)


class Backward:
    """The gradients of one forward run."""

    def __init__(
        self, net: Sequential, built: BatchBuilt, given: Any, frames: list[F4], pre: dict[int, F4], input_gradient: bool
    ) -> None:
        self._net, self._built, self._given = net, built, given
        self._frames, self._pre = frames, pre
        self._wants_input = input_gradient
        self._source: F4 | None = None
        order = built.nodes[0].order_in
        self._unit_of = np.empty(order.size, np.uint32)  # the engine's number of each unit of the input
        self._unit_of[order] = np.arange(order.size)

    def frames(self, layer: int) -> F4:
        """What a layer gave, (T, B, ...), as in a record of its spikes."""
        k = next(k for k, node in enumerate(self._built.nodes) if node.layer == layer)
        return as_seen(self._built.nodes[k], self._frames[k], self._built.nodes[k].scale)

    def __call__(self, output_gradient: Any, layers: dict[int, Any] | None = None) -> dict[str, F4]:
        """The gradients, where that of the output is given (T, B, ...).

        Parameters
        ----------
        output_gradient : of what the last layer gives.
        layers : of what other layers give, by their index: from penalties on their activity, for example.
        """
        nodes, gradients = self._built.nodes, dict[str, F4]()
        extra = {node.layer: _as_units(node, layers[node.layer]) for node in nodes if layers and node.layer in layers}
        given = _as_units(nodes[-1], output_gradient) * np.float32(nodes[-1].scale)
        for k in reversed(range(len(nodes))):
            node = nodes[k]
            if node.layer in extra:
                given = given + extra[node.layer]
            wanted = k > 0 or self._wants_input
            if node.row[bm.KIND] == bm.POOL:
                given = pool_gradient(node.row, self._frame_before(k), self._frames[k], given)
                continue
            connection = None if node.connection is None else self._net.layers[node.connection]
            back = self._net.layers[node.layer]
            if isinstance(back, Recurrent):
                given = self._through_recurrent(k, back, given, gradients)
            elif node.row[bm.NEURONS] == 1:
                given = self._through_neurons(k, given, gradients)
            if isinstance(connection, Connection):
                name = node.connection
                gradients[f"{name}.weight"] = self._weight_gradient(k, connection, given)
                if connection.bias is not None:
                    gradients[f"{name}.bias"] = _bias_gradient(connection, given)
                given = source_gradient(connection, node, given) if wanted else given
            elif wanted:
                given = given * np.float32(node.scale_in)
        if self._wants_input:
            x = np.empty(given.shape, np.float32)
            x[:, :, nodes[0].order_in] = given
            gradients["x"] = x.reshape(self._given.shape)
        return gradients

    def _frame_before(self, k: int) -> F4:
        """What enters node k, (T, B, units)."""
        if k > 0:
            return self._frames[k - 1]
        if self._source is None:
            self._source = as_frames(self._given, self._built.nodes[0].order_in)
        return self._source

    def _slope(self, k: int) -> F4:
        """ds/dh of a node's neurons."""
        node, model = self._built.nodes[k], self._built.model
        start, step = model.parameter_start[k, V_THRESHOLD], model.parameter_step[k, V_THRESHOLD]
        threshold = model.parameter_value[start : start + (node.size if step else 1)]
        assert node.neurons is not None
        slope = node.neurons.surrogate.derivative(self._pre[k], threshold)
        return np.ascontiguousarray(slope, np.float32)

    def _through_neurons(self, k: int, given: F4, gradients: dict[str, F4]) -> F4:
        node, model = self._built.nodes[k], self._built.model
        assert node.neurons is not None
        spiking = bool(node.row[bm.SPIKING])
        pre = self._pre[k]
        slope = self._slope(k) if spiking else pre
        gradient = np.empty_like(pre)
        shared = (
            pre, self._frames[k], slope, np.ascontiguousarray(given, np.float32), model.parameter_value,
            model.parameter_start[k], model.parameter_step[k], bool(node.row[bm.SOFT]), node.neurons.detach_reset,
            bool(node.row[bm.FILTERED]), spiking,
        )  # fmt: skip
        scratch = np.empty((GROUPS, 2, node.size), np.float32)

        def work(group: int, first: int, stop: int) -> None:
            kernels.through_neurons(*shared, first, stop, gradient, *scratch[group])

        for_groups(self._net.threads, pre.shape[1], work)
        for name, each in node.neurons.parameter_gradients(pre, self._frames[k], gradient).items():
            gradients[f"{node.layer}.{name}"] = each
        return gradient

    def _through_recurrent(self, k: int, layer: Recurrent, given: F4, gradients: dict[str, F4]) -> F4:
        """Step by step: what the spikes of a step give back to the next one is part of their gradient."""
        assert layer.connection is not None
        order = self._built.nodes[k].order
        weight = layer.connection.weight[np.ix_(order, order)]
        step = _Neurons(self, k)
        gradient = np.empty_like(self._pre[k])
        after = np.zeros_like(given[0])
        for t in reversed(range(len(gradient))):
            gradient[t] = step.back(t, given[t] + after)
            after = gradient[t] @ weight
        spikes = self._frames[k][:-1].reshape(-1, order.size)
        back = np.zeros_like(layer.connection.weight)
        back[np.ix_(order, order)] = gradient[1:].reshape(-1, order.size).T @ spikes
        gradients[f"{self._built.nodes[k].layer}.connection.weight"] = back
        if layer.connection.bias is not None:
            bias = np.zeros(order.size, np.float32)
            bias[order] = gradient[1:].sum(axis=(0, 1))
            gradients[f"{self._built.nodes[k].layer}.connection.bias"] = bias
        return gradient

    def _weight_gradient(self, k: int, connection: Connection, gradient: F4) -> F4:
        """Sums over spikes, in groups of samples."""
        row = self._built.nodes[k].row
        n_samples = gradient.shape[1]
        n_groups = min(GROUPS, n_samples)
        n_in, n_out = int(row[bm.N_IN]), int(row[bm.OUT_CHANNELS] if row[bm.KIND] == bm.CONV else row[bm.N_OUT])
        shape: tuple[int, ...] = (n_in, -(-n_out // kernels.LANES) * kernels.LANES)
        if isinstance(connection, Conv2d):
            shape = (connection.in_channels // connection.groups, *connection.kernel_size, n_out)
        sums = np.zeros((n_groups, *shape), np.float32)

        def add(group: int, first: int, stop: int) -> None:
            dx = np.empty(bm.TILE, np.float32)
            for sample in range(first, stop):
                events = self._events(k, sample)
                if isinstance(connection, Conv2d):
                    kernels.add_convolution_gradient(
                        *events, gradient, sample, int(row[bm.IN_COLUMNS]), int(row[bm.IN_CHANNELS]),
                        int(row[bm.OUT_ROWS]), int(row[bm.OUT_COLUMNS]), connection.stride, connection.padding,
                        connection.dilation, sums[group],
                    )  # fmt: skip
                else:
                    kernels.add_linear_gradient(*events, gradient, sample, sums[group], dx)

        for_groups(self._net.threads, n_samples, add)
        total = sums.sum(axis=0) * np.float32(self._built.nodes[k].scale_in)
        if isinstance(connection, Conv2d):
            return np.ascontiguousarray(total.transpose(3, 0, 1, 2)).reshape(connection.weight.shape)
        made = np.empty((n_out, n_in), np.float32)
        made[:, self._built.nodes[k].order_in] = total[:, :n_out].T
        return made

    def _events(self, k: int, sample: int) -> tuple[Any, Any, Any]:
        """What enters node k of a sample: start (T + 1,), index and how often or how much."""
        given = self._given
        if k == 0 and isinstance(given, EventInput):
            n_steps = given.shape[0]
            start = given.start[sample * n_steps : (sample + 1) * n_steps + 1]
            index = self._unit_of[given.index[start[0] : start[-1]]]
            return start - start[0], index, np.ones(index.size, np.float32)
        frames = self._frame_before(k)
        start = np.zeros(len(frames) + 1, np.int64)
        index, times = np.empty(0, np.uint32), np.empty(0, np.float32)
        n = kernels.list_events(frames, sample, start, index, times)
        index, times = np.empty(n, np.uint32), np.empty(n, np.float32)
        kernels.list_events(frames, sample, start, index, times)
        return start, index, times


class _Neurons:
    """Neurons step by step backwards, all samples at once: `backward_kernels.through_neurons` in NumPy."""

    def __init__(self, backward: Backward, k: int) -> None:
        built = backward._built
        node, model = built.nodes[k], built.model
        assert node.neurons is not None

        def coefficient(j: int) -> F4:
            start, step = model.parameter_start[k, j], model.parameter_step[k, j]
            return model.parameter_value[start : start + (node.size if step else 1)]

        self._value = coefficient
        self._pre, self._count = backward._pre[k], backward._frames[k]
        self._spiking, self._soft = bool(node.row[bm.SPIKING]), bool(node.row[bm.SOFT])
        self._filtered, self._detach = bool(node.row[bm.FILTERED]), node.neurons.detach_reset
        self._slope = backward._slope(k) if self._spiking else self._pre
        self._dv, self._di = np.zeros_like(self._pre[0]), np.zeros_like(self._pre[0])

    def back(self, t: int, given: F4) -> F4:
        """The gradient of the input of step t."""
        h, slope = self._pre[t], self._slope[t]
        v_reset = self._value(kernels.V_RESET)
        through_reset = np.float32(0.0) if self._detach else slope
        if not self._spiking:
            keeps: Any = np.float32(1.0)
        elif self._soft:
            keeps = np.float32(1.0) - through_reset * v_reset
        else:
            keeps = (self._count[t] == 0) + through_reset * (v_reset - h)
        v: Any = h
        if self._spiking:
            v = h - self._count[t] * v_reset if self._soft else np.where(self._count[t] > 0, v_reset, h)
        dv = np.where(v > self._value(kernels.V_MIN), self._dv, np.float32(0.0))
        dh = (given * slope if self._spiking else given) + dv * keeps
        dx = self._value(kernels.JUMP) * dh
        self._dv = self._value(kernels.LEAK) * dh
        if self._filtered:
            dx = dx + self._value(kernels.GAIN) * self._di
            self._di = self._value(kernels.DECAY) * self._di + self._value(kernels.COUPLING) * dh
        return dx.astype(np.float32)


def for_groups(threads: int, n_samples: int, work: Callable[[int, int, int], Any]) -> None:
    """Call work(group, first sample, stop) for groups of samples, on so many threads."""
    n_groups = min(GROUPS, n_samples)
    edges = [group * n_samples // n_groups for group in range(n_groups + 1)]
    calls = [(group, edges[group], edges[group + 1]) for group in range(n_groups)]
    if threads == 1:
        for call in calls:
            work(*call)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *call) for call in calls]:
            done.result()


def _as_units(node: Node, gradient: Any) -> F4:
    """A gradient in the user's shape, in the order of a node's units."""
    flat = np.asarray(gradient, np.float32).reshape(*np.shape(gradient)[:2], node.size)
    return np.ascontiguousarray(flat[:, :, node.order])


def _bias_gradient(connection: Connection, gradient: F4) -> F4:
    sums: F4 = gradient.sum(axis=(0, 1))
    assert connection.bias is not None
    return sums.reshape(-1, connection.bias.size).sum(axis=0) if isinstance(connection, Conv2d) else sums
