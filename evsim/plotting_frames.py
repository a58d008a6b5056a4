"""What pictures over time are given, in one form: arrays, one row a simulation step, or what recordings hold, in ms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

TIME_LABEL = {"steps": "simulation step", "ms": "time (ms)"}
RATE_LABEL = {"steps": "spikes per step", "ms": "rate (Hz)"}
RATE_FACTOR = {"steps": 1.0, "ms": 1e3}  # from spikes per unit of time to the rate that is shown


class Frames(NamedTuple):
    """Values of neurons, one row a frame.

    times : (T,), in `unit`, "steps" or "ms". ids : (N,), index of each neuron. values : (T, N), or of more dimensions.
    every : from frame to frame. label : what the values are.
    """

    times: np.ndarray
    ids: np.ndarray
    values: np.ndarray
    every: float
    unit: str
    label: str


class Spikes(NamedTuple):
    """Spikes in a window.

    times : (n,), in `unit`. rows : (n,), which of the neurons `ids`. counts : float64 (n,), spikes of it at that time.
    ids : (N,). edges : of the picture in time. duration : of the window.
    """

    times: np.ndarray
    rows: np.ndarray
    counts: np.ndarray
    ids: np.ndarray
    edges: tuple[float, float]
    duration: float
    unit: str


def is_pair(data: Any) -> bool:
    """Whether these are spikes as `Recording.spikes` returns them: a tuple (ids, times)."""
    return type(data) is tuple and len(data) == 2


def to_frames(picture: str, name: str, data: Any, flat: bool = True) -> Frames:
    """An array (T, N), or (T,) of one neuron, or a recorded state (`Recording.state`), checked.

    `name` is what errors call it. Without `flat` a row may have any shape.

    Raises
    ------
    ValueError : another shape, no frames or neurons, something else than finite numbers.
    """
    if isinstance(data, tuple) and not (hasattr(data, "times") and hasattr(data, "ids")):
        raise ValueError(f"{picture}: {name} is a tuple; it must be an array (T, N) or what Recording.state returns")
    recorded = hasattr(data, "times") and hasattr(data, "ids")
    values = np.asarray(data.values if recorded else data)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{picture}: {name} is of type {values.dtype}; it must hold numbers")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.size == 0 or values.ndim < 2:
        raise ValueError(
            f"{picture}: {name} is {values.shape}; it must be (T, N) with at least one step and one neuron"
        )
    if flat and values.ndim > 2:
        raise ValueError(
            f"{picture}: {name} is {values.shape}; it must be (T, N): choose one sample or map, such as {name}[:, 0], "
            "or make a row of each step by reshape(T, -1)"
        )
    check_finite(picture, name, values)
    if recorded:
        return Frames(data.times, data.ids, values, data.every, "ms", f"{data.variable} ({data.units})")
    return Frames(np.arange(len(values)), np.arange(values.shape[1]), values, 1, "steps", name)


def to_spikes(
    picture: str, data: Any, n_neurons: int | None = None, start: float | None = None, stop: float | None = None
) -> Spikes:
    """Spikes with start <= time < stop, of an array or recorded state as `to_frames` takes it, or a pair (ids, times).

    Raises
    ------
    ValueError : what is no number of spikes, an id outside [0, n_neurons), an empty window.
    """
    if is_pair(data):
        ids, times = (np.asarray(part) for part in data)
        if ids.ndim != 1 or ids.shape != times.shape:
            raise ValueError(f"{picture}: ids {ids.shape} and times {times.shape} must be two lists of one length")
        if ids.dtype.kind not in "iu" and ids.size:
            raise ValueError(
                f"{picture}: ids are of type {ids.dtype}; they must be integers, and come before the times"
            )
        if n_neurons is not None and n_neurons < 1:
            raise ValueError(f"{picture}: n_neurons is {n_neurons}; it must be at least 1")
        check_finite(picture, "times", times)
        ids = ids.astype(np.int64)
        n = n_neurons if n_neurons is not None else int(ids.max(initial=0)) + 1
        outside = (ids < 0) | (ids >= n)
        if outside.any():
            raise ValueError(f"{picture}: a spike is of neuron {ids[outside][0]}; ids must be 0 to {n - 1}")
        low = 0.0 if start is None else start
        high = float(np.nextafter(times.max(initial=low), np.inf)) if stop is None else stop
        rows, counts, neurons, unit, shift = ids, np.ones(len(ids)), np.arange(n), "ms", 0.0
    else:
        frames = to_frames(picture, "spikes", data)
        check_counts(picture, "spikes", frames.values)
        neurons, unit, shift = frames.ids, frames.unit, 0.5 * frames.every  # a frame is drawn about its time
        if n_neurons not in (None, len(neurons)):
            raise ValueError(f"{picture}: n_neurons is {n_neurons}; spikes has {len(neurons)} neurons")
        low = frames.times[0] if start is None else start
        high = frames.times[-1] + frames.every if stop is None else stop
        at, rows = np.nonzero(frames.values)
        times, counts = frames.times[at], frames.values[at, rows].astype(np.float64)
    if not high > low:
        raise ValueError(f"{picture}: the window from {low:g} to {high:g} {unit} is empty; choose start < stop")
    inside = (times >= low) & (times < high)
    return Spikes(
        times[inside], rows[inside], counts[inside], neurons, (low - shift, high - shift), float(high - low), unit
    )


def check_finite(picture: str, name: str, values: np.ndarray) -> None:
    """Refuse nan and infinity, by place."""
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(f"{picture}: {name}{list(place)} is {values[place]}; values must be finite")


def check_counts(picture: str, name: str, values: np.ndarray) -> None:
    """Refuse what is no number of spikes, by place: a membrane potential given in its stead."""
    bad = (values < 0) | (values != np.floor(values))
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{picture}: {name}{list(place)} is {values[place]:g}; spikes must be whole numbers, 0 or more"
        )
