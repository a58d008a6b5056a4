"""Arrays that are made again and again, in memory that is kept.

Fresh memory is cleared by the system page by page when it is first written to, which takes longer than most loops.
"""

import weakref
from collections.abc import Hashable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from evsim.aligned import LINE

__all__ = ["Buffers"]


class Buffers:
    """One piece of memory for each purpose, as large as the largest array so far.

    An array's memory is used again when the next one is made for the same purpose, unless something still refers to it,
    or to a view of it; the next one then has memory of its own, which is kept from then on.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[memoryview, int, weakref.ref[NDArray[Any]]]] = {}

    def empty(self, purpose: Hashable, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array with whatever its memory held before; its first entry begins a cache line."""
        dtype, n = np.dtype(dtype), shape if isinstance(shape, int) else prod(shape)
        memory, first, last = self._kept.get(purpose, (None, 0, None))
        if memory is None or memory.nbytes < n * dtype.itemsize + LINE or (last is not None and last() is not None):
            room = np.empty(n * dtype.itemsize + LINE, np.uint8)
            memory, first = memoryview(room), -room.__array_interface__["data"][0] % LINE
        flat = np.frombuffer(memory, dtype, n, first)  # what all views of it refer to, since memory is no array
        self._kept[purpose] = memory, first, weakref.ref(flat)
        return flat.reshape(shape)

    def __reduce__(self) -> tuple[type["Buffers"], tuple[()]]:
        return Buffers, ()  # copies have memory of their own
