"""What the output of a layered network says. Plain NumPy, on tensors over time such as (T, B, N).

Predictions are (B,) int64; NONE (-1) stands for a sample without a spike. Equal scores go to the lowest unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NONE = -1
MEMBRANE = {"last": lambda v: v[-1], "mean": lambda v: v.mean(axis=0), "max": lambda v: v.max(axis=0)}


def count(spikes: Any) -> NDArray[np.int64]:
    """Spikes of each unit in all steps: sum_t s_t.

    Parameters
    ----------
    spikes
        (T, B, ...) whole numbers of spikes.

    Returns
    -------
    (B, ...) int64.

    Raises
    ------
    ValueError : not a tensor over time, a number of spikes that is negative or not whole.
    """
    return _spikes(spikes).sum(axis=0).astype(np.int64)


def rate(spikes: Any) -> NDArray[np.float64]:
    """Mean spikes of each unit in a step: sum_t s_t / T.

    Parameters
    ----------
    spikes
        (T, B, ...) whole numbers of spikes.

    Returns
    -------
    (B, ...) float64.

    Raises
    ------
    ValueError : as `count`.
    """
    return _spikes(spikes).mean(axis=0, dtype=np.float64)


def first_spike(spikes: Any) -> NDArray[np.int64]:
    """The step of each unit's first spike, T where it has none.

    Parameters
    ----------
    spikes
        (T, B, ...) whole numbers of spikes.

    Returns
    -------
    (B, ...) int64.

    Raises
    ------
    ValueError : as `count`.
    """
    fired = _spikes(spikes) > 0
    return np.where(fired.any(axis=0), fired.argmax(axis=0), len(fired)).astype(np.int64)


def predict_count(spikes: Any) -> NDArray[np.int64]:
    """The unit with the most spikes: argmax_i sum_t s_ti.

    Parameters
    ----------
    spikes
        (T, B, N) whole numbers of spikes.

    Returns
    -------
    (B,) int64, NONE for samples without a spike.

    Raises
    ------
    ValueError : as `count`, or another number of axes.
    """
    counts = count(_outputs(spikes))
    return np.where(counts.any(axis=1), counts.argmax(axis=1), NONE)


def predict_first_spike(spikes: Any) -> NDArray[np.int64]:
    """The unit that spikes first; of several that do, the one with the most spikes in all steps.

    Parameters
    ----------
    spikes
        (T, B, N) whole numbers of spikes.

    Returns
    -------
    (B,) int64, NONE for samples without a spike.

    Raises
    ------
    ValueError : as `count`, or another number of axes.
    """
    spikes = _outputs(spikes)
    first, counts = first_spike(spikes), count(spikes)
    earliest = first == first.min(axis=1, keepdims=True)
    return np.where(counts.any(axis=1), np.where(earliest, counts, NONE).argmax(axis=1), NONE)


def membrane(v: Any, how: str = "last") -> NDArray[Any]:
    """A value for each unit from its membrane potential: as logits, for outputs that need not spike.

    Parameters
    ----------
    v
        (T, B, ...) membrane potential.
    how
        "last" step, "mean" or "max" over the steps.

    Returns
    -------
    (B, ...) floats.

    Raises
    ------
    ValueError : not a tensor over time, another `how`.
    """
    if how not in MEMBRANE:
        raise ValueError(f"membrane: how is {how!r}; it must be one of {', '.join(map(repr, MEMBRANE))}")
    return MEMBRANE[how](_over_time("v", v))


def _over_time(name: str, array: Any) -> NDArray[Any]:
    array = np.asarray(array)
    if array.ndim < 2 or len(array) == 0 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {array.dtype} {array.shape}; it must be numbers (T, B, ...), of one step or more")
    return array


def _spikes(spikes: Any) -> NDArray[Any]:
    array = _over_time("spikes", spikes)
    bad = (
        ~((array >= 0) & (array == np.rint(array)) & np.isfinite(array))
        if array.dtype.kind in "if"
        else np.zeros(1, bool)
    )
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"spikes[{', '.join(map(str, at))}] is {array[at]}; it must be a whole number of spikes")
    return array


def _outputs(spikes: Any) -> NDArray[Any]:
    array = np.asarray(spikes)
    if array.ndim != 3 or array.shape[2] == 0:
        raise ValueError(f"spikes has shape {array.shape}; it must be (T, B, N), one output unit or more")
    return array
