"""Neurons whose constants are given per step, as frameworks for training have them; dt plays no part."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evsim.neurons import Coefficients, NeuronModel, Parameter, TimeConstants, Values, name_unknown
from evsim.surrogates import ATan, Surrogate

__all__ = ["SpikingNeuron", "StepNeuron"]


class StepNeuron(NeuronModel):
    """What neurons with constants per step share: one receptor, which takes spikes and analog input alike."""

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {"tau": (1.0, False, "steps")}
    one_for_all: ClassVar[frozenset[str]] = frozenset()
    tau_syn: TimeConstants = None

    def resting_v(self, values: Values) -> Any:
        """0."""
        return 0.0

    def step(
        self,
        leak: Any,
        jump: Any,
        v_threshold: Any,
        v_reset: Any,
        soft: bool,
        drive: Any = 0.0,
        v_min: Any = -np.inf,
        decay: Any = None,
        gain: Any = 1.0,
        refractory_steps: Any = 0.0,
        **more: Any,
    ) -> Coefficients:
        """v <- leak * v + jump * i + drive, where i is the input x, or with `decay`: i <- decay * i + gain * x."""
        delta = decay is None
        return Coefficients(
            leak=leak,
            drive=drive,
            v_threshold=v_threshold,
            v_reset=v_reset,
            v_min=v_min,
            refractory_steps=refractory_steps,
            current_gain=jump,
            decay=[0.0 if delta else decay],
            coupling=[0.0 if delta else jump * decay],
            gain=[0.0 if delta else gain],
            jump=[jump if delta else jump * gain],
            soft_reset=soft,
            **more,
        )


@name_unknown
@dataclass(frozen=True, eq=False)
class SpikingNeuron(StepNeuron):
    """The neuron that is written from scratch in many tutorials.

        v <- v + x;  spike when v >= threshold;  v <- 0 at a spike;  v <- decay * v

    A recorded v is the one after the decay.

    Parameters
    ----------
    threshold : v at which it spikes, > 0.
    decay : what is left of v after a step, in [0, 1].
    surrogate, detach_reset, learn : for training (see `evsim.training`).
    """

    threshold: Parameter = 1.0
    decay: float = 0.9
    surrogate: Surrogate = ATan()
    detach_reset: bool = False
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("threshold", "decay")

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {
        "threshold": (0.0, False, ""),
        "decay": (0.0, True, ""),
    }
    one_for_all: ClassVar[frozenset[str]] = frozenset({"decay"})

    def v_scale(self) -> float:
        """v is kept as it is before the decay."""
        return float(self.decay)

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """h = decay * v + x."""
        return self.step(values["decay"], 1.0, values["threshold"], v_reset=0.0, soft=False)
