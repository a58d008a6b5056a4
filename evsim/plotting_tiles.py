"""Pictures made of small images side by side: receptive fields, feature maps, weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evsim.plotting_frames import check_finite
from evsim.plotting_style import INK, color_scale, draw_colorbar, draw_title, figure_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_receptive_fields(
    weights: np.ndarray,
    shape: tuple[int, int] = (28, 28),
    labels: Sequence[Any] | None = None,
    columns: int | None = None,
    w_max: float | None = None,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """The weights onto each neuron as a small image of the input, all neurons side by side, row by row.

    Parameters
    ----------
    weights
        (n_inputs, n_neurons).
    shape
        (height, width) of the input, height * width = n_inputs.
    labels
        (n_neurons,) shown in the corner of each image, such as the classes of `assign_labels`; -1 shows none.
    columns
        Images in a row; left out: as many as make the picture about square.
    w_max
        Weight at the end of the colours, which begin at 0, or at -w_max where weights are negative; left out: the
        largest size of a weight.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("fields.png")`. axes : the image.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : weights that are not finite or do not fit the shape, labels of another length, columns below 1, w_max
        not above 0.
    """
    weights = np.asarray(weights, np.float64)
    height, width = shape
    if weights.ndim != 2 or weights.shape[0] != height * width or weights.shape[1] == 0:
        raise ValueError(
            f"receptive fields: weights is {weights.shape}; it must be (n_inputs, n_neurons) "
            f"with n_inputs = {height} * {width}"
        )
    _check_weights("receptive fields", weights, w_max)
    n = weights.shape[1]
    if labels is not None and len(labels) != n:
        raise ValueError(f"receptive fields: labels has {len(labels)} entries; it must have {n}, one for each neuron")

    top = w_max or float(np.abs(weights).max()) or 1.0
    signed = bool(weights.min() < 0.0)
    colors = {"cmap": "RdBu_r" if signed else "magma", "vmin": -top if signed else 0.0, "vmax": top}
    tiles = _draw_tiles("receptive fields", weights.T.reshape(n, *shape), columns, colors, "weight", title)
    if labels is not None:
        ink, paper = (INK, "white") if signed else ("white", "black")
        font = float(np.clip(0.3 * 72.0 * tiles.inches * min(height, width), 4.0, 11.0))
        box = {"facecolor": paper, "alpha": 0.6, "linewidth": 0.0, "pad": 0.1 * font}
        for (y, x), label in zip(tiles.corners, labels, strict=True):
            if str(label) != "-1":
                tiles.axis.text(
                    x + 0.05 * width, y + 0.04 * height, str(label), va="top", color=ink, fontsize=font, bbox=box
                )
    return tiles.figure, tiles.axis


def plot_feature_maps(
    values: np.ndarray,
    columns: int | None = None,
    label: str = "value",
    limits: tuple[float, float] | None = None,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """The maps of a convolution layer side by side, row by row, on one scale of colours.

    Parameters
    ----------
    values
        (C, H, W), such as spike counts, `spikes[:, 0].sum(0)` of spikes (T, B, C, H, W), or membrane potentials.
    columns
        Maps in a row; left out: as many as make the picture about square.
    label
        What the colours are.
    limits
        Values at the two ends of the colours; left out: the lowest and the highest, or evenly about 0 where values have
        both signs.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("maps.png")`. axes : the image; the index of the first map of each row is on
        its left.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : another shape, values that are not finite, columns below 1, limits not in ascending order.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 3 or values.size == 0:
        raise ValueError(
            f"feature maps: values is {values.shape}; it must be (channels, height, width): choose one sample, and one "
            "step or the sum over steps"
        )
    check_finite("feature maps", "values", values)
    colors = color_scale("feature maps", values, limits)
    tiles = _draw_tiles("feature maps", _enlarge(values), columns, colors, label, title)
    _number_rows(tiles, "channel")
    return tiles.figure, tiles.axis


def plot_weights(
    weights: np.ndarray,
    shape: tuple[int, ...] | None = None,
    columns: int | None = None,
    w_max: float | None = None,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """Weights of a convolution or linear layer as images, one for each output, row by row; white is 0.

    The input channels of one output are stacked, the first on top.

    Parameters
    ----------
    weights
        (out, in_channels, kh, kw) of a convolution, or (out, in) of a linear layer.
    shape
        Of the input of a linear layer, (height, width) or (channels, height, width); their product is `in`.
    columns
        Outputs in a row; left out: as many as make the picture about square.
    w_max
        Weight at the end of the colours, which begin at -w_max; left out: the largest size of a weight.
    title
        Text above the picture.

    Returns
    -------
    figure : save it with `figure.savefig("weights.png")`. axes : the image; the index of the first output of each row
        is on its left.

    Raises
    ------
    ImportError : matplotlib is not installed.
    ValueError : another shape, weights that are not finite, columns below 1, w_max not above 0.
    """
    weights = np.asarray(weights, np.float64)
    if weights.ndim == 2 and shape is not None:
        if len(shape) not in (2, 3) or min(shape) < 1 or np.prod(shape) != weights.shape[1]:
            raise ValueError(
                f"weight images: shape is {tuple(shape)}; it must be (height, width) or (channels, height, width) "
                f"of {weights.shape[1]} inputs"
            )
        weights = weights.reshape(len(weights), *(1, *shape)[-3:])
    elif weights.ndim != 4 or shape is not None:
        given = "" if shape is None else " and shape is given"
        raise ValueError(
            f"weight images: weights is {weights.shape}{given}; it must be (out, in_channels, kh, kw), "
            "or (out, in) with shape=(height, width)"
        )
    if weights.size == 0:
        raise ValueError(f"weight images: weights is {weights.shape}; it must hold at least one weight")
    _check_weights("weight images", weights, w_max)
    top = w_max or float(np.abs(weights).max()) or 1.0

    images = _enlarge(weights)
    n, channels, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=np.nan)  # a line between channels
    stacks = padded.reshape(n, channels * (height + 1), width)[:, :-1]
    gap = 3 if channels > 1 else None
    colors = {"cmap": "RdBu_r", "vmin": -top, "vmax": top}
    tiles = _draw_tiles("weight images", stacks, columns, colors, "weight", title, gap)
    _number_rows(tiles, "output")
    if channels > 1:
        tiles.axis.set_xlabel(f"each stack: the {channels} input channels of one output", color=INK, fontsize=9)
    return tiles.figure, tiles.axis


class Tiles(NamedTuple):
    """A drawn picture of images side by side. corners : (y, x) of each image. inches : of a pixel."""

    figure: Figure
    axis: Axes
    corners: list[tuple[int, int]]
    size: tuple[int, int]
    inches: float


def _draw_tiles(
    picture: str,
    images: np.ndarray,
    columns: int | None,
    colors: dict[str, Any],
    label: str,
    title: str | None,
    gap: int | None = None,
) -> Tiles:
    """Images (n, height, width) in rows of `columns`, with `gap` pixels around each."""
    n, height, width = images.shape
    if columns is not None and columns < 1:
        raise ValueError(f"{picture}: columns is {columns}; it must be at least 1")
    gap = gap or max(1, round(0.04 * max(height, width)))
    columns = columns or _choose_columns(n, height + gap, width + gap)
    rows = -(-n // columns)
    pixels = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), np.nan)
    corners = [(gap + k // columns * (height + gap), gap + k % columns * (width + gap)) for k in range(n)]
    for (y, x), image in zip(corners, images, strict=True):
        pixels[y : y + height, x : x + width] = image

    inches = 7.0 / max(pixels.shape)
    size = (max(2.0, pixels.shape[1] * inches) + 1.1, max(1.6, pixels.shape[0] * inches) + (0.55 if title else 0.2))
    figure = figure_class()(figsize=size, layout="constrained")
    axis = figure.add_subplot()
    axis.set_facecolor("#777777" if colors["cmap"] == "RdBu_r" else "#CCCCCC")  # of the gaps
    sampling = "nearest" if max(pixels.shape) <= 1000 else "auto"  # many pixels are averaged, not left out
    image = axis.imshow(pixels, interpolation=sampling, **colors)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    draw_colorbar(figure, axis, image, label)
    draw_title(axis, title)
    return Tiles(figure, axis, corners, (height, width), inches)


def _choose_columns(n: int, height: int, width: int) -> int:
    """Images in a row so that the longer side of the picture is short and few places stay empty; rather wide."""

    def cost(columns: int) -> tuple[float, int]:
        rows = -(-n // columns)
        return max(rows * height, columns * width) * rows * columns, -columns

    return min(range(1, n + 1), key=cost)


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Repeat the pixels of small images (..., height, width), so that a gap of one pixel is narrow beside them."""
    times = max(1, min(24 // max(images.shape[-2:]), int(1500 / np.sqrt(images.size))))
    return images.repeat(times, axis=-2).repeat(times, axis=-1)


def _number_rows(tiles: Tiles, name: str) -> None:
    """Write the index of the first image of each row on its left, as far as there is room."""
    first = {y: k for k, (y, _) in reversed(list(enumerate(tiles.corners)))}
    heights = sorted(first)
    pitch = heights[1] - heights[0] if len(heights) > 1 else tiles.size[0]
    heights = heights[:: int(np.ceil(0.18 / (pitch * tiles.inches)))]
    tiles.axis.set_yticks([y + 0.5 * (tiles.size[0] - 1) for y in heights], [str(first[y]) for y in heights])
    tiles.axis.tick_params(axis="y", length=0, colors=INK, labelsize=9)
    tiles.axis.set_ylabel(name, color=INK, fontsize=9)


def _check_weights(picture: str, weights: np.ndarray, w_max: float | None) -> None:
    check_finite(picture, "weights", weights)
    if w_max is not None and not w_max > 0.0:
        raise ValueError(f"{picture}: w_max is {w_max}; it must be above 0")
