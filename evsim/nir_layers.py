"""NIR's layers as evsim's, and back."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.layers import AvgPool2d, Connection, Conv1d, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pool, SumPool2d

__all__ = ["make_layer", "make_node", "scale_layer"]

Shape = tuple[int, ...]


def make_layer(kind: str, node: Any) -> Layer | None:
    """The layer that a node of the nir package is, or None where it is no layer. A bias of zeros is no bias.

    padding "same" keeps the length, as in PyTorch: where the zeros to add are odd in number, one more stands behind.

    Raises
    ------
    ValueError : parameters that contradict each other.
    """
    if kind in ("Affine", "Linear"):
        weight = _weight(node, 2, "(outputs, inputs)")
        return Linear(weight.shape[1], weight.shape[0], weight=weight, bias=_bias(node))
    if kind == "Conv1d":
        return _convolution(Conv1d, node, _weight(node, 3, "(channels out, channels in / groups, length)"))
    if kind == "Conv2d":
        return _convolution(Conv2d, node, _weight(node, 4, "(channels out, channels in / groups, rows, columns)"))
    if kind in ("SumPool2d", "AvgPool2d"):
        pool = SumPool2d if kind == "SumPool2d" else AvgPool2d
        return pool(_ints(node.kernel_size, 2), _ints(node.stride, 2), _ints(node.padding, 2))
    return None


def scale_layer(scale: Any, shape: Shape) -> Layer | None:
    """A layer that multiplies a sample of `shape`, a number for each channel or unit; None where there is none."""
    if len(shape) == 1:
        return Linear(shape[0], shape[0], weight=np.diag(np.broadcast_to(scale, shape)), bias=False)
    if len(shape) not in (2, 3):
        return None
    whole = np.broadcast_to(scale if np.ndim(scale) == 0 else np.reshape(scale, shape), shape)
    of_channel = whole.reshape(shape[0], -1)
    if (of_channel != of_channel[:, :1]).any():
        return None
    convolution = Conv1d if len(shape) == 2 else Conv2d
    weight = of_channel[:, 0].reshape(-1, *[1] * len(shape))
    return convolution(shape[0], shape[0], 1, groups=shape[0], weight=weight, bias=False)


def make_node(nir: Any, owner: str, layer: Layer, shape: Shape) -> Any:
    """The node of the nir package that a layer is, for samples of `shape`.

    Raises
    ------
    ValueError : a MaxPool2d, which NIR has not.
    """
    if isinstance(layer, Conv2d):
        bias = np.zeros(layer.out_channels, np.float32) if layer.bias is None else layer.bias
        one = isinstance(layer, Conv1d)
        number: Callable[[tuple[int, int]], Any] = (lambda pair: pair[1]) if one else (lambda pair: pair)
        return (nir.Conv1d if one else nir.Conv2d)(
            input_shape=shape[1] if one else shape[1:],
            weight=layer.weight,
            stride=number(layer.stride),
            padding=number(layer.padding),
            dilation=number(layer.dilation),
            groups=layer.groups,
            bias=bias,
        )
    if isinstance(layer, Connection):
        return nir.Linear(layer.weight) if layer.bias is None else nir.Affine(layer.weight, layer.bias)
    if isinstance(layer, MaxPool2d):
        raise ValueError(f"{owner}: NIR has no maximum of a window; use a SumPool2d or an AvgPool2d")
    if isinstance(layer, Pool):
        pool = nir.AvgPool2d if isinstance(layer, AvgPool2d) else nir.SumPool2d
        return pool(np.array(layer.kernel_size), np.array(layer.stride), np.array(layer.padding))
    assert isinstance(layer, Flatten)
    return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)


def _weight(node: Any, axes: int, shape: str) -> NDArray[Any]:
    weight = np.asarray(node.weight)
    if weight.ndim != axes:
        raise ValueError(f"weight has shape {weight.shape}; it must be {shape}")
    return weight


def _bias(node: Any) -> Any:
    bias = getattr(node, "bias", None)
    return False if bias is None or not np.any(np.asarray(bias)) else np.asarray(bias)


def _convolution(convolution: Any, node: Any, weight: NDArray[Any]) -> Layer:
    axes = weight.ndim - 2
    stride, dilation = _ints(node.stride, axes), _ints(node.dilation, axes)
    padding = (0,) * axes if isinstance(node.padding, str) else _ints(node.padding, axes)
    if isinstance(node.padding, str) and node.padding == "same":
        if any(step != 1 for step in stride):
            raise ValueError(f"padding is 'same' and stride {stride}; with 'same' the stride must be 1")
        for axis in range(axes):
            weight, dilation = _centred(weight, axis, dilation)
        padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, weight.shape[2:], strict=True))
    groups = int(node.groups)
    simple: Callable[[tuple[int, ...]], Any] = (lambda numbers: numbers[0]) if axes == 1 else (lambda numbers: numbers)
    made: Layer = convolution(
        weight.shape[1] * groups,
        weight.shape[0],
        simple(weight.shape[2:]),
        stride=simple(stride),
        padding=simple(padding),
        dilation=simple(dilation),
        groups=groups,
        weight=weight,
        bias=_bias(node),
    )
    return made


def _centred(weight: NDArray[Any], axis: int, dilation: tuple[int, ...]) -> tuple[NDArray[Any], tuple[int, ...]]:
    """A kernel whose span is odd, so that 'same' adds as many zeros on both sides: one with a zero put in front.

    That zero is one place before the first weight, so a dilated kernel is written out.
    """
    span = dilation[axis] * (weight.shape[2 + axis] - 1) + 1
    if span % 2 == 1:
        return weight, dilation
    long = np.zeros((*weight.shape[: 2 + axis], span + 1, *weight.shape[3 + axis :]), weight.dtype)
    at: list[Any] = [slice(None)] * weight.ndim
    at[2 + axis] = slice(1, None, dilation[axis])
    long[tuple(at)] = weight
    return long, (*dilation[:axis], 1, *dilation[axis + 1 :])


def _ints(given: Any, axes: int) -> tuple[int, ...]:
    """As many whole numbers, from one or as many."""
    array = np.asarray(given).reshape(-1)
    if array.size not in (1, axes) or not np.all(array == np.rint(array.astype(float))):
        raise ValueError(f"{given!r} stands where {axes} whole number{'s' if axes > 1 else ''} must")
    return tuple(int(n) for n in np.broadcast_to(array, axes))
