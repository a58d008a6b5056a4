"""Losses: how far the output of a layered network is from what it should be, and the gradient of that.

    value, gradient = loss(output, target)
    classes = loss.predict(output)

output is (T, B, N), spikes or values of the last layer; the gradient is d value / d output, (T, B, N) float32. Where it
is the same in every step it is a read-only view of one step. target is (B,) classes in [0, N), or what the loss says.

All refuse with a ValueError an output of another shape or with nan, and a target of another length or out of range;
with a TypeError classes that are not whole numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.checks import as_floats, first_bad, indices, number, numbers
from evsim.decoding import NONE, first_spike, predict_first_spike
from evsim.jit import compile_kernel

__all__ = [
    "BCEWithLogits",
    "CountCrossEntropy",
    "FirstSpike",
    "Loss",
    "MeanCrossEntropy",
    "RateCrossEntropy",
    "RateMSE",
    "RateRegulariser",
    "SpikeTimeCrossEntropy",
]

Doubles = NDArray[np.float64]
Gradient = NDArray[Any]  # float32; float64 by spike times


class Loss(ABC):
    """A loss on the output (T, B, N) of a network."""

    @abstractmethod
    def __call__(self, output: Any, target: Any) -> tuple[float, Gradient]:
        """The loss, and its gradient by the output."""

    def judge(self, output: Any, target: Any) -> tuple[float, Gradient, NDArray[np.int64]]:
        """The loss, its gradient by the output, and the class of each sample."""
        return *self(output, target), self.predict(output)

    @abstractmethod
    def predict(self, output: Any) -> NDArray[np.int64]:
        """The class of each sample, (B,); NONE (-1) for samples without any output. Ties go to the lowest unit."""


class _OverSteps(Loss):
    """A loss on z (B, N), the mean or the sum of the output over the steps."""

    over: str = "mean"

    @abstractmethod
    def _value(self, z: Doubles, target: Any) -> tuple[float, Doubles]:
        """The loss and its gradient by z."""

    def __call__(self, output: Any, target: Any) -> tuple[float, Gradient]:
        """The loss, and its gradient by the output."""
        return self.judge(output, target)[:2]

    def judge(self, output: Any, target: Any) -> tuple[float, Gradient, NDArray[np.int64]]:
        """The loss, its gradient by the output, and the class of each sample."""
        z, scale = self._z(output)
        value, slope = self._value(z, target)
        return value, np.broadcast_to((slope * scale).astype(np.float32), np.shape(output)), self._class(z)

    def predict(self, output: Any) -> NDArray[np.int64]:
        """argmax_i z_bi; NONE (-1) for samples whose output is 0."""
        return self._class(self._z(output)[0])

    def _class(self, z: Doubles) -> NDArray[np.int64]:
        classes = z.argmax(axis=1)
        classes[~z.any(axis=1)] = NONE
        return classes

    def _z(self, output: Any) -> tuple[Doubles, float]:
        """z, and dz / d output."""
        output = _checked(type(self).__name__, output)
        scale = 1.0 / len(output) if self.over == "mean" else 1.0
        z = np.empty(output.shape[1:])
        floats = np.ascontiguousarray(output, np.result_type(output.dtype, np.float32))  # what kernels know
        sum_steps(floats.reshape(len(output), -1), scale, z.reshape(-1))
        if not (good := np.isfinite(z)).all():
            bad = first_bad(z, good, f"the {self.over} over the steps")
            raise ValueError(f"{type(self).__name__}: {bad} in the output; it must be finite")
        return z, scale


@dataclass(frozen=True)
class RateMSE(_OverSteps):
    """mean over b and i of (r_bi - y_bi)^2 with r = mean_t output.

    y is 1 for a sample's class and else 0, or target itself where that is (B, N): rates wanted.
    Source: SpikingJelly's MNIST example (torch's mse_loss of the firing rate and one-hot classes).
    """

    def _value(self, z: Doubles, target: Any) -> tuple[float, Doubles]:
        error = z - _wanted("RateMSE", target, z.shape)
        return float((error * error).sum()) / error.size, error * (2.0 / error.size)


class _CrossEntropy(_OverSteps):
    def _value(self, z: Doubles, target: Any) -> tuple[float, Doubles]:
        return _cross_entropy(z, _classes(type(self).__name__, target, z.shape))


@dataclass(frozen=True)
class RateCrossEntropy(_CrossEntropy):
    """mean over b of -log softmax(r_b)[target_b] with r = mean_t output: spikes in a step.

    Source: torch's cross_entropy of the firing rate.
    """


@dataclass(frozen=True)
class CountCrossEntropy(_CrossEntropy):
    """mean over b of -log softmax(n_b)[target_b] with n = sum_t output: the number of spikes.

    Source: sinabs' tutorial of training by backpropagation through time; snnTorch's ce_count_loss.
    """

    over = "sum"


@dataclass(frozen=True)
class MeanCrossEntropy(_CrossEntropy):
    """mean over b of -log softmax(v_b)[target_b] with v = mean_t output: the mean membrane potential.

    For a last layer that does not spike, such as sinabs' ExpLeak, or a Linear.
    """


@dataclass(frozen=True)
class BCEWithLogits(_OverSteps):
    """mean over b and i of -y log s(z) - (1 - y) log(1 - s(z)) with s(z) = 1 / (1 + exp(-z)).

    target is (B,) or (B, N), in [0, 1], for one output unit; for more (B, N), or classes (B,), one against the rest.
    With one unit the class predicted is z > 0. For a last layer that does not spike: counts of spikes are never
    negative, and so never say no. Source: torch's binary_cross_entropy_with_logits.

    Parameters
    ----------
    over : z is the "mean" or the "sum" of the output over the steps.
    """

    over: str = "mean"

    def __post_init__(self) -> None:
        if self.over not in ("mean", "sum"):
            raise ValueError(f"BCEWithLogits: over is {self.over!r}; it must be 'mean' or 'sum'")

    def _value(self, z: Doubles, target: Any) -> tuple[float, Doubles]:
        if z.shape[1] == 1:
            target = np.reshape(target, (len(z), 1)) if np.size(target) == len(z) else target
        y = _wanted("BCEWithLogits", target, z.shape)
        if not (good := (y >= 0.0) & (y <= 1.0)).all():
            raise ValueError(f"BCEWithLogits: {first_bad(y, good, 'target')}; it must be in [0, 1]")
        e = np.exp(-np.abs(z))
        value = np.mean(np.maximum(z, 0.0) - z * y + np.log1p(e))
        return float(value), (np.where(z >= 0.0, 1.0, e) / (1.0 + e) - y) / z.size

    def _class(self, z: Doubles) -> NDArray[np.int64]:
        return (z[:, 0] > 0.0).astype(np.int64) if z.shape[1] == 1 else super()._class(z)


@dataclass(frozen=True)
class FirstSpike(Loss):
    """mean over b of -log softmax(-t_b / tau)[target_b], t the step of each unit's first spike (T: none).

    With s[k] whether a unit spikes at step k, t = sum_k (1 - s[0]) ... (1 - s[k]), which is linear in each s[k]. So

        dt / ds[k] = -(t - k)     k < t:  a spike there would be the first, and so much earlier
                     -(t' - t)    k = t:  without it the second spike, at t' (T: none), would be the first
                     0            k > t

    A unit that never spikes thus learns too. Several spikes in a step are taken for one. predict gives the unit that
    spikes first. Source: cross-entropy on first spikes as in Göltz et al. 2021, Nat. Mach. Intell. 3:823, and in
    snnTorch's ce_temporal_loss (which puts -1 at t in place of the derivative above).

    Parameters
    ----------
    tau : steps; a spike by so much earlier has e times the odds.
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        number("FirstSpike", "tau", self.tau, low=0.0, inclusive=False, unit="steps")

    def __call__(self, output: Any, target: Any) -> tuple[float, Gradient]:
        """The loss, and its gradient by the output."""
        spikes = _checked("FirstSpike", output)
        t = first_spike(spikes)
        value, slope = _cross_entropy(-t / self.tau, _classes("FirstSpike", target, t.shape))
        k = np.arange(len(spikes))[:, None, None]
        second = first_spike(np.where(k > t, spikes, 0))
        earlier = np.maximum(t - k, 0) + (k == t) * (second - t)  # -dt/ds
        return value, (slope / self.tau * earlier).astype(np.float32)

    def predict(self, output: Any) -> NDArray[np.int64]:
        """The unit that spikes first; of several the one with the most spikes; NONE (-1) without any."""
        return predict_first_spike(output)


@dataclass(frozen=True)
class SpikeTimeCrossEntropy(Loss):
    """mean over b of -log softmax(-t_b / tau)[target_b] + late * (exp(t_b,target / tau_late) - 1).

    For the output (1, B, N) of an `EventSequential`: t is the time in ms of each unit's first spike, or the duration
    where there is none. The second term makes right spikes come early. predict gives the unit that spikes first, NONE
    where all times are the same. Source: Göltz et al. 2021, Nat. Mach. Intell. 3:823; Wunderlich & Pehle 2021,
    Sci. Rep. 11:12829.

    Parameters
    ----------
    tau : ms; a spike by so much earlier has e times the odds.
    late, tau_late : factor and time constant (ms) of the second term.
    """

    tau: float = 1.0
    late: float = 0.0
    tau_late: float = 10.0

    def __post_init__(self) -> None:
        for name in ("tau", "tau_late"):
            number("SpikeTimeCrossEntropy", name, getattr(self, name), low=0.0, inclusive=False, unit="ms")
        number("SpikeTimeCrossEntropy", "late", self.late, low=0.0)

    def __call__(self, output: Any, target: Any) -> tuple[float, Doubles]:
        """The loss, and its gradient by the output."""
        t = self._times(output)
        classes = _classes("SpikeTimeCrossEntropy", target, t.shape)
        value, slope = _cross_entropy(-t / self.tau, classes)
        rows = np.arange(len(t))
        grown = np.exp(t[rows, classes] / self.tau_late)
        gradient = -slope / self.tau
        gradient[rows, classes] += self.late / self.tau_late * grown / len(t)
        return value + self.late * float(np.mean(grown - 1.0)), gradient[np.newaxis]

    def predict(self, output: Any) -> NDArray[np.int64]:
        """The unit that spikes first; NONE (-1) where all times are the same."""
        t = self._times(output)
        return np.where(np.ptp(t, axis=1) > 0.0, t.argmin(axis=1), NONE)

    def _times(self, output: Any) -> Doubles:
        t = _checked("SpikeTimeCrossEntropy", output)
        if len(t) != 1:
            raise ValueError(f"SpikeTimeCrossEntropy: output has shape {t.shape}; it must be (1, B, N), times in ms")
        return numbers("SpikeTimeCrossEntropy", "output", t, t.shape)[0]


@dataclass(frozen=True)
class RateRegulariser:
    """strength * mean over i of max(0, low - r_i)^2 + max(0, r_i - high)^2, r_i a unit's mean spikes in a step.

    Called with the spikes of a hidden layer, (T, B, ...), r_i being the mean over T and B, it gives (value, gradient)
    to add to those of the loss: it keeps units from falling silent or firing always.

    Parameters
    ----------
    low, high : rates, in spikes per step, between which nothing is penalised; high may be inf.
    strength : the factor before all.
    """

    low: float
    high: float
    strength: float = 1.0

    def __post_init__(self) -> None:
        number("RateRegulariser", "low", self.low, low=0.0)
        numbers("RateRegulariser", "high", self.high, (), low=self.low, infinite=True)
        number("RateRegulariser", "strength", self.strength, low=0.0)

    def __call__(self, spikes: Any) -> tuple[float, Gradient]:
        """The penalty, and its gradient by the spikes (a read-only view: the same in all steps and samples)."""
        spikes = np.asarray(spikes)
        if spikes.ndim < 3 or spikes.size == 0:
            raise ValueError(
                f"RateRegulariser: spikes has shape {spikes.shape}; it must be (T, B, ...), none of them 0"
            )
        rate = spikes.mean(axis=(0, 1), dtype=np.float64)
        beyond = np.maximum(rate - self.high, 0.0) - np.maximum(self.low - rate, 0.0)
        gradient = 2.0 * self.strength * beyond / spikes.size
        return self.strength * float(np.mean(beyond**2)), np.broadcast_to(gradient.astype(np.float32), spikes.shape)


@compile_kernel
def sum_steps(output, scale, z):  # type: ignore[no-untyped-def]
    """z (n,) float64 becomes the sum of output (T, n) over all steps, scaled."""
    for i in range(z.size):
        z[i] = 0.0
    for t in range(output.shape[0]):
        step = output[t]
        for i in range(z.size):
            z[i] += step[i]
    for i in range(z.size):
        z[i] *= scale


def _cross_entropy(z: Doubles, classes: NDArray[np.int64]) -> tuple[float, Doubles]:
    """mean_b -log softmax(z_b)[class_b], and its gradient (softmax - one_hot) / B."""
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    rows = np.arange(len(z))
    slope = e / total
    slope[rows, classes] -= 1.0
    return float(np.mean(np.log(total[:, 0]) - z[rows, classes])), slope / len(z)


def _checked(owner: str, output: Any) -> NDArray[Any]:
    output = np.asarray(output)
    if output.ndim != 3 or output.size == 0:
        raise ValueError(f"{owner}: output has shape {output.shape}; it must be (T, B, N), none 0")
    return output


def _classes(owner: str, target: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    classes = indices(owner, "target", target, shape[1])
    if len(classes) != shape[0]:
        raise ValueError(f"{owner}: target has {len(classes)} classes; it must have one for each of {shape[0]} samples")
    return classes


def _wanted(owner: str, target: Any, shape: tuple[int, ...]) -> Doubles:
    """target where it is (B, N), else the one-hot rows of its classes."""
    if np.ndim(target) == 2:
        return numbers(owner, "target", as_floats(owner, "target", target), shape)
    wanted = np.zeros(shape)
    wanted[np.arange(shape[0]), _classes(owner, target, shape)] = 1.0
    return wanted
