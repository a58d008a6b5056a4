"""Back through the neurons of a layer: the loop over steps and neurons, compiled for each surrogate and kind of neuron.

With h the potential before the reset, s the spikes, and slope = ds/dh the surrogate's derivative, backwards in time:

    dh   = ds * slope + dv * dv/dh         see reset_gradient
    dx   = jump * dh + gain * di
    dv   <- leak * dh;   di <- decay * di + coupling * dh

Where v stands at its lower bound nothing goes on. Neurons that do not spike give h itself.

A surrogate's curve becomes part of the loop, on whole vectors, where it is made of +, -, *, /, squares, abs, and
`evsim.jit`'s exp and positive. Others, and functions that numba compiled for numbers, make an array of slopes before.
"""

from collections import namedtuple
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim.jit import bind_kernel, compile_kernel, register_jitable
from evsim.lanes import LANES, load_some, store_some
from evsim.model import BLOCK, COUPLING, DECAY, GAIN, JUMP, LEAK, V_MIN, V_RESET, V_THRESHOLD
from evsim.surrogates import Surrogate
from evsim.training.reset_gradient import through_spike

F4 = NDArray[np.float32]
AT_ONCE = 2**16  # slopes by NumPy at a time
NO_SLOPES = np.empty((0, 0, 0), np.float32)
f32 = np.float32
u64 = np.uint64


class Kind(NamedTuple):
    """What a loop is compiled for, besides the surrogate."""

    soft: bool  # reset by subtraction
    detach: bool  # of the reset
    filtered: bool  # input through a synaptic current
    spiking: bool


class NeuronsBack:
    """From the gradient of a layer's output to that of its input.

    Parameters
    ----------
    surrogate : of neurons that spike.
    value, start, step : coefficients of the layer, as in BatchModel: values, where those of the first neuron lie, and
        steps to the next one's.
    """

    def __init__(self, surrogate: Surrogate, kind: Kind, value: F4, start: Any, step: Any) -> None:
        self._surrogate, self._coefficients = surrogate, (value, start, step)
        kernel = compiled(surrogate, kind) if kind.spiking else None
        self._needs_slopes = kernel is None and kind.spiking
        self._kernel = _kernel(None, (), kind) if kernel is None else kernel

    def __call__(self, h: F4, s: Any, samples: tuple[int, int], given: F4, made: F4, offset: int, carried: Any) -> None:
        """Go back through all steps of some samples.

        Parameters
        ----------
        h, s : (T, B, n), s uint8; of neurons that do not spike s is not looked at.
        samples : the first one, and the one behind the last.
        given : ds (T, B, n).
        made : dx (T, samples, n or more), written; its first sample is number `offset`.
        carried : dv and di (B, n) of the step behind the last one, then of the first one.
        """
        slope = NO_SLOPES
        if self._needs_slopes:
            slope = slopes(self._surrogate, h, *samples, *self._coefficients)
        self._kernel(h, s, slope, *self._coefficients, *samples, given, made, offset, *carried)


def compiled(surrogate: Surrogate, kind: Kind) -> Any:
    """The loop with the surrogate's curve in it; None where that cannot be compiled."""
    items = tuple(vars(surrogate).items())
    if type(surrogate).derivative is not Surrogate.derivative:
        return None
    return _kernel(type(surrogate), items, kind) if all(isinstance(x, float | int) for _, x in items) else None


def slopes(surrogate: Surrogate, h: F4, first: int, stop: int, value: F4, start: Any, step: Any) -> F4:
    """The surrogate's derivative at h (T, B, n), for samples [first, stop), by NumPy."""
    made = np.empty((len(h), stop - first, h.shape[2]), np.float32)
    threshold = value[start[V_THRESHOLD] :][: h.shape[2] if step[V_THRESHOLD] else 1]
    at_once = max(1, AT_ONCE // max(made[0].size, 1))
    for t in range(0, len(h), at_once):
        made[t : t + at_once] = surrogate.derivative(h[t : t + at_once, first:stop], threshold)
    return made


@cache
def _kernel(surrogate: type[Surrogate] | None, items: tuple[tuple[str, Any], ...], kind: Kind) -> Any:
    """The loop with a surrogate's curve and its parameters, or with an array of slopes; None if it does not compile."""
    if surrogate is None:
        slope_of = _given_slope
    else:
        slope_of = _curve_of(
            register_jitable(surrogate.curve), namedtuple(surrogate.__name__, dict(items))(**dict(items))
        )
    frames, counts, flat = np.zeros((0, 0, 0), np.float32), np.zeros((0, 0, 0), np.uint8), np.zeros((0, 0), np.float32)
    coefficients = flat[0:0].reshape(-1), np.zeros(0, np.int64), np.zeros(0, np.int64)
    arguments = (frames, counts, frames, *coefficients, 0, 0, frames, frames, 0, flat, flat)
    kernel = compile_kernel(_loop(slope_of, *kind), cached=False)
    try:
        bind_kernel(kernel, arguments)
    except Exception:  # whatever numba makes of what a user wrote for arrays
        if surrogate is None:
            raise
        return None
    return kernel


def _curve_of(curve: Any, parameters: Any) -> Any:
    @register_jitable(forceinline=True)
    def slope_of(slope, t, b, i, n, h, threshold):  # type: ignore[no-untyped-def]
        return curve(parameters, h - threshold, threshold)

    return slope_of


@register_jitable(forceinline=True)
def _given_slope(slope, t, b, i, n, h, threshold):  # type: ignore[no-untyped-def]
    return load_some(slope[t, b], i, n)


def _loop(slope_of: Any, soft: bool, detach: bool, filtered: bool, spiking: bool) -> Any:
    @register_jitable(forceinline=True)
    def through_some(h, s, slope, t, b, value, places, ds, dx, dv, di, i, n):  # type: ignore[no-untyped-def]
        """Neurons [i, i + n), n up to LANES."""
        v_reset, v_min, jump, leak, gain, decay, coupling, v_threshold = places
        before, v = load_some(h, i, n), load_some(dv, i, n)
        to, lowest = load_some(value, v_reset + i, n), load_some(value, v_min + i, n)
        if spiking:
            d = slope_of(slope, t, b, i, n, before, load_some(value, v_threshold + i, n))
            dh = through_spike(before, load_some(s, i, n), d, load_some(ds, i, n), v, to, lowest, True, soft, detach)
        else:
            dh = through_spike(before, v, v, load_some(ds, i, n), v, to, lowest, False, soft, detach)
        x = load_some(value, jump + i, n) * dh
        store_some(dv, i, n, load_some(value, leak + i, n) * dh)
        if filtered:
            current = load_some(di, i, n)
            x = x + load_some(value, gain + i, n) * current
            store_some(di, i, n, load_some(value, decay + i, n) * current + load_some(value, coupling + i, n) * dh)
        store_some(dx, i, n, x)

    def through(  # type: ignore[no-untyped-def]
        pre, count, slope, value, start, step, first, stop, given, gradient, offset, all_dv, all_di
    ):
        n, n_steps = u64(pre.shape[2]), pre.shape[0]
        for back in range(n_steps):
            t = n_steps - 1 - back
            for b in range(first, stop):
                h, s, ds, dx = pre[t, b], count[t, b], given[t, b], gradient[t, b - offset]
                dv, di = all_dv[b], all_di[b]
                for at in range(u64(0), n, u64(BLOCK)):  # coefficients lie there once a neuron, or BLOCK times
                    places = (
                        _place(start, step, V_RESET, at), _place(start, step, V_MIN, at),
                        _place(start, step, JUMP, at), _place(start, step, LEAK, at), _place(start, step, GAIN, at),
                        _place(start, step, DECAY, at), _place(start, step, COUPLING, at),
                        _place(start, step, V_THRESHOLD, at),
                    )  # fmt: skip
                    end = min(at + u64(BLOCK), n)
                    whole = end - (end - at) % u64(LANES)
                    for i in range(at, whole, u64(LANES)):
                        through_some(h, s, slope, t, b - first, value, places, ds, dx, dv, di, i, u64(LANES))
                    if whole < end:
                        through_some(h, s, slope, t, b - first, value, places, ds, dx, dv, di, whole, end - whole)

    return through


@register_jitable(forceinline=True)
def _place(start, step, coefficient, at):  # type: ignore[no-untyped-def]
    """What to add to a neuron's number for where its coefficient lies, from neuron `at` on."""
    return u64(start[coefficient]) + u64(step[coefficient]) * at - at
