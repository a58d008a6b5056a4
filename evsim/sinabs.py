"""sinabs' neurons, with its names and defaults (sinabs.layers, 3.1).

Time constants are in steps; alpha = exp(-1 / tau). A step is

    i <- alpha_syn * (i + x)             (i = x where tau_syn is None)
    v <- alpha_mem * v + (1 - alpha_mem if norm_input else 1) * i
    n <- trunc(v / spike_threshold) for v > 0 (multi_spike), or v >= spike_threshold
    v <- v - n * spike_threshold  (reset "subtract")  or 0 where it spiked  (reset "zero");  v >= min_v_mem

sinabs' arguments that are functions are words here: spike_fn MultiSpike or SingleSpike is multi_spike True or False,
reset_fn MembraneSubtract() or MembraneReset() is reset "subtract" or "zero", surrogate_grad_fn is surrogate.
Recurrent variants: `evsim.Recurrent`. sinabs learns all time constants; here those that `learn` names, as tau_mem and
tau_syn, or as alpha_mem and alpha_syn (sinabs' train_alphas). The threshold is learned too where it is named there.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.neurons import Coefficients, Parameter, Values, name_unknown
from evsim.step_neurons import StepNeuron
from evsim.surrogates import SingleExponential, Surrogate

__all__ = ["ALIF", "IAF", "LIF", "ConstantLeakIAF", "ExpLeak"]

RESETS = ("subtract", "zero")


class _Layer(StepNeuron):
    """What sinabs' neurons share."""

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {
        "tau_mem": (0.0, False, "steps"),
        "tau_syn": (0.0, False, "steps"),
        "tau_adapt": (0.0, False, "steps"),
        "spike_threshold": (0.0, False, ""),
    }
    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("min_v_mem", "spike_threshold"),)
    options: ClassVar[frozenset[str]] = frozenset({"norm_input", "multi_spike", "reset"})
    disguises = {  # noqa: RUF012
        f"alpha_{which}": (f"tau_{which}", lambda alpha: -1.0 / np.log(alpha), lambda tau: np.exp(-1.0 / tau))
        for which in ("mem", "syn")
    }
    reset: str

    def __post_init__(self) -> None:
        if self.reset not in RESETS:
            raise ValueError(f"{type(self).__name__}: reset is {self.reset!r}; it must be one of {', '.join(RESETS)}")

    @property
    def detach_reset(self) -> bool:
        """MembraneReset lets no gradient through the spikes, MembraneSubtract does."""
        return self.reset == "zero"

    def _filtered(self, values: Values, alpha_mem: Any, share: Any, **more: Any) -> Coefficients:
        """v <- alpha_mem * v + share * i, with the input filtered by tau_syn where there is one."""
        if "tau_syn.syn" in values:
            more.setdefault("decay", np.exp(-1.0 / values["tau_syn.syn"]))
            more["gain"] = more["decay"]
        threshold = values["spike_threshold"]
        return self.step(
            leak=alpha_mem,
            jump=share,
            v_threshold=threshold,
            v_reset=threshold if self.reset == "subtract" else 0.0,
            soft=self.reset == "subtract",
            v_min=values.get("min_v_mem", -np.inf),
            **more,
        )


@name_unknown
@dataclass(frozen=True, eq=False)
class IAF(_Layer):
    """Integrate-and-fire:  v <- v + i.

    Parameters
    ----------
    spike_threshold : > 0.
    multi_spike : as many spikes in a step as v holds thresholds, rather than one.
    reset : "subtract" or "zero".
    tau_syn : synaptic time constant in steps, or None.
    min_v_mem : lower bound of v, or None.
    surrogate, learn : for training (see `evsim.training`).
    """

    spike_threshold: Parameter = 1.0
    multi_spike: bool = True
    reset: str = "subtract"
    tau_syn: Parameter | None = None
    min_v_mem: Parameter | None = None
    surrogate: Surrogate = SingleExponential()
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("spike_threshold", "tau_syn", "alpha_syn")

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._filtered(values, 1.0, 1.0, multi_spike=self.multi_spike)


@name_unknown
@dataclass(frozen=True, eq=False)
class LIF(_Layer):
    """Leaky integrate-and-fire:  v <- alpha_mem * v + (1 - alpha_mem) * i.

    Parameters
    ----------
    tau_mem : membrane time constant in steps, > 0.
    tau_syn : synaptic time constant in steps, or None.
    norm_input : whether the input is multiplied by 1 - alpha_mem.
    spike_threshold, multi_spike, reset, min_v_mem : as in IAF.
    """

    tau_mem: Parameter
    tau_syn: Parameter | None = None
    spike_threshold: Parameter = 1.0
    multi_spike: bool = True
    reset: str = "subtract"
    min_v_mem: Parameter | None = None
    norm_input: bool = True
    surrogate: Surrogate = SingleExponential()
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("tau_mem", "tau_syn", "alpha_mem", "alpha_syn", "spike_threshold")

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        alpha = np.exp(-1.0 / values["tau_mem"])
        return self._filtered(values, alpha, 1.0 - alpha if self.norm_input else 1.0, multi_spike=self.multi_spike)


@name_unknown
@dataclass(frozen=True, eq=False)
class ExpLeak(_Layer):
    """A leaky integrator without spikes:  v <- alpha_mem * v + i.  Its output is v, before the lower bound.

    Parameters
    ----------
    tau_mem : membrane time constant in steps, > 0.
    norm_input : whether the input is multiplied by 1 - alpha_mem.
    min_v_mem : lower bound of v, or None.
    """

    tau_mem: Parameter
    min_v_mem: Parameter | None = None
    norm_input: bool = False
    surrogate: Surrogate = SingleExponential()
    learn: tuple[str, ...] = ()

    reset = "zero"  # which never comes
    learnable: ClassVar[tuple[str, ...]] = ("tau_mem", "alpha_mem")

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        alpha = np.exp(-1.0 / values["tau_mem"])
        return self._filtered({**values, "spike_threshold": np.inf}, alpha, 1.0 - alpha if self.norm_input else 1.0)


@name_unknown
@dataclass(frozen=True, eq=False)
class ALIF(_Layer):
    """LIF whose threshold adapts:  threshold = spike_threshold + adapt_scale * b,

        b <- alpha_adapt * b + (1 - alpha_adapt) * n     after the spikes n of a step; b starts at 0

    and the reset subtracts the threshold as it then is. As in sinabs 3.1, norm_input with tau_syn scales the synaptic
    current that is kept, in every step: i <- (1 - alpha_mem) * alpha_syn * (i + x), v <- alpha_mem * v + i.

    Parameters
    ----------
    tau_mem, tau_adapt : time constants of v and of the threshold in steps, > 0.
    tau_syn : synaptic time constant in steps, or None.
    adapt_scale : how much a spike raises the threshold.
    spike_threshold, multi_spike, reset, min_v_mem, norm_input : as in LIF, but one spike a step unless multi_spike.
    """

    tau_mem: Parameter
    tau_adapt: float
    tau_syn: Parameter | None = None
    adapt_scale: float = 1.8
    spike_threshold: Parameter = 1.0
    multi_spike: bool = False
    reset: str = "subtract"
    min_v_mem: Parameter | None = None
    norm_input: bool = True
    surrogate: Surrogate = SingleExponential()

    one_for_all: ClassVar[frozenset[str]] = frozenset({"tau_adapt", "adapt_scale"})

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        alpha = np.exp(-1.0 / values["tau_mem"])
        alpha_adapt = float(np.exp(-1.0 / values["tau_adapt"]))
        share = 1.0 - alpha if self.norm_input else 1.0
        more: dict[str, Any] = {}
        if "tau_syn.syn" in values:
            more["decay"], share = share * np.exp(-1.0 / values["tau_syn.syn"]), 1.0
        return self._filtered(
            values,
            alpha,
            share,
            multi_spike=self.multi_spike,
            theta_plus=float(values["adapt_scale"]) * (1.0 - alpha_adapt) / alpha_adapt,
            theta_decay=alpha_adapt,
            theta_resets=True,
            **more,
        )


@name_unknown
@dataclass(frozen=True, eq=False)
class ConstantLeakIAF(_Layer):
    """IAF with a constant leak, as neuromorphic chips have it:  v <- v + r * (i + i_bias) - v_leak.

    With min_v_mem = 0 its rate is a ReLU of its input.

    Parameters
    ----------
    v_leak : taken off v in every step.
    r : membrane resistance.
    i_bias : constant current.
    spike_threshold, multi_spike, reset, min_v_mem : as in IAF.
    """

    v_leak: Parameter = 0.0
    r: Parameter = 1.0
    i_bias: Parameter = 0.0
    spike_threshold: Parameter = 1.0
    multi_spike: bool = True
    reset: str = "subtract"
    min_v_mem: Parameter | None = None
    surrogate: Surrogate = SingleExponential()
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("v_leak", "r", "i_bias", "spike_threshold")

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        drive = values["r"] * values["i_bias"] - values["v_leak"]
        return self._filtered(values, 1.0, values["r"], drive=drive, multi_spike=self.multi_spike)
