"""The picture of predictions: a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evsim.plotting_style import INK, draw_colorbar, draw_title, figure_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_confusion_matrix(
    matrix: np.ndarray, names: Sequence[Any] | None = None, title: str | None = None
) -> tuple[Figure, Axes]:
    """How samples of each class (rows) are predicted (columns): counts, coloured by their share of the row.

    Parameters
    ----------
    matrix
        (n_classes, n_classes) counts, or (n_classes, n_classes + 1) with the samples without a prediction in the
        last column, from `evsim.labelling.confusion_matrix`. That column is drawn where it is not empty.
    names
        (n_classes,) of the classes; left out: 0, 1, ...
    title
        Text above the picture; left out: the share of correct predictions.

    Returns
    -------
    figure : save it with `figure.savefig("confusion.png")`. axes : the matrix.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : a matrix of another shape, negative or non-finite counts, names of another length.
    """
    Figure = figure_class()
    matrix = np.asarray(matrix)
    n = len(matrix) if matrix.ndim == 2 else 0
    if n == 0 or matrix.shape[1] not in (n, n + 1):
        raise ValueError(
            f"confusion matrix: matrix is {matrix.shape}; it must be (n_classes, n_classes) or one column more"
        )
    bad = ~(np.isfinite(matrix) & (matrix >= 0))
    if bad.any():
        raise ValueError(f"confusion matrix: a count is {matrix[bad][0]}; counts must be finite and at least 0")
    if names is not None and len(names) != n:
        raise ValueError(f"confusion matrix: names has {len(names)} entries; it must have {n}, one for each class")
    total = int(matrix.sum())
    correct = np.trace(matrix) / total if total else 0.0
    if matrix.shape[1] > n and not matrix[:, n].any():
        matrix = matrix[:, :n]
    ticks = [str(name) for name in (range(n) if names is None else names)]
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))

    cell = float(np.clip(5.0 / n, 0.3, 0.8))
    figure = Figure(figsize=(matrix.shape[1] * cell + 2.0, n * cell + 1.4), layout="constrained")
    axis = figure.add_subplot()
    colors = axis.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    axis.set_xticks(range(matrix.shape[1]), ticks + ["none"] * (matrix.shape[1] - n))
    axis.set_yticks(range(n), ticks)
    axis.tick_params(length=0, colors=INK, labelsize=9)
    axis.spines[:].set_color(INK)
    axis.set_xlabel("predicted", color=INK)
    axis.set_ylabel("true class", color=INK)
    digits = max(2, max(len(f"{count:g}") for count in matrix.flat))
    for row, column in np.argwhere(matrix > 0):
        axis.text(
            column, row, f"{matrix[row, column]:g}", ha="center", va="center",
            color="white" if share[row, column] > 0.55 else INK, fontsize=min(9.0, 72.0 * cell / (0.75 * digits)),
        )  # fmt: skip
    draw_colorbar(figure, axis, colors, "share of the true class")
    default = f"{correct:.1%} of {total:,} samples correct"
    draw_title(axis, title or default)
    return figure, axis
