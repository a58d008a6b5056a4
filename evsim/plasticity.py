"""Learning rules: frozen dataclasses whose docstring is the equation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evsim import checks
from evsim.learning import TABLE

__all__ = ["PairSTDP"]

Dependence = str | tuple[str, float] | Callable[[Any], Any]


@dataclass(frozen=True, eq=False)
class PairSTDP:
    """Pair-based spike-timing-dependent plasticity with traces.

    Each synapse sees the trace x_pre of its source, shifted by the synapse's delay (a presynaptic spike acts when it
    arrives), and the trace x_post of its target:

        x <- decay * x in every step;      x <- x + 1 ("all")  or  x <- 1 ("nearest") at a spike
        presynaptic spike arrives:         w <- w - a_minus * x_post * f_minus(w)
        postsynaptic spike:                w <- w + a_plus * (x_pre - x_target) * f_plus(w)
        after either:                      w <- min(max(w, w_min), w_max)

    with decay = exp(-dt / tau). The order of a presynaptic arrival and a postsynaptic spike in one step is part of
    the rule: "pre_first" depresses by the x_post of earlier spikes, then potentiates by an x_pre that holds the
    arrival (Brian2's); "together" lets both traces hold both spikes and adds both changes, taken at the same w, at
    once (SpikingJelly's). A spike delivers the weight as it is before its own arrival changes it.

    Weight dependence, f_plus and f_minus:

        "additive"          1
        "multiplicative"    f_plus = (w_max - w) / (w_max - w_min),  f_minus = (w - w_min) / (w_max - w_min)
        ("power", mu)       these to the power of mu
        a function of w     tabulated at 1025 points between the bounds, straight in between

    Sources: Song, Miller & Abbott 2000 (additive), van Rossum, Bi & Turrigiano 2000 (multiplicative), Guetig et al.
    2003 (power law), Diehl & Cook 2015 (x_target).

    Parameters
    ----------
    tau_pre, tau_post : time constants of the traces, ms, > 0.
    a_plus, a_minus : size of potentiation and depression, in the unit of the weight.
    w_min, w_max : bounds. Initial weights must lie within; a bound of 0 keeps the sign.
    traces : "all" (every pair counts) or "nearest" (only the last spike of either side), for both traces.
    dependence : as above, one for both, or a pair (f_plus, f_minus).
    x_target : what x_pre is compared with at a postsynaptic spike.
    decay : "exponential", or "euler": 1 - dt / tau, as SpikingJelly has it.
    order : "pre_first" or "together".
    apply : "spike": a change acts from then on; "run": changes add up, taken at the weights as they are, and act at
        the end of the run (SpikingJelly's multi-step mode).
    """

    tau_pre: float = 20.0
    tau_post: float = 20.0
    a_plus: float = 0.01
    a_minus: float = 0.01
    w_min: float = 0.0
    w_max: float = 1.0
    traces: str = "all"
    dependence: Dependence | tuple[Dependence, Dependence] = "additive"
    x_target: float = 0.0
    decay: str = "exponential"
    order: str = "pre_first"
    apply: str = "spike"

    def check(self, owner: str, dt: float) -> None:
        """Refuse, for the projection called `owner`, what no network could use."""
        for name in ("tau_pre", "tau_post"):
            lowest = dt if self.decay == "euler" else 0.0
            checks.number(owner, name, getattr(self, name), lowest, inclusive=self.decay == "euler", unit="ms")
        for name in ("a_plus", "a_minus", "w_min", "w_max", "x_target"):
            checks.number(owner, name, getattr(self, name))
        if not self.w_min < self.w_max:
            raise ValueError(f"{owner}: w_min is {self.w_min}; it must be below w_max, which is {self.w_max}")
        choices = {
            "traces": ("all", "nearest"),
            "decay": ("exponential", "euler"),
            "order": ("pre_first", "together"),
            "apply": ("spike", "run"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise checks.nearest(owner, name, getattr(self, name), list(allowed))
        for function in self.dependences():
            self._check_dependence(owner, function)

    def dependences(self) -> tuple[Dependence, Dependence]:
        """(f_plus, f_minus) as given."""
        given = self.dependence
        if isinstance(given, tuple) and len(given) == 2 and given[0] != "power":
            return given  # type: ignore[return-value]
        return given, given  # type: ignore[return-value]

    def strengths(self) -> tuple[tuple[float, float, Any], tuple[float, float, Any]]:
        """f_plus and f_minus as (constant, slope, None), or (0, 0, values at TABLE + 1 points) where not straight."""
        plus, minus = self.dependences()
        return self._strength(plus, 1.0), self._strength(minus, -1.0)

    def trace_decay(self, tau: float, dt: float) -> Any:
        """The decay of a trace after 0, 1, 2, ... steps, until less than 1e-12 of it is left; and 0 after that."""
        one = 1.0 - dt / tau if self.decay == "euler" else np.exp(-dt / tau)
        n = 1 if one == 0.0 else int(np.ceil(np.log(1e-12) / np.log(one)))
        left = one ** np.arange(n + 1) if self.decay == "euler" else np.exp(-np.arange(n + 1) * (dt / tau))
        return np.append(left, 0.0).astype(np.float32)

    def _check_dependence(self, owner: str, function: Dependence) -> None:
        if function in ("additive", "multiplicative"):
            return
        if isinstance(function, tuple) and len(function) == 2 and function[0] == "power":
            checks.number(owner, "dependence: mu", function[1], 0.0)
            return
        if not callable(function):
            raise ValueError(
                f"{owner}: dependence is {function!r}; it must be 'additive', 'multiplicative', ('power', mu) or a "
                "function of w"
            )
        values = np.asarray(function(np.linspace(self.w_min, self.w_max, TABLE + 1)), np.float64)
        if values.shape not in ((), (TABLE + 1,)) or not np.isfinite(values).all():
            raise ValueError(
                f"{owner}: dependence {function!r} does not give a finite number for every w between {self.w_min} "
                f"and {self.w_max}"
            )

    def _strength(self, function: Dependence, sign: float) -> tuple[float, float, Any]:
        span = self.w_max - self.w_min
        if function == "additive":
            return 1.0, 0.0, None
        if function == "multiplicative":
            return (self.w_max / span, -1.0 / span, None) if sign > 0 else (-self.w_min / span, 1.0 / span, None)
        w = np.linspace(self.w_min, self.w_max, TABLE + 1)
        if callable(function):
            values = np.broadcast_to(np.asarray(function(w), np.float64), w.shape)
        else:
            room = (self.w_max - w if sign > 0 else w - self.w_min) / span
            values = np.clip(room, 0.0, 1.0) ** float(function[1])
        ends = values[0] + (values[-1] - values[0]) * np.arange(TABLE + 1) / TABLE
        if np.abs(values - ends).max() <= 1e-12 * max(1.0, float(np.abs(values).max())):
            slope = float(values[-1] - values[0]) / span
            return float(values[0]) - slope * self.w_min, slope, None
        return 0.0, 0.0, values.astype(np.float32)
