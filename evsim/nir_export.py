"""evsim -> NIR graphs, and what they cannot hold."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from evsim import checks, nir
from evsim.batch_build import BatchBuilt
from evsim.coefficients import resolve_parameters
from evsim.io.nir_file import DT, METHOD, nir_package, write_nir
from evsim.layers import Layer, Recurrent
from evsim.network import Network
from evsim.neurons import NeuronModel
from evsim.nir_inverse import Neurons, make_neurons
from evsim.nir_layers import make_node
from evsim.nir_projections import add_projections, neurons_of
from evsim.sequential import Sequential
from evsim.step_neurons import StepNeuron

__all__ = ["NIRWarning", "to_nir"]


class NIRWarning(UserWarning):
    """A NIR graph does not hold all of a network."""


def to_nir(
    net: Sequential | Network,
    path: str | os.PathLike[str] | None = None,
    dt: float | None = None,
    method: str | None = None,
    shape: Sequence[int] | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Any:
    """Make a NIR graph of a network, and write it to a file where a path is given.

    dt and method are how a reader must discretise the graph to get the network's own steps; they stand in the graph's
    metadata and in the file's group /evsim, where `from_nir` finds them. A network that `from_nir` makes of the graph
    then gives the same spikes. A spike is where v > v_threshold in NIR and v >= v_threshold in evsim: the graph has
    the next float32 below evsim's v_threshold.

    A layer becomes a node with its index as name, a recurrent connection "<index>_recurrent". Of a Network, each
    population becomes a node; each projection a Linear (its weights as a dense matrix) or a Scale (one to one), with
    a Delay for each delay it has; spike sources become Inputs, populations from which no projection leaves (all, if
    there are none) lead to Outputs "<name>_output".

    NIR has no refractory time, soft reset, several spikes in a step, lower bound of v, adaptive threshold, second
    receptor, initial v, STDP, winner, stimulus and sparse weights: a network that has any is written without, and one
    warning names all. Soft reset, several spikes in a step and the lower bound are kept in the node's metadata, which
    evsim alone reads. Weights that learn are those before they did; v that starts elsewhere than at 0 may differ in its
    last bit.

    Parameters
    ----------
    net : Sequential or Network
    path : of the file, optional.
    dt : step in the unit that the graph's time constants shall have; by default that of the network in seconds, or
        that of its `evsim.nir` neurons.
    method : "exact" or "euler"; by default that of the `evsim.nir` neurons, else the one with which the graph holds
        more, and "exact" where both hold the same.
    shape : of a sample of a Sequential; left out, that of the last call, or what a Linear as the first layer takes.
    strict : refuse what cannot be held instead of warning.
    overwrite : replace an existing file.

    Returns
    -------
    nir.NIRGraph

    Raises
    ------
    ImportError : the nir package is not installed.
    ValueError : a layer that NIR has not (MaxPool2d), neurons that it cannot describe; with strict, anything lost.
    FileExistsError : the file is there already.
    """
    package = nir_package()
    if isinstance(net, Sequential):
        sizes, built = net.compile_for("to_nir", shape)
        listed = _layer_neurons(net, built)
    elif isinstance(net, Network):
        listed = neurons_of(net)
    else:
        raise TypeError(f"to_nir: net is {net!r}; it must be a Sequential or a Network")
    dt, method = _grid(list(listed.values()), net.dt, dt, method)
    made = {key: make_neurons(package, neurons, dt, method) for key, neurons in listed.items()}
    lost = [f"{listed[key].owner}: {', '.join(words)}" for key, (_, words) in made.items() if words]
    nodes = {key: node for key, (node, _) in made.items()}
    if isinstance(net, Sequential):
        nodes, edges = _chain(package, net, sizes, nodes)
    else:
        nodes, edges, more = add_projections(package, net, nodes, dt)
        lost += more
    _tell(lost, strict)
    graph = package.NIRGraph(nodes, edges, metadata={DT: dt, METHOD: method}, type_check=False)
    if path is not None:
        write_nir(graph, path, dt, method, overwrite)
    return graph


def _layer_neurons(net: Sequential, built: BatchBuilt) -> dict[str, Neurons]:
    """The neurons of each layer that has some, by its index."""
    key = np.array([net.seed & 0xFFFFFFFF, net.seed >> 32], np.int64)
    listed = {}
    for number, node in enumerate(built.nodes, start=1):
        if node.neurons is not None:
            values = resolve_parameters(node.neurons, node.size, number, key)
            listed[str(node.layer)] = Neurons(node.label, node.neurons, values, node.shape, net.dt)
    return listed


def _grid(listed: list[Neurons], own_dt: float, dt: float | None, method: str | None) -> tuple[float, str]:
    """dt and method of the graph: those given, else those of NIR's own neurons, else what keeps most."""
    timed = [n for n in listed if type(n.model).__module__ == nir.__name__ and hasattr(n.model, "dt")]
    for neurons in timed:
        model: Any = neurons.model
        dt, method = model.dt if dt is None else dt, model.method if method is None else method
        if (model.dt, model.method) != (dt, method):
            raise ValueError(
                f"{neurons.owner}: its dt is {model.dt:g} and its method {model.method!r}; the graph's are {dt:g} and "
                f"{method!r}, and must be the same"
            )
    seconds = own_dt / 1000.0
    dt = seconds if dt is None else checks.number("to_nir", "dt", dt, 0.0, inclusive=False)
    if method not in (None, *nir.METHODS):
        raise ValueError(f"to_nir: method is {method!r}; it must be one of {', '.join(nir.METHODS)}")
    for neurons in listed:
        if not isinstance(neurons.model, StepNeuron) and not np.isclose(dt, seconds, rtol=1e-9):
            raise ValueError(
                f"{neurons.owner}: its time constants are in ms and a step is {own_dt:g} ms; dt is {dt:g} s, but must "
                f"be {seconds:g}"
            )
    return dt, method if method is not None else min(nir.METHODS, key=lambda each: _count_lost(listed, dt, each))


def _count_lost(listed: list[Neurons], dt: float, method: str) -> float:
    """How much is lost with a method; without end where it cannot be."""
    try:
        return sum(len(make_neurons(nir_package(), neurons, dt, method)[1]) for neurons in listed)
    except ValueError:
        return np.inf


def _chain(
    package: Any, net: Sequential, shape: tuple[int, ...], neurons: dict[str, Any]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges of a Sequential."""
    nodes = {"input": package.Input(np.array(shape))}
    edges: list[tuple[str, str]] = []
    before = "input"
    for index, layer in enumerate(net):
        name, owner = str(index), f"layer {index} ({type(layer).__name__})"
        if isinstance(layer, Recurrent | NeuronModel):
            nodes[name] = neurons[name]
        else:
            nodes[name] = make_node(package, owner, layer, shape)
        edges.append((before, name))
        if isinstance(layer, Recurrent):
            assert layer.connection is not None
            nodes[f"{name}_recurrent"] = make_node(package, owner, layer.connection, shape)
            edges += [(name, f"{name}_recurrent"), (f"{name}_recurrent", name)]
        shape = layer.output_shape(owner, shape) if isinstance(layer, Layer) else shape
        before = name
    nodes["output"] = package.Output(np.array(shape))
    return nodes, [*edges, (before, "output")]


def _tell(lost: list[str], strict: bool) -> None:
    if not lost:
        return
    text = "to_nir: NIR cannot hold: " + "; ".join(lost)
    if strict:
        raise ValueError(text)
    warnings.warn(text, NIRWarning, stacklevel=3)
