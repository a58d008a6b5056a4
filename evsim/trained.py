"""What a network has learned, kept in a file and put into another one alike."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.build import Built
from evsim.io.weight_file import SavedProjection, read_weights, write_weights
from evsim.network import Network, Population, Projection
from evsim.synapse_list import Synapses
from evsim.weights import Weights


class Trained:
    """The plastic projections and adaptive thresholds of a simulation; see Simulation.save_weights."""

    def __init__(
        self, network: Network, built: Built, weights: Weights, synapses: Callable[[Projection], Synapses]
    ) -> None:
        self._built, self._weights, self._synapses = built, weights, synapses
        self._plastic = [q for q in network.projections[: built.n_synapses.size] if q.plasticity is not None]

    def save(
        self,
        path: str | os.PathLike[str],
        projections: Sequence[Projection] | None,
        step: int,
        dt: float,
        replace: bool,
    ) -> Path:
        """Write weights and thresholds as they are before `step`; returns the path."""
        saved = {}
        for name, projection in self._chosen("save_weights", projections).items():
            synapses = self._synapses(projection)
            saved[name] = SavedProjection(
                repr(projection.source),
                repr(projection.target),
                synapses.pre,
                synapses.post,
                synapses.delay,
                self._weights.read(projection, step),
            )
        theta = {p.name: self._theta(p).copy() for p in self._adaptive()}
        return write_weights(path, saved, theta, step * dt, replace)

    def load(self, path: str | os.PathLike[str], projections: Sequence[Projection] | None, step: int) -> None:
        """Take weights and thresholds from a file; nothing changes unless all of it fits."""
        found = read_weights(path)
        owner = f"load_weights: {Path(path).name}"
        chosen = self._chosen("load_weights", projections)
        _compare(owner, "projection", set(chosen), set(found.projections), projections is None)
        for name, projection in chosen.items():
            self._check(f"{owner}: projection {name!r}", projection, found.projections[name])
        adaptive = {p.name: p for p in self._adaptive()}
        _compare(owner, "adaptive thresholds of population", set(adaptive), set(found.theta), True)
        for name, population in adaptive.items():
            if found.theta[name].shape != (population.size,):
                raise ValueError(
                    f"{owner}: population {name!r} has {len(found.theta[name])} neurons in the file and "
                    f"{population.size} in the network"
                )
            checks.numbers(f"{owner}: population {name!r}", "theta", found.theta[name], (population.size,), 0.0)
        for name, projection in chosen.items():
            self._weights.write(projection, found.projections[name].weight, step)
        for name, population in adaptive.items():
            self._theta(population)[:] = found.theta[name]

    def _chosen(self, caller: str, given: Any) -> dict[str, Projection]:
        """Projections by name."""
        projections = self._plastic if given is None else list(given) if isinstance(given, list | tuple) else [given]
        for projection in projections:
            if not isinstance(projection, Projection):
                raise TypeError(f"{caller}: {projection!r} is given; it must be a projection, as connect returns it")
            if projection not in self._plastic:
                raise ValueError(
                    f"{caller}: projection {projection.name!r} does not belong to this simulation or has no plasticity"
                )
        chosen = {projection.name: projection for projection in projections}
        for projection in projections:
            if chosen[projection.name] is not projection:
                raise ValueError(
                    f"{caller}: two plastic projections are called {projection.name!r}; give each a name of its own"
                )
            if "/" in projection.name or projection.name.strip(".") == "":
                raise ValueError(f"{caller}: projection name {projection.name!r} cannot be an HDF5 name; give another")
        return chosen

    def _check(self, owner: str, projection: Projection, saved: SavedProjection) -> None:
        """Refuse weights of other synapses, or that the rule does not allow."""
        own = self._synapses(projection)
        for side, here, there in (
            ("source", repr(projection.source), saved.source),
            ("target", repr(projection.target), saved.target),
        ):
            if here != there:
                raise ValueError(f"{owner}: its {side} is {there} in the file and {here} in the network")
        if own.pre.size != saved.weight.size:
            raise ValueError(f"{owner} has {saved.weight.size} synapses in the file and {own.pre.size} in the network")
        for what in ("pre", "post", "delay"):
            here, there = getattr(own, what), getattr(saved, what)
            if not np.array_equal(here, there):
                at = int(np.flatnonzero(here != there)[0])
                raise ValueError(
                    f"{owner}: {what}[{at}] is {there[at]} in the file and {here[at]} in the network; both must be "
                    "built alike, with the same seed"
                )
        rule = projection.plasticity
        assert rule is not None
        good = (saved.weight >= np.float32(rule.w_min)) & (saved.weight <= np.float32(rule.w_max))
        if not good.all():
            at = int(np.flatnonzero(~good)[0])
            raise ValueError(
                f"{owner}: weight[{at}] is {saved.weight[at]:g}; it must lie between w_min = {rule.w_min:g} and "
                f"w_max = {rule.w_max:g}"
            )

    def _adaptive(self) -> list[Population]:
        """Populations whose thresholds adapt."""
        adapts = self._built.model.population_theta[:, 0] != 0.0
        return [p for p, adaptive in zip(self._built.layout.populations, adapts, strict=True) if adaptive]

    def _theta(self, population: Population) -> NDArray[np.float64]:
        first = self._built.layout.population_start[self._built.layout.index(population)]
        return self._built.state.neuron_theta[first : first + population.size]


def _compare(owner: str, what: str, here: set[str], there: set[str], all_of_them: bool) -> None:
    """Refuse what the network has and the file lacks, or, where all are asked for, the other way round."""
    missing, extra = sorted(here - there), sorted(there - here) if all_of_them else []
    if missing:
        raise ValueError(
            f"{owner}: {what} {missing[0]!r} of the network is not in the file, which has "
            f"{', '.join(map(repr, sorted(there))) or 'none'}"
        )
    if extra:
        raise ValueError(
            f"{owner}: {what} {extra[0]!r} of the file is not in the network, which has "
            f"{', '.join(map(repr, sorted(here))) or 'none'}"
        )
