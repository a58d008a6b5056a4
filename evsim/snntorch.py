"""snnTorch's neurons, with its names and defaults (snntorch 1.0).

A spike is where mem > threshold (strict). snnTorch resets at the start of the next step, so the mem that it returns,
and that is recorded here as v, is the one before the reset. beta and alpha are clipped to [0, 1], as there.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.neurons import Coefficients, Parameter, Values, as_held, name_unknown
from evsim.step_neurons import StepNeuron
from evsim.surrogates import ATan, Surrogate

__all__ = ["Leaky", "Synaptic"]

RESETS = ("subtract", "zero", "none")


class _Cell(StepNeuron):
    """What snnTorch's neurons share."""

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {}
    options: ClassVar[frozenset[str]] = frozenset({"reset_mechanism"})
    v_recorded: ClassVar[str] = "v_pre_reset"
    reset_mechanism: str
    detach_reset = True  # snnTorch detaches it

    def __post_init__(self) -> None:
        if self.reset_mechanism not in RESETS:
            raise ValueError(
                f"{type(self).__name__}: reset_mechanism is {self.reset_mechanism!r}; "
                f"it must be one of {', '.join(RESETS)}"
            )

    def _cell(self, values: Values, **more: Any) -> Coefficients:
        """mem <- beta * mem + i - (what the last spike takes off); that is taken off at once here, so over beta."""
        beta = np.clip(values["beta"], 0.0, 1.0)
        threshold = as_held(values["threshold"])
        above = np.nextafter(np.real(threshold).astype(np.float32), np.float32(np.inf)).astype(np.float64)
        subtract = self.reset_mechanism == "subtract"
        if subtract and not np.all(beta > 0.0):
            raise ValueError(f"{type(self).__name__}: beta is {beta!s}; with the reset 'subtract' it must be above 0")
        return self.step(
            leak=beta,
            jump=1.0,
            v_threshold=above + (threshold - np.real(threshold)),
            v_reset=values["threshold"] / beta if subtract else 0.0,
            soft=self.reset_mechanism != "zero",
            **more,
        )


@name_unknown
@dataclass(frozen=True, eq=False)
class Leaky(_Cell):
    """mem <- beta * mem + x - reset.

    Parameters
    ----------
    beta : what is left of mem after a step.
    threshold : mem above which it spikes.
    reset_mechanism : what a spike does to the next step's mem: "subtract" takes threshold off, "zero" sets the old
        mem to 0 before the input, "none" nothing.
    surrogate, learn : for training; snnTorch's learn_beta and learn_threshold are learn=("beta", "threshold").
    """

    beta: Parameter
    threshold: Parameter = 1.0
    reset_mechanism: str = "subtract"
    surrogate: Surrogate = ATan()
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("beta", "threshold")

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._cell(values)


@name_unknown
@dataclass(frozen=True, eq=False)
class Synaptic(_Cell):
    """syn <- alpha * syn + x;  mem <- beta * mem + syn - reset.

    Parameters
    ----------
    alpha, beta : what is left of syn and of mem after a step.
    threshold : mem above which it spikes.
    reset_mechanism : as in Leaky, but "zero" makes mem 0 for the whole next step, whose input only syn keeps.
    """

    alpha: Parameter
    beta: Parameter
    threshold: Parameter = 1.0
    reset_mechanism: str = "subtract"
    surrogate: Surrogate = ATan()
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("alpha", "beta", "threshold")

    def currents(self) -> list[str]:
        """syn is one."""
        return list(self.receptors())

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        alpha = np.clip(values["alpha"], 0.0, 1.0)
        return self._cell(values, decay=alpha, refractory_steps=1.0 if self.reset_mechanism == "zero" else 0.0)
