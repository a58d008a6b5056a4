"""SpikingJelly's neurons: charge, fire, reset, with its names and defaults (activation_based.neuron, 2.0).

A step charges h from v and the input x, spikes where h >= v_threshold, and resets: to v_reset (hard), or by
v_threshold where v_reset is None (soft). v starts at v_reset, or 0 where that is None. Time constants are in steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evsim.neurons import Coefficients, Parameter, Values, name_unknown
from evsim.step_neurons import StepNeuron
from evsim.surrogates import Sigmoid, Surrogate

__all__ = ["IFNode", "LIFNode", "ParametricLIFNode"]


class _Node(StepNeuron):
    """What SpikingJelly's neurons share."""

    v_reset: Any

    def resting_v(self, values: Values) -> Any:
        """v_reset; 0 with a soft reset."""
        return values.get("v_reset", 0.0)

    def _leaky(self, values: Values, share: Any, decay_input: bool) -> Coefficients:
        """h = v + (x - (v - v_rest)) * share, or with the input not decayed: v - (v - v_rest) * share + x."""
        v_threshold = values["v_threshold"]
        return self.step(
            leak=1.0 - share,
            jump=share if decay_input else 1.0,
            v_threshold=v_threshold,
            v_reset=values.get("v_reset", v_threshold),
            soft=self.v_reset is None,
            drive=values.get("v_reset", 0.0) * share,
        )


@name_unknown
@dataclass(frozen=True, eq=False)
class IFNode(_Node):
    """Integrate-and-fire:  h = v + x.

    Parameters
    ----------
    v_threshold : v at which it spikes.
    v_reset : v after a spike, below v_threshold; None: v - v_threshold.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    surrogate: Surrogate = Sigmoid()
    detach_reset: bool = False

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._leaky(values, 0.0, decay_input=False)


@name_unknown
@dataclass(frozen=True, eq=False)
class LIFNode(_Node):
    """Leaky integrate-and-fire:  h = v + (x - (v - v_reset)) / tau;  with v_reset None, h = v + (x - v) / tau.

    With decay_input False:  h = v - (v - v_reset) / tau + x.

    Parameters
    ----------
    tau : membrane time constant in steps, > 1.
    decay_input : whether the input too is divided by tau.
    v_threshold : v at which it spikes.
    v_reset : v after a spike and at rest, below v_threshold; None: v - v_threshold, at rest 0.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    tau: Parameter = 2.0
    decay_input: bool = True
    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    surrogate: Surrogate = Sigmoid()
    detach_reset: bool = False

    options: ClassVar[frozenset[str]] = frozenset({"decay_input"})

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._leaky(values, 1.0 / values["tau"], self.decay_input)


@name_unknown
@dataclass(frozen=True, eq=False)
class ParametricLIFNode(_Node):
    """LIFNode whose 1 / tau is sigmoid(w), with w learned (Fang et al. 2021); w is -ln(init_tau - 1) at first.

    Parameters
    ----------
    init_tau : first membrane time constant in steps, > 1.
    decay_input, v_threshold, v_reset : as in LIFNode.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    init_tau: Parameter = 2.0
    decay_input: bool = True
    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    surrogate: Surrogate = Sigmoid()
    detach_reset: bool = False

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {"init_tau": (1.0, False, "steps")}
    options: ClassVar[frozenset[str]] = frozenset({"decay_input"})

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        w = -np.log(values["init_tau"] - 1.0)
        return self._leaky(values, 1.0 / (1.0 + np.exp(-w)), self.decay_input)

    def learned(self) -> dict[str, NDArray[np.float32]]:
        """w."""
        return {"w": np.asarray(-np.log(np.asarray(self.init_tau, np.float64) - 1.0), np.float32)}

    def with_learned(self, values: Mapping[str, Any]) -> "ParametricLIFNode":
        """With another w."""
        return replace(self, init_tau=1.0 + np.exp(-np.asarray(values["w"], np.float64)))

    def parameter_gradients(
        self, pre: NDArray[Any], spikes: NDArray[Any], gradient: NDArray[Any]
    ) -> dict[str, NDArray[np.float32]]:
        """dw = q (1 - q) * sum of dh * dh/dq, q = 1 / tau; dh/dq = (h - v) / q, or v_reset - v without decay_input."""
        q = 1.0 / np.asarray(self.init_tau, np.float64)
        rest: Any = 0.0 if self.v_reset is None else self.v_reset
        after = pre - spikes * self.v_threshold if self.v_reset is None else np.where(spikes > 0, rest, pre)
        before = np.concatenate([np.full_like(pre[:1], rest), after[:-1]])
        dh = gradient / q if self.decay_input else gradient
        by_q = (pre - before) / q if self.decay_input else rest - before
        sums = (dh * by_q).sum(axis=(0, 1), dtype=np.float64)
        return {"w": np.asarray(q * (1.0 - q) * (sums if q.ndim else sums.sum()), np.float32)}
