"""The synapses of convolutions and pools as lists that sources share, made without listing each synapse.

A place of an image lies in some windows, of rows and of columns. Places whose windows differ by a shift only have the
same list of targets and weights, counted from their first window; of a convolution of stride 1 those are all places but
the ones near the borders. Pools before it are folded in: a place then reaches what all of their windows reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.connectivity import Lists
from evsim.layers import Connection, Conv2d, Linear, Pool

__all__ = ["shared_lists"]

I8 = NDArray[np.int64]
F8 = NDArray[np.float64]
Taps = list[tuple[int, int]]  # windows, and the place of the kernel that lies there


@dataclass
class _Axis:
    """The rows, or the columns, of the image that enters and of the one that leaves."""

    n_in: int  # places behind the pools
    n_out: int
    first: I8  # of each place, the first window that it reaches
    of_place: I8  # which of the kinds each place is
    kinds: list[Taps]  # windows counted from the first


def shared_lists(pools: Sequence[Pool], layer: Connection | None, shape: tuple[int, ...]) -> tuple[Lists, Any, int]:
    """The lists, the weights of their entries (one number without a layer), and the number of targets.

    Of pools and then a layer with weights (or none), for units of `shape` in C order; biases left out.
    """
    channels, *image = shape if len(shape) == 3 else (shape[0], 1, *shape[1:])
    down, right = (_axis(image[d], pools, layer, d) for d in (0, 1))
    scale = float(np.prod([pool.scale for pool in pools]))
    channel = np.arange(channels)
    if isinstance(layer, Conv2d):
        kernel = _by_source(layer.kernel(), layer.groups)
        first_channel = channel // (channels // layer.groups) * kernel.shape[1]
    elif isinstance(layer, Linear):  # a convolution whose kernel is as large as the image
        kernel = _by_source(layer.weight.reshape(-1, channels, down.n_in, right.n_in), 1)
        first_channel = 0 * channel
    else:  # each channel to itself
        kernel, first_channel = np.ones((1, 1, 1, 1)), channel
    start, target, weight = _entries(kernel, down, right)
    kind = down.of_place[:, np.newaxis] * len(right.kinds) + right.of_place
    of_source = len(kernel) * kind + (channel % len(kernel))[:, np.newaxis, np.newaxis]
    first_target = (first_channel[:, np.newaxis, np.newaxis] * down.n_out + down.first[:, np.newaxis]) * right.n_out
    lists = Lists(of_source.reshape(-1), (first_target + right.first).reshape(-1), start, target)
    n_channels = channels if layer is None else len(layer.weight)
    one = float(np.float32(scale))  # as the batch engine has it
    return lists, one if layer is None else weight * scale, n_channels * down.n_out * right.n_out


def _axis(n: int, pools: Sequence[Pool], layer: Connection | None, d: int) -> _Axis:
    """What n places in a row (d = 1), or in a column (d = 0), reach."""
    reached = [[place] for place in range(n)]  # several times where several ways lead there
    for pool in pools:
        n, taps = _windows(n, pool.kernel_size[d], pool.stride[d], pool.padding[d], 1)
        reached = [[window for place in places for window, _ in taps[place]] for places in reached]
    n_in = n
    if isinstance(layer, Conv2d):
        n, taps = _windows(n, layer.kernel_size[d], layer.stride[d], layer.padding[d], layer.dilation[d])
    elif isinstance(layer, Linear):
        n, taps = _windows(n, n, 1, 0, 1)
    else:
        n, taps = _windows(n, 1, 1, 0, 1)
    kinds: dict[tuple[tuple[int, int], ...], int] = {}
    first, of_place = [], []
    for places in reached:
        own = sorted(tap for place in places for tap in taps[place])
        first.append(own[0][0] if own else 0)
        of_place.append(kinds.setdefault(tuple((window - first[-1], tap) for window, tap in own), len(kinds)))
    return _Axis(n_in, n, np.array(first), np.array(of_place), [list(kind) for kind in kinds])


def _windows(n: int, kernel: int, stride: int, padding: int, dilation: int) -> tuple[int, list[Taps]]:
    """How many windows there are on n places, and those that each place lies in."""
    n_windows = (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    taps: list[Taps] = [[] for _ in range(n)]
    for window, tap in product(range(n_windows), range(kernel)):
        place = window * stride + tap * dilation - padding
        if 0 <= place < n:
            taps[place].append((window, tap))
    return n_windows, taps


def _by_source(kernel: NDArray[np.float32], groups: int) -> F8:
    """(targets, sources of a group, ...) as (sources, targets of a group, ...)."""
    n_out, n_in, *size = kernel.shape
    grouped = kernel.astype(np.float64).reshape(groups, n_out // groups, n_in, *size)
    return grouped.transpose(0, 2, 1, 3, 4).reshape(groups * n_in, n_out // groups, *size)


def _entries(kernel: F8, down: _Axis, right: _Axis) -> tuple[I8, I8, F8]:
    """Where each list begins, its targets and its weights: kinds of rows, of columns, sources of the kernel."""
    lengths, targets, weights = [0], [], []
    for pair in product(down.kinds, right.kinds):
        (i, a), (j, b) = (np.array(taps, np.int64).reshape(-1, 2).T for taps in pair)
        target = (
            np.arange(kernel.shape[1])[:, np.newaxis, np.newaxis] * down.n_out + i[:, np.newaxis]
        ) * right.n_out + j
        order = np.argsort(target, axis=None, kind="stable")
        lengths += [order.size] * len(kernel)
        targets.append(np.tile(target.reshape(-1)[order], len(kernel)))
        weights.append(kernel[:, :, a[:, np.newaxis], b].reshape(len(kernel), -1)[:, order].reshape(-1))
    return np.cumsum(lengths), np.concatenate(targets), np.concatenate(weights)
