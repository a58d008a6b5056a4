"""Gradients that go back through pools and convolutions to all of their sources: dense, as matrix products."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import Node
from evsim.layers import Conv2d
from evsim.training.backward_kernels import STEPS_AT_ONCE

F4 = NDArray[np.float32]
CHUNK = 2**22  # entries of a matrix product made at a time


def source_gradient(connection: Conv2d, node: Node, gradient: F4) -> F4:
    """The gradient of what enters a convolution, from that of its targets; both (T, B, units).

    A product for every STEPS_AT_ONCE steps: its rounding then does not depend on T.
    """
    n_steps, n_samples, _ = gradient.shape
    made = np.empty((n_steps, n_samples, node.order_in.size), np.float32)
    for first in range(0, n_steps, STEPS_AT_ONCE):
        part = slice(first, first + STEPS_AT_ONCE)
        frames, target = (each[part].reshape(-1, each.shape[2]) for each in (gradient, made))
        target[:] = _convolved_back(connection, node.row, frames, np.float32(node.scale_in))
    return made


def _convolved_back(connection: Conv2d, row: NDArray[np.int64], frames: F4, scale: np.float32) -> F4:
    """The gradient of a convolution's source frames, from that of its targets' frames; (frames, units)."""
    rows, columns, channels = (int(row[j]) for j in (bm.IN_ROWS, bm.IN_COLUMNS, bm.IN_CHANNELS))
    out = int(row[bm.OUT_ROWS]), int(row[bm.OUT_COLUMNS])
    pad, stride, dilation = connection.padding, connection.stride, connection.dilation
    kernel = connection.kernel() * scale  # (out, in of group, rows, columns)
    groups, group_out, group_in = connection.groups, kernel.shape[0] // connection.groups, kernel.shape[1]
    made = np.empty((len(frames), rows, columns, channels), np.float32)
    at_once = max(1, CHUNK // (out[0] * out[1] * kernel[0].size * groups))
    for first in range(0, len(frames), at_once):
        part = frames[first : first + at_once].reshape(-1, *out, groups, group_out)
        padded = np.zeros((len(part), rows + 2 * pad[0], columns + 2 * pad[1], groups, group_in), np.float32)
        for g in range(groups):
            for a in range(kernel.shape[2]):
                for b in range(kernel.shape[3]):
                    weight = kernel[g * group_out : (g + 1) * group_out, :, a, b]
                    ys = slice(a * dilation[0], a * dilation[0] + stride[0] * (out[0] - 1) + 1, stride[0])
                    xs = slice(b * dilation[1], b * dilation[1] + stride[1] * (out[1] - 1) + 1, stride[1])
                    padded[:, ys, xs, g] += part[:, :, :, g] @ weight
        inner = padded[:, pad[0] : pad[0] + rows, pad[1] : pad[1] + columns]
        made[first : first + at_once] = inner.reshape(len(part), rows, columns, channels)
    return made.reshape(len(frames), -1)


def pool_gradient(row: NDArray[np.int64], before: F4, after: F4, gradient: F4) -> F4:
    """The gradient of what enters a pool: all of a window for a sum; its first largest unit for a maximum.

    `before` and `after` are the frames that enter and leave it, (T, B, units).
    """
    (rows, columns, channels), (out_rows, out_columns) = _sizes(row)
    kernel, stride, pad = _pairs(row)
    shape = (-1, rows + 2 * pad[0], columns + 2 * pad[1], channels)
    outs = (-1, out_rows, out_columns, channels)
    given = gradient.reshape(outs)
    made = np.zeros((len(given), *shape[1:]), np.float32)
    maximum = row[bm.MAXIMUM] == 1
    if maximum:
        source = np.full(made.shape, -np.inf, np.float32)
        source[:, pad[0] : pad[0] + rows, pad[1] : pad[1] + columns] = before.reshape(-1, rows, columns, channels)
        largest, free = after.reshape(outs), np.ones(given.shape, bool)
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            ys = slice(a, a + stride[0] * (out_rows - 1) + 1, stride[0])
            xs = slice(b, b + stride[1] * (out_columns - 1) + 1, stride[1])
            if maximum:
                takes = free & (source[:, ys, xs] == largest)
                made[:, ys, xs] += given * takes
                free &= ~takes
            else:
                made[:, ys, xs] += given
    inner = made[:, pad[0] : pad[0] + rows, pad[1] : pad[1] + columns]
    return np.ascontiguousarray(inner).reshape(*gradient.shape[:2], -1)


def _sizes(row: NDArray[np.int64]) -> Any:
    ins = tuple(int(row[j]) for j in (bm.IN_ROWS, bm.IN_COLUMNS, bm.IN_CHANNELS))
    return ins, (int(row[bm.OUT_ROWS]), int(row[bm.OUT_COLUMNS]))


def _pairs(row: NDArray[np.int64]) -> Any:
    kinds = (
        (bm.KERNEL_ROWS, bm.KERNEL_COLUMNS),
        (bm.STRIDE_ROWS, bm.STRIDE_COLUMNS),
        (bm.PADDING_ROWS, bm.PADDING_COLUMNS),
    )
    return tuple(tuple(int(row[j]) for j in pair) for pair in kinds)
