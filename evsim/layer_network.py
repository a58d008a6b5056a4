"""Layers as part of a `Network`: populations, and projections without delay.

A convolution's sources share its weights, a linear layer's have one run of targets. Pools are folded into the next
layer's synapses; a MaxPool2d becomes a population of its own, whose neurons spike in the step in which one of their
window does; biases become the synapses of one neuron that spikes in every step. Each population's fixed-point unit is
the batch engine's, so that the spikes are the same, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evsim import batch_model as bm
from evsim.batch_build import Node, build_batch
from evsim.connectivity import Rule, all_to_all, one_to_one, shared
from evsim.distributions import Distribution
from evsim.layer_rows import shared_lists
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
        self.shape: tuple[int, ...] = ()  # in which `before` enters the first pool or connection that waits
        self.pools: list[Pool] = []
        self.waiting: Connection | None = None
        self.made: list[Population] = []

    def add(self, index: int, layer: Layer | NeuronModel, node: Node | None, shape: tuple[int, ...]) -> None:
        """Take in the next layer, which units of `shape` enter."""
        if isinstance(layer, Connection | Pool) and self.waiting is not None:
            raise ValueError(
                f"layer {index} ({type(layer).__name__}): what enters it are sums, not spikes; in a network neurons "
                "must stand before it"
            )
        if isinstance(layer, Connection | Pool) and not self.pools:
            self.shape = shape
        if isinstance(layer, MaxPool2d):
            self._add_maximum(index, layer)
        elif isinstance(layer, Pool):
            self.pools.append(layer)
        elif isinstance(layer, Connection):
            self.waiting = layer
        elif isinstance(layer, Recurrent):
            self._add_neurons(index, layer.neurons, node, layer.connection)
        elif isinstance(layer, NeuronModel):
            self._add_neurons(index, layer, node)

    def finish(self, last: int, nodes: dict[int, Node]) -> list[Population]:
        """The populations; a last layer that has no neurons gets some to read it out."""
        if self.pools or self.waiting is not None:
            self._add_neurons(last, Readout(), nodes.get(last))
        return self.made

    def _add_neurons(self, index: int, model: NeuronModel, node: Node | None, back: Linear | None = None) -> None:
        name = f"{self.name}.{index}"
        rule, weight, n = self._synapses()
        population = self.network.add_population(name, n, model if node is None else _as_drawn(model, node))
        if node is not None and node.row[bm.KIND] != bm.POOL:
            population = replace(population, input_unit=node.unit)
            self.network.populations[name] = population
        self.network.connect(self.before, population, rule, weight=weight, delay=0.0)
        bias = None if self.waiting is None else self.waiting.bias
        back_bias = None if back is None else back.bias
        if bias is not None or back_bias is not None:
            ticker = self.network.add_population(f"{name}.bias", 1, Relay(bias=1.0))
            for each, delay in ((bias, 0.0), (back_bias, self.network.dt)):
                if each is not None:
                    weight = np.repeat(each, n // each.size).reshape(1, n)
                    self.network.connect(ticker, population, all_to_all(), weight=weight, delay=delay)
        if back is not None:
            weight = np.ascontiguousarray(back.weight.T)
            self.network.connect(population, population, all_to_all(), weight=weight, delay=self.network.dt)
        self.before, self.pools, self.waiting = population, [], None
        self.made.append(population)

    def _add_maximum(self, index: int, layer: MaxPool2d) -> None:
        whole = self.before if isinstance(self.before, Population) else self.before.population
        if whole.multi_spike or self.pools:
            what = "a pool before it sums spikes" if self.pools else "those before it can spike several times"
            raise ValueError(
                f"layer {index} (MaxPool2d): in a network its neurons spike once a step at most, but {what}; use a "
                "SumPool2d or an AvgPool2d, or neurons of one spike right before it"
            )
        self.pools.append(layer)
        rule, _, n = self._synapses()
        population = self.network.add_population(f"{self.name}.{index}", n, Relay())
        self.network.connect(self.before, population, rule, weight=1.0, delay=0.0)
        self.before, self.pools = population, []

    def _synapses(self) -> tuple[Rule, Any, int]:
        """From what is before through what waits: the rule, its weights, and the number of targets."""
        if self.waiting is None and not self.pools:
            return one_to_one(), 1.0, len(self.before)
        if isinstance(self.waiting, Linear) and not self.pools:
            return all_to_all(), np.ascontiguousarray(self.waiting.weight.T), self.waiting.out_features
        lists, weight, n_targets = shared_lists(self.pools, self.waiting, self.shape)
        name = "pool" if self.waiting is None else "convolution"
        return shared(name, lists, n_targets), weight, n_targets


def _as_drawn(model: NeuronModel, node: Node) -> NeuronModel:
    """The neurons with the values that the layers' own seed gives to parameters that are distributions."""
    changed: dict[str, Any] = {}
    for name, value in model.parameters().items():
        if isinstance(value, Distribution):
            field, _, receptor = name.partition(".")
            drawn = np.empty(node.size)
            drawn[node.order] = node.values[name]
            changed[field] = {receptor: drawn} if isinstance(getattr(model, field), Mapping) else drawn
    return replace(model, **changed) if changed else model  # type: ignore[type-var]
