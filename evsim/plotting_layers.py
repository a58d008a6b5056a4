"""Pictures of layered networks over time: one neuron, heat maps, rasters with firing rates, activity of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plotting_frames import (
    RATE_FACTOR,
    RATE_LABEL,
    TIME_LABEL,
    Frames,
    check_counts,
    is_pair,
    to_frames,
    to_spikes,
)
from evsim.plotting_style import (
    COLORS,
    INK,
    MAX_DOTS,
    color_scale,
    dot_size,
    draw_colorbar,
    draw_dots,
    draw_title,
    figure_class,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 60  # steps that are marked one by one
DASHED = (0, (4, 3))


def plot_neuron(
    v: Any,
    spikes: Any,
    v_threshold: float = 1.0,
    v_reset: float | None = 0.0,
    neuron: int | None = None,
    title: str | None = None,
) -> tuple[Figure, list[Axes]]:
    """Membrane potential of one neuron, with its threshold and reset, over its spikes.

    Parameters
    ----------
    v
        (T,) of one neuron, or (T, N), a row for each step; or what `Recording.state` returns, then over ms.
    spikes
        Number of spikes in each step, of v's shape; or (ids, times in ms) as `Recording.spikes` returns them, where v
        comes from a recording too.
    v_threshold, v_reset
        Drawn as dashed lines, in units of v; v_reset None, a soft reset, has no line.
    neuron
        Index of the neuron; left out: the first of v.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("neuron.png")`. axes : membrane potential, spikes.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : v and spikes of different shapes, values that are not finite, spikes that are no whole numbers, a
        neuron that v does not hold.
    """
    figure = figure_class()(figsize=(9.0, 4.0), layout="constrained")
    frames = to_frames("neuron", "v", v)
    neuron = int(frames.ids[0]) if neuron is None else neuron
    if neuron not in frames.ids:
        held = ", ".join(str(i) for i in frames.ids[:10]) + (", ..." if len(frames.ids) > 10 else "")
        raise ValueError(f"neuron: neuron is {neuron}; v holds neurons {held}")
    column = int(np.flatnonzero(frames.ids == neuron)[0])
    times, counts = _spikes_of(neuron, column, spikes, frames)

    membrane, stems = figure.subplots(2, 1, sharex=True, height_ratios=(3.6, 1.0))
    few = len(frames.times) <= FEW
    membrane.plot(
        frames.times, frames.values[:, column], color=COLORS[0], linewidth=1.1, marker="." if few else None, zorder=3
    )
    levels = {f"threshold {v_threshold:g}": (v_threshold, COLORS[1])}
    if v_reset is not None:
        levels[f"reset {v_reset:g}"] = (v_reset, COLORS[2])
    _draw_levels(membrane, levels)
    membrane.set_ylabel("membrane potential v" if frames.unit == "steps" else frames.label)
    draw_title(membrane, title)

    stems.vlines(times, 0.0, counts, color=INK, linewidth=1.1)
    stems.plot(times, counts, color=INK, linestyle="", marker="o", markersize=3.5 if len(times) < 200 else 1.5)
    stems.set_ylim(0.0, 1.25 * max(1.0, counts.max(initial=0.0)))
    stems.locator_params(axis="y", integer=True, nbins=3)
    stems.set(xlabel=TIME_LABEL[frames.unit], ylabel="spikes")
    total = f"{counts.sum():,.0f} spike{'' if counts.sum() == 1 else 's'}"
    stems.text(1.01, 0.5, total, transform=stems.transAxes, va="center", color=INK, fontsize=9)
    for axis in (membrane, stems):
        plain(axis)
    margin = max(frames.every * (0.5 if frames.unit == "steps" else 1.0), 0.01 * (frames.times[-1] - frames.times[0]))
    stems.set_xlim(frames.times[0] - margin, frames.times[-1] + margin)
    _whole_steps(stems, frames.unit)
    figure.align_ylabels()
    return figure, [membrane, stems]


def plot_heatmap(
    values: Any, title: str | None = None, label: str | None = None, limits: tuple[float, float] | None = None
) -> tuple[Figure, Axes]:
    """Values of many neurons over time as colours, one row of the picture a neuron, the first on top.

    Parameters
    ----------
    values
        (T, N), a row for each step, such as membrane potentials; or what `Recording.state` returns, then over ms.
    title
        Text above the picture.
    label
        What the colours are; left out: variable and units of a recorded state, "value" of an array.
    limits
        Values at the two ends of the colours; left out: the lowest and the highest, or evenly about 0 where values have
        both signs.

    Returns
    -------
    figure : save it with `figure.savefig("v.png")`. axes : the image.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : another shape, values that are not finite, limits not in ascending order.
    """
    figure = figure_class()(figsize=(9.0, 4.2), layout="constrained")
    frames = to_frames("heat map", "values", values)
    n = len(frames.ids)
    axis = figure.add_subplot()
    image = axis.imshow(
        frames.values.T,
        aspect="auto",
        interpolation="auto" if n > 350 and len(frames.times) > 750 else "nearest",  # "auto" averages pixels
        extent=(frames.times[0] - frames.every / 2, frames.times[-1] + frames.every / 2, n - 0.5, -0.5),
        **color_scale("heat map", frames.values, limits),
    )
    axis.set(xlabel=TIME_LABEL[frames.unit], ylabel="neuron index")
    plain(axis)
    axis.spines[:].set_visible(False)
    _whole_steps(axis, frames.unit)
    _index_neurons(axis, frames.ids)
    draw_colorbar(figure, axis, image, label or ("value" if frames.unit == "steps" else frames.label))
    draw_title(axis, title)
    return figure, axis


def plot_spikes(
    spikes: Any,
    n_neurons: int | None = None,
    start: float | None = None,
    stop: float | None = None,
    title: str | None = None,
) -> tuple[Figure, list[Axes]]:
    """Raster of one layer, the first neuron on top, with the firing rate of each neuron beside it.

    Where there are more spikes than can be told apart, only neurons evenly spaced are shown in the raster, and the axis
    says so; rates always count all spikes.

    Parameters
    ----------
    spikes
        (T, N) number of spikes in each step; or what `Recording.state` returns, or (ids, times in ms) as
        `Recording.spikes` returns them. Several spikes of one step are one dot.
    n_neurons
        Size of the layer, for (ids, times); left out: the largest id seen + 1.
    start, stop
        Time window, start <= t < stop, in steps of an array, else ms; left out: all, for (ids, times) from 0 to the
        last spike.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("spikes.png")`. axes : raster, rates (spikes per step, or Hz).

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : another shape, spikes that are no whole numbers, an id outside [0, n_neurons), an empty window.
    """
    figure = figure_class()(figsize=(9.0, 4.2), layout="constrained")
    found = to_spikes("spike raster", spikes, n_neurons, start, stop)
    n = len(found.ids)
    rates = np.bincount(found.rows, found.counts, n) / found.duration * RATE_FACTOR[found.unit]
    raster, beside = figure.subplots(1, 2, sharey=True, width_ratios=(4.0, 1.0))

    thin = -(-len(found.rows) // MAX_DOTS)
    shown = found.rows % max(1, thin) == 0
    draw_dots(raster, found.times[shown], found.rows[shown], dot_size(int(shown.sum())), COLORS[0])
    raster.set_xlim(found.edges)
    raster.set_ylim(n - 0.5, -0.5)
    every = f" (1 of {thin} shown)" if thin > 1 else ""
    raster.set(xlabel=TIME_LABEL[found.unit], ylabel=f"neuron index{every}")
    _whole_steps(raster, found.unit)
    _index_neurons(raster, found.ids)
    draw_title(raster, title)

    rows = np.arange(n + 1) - 0.5
    beside.stairs(rates, rows, orientation="horizontal", fill=True, color=COLORS[0], alpha=0.4)
    beside.stairs(rates, rows, orientation="horizontal", color=COLORS[0], linewidth=min(0.9, 60.0 / n))
    beside.set_xlim(0.0, 1.1 * float(rates.max()) or 1.0)
    beside.locator_params(axis="x", nbins=4)
    beside.tick_params(labelleft=False)
    beside.set_xlabel(RATE_LABEL[found.unit])
    mean = found.counts.sum() / found.duration / n * RATE_FACTOR[found.unit]
    beside.set_title(f"mean {mean:.3g}", loc="left", color=INK, fontsize=9)
    for axis in (raster, beside):
        plain(axis)
    return figure, [raster, beside]


def plot_layer_activity(activity: Mapping[str, Any], title: str | None = None) -> tuple[Figure, list[Axes]]:
    """Mean firing rate of each layer of a network: over time, and altogether.

    Parameters
    ----------
    activity
        Name of the layer -> number of spikes (T, N) or (T, C, H, W), a row for each step, also averaged over samples;
        or what `Recording.state` returns. Drawn in this order, the first on top.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("layers.png")`. axes : mean rate of a layer's neurons in each step; mean rate
        of each layer over all steps (spikes per neuron and step, or Hz).

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : no layers, negative or non-finite numbers, arrays and recordings in one picture.
    """
    Figure = figure_class()
    if not activity:
        raise ValueError("layer activity: activity is empty; it must hold at least one layer")
    layers = {str(name): to_frames("layer activity", str(name), data, flat=False) for name, data in activity.items()}
    for name, frames in layers.items():
        if frames.values.min() < 0:
            raise ValueError(
                f"layer activity: {name} has a value of {frames.values.min():g}; spikes must be at least 0"
            )
    units = {frames.unit for frames in layers.values()}
    if len(units) > 1:
        raise ValueError("layer activity: some layers are arrays, some recorded; they must all be of one kind")
    unit = units.pop()

    n = len(layers)
    figure = Figure(figsize=(9.0, max(3.2, 1.4 + 0.26 * n)), layout="constrained")
    over_time, overall = figure.subplots(1, 2, width_ratios=(2.6, 1.0), gridspec_kw={"wspace": 0.08})
    means = []
    for k, frames in enumerate(layers.values()):
        rates = frames.values.reshape(len(frames.times), -1).mean(axis=1, dtype=np.float64)
        rates *= RATE_FACTOR[unit] / frames.every
        means.append(rates.mean())
        style = ("-", "--", ":")[k // len(COLORS) % 3]  # where colours begin anew
        marker = "o" if len(rates) <= FEW else None
        over_time.plot(
            frames.times,
            rates,
            color=COLORS[k % len(COLORS)],
            linestyle=style,
            linewidth=1.3,
            marker=marker,
            markersize=3,
        )
        overall.barh(k, means[-1], color=COLORS[k % len(COLORS)], height=0.65)
        overall.text(means[-1], k, f" {means[-1]:.3g}", va="center", color=INK, fontsize=9)
    over_time.set_ylim(bottom=0.0)
    over_time.set(xlabel=TIME_LABEL[unit], ylabel="spikes per neuron and step" if unit == "steps" else RATE_LABEL[unit])
    _whole_steps(over_time, unit)
    overall.set_ylim(n - 0.5, -0.5)
    overall.set_xlim(0.0, 1.3 * max(means) or 1.0)
    overall.locator_params(axis="x", nbins=4)
    overall.set_xlabel("mean over steps" if unit == "steps" else "mean rate (Hz)")
    for axis in (over_time, overall):
        plain(axis)
    overall.set_yticks(range(n), list(layers))
    overall.tick_params(axis="y", length=0)
    for k, tick in enumerate(overall.get_yticklabels()):
        tick.set_color(COLORS[k % len(COLORS)])
    draw_title(over_time, title)
    return figure, [over_time, overall]


def _spikes_of(neuron: int, column: int, spikes: Any, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Times of one neuron's spikes within its frames, and their number at each."""
    if is_pair(spikes):
        if frames.unit != "ms":
            raise ValueError("neuron: spikes has times and v has none; give both as arrays, or both of a recording")
        found = to_spikes("neuron", spikes, None, frames.times[0], frames.times[-1] + frames.every)
        return np.unique(found.times[found.rows == neuron], return_counts=True)
    given = to_frames("neuron", "spikes", spikes)
    if given.values.shape != frames.values.shape:
        raise ValueError(f"neuron: spikes is {given.values.shape}; it must be {frames.values.shape}, the shape of v")
    check_counts("neuron", "spikes", given.values)
    at = np.flatnonzero(given.values[:, column])
    return frames.times[at], given.values[at, column]


def _draw_levels(axis: Axes, levels: dict[str, tuple[float, str]]) -> None:
    """Dashed lines with their names on the right, which keep apart where the lines do not."""
    for level, color in levels.values():
        axis.axhline(level, color=color, linewidth=0.9, linestyle=DASHED)
    axis.margins(y=0.08)
    low, high = axis.get_ylim()
    heights = [level for level, _ in levels.values()]
    close = max(heights) - min(heights) < 0.08 * (high - low)
    for label, (level, color) in levels.items():
        side = "center" if len(levels) == 1 or not close else "top" if level == min(heights) else "bottom"
        axis.text(1.01, level, label, transform=axis.get_yaxis_transform(), va=side, color=color, fontsize=9)


def _whole_steps(axis: Axes, unit: str) -> None:
    if unit == "steps":
        axis.locator_params(axis="x", integer=True, min_n_ticks=1)


def _index_neurons(axis: Axes, ids: np.ndarray) -> None:
    """Rows of the picture by the index of their neuron."""
    axis.locator_params(axis="y", integer=True, min_n_ticks=1)
    axis.yaxis.set_major_formatter(lambda row, _: str(ids[int(row)]) if 0 <= row < len(ids) else "")
