"""What training takes for the derivative of a spike, which is a step function of h, by h.

A neuron spikes where h, its membrane potential before the reset, reaches v_threshold. Below, x = h - v_threshold.

A new one, from a function of one number x (compiled, so of floats and math)::

    gaussian = evsim.Surrogate.from_function(lambda x: math.exp(-x * x))

or, with parameters or the threshold itself, as a subclass with a `curve` of arrays::

    @dataclass(frozen=True)
    class Gaussian(evsim.Surrogate):
        width: float = 0.5

        def curve(self, x, v_threshold):
            return np.exp(-((x / (self.width * v_threshold)) ** 2))

On a GPU a `curve` is compiled for single numbers, with the numbers of its surrogate as `self`. numba-cuda knows `math`
and Python's own operations there, but neither numpy.exp nor numpy.abs: `from_function` with `math` is then the way.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from evsim.checks import number
from evsim.jit import exp, positive

__all__ = [
    "ATan",
    "FastSigmoid",
    "PiecewiseQuadratic",
    "Sigmoid",
    "SingleExponential",
    "SoftSign",
    "StraightThrough",
    "Surrogate",
    "Triangle",
]

Floats = NDArray[np.float32]


@cache
def _numbers_class(kind: type[Surrogate], names: tuple[str, ...]) -> Any:
    made = namedtuple(f"{kind.__name__}Numbers", names)  # type: ignore[misc]
    setattr(made, "kind", kind)  # noqa: B010
    return made


class Surrogate(ABC):
    """A surrogate derivative: subclasses give its `curve`."""

    @abstractmethod
    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        """The derivative at x = h - v_threshold, array for array, float32."""

    def derivative(self, h: Any, v_threshold: Any) -> Floats:
        """d spike / d h.

        Parameters
        ----------
        h
            Membrane potentials before the reset, any shape.
        v_threshold
            A number, or an array that broadcasts to h's shape.

        Returns
        -------
        A float32 array of h's shape.
        """
        h, v_threshold = np.asarray(h, np.float32), np.asarray(v_threshold, np.float32)
        with np.errstate(over="ignore"):  # far from the threshold: 1 / infinity is the right 0
            return np.asarray(self.curve(h - v_threshold, v_threshold), np.float32)

    def numbers(self) -> Any:
        """The parameters as a named tuple of floats, of a class of their own: what a compiled curve has as `self`.

        Raises
        ------
        TypeError, ValueError : they are not numbers.
        """
        given = vars(self)
        return _numbers_class(type(self), tuple(given))(*map(float, given.values()))

    @staticmethod
    def from_function(function: Callable[[float], float]) -> Surrogate:
        """The surrogate with derivative function(x), x = h - v_threshold.

        Parameters
        ----------
        function
            From number to number; numba compiles it (numba.vectorize).

        Raises
        ------
        TypeError : numba cannot compile it; subclass Surrogate then.
        """
        try:
            return FromFunction(numba.vectorize(["float32(float32)"])(function), function)
        except numba.core.errors.NumbaError as error:
            raise TypeError(
                f"Surrogate.from_function: numba cannot compile {function!r} for one number x; subclass Surrogate "
                f"to work with arrays instead. numba says: {error}"
            ) from error


@dataclass(frozen=True)
class FromFunction(Surrogate):
    """What `Surrogate.from_function` makes."""

    function: Callable[[Any], Any]  # of arrays
    of_number: Callable[[float], float]

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return self.function(x)


class _Positive(Surrogate):
    """With parameters above 0."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            number(type(self).__name__, field.name, getattr(self, field.name), low=0.0, inclusive=False)


@dataclass(frozen=True)
class ATan(_Positive):
    """alpha / 2 / (1 + (pi / 2 * alpha * x)^2).

    Source: Fang et al. 2021, ICCV, doi:10.1109/ICCV48922.2021.00266; SpikingJelly's and snnTorch's ATan.
    """

    alpha: float = 2.0

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return self.alpha / 2 / (1 + (math.pi / 2 * self.alpha * x) ** 2)


@dataclass(frozen=True)
class Sigmoid(_Positive):
    """alpha * s * (1 - s) with s = 1 / (1 + exp(-alpha * x)).

    Source: SpikingJelly's Sigmoid, the default of its neurons.
    """

    alpha: float = 4.0

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        e = exp(-self.alpha * abs(x))  # s (1 - s) is even: no overflow, no cancellation
        return self.alpha * e / (1 + e) ** 2


@dataclass(frozen=True)
class PiecewiseQuadratic(_Positive):
    """max(0, alpha - alpha^2 * |x|): a triangle of area 1.

    Source: Esser et al. 2016, PNAS 113:11441; Bellec et al. 2018, NeurIPS; SpikingJelly's PiecewiseQuadratic.
    """

    alpha: float = 1.0

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return positive(self.alpha - self.alpha * self.alpha * abs(x))


@dataclass(frozen=True)
class FastSigmoid(_Positive):
    """1 / (1 + slope * |x|)^2.

    Source: Zenke & Ganguli 2018, Neural Computation 30:1514 (SuperSpike); snnTorch's fast_sigmoid.
    """

    slope: float = 25.0

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return 1 / (1 + self.slope * abs(x)) ** 2


@dataclass(frozen=True)
class SoftSign(_Positive):
    """alpha / 2 / (1 + alpha * |x|)^2: FastSigmoid scaled to area 1.

    Source: SpikingJelly's SoftSign.
    """

    alpha: float = 2.0

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return self.alpha / 2 / (1 + self.alpha * abs(x)) ** 2


@dataclass(frozen=True)
class SingleExponential(_Positive):
    """grad_scale / w * exp(-|x| / w) with w = grad_width * v_threshold.

    Source: Shrestha & Orchard 2018, NeurIPS; sinabs' SingleExponential, the default of its neurons.
    """

    grad_width: float = 0.5
    grad_scale: float = 1.0

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        per_width = 1 / (self.grad_width * v_threshold)
        return exp(-abs(x) * per_width) * (self.grad_scale * per_width)


@dataclass(frozen=True)
class Triangle(_Positive):
    """scale * max(0, 1 - |x| / v_threshold).

    Source: Bellec et al. 2018, NeurIPS (LSNN), scale 0.3. (snnTorch's "triangular" is another: v_threshold below the
    threshold, -v_threshold above it.)
    """

    scale: float = 0.3

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return self.scale * positive(1 - abs(x) / v_threshold)


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """1 everywhere.

    Source: Bengio et al. 2013, arXiv:1308.3432; snnTorch's straight_through_estimator.
    """

    def curve(self, x: Floats, v_threshold: Floats) -> Any:
        return 0 * x + 1


for _kind in (
    ATan, FastSigmoid, PiecewiseQuadratic, Sigmoid, SingleExponential, SoftSign, StraightThrough, Triangle
):  # fmt: skip
    _class = type(_kind().numbers())  # compiled kernels that are kept on disk know these classes by their names here
    globals()[_class.__name__] = _class
