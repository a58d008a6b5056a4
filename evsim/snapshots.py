"""Weights of plastic projections as results of a run: chosen, taken, handed to where recorded data go."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.io.recording import WeightHistory, WeightSpec, step_times
from evsim.network import Network, Projection
from evsim.recorder import MemorySink, Sink
from evsim.synapse_list import Synapses
from evsim.weights import Weights


class Snapshots:
    """The synapses whose weights are recorded.

    Parameters
    ----------
    given : a projection, a list of them, or {projection: indices in the order of Simulation.synapses}.
    n_synapses : of each projection of the network.
    """

    def __init__(self, network: Network, n_synapses: NDArray[np.int64], weights: Weights, given: Any) -> None:
        self._weights = weights
        self._last = -1
        chosen = given if isinstance(given, Mapping) else dict.fromkeys(_listed(given))
        self.chosen = {q: _indices(network, n_synapses, q, synapses) for q, synapses in chosen.items()}
        names = [projection.name for projection in self.chosen]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(
                f"record: weights of two projections called {min(twice)!r} are asked for; give each a name of its own"
            )

    def spec(self, projection: Projection, synapses: Synapses) -> WeightSpec:
        """What a recording says of a projection; `synapses` are all of it."""
        own = self.chosen[projection]
        return WeightSpec(
            projection.name,
            repr(projection.source),
            repr(projection.target),
            synapses.pre[own],
            synapses.post[own],
            synapses.delay[own],
            own,
        )

    def take(self, step: int, sink: Sink) -> None:
        """Hand over the weights as they are before `step`, once a step."""
        if step == self._last:
            return
        self._last = step
        for projection, own in self.chosen.items():
            sink.write_weights(projection.name, step, self._weights.read(projection, step, own))

    def history(self, projection: Projection, synapses: Synapses, sink: MemorySink, dt: float) -> WeightHistory:
        """What is kept in memory."""
        own = self.chosen[projection]
        taken = sink.weights.get(projection.name, [])
        times = step_times(np.array([step for step, _ in taken], np.int64), dt)
        values = np.concatenate([np.zeros((0, own.size), np.float32), *(values[None] for _, values in taken)])
        return WeightHistory(times, synapses.pre[own], synapses.post[own], synapses.delay[own], values, own)


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _indices(network: Network, n_synapses: NDArray[np.int64], projection: Any, given: Any) -> NDArray[np.int64]:
    """The chosen synapses of a projection; refuses what cannot be recorded."""
    if not isinstance(projection, Projection):
        raise TypeError(f"record: weights: {projection!r} is given; it must be a projection, as connect returns it")
    owner = f"record: projection {projection.name!r}"
    if projection not in network.projections[: n_synapses.size]:
        raise ValueError(f"{owner} does not belong to this network, or came after it was built")
    if projection.plasticity is None:
        raise ValueError(f"{owner} has no plasticity; its weights stay as Simulation.synapses gives them")
    n = int(n_synapses[projection.index])
    chosen = np.arange(n) if given is None else checks.indices(owner, "weights", given, n)
    if not chosen.size:
        raise ValueError(f"{owner}: no synapse is chosen; there are {n}")
    return chosen
