"""NIR graphs -> evsim: a chain becomes a `Sequential`, any other graph a `Network`."""

import os
from dataclasses import replace
from typing import Any

import numpy as np

from evsim import checks, nir
from evsim.io.nir_file import DT, METHOD, MULTI_SPIKE, SUBTRACT, V_MIN, read_nir
from evsim.layers import Flatten, Layer, Linear, Recurrent
from evsim.neuron_checks import check_neurons
from evsim.neurons import NeuronModel
from evsim.nir_graph import NEURONS, PARAMETERS, SILENT, Edge, Vertex, flatten_graph
from evsim.nir_layers import scale_layer
from evsim.nir_network import NIRNetwork, delay_steps, make_network
from evsim.sequential import Sequential

__all__ = ["from_nir"]

RESETS = ("to_value", "subtract")
TARGETS = ("auto", "sequential", "network")
MS = 1000.0  # in a second

Models = dict[str, NeuronModel]


class _NoChainError(ValueError):
    """Why a graph cannot be a Sequential."""


def from_nir(
    graph: Any,
    dt: float | None = None,
    method: str | None = None,
    reset: str | None = None,
    to: str = "auto",
    backend: str = "auto",
    threads: int | None = None,
) -> Sequential | NIRNetwork:
    """Make a network of a NIR graph, on a grid of steps of dt.

    The input of a step (a value, or a number of spikes) is held for that step; see `evsim.nir` for the equations. A
    spike reaches all nodes behind it in its own step, but takes one step more along an edge of feedback, which closes
    a cycle, and what a Delay says, rounded to whole steps. A Delay of a step or more on a cycle needs no edge of
    feedback.

    A chain of layers and neurons, which may be recurrent (neurons, a Linear or Affine behind them, and back), becomes
    a Sequential. Every other graph becomes a Network: its populations carry the names of the nodes
    ("<subgraph>.<node>" within subgraphs), `inputs` and `outputs` hold those of Inputs and Outputs, `feedback` the
    edges of feedback. There only spikes go from node to node: I, LI and CubaLI can stand before an Output only; and
    the input is spikes: 0 to 255 in a step, injected by `add_current` or by spike sources connected without delay.

    Parameters
    ----------
    graph : path of a file, or nir.NIRGraph.
    dt : in the unit of the graph's time constants: seconds in NIR, steps (dt=1) in what sinabs writes. By default
        what the graph says, if evsim wrote it. The step of what is returned is 1000 dt, in ms.
    method : "exact" or "euler"; by default what the graph says, or "exact".
    reset : "to_value" (v = v_reset), or "subtract" (v = v - (v_threshold - v_reset)); by default what evsim wrote of
        a neuron, or "to_value".
    to : "sequential" or "network" instead of "auto".
    backend, threads : of a Sequential.

    Raises
    ------
    ImportError : the nir package is not installed.
    FileNotFoundError : no such file.
    ValueError : no NIR file, a node or an edge that cannot be, shapes that do not fit: names node and edge; or, with
        to="sequential" and "network", the node that hinders it.

    Source: Pedersen et al. 2024, Neuromorphic intermediate representation, Nature Communications 15, 8122.
    """
    for name, value, allowed in (("reset", reset, (None, *RESETS)), ("to", to, TARGETS)):
        if value not in allowed:
            raise ValueError(f"from_nir: {name} is {value!r}; it must be one of {', '.join(filter(None, allowed))}")
    if isinstance(graph, str | os.PathLike):
        graph = read_nir(graph)
    elif type(graph).__name__ != "NIRGraph":
        raise TypeError(f"from_nir: graph is {graph!r}; it must be a path or a nir.NIRGraph")
    told = graph.metadata if isinstance(graph.metadata, dict) else {}
    if dt is None and DT not in told:
        raise ValueError("from_nir: the graph does not say its dt; give dt= (--dt), in the unit of its time constants")
    dt = checks.number("from_nir", "dt", float(told[DT]) if dt is None else dt, 0.0, inclusive=False)
    method = str(told.get(METHOD, "exact")) if method is None else method
    if method not in nir.METHODS:
        raise ValueError(f"from_nir: method is {method!r}; it must be one of {', '.join(nir.METHODS)}")
    vertices, feedback = flatten_graph(graph, dt)
    models = {name: _neurons(v, dt, method, reset) for name, v in vertices.items() if v.kind in NEURONS}
    if to != "network":
        try:
            return _make_sequential(vertices, feedback, models, dt * MS, backend, threads)
        except _NoChainError as error:
            if to == "sequential":
                raise ValueError(f"from_nir: {error}, so that the graph cannot be a Sequential") from None
    return make_network(vertices, feedback, models, dt * MS)


def _neurons(vertex: Vertex, dt: float, method: str, reset: str | None) -> NeuronModel:
    """The neurons of a node, with one value of a parameter a unit, in C order."""
    if vertex.kind == "Threshold":
        model: NeuronModel = nir.Threshold(vertex.value("threshold"))
    else:
        values = {name: vertex.value(name) for name in PARAMETERS[vertex.kind]}
        if vertex.kind not in SILENT:
            values |= _beyond(values, vertex.node.metadata, reset)
        try:
            model = getattr(nir, vertex.kind)(dt=dt, method=method, **values)
        except ValueError as error:
            raise ValueError(f"{vertex.label}: {error}") from None
    check_neurons(vertex.label, model, vertex.size, dt)
    return model


def _beyond(values: dict[str, Any], told: dict[str, Any], reset: str | None) -> dict[str, Any]:
    """What neurons have beyond NIR's parameters: the reset asked for, and what evsim wrote."""
    more: dict[str, Any] = {}
    if reset == "subtract":
        more["subtract"] = np.asarray(values["v_threshold"], np.float64) - np.asarray(values["v_reset"], np.float64)
    elif reset is None and SUBTRACT in told:
        more["subtract"] = np.asarray(told[SUBTRACT])
    if V_MIN in told:
        more["v_min"] = np.asarray(told[V_MIN])
    more = {name: value.reshape(() if value.size == 1 else -1) for name, value in more.items()}
    return {**more, "multi_spike": MULTI_SPIKE in told}


def _make_sequential(
    vertices: dict[str, Vertex], feedback: set[Edge], models: Models, dt: float, backend: str, threads: int | None
) -> Sequential:
    """The chain from the one Input to the one Output; raises _NoChainError where there is none."""
    loops = _loops(vertices, feedback)
    inside = {name for _, back in loops.values() for name in back}
    (start, *others) = [name for name, vertex in vertices.items() if vertex.kind == "Input"]
    if others:
        raise _NoChainError(f"{vertices[others[0]].label} is a second Input")
    chain, at = [], start
    while vertices[at].kind != "Output":
        onward = [t for t in vertices[at].targets if t not in inside and (at, t) not in feedback]
        if len(onward) != 1:
            raise _NoChainError(f"{vertices[at].label} leads to {len(onward)} nodes, not one")
        at = onward[0]
        arriving = [s for s in vertices[at].sources if s not in inside and (s, at) not in feedback]
        if len(arriving) != 1:
            raise _NoChainError(f"{len(arriving)} edges lead to {vertices[at].label}, not one")
        chain.append(vertices[at])
    missing = vertices.keys() - inside - {vertex.name for vertex in chain} - {start}
    if missing:
        raise _NoChainError(f"{vertices[min(missing)].label} lies beside the chain from Input to Output")
    layers: list[Layer | NeuronModel] = []
    models = dict(models)
    for position, vertex in enumerate(chain[:-1]):
        layers += _layers_of(vertex, chain[position + 1], models, loops, dt / MS)
    if not layers:
        raise ValueError(f"graph: nothing lies between {vertices[start].label} and {vertices[at].label}")
    net = Sequential(*layers, dt=dt, backend=backend, threads=threads)
    shape = vertices[start].shape
    assert shape is not None
    net.begin(1, shape)  # the shapes are known: what does not fit is told now
    net.reset()
    return net


def _loops(vertices: dict[str, Vertex], feedback: set[Edge]) -> dict[str, tuple[Linear, list[str]]]:
    """For recurrent neurons: the connection back to them, and the nodes that it is."""
    loops: dict[str, tuple[Linear, list[str]]] = {}
    for source, target in sorted(feedback):
        back, neurons = vertices[source], vertices[target]
        assert back.shape is not None
        if back is neurons:
            connection = scale_layer(np.float32(1.0), back.shape)
        else:
            connection = scale_layer(back.value("scale"), back.shape) if back.kind == "Scale" else back.layer
        alone = back is neurons or (back.sources, back.targets) == ([target], [target])
        if not alone or neurons.kind not in NEURONS or not isinstance(connection, Linear) or target in loops:
            raise _NoChainError(f"the edge of feedback {source!r} -> {target!r} is no simple one, from neurons to them")
        if neurons.kind in SILENT:
            raise _NoChainError(f"{neurons.label} does not spike, but comes back to itself")
        loops[target] = connection, [] if back is neurons else [source]
    return loops


def _layers_of(
    vertex: Vertex, behind: Vertex, models: Models, loops: dict[str, tuple[Linear, list[str]]], dt: float
) -> list[Layer | NeuronModel]:
    """What a node is in a Sequential; a Scale is taken into the neurons behind it where they have a gain."""
    assert vertex.shape is not None
    if vertex.kind == "Scale":
        gain = next((name for name in ("w_in", "r") if hasattr(behind.node, name)), None)
        if behind.kind in NEURONS and gain is not None and behind.name not in loops:
            product = np.asarray(behind.value(gain), np.float64) * np.asarray(vertex.value("scale"), np.float64)
            models[behind.name] = replace(models[behind.name], **{gain: product})  # type: ignore[type-var]
            return []
        scaled = scale_layer(vertex.value("scale"), vertex.shape)
        if scaled is None:
            raise _NoChainError(f"{vertex.label} differs within a channel, and no neurons with r or w_in are behind it")
        return [scaled]
    if vertex.kind in NEURONS:
        neurons = models[vertex.name]
        return [Recurrent(neurons, loops[vertex.name][0])] if vertex.name in loops else [neurons]
    if vertex.kind == "Flatten":
        if len(vertex.shape) != 1:
            raise _NoChainError(f"{vertex.label} leaves more than one dimension, {vertex.shape}")
        return [] if vertex.shape_in == vertex.shape else [Flatten()]
    if vertex.kind == "Delay":
        if delay_steps(vertex, dt).any():
            raise _NoChainError(f"{vertex.label} delays by a step or more")
        return []
    assert vertex.layer is not None
    return [vertex.layer]
