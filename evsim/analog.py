"""Ordinary (rate) networks of the same layers: what a converted network is compared with, in NumPy.

A list of layers with ReLU between them is a network that has no time: x (B, ...) goes in, y (B, ...) comes out.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evsim import checks
from evsim.layers import AvgPool2d, Connection, Conv2d, Flatten, Layer, Linear, MaxPool2d, Pool, Recurrent

__all__ = ["AnalogNetwork", "BatchNorm", "Dropout", "ReLU", "with_weights"]

F4 = NDArray[np.float32]
BATCH = 128  # samples that are in memory at a time


class ReLU(Layer):
    """y = max(x, 0)."""

    def output_shape(self, owner: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same."""
        return shape


class Dropout(Layer):
    """Nothing: what training leaves out at random is all there afterwards."""

    def output_shape(self, owner: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same."""
        return shape


class BatchNorm(Layer):
    """The normalisation of a trained network, of each channel:  y = weight * (x - mean) / sqrt(variance + eps) + bias.

    Parameters
    ----------
    mean, variance : (channels,), as they were averaged over training.
    weight, bias : (channels,) or one number.
    eps : > 0.
    """

    def __init__(self, mean: Any, variance: Any, weight: Any = 1.0, bias: Any = 0.0, eps: float = 1e-5) -> None:
        owner = "BatchNorm"
        shape = np.shape(mean)
        if len(shape) != 1:
            raise ValueError(f"{owner}: mean has shape {shape}; it must have one dimension, that of the channels")
        eps = checks.number(owner, "eps", eps, 0.0, inclusive=False)
        deviation = np.sqrt(checks.numbers(owner, "variance", variance, shape, 0.0) + eps)
        self.factor = np.broadcast_to(checks.numbers(owner, "weight", weight, shape) / deviation, shape)
        self.offset = checks.numbers(owner, "bias", bias, shape) - self.factor * checks.numbers(
            owner, "mean", mean, shape
        )

    def output_shape(self, owner: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The same."""
        return shape

    def folded(self, owner: str, connection: Connection) -> Connection:
        """The connection with this normalisation in its weights and biases."""
        n_out = len(connection.weight)
        if len(self.factor) != n_out:
            raise ValueError(f"{owner}: it has {len(self.factor)} channels; it must have {n_out}, as what is before it")
        weight = connection.weight * self.factor.reshape(-1, *(1,) * (connection.weight.ndim - 1))
        before = 0.0 if connection.bias is None else connection.bias.astype(np.float64)
        return with_weights(connection, weight, self.factor * before + self.offset)


class AnalogNetwork:
    """Layers without time: evsim's connections, pools and Flatten, with `ReLU`, `BatchNorm` and `Dropout`.

        ann = evsim.AnalogNetwork(evsim.Linear(784, 100, weight=w), evsim.ReLU(), evsim.Linear(100, 10, weight=u))
        y = ann(x)       # x (B, 784), float32

    BatchNorm is folded into the connection before it; Dropout is left out.

    Parameters
    ----------
    *layers : weights that are not given are drawn, as in `Sequential`.
    names : what messages and tables call them; by default their numbers.
    seed : of weights that are drawn, in [0, 2^64).

    Attributes
    ----------
    layers, names : what is left.

    Raises
    ------
    TypeError : a layer of another kind. ValueError : a BatchNorm that does not follow a connection.
    """

    def __init__(self, *layers: Layer, names: Sequence[str] | None = None, seed: int = 0) -> None:
        self.layers: list[Layer] = []
        self.names: list[str] = []
        seed = checks.size("AnalogNetwork", "seed", seed, high=2**64 - 1)
        for index, layer in enumerate(layers):
            name = str(index) if names is None else names[index]
            owner = f"{name} ({type(layer).__name__})"
            if isinstance(layer, Connection):
                layer.draw(np.random.Generator(np.random.Philox(key=[seed, index])))
            if isinstance(layer, BatchNorm):
                if not (self.layers and isinstance(self.layers[-1], Connection)):
                    raise ValueError(f"{owner}: it follows no Linear or convolution; it must, to be folded into it")
                self.layers[-1] = layer.folded(owner, self.layers[-1])
            elif isinstance(layer, Recurrent) or not isinstance(layer, Layer):
                known = "Linear, Conv1d, Conv2d, AvgPool2d, SumPool2d, MaxPool2d, Flatten, ReLU, BatchNorm, Dropout"
                raise TypeError(f"{owner}: it is not supported; known are {known}")
            elif not isinstance(layer, Dropout):
                self.layers.append(layer)
                self.names.append(name)

    def __call__(self, x: Any) -> F4:
        """y (B, ...) float32 of x (B, ...)."""
        parts = []
        for first in range(0, len(x), BATCH):
            for values in self.activations(x[first : first + BATCH]):
                last = values
            parts.append(last)
        return np.concatenate(parts)

    def activations(self, x: Any) -> Iterator[F4]:
        """What each layer gives for x (B, ...), one after another: all samples at once."""
        values = np.asarray(x, np.float32)
        for layer, name in zip(self.layers, self.names, strict=True):
            layer.output_shape(f"{name} ({type(layer).__name__})", values.shape[1:])
            values = apply(layer, values)
            yield values

    def parameters(self) -> dict[str, F4]:
        """All weights and biases: "0.weight", "0.bias", ..."""
        made = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            if isinstance(layer, Connection):
                made[f"{name}.weight"] = layer.weight
                if layer.bias is not None:
                    made[f"{name}.bias"] = layer.bias
        return made

    def load_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set weights and biases by the names of `parameters`; others stay.

        Raises
        ------
        KeyError : an unknown name. ValueError : a wrong shape.
        """
        known = self.parameters()
        for name, value in parameters.items():
            if name not in known:
                raise checks.nearest("AnalogNetwork", "parameter", name, list(known))
            place, _, attribute = name.rpartition(".")
            setattr(self.layers[self.names.index(place)], attribute, value)

    def __repr__(self) -> str:
        return f"AnalogNetwork({', '.join(map(repr, self.layers))})"


def with_weights(connection: Connection, weight: Any, bias: Any) -> Connection:
    """The connection with other weights and biases (None: without)."""
    made = copy.copy(connection)
    made.weight, made.bias = weight, bias
    return made


def apply(layer: Layer, x: F4) -> F4:
    """A layer of x (B, ...)."""
    if isinstance(layer, Conv2d):
        return _convolve(layer, x)
    if isinstance(layer, Linear):
        made = x @ layer.weight.T
        return made if layer.bias is None else made + layer.bias
    if isinstance(layer, Pool):
        return _pool(layer, x)
    if isinstance(layer, ReLU):
        return np.maximum(x, np.float32(0.0))
    assert isinstance(layer, Flatten)
    return x.reshape(len(x), -1)


def windows(x: F4, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> F4:
    """The windows of images (..., rows, columns): a view (..., rows out, columns out, kernel rows, kernel columns)."""
    spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    every: F4 = sliding_window_view(x, spans, axis=(-2, -1))
    return every[..., :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def padded(x: F4, padding: tuple[int, int], value: float = 0.0) -> F4:
    """Images (..., rows, columns) with a border."""
    around = [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding]
    return np.pad(x, around, constant_values=value) if any(padding) else x


def columns(layer: Conv2d, x: F4) -> list[F4]:
    """What each target place of a convolution sees, of each group: (B * rows * columns, window)."""
    seen = windows(padded(as_images(x), layer.padding), layer.kernel_size, layer.stride, layer.dilation)
    n_in = layer.in_channels // layer.groups
    parts = [seen[:, g * n_in : (g + 1) * n_in].transpose(0, 2, 3, 1, 4, 5) for g in range(layer.groups)]
    return [part.reshape(-1, n_in * layer.kernel_size[0] * layer.kernel_size[1]) for part in parts]


def as_images(x: F4) -> F4:
    """(B, C, length) as images of one row."""
    return x if x.ndim == 4 else x[:, :, np.newaxis]


def _convolve(layer: Conv2d, x: F4) -> F4:
    shape = layer.output_shape("", x.shape[1:])
    share = layer.out_channels // layer.groups
    kernels = layer.weight.reshape(layer.groups, share, -1)
    flat = [own @ kernel.T for own, kernel in zip(columns(layer, x), kernels, strict=True)]
    y = np.concatenate(flat, axis=1)
    y = y if layer.bias is None else y + layer.bias
    return np.ascontiguousarray(np.moveaxis(y.reshape(len(x), *shape[1:], shape[0]), -1, 1))


def _pool(layer: Pool, x: F4) -> F4:
    if isinstance(layer, MaxPool2d):
        made: F4 = windows(padded(x, layer.padding, -np.inf), layer.kernel_size, layer.stride).max(axis=(-2, -1))
        return made
    total: F4 = windows(padded(x, layer.padding), layer.kernel_size, layer.stride).sum(axis=(-2, -1))
    return total * np.float32(layer.scale) if isinstance(layer, AvgPool2d) else total
