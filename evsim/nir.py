"""NIR's neurons (Pedersen et al. 2024), with its names and equations, on a grid of steps of dt.

NIR gives continuous time; here the input of a step, x (a value, or the number of spikes in it), is held for that step.
`method="exact"` then integrates exactly; `method="euler"` takes forward Euler steps, a synaptic current before the v
that it drives. So a spike is an input of 1 for dt, not an impulse of area 1: who counts impulses finds 1 / dt in r or
w_in, as in what snnTorch writes (r = tau_mem / dt, w_in = tau_syn / dt).

A spike is where v > v_threshold (strict): v reaches the next float32 above v_threshold. Then v = v_reset. v starts at
v_leak, or 0 where there is no leak. Three things NIR has not, and other frameworks do: with `subtract` v = v - subtract
at a spike, with `multi_spike` there are as many spikes in a step as v holds thresholds, and v >= v_min.

dt and time constants have one unit: seconds in NIR, steps in what sinabs writes. `evsim.from_nir` makes these neurons
from a graph.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.distributions import Distribution
from evsim.neurons import Coefficients, Parameter, Values, name_unknown
from evsim.step_neurons import StepNeuron
from evsim.surrogates import ATan, Surrogate

__all__ = ["IF", "LI", "LIF", "CubaLI", "CubaLIF", "I", "Threshold"]

METHODS = ("exact", "euler")
CLOSE = 1e-6  # relative: tau as float32 may fall short of dt by less


def next_above(threshold: Any) -> NDArray[np.float64]:
    """The smallest float32 above a number: v > threshold is v >= that."""
    wide = np.asarray(threshold, np.float64)
    narrow = wide.astype(np.float32)
    above = np.where(narrow > wide, narrow, np.nextafter(narrow, np.float32(np.inf)))
    return np.asarray(above, np.float64)


def next_below(threshold: Any) -> NDArray[np.float32]:
    """The largest float32 below a number, itself rounded to float32: the inverse of `next_above`."""
    return np.nextafter(np.asarray(threshold, np.float32), np.float32(-np.inf))


def kept(tau: Any, dt: float, method: str) -> Any:
    """What is left of v - v_leak, or of a current, after a step without input: exp(-dt / tau), or 1 - dt / tau."""
    return np.exp(-dt / tau) if method == "exact" else 1.0 - dt / tau


def gained(tau: Any, dt: float, method: str) -> Any:
    """The rest, 1 - kept."""
    return -np.expm1(-dt / tau) if method == "exact" else dt / tau


def pull(leak: Any) -> Any:
    """1 - leak with the leak as the kernels hold it, so that v rests at v_leak exactly."""
    return 1.0 - np.asarray(leak, np.float32).astype(np.float64)


def current_shares(tau_syn: Any, tau_mem: Any, dt: float, method: str) -> tuple[Any, Any]:
    """What adds to v in a step, for r = 1: a unit of the current before the step, and of what it is drawn to.

    Exact, with I(s) = I0 exp(-s/tau_syn) + w x (1 - exp(-s/tau_syn)):
        share of I0   K = 1/tau_mem * integral over the step of exp(-(dt - s)/tau_mem) exp(-s/tau_syn) ds
        share of w x  1 - exp(-dt/tau_mem) - K
    Euler: dt/tau_mem * (1 - dt/tau_syn) and dt/tau_mem * dt/tau_syn.
    """
    charge = gained(tau_mem, dt, method)
    if method == "euler":
        return charge * (1.0 - dt / tau_syn), charge * dt / tau_syn
    x = np.asarray(dt / tau_mem - dt / tau_syn, np.float64)
    ratio = np.where(np.abs(x) < 1e-9, 1.0, np.expm1(x) / np.where(x == 0.0, 1.0, x))
    of_old = dt / tau_mem * np.exp(-dt / tau_mem) * ratio
    return of_old, charge - of_old


@dataclass(frozen=True, eq=False, kw_only=True)
class _Node(StepNeuron):
    """What NIR's neurons share."""

    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {
        "tau": (0.0, False, ""),
        "tau_mem": (0.0, False, ""),
        "tau_syn": (0.0, False, ""),
    }
    options: ClassVar[frozenset[str]] = frozenset({"dt", "method", "multi_spike"})
    dt: float
    method: str = "exact"
    multi_spike = False
    detach_reset = False

    def __post_init__(self) -> None:
        owner = type(self).__name__
        checks.number(owner, "dt", self.dt, 0.0, inclusive=False)
        if self.method not in METHODS:
            raise ValueError(f"{owner}: method is {self.method!r}; it must be one of {', '.join(METHODS)}")
        for name in ("tau", "tau_mem", "tau_syn"):
            tau = getattr(self, name, None)
            if self.method == "euler" and tau is not None:
                shortest = tau.bounds()[0] if isinstance(tau, Distribution) else np.min(tau)
                if 0.0 < shortest < self.dt * (1.0 - CLOSE):
                    raise ValueError(
                        f"{owner}: {name} is {shortest:g}; with method 'euler' it must be at least dt = {self.dt:g}; "
                        "take a shorter dt, or method 'exact'"
                    )

    def resting_v(self, values: Values) -> Any:
        """v_leak; 0 where there is no leak."""
        return values.get("v_leak", 0.0)

    def _made(self, values: Values, leak: Any, jump: Any, drive: Any = 0.0, **current: Any) -> Coefficients:
        """v <- leak * v + jump * x + drive, with the threshold and reset there are; `current` is that of a synapse."""
        soft = "subtract" in values
        spikes = "v_threshold" in values
        filtered = {"decay": 0.0, "coupling": 0.0, "gain": 0.0, "current_gain": jump, **current}
        return Coefficients(
            leak=leak,
            drive=drive,
            v_threshold=next_above(values["v_threshold"]) if spikes else np.inf,
            v_reset=values["subtract"] if soft else values.get("v_reset", 0.0),
            v_min=values.get("v_min", -np.inf),
            refractory_steps=0.0,
            current_gain=filtered["current_gain"],
            decay=[filtered["decay"]],
            coupling=[filtered["coupling"]],
            gain=[filtered["gain"]],
            jump=[jump],
            soft_reset=soft,
            multi_spike=self.multi_spike,
        )

    def _integrator(self, values: Values) -> Coefficients:
        """dv/dt = r * x."""
        return self._made(values, 1.0, values["r"] * self.dt)

    def _leaky(self, values: Values) -> Coefficients:
        """tau dv/dt = (v_leak - v) + r * x."""
        tau = values["tau"]
        leak = kept(tau, self.dt, self.method)
        return self._made(values, leak, gained(tau, self.dt, self.method) * values["r"], pull(leak) * values["v_leak"])

    def _current_based(self, values: Values) -> Coefficients:
        """tau_syn di/dt = -i + w_in * x;  tau_mem dv/dt = (v_leak - v) + r * i."""
        tau_mem, tau_syn, r, w_in = (values[name] for name in ("tau_mem", "tau_syn.syn", "r", "w_in"))
        leak = kept(tau_mem, self.dt, self.method)
        of_old, of_new = current_shares(tau_syn, tau_mem, self.dt, self.method)
        return self._made(
            values,
            leak,
            r * w_in * of_new,
            pull(leak) * values["v_leak"],
            decay=kept(tau_syn, self.dt, self.method),
            coupling=r * of_old,
            gain=w_in * gained(tau_syn, self.dt, self.method),
            current_gain=r * gained(tau_mem, self.dt, self.method),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Spiking(_Node):
    """What those that spike share."""

    v_threshold: Parameter
    v_reset: Parameter = 0.0
    subtract: Parameter | None = None
    multi_spike: bool = False
    v_min: Parameter = -np.inf
    surrogate: Surrogate = ATan()
    detach_reset: bool = False


@name_unknown
@dataclass(frozen=True, eq=False, kw_only=True)
class I(_Node):  # noqa: E742
    """Integrator:  dv/dt = r x.  It does not spike; its output is v.

    Parameters
    ----------
    r : resistance.
    dt, method : the grid (see `evsim.nir`).
    """

    r: Parameter

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._integrator(values)


@name_unknown
@dataclass(frozen=True, eq=False, kw_only=True)
class IF(_Spiking):
    """Integrate-and-fire:  dv/dt = r x;  spike when v > v_threshold, then v = v_reset.

    Parameters
    ----------
    r : resistance.
    v_threshold, v_reset : v_reset < v_threshold.
    dt, method : the grid (see `evsim.nir`).
    subtract : what a spike takes off v; None: v is set to v_reset.
    multi_spike, v_min : several spikes in a step; lower bound of v.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    r: Parameter

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._integrator(values)


@name_unknown
@dataclass(frozen=True, eq=False, kw_only=True)
class LI(_Node):
    """Leaky integrator:  tau dv/dt = (v_leak - v) + r x.  It does not spike; its output is v.

    Parameters
    ----------
    tau : time constant, > 0; with method "euler" at least dt.
    r, v_leak : resistance, and where v rests.
    dt, method : the grid (see `evsim.nir`).
    """

    tau: Parameter
    r: Parameter
    v_leak: Parameter

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._leaky(values)


@name_unknown
@dataclass(frozen=True, eq=False, kw_only=True)
class LIF(_Spiking):
    """Leaky integrate-and-fire:  tau dv/dt = (v_leak - v) + r x;  spike when v > v_threshold, then v = v_reset.

    Parameters
    ----------
    tau : time constant, > 0; with method "euler" at least dt.
    r, v_leak : resistance, and where v rests and starts.
    v_threshold, v_reset : v_reset < v_threshold.
    dt, method : the grid (see `evsim.nir`).
    subtract : what a spike takes off v; None: v is set to v_reset.
    multi_spike, v_min : several spikes in a step; lower bound of v.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    tau: Parameter
    r: Parameter
    v_leak: Parameter

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._leaky(values)


@name_unknown
@dataclass(frozen=True, eq=False, kw_only=True)
class CubaLI(_Node):
    """Current-based leaky integrator:  tau_syn di/dt = -i + w_in x;  tau_mem dv/dt = (v_leak - v) + r i.

    It does not spike; its output is v.

    Parameters
    ----------
    tau_syn, tau_mem : time constants, > 0; with method "euler" at least dt.
    r, v_leak, w_in : resistance, where v rests, weight of the input.
    dt, method : the grid (see `evsim.nir`).
    """

    tau_syn: Parameter
    tau_mem: Parameter
    r: Parameter
    v_leak: Parameter
    w_in: Parameter = 1.0

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._current_based(values)


@name_unknown
@dataclass(frozen=True, eq=False, kw_only=True)
class CubaLIF(_Spiking):
    """Current-based leaky integrate-and-fire: as CubaLI;  spike when v > v_threshold, then v = v_reset.

    Parameters
    ----------
    tau_syn, tau_mem : time constants, > 0; with method "euler" at least dt.
    r, v_leak, w_in : resistance, where v rests and starts, weight of the input.
    v_threshold, v_reset : v_reset < v_threshold.
    dt, method : the grid (see `evsim.nir`).
    subtract : what a spike takes off v; None: v is set to v_reset.
    multi_spike, v_min : several spikes in a step; lower bound of v.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    tau_syn: Parameter
    tau_mem: Parameter
    r: Parameter
    v_leak: Parameter
    w_in: Parameter = 1.0

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self._current_based(values)


@name_unknown
@dataclass(frozen=True, eq=False)
class Threshold(StepNeuron):
    """A spike in each step whose input x > threshold; no memory.

    Parameters
    ----------
    threshold : what x must exceed.
    surrogate, detach_reset : for training (see `evsim.training`).
    """

    threshold: Parameter
    surrogate: Surrogate = ATan()
    detach_reset: bool = False

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self.step(leak=0.0, jump=1.0, v_threshold=next_above(values["threshold"]), v_reset=0.0, soft=False)
