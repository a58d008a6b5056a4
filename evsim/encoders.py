"""From analog values to spikes in T steps: what makes the input of a layered network.

x (B, ...) holds the values of B samples, such as images (B, 1, 28, 28) divided by 255. Each function returns an input
that stays small; `numpy.asarray(encoded)` is its tensor (T, B, ...) of float32.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.batch_input import EventInput, PoissonInput, RepeatedInput, require_batch
from evsim.encoding_kernels import fill_thresholds

MOST_PHASES = 52  # bits of the fraction of a float64


def poisson(x: Any, n_steps: int, seed: int = 0, first_sample: int = 0) -> PoissonInput:
    """Spikes at random: in each step with probability x, independently of the others.

    The probability is exact to 2^-32, 0 never spikes and 1 always. Source: the rate code of SpikingJelly's
    PoissonEncoder and sinabs' tutorials, rand <= x.

    Parameters
    ----------
    x
        (B, ...) in [0, 1].
    n_steps
        T.
    seed
        In [0, 2^64). One seed and sample number give the same spikes in any batch and on any machine.
    first_sample
        The number of sample x[0] in [0, 2^53), those after it follow: how many samples came before this batch.

    Raises
    ------
    ValueError : a value outside [0, 1] or nan, no batch axis, n_steps below 1.
    TypeError : x is not an array of numbers.
    """
    array = _batch("poisson", x)
    threshold = np.empty(array.shape, np.uint64)
    if not fill_thresholds(np.ascontiguousarray(array).reshape(-1), threshold.reshape(-1)):
        _unit_interval("poisson", x)  # says which
    return PoissonInput.trusted(threshold, n_steps, seed, first_sample)


def latency(x: Any, n_steps: int, kind: str = "linear") -> EventInput:
    """One spike each, the earlier the larger the value: 1 in step 0, 0 in step T - 1.

        linear    t = round((T - 1) (1 - x))
        log       t = round(T - 1 - ln(alpha x + 1)),    alpha = exp(T - 1) - 1

    Halves are rounded to even; the linear formula is evaluated in float32 where x is float32. Source: SpikingJelly's
    LatencyEncoder.

    Parameters
    ----------
    x
        (B, ...) in [0, 1].
    n_steps
        T.
    kind
        "linear" or "log".

    Raises
    ------
    ValueError : a value outside [0, 1] or nan, no batch axis, n_steps below 1, another kind.
    TypeError : x is not an array of numbers.
    """
    x = _unit_interval("latency", x)
    last = checks.size("latency", "n_steps", n_steps, 1) - 1
    if kind == "linear":
        step = last * (1 - x)
    elif kind == "log":
        with np.errstate(divide="ignore"):  # ln 0 = -inf is right
            ln_alpha = last + np.log1p(-np.exp(-float(last)))  # alpha itself overflows from 711 steps on
            step = last - np.logaddexp(0.0, ln_alpha + np.log(x.astype(np.float64)))
    else:
        raise ValueError(f"latency: kind is {kind!r}; it must be 'linear' or 'log'")
    step = _rows(np.rint(step).astype(np.int64))
    return _spike_once(step, np.ones(step.shape, bool), (n_steps, *x.shape))


def weighted_phase(x: Any, n_steps: int, n_phases: int) -> EventInput:
    """The binary digits of x, the highest first, again and again: a spike in step t has the weight 2^-(1 + t mod K).

        x = sum over the K phases k of bit_k 2^-(1 + k),    what is below 2^-K is cut

    Source: Kim et al. 2018, "Deep neural networks with weighted spikes"; SpikingJelly's WeightedPhaseEncoder.

    Parameters
    ----------
    x
        (B, ...) in [0, 1 - 2^-K].
    n_steps
        T.
    n_phases
        K, at most 52.

    Raises
    ------
    ValueError : a value outside [0, 1 - 2^-K] or nan, no batch axis, n_steps or n_phases below 1.
    TypeError : x is not an array of numbers.
    """
    checks.size("weighted_phase", "n_steps", n_steps, 1)
    n_phases = checks.size("weighted_phase", "n_phases", n_phases, 1, MOST_PHASES)
    x = _unit_interval("weighted_phase", x, 1.0 - 2.0**-n_phases, f"1 - 2^-{n_phases}")
    digits = np.floor(np.ldexp(_rows(x).astype(np.float64), n_phases)).astype(np.int64)
    phase, sample, unit = np.nonzero([(digits >> (n_phases - 1 - k)) & 1 for k in range(n_phases)])
    turn = EventInput.from_spikes(phase, sample, unit, (n_phases, *x.shape))
    frame = np.add.outer(np.arange(len(x)) * n_phases, np.arange(n_steps) % n_phases).ravel()  # (B * T,) of the turn
    count = np.diff(turn.start)[frame]
    start = np.concatenate(([0], np.cumsum(count)))
    place = np.arange(start[-1]) + np.repeat(turn.start[frame] - start[:-1], count)
    return EventInput(start, turn.index[place], (n_steps, *x.shape))


def spike_times(x: Any, t_last: float, threshold: float = 0.0) -> NDArray[np.float64]:
    """One spike each in continuous time, the earlier the larger the value:  t = t_last (1 - x),  none up to threshold.

    For `EventSequential`.

    Parameters
    ----------
    x
        (B, ...) in [0, 1].
    t_last
        ms, above 0.
    threshold
        The largest value that does not spike.

    Returns
    -------
    (1, B, n) times in ms, inf where there is no spike; n is the product of the other axes.

    Raises
    ------
    ValueError : a value outside [0, 1] or nan, no batch axis, t_last not above 0.
    TypeError : x is not an array of numbers.
    """
    t_last = checks.number("spike_times", "t_last", t_last, 0.0, inclusive=False, unit="ms")
    threshold = checks.number("spike_times", "threshold", threshold)
    values = _rows(_unit_interval("spike_times", x)).astype(np.float64)
    return np.where(values > threshold, t_last * (1.0 - values), np.inf)[np.newaxis]


def rank_order(x: Any, n_steps: int) -> EventInput:
    """One spike each in the order of the values, the largest first; zeros never spike.

    The m values of a sample above 0, of ranks r = 0 ... m - 1, are spread evenly over the steps:

        t = floor(r T / m)

    so that with T = m there is one spike a step. Equal values follow each other by index. Source: Thorpe & Gautrais
    1998, "Rank order coding".

    Parameters
    ----------
    x
        (B, ...) in [0, 1].
    n_steps
        T.

    Raises
    ------
    ValueError : a value outside [0, 1] or nan, no batch axis, n_steps below 1.
    TypeError : x is not an array of numbers.
    """
    checks.size("rank_order", "n_steps", n_steps, 1)
    x = _unit_interval("rank_order", x)
    values = _rows(x)
    order = np.argsort(-values, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[np.newaxis], axis=1)
    above = values > 0
    step = rank * n_steps // np.maximum(above.sum(axis=1, keepdims=True), 1)
    return _spike_once(step, above, (n_steps, *x.shape))


def delta(x: Any, threshold: float, off_spikes: bool = True) -> EventInput:
    """Spikes where a signal has moved by the threshold since its last spike (send on delta).

        ON  in step t where x_t - ref >= threshold
        OFF in step t where ref - x_t >= threshold,    ref = x at the last spike of either, x_0 at first

    Source: Miskowicz 2006, "Send-on-delta concept".

    Parameters
    ----------
    x
        (T, B, ...) a signal, of finite values.
    threshold
        Above 0, in the unit of x.
    off_spikes
        With True the input is (T, B, 2, ...): ON is channel 0, OFF channel 1. With False it is (T, B, ...), ON only.

    Raises
    ------
    ValueError : a value that is not finite, fewer than three axes, threshold not above 0.
    TypeError : x is not an array of numbers.
    """
    threshold = checks.number("delta", "threshold", threshold, 0.0, inclusive=False)
    signal = checks.as_floats("delta", "x", x)
    if signal.ndim < 3 or len(signal) == 0:
        raise ValueError(f"delta: x has shape {signal.shape}; it must be (T, B, ...), a signal of each sample")
    checks.numbers("delta", "x", signal, signal.shape)
    spikes = np.zeros((*signal.shape[:2], 2, *signal.shape[2:]), bool)
    reference = signal[0].copy()
    for t, now in enumerate(signal):
        on, off = spikes[t, :, 0], spikes[t, :, 1]
        np.greater_equal(now - reference, threshold, out=on)
        np.greater_equal(reference - now, threshold, out=off)
        np.copyto(reference, now, where=on | off)
    if not off_spikes:
        spikes = spikes[:, :, 0]
    step, sample, unit = np.nonzero(spikes.reshape(*spikes.shape[:2], prod(spikes.shape[2:])))
    return EventInput.from_spikes(step, sample, unit, spikes.shape)


def repeat(x: Any, n_steps: int) -> RepeatedInput:
    """The values themselves, as the same current in every step: direct encoding, the first layer makes the spikes.

    Parameters
    ----------
    x
        (B, ...), finite; a current may lie outside [0, 1], as that of a normalised image does.
    n_steps
        T.

    Raises
    ------
    ValueError : a value that is not finite, no batch axis, n_steps below 1.
    TypeError : x is not an array of numbers.
    """
    current = _batch("repeat", x)
    return RepeatedInput(checks.numbers("repeat", "x", current, current.shape).astype(np.float32), n_steps)


def _spike_once(step: NDArray[np.int64], spikes: NDArray[np.bool_], shape: tuple[int, ...]) -> EventInput:
    """One spike, in its step (B, n), of each unit that spikes at all (B, n)."""
    sample, unit = np.nonzero(spikes)
    return EventInput.from_spikes(step[sample, unit], sample, unit, shape)


def _rows(x: NDArray[Any]) -> NDArray[Any]:
    """x (B, ...) as (B, n)."""
    return x.reshape(len(x), prod(x.shape[1:]))


def _batch(owner: str, x: Any) -> NDArray[Any]:
    is_float = isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64)
    array = x if is_float else checks.as_floats(owner, "x", x)
    require_batch(owner, "x", array)
    return array


def _unit_interval(owner: str, x: Any, high: float = 1.0, words: str = "1") -> NDArray[Any]:
    """x as floats (B, ...) in [0, high]."""
    array = _batch(owner, x)
    good = (array >= 0) & (array <= high)
    if not good.all():
        advice = "; divide 8-bit values by 255" if np.asarray(x).dtype == np.uint8 else ""
        raise ValueError(f"{owner}: {checks.first_bad(array, good, 'x')}; values must be in [0, {words}]{advice}")
    return array
