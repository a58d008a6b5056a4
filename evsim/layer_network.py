"""Layers as part of a `Network`: populations, and projections without delay whose weights are listed one by one.

Pools are folded into the next layer's synapses; a MaxPool2d becomes a population of its own, whose neurons spike in
the step in which one of their window does; biases become the synapses of one neuron that spikes in every step. Each
population's fixed-point unit is the batch engine's, so that the spikes are the same, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evsim import batch_model as bm
from evsim.batch_build import Node, build_batch
from evsim.connectivity import all_to_all, explicit, one_to_one
from evsim.layer_paths import Paths, connection_paths, pool_paths
from evsim.layers import Connection, Layer, Linear, MaxPool2d, Pool, Recurrent
from evsim.network import Network, Population, Slice
from evsim.neurons import Coefficients, NeuronModel, Values
from evsim.step_neurons import StepNeuron


@dataclass(frozen=True, eq=False)
class Readout(StepNeuron):
    """What gives its input of the step as v, and never spikes:  v <- x."""

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self.step(leak=0.0, jump=1.0, v_threshold=np.inf, v_reset=0.0, soft=False)


@dataclass(frozen=True, eq=False)
class Relay(StepNeuron):
    """What spikes in the step in which its input, with `bias` added, reaches 1."""

    bias: float = 0.0

    def coefficients(self, values: Values, dt: float) -> Coefficients:
        """The constants of a step."""
        return self.step(leak=0.0, jump=1.0, v_threshold=1.0, v_reset=0.0, soft=False, drive=values["bias"])


def add_layers(
    network: Network,
    name: str,
    layers: Sequence[Layer | NeuronModel],
    shape: tuple[int, ...],
    source: Population | Slice,
    seed: int,
) -> list[Population]:
    """Add layers behind `source`, whose neurons are the units of `shape` in C order; returns the populations made."""
    if len(source) != np.prod(shape):
        raise ValueError(f"{name}: source {source!r} has {len(source)} neurons; shape {shape} wants {np.prod(shape)}")
    nodes = {node.layer: node for node in build_batch(layers, shape, network.dt, seed).nodes}
    adder = _Adder(network, name, source)
    for index, layer in enumerate(layers):
        adder.add(index, layer, nodes.get(index), shape)
        shape = layer.output_shape("", shape) if isinstance(layer, Layer) else shape
    return adder.finish(len(layers) - 1, nodes)


class _Adder:
    """Adds layers one after another; pools and connections wait for the neurons behind them."""

    def __init__(self, network: Network, name: str, source: Population | Slice) -> None:
        self.network, self.name = network, name
        self.before = source
        self.path: Paths | None = None  # from `before` to what reaches the next layer
        self.waiting: Connection | None = None
        self.made: list[Population] = []

    def add(self, index: int, layer: Layer | NeuronModel, node: Node | None, shape: tuple[int, ...]) -> None:
        """Take in the next layer, which units of `shape` enter."""
        if isinstance(layer, Connection | Pool) and self.waiting is not None:
            raise ValueError(
                f"layer {index} ({type(layer).__name__}): what enters it are sums, not spikes; in a network neurons "
                "must stand before it"
            )
        if isinstance(layer, MaxPool2d):
            self._add_maximum(index, layer, shape)
        elif isinstance(layer, Pool):
            self.path = _chain(pool_paths(layer, shape, layer.scale), self.path)
        elif isinstance(layer, Connection):
            self.waiting = layer
            self.path = _chain(connection_paths(layer, shape), self.path)
        elif isinstance(layer, Recurrent):
            self._add_neurons(index, layer.neurons, node, layer.connection)
        elif isinstance(layer, NeuronModel):
            self._add_neurons(index, layer, node)

    def finish(self, last: int, nodes: dict[int, Node]) -> list[Population]:
        """The populations; a last layer that has no neurons gets some to read it out."""
        if self.path is not None:
            self._add_neurons(last, Readout(), nodes.get(last))
        return self.made

    def _add_neurons(self, index: int, model: NeuronModel, node: Node | None, back: Linear | None = None) -> None:
        name = f"{self.name}.{index}"
        n = len(self.before) if self.path is None else int(self.path.n_targets)
        population = self.network.add_population(name, n, model)
        if node is not None and node.row[bm.KIND] != bm.POOL:
            population = replace(population, input_unit=node.unit)
            self.network.populations[name] = population
        self._join(population)
        bias = None if self.waiting is None else self.waiting.bias
        back_bias = None if back is None else back.bias
        if bias is not None or back_bias is not None:
            ticker = self.network.add_population(f"{name}.bias", 1, Relay(bias=1.0))
            for each, delay in ((bias, 0.0), (back_bias, self.network.dt)):
                if each is not None:
                    weight = np.repeat(each, n // each.size).reshape(1, n)
                    self.network.connect(ticker, population, all_to_all(), weight=weight, delay=delay)
        if back is not None:
            self.network.connect(population, population, all_to_all(), weight=back.weight.T, delay=self.network.dt)
        self.before, self.path, self.waiting = population, None, None
        self.made.append(population)

    def _add_maximum(self, index: int, layer: MaxPool2d, shape: tuple[int, ...]) -> None:
        whole = self.before if isinstance(self.before, Population) else self.before.population
        if whole.multi_spike:
            raise ValueError(
                f"layer {index} (MaxPool2d): in a network its neurons spike once a step at most, but those before it "
                "can spike several times; use a SumPool2d or an AvgPool2d, or neurons of one spike"
            )
        self.path = _chain(pool_paths(layer, shape, 1.0), self.path)
        population = self.network.add_population(f"{self.name}.{index}", self.path.n_targets, Relay())
        self.path.weight[:] = 1.0
        self._join(population)
        self.before, self.path = population, None

    def _join(self, population: Population) -> None:
        """Synapses without delay from what is before to a population."""
        path = self.path
        if path is None:
            self.network.connect(self.before, population, one_to_one(), weight=1.0, delay=0.0)
        else:
            rule = explicit(path.pre, path.post)
            self.network.connect(self.before, population, rule, weight=path.weight, delay=0.0)


def _chain(paths: Paths, before: Paths | None) -> Paths:
    return paths if before is None else paths.behind(before)
