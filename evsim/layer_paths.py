"""The synapses of layers, listed one by one: a path for each weight and each place that it reaches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.layers import Connection, Conv2d, Linear, Pool

__all__ = ["Paths", "connection_paths", "pool_paths"]

I8 = NDArray[np.int64]


@dataclass
class Paths:
    """Pairs (source, target) with a weight and a delay each; a pair may stand there several times."""

    pre: I8
    post: I8
    weight: NDArray[np.float64]
    n_targets: int
    delay: Any = 0  # steps; or one for each

    def behind(self, other: "Paths") -> "Paths":
        """Those of two layers in a row, this one the second: one for each way through both."""
        order = np.argsort(self.pre, kind="stable")
        first = np.searchsorted(self.pre[order], other.post, side="left")
        number = np.searchsorted(self.pre[order], other.post, side="right") - first
        path = np.repeat(np.arange(other.post.size), number)
        second = order[np.repeat(first - np.cumsum(number) + number, number) + np.arange(path.size)]
        delay = _each(other.delay, other.pre.size)[path] + _each(self.delay, self.pre.size)[second]
        weight = other.weight[path] * self.weight[second]
        return Paths(other.pre[path], self.post[second], weight, self.n_targets, delay)


def connection_paths(layer: Connection, shape: tuple[int, ...]) -> Paths:
    """Those of a layer with weights, for units of `shape` in C order; biases left out."""
    if isinstance(layer, Conv2d):
        return _convolution(layer, shape)
    assert isinstance(layer, Linear)
    post, pre = (index.reshape(-1) for index in np.indices(layer.weight.shape))
    return Paths(pre, post, layer.weight.astype(np.float64).reshape(-1), layer.out_features)


def pool_paths(layer: Pool, shape: tuple[int, ...], weight: float) -> Paths:
    """Each place for each window that it lies in."""
    channels, rows, columns = layer.output_shape("", shape)
    c, a, b, i, j = np.ogrid[:channels, : layer.kernel_size[0], : layer.kernel_size[1], :rows, :columns]
    y = i * layer.stride[0] + a - layer.padding[0]
    x = j * layer.stride[1] + b - layer.padding[1]
    there = (y >= 0) & (y < shape[1]) & (x >= 0) & (x < shape[2])
    pre, post, there = np.broadcast_arrays((c * shape[1] + y) * shape[2] + x, (c * rows + i) * columns + j, there)
    n = int(there.sum())
    return Paths(pre[there], post[there], np.full(n, weight), channels * rows * columns)


def _convolution(layer: Conv2d, shape: tuple[int, ...]) -> Paths:
    """Each weight of the kernel for each place that it reaches."""
    kernel = layer.kernel()
    out_shape = layer.output_shape("", shape)
    rows_in, columns_in = shape[1:] if len(shape) == 3 else (1, shape[1])
    rows, columns = out_shape[1:] if len(out_shape) == 3 else (1, out_shape[1])
    n_out, n_in = kernel.shape[:2]
    o, c, a, b, i, j = np.ogrid[:n_out, :n_in, : kernel.shape[2], : kernel.shape[3], :rows, :columns]
    y = i * layer.stride[0] + a * layer.dilation[0] - layer.padding[0]
    x = j * layer.stride[1] + b * layer.dilation[1] - layer.padding[1]
    channel = o // (n_out // layer.groups) * n_in + c
    there = (y >= 0) & (y < rows_in) & (x >= 0) & (x < columns_in)
    pre, post, weight, there = np.broadcast_arrays(
        (channel * rows_in + y) * columns_in + x, (o * rows + i) * columns + j, kernel[..., None, None], there
    )
    return Paths(pre[there], post[there], weight[there].astype(np.float64), n_out * rows * columns)


def _each(delay: Any, n: int) -> I8:
    return np.broadcast_to(np.asarray(delay, np.int64), (n,))
