"""The populations and projections of a `Network` as nodes and edges of NIR."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.coefficients import resolve, resolve_parameters
from evsim.connectivity import ALL_TO_ALL, EXPLICIT, ONE_TO_ONE, SHARED
from evsim.distributions import Distribution
from evsim.layer_network import Readout, Relay
from evsim.network import Network, Population, Projection, SpikeSource
from evsim.nir_inverse import Neurons, narrow
from evsim.nir_network import Inlet, NIRNetwork
from evsim.simulation import Simulation

__all__ = ["add_projections", "neurons_of"]

MOST_ENTRIES = 2**27  # of a dense matrix

Entries = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]  # pre, post, weight, delay in steps
Edges = list[tuple[str, str]]


def neurons_of(network: Network) -> dict[str, Neurons]:
    """The populations that are neither Inputs, Outputs nor the source of biases."""
    key = np.array([network.seed & 0xFFFFFFFF, network.seed >> 32], np.int64)
    listed = {}
    for p, population in enumerate(network.populations.values()):
        model = population.model
        if isinstance(model, SpikeSource) or not _is_node(network, population):
            continue
        v = population.initial_v
        started = None if v is None else resolve(v, population.size, p, 0, key)
        values = resolve_parameters(model, population.size, p, key)
        listed[population.name] = Neurons(
            f"population {population.name!r}", model, values, (population.size,), network.dt, started
        )
    return listed


def add_projections(
    package: Any, network: Network, nodes: dict[str, Any], dt: float
) -> tuple[dict[str, Any], Edges, list[str]]:
    """All nodes and edges, and what they cannot hold; dt in the unit of the graph's time constants."""
    adder = _Adder(package, network, dict(nodes), dt)
    for population in network.populations.values():
        if _is_input(network, population):
            adder.nodes[population.name] = package.Input(np.array([population.size]))
        elif isinstance(population.model, Readout):
            adder.nodes[population.name] = package.Output(np.array([population.size]))
        if population.one_winner:
            adder.lost.append(f"population {population.name!r}: one winner")
    for projection in network.projections:
        adder.add(projection)
    adder.add_biases()
    adder.add_outputs()
    driven = [s for s in network.poissons if not _is_input(network, s.target.population)]
    adder.lost += [f"poisson {s.name!r}" for s in driven] + [f"current {s.name!r}" for s in network.currents]
    return adder.nodes, adder.edges, adder.lost


class _Adder:
    def __init__(self, package: Any, network: Network, nodes: dict[str, Any], dt: float) -> None:
        self.package, self.network, self.nodes, self.dt = package, network, nodes, dt
        self.edges: Edges = []
        self.lost: list[str] = []
        self.bias: dict[tuple[str, int], NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
        self.matrix: dict[tuple[str, int], str] = {}  # the first Linear that leads to a population after a delay
        self.simulation: Simulation | None = None

    def add(self, projection: Projection) -> None:
        """A Linear or Scale, and a Delay, for each delay of a projection."""
        source, target = projection.source.population, projection.target.population
        owner = f"projection {projection.name!r}"
        pre, post, weight, steps = self._entries(projection)
        pre, post = pre + projection.source.start, post + projection.target.start
        if _is_ticker(source):
            for late in np.unique(steps):
                chosen = steps == late
                bias = np.bincount(post[chosen], weight[chosen], target.size)
                self.bias[target.name, int(late)] = self.bias[target.name, int(late)] + bias
            return
        if projection.plasticity is not None:
            self.lost.append(f"{owner}: learning ({type(projection.plasticity).__name__})")
        if projection.receptor:
            self.lost.append(f"{owner}: its receptor, {list(target.model.receptors())[projection.receptor]!r}")  # type: ignore[union-attr]
        if target.size * source.size > MOST_ENTRIES:
            raise ValueError(
                f"{owner}: a dense matrix of {target.size} x {source.size} is too large for NIR; it must have at most "
                f"{MOST_ENTRIES} entries"
            )
        dense = False
        for late in np.unique(steps):
            chosen = steps == late
            part = pre[chosen], post[chosen], weight[chosen]
            dense |= self._branch(projection.name, source, target, *part, int(late))
        pairs = np.unique(pre * target.size + post).size
        regular = projection.rule.code in (ALL_TO_ALL, ONE_TO_ONE) or isinstance(self.network, NIRNetwork)
        if dense and not regular and pairs < len(projection.source) * len(projection.target):
            self.lost.append(f"{owner}: sparse weights ({projection.rule.name}; a dense matrix holds them)")

    def _branch(
        self, name: str, source: Population, target: Population, pre: Any, post: Any, weight: Any, late: int
    ) -> bool:
        """The synapses of one delay; returns whether they have become a matrix."""
        before = source.name
        each = np.arange(source.size)
        dense = source.size != target.size or not np.array_equal(pre, each) or not np.array_equal(post, each)
        if dense:
            matrix = np.zeros((target.size, source.size))
            np.add.at(matrix, (post, pre), weight)
            before = self._put(name, before, self.package.Linear(narrow(matrix)))
            self.matrix.setdefault((target.name, late), before)
        elif (weight != 1.0).any() or (late == 0 and (before, target.name) in self.edges):
            before = self._put(name, before, self.package.Scale(narrow(weight)))
        self._lead(name, before, target, late)
        return dense

    def _lead(self, name: str, before: str, target: Population, late: int) -> None:
        if late:
            delay = np.full(target.size, late * self.dt)
            before = self._put(f"{name} after {late}", before, self.package.Delay(delay))
        self.edges.append((before, target.name))

    def _put(self, name: str, before: str, node: Any) -> str:
        """Add a node behind another; returns its name, which is new."""
        name = name.replace("/", "|")  # which HDF5 would take for a group
        new, number = name, 1
        while new in self.nodes:
            number += 1
            new = f"{name} {number}"
        self.nodes[new] = node
        self.edges.append((before, new))
        return new

    def add_biases(self) -> None:
        """Biases join a Linear that leads to the same population after the same delay, or one of zeros."""
        for (name, late), bias in self.bias.items():
            target = self.network.populations[name]
            linear = self.matrix.get((name, late))
            if linear is not None:
                self.nodes[linear] = self.package.Affine(self.nodes[linear].weight, narrow(bias))
                continue
            start = next((p for p in self.network.populations.values() if _is_input(self.network, p)), None)
            if start is None:
                raise ValueError(
                    f"population {name!r}: it has a bias, but there is no Input that an Affine could follow"
                )
            zeros = np.zeros((target.size, start.size), np.float32)
            self._lead(
                name, self._put(f"{name} bias", start.name, self.package.Affine(zeros, narrow(bias))), target, late
            )

    def add_outputs(self) -> None:
        """An Output for each population that leads nowhere, or for all if none does; or as a NIRNetwork has them."""
        if isinstance(self.network, NIRNetwork):
            ends = {name: p for name, p in self.network.outputs.items() if name != p.name}
        else:
            leading = {a for a, _ in self.edges}
            neurons = [
                p for p in self.network.populations.values() if p.name in self.nodes and _is_node(self.network, p)
            ]
            last = [p for p in neurons if p.name not in leading]
            there = any(isinstance(p.model, Readout) for p in self.network.populations.values())
            ends = {f"{p.name}_output": p for p in (last if last or there else neurons)}
        for name, population in ends.items():
            self._put(name, population.name, self.package.Output(np.array([population.size])))

    def _entries(self, projection: Projection) -> Entries:
        """The synapses: as given where they are, else as they are drawn."""
        rule, weight, delay = projection.rule, projection.weight, projection.delay
        n_source, n_target = len(projection.source), len(projection.target)
        drawn = isinstance(weight, Distribution) or isinstance(delay, Distribution)
        if drawn or rule.code not in (ALL_TO_ALL, ONE_TO_ONE, EXPLICIT, SHARED):
            if self.simulation is None:
                self.simulation = Simulation(self.network, backend="cpu", threads=1)
            listed = self.simulation.synapses(projection)
            return listed.pre, listed.post, listed.weight, np.rint(listed.delay / self.network.dt).astype(int)
        if rule.code == EXPLICIT:
            assert rule.pre is not None
            assert rule.post is not None
            pre, post = rule.pre, rule.post
        elif rule.lists is not None:
            pre, post, entry = rule.lists.expand()
            weight = weight[entry] if weight.ndim else weight
        elif rule.code == ONE_TO_ONE:
            pre = post = np.arange(n_source)
        else:
            pre, post = (index.reshape(-1) for index in np.indices((n_source, n_target)))
        values = [np.broadcast_to(np.asarray(value, np.float64).reshape(-1), pre.shape) for value in (weight, delay)]
        here = np.ones(pre.size, bool)
        if rule.code in (ALL_TO_ALL, ONE_TO_ONE) and not rule.allow_autapses:
            same = projection.source.population is projection.target.population
            here = ~(same & (pre + projection.source.start == post + projection.target.start))
        steps = np.rint(values[1] / self.network.dt).astype(int)
        return pre[here], post[here], values[0][here], steps[here]


def _is_input(network: Network, population: Population) -> bool:
    """Spike sources of all kinds: explicit trains, a NIR graph's Inputs, Poisson sources."""
    if isinstance(population.model, SpikeSource | Inlet):
        return True
    drives = [s for s in network.poissons if s.target.population is population]
    return [s.name for s in drives] == [population.name]


def _is_node(network: Network, population: Population) -> bool:
    """Whether it is neurons: no Input, no Output, not the source of biases."""
    return not (_is_input(network, population) or isinstance(population.model, Readout) or _is_ticker(population))


def _is_ticker(population: Population) -> bool:
    """Whether it is the neuron that spikes in every step, the source of biases."""
    return isinstance(population.model, Relay) and population.model.bias >= 1.0
