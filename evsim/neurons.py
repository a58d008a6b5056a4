"""Neuron models: frozen dataclasses whose docstring is the equation, and the coefficients they give the one update.

Any parameter may be a number, an array with one value per neuron, or a distribution. Times are in ms; v is in mV
(or any unit used throughout). The synaptic unit follows from the model: a delta synapse's weight is a jump of v;
an exponential synapse's weight is a jump of the current i, and r_mem * i has the unit of v (so currents in pA
want r_mem in GOhm, which is tau_mem / c_m with c_m in pF).
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from evsim.distributions import Distribution
from evsim.surrogates import ATan, Surrogate

__all__ = ["IAF", "LIF", "Coefficients", "NeuronModel", "Parameter", "TimeConstants", "Values", "name_unknown"]

Parameter = float | NDArray[Any] | Distribution
TimeConstants = None | Parameter | tuple[Parameter, Parameter] | Mapping[str, Parameter]
Values = Mapping[str, Any]  # resolved parameters: float64 scalars or (n,) arrays
NO_NUMBERS = frozenset({"tau_syn", "surrogate", "detach_reset", "learn"})  # fields that every model may have
Model = TypeVar("Model")


@dataclass(frozen=True)
class Coefficients:
    """What the update of `dynamics` needs; each entry a float64 scalar or an array (n_neurons,)."""

    leak: Any
    drive: Any
    v_threshold: Any
    v_reset: Any
    v_min: Any
    refractory_steps: Any
    current_gain: Any  # what one unit of injected current adds to v in a step
    decay: list[Any]  # per receptor
    coupling: list[Any]
    gain: list[Any]
    jump: list[Any]
    soft_reset: bool
    multi_spike: bool = False  # as many spikes in a step as v holds thresholds, rather than one
    theta_plus: float = 0.0
    theta_decay: float = 1.0
    theta_resets: bool = False  # a soft reset takes theta off too


def name_unknown(model: type[Model]) -> type[Model]:
    """Make an unknown parameter's error name the nearest known one."""
    known = [field.name for field in dataclasses.fields(model)]  # type: ignore[arg-type]
    original: Callable[..., None] = model.__init__

    def __init__(self: Any, *args: Any, **parameters: Any) -> None:
        for name in parameters:
            if name not in known:
                near = [each for each in known if each.startswith(name)]
                near += difflib.get_close_matches(name, known, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise TypeError(f"{model.__name__}: unknown parameter {name!r}; {hint}known are {', '.join(known)}")
        original(self, *args, **parameters)

    __init__.__doc__ = original.__doc__
    model.__init__ = __init__  # type: ignore[method-assign]
    return model


class NeuronModel:
    """What LIF and IAF share: their receptors, and how parameters are checked."""

    # name -> (lowest allowed, is the lowest itself allowed, unit)
    limits: ClassVar[dict[str, tuple[float, bool, str]]] = {
        "tau_mem": (0.0, False, "ms"),
        "tau_syn": (0.0, False, "ms"),
        "t_ref": (0.0, True, "ms"),
        "r_mem": (0.0, False, ""),
        "theta_plus": (0.0, True, ""),
        "tau_theta": (0.0, False, "ms"),
    }
    may_be_infinite: ClassVar[frozenset[str]] = frozenset({"v_min", "tau_theta"})
    one_for_all: ClassVar[frozenset[str]] = frozenset({"theta_plus", "tau_theta"})
    ascending: ClassVar[tuple[tuple[str, str], ...]] = (("v_reset", "v_threshold"), ("v_min", "v_threshold"))
    options: ClassVar[frozenset[str]] = frozenset()  # fields that are no numbers
    learnable: ClassVar[tuple[str, ...]] = ()  # what `learn` may name: fields, and disguises
    # What is learned in the place of a field: name -> (field, the field's value from it, it from the field's value).
    disguises: ClassVar[dict[str, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {}
    v_recorded: ClassVar[str] = "v"  # what a recording of v holds: "v" after the reset, or "v_pre_reset"
    tau_syn: TimeConstants
    v_reset: Any
    surrogate: Surrogate  # what training takes for the derivative of a spike
    detach_reset: Any  # whether training leaves out the reset's share of it
    learn: Any = ()  # names of parameters that training changes

    def receptors(self) -> dict[str, Parameter | None]:
        """Receptor names and their time constants (ms; None is a delta synapse)."""
        if self.tau_syn is None:
            return {"delta": None}
        if isinstance(self.tau_syn, Mapping):
            if not self.tau_syn:
                raise ValueError("tau_syn is an empty dict; it must name at least one receptor")
            return dict(self.tau_syn)
        if isinstance(self.tau_syn, tuple):
            if len(self.tau_syn) != 2:
                raise ValueError(
                    f"tau_syn has {len(self.tau_syn)} entries; a tuple is (exc, inh), a dict names any number"
                )
            return {"exc": self.tau_syn[0], "inh": self.tau_syn[1]}
        return {"syn": self.tau_syn}

    def currents(self) -> list[str]:
        """The receptors that have a synaptic current: those without act on v at once."""
        return [name for name, tau in self.receptors().items() if tau is not None]

    def parameters(self) -> dict[str, Parameter]:
        """Every parameter by name, one `tau_syn.<receptor>` for each exponential receptor."""
        named = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if field.name not in NO_NUMBERS | self.options and getattr(self, field.name) is not None
        }
        for receptor, tau in self.receptors().items():
            if tau is not None:
                named[f"tau_syn.{receptor}"] = tau
        return named

    def resting_v(self, values: Values) -> Any:
        """The initial membrane potential where the user gives none."""
        return values.get("v_leak", 0.0)

    def v_scale(self) -> float:
        """What a recorded v is multiplied by."""
        return 1.0

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of the update for a step of dt (ms)."""
        raise NotImplementedError

    def learned(self) -> dict[str, NDArray[np.float32]]:
        """What training changes, by the names in `learn`: a number, or one a neuron."""
        made = {}
        for name in self.learn:
            field, _, disguise = self._disguise(name)
            made[name] = np.asarray(disguise(np.asarray(getattr(self, field), np.float64)), np.float32)
        return made

    def with_learned(self: Model, values: Mapping[str, Any]) -> Model:
        """The same neurons with other values of what is learned."""
        own: Any = self
        changed = {}
        for name, value in values.items():
            field, disclose, _ = own._disguise(name)
            changed[field] = disclose(np.asarray(value, np.float64))[()]
        made: Model = dataclasses.replace(own, **changed)
        return made

    def disclosed(self, name: str, value: Any) -> tuple[str, Any]:
        """For a value of what is learned: the name in the `values` of `coefficients`, and the value there."""
        field, disclose, _ = self._disguise(name)
        return (f"tau_syn.{next(iter(self.receptors()))}" if field == "tau_syn" else field), disclose(value)

    def _disguise(self, name: str) -> tuple[str, Callable[[Any], Any], Callable[[Any], Any]]:
        return self.disguises.get(name, (name, lambda value: value, lambda value: value))

    def _reset(self, values: Values) -> tuple[Any, bool]:
        """The reset value of the update, and whether the reset is soft."""
        if self.v_reset is None:
            return values["v_threshold"] - values.get("v_leak", 0.0), True
        return values["v_reset"], False

    def _synapses(self, values: Values, dt: float, share: Callable[[Any], Any]) -> dict[str, Any]:
        """Per-receptor coefficients; `share(tau_syn)` is what a unit of current adds to v in a step."""
        lists: dict[str, Any] = {"decay": [], "coupling": [], "gain": [], "jump": []}
        for receptor, tau in self.receptors().items():
            delta = tau is None
            tau_syn = 1.0 if delta else values[f"tau_syn.{receptor}"]
            lists["decay"].append(0.0 if delta else np.exp(-dt / tau_syn))
            lists["coupling"].append(0.0 if delta else share(tau_syn))
            lists["gain"].append(0.0 if delta else 1.0)
            lists["jump"].append(1.0 if delta else 0.0)
        return lists


def as_held(value: Any) -> Any:
    """A value as kernels hold it, rounded to float32; the imaginary part, by which derivatives are found, stays."""
    real = np.real(value)
    return np.asarray(real, np.float32).astype(np.float64) + (value - real)


@name_unknown
@dataclass(frozen=True, eq=False)
class LIF(NeuronModel):
    """Leaky integrate-and-fire neuron with delta or exponential synapses, integrated exactly on the grid.

        tau_mem dv/dt = (v_leak - v) + r_mem * (sum_k i_k + i_bias + i_injected)
        tau_syn_k di_k/dt = -i_k,   i_k jumps by the weight when a spike arrives      (exponential)
        v jumps by the weight when a spike arrives                                    (delta: tau_syn is None)
        spike when v >= v_threshold; then v = v_reset for t_ref

    Spikes, v and i equal NEST's iaf_psc_delta and iaf_psc_exp: v is frozen while refractory, delta input then is
    lost, currents go on. `v_reset=None` is the soft reset v -> v - (v_threshold - v_leak).

    With theta_plus > 0 the threshold adapts (Diehl & Cook 2015): it is v_threshold + theta, theta <- theta *
    exp(-dt / tau_theta) in every step, theta <- theta + theta_plus at a spike; not while `Simulation.learning` is
    False.

    Parameters
    ----------
    tau_mem : membrane time constant, ms, > 0.
    tau_syn : None (delta synapses), a time constant in ms, a pair (exc, inh), or a dict of named receptors.
    v_leak, v_threshold, v_reset : mV; v_reset < v_threshold.
    t_ref : refractory time, ms, >= 0; rounded to whole steps.
    r_mem : membrane resistance, > 0: v's unit per unit of current.
    i_bias : constant current.
    v_min : lower bound of v.
    theta_plus, tau_theta : adaptation of the threshold, mV and ms; one number each.
    surrogate, detach_reset, learn : for training (see `evsim.training`).
    """

    tau_mem: Parameter = 20.0
    tau_syn: TimeConstants = None
    v_leak: Parameter = 0.0
    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    t_ref: Parameter = 0.0
    r_mem: Parameter = 1.0
    i_bias: Parameter = 0.0
    v_min: Parameter = -np.inf
    theta_plus: float = 0.0
    tau_theta: float = np.inf
    surrogate: Surrogate = ATan()
    detach_reset: bool = False
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = (
        "tau_mem", "tau_syn", "v_leak", "v_threshold", "v_reset", "r_mem", "i_bias",
    )  # fmt: skip

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The exact propagators for a step of dt (ms)."""
        tau_mem, r_mem = values["tau_mem"], values["r_mem"]
        leak = as_held(np.exp(-dt / tau_mem))
        charge = 1.0 - leak  # so that the resting v is where it belongs

        def share(tau_syn: Any) -> Any:  # r/tau_mem * integral of exp(-(dt-s)/tau_mem) exp(-s/tau_syn) ds
            x = np.asarray(dt / tau_mem - dt / tau_syn)
            near_one = np.where(np.abs(x) < 1e-9, 1.0 + x / 2.0, np.expm1(x) / np.where(x == 0.0, 1.0, x))
            return r_mem * dt / tau_mem * leak * near_one

        v_reset, soft = self._reset(values)
        return Coefficients(
            leak=leak,
            drive=charge * (values["v_leak"] + r_mem * values["i_bias"]),
            v_threshold=values["v_threshold"],
            v_reset=v_reset,
            v_min=values["v_min"],
            refractory_steps=np.rint(values["t_ref"] / dt),
            current_gain=charge * r_mem,
            soft_reset=soft,
            theta_plus=float(values["theta_plus"]),
            theta_decay=float(np.exp(-dt / values["tau_theta"])),
            **self._synapses(values, dt, share),
        )


@name_unknown
@dataclass(frozen=True, eq=False)
class IAF(NeuronModel):
    """Integrate-and-fire neuron with a constant leak and delta or exponential synapses.

        dv/dt = r_mem * (sum_k i_k + i_bias + i_injected) - leak
        spike when v >= v_threshold; then v = v_reset for t_ref;  v >= v_min

    Synapses as in `LIF`. With leak = 0 this is NIR's I&F; with a leak and v_min = 0 its rate is a ReLU of its input
    (the constant-leak IAF of sinabs). `v_reset=None` is the soft reset v -> v - v_threshold.

    Parameters
    ----------
    tau_syn : None (delta synapses), a time constant in ms, a pair (exc, inh), or a dict of named receptors.
    leak : mV per ms, taken off v whatever its value.
    v_threshold, v_reset : mV; v_reset < v_threshold.
    t_ref : refractory time, ms, >= 0; rounded to whole steps.
    r_mem : > 0: what a unit of current adds to v in 1 ms.
    i_bias : constant current.
    v_min : lower bound of v.
    surrogate, detach_reset, learn : for training (see `evsim.training`).
    """

    tau_syn: TimeConstants = None
    leak: Parameter = 0.0
    v_threshold: Parameter = 1.0
    v_reset: Parameter | None = 0.0
    t_ref: Parameter = 0.0
    r_mem: Parameter = 1.0
    i_bias: Parameter = 0.0
    v_min: Parameter = -np.inf
    surrogate: Surrogate = ATan()
    detach_reset: bool = False
    learn: tuple[str, ...] = ()

    learnable: ClassVar[tuple[str, ...]] = ("tau_syn", "leak", "v_threshold", "v_reset", "r_mem", "i_bias")

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The exact propagators for a step of dt (ms)."""
        r_mem = values["r_mem"]
        v_reset, soft = self._reset(values)
        return Coefficients(
            leak=1.0,
            drive=dt * (r_mem * values["i_bias"] - values["leak"]),
            v_threshold=values["v_threshold"],
            v_reset=v_reset,
            v_min=values["v_min"],
            refractory_steps=np.rint(values["t_ref"] / dt),
            current_gain=dt * r_mem,
            soft_reset=soft,
            **self._synapses(values, dt, lambda tau_syn: -r_mem * tau_syn * np.expm1(-dt / tau_syn)),
        )
