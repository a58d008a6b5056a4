"""Distributions of weights, delays, initial values and parameters.

A distribution is drawn from one 32-bit word by its quantile function, which the host tabulates once as
cubic pieces (see `philox.quantile`): the same value on every backend, and bounds cost nothing. Bounds mean
redrawing until the value lies inside, which is the truncated distribution, and that is what is tabulated.
"""

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from evsim.philox import QUANTILE_OCTAVES, QUANTILE_PIECES

__all__ = ["Distribution", "lognormal", "normal", "uniform"]


@dataclass(frozen=True)
class Distribution:
    """A distribution of one number; made by `normal`, `lognormal` or `uniform`."""

    family: str
    a: float
    b: float
    low: float = -np.inf
    high: float = np.inf

    def quantile_table(self) -> NDArray[np.float64]:
        """Cubic coefficients, (2 tails, 32 octaves, 16 pieces, 4) flattened."""
        octave = np.arange(QUANTILE_OCTAVES)[:, None, None]
        piece = np.arange(QUANTILE_PIECES)[None, :, None]
        nodes = np.array([0.0, 1 / 3, 2 / 3, 1.0])
        p = (1.0 + (piece + nodes) / QUANTILE_PIECES) * 0.5 ** (octave + 2)
        values = np.stack([self._quantile(p, upper=False), self._quantile(p, upper=True)])
        return (values @ np.linalg.inv(np.vander(nodes, 4, increasing=True)).T).ravel()

    def bounds(self) -> tuple[float, float]:
        """The smallest and largest value that can be drawn."""
        p = np.array([0.5**33])
        return float(self._quantile(p, upper=False)[0]), float(self._quantile(p, upper=True)[0])

    def mean_size(self) -> float:
        """Roughly the mean of |value|: what a weight's rounding error is measured against."""
        p = (np.arange(1000) + 0.5) / 2000
        values = [self._quantile(p, upper=False), self._quantile(p, upper=True)]
        return float(np.abs(values).mean())

    def _quantile(self, p: NDArray[np.float64], upper: bool) -> NDArray[np.float64]:
        """The value with probability p below it (above it when `upper`), inside the bounds."""
        if self.family == "uniform":
            return self.b - p * (self.b - self.a) if upper else self.a + p * (self.b - self.a)
        low, high = (self._standard(x) for x in (self.low, self.high))
        below, inside, above = special.ndtr(low), special.ndtr(high) - special.ndtr(low), special.ndtr(-high)
        z = -special.ndtri(above + p * inside) if upper else special.ndtri(below + p * inside)
        value = self.a + self.b * z
        return np.clip(np.exp(value) if self.family == "lognormal" else value, self.low, self.high)

    def _standard(self, x: float) -> float:
        if self.family == "lognormal":
            x = np.log(x) if x > 0.0 else -np.inf
        return (x - self.a) / self.b

    def __str__(self) -> str:
        inside = "" if np.isinf([self.low, self.high]).all() else f", low={self.low:g}, high={self.high:g}"
        return f"{self.family}({self.a:g}, {self.b:g}{inside})"


def normal(mean: float, std: float, low: float = -np.inf, high: float = np.inf) -> Distribution:
    """Normal distribution, redrawn until it lies in [low, high].

    Parameters
    ----------
    mean, std : float
        In the unit of what is drawn; std > 0.
    low, high : float
        Bounds; at least one thousandth of the distribution must lie between them.
    """
    parameters = _reals("normal", mean=mean, std=std, low=low, high=high)
    return _checked(Distribution("normal", *parameters), "mean", "std")


def lognormal(mean_log: float, std_log: float, low: float = 0.0, high: float = np.inf) -> Distribution:
    """exp(normal(mean_log, std_log)), redrawn until it lies in [low, high]."""
    parameters = _reals("lognormal", mean_log=mean_log, std_log=std_log, low=low, high=high)
    return _checked(Distribution("lognormal", *parameters), "mean_log", "std_log")


def uniform(low: float, high: float) -> Distribution:
    """Uniform distribution over [low, high)."""
    low, high = _reals("uniform", low=low, high=high)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"uniform(low={low}, high={high}): both must be finite, and low below high")
    return Distribution("uniform", low, high, low, high)


def _reals(family: str, **parameters: Any) -> list[float]:
    for name, value in parameters.items():
        if not isinstance(value, Real):
            raise TypeError(f"{family}: {name} is {value!r}; it must be a number")
    return [float(value) for value in parameters.values()]


def _checked(made: Distribution, location: str, spread: str) -> Distribution:
    if not np.isfinite(made.a):
        raise ValueError(f"{made.family}: {location} is {made.a}; it must be finite")
    if not (np.isfinite(made.b) and made.b > 0.0):
        raise ValueError(f"{made.family}: {spread} is {made.b}; it must be finite and above 0")
    if not made.low < made.high:
        raise ValueError(f"{made.family}: low={made.low}, high={made.high}; low must be below high")
    inside = special.ndtr(made._standard(made.high)) - special.ndtr(made._standard(made.low))
    if not inside >= 1e-3:
        raise ValueError(f"{made}: only {inside:.2g} of the distribution lies within its bounds; at least 0.001 must")
    return made
