"""Arrays that begin on a cache line: vector loads that straddle two lines cost half the speed of dense additions."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64  # bytes

__all__ = ["aligned_zeros", "join_aligned", "whole_lines"]


def aligned_zeros(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """np.zeros(shape, dtype) whose first entry begins a cache line."""
    n = (shape if isinstance(shape, int) else prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(n + LINE, np.uint8)
    first = -room.__array_interface__["data"][0] % LINE
    return np.ndarray(shape, dtype, room.data, first)


def whole_lines(n: int, itemsize: int = 4) -> int:
    """n entries filled up to whole cache lines."""
    per_line = LINE // itemsize
    return -(-n // per_line) * per_line


def join_aligned(parts: Sequence[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """One array of flat parts, one behind the other, each filled up with zeros to whole cache lines."""
    itemsize = np.dtype(dtype).itemsize
    joined = aligned_zeros(sum(whole_lines(part.size, itemsize) for part in parts), dtype)
    at = 0
    for part in parts:
        joined[at : at + part.size] = part
        at += whole_lines(part.size, itemsize)
    return joined
