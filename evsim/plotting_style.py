"""What all pictures share: figures without pyplot, colours, plain axes, colour bars, titles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#AA4499",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#555555",
)  # colour-blind safe
MAX_DOTS = 150_000  # spikes drawn; above it a raster shows fewer neurons, and says so
INK = "#333333"


def figure_class() -> type[Figure]:
    """matplotlib's figure, which needs no pyplot and no screen.

    Raises
    ------
    ImportError : matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'evsim[plot]'") from error
    return Figure


def color_scale(picture: str, values: np.ndarray, limits: tuple[float, float] | None = None) -> dict[str, Any]:
    """What imshow takes: diverging colours about 0 where values have both signs, else from the lowest to the highest.

    `limits` are the values at the ends of the colours, which diverge where these lie evenly about 0.

    Raises
    ------
    ValueError : limits that are not finite or not in ascending order.
    """
    low, high = (float(values.min()), float(values.max())) if limits is None else limits
    if limits is not None:
        if not (low < high and np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"{picture}: limits are ({low:g}, {high:g}); they must be finite, the lower one first")
    elif low < 0.0 < high:
        low, high = min(low, -high), max(high, -low)
    elif low == high:
        low, high = min(low, 0.0), max(high, 0.0 if low else 1.0)
    return {"cmap": "RdBu_r" if low == -high else "magma", "vmin": low, "vmax": high}


def dot_size(dots: int) -> float:
    """Area of a dot in a raster of so many, in square points."""
    return float(np.clip(270.0 / np.sqrt(max(1, dots)), 0.8, 16.0))


def draw_dots(axis: Axes, times: np.ndarray, rows: np.ndarray, size: float, color: str) -> None:
    """Spikes as dots."""
    axis.scatter(times, rows, s=size, c=color, marker="o", linewidths=0, rasterized=True)


def plain(axis: Axes) -> None:
    """Spines left and below only, in ink, with small ticks."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(INK)
    axis.tick_params(colors=INK, labelsize=9)
    axis.xaxis.label.set_color(INK)
    axis.yaxis.label.set_color(INK)


def draw_title(axis: Axes, title: str | None) -> None:
    """The text above a picture, if any."""
    if title:
        axis.set_title(title, loc="left", color=INK, fontweight="bold", pad=8)


def draw_colorbar(figure: Figure, axis: Axes, colors: Any, label: str) -> None:
    """What the colours of an image mean, on its right."""
    bar = figure.colorbar(colors, ax=axis, shrink=0.8, aspect=25, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=9)
    bar.set_label(label, color=INK, fontsize=9)
