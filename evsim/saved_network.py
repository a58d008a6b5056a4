"""Layered networks from files, and their parameters from and to PyTorch's state dicts."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.io.network_file import read_network
from evsim.layer_description import make_layers
from evsim.layers import Recurrent
from evsim.neurons import NeuronModel
from evsim.sequential import Sequential
from evsim.training.eventprop import EventSequential

__all__ = ["from_state_dict", "load_network", "to_state_dict"]

# What peers' neurons keep in a state dict beside their parameters: states, and what must have the value given here.
STATES = frozenset({"v", "v_mem", "i_syn", "b", "mem", "syn", "n_spikes"})
FIXED = {"graded_spikes_factor": 1.0}


def load_network(
    path: str | os.PathLike[str], threads: int | None = None, backend: str = "auto"
) -> Sequential | EventSequential:
    """The `Sequential` or `EventSequential` that `save` wrote: the same layers and parameters, exactly, in a new state.

    Parameters
    ----------
    path : an HDF5 file.
    threads, backend : as of `Sequential`; an EventSequential runs on the CPU.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : another kind of file, a class that this evsim does not know, parameters of a wrong shape.
    """
    description = read_network(path)
    try:
        made = make_layers(description["layers"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if "duration" in description:
        made_with = {name: description[name] for name in ("duration", "output", "seed")}
        return EventSequential(*made, **made_with, threads=threads)
    return Sequential(*made, dt=description["dt"], seed=description["seed"], threads=threads, backend=backend)


def to_state_dict(net: Sequential, prefix: str = "") -> dict[str, Any]:
    """The parameters of a network as PyTorch's tensors, "<prefix><layer>.weight" and so on: for load_state_dict.

    Raises
    ------
    ImportError : torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("tensors need torch: pip install 'evsim[torch]'") from error
    return {prefix + name: torch.from_numpy(value.copy()) for name, value in net.parameters().items()}


def from_state_dict(net: Sequential, state: Mapping[str, Any], prefix: str = "") -> None:
    """Take the parameters of a network from a PyTorch state dict; nothing changes unless all of it fits.

    Names are "<prefix><layer>.weight" with the layer's index, as torch.nn.Sequential has them. The weights of all
    layers must be there. Constants of neurons are taken too where the state dict has them (snnTorch's and sinabs' have:
    "1.beta", "1.tau_mem"), also where they are not learned; states of neurons are left out. sinabs' rec_connect is
    connection here.

    Parameters
    ----------
    net : with the layers in the same places.
    state : tensors or arrays by name.
    prefix : only what begins with it is taken: "layer." for a torch.nn.Sequential that a module has as `layer`.

    Raises
    ------
    KeyError : a weight is missing, or a name belongs to nothing. ValueError : a wrong shape or value.
    """
    own = net.parameters()
    taken: dict[str, NDArray[Any]] = {}
    constants: dict[int, dict[str, Any]] = {}
    for given_name, value in state.items():
        if not given_name.startswith(prefix):
            continue
        name = given_name[len(prefix) :].replace("rec_connect.", "connection.")
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        index, _, attribute = name.partition(".")
        neurons = _neurons(net, index)
        if name in own:
            if array.size != own[name].size:
                raise ValueError(f"from_state_dict: {given_name} has shape {array.shape}; it must be {own[name].shape}")
            taken[name] = array.reshape(own[name].shape) if own[name].ndim == 0 else array
        elif neurons is not None and (_is_field(neurons, attribute) or attribute in neurons.learnable):
            constants.setdefault(int(index), {})[attribute] = array
        elif neurons is not None and attribute in FIXED:
            if (array != FIXED[attribute]).any():
                raise ValueError(f"from_state_dict: {given_name} is {array}; it must be {FIXED[attribute]:g}")
        elif neurons is not None and attribute == "reset_mechanism_val":
            _check_reset(given_name, neurons, int(array))
        elif neurons is None or attribute not in STATES:
            raise KeyError(f"from_state_dict: {given_name} belongs to no layer of the network")
    missing = [name for name in own if name not in taken and name.split(".")[-1] in ("weight", "bias")]
    if missing:
        raise KeyError(f"from_state_dict: {prefix + missing[0]} is missing; there are {', '.join(state) or 'none'}")
    before = net.parameters()
    try:
        net.load_parameters(taken)
    except ValueError:
        net.load_parameters(before)
        raise
    for place, values in constants.items():
        layer = net.layers[place]
        if isinstance(layer, Recurrent):
            layer.neurons = layer.neurons.with_learned(values)
        elif isinstance(layer, NeuronModel):
            net.layers[place] = layer.with_learned(values)


def _neurons(net: Sequential, index: str) -> NeuronModel | None:
    """The neurons of the layer with this index, where it has some."""
    layer = net.layers[int(index)] if index.isdigit() and int(index) < len(net) else None
    neurons = layer.neurons if isinstance(layer, Recurrent) else layer
    return neurons if isinstance(neurons, NeuronModel) else None


def _is_field(neurons: Any, attribute: str) -> bool:
    return attribute in [field.name for field in fields(neurons)]


def _check_reset(name: str, neurons: Any, value: int) -> None:
    """Refuse snnTorch's neurons with another reset."""
    mechanisms = "subtract", "zero", "none"
    if mechanisms[value] != neurons.reset_mechanism:
        raise ValueError(
            f"from_state_dict: {name} is {value} ({mechanisms[value]}); the network's is {neurons.reset_mechanism!r}"
        )
