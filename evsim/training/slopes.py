"""Surrogate derivatives of all that neurons held: the curve compiled for vectors, or else by NumPy.

On a processor's vectors a curve is made of +, -, *, /, squares, abs, and `evsim.jit`'s exp and positive; others, and
functions that numba compiled for numbers, go through whole arrays.
"""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.jit import bind_kernel, compile_kernel, register_jitable
from evsim.lanes import LANES, load_some, store_some
from evsim.model import BLOCK, V_THRESHOLD
from evsim.surrogates import Surrogate

F4 = NDArray[np.float32]
AT_ONCE = 2**16  # derivatives by NumPy at a time
u64 = np.uint64


def write_slopes(surrogate: Surrogate, pre: F4, first: int, value: F4, start: Any, step: Any, made: F4) -> None:
    """made (T, samples, n) becomes the surrogate's derivative at pre (T, B, n), for samples from the first on.

    value, start, step : coefficients, as in BatchModel.
    """
    items = tuple(vars(surrogate).items())
    is_plain = type(surrogate).derivative is Surrogate.derivative and all(isinstance(x, float | int) for _, x in items)
    kernel = _compiled(type(surrogate), items) if is_plain else None
    if kernel is not None:
        kernel(pre, first, value, start, step, made)
        return
    threshold = value[start[V_THRESHOLD] :][: pre.shape[2] if step[V_THRESHOLD] else 1]
    at_once, stop = max(1, AT_ONCE // max(made[0].size, 1)), first + made.shape[1]
    for t in range(0, len(pre), at_once):
        made[t : t + at_once] = surrogate.derivative(pre[t : t + at_once, first:stop], threshold)


@cache
def _compiled(kind: type[Surrogate], items: tuple[tuple[str, Any], ...]) -> Any:
    """The kernel of a surrogate's curve, with its parameters; None, where it cannot be compiled."""
    curve, parameters = register_jitable(kind.curve), namedtuple(kind.__name__, dict(items))(**dict(items))

    def fill_slopes(pre, first, value, start, step, slope):  # type: ignore[no-untyped-def]
        n, at_threshold, by_threshold = u64(pre.shape[2]), u64(start[V_THRESHOLD]), u64(step[V_THRESHOLD])
        for t in range(slope.shape[0]):
            for b in range(slope.shape[1]):
                h, d = pre[t, first + b], slope[t, b]
                for at in range(u64(0), n, u64(BLOCK)):  # coefficients lie there once a neuron, or BLOCK times
                    place, stop = at_threshold + by_threshold * at - at, min(at + u64(BLOCK), n)
                    for i in range(at, stop, u64(LANES)):
                        some = min(u64(LANES), stop - i)
                        threshold = load_some(value, place + i, some)
                        store_some(d, i, some, curve(parameters, load_some(h, i, some) - threshold, threshold))

    frames, numbers, whole = np.zeros((0, 0, 0), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    try:
        return bind_kernel(compile_kernel(fill_slopes, cached=False), (frames, 0, numbers, whole, whole, frames))
    except Exception:  # whatever numba makes of what a user wrote for arrays
        return None
