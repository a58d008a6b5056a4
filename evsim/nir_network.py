"""A NIR graph as a `Network`: a population for each node of neurons, projections for all ways between them.

What lies between two nodes of neurons (Affine, Linear, Scale, convolutions, pools, Flatten, Delay) is multiplied out
into synapses with a weight and a delay each; a weight of 0 makes none. A bias is the synapses of one neuron that
spikes in every step.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.checks import DelayWarning
from evsim.connectivity import explicit
from evsim.layer_network import Readout, Relay
from evsim.layer_paths import Paths, connection_paths, pool_paths
from evsim.layers import Connection, Pool
from evsim.network import Network, Population
from evsim.neurons import Coefficients, NeuronModel, Values
from evsim.nir_graph import NEURONS, SILENT, Edge, Vertex
from evsim.step_neurons import StepNeuron

__all__ = ["Inlet", "NIRNetwork", "delay_steps", "make_network"]

BIAS = ""  # stands for the source of biases where populations are named


@dataclass(frozen=True, eq=False)
class Inlet(StepNeuron):
    """What spikes n times in the step in which its input is n: the place of an Input's spikes."""

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self.step(leak=0.0, jump=1.0, v_threshold=1.0, v_reset=0.0, soft=False, multi_spike=True)


class NIRNetwork(Network):
    """A Network made of a NIR graph (see `evsim.from_nir`).

    Attributes
    ----------
    inputs : {name: population} of the Inputs; give them spikes by `add_current(..., amplitude=x)`, x (T, n) with the
        number of spikes in each step, or connect spike sources to them with weight 1 and delay 0.
    outputs : {name: population} of the Outputs: the neurons before it, where these are one node; else neurons whose
        v is what arrives.
    feedback : edges (source, target) that take a step.
    """

    def __init__(self, dt: float) -> None:
        super().__init__(dt=dt)
        self.inputs: dict[str, Population] = {}
        self.outputs: dict[str, Population] = {}
        self.feedback: list[Edge] = []


def make_network(
    vertices: dict[str, Vertex], feedback: set[Edge], models: dict[str, NeuronModel], dt: float
) -> NIRNetwork:
    """The network of a flat graph, dt in ms."""
    network = NIRNetwork(dt)
    network.feedback = sorted(feedback)
    for vertex in vertices.values():
        if vertex.kind == "Input":
            network.inputs[vertex.name] = network.add_population(vertex.name, vertex.size, Inlet())
        elif vertex.kind in NEURONS:
            network.add_population(vertex.name, vertex.size, models[vertex.name])
    for vertex in vertices.values():
        if vertex.kind == "Output":
            single = [name for name in vertex.sources if vertices[name].kind in NEURONS]
            if len(vertex.sources) == 1 and single and (single[0], vertex.name) not in feedback:
                network.outputs[vertex.name] = network.populations[single[0]]
            else:
                network.outputs[vertex.name] = network.add_population(vertex.name, vertex.size, Readout())
    arriving = _arriving(vertices, feedback, dt / 1000.0)
    for population in list(network.populations.values()):
        for source, paths in arriving(population.name).items():
            _connect(network, source, population, paths)
    return network


def _arriving(vertices: dict[str, Vertex], feedback: set[Edge], dt: float) -> Any:
    """A function: the name of a node -> {population: all paths from it to the node}."""
    busy: list[str] = []

    @cache
    def arriving(name: str) -> dict[str, Paths]:
        found: dict[str, list[Paths]] = {}
        for source in vertices[name].sources:
            late = int((source, name) in feedback)
            for population, paths in leaving(source, name).items():
                later = Paths(paths.pre, paths.post, paths.weight, paths.n_targets, paths.delay + late)
                found.setdefault(population, []).append(later)
        return {population: _together(parts) for population, parts in found.items()}

    def leaving(name: str, target: str) -> dict[str, Paths]:
        vertex = vertices[name]
        if vertex.kind == "Input" or vertex.kind in NEURONS:
            if vertex.kind in SILENT:
                raise ValueError(
                    f"edge {name!r} -> {target!r}: {vertex.label} does not spike; in a Network only spikes go from "
                    "node to node, so that it can stand before an Output only; chains can be a Sequential"
                )
            return {name: _identity(vertex.size)}
        if name in busy:
            raise ValueError(f"{vertex.label}: it lies on a cycle without neurons, through {', '.join(busy)}")
        busy.append(name)
        own, bias = _own(vertex, dt)
        made = {population: own.behind(paths) for population, paths in arriving(name).items()}
        busy.pop()
        if bias is not None:
            made[BIAS] = _together([bias, *([made[BIAS]] if BIAS in made else [])])
        return made

    return arriving


def _own(vertex: Vertex, dt: float) -> tuple[Paths, Paths | None]:
    """What a node does to what enters it, and the paths of its bias."""
    layer, shape, n = vertex.layer, vertex.shape_in, vertex.size
    assert shape is not None
    if isinstance(layer, Connection):
        bias = None
        if layer.bias is not None:
            weight = np.repeat(layer.bias.astype(np.float64), n // layer.bias.size)
            bias = Paths(np.zeros(n, np.int64), np.arange(n), weight, n, np.zeros(n, np.int64))
        return connection_paths(layer, shape), bias
    if isinstance(layer, Pool):
        return pool_paths(layer, shape, layer.scale), None
    own = _identity(n)
    if vertex.kind == "Scale":
        own.weight = np.broadcast_to(np.asarray(vertex.value("scale"), np.float64), (n,))
    elif vertex.kind == "Delay":
        own.delay = delay_steps(vertex, dt)
    return own, None


def delay_steps(vertex: Vertex, dt: float) -> NDArray[np.int64]:
    """The delays of a Delay in whole steps."""
    delay = np.broadcast_to(np.asarray(vertex.value("delay"), np.float64), (vertex.size,))
    if not np.isfinite(delay).all() or (delay < 0.0).any():
        raise ValueError(
            f"{vertex.label}: delay is {delay.min():g} to {delay.max():g}; it must be finite and at least 0"
        )
    steps = np.rint(delay / dt)
    off = np.abs(steps * dt - delay) > 1e-5 * dt + 1e-6 * delay  # float32 holds no more
    if off.any():
        warnings.warn(
            f"{vertex.label}: delay {delay[off][0]:g} is not a multiple of dt = {dt:g} and becomes "
            f"{steps[off][0] * dt:g}",
            DelayWarning,
            stacklevel=2,
        )
    return steps.astype(np.int64)


def _identity(n: int) -> Paths:
    return Paths(np.arange(n), np.arange(n), np.ones(n), n, np.zeros(n, np.int64))


def _together(parts: list[Paths]) -> Paths:
    """Paths side by side."""
    if len(parts) == 1:
        return parts[0]
    delays = [np.broadcast_to(part.delay, part.pre.shape) for part in parts]
    return Paths(
        np.concatenate([part.pre for part in parts]),
        np.concatenate([part.post for part in parts]),
        np.concatenate([part.weight for part in parts]),
        parts[0].n_targets,
        np.concatenate(delays),
    )


def _connect(network: NIRNetwork, source: str, target: Population, paths: Paths) -> None:
    """The paths as projections: those without delay, and the others."""
    pre = _ticker(network) if source == BIAS else network.populations[source]
    delay = np.broadcast_to(paths.delay, paths.pre.shape)
    for late in (False, True):
        kept = ((delay > 0) == late) & (paths.weight != 0.0)
        if kept.any():
            rule = explicit(paths.pre[kept], paths.post[kept])
            ms = delay[kept] * network.dt if late else 0.0
            network.connect(pre, target, rule, weight=paths.weight[kept], delay=ms)


def _ticker(network: NIRNetwork) -> Population:
    """The neuron that spikes in every step."""
    found = [p for p in network.populations.values() if isinstance(p.model, Relay)]
    name = "bias"
    while name in network.populations and not found:
        name += "_"
    return found[0] if found else network.add_population(name, 1, Relay(bias=1.0))
