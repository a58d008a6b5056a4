"""Back through the neurons of a layer: the loop over steps and neurons, compiled for each surrogate.

With h the potential before the reset, s the spikes, and slope = ds/dh the surrogate's derivative, backwards in time:

    dh   = ds * slope + dv * dv/dh         see reset_gradient
    dx   = jump * dh + gain * di
    dv   <- leak * dh;   di <- decay * di + coupling * dh

Where v stands at its lower bound nothing goes on. Neurons that do not spike give h itself.

A surrogate's curve becomes part of the loop, on whole vectors, where it is made of +, -, *, /, squares, abs, and
`evsim.jit`'s exp and positive. Others, and functions that numba compiled for numbers, make an array of slopes before.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim.jit import bind_kernel, compile_kernel, overload, register_jitable
from evsim.lanes import LANES, load_some, store_some
from evsim.model import BLOCK, COUPLING, DECAY, GAIN, JUMP, LEAK, V_MIN, V_RESET, V_THRESHOLD
from evsim.surrogates import Surrogate
from evsim.training.reset_gradient import through_spike

F4 = NDArray[np.float32]
AT_ONCE = 2**16  # slopes by NumPy at a time
NO_SLOPES = np.empty((0, 0, 0), np.float32)
u64 = np.uint64


class Kind(NamedTuple):
    """What differs from layer to layer, besides the surrogate."""

    soft: bool  # reset by subtraction
    detach: bool  # of the reset
    filtered: bool  # input through a synaptic current
    spiking: bool


class Given(NamedTuple):
    """In place of a surrogate's numbers: its slopes are in an array."""

    are_given: float = 1.0


class NeuronsBack:
    """From the gradient of a layer's output to that of its input.

    Parameters
    ----------
    surrogate : of neurons that spike.
    value, start, step : coefficients of the layer, as in BatchModel: values, where those of the first neuron lie, and
        steps to the next one's.
    """

    def __init__(self, surrogate: Surrogate, kind: Kind, value: F4, start: Any, step: Any) -> None:
        self._surrogate, self._kind, self._coefficients = surrogate, kind, (value, start, step)
        loop: tuple[Any, Any] = loop_of(surrogate) if kind.spiking else (through, Given())
        self._kernel, self._numbers = loop

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
        if self._kind.spiking and isinstance(self._numbers, Given):
            slope = slopes(self._surrogate, h, *samples, *self._coefficients)
        self._kernel(
            self._numbers, *self._kind, h, s, slope, *self._coefficients, *samples, given, made, offset, *carried
        )


def loop_of(surrogate: Surrogate) -> tuple[Any, Any]:
    """The loop with the surrogate's curve in it, and its numbers; or Given, where the curve cannot be compiled."""
    if type(surrogate).derivative is Surrogate.derivative:
        try:
            numbers = surrogate.numbers()
        except (TypeError, ValueError):
            return through, Given()
        its_class: Any = type(numbers)
        kernel = _compiled(its_class)
        if kernel is not None:
            return kernel, numbers
    return through, Given()


@cache
def _compiled(numbers: Any) -> Any:
    """The loop for surrogates with numbers of this class; None where it cannot be compiled."""
    frames, flat = np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32)
    held = frames, np.zeros((0, 0, 0), np.uint8), frames
    coefficients = np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    example = numbers(*[1.0] * len(numbers._fields))
    kernel = through if numbers.kind.__module__ == Surrogate.__module__ else _through_with_others
    try:
        bind_kernel(kernel, (example, *[True] * 4, *held, *coefficients, 0, 0, frames, frames, 0, flat, flat))
    except Exception:  # whatever numba makes of what a user wrote for arrays
        return None
    return kernel


def slopes(surrogate: Surrogate, h: F4, first: int, stop: int, value: F4, start: Any, step: Any) -> F4:
    """The surrogate's derivative at h (T, B, n), for samples [first, stop), by NumPy."""
    made = np.empty((len(h), stop - first, h.shape[2]), np.float32)
    threshold = value[start[V_THRESHOLD] :][: h.shape[2] if step[V_THRESHOLD] else 1]
    at_once = max(1, AT_ONCE // max(made[0].size, 1))
    for t in range(0, len(h), at_once):
        made[t : t + at_once] = surrogate.derivative(h[t : t + at_once, first:stop], threshold)
    return made


def _slope_of(numbers, slope, i, n, h, threshold):  # type: ignore[no-untyped-def]
    """Of neurons [i, i + n), which hold h: by the curve that belongs to the numbers' class, or what is given."""


@overload(_slope_of)
def _overload_slope_of(numbers, slope, i, n, h, threshold):  # type: ignore[no-untyped-def]
    if numbers.instance_class is Given:
        return lambda numbers, slope, i, n, h, threshold: load_some(slope, i, n)
    curve = register_jitable(numbers.instance_class.kind.curve)
    return lambda numbers, slope, i, n, h, threshold: curve(numbers, h - threshold, threshold)


def _through(  # type: ignore[no-untyped-def]
    numbers, soft, detach, filtered, spiking, pre, count, slope, value, start, step, first, stop, given, gradient,
    offset, all_dv, all_di,
):  # fmt: skip
    """The last step first; all neurons of a sample, whole vectors and then what is left over."""
    n, n_steps, kind = u64(pre.shape[2]), pre.shape[0], (soft, detach, filtered, spiking)
    for back in range(n_steps):
        t = n_steps - 1 - back
        for b in range(first, stop):
            held = pre[t, b], count[t, b], slope[t, b - first], given[t, b]
            to = gradient[t, b - offset], all_dv[b], all_di[b]
            for at in range(u64(0), n, u64(BLOCK)):  # coefficients lie there once a neuron, or BLOCK times
                places = (
                    _place(start, step, V_RESET, at), _place(start, step, V_MIN, at), _place(start, step, JUMP, at),
                    _place(start, step, LEAK, at), _place(start, step, GAIN, at), _place(start, step, DECAY, at),
                    _place(start, step, COUPLING, at), _place(start, step, V_THRESHOLD, at),
                )  # fmt: skip
                end = min(at + u64(BLOCK), n)
                whole = end - (end - at) % u64(LANES)
                for i in range(at, whole, u64(LANES)):
                    _through_some(numbers, kind, held, value, places, to, i, u64(LANES))
                if whole < end:
                    _through_some(numbers, kind, held, value, places, to, whole, end - whole)


@register_jitable(forceinline=True)
def _through_some(numbers, kind, held, value, places, to, i, n):  # type: ignore[no-untyped-def]
    """Neurons [i, i + n), n up to LANES."""
    soft, detach, filtered, spiking = kind
    pre, count, slope, given = held
    dx, dv, di = to
    v_reset, v_min, jump, leak, gain, decay, coupling, v_threshold = places
    h, ds, v, d, s = load_some(pre, i, n), load_some(given, i, n), load_some(dv, i, n), _none(pre), _none(pre)
    if spiking:
        d = _slope_of(numbers, slope, i, n, h, load_some(value, v_threshold + i, n))
        s = load_some(count, i, n)
    after, lowest = load_some(value, v_reset + i, n), load_some(value, v_min + i, n)
    dh = through_spike(h, s, d, ds, v, after, lowest, spiking, soft, detach)
    x = load_some(value, jump + i, n) * dh
    store_some(dv, i, n, load_some(value, leak + i, n) * dh)
    if filtered:
        current = load_some(di, i, n)
        x = x + load_some(value, gain + i, n) * current
        store_some(di, i, n, load_some(value, decay + i, n) * current + load_some(value, coupling + i, n) * dh)
    store_some(dx, i, n, x)


@register_jitable(forceinline=True)
def _none(array):  # type: ignore[no-untyped-def]
    return load_some(array, u64(0), u64(0))


@register_jitable(forceinline=True)
def _place(start, step, coefficient, at):  # type: ignore[no-untyped-def]
    """What to add to a neuron's number for where its coefficient lies, from neuron `at` on."""
    return u64(start[coefficient]) + u64(step[coefficient]) * at - at


through = compile_kernel(_through)
_through_with_others = compile_kernel(_through, cached=False)  # a user's curve may change without a change of ours
