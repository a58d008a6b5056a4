"""Checks of neuron models: every parameter by its limits, for n neurons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evsim import checks
from evsim.distributions import Distribution
from evsim.neurons import NeuronModel

MAX_REFRACTORY = 2**24  # steps; as float32, in which kernels read it, still exact


def describe(value: Any) -> float | str:
    """A number as it is; anything more in words."""
    if isinstance(value, Distribution):
        return str(value)
    array = np.asarray(value)
    if array.size == 1:
        number = float(array.reshape(()))
        return number if np.isfinite(number) else str(number)
    low, high = (array.min(), array.max()) if array.size else (0.0, 0.0)
    return f"array {array.shape}, {low:g} to {high:g}"


def check_neurons(owner: str, model: NeuronModel, n: int, dt: float) -> None:
    """Refuse parameters outside their limits, of another shape than (n,), or that contradict each other."""
    try:
        parameters = model.parameters()
    except ValueError as error:
        raise ValueError(f"{owner}: {error}") from None
    bounds: dict[str, tuple[Any, Any]] = {}
    for name, value in parameters.items():
        low, inclusive, unit = model.limits.get(name.split(".")[0], (-np.inf, True, ""))
        if isinstance(value, Distribution):
            smallest, largest = value.bounds()
            if smallest < low:
                raise ValueError(
                    f"{owner}: {name} is drawn from {value}, which reaches {smallest:g}; it must be "
                    f"{'at least' if inclusive else 'above'} {low:g} {unit}; bound it with low="
                )
            bounds[name] = (smallest, largest)
        else:
            array = checks.numbers(
                owner, name, value, (n,), low, inclusive, unit, infinite=name in model.may_be_infinite
            )
            bounds[name] = (array, array)
    for name in model.learn:
        if name not in model.learnable:
            raise ValueError(
                f"{owner}: learn is {model.learn!r}; {type(model).__name__} can learn {', '.join(model.learnable)}"
            )
        field = model.disguises.get(name, (name,))[0]
        value = getattr(model, field)
        if value is None or isinstance(value, Distribution | tuple | Mapping):
            raise ValueError(f"{owner}: {field} is {value}; to learn {name} it must be a number, or one a neuron")
    for name in model.one_for_all & parameters.keys():
        given: Any = parameters[name]
        if isinstance(given, Distribution) or np.ndim(given) > 0:
            raise ValueError(f"{owner}: {name} is {describe(given)}; it must be one number for all neurons")
    longest = np.max(bounds["t_ref"][1]) if "t_ref" in bounds else 0.0
    if longest / dt > MAX_REFRACTORY:
        raise ValueError(
            f"{owner}: t_ref is up to {longest:g} ms; it must be at most {MAX_REFRACTORY * dt:g} ms "
            f"({MAX_REFRACTORY} steps)"
        )
    for name, above in model.ascending:
        if name not in bounds or above not in bounds:  # a soft reset, no lower bound
            continue
        highest, lowest = np.broadcast_arrays(bounds[name][1], bounds[above][0])
        good = highest < lowest
        if not good.all():
            at = checks.first_bad(highest, good, name)
            raise ValueError(f"{owner}: {at}, {above} {lowest[~good].flat[0]:g}; {name} must be below {above}")
