"""Neurons of any model -> nodes of NIR: the constants of a step, solved for the parameters that give them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import nir
from evsim.io.nir_file import MULTI_SPIKE, SUBTRACT, V_MIN
from evsim.neurons import Coefficients, NeuronModel, Values
from evsim.nir_graph import PARAMETERS

__all__ = ["Neurons", "make_neurons", "narrow"]

VALUE = {"tau_syn": "tau_syn.syn"}  # parameters that have another name among the resolved ones
NO_LEAK = 2.0**60  # steps: v then falls by less than float32 can tell


@dataclass(frozen=True)
class Neurons:
    """Neurons that are to become a node."""

    owner: str  # for messages
    model: NeuronModel
    values: Values  # resolved parameters
    shape: tuple[int, ...]
    dt: float  # ms, of the network they are in
    initial_v: Any = None  # where it is not the model's own


def narrow(values: Any) -> NDArray[Any]:
    """As float32 where that loses nothing, else as float64."""
    wide = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        single = wide.astype(np.float32)
    return single if np.array_equal(single, wide) else wide


def make_neurons(package: Any, neurons: Neurons, dt: float, method: str) -> tuple[Any, list[str]]:
    """A node of the nir package (`package`), and what it cannot hold of the neurons, in words.

    The node gives the neurons' constants, as float32, where it is discretised by steps of dt (in the unit of its time
    constants) with `method`. v_threshold is the largest float32 below the one of evsim, where v >= v_threshold is a
    spike. A soft reset, several spikes in a step and a lower bound of v are kept for evsim in the node's metadata.
    """
    model, size = neurons.model, int(np.prod(neurons.shape))

    def spread(values: Any) -> NDArray[Any]:
        return np.broadcast_to(np.asarray(values), (size,)).reshape(neurons.shape).copy()

    if isinstance(model, nir.Threshold):
        return package.Threshold(spread(narrow(neurons.values["threshold"]))), []
    c = model.coefficients(neurons.values, neurons.dt)
    lost = _without_place(neurons, c)
    if type(model).__module__ == nir.__name__:
        kind = type(model).__name__
        parameters = {name: neurons.values[VALUE.get(name, name)] for name in PARAMETERS[kind]}
    else:
        kind, parameters = _solve(neurons, c, dt, method, lost)
    started = model.resting_v(neurons.values) if neurons.initial_v is None else neurons.initial_v
    if kind != "Threshold" and not _close(started, parameters.get("v_leak", 0.0)):
        lost.append("the initial v")
    made = {name: spread(narrow(value)) for name, value in parameters.items()}
    return getattr(package, kind)(**made, metadata=_metadata(c) if "v_threshold" in made else {}), lost


def _metadata(c: Coefficients) -> dict[str, Any]:
    """What evsim reads of a node beside NIR's parameters."""
    held = {
        SUBTRACT: c.v_reset if c.soft_reset else None,
        MULTI_SPIKE: c.multi_spike or None,
        V_MIN: c.v_min if np.any(np.asarray(c.v_min) > -np.inf) else None,
    }
    return {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in held.items() if value is not None}


def _without_place(neurons: Neurons, c: Coefficients) -> list[str]:
    """What no node of NIR has."""
    receptors = neurons.model.receptors()
    there = {
        f"receptors other than {next(iter(receptors))!r}": len(receptors) > 1,
        "several spikes in a step": c.multi_spike,
        "reset by subtraction": c.soft_reset and np.isfinite(c.v_threshold).any(),
        "refractory time": np.any(np.asarray(c.refractory_steps) > 0.0),
        "lower bound of v": np.any(np.asarray(c.v_min) > -np.inf),
        "adaptive threshold": c.theta_plus != 0.0,
    }
    return [name for name, true in there.items() if true]


def _solve(neurons: Neurons, c: Coefficients, dt: float, method: str, lost: list[str]) -> tuple[str, dict[str, Any]]:
    """The kind of node and its parameters; adds to `lost` what they do not give."""
    leak, drive, jump = (np.asarray(x, np.float64) for x in (c.leak, c.drive, c.jump[0]))
    spiking = bool(np.isfinite(c.v_threshold).any())
    v_reset = np.asarray(c.v_threshold, np.float64) - c.v_reset if c.soft_reset else c.v_reset
    rest = {"v_threshold": nir.next_below(c.v_threshold), "v_reset": v_reset} if spiking else {}
    current = bool(neurons.model.currents())
    simple = not (current or c.soft_reset or c.multi_spike or drive.any())
    if simple and spiking and (leak == 0.0).all() and (jump == 1.0).all():
        return "Threshold", {"threshold": nir.next_below(c.v_threshold)}
    if (leak < 0.0).any() or (leak > 1.0).any() or (leak == 1.0).any() != (leak == 1.0).all():
        raise ValueError(f"{neurons.owner}: what is left of v after a step is {leak}; NIR wants it in [0, 1), or all 1")
    leaking = not (leak == 1.0).all()
    if not leaking and drive.any():
        lost.append("constant drive")
    if not leaking and not current:
        return "IF" if spiking else "I", {"r": jump / dt, **rest}
    tau_mem = _time_constant(neurons, "v", leak, dt, method) if leaking else np.asarray(NO_LEAK * dt)
    v_leak = drive / nir.pull(leak) if leaking else np.zeros(())
    if not current:
        r = jump / nir.gained(tau_mem, dt, method)
        return "LIF" if spiking else "LI", {"tau": tau_mem, "r": r, "v_leak": v_leak, **rest}
    decay, coupling, gain = (np.asarray(x[0], np.float64) for x in (c.decay, c.coupling, c.gain))
    tau_syn = _time_constant(neurons, "the synaptic current", decay, dt, method)
    w_in = gain / nir.gained(tau_syn, dt, method)
    of_old, of_new = nir.current_shares(tau_syn, tau_mem, dt, method)
    r = coupling / of_old if (of_old > 0.0).all() else jump / (w_in * of_new)
    if not _close(r * w_in * of_new, jump):
        lost.append("what a spike adds to v in its own step")
    parameters = {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": r, "v_leak": v_leak, "w_in": w_in}
    return "CubaLIF" if spiking else "CubaLI", parameters | rest


def _time_constant(neurons: Neurons, what: str, left: NDArray[np.float64], dt: float, method: str) -> Any:
    """The time constant of which `left` is left after a step."""
    if method == "euler":
        return dt / (1.0 - left)
    if (left <= 0.0).any():
        raise ValueError(
            f"{neurons.owner}: nothing is left of {what} after a step, which no time constant gives with method "
            "'exact'; take method='euler'"
        )
    return -dt / np.log(left)


def _close(a: Any, b: Any) -> bool:
    return bool(np.allclose(a, b, rtol=1e-6, atol=0.0))
