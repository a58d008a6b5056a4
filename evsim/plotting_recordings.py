"""Pictures of recordings: rasters with population rates, traces of state variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.analysis import population_rates
from evsim.plotting_style import COLORS, INK, MAX_DOTS, dot_size, draw_dots, draw_title, figure_class, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_raster(
    recording: Any,
    populations: Sequence[Any] | None = None,
    start: float | None = None,
    stop: float | None = None,
    max_neurons: int = 1000,
    bin_width: float | None = None,
    sizes: Mapping[str, int] | None = None,
    title: str | None = None,
) -> tuple[Figure, list[Axes]]:
    """Spike raster of some populations over their rates in time.

    Where there are more neurons than `max_neurons`, or more spikes than can be told apart, neurons evenly
    spaced within each population are shown, and the axis says how many; rates always count all of them.

    Parameters
    ----------
    recording
        A `Recording`, or a mapping population -> (ids, times in ms).
    populations
        Which, from top to bottom; left out: all that were recorded.
    start, stop
        Time window in ms; left out: the whole recording.
    max_neurons
        Neurons shown at most, over all populations.
    bin_width
        Bin of the rates in ms; left out: about 200 bins, at least 1 ms each.
    sizes
        Population -> number of neurons, where a mapping of arrays is given; left out: the largest id seen +
        1.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("raster.png")`. axes : the raster, then one for each population's rate.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : nothing was recorded, an unknown population, an empty window.
    """
    Figure = figure_class()
    spikes, n_neurons, low, high = _gather(recording, populations, start, stop, sizes)
    names = list(spikes)
    colors = dict(zip(names, (COLORS[i % len(COLORS)] for i in range(len(names))), strict=True))
    shown = _choose_neurons(spikes, n_neurons, max_neurons)
    width = bin_width if bin_width is not None else _round_bin((high - low) / 200)

    n = len(names)
    raster_height, rate_height = 3.9, 0.85 if n <= 3 else 0.6
    figure = Figure(figsize=(9.0, raster_height + n * rate_height + 0.9), layout="constrained")
    grid = figure.add_gridspec(n + 1, 1, height_ratios=[raster_height] + [rate_height] * n, hspace=0.06)
    raster = figure.add_subplot(grid[0])
    rates = [figure.add_subplot(grid[k + 1], sharex=raster) for k in range(n)]

    _draw_raster(raster, spikes, shown, n_neurons, colors)
    for axis, name in zip(rates, names, strict=True):
        _draw_rate(axis, spikes[name][1], n_neurons[name], low, high, min(width, high - low), colors[name], name)
    for axis in (raster, *rates[:-1]):
        axis.tick_params(labelbottom=False)
    raster.set_xlim(low, high)
    rates[-1].set_xlabel(f"time (ms); rates in bins of {width:g} ms")
    draw_title(raster, title)
    return figure, [raster, *rates]


def plot_traces(
    state: Any, v_threshold: float | None = None, max_traces: int = 6, title: str | None = None
) -> tuple[Figure, list[Axes]]:
    """Recorded state variables in time, one panel a neuron.

    Parameters
    ----------
    state
        What `Recording.state` returns: times (T,), ids (V,), values (T, V), variable, units.
    v_threshold
        Drawn as a dashed line, in units of the values.
    max_traces
        Neurons shown at most, the first ones.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("traces.png")`. axes : one for each neuron.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : the state has no frames.
    """
    Figure = figure_class()
    if len(state.times) == 0:
        raise ValueError(f"state '{state.variable}' has no frames in this window; record longer or choose another")
    n = min(max_traces, len(state.ids))
    figure = Figure(figsize=(9.0, 0.9 + 1.0 * n), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(n, 1, sharex=True, sharey=True)))
    for k, axis in enumerate(axes):
        axis.plot(state.times, state.values[:, k], color=COLORS[0], linewidth=0.9)
        if v_threshold is not None:
            axis.axhline(v_threshold, color=COLORS[1], linewidth=0.9, linestyle=(0, (4, 3)))
        plain(axis)
        axis.text(1.005, 0.5, f"neuron {state.ids[k]}", transform=axis.transAxes, va="center", color=INK, fontsize=9)
    if v_threshold is not None:
        axes[0].text(1.005, 0.95, "- - threshold", transform=axes[0].transAxes, va="top", color=COLORS[1], fontsize=9)
    axes[0].set_xlim(state.times[0], state.times[-1] if len(state.times) > 1 else state.times[0] + 1.0)
    figure.supylabel(f"{state.variable} ({state.units})", color=INK, fontsize=10)
    more = f"; first {n} of {len(state.ids)} recorded neurons" if n < len(state.ids) else ""
    axes[-1].set_xlabel(f"time (ms){more}")
    draw_title(axes[0], title)
    return figure, axes


def _gather(
    recording: Any,
    populations: Sequence[Any] | None,
    start: float | None,
    stop: float | None,
    sizes: Mapping[str, int] | None,
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, int], float, float]:
    """Spikes in the window and size of each chosen population, and the window."""
    known = list(recording) if isinstance(recording, Mapping) else list(recording.recorded)
    names = [str(getattr(p, "name", p)) for p in populations] if populations is not None else known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"raster: no spikes of population '{unknown[0]}'; recorded: {', '.join(known) or 'none'}")
    if not names:
        raise ValueError("raster: no spikes were recorded; record some populations, or choose at least one")
    low = 0.0 if start is None else float(start)
    if isinstance(recording, Mapping):
        spikes = {name: (np.asarray(recording[name][0]), np.asarray(recording[name][1])) for name in names}
        n_neurons = {name: int(ids.max()) + 1 if len(ids) else 1 for name, (ids, _) in spikes.items()}
        n_neurons.update({name: size for name, size in (sizes or {}).items() if name in n_neurons})
        last = max((float(times.max()) for _, times in spikes.values() if len(times)), default=low)
        high = float(np.nextafter(last, np.inf)) if stop is None else float(stop)
    else:
        high = float(recording.duration if stop is None else stop)
        spikes = {}
        n_neurons = {name: recording.populations[name] for name in names}
    if not high > low:
        raise ValueError(f"raster: the window from {low:g} to {high:g} ms is empty; choose start < stop")
    for name in names:
        ids, times = spikes[name] if name in spikes else recording.spikes(name, low, high)
        inside = (times >= low) & (times < high)
        spikes[name] = (ids[inside], times[inside])
    return spikes, n_neurons, low, high


def _choose_neurons(
    spikes: dict[str, tuple[np.ndarray, np.ndarray]], n_neurons: dict[str, int], max_neurons: int
) -> dict[str, np.ndarray]:
    """Neurons to be shown of each population, evenly spaced: at most `max_neurons`, about MAX_DOTS spikes.

    Shares follow the sizes, but no population shrinks to a sliver.
    """
    total = sum(n_neurons.values())
    dots = sum(len(ids) for ids, _ in spikes.values())
    budget = min(total, max_neurons, total * MAX_DOTS / max(1, dots))
    least = 0.4 * budget / len(n_neurons)
    wanted = {name: min(size, max(least, budget * size / total)) for name, size in n_neurons.items()}
    shrink = min(1.0, budget / sum(wanted.values()))
    shown = {}
    for name, size in n_neurons.items():
        count = max(1, int(shrink * wanted[name]))
        shown[name] = (np.arange(count) * size) // count
    return shown


def _round_bin(width: float) -> float:
    """The next larger of 1, 2, 5, 10, ... ms."""
    if width <= 1.0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(width))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= width * (1 - 1e-9)))


def _draw_raster(
    axis: Axes,
    spikes: dict[str, tuple[np.ndarray, np.ndarray]],
    shown: dict[str, np.ndarray],
    n_neurons: dict[str, int],
    colors: dict[str, str],
) -> None:
    rows = sum(len(neurons) for neurons in shown.values())
    dots = 0
    parts = []
    offset = rows
    ticks, labels = [], []
    for name, neurons in shown.items():
        offset -= len(neurons)
        ids, times = spikes[name]
        row = np.searchsorted(neurons, ids)
        row[row == len(neurons)] = 0
        kept = neurons[row] == ids
        parts.append((times[kept], offset + len(neurons) - 1 - row[kept] + 0.5, colors[name]))
        dots += int(kept.sum())
        ticks.append(offset + len(neurons) / 2)
        part = "" if len(neurons) == n_neurons[name] else f"{len(neurons):,} of "
        labels.append(f"{name}{' ' if len(shown) > 4 else chr(10)}({part}{n_neurons[name]:,})")
        if offset > 0:
            axis.axhline(offset, color=INK, linewidth=0.6, alpha=0.5)
    for times, y, color in parts:
        draw_dots(axis, times, y, dot_size(dots), color)
    axis.set_ylim(0, rows)
    axis.set_yticks(ticks, labels)
    plain(axis)
    axis.tick_params(axis="y", length=0)
    for label, name in zip(axis.get_yticklabels(), shown, strict=True):
        label.set_color(colors[name])


def _draw_rate(
    axis: Axes, times: np.ndarray, size: int, low: float, high: float, width: float, color: str, name: str
) -> None:
    edges, rates = population_rates(times, size, low, high, width)
    mean = len(times) / size / (high - low) * 1e3
    axis.stairs(rates, edges, fill=True, color=color, alpha=0.25)
    axis.stairs(rates, edges, color=color, linewidth=0.9)
    axis.set_ylim(0, max(1e-9, float(rates.max())) * 1.15)
    axis.text(1.005, 0.5, f"{name}\n{mean:.3g} Hz", transform=axis.transAxes, va="center", color=color, fontsize=9)
    axis.locator_params(axis="y", nbins=3)
    axis.set_ylabel("Hz", fontsize=9)
    plain(axis)
