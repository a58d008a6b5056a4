"""SpikingJelly's neurons: charge, fire, reset, with its names and defaults (activation_based.neuron, 2.0).

A step charges h from v and the input x, spikes where h >= v_threshold, and resets: to v_reset (hard), or by
v_threshold where v_reset is None (soft). v starts at v_reset, or 0 where that is None. Time constants are in steps.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

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
    surrogate, detach_reset, learn : for training (see `evsim.training`).
    """

    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    surrogate: Surrogate = Sigmoid()
    detach_reset: bool = False
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("v_threshold", "v_reset")

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
    surrogate, detach_reset, learn : for training (see `evsim.training`).
    """

    tau: Parameter = 2.0
    decay_input: bool = True
    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    surrogate: Surrogate = Sigmoid()
    detach_reset: bool = False
    learn: tuple[str, ...] = ()

    options: ClassVar[frozenset[str]] = frozenset({"decay_input"})
    learnable: ClassVar[tuple[str, ...]] = ("tau", "v_threshold", "v_reset")

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
    surrogate, detach_reset, learn : for training (see `evsim.training`).
    """

    init_tau: Parameter = 2.0
    decay_input: bool = True
    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    surrogate: Surrogate = Sigmoid()
    detach_reset: bool = False
    learn: tuple[str, ...] = ("w",)

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {"init_tau": (1.0, False, "steps")}
    options: ClassVar[frozenset[str]] = frozenset({"decay_input"})
    learnable: ClassVar[tuple[str, ...]] = ("w", "v_threshold", "v_reset")
    disguises = {"w": ("init_tau", lambda w: 1.0 + np.exp(-w), lambda tau: -np.log(tau - 1.0))}  # noqa: RUF012

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        w = -np.log(values["init_tau"] - 1.0)
        return self._leaky(values, 1.0 / (1.0 + np.exp(-w)), self.decay_input)
