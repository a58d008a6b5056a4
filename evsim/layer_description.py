"""Layers and neurons as plain data, and back: {"class": "layers.Linear", "in_features": 784, ...}.

Numbers, texts, None and arrays stand for themselves, a tuple is {"tuple": [...]}, a dict {"dict": {...}}.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from evsim import distributions, layers, neurons, sinabs, snntorch, spikingjelly, step_neurons, surrogates
from evsim.layers import Layer
from evsim.neurons import NeuronModel

__all__ = ["describe_layers", "make_layers"]

ROOMS: tuple[ModuleType, ...] = (
    layers, neurons, step_neurons, sinabs, snntorch, spikingjelly, surrogates, distributions,
)  # fmt: skip
_CONVOLUTION = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "weight",
)  # fmt: skip
_POOL = "kernel_size", "stride", "padding"
# What layers are made of; neurons, surrogates and distributions are dataclasses, and say it themselves.
ARGUMENTS: dict[type, tuple[str, ...]] = {
    layers.Linear: ("in_features", "out_features", "bias", "weight"),
    layers.Conv1d: _CONVOLUTION,
    layers.Conv2d: _CONVOLUTION,
    layers.AvgPool2d: _POOL,
    layers.SumPool2d: _POOL,
    layers.MaxPool2d: _POOL,
    layers.Flatten: (),
    layers.Recurrent: ("neurons", "connection"),
}
_TYPES = (room.__dict__[name] for room in ROOMS for name in room.__all__)
_PLAIN = {kind for kind in _TYPES if isinstance(kind, type) and dataclasses.is_dataclass(kind)}


def _name(kind: type) -> str:
    return f"{kind.__module__.removeprefix('evsim.')}.{kind.__qualname__}"


KNOWN = {_name(kind): kind for kind in (*ARGUMENTS, *_PLAIN)}


def describe_layers(made_of: Sequence[Layer | NeuronModel]) -> list[dict[str, Any]]:
    """Layers as plain data.

    Raises
    ------
    ValueError : a layer, neuron or surrogate of a class of one's own, or a surrogate made from a function.
    """
    return [_describe(f"layer {index} ({type(layer).__name__})", layer) for index, layer in enumerate(made_of)]


def make_layers(described: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Layers from plain data.

    Raises
    ------
    ValueError : an unknown class, or what its constructor refuses, such as weights of a wrong shape.
    """
    made = []
    for index, each in enumerate(described):
        try:
            made.append(_make(each))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"layer {index}: {error}") from error
    return made


def _describe(owner: str, value: Any) -> Any:
    kind = type(value)
    if KNOWN.get(_name(kind)) is kind:
        names = ARGUMENTS[kind] if kind in ARGUMENTS else [field.name for field in dataclasses.fields(value)]
        return {"class": _name(kind), **{name: _describe(owner, _argument(value, name)) for name in names}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, tuple | list):
        return {"tuple": [_describe(owner, each) for each in value]}
    if isinstance(value, Mapping):
        return {"dict": {name: _describe(owner, each) for name, each in value.items()}}
    raise ValueError(
        f"{owner}: a file cannot hold {value!r}, as it cannot hold functions and classes of one's own; save "
        "parameters() instead, and make the layers anew"
    )


def _argument(layer: Any, name: str) -> Any:
    """What a constructor takes under this name."""
    value = getattr(layer, name)
    if name == "bias" and value is None:
        return False
    if isinstance(layer, layers.Conv1d) and isinstance(value, tuple):
        return value[1]  # of a pair with one row
    return value


def _make(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "tuple" in value:
        return tuple(_make(each) for each in value["tuple"])
    if "dict" in value:
        return {name: _make(each) for name, each in value["dict"].items()}
    name = value.get("class")
    if name not in KNOWN:
        raise ValueError(f"its class is {name!r}; this evsim knows {', '.join(sorted(KNOWN))}")
    return KNOWN[name](**{key: _make(each) for key, each in value.items() if key != "class"})
