"""Pictures of converted networks: accuracy against time, and rates against activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plotting_style import COLORS, INK, draw_title, figure_class, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 4000  # of a layer: as many units as are drawn
COLUMNS = 4  # of layers
MILLION = 1e-6
GOLDEN = 0.6180339887498949  # multiples of it lie evenly in [0, 1) and meet no pattern of an image


def plot_accuracy_over_time(
    table: Any, ann_accuracy: float | None = None, title: str | None = None
) -> tuple[Figure, list[Axes]]:
    """Accuracy after so many steps, over the synaptic operations that a sample has taken by then.

    Parameters
    ----------
    table
        What `evsim.accuracy_over_time` returns; its early exits are dots, at their mean number of steps.
    ann_accuracy
        In [0, 1], drawn as a dashed line.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("accuracy.png")`. axes : accuracy, operations.

    Raises
    ------
    ImportError : matplotlib is not installed.
    """
    figure = figure_class()(figsize=(7.0, 5.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1.0))
    above.plot(table.steps, 100.0 * table.accuracy, color=COLORS[0], linewidth=1.4)
    if ann_accuracy is not None:
        above.axhline(100.0 * ann_accuracy, color=COLORS[1], linewidth=0.9, linestyle=(0, (4, 3)))
        words = f"ANN {100.0 * ann_accuracy:.2f} %"
        above.text(
            1.01, 100.0 * ann_accuracy, words, transform=above.get_yaxis_transform(), va="center", color=COLORS[1],
            fontsize=9,
        )  # fmt: skip
    for exit in table.exits:
        above.plot(exit.steps, 100.0 * exit.accuracy, color=COLORS[2], marker="o", markersize=4.5)
        below.plot(exit.steps, MILLION * exit.operations, color=COLORS[2], marker="o", markersize=4.5)
    if table.exits:
        lines = [f"margin {e.margin:g}: {100 * e.accuracy:.2f} %, {e.steps:.1f} steps" for e in table.exits]
        above.text(
            0.98, 0.04, "\n".join(lines), transform=above.transAxes, ha="right", va="bottom", color=COLORS[2],
            fontsize=8,
        )  # fmt: skip
    above.set_ylabel("accuracy (%)")
    operations = MILLION * (table.synaptic_operations + table.multiply_accumulates)
    below.plot(table.steps, operations, color=COLORS[3], linewidth=1.4)
    below.set(xlabel="steps", ylabel="million operations")
    below.set_ylim(bottom=0.0)
    below.set_xscale("log")
    below.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    below.set_xlim(1, max(2, int(table.steps[-1])))
    total = f"{1e6 * table.joules[-1]:.3g} uJ in {table.steps[-1]} steps"
    below.text(1.01, operations[-1], total, transform=below.get_yaxis_transform(), va="center", color=INK, fontsize=9)
    for axis in (above, below):
        plain(axis)
    figure.align_ylabels()
    draw_title(above, title)
    return figure, [above, below]


def plot_activations(layers: Sequence[Any], title: str | None = None) -> tuple[Figure, list[Axes]]:
    """Rates of a converted network against activations of the ordinary one, a picture for each layer.

    Of a large layer only units evenly spread are drawn; correlation and error are those of all.

    Parameters
    ----------
    layers
        What `evsim.compare_activations` returns.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("activations.png")`. axes : one for each layer.

    Raises
    ------
    ImportError : matplotlib is not installed. ValueError : no layers.
    """
    Figure = figure_class()
    if not layers:
        raise ValueError("activations: layers is empty; it must hold at least one layer")
    rows = -(-len(layers) // COLUMNS)
    columns = -(-len(layers) // rows)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.75 * rows + 0.5), layout="constrained")
    axes = []
    for k, layer in enumerate(layers):
        axis = figure.add_subplot(rows, columns, k + 1)
        x, y = layer.activation.ravel(), layer.rate.ravel()
        shown = (np.arange(min(DOTS, x.size)) * GOLDEN % 1.0 * x.size).astype(np.int64)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        margin = 0.04 * (high - low) or 1.0
        axis.plot([low, high], [low, high], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axis.scatter(x[shown], y[shown], s=4.0, c=COLORS[k % len(COLORS)], linewidths=0, alpha=0.45, rasterized=True)
        axis.set_xlim(low - margin, high + margin)
        axis.set_ylim(low - margin, high + margin)
        axis.set_aspect("equal")
        axis.locator_params(nbins=4)
        axis.set_title(f"{layer.layer} {layer.name}" if layer.name != str(layer.layer) else f"layer {layer.layer}",
                       loc="left", color=INK, fontsize=9)  # fmt: skip
        words = f"r = {layer.correlation:.4f}\nerror {100 * layer.error:.1f} %"
        axis.text(0.04, 0.96, words, transform=axis.transAxes, va="top", color=INK, fontsize=8)
        plain(axis)
        if k // columns == rows - 1:
            axis.set_xlabel("activation")
        if k % columns == 0:
            axis.set_ylabel("rate as activation")
        axes.append(axis)
    if title:
        figure.suptitle(title, x=0.01, ha="left", color=INK, fontweight="bold", fontsize=12)
    return figure, axes
