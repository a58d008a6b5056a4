"""Layers that join the neurons of a `Sequential`: what they compute, their shapes, their weights.

Names, arguments and the shapes of weights are PyTorch's. A sample has shape (features,), (channels, length) or
(channels, height, width). A layer's weights are read-only arrays; assign a new array to change them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.neurons import NeuronModel

__all__ = [
    "AvgPool2d", "Connection", "Conv1d", "Conv2d", "Flatten", "Layer", "Linear", "MaxPool2d", "Pool", "Recurrent",
    "SumPool2d",
]  # fmt: skip

Shape = tuple[int, ...]
F4 = NDArray[np.float32]


class Layer:
    """What a Sequential is made of, beside neurons."""

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """The shape of a sample that leaves the layer, for one of `shape` that enters it."""
        raise NotImplementedError

    def arguments(self) -> str:
        """What the layer was made with, in words."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.arguments()})"


class Connection(Layer):
    """A layer with weights. Those not given are drawn by the Sequential it is put in, as PyTorch does:
    uniform in [-k, k], k = 1 / sqrt(inputs of a target), for weights and biases alike.

    Attributes
    ----------
    weight, bias : float32; bias is None where there is none.
    version : counts the changes of either.
    """

    def __init__(self, weight_shape: Shape, weight: Any, bias: Any) -> None:
        self._weight_shape = weight_shape
        self.version = 0
        self._weight: F4 | None = None
        self._bias: F4 | None = None
        self._wants_bias = bias is not False and bias is not None
        if weight is not None:
            self.weight = weight
        if not isinstance(bias, bool) and bias is not None:
            self.bias = bias

    @property
    def fan_in(self) -> int:
        """Inputs of one target."""
        return int(np.prod(self._weight_shape[1:]))

    @property
    def weight(self) -> F4:
        """The weights, float32, read-only."""
        if self._weight is None:
            raise ValueError(f"{self}: it has no weights yet; give weight=, or put it in a Sequential")
        return self._weight

    @weight.setter
    def weight(self, value: Any) -> None:
        self._weight = self._checked("weight", value, self._weight_shape)

    @property
    def bias(self) -> F4 | None:
        """The biases (targets,), float32, read-only, or None."""
        return self._bias

    @bias.setter
    def bias(self, value: Any) -> None:
        self._wants_bias = value is not None
        if value is not None:
            self._bias = self._checked("bias", value, self._weight_shape[:1])
        else:
            self._bias = None
            self.version += 1

    def draw(self, generator: np.random.Generator) -> None:
        """Draw the weights and biases that were not given."""
        k = 1.0 / np.sqrt(max(self.fan_in, 1))
        if self._weight is None:
            self.weight = generator.uniform(-k, k, self._weight_shape)
        if self._wants_bias and self._bias is None:
            self.bias = generator.uniform(-k, k, self._weight_shape[:1])

    def _checked(self, name: str, value: Any, shape: Shape) -> F4:
        is_float32 = isinstance(value, np.ndarray) and value.dtype == np.float32
        if is_float32 and value.shape == shape and checks.are_usual(value):
            return self._kept(value)
        owner = repr(self)
        array = checks.as_floats(owner, name, value)
        if array.shape != shape:
            raise ValueError(f"{owner}: {name} has shape {array.shape}; it must have shape {shape}")
        return self._kept(checks.numbers(owner, name, array, shape))

    def _kept(self, array: NDArray[Any]) -> F4:
        """A copy; but of an array with memory of its own, which may not be written to, the array itself."""
        is_fixed = array.flags.owndata and not array.flags.writeable and array.flags.c_contiguous
        made = array if is_fixed and array.dtype == np.float32 else array.astype(np.float32)
        made.flags.writeable = False
        self.version += 1
        return made


class Linear(Connection):
    """Every input to every output:  y = weight @ x + bias.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool or array (out_features,)
    weight : array (out_features, in_features), optional
    """

    def __init__(self, in_features: int, out_features: int, bias: Any = True, weight: Any = None) -> None:
        self.in_features = checks.size("Linear", "in_features", in_features, 1)
        self.out_features = checks.size("Linear", "out_features", out_features, 1)
        super().__init__((self.out_features, self.in_features), weight, bias)

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """(in_features,) to (out_features,)."""
        if shape != (self.in_features,):
            hint = "; put a Flatten() before it" if len(shape) > 1 and np.prod(shape) == self.in_features else ""
            raise ValueError(f"{owner}: its input has shape {shape}; it must be ({self.in_features},){hint}")
        return (self.out_features,)

    def arguments(self) -> str:
        return f"{self.in_features}, {self.out_features}"


class Conv2d(Connection):
    """A two-dimensional convolution (cross-correlation, as in PyTorch), zeros around the border.

        y[o, i, j] = bias[o] + sum_c,a,b weight[o, c, a, b] * x[c, i * stride + a * dilation - padding, ...]

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or pair (rows, columns)
    groups : int
        Channels are divided into so many groups that do not mix.
    bias : bool or array (out_channels,)
    weight : array (out_channels, in_channels / groups, rows, columns), optional
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: Any = True,
        weight: Any = None,
    ) -> None:
        owner = type(self).__name__
        self.in_channels = checks.size(owner, "in_channels", in_channels, 1)
        self.out_channels = checks.size(owner, "out_channels", out_channels, 1)
        self.kernel_size = self._pair("kernel_size", kernel_size, 1)
        self.stride = self._pair("stride", stride, 1)
        self.padding = self._pair("padding", padding, 0, other=0)
        self.dilation = self._pair("dilation", dilation, 1)
        self.groups = checks.size(owner, "groups", groups, 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{owner}: groups is {groups}; it must divide {name}, {channels}")
        super().__init__(self._weight_shape_of(in_channels // groups), weight, bias)

    def _pair(self, name: str, value: Any, low: int, other: int = 1) -> tuple[int, int]:
        """(rows, columns) from one number or two."""
        return _pair(type(self).__name__, name, value, low)

    def _weight_shape_of(self, channels: int) -> Shape:
        return (self.out_channels, channels, *self.kernel_size)

    def kernel(self) -> F4:
        """The weights as (out_channels, in_channels / groups, rows, columns)."""
        return self.weight

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """(in_channels, height, width) to (out_channels, ...)."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise ValueError(f"{owner}: its input has shape {shape}; it must be ({self.in_channels}, height, width)")
        rows, columns = (
            _windows(owner, n, k, s, p, d)
            for n, k, s, p, d in zip(shape[1:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        )
        return (self.out_channels, rows, columns)

    def arguments(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"


class Conv1d(Conv2d):
    """A one-dimensional convolution; as Conv2d, with one number each.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups : int
    bias : bool or array (out_channels,)
    weight : array (out_channels, in_channels / groups, kernel_size), optional
    """

    def _pair(self, name: str, value: Any, low: int, other: int = 1) -> tuple[int, int]:
        return other, checks.size("Conv1d", name, value, low)

    def _weight_shape_of(self, channels: int) -> Shape:
        return (self.out_channels, channels, self.kernel_size[1])

    def kernel(self) -> F4:
        """The weights as those of a Conv2d with one row."""
        return self.weight[:, :, np.newaxis]

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """(in_channels, length) to (out_channels, ...)."""
        if len(shape) != 2 or shape[0] != self.in_channels:
            raise ValueError(f"{owner}: its input has shape {shape}; it must be ({self.in_channels}, length)")
        channels, _, columns = super().output_shape(owner, (shape[0], 1, shape[1]))
        return (channels, columns)

    def arguments(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size[1]}"


class Pool(Layer):
    """What pools share: windows of kernel_size every stride, with `padding` empty places around.

    Incomplete windows are left out.

    Parameters
    ----------
    kernel_size : int or pair (rows, columns)
    stride : int or pair, by default kernel_size
    padding : int or pair, at most half of kernel_size
    """

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        owner = type(self).__name__
        self.kernel_size = _pair(owner, "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else _pair(owner, "stride", stride, 1)
        self.padding = _pair(owner, "padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"{owner}: padding is {self.padding}; it must be at most half of {self.kernel_size}")

    @property
    def scale(self) -> float:
        """What the sum (or largest) of a window is multiplied by."""
        return 1.0

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """(channels, height, width) to (channels, ...)."""
        if len(shape) != 3:
            raise ValueError(f"{owner}: its input has shape {shape}; it must be (channels, height, width)")
        rows, columns = (
            _windows(owner, n, k, s, p, 1)
            for n, k, s, p in zip(shape[1:], self.kernel_size, self.stride, self.padding, strict=True)
        )
        return (shape[0], rows, columns)

    def arguments(self) -> str:
        return f"kernel_size={self.kernel_size}"


class AvgPool2d(Pool):
    """The mean of each window, padded zeros counted. It costs nothing: the next layer's weights are divided instead."""

    @property
    def scale(self) -> float:
        return 1.0 / (self.kernel_size[0] * self.kernel_size[1])


class SumPool2d(Pool):
    """The sum of each window."""


class MaxPool2d(Pool):
    """The largest of each window: of spikes, whether any of its neurons spiked."""


class Flatten(Layer):
    """One dimension, in C order: (channels, height, width) to (channels * height * width,)."""

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """Any shape to one dimension."""
        return (int(np.prod(shape)),)


class Recurrent(Layer):
    """Neurons whose spikes come back to them one step later:  x[t] + connection(spikes[t - 1]).

    Parameters
    ----------
    neurons : a neuron model
    connection : Linear(n, n), optional
        By default drawn, without bias. A bias acts from the second step on.
    """

    def __init__(self, neurons: NeuronModel, connection: Linear | None = None) -> None:
        if not isinstance(neurons, NeuronModel):
            raise TypeError(f"Recurrent: neurons is {neurons!r}; it must be a neuron model such as evsim.LIF")
        if connection is not None and not isinstance(connection, Linear):
            raise TypeError(f"Recurrent: connection is {connection!r}; it must be a Linear")
        self.neurons = neurons
        self.connection = connection

    def output_shape(self, owner: str, shape: Shape) -> Shape:
        """(n,) to (n,)."""
        if len(shape) != 1:
            raise ValueError(
                f"{owner}: its input has shape {shape}; it must have one dimension; put a Flatten() before"
            )
        if self.connection is None:
            self.connection = Linear(shape[0], shape[0], bias=False)
        self.connection.output_shape(f"{owner}, connection", shape)
        if self.connection.out_features != shape[0]:
            raise ValueError(f"{owner}: connection is {self.connection}; it must be Linear({shape[0]}, {shape[0]})")
        return shape

    def arguments(self) -> str:
        return type(self.neurons).__name__


def _pair(owner: str, name: str, value: Any, low: int) -> tuple[int, int]:
    """(rows, columns) from one number or two."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{owner}: {name} is {value!r}; it must be one number or a pair (rows, columns)")
        return checks.size(owner, name, value[0], low), checks.size(owner, name, value[1], low)
    n = checks.size(owner, name, value, low)
    return n, n


def _windows(owner: str, n: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many windows fit into n places."""
    span = dilation * (kernel - 1) + 1
    if n + 2 * padding < span:
        raise ValueError(f"{owner}: a window spans {span} places, but its input has {n} and padding {padding} a side")
    return (n + 2 * padding - span) // stride + 1
