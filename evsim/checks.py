"""Checks of what the user gives, made at the line where it is given.

Each message names the object, the value and what is allowed.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.distributions import Distribution

MAX_STEPS = 2**53  # times beyond this many steps are no longer exact
LARGEST = 1e30  # what float32 holds with room for sums; also the inverse of the smallest weight


class DelayWarning(UserWarning):
    """A delay was rounded to the grid."""


def first_bad(values: NDArray[Any], good: NDArray[np.bool_], name: str) -> str:
    """`name is value` for a scalar, `name[index] is value` for the first bad entry of an array."""
    if values.ndim == 0:
        return f"{name} is {values[()]!s}"
    index = tuple(int(i) for i in np.argwhere(~good)[0])
    place = ", ".join(map(str, index))
    return f"{name}[{place}] is {values[index]!s}"


def as_floats(owner: str, name: str, value: Any, allowed: str = "numbers") -> NDArray[np.float64]:
    """A float64 copy of `value`; refuses None, text, complex numbers and ragged lists."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    raise TypeError(f"{owner}: {name} is {value!r}; it must be {allowed}")


def number(owner: str, name: str, value: Any, low: float = -np.inf, inclusive: bool = True, unit: str = "") -> float:
    """A finite scalar, at least (or above) `low`."""
    array = as_floats(owner, name, value, "a number")
    if array.ndim != 0:
        raise ValueError(f"{owner}: {name} has shape {array.shape}; it must be one number")
    return float(numbers(owner, name, value, (), low, inclusive, unit))


def numbers(
    owner: str,
    name: str,
    value: Any,
    shape: tuple[int, ...],
    low: float = -np.inf,
    inclusive: bool = True,
    unit: str = "",
    infinite: bool = False,
) -> NDArray[np.float64]:
    """A scalar or an array of exactly `shape`, as float64, without nan, finite, at least (or above) `low`."""
    array = as_floats(owner, name, value)
    if array.ndim and array.shape != shape:
        raise ValueError(f"{owner}: {name} has shape {array.shape}; it must be one number or have shape {shape}")
    if are_usual(array) and (low <= array.min() if inclusive else low < array.min()):
        return array
    good = ~np.isnan(array) if infinite else np.isfinite(array)
    if not good.all():
        allowed = "a number" if infinite else "finite"
        raise ValueError(f"{owner}: {first_bad(array, good, name)}; it must be {allowed}")
    _refuse_large(owner, name, array)
    good = array >= low if inclusive else array > low
    if not good.all():
        relation = "at least" if inclusive else "above"
        raise ValueError(f"{owner}: {first_bad(array, good, name)}; it must be {relation} {low:g}{unit and ' ' + unit}")
    return array


def are_usual(array: NDArray[Any]) -> bool:
    """Whether these are numbers, finite and not too large, as nearly always."""
    least, most = (array.min(), array.max()) if array.ndim and array.size else (array, array)
    return bool(array.size and least >= -LARGEST and most <= LARGEST)  # nan is neither


def _refuse_large(owner: str, name: str, array: NDArray[np.float64]) -> None:
    good = (np.abs(array) <= LARGEST) | np.isinf(array)
    if not good.all():
        raise ValueError(f"{owner}: {first_bad(array, good, name)}; it must be at most {LARGEST:g} in size")


def size(owner: str, name: str, value: Any, low: int = 0, high: int = 2**31 - 1) -> int:
    """A whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ValueError(f"{owner}: {name} is {value!r}; it must be a whole number in [{low}, {high}]")
    return int(value)


def indices(owner: str, name: str, value: Any, limit: int) -> NDArray[np.int64]:
    """A one-dimensional array of whole numbers in [0, limit)."""
    array = np.asarray(value)
    if array.ndim != 1:
        raise ValueError(f"{owner}: {name} has shape {array.shape}; it must have one dimension")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{owner}: {name} has dtype {array.dtype}; indices must be whole numbers")
    array = array.astype(np.int64)
    if array.size and (array.min() < 0 or array.max() >= limit):
        good = (array >= 0) & (array < limit)
        raise ValueError(f"{owner}: {first_bad(array, good, name)}; indices must be in [0, {limit})")
    return array


def grid_steps(owner: str, name: str, times: Any, dt: float) -> NDArray[np.int64]:
    """Times (ms) as whole steps: multiples of dt, not negative, at most 2^53 steps."""
    array = as_floats(owner, name, times, "times in ms")
    good = np.isfinite(array)
    if not good.all():
        raise ValueError(f"{owner}: {first_bad(array, good, name)} ms; times must be finite")
    good = (array >= 0.0) & (array / dt < MAX_STEPS)
    if not good.all():
        raise ValueError(f"{owner}: {first_bad(array, good, name)} ms; times must be in [0, {MAX_STEPS * dt:g}) ms")
    steps = np.rint(array / dt)
    good = np.abs(steps * dt - array) <= 1e-6 * dt + 1e-12 * array
    if not good.all():
        raise ValueError(f"{owner}: {first_bad(array, good, name)} ms; times must be multiples of dt = {dt:g} ms")
    return steps.astype(np.int64)


def grid_step(owner: str, name: str, time: Any, dt: float) -> int:
    """One time (ms) as whole steps."""
    if isinstance(time, float) and 0.0 <= time < MAX_STEPS * dt and time == round(time / dt) * dt:
        return round(time / dt)  # as nearly always
    steps = grid_steps(owner, name, time, dt)
    if steps.ndim:
        raise ValueError(f"{owner}: {name} has shape {steps.shape}; it must be one number")
    return int(steps)


def spike_steps(owner: str, ids: Any, times: Any, n: int, dt: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Explicit spike trains as (steps, ids), sorted by step and then id; each neuron's times must ascend."""
    ids = indices(owner, "ids", ids, n)
    steps = grid_steps(owner, "times", times, dt)
    if steps.shape != ids.shape:
        raise ValueError(f"{owner}: ids has shape {ids.shape} and times {steps.shape}; there must be as many of each")
    order = np.argsort(ids, kind="stable")
    same = np.diff(ids[order]) == 0
    ahead = np.diff(steps[order])
    if (same & (ahead < 0)).any():
        at = int(order[1:][same & (ahead < 0)][0])
        raise ValueError(
            f"{owner}: times[{at}] is {np.asarray(times)[at]} ms, before the spike that precedes it in the "
            f"train of neuron {ids[at]}; times must ascend"
        )
    if (same & (ahead == 0)).any():
        at = int(order[1:][same & (ahead == 0)][0])
        raise ValueError(
            f"{owner}: times[{at}] is {np.asarray(times)[at]} ms a second time for neuron {ids[at]}; "
            "a neuron spikes at most once a step"
        )
    order = np.lexsort((ids, steps))
    return steps[order], ids[order].astype(np.uint32)


def weight(owner: str, value: Any, shape: tuple[int, ...] | None) -> Any:
    """A synaptic weight: a number, an array of `shape` (None: no array fits the rule), or a distribution."""
    value = _synaptic(owner, "weight", "weights must be finite", value, shape)
    array = np.abs(value.bounds()).max() if isinstance(value, Distribution) else value
    _refuse_large(owner, "weight", array)
    largest = np.abs(array).max(initial=0.0)
    if 0.0 < largest < 1.0 / LARGEST:
        raise ValueError(
            f"{owner}: the largest weight is {largest:g}; it must be 0 or at least {1 / LARGEST:g} in size"
        )
    return value


def delay(owner: str, value: Any, shape: tuple[int, ...] | None, dt: float) -> Any:
    """A delay (ms) of at least dt, or 0 for all synapses; others off the grid are rounded to it with a warning."""
    value = _synaptic(owner, "delay", "delays must be finite", value, shape)
    if not isinstance(value, Distribution) and value.size and not value.any():
        return np.zeros(())
    shortest = value.bounds()[0] if isinstance(value, Distribution) else value
    # a distribution's draws are rounded to the grid, so those above dt / 2 become dt
    floor = 0.5 * dt if isinstance(value, Distribution) else dt * (1.0 - 1e-9)
    array = np.asarray(shortest)
    good = array >= floor
    if not good.all():
        bounded = f"; bound the distribution with low={dt:g}" if isinstance(value, Distribution) else ""
        raise ValueError(
            f"{owner}: {first_bad(array, good, 'delay')} ms; a delay must be at least dt = {dt:g} ms, or 0 for "
            f"the whole projection{bounded}"
        )
    if not isinstance(value, Distribution):
        steps = np.rint(value / dt)
        off = np.abs(steps * dt - value) > 1e-6 * dt + 1e-9 * value
        if off.any():
            asked = np.asarray(value)[off].flat[0]
            rounded = np.asarray(steps)[off].flat[0] * dt
            warnings.warn(
                f"{owner}: delay {asked:g} ms is not a multiple of dt = {dt:g} ms and becomes {rounded:g} "
                "ms; Simulation.synapses() shows the delays used",
                DelayWarning,
                stacklevel=4,
            )
    return value


def _synaptic(owner: str, name: str, rule: str, value: Any, shape: tuple[int, ...] | None) -> Any:
    if isinstance(value, Distribution):
        return value
    array = as_floats(owner, name, value, "a number, an array or a distribution")
    if array.ndim and array.shape != shape:
        allowed = f"have shape {shape}" if shape is not None else "be one number or a distribution for this rule"
        raise ValueError(f"{owner}: {name} has shape {array.shape}; it must {allowed}")
    good = np.isfinite(array)
    if not good.all():
        raise ValueError(f"{owner}: {first_bad(array, good, name)}; {rule}")
    return array


def nearest(owner: str, what: str, name: object, known: Iterable[str]) -> KeyError:
    """The error for an unknown name, with the known ones."""
    return KeyError(f"{owner}: unknown {what} {name!r}; known are {', '.join(known) or 'none'}")
