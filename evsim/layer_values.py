"""Input and output of layered networks: what the user gives and sees, and the order that the engine has it in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.batch_build import Node
from evsim.batch_input import BatchInput


def checked_input(x: Any) -> BatchInput | NDArray[Any]:
    """x as an input of the batch engine, (T, B, ...)."""
    if not isinstance(x, BatchInput):
        return as_array(x, 2, "(T, B, ...)")
    if 0 in x.shape:
        raise ValueError(f"input: x has shape {x.shape}; it must be (T, B, ...), none of them 0")
    return x


def as_array(x: Any, n_dimensions: int = 1, shape: str = "(B, ...)") -> NDArray[Any]:
    """x as a contiguous array of float32, or of uint8 where it was of these or of bool."""
    try:
        array = np.asarray(x)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"input: x has dtype {array.dtype}; it must be an array of numbers")
    if array.ndim < n_dimensions or 0 in array.shape:
        raise ValueError(f"input: x has shape {array.shape}; it must be {shape}, none of them 0")
    with np.errstate(over="ignore"):  # refused as not finite
        return np.ascontiguousarray(array, np.uint8 if array.dtype in (np.bool_, np.uint8) else np.float32)


def as_seen(node: Node, values: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """A node's values (T, B, units) in the order and shape that the user knows."""
    if scale != 1.0:
        values = values * np.float32(scale)
    if not node.in_order:
        seen = np.empty_like(values)
        seen[:, :, node.order] = values
        values = seen
    return values.reshape(*values.shape[:2], *node.shape)


def as_frames(given: BatchInput | NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """An input as a tensor (T, B, units), its units in the engine's order."""
    flat = np.asarray(given, np.float32).reshape(*given.shape[:2], order.size)
    return flat if (np.diff(order) == 1).all() else np.ascontiguousarray(flat[:, :, order])
