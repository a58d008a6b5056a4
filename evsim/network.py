"""What the user writes: populations, projections, stimuli. Description only; `build` makes arrays of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evsim import checks
from evsim.connectivity import ALL_TO_ALL, SHARED, Rule, from_sparse
from evsim.distributions import Distribution
from evsim.neuron_checks import check_neurons, describe
from evsim.neurons import IAF, NeuronModel
from evsim.plasticity import PairSTDP

__all__ = ["Current", "Network", "Poisson", "Population", "Projection", "Slice", "SpikeSource"]


@dataclass(frozen=True, eq=False)
class SpikeSource:
    """A population that spikes when it is told to: explicit trains, sorted by step and then id."""

    steps: NDArray[np.int64]
    ids: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one model. Index it for a slice: `exc[:100]`, `exc[7]`."""

    name: str
    size: int
    model: NeuronModel | SpikeSource
    initial_v: Any = None
    one_winner: bool = False
    multi_spike: bool = False  # neurons can spike several times in a step
    input_unit: float | None = None  # of fixed-point input, where it is given: that of a layer

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice | int) -> "Slice":
        return self.all()[key]

    def parameters(self) -> dict[str, Any]:
        """The model's parameters: numbers, or words for what differs between neurons."""
        if isinstance(self.model, SpikeSource):
            return {"spikes": int(self.model.steps.size)}
        return {name: describe(value) for name, value in self.model.parameters().items()}

    def all(self) -> "Slice":
        """The whole population as a slice."""
        return Slice(self, 0, self.size)

    def __repr__(self) -> str:
        return f"<population {self.name!r}: {self.size} {type(self.model).__name__}>"


@dataclass(frozen=True)
class Slice:
    """Neurons [start, stop) of a population."""

    population: Population
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, key: slice | int) -> "Slice":
        owner = f"population {self.population.name!r}"
        if isinstance(key, int | np.integer):
            if not -len(self) <= key < len(self):
                raise IndexError(f"{owner}: index {key} is outside [0, {len(self)})")
            first = self.start + int(key) % len(self)
            return Slice(self.population, first, first + 1)
        if not isinstance(key, slice):
            raise TypeError(f"{owner}: index is {key!r}; it must be a whole number or a slice")
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise ValueError(f"{owner}: slice step is {step}; it must be 1")
        return Slice(self.population, self.start + start, self.start + max(start, stop))

    def overlap(self, other: "Slice") -> int:
        """How many neurons lie in both slices."""
        if self.population is not other.population:
            return 0
        return max(0, min(self.stop, other.stop) - max(self.start, other.start))

    def __repr__(self) -> str:
        whole = len(self) == self.population.size
        return self.population.name if whole else f"{self.population.name}[{self.start}:{self.stop}]"


Target = Population | Slice


@dataclass(frozen=True, eq=False)
class Projection:
    """All synapses of one `connect` from one population (or slice) to another."""

    name: str
    index: int
    source: Slice
    target: Slice
    rule: Rule
    weight: Any  # float64 scalar or array in the rule's shape, or a Distribution
    delay: Any  # ms, likewise
    receptor: int
    plasticity: PairSTDP | None = None

    @property
    def same_step(self) -> bool:
        """Whether its spikes arrive in the step in which they are emitted: its delay is 0."""
        return not isinstance(self.delay, Distribution) and self.delay.ndim == 0 and float(self.delay) == 0.0

    @property
    def dense(self) -> bool:
        """Whether every source goes to every target once, over one delay."""
        every = self.rule.code == ALL_TO_ALL and (self.rule.allow_autapses or self.source.overlap(self.target) == 0)
        return every and not isinstance(self.delay, Distribution) and self.delay.ndim == 0

    @property
    def shares_rows(self) -> bool:
        """Whether its sources have lists of targets in common; a weight that learns is each synapse's own."""
        return self.plasticity is None and (self.dense or self.rule.code == SHARED)

    def expected_synapses(self) -> float:
        """The number of synapses (for pairwise_bernoulli its mean)."""
        return self.rule.expected_synapses(len(self.source), len(self.target), self.source.overlap(self.target))


@dataclass(frozen=True, eq=False)
class Poisson:
    """Independent Poisson trains, one for each target neuron, with piecewise constant rates."""

    name: str
    index: int
    target: Slice
    change_steps: NDArray[np.int64]  # (n_intervals,) first step of each interval
    rates: NDArray[np.float64]  # Hz, (n_intervals, 1) or (n_intervals, n_targets)
    weight: float
    receptor: int


@dataclass(frozen=True, eq=False)
class Current:
    """A piecewise constant current into each target neuron."""

    name: str
    target: Slice
    change_steps: NDArray[np.int64]
    amplitudes: NDArray[np.float64]  # (n_intervals, 1) or (n_intervals, n_targets)


class Network:
    """A spiking network, described.

    Parameters
    ----------
    dt : float
        Step of the time grid, ms.
    seed : int
        Seed of everything random: connections, weights, delays, initial values, Poisson trains. The same
        network and seed give the same spikes on any backend and with any number of threads. In [0, 2^64).
    """

    def __init__(self, dt: float = 0.1, seed: int = 0) -> None:
        self.dt = checks.number("network", "dt", dt, 0.0, inclusive=False, unit="ms")
        self.seed = checks.size("network", "seed", seed, high=2**64 - 1)
        self.populations: dict[str, Population] = {}
        self.projections: list[Projection] = []
        self.poissons: list[Poisson] = []
        self.currents: list[Current] = []

    def add_population(
        self, name: str, n: int, model: NeuronModel, v: Any = None, one_winner: bool = False
    ) -> Population:
        """Add `n` neurons of `model`; `v` is their initial membrane potential.

        Parameters
        ----------
        name : str
            Unique in the network; the name in recordings.
        n : int
            Number of neurons, at least 1.
        model : a neuron model such as LIF or IAF
            With one value of a parameter for all, or one for each of the n neurons.
        v : number, array (n,) or distribution, optional
            mV; by default v_leak (LIF) or 0 (IAF).
        one_winner : bool
            Winner takes all: of the neurons that reach their threshold in a step only the one furthest above it
            spikes (of equal ones the first); the others are reset without a spike.
        """
        if not isinstance(model, NeuronModel):
            raise TypeError(f"population {name!r}: model is {model!r}; it must be a neuron model such as evsim.LIF")
        owner = self._new_name(name)
        n = checks.size(owner, "n", n, low=1)
        check_neurons(owner, model, n, self.dt)
        if v is not None and not isinstance(v, Distribution):
            v = checks.numbers(owner, "v", v, (n,), unit="mV")
        multi_spike = _is_multi_spike(owner, model, self.dt, one_winner)
        return self._add(Population(name, n, model, v, bool(one_winner), multi_spike))

    def add_spike_source(self, name: str, n: int, ids: Any, times: Any) -> Population:
        """Add `n` sources that emit explicit spike trains: source ids[k] spikes at times[k].

        Parameters
        ----------
        name : str
            Unique in the network; the name in recordings.
        n : int
            Number of sources, at least 1.
        ids : array of int
            In [0, n).
        times : array of float
            ms, multiples of dt, ascending for each source and at most one a step. A spike at t over a delay d
            arrives at t + d.
        """
        owner = self._new_name(name)
        n = checks.size(owner, "n", n, low=1)
        return self._add(Population(name, n, SpikeSource(*checks.spike_steps(owner, ids, times, n, self.dt))))

    def add_poisson_source(self, name: str, n: int, rate: Any, times: Any = None) -> Population:
        """Add `n` sources that spike at random: in a step with probability 1 - exp(-rate * dt), as a Poisson train has.

        They are IAF neurons that each spike of a Poisson stimulus of the same name drives over their threshold.

        Parameters
        ----------
        name : str
            Unique in the network; the name in recordings, and of the stimulus for `Simulation.set_rate`.
        n : int
            Number of sources, at least 1.
        rate, times :
            Hz and ms, as in `add_poisson`.
        """
        sources = self.add_population(name, n, IAF(v_threshold=1.0, v_reset=0.0))
        try:
            self.add_poisson(name, sources, rate, weight=1.0, times=times)
        except (TypeError, ValueError):
            del self.populations[name]
            raise
        return sources

    def add_poisson(
        self,
        name: str,
        target: Target | Sequence[Target],
        rate: Any,
        weight: float,
        times: Any = None,
        receptor: str | None = None,
    ) -> None:
        """Drive each target neuron with its own Poisson train.

        Parameters
        ----------
        name : str
            What messages call it.
        target : population, slice, or a list of them
            Who is driven.
        rate : number or array
            Hz. One number; an array (n_targets,); with `times`, an array (n_times,) or (n_times, n_targets).
        weight : float
            As a synaptic weight of the receptor.
        times : array, optional
            ms, ascending multiples of dt: rate[k] holds from times[k] until times[k + 1]; it is 0 before.
        receptor : str, optional
            As in `connect`.
        """
        owner = f"poisson {_checked_name('poisson', name)!r}"
        weight = float(checks.weight(owner, checks.number(owner, "weight", weight), ()))
        made: list[Poisson] = []
        for part in self._slices(owner, "target", target):
            steps, rates = self._piecewise(owner, "rate", rate, times, len(part), low=0.0, unit="Hz")
            if rates.max(initial=0.0) * self.dt * 1e-3 > 1e6:
                raise ValueError(
                    f"{owner}: rate is {rates.max():g} Hz, {rates.max() * self.dt * 1e-3:g} spikes a step; "
                    "it must be at most 1e6 spikes a step"
                )
            k = self._receptor(owner, part.population, receptor, weight < 0.0)
            made.append(Poisson(name, len(self.poissons) + len(made), part, steps, rates, weight, k))
        self.poissons.extend(made)

    def add_current(self, name: str, target: Target | Sequence[Target], amplitude: Any, times: Any = None) -> None:
        """Inject a current; with r_mem = 1 its unit is that of v.

        Parameters
        ----------
        name : str
            What messages call it.
        target : population, slice, or a list of them
            Who receives it.
        amplitude : number or array
            One number; an array (n_targets,); with `times`, an array (n_times,) or (n_times, n_targets), held
            from times[k] until times[k + 1] and 0 before times[0]; or, without `times`, an array
            (n_steps, n_targets) with one row a step, and 0 afterwards.
        times : array, optional
            ms, ascending multiples of dt.
        """
        owner = f"current {_checked_name('current', name)!r}"
        made: list[Current] = []
        for part in self._slices(owner, "target", target):
            self._receptors(owner, part.population)
            values = checks.as_floats(owner, "amplitude", amplitude)
            if times is None and values.ndim == 2:
                rows = checks.numbers(owner, "amplitude", values, (len(values), len(part)))
                rows = np.concatenate([rows, np.zeros((1, len(part)))])
                steps = np.arange(len(rows), dtype=np.int64)
            else:
                steps, rows = self._piecewise(owner, "amplitude", values, times, len(part))
            made.append(Current(name, part, steps, rows))
        self.currents.extend(made)

    def connect(
        self,
        source: Target | Sequence[Target],
        target: Target | Sequence[Target],
        rule: Rule | Any,
        weight: Any = None,
        delay: Any = None,
        receptor: str | None = None,
        name: str | None = None,
        plasticity: PairSTDP | None = None,
    ) -> Projection | list[Projection]:
        """Connect populations or slices; lists on either side connect every pair by the same rule.

        Parameters
        ----------
        source, target : population, slice, or a list of them
            From whom to whom.
        rule : a rule of `evsim.connectivity` (fixed_indegree(100), ...), or a scipy.sparse matrix
            (n_source, n_target), whose data are the weights if none are given.
        weight : number, array (in the shape the rule says) or distribution
            mV for delta synapses; unit of current for exponential ones. Stored as fixed-point numbers: a
            weight is rounded by less than 1e-5 of the projection's mean |weight|.
        delay : number, array or distribution
            ms, at least dt; rounded to the grid (with a warning unless drawn). Or 0 for the whole projection: its
            spikes arrive in the step in which they are emitted, after their source and before their target is
            updated. Projections of delay 0 must not form a cycle, nor learn.
        receptor : str, optional
            By default the only receptor; of two (exc, inh), the first for weights >= 0, the second for < 0.
        name : str, optional
            By default 'source->target'.
        plasticity : PairSTDP, optional
            How the weights learn.
        """
        if sparse.issparse(rule):
            rule = from_sparse(rule)
        if not isinstance(rule, Rule):
            raise TypeError(
                f"connect: rule is {rule!r}; it must be a rule such as fixed_indegree(100), or a scipy.sparse matrix"
            )
        made: list[Projection] = []
        for pre in self._slices("connect", "source", source):
            for post in self._slices("connect", "target", target):
                index = len(self.projections) + len(made)
                made.append(self._project(index, pre, post, rule, weight, delay, receptor, name, plasticity))
        self.projections.extend(made)
        return made[0] if len(made) == 1 else made

    def summary(self) -> dict[str, Any]:
        """The network in words and numbers, as recordings keep it."""
        return {
            "dt": self.dt,
            "seed": self.seed,
            "populations": {
                p.name: {"size": p.size, "model": type(p.model).__name__, "parameters": p.parameters()}
                for p in self.populations.values()
            },
            "projections": [
                {
                    "name": q.name,
                    "source": repr(q.source),
                    "target": repr(q.target),
                    "rule": q.rule.name,
                    "synapses": q.expected_synapses(),
                    "weight": describe(q.weight),
                    "delay": describe(q.delay),
                }
                for q in self.projections
            ],
            "poisson": [
                {"name": s.name, "target": repr(s.target), "rate": describe(s.rates), "weight": s.weight}
                for s in self.poissons
            ],
            "current": [
                {"name": s.name, "target": repr(s.target), "amplitude": describe(s.amplitudes)} for s in self.currents
            ],
        }

    def _project(
        self,
        index: int,
        source: Slice,
        target: Slice,
        rule: Rule,
        weight: Any,
        delay: Any,
        receptor: str | None,
        name: str | None,
        plasticity: PairSTDP | None,
    ) -> Projection:
        name = f"{source}->{target}" if name is None else _checked_name("projection", name)
        owner = f"projection {name!r}"
        overlap = source.overlap(target)
        rule.check(owner, len(source), len(target), overlap)
        shape = rule.value_shape(len(source), len(target))
        if weight is None:
            weight = rule.weight
        for what, value in (("weight", weight), ("delay", delay)):
            if value is None:
                raise TypeError(f"{owner}: no {what} is given")
        weight = checks.weight(owner, weight, shape)
        if rule.code == SHARED:
            _check_shared(owner, rule, weight, delay, plasticity)
        low, high = (
            weight.bounds() if isinstance(weight, Distribution) else (weight.min(initial=0.0), weight.max(initial=0.0))
        )
        delay = checks.delay(owner, delay, shape, self.dt)
        if plasticity is not None:
            _check_plasticity(owner, plasticity, weight, self.dt)
            _check_learns(owner, source.population, target.population, delay, self.dt)
            low, high = min(low, plasticity.w_min), max(high, plasticity.w_max)
        receptors = self._receptors(owner, target.population)
        if receptor is None and len(receptors) == 2 and low < 0.0 < high:
            raise ValueError(
                f"{owner}: weights run from {low:g} to {high:g}, so the receptor cannot be told from their "
                f"sign; give receptor=, one of {', '.join(receptors)}, or weights of one sign"
            )
        return Projection(
            name=name,
            index=index,
            source=source,
            target=target,
            rule=rule,
            weight=weight,
            delay=delay,
            receptor=self._receptor(owner, target.population, receptor, low < 0.0),
            plasticity=plasticity,
        )

    def _receptors(self, owner: str, population: Population) -> list[str]:
        if isinstance(population.model, SpikeSource):
            raise ValueError(f"{owner}: target {population.name!r} is a spike source and receives no input")
        return list(population.model.receptors())

    def _receptor(self, owner: str, population: Population, name: str | None, negative: bool) -> int:
        known = self._receptors(owner, population)
        if name is not None:
            if name not in known:
                raise checks.nearest(owner, f"receptor of {population.name!r}", name, known)
            return known.index(name)
        if len(known) > 2:
            raise ValueError(f"{owner}: {population.name!r} has receptors {', '.join(known)}; give receptor=")
        return 1 if negative and len(known) == 2 else 0

    def _piecewise(
        self,
        owner: str,
        name: str,
        value: Any,
        times: Any,
        n: int,
        low: float = -np.inf,
        unit: str = "",
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """First steps of intervals, and values (n_intervals, 1 or n)."""
        value = checks.as_floats(owner, name, value)
        if times is None:
            values = checks.numbers(owner, name, value, (n,), low, unit=unit)
            return np.zeros(1, np.int64), values.reshape(1, -1)
        steps = checks.grid_steps(owner, "times", times, self.dt)
        if steps.ndim != 1 or steps.size == 0 or (np.diff(steps) <= 0).any():
            raise ValueError(f"{owner}: times is {times!r}; it must be a list of ascending times in ms")
        shape = (steps.size, n) if value.ndim == 2 else (steps.size,)
        values = checks.numbers(owner, name, value, shape, low, unit=unit)
        columns = values if values.ndim == 2 else values.reshape(-1, 1)
        return steps, np.broadcast_to(columns, (steps.size, columns.shape[1]))

    def _slices(self, owner: str, name: str, given: Target | Sequence[Target]) -> list[Slice]:
        slices = []
        if isinstance(given, list | tuple) and not given:
            raise ValueError(f"{owner}: {name} is an empty list; give a population or a slice of one")
        for part in given if isinstance(given, list | tuple) else [given]:
            whole = part.all() if isinstance(part, Population) else part
            if not isinstance(whole, Slice):
                raise TypeError(f"{owner}: {name} is {part!r}; it must be a population or a slice of one")
            if self.populations.get(whole.population.name) is not whole.population:
                raise ValueError(f"{owner}: {name} {part!r} does not belong to this network")
            if len(whole) == 0:
                raise ValueError(f"{owner}: {name} {part!r} is empty; it must hold at least one neuron")
            slices.append(whole)
        return slices

    def _new_name(self, name: str) -> str:
        owner = f"population {_checked_name('population', name)!r}"
        if "/" in name or name.startswith("."):
            raise ValueError(f"{owner}: a name must not contain '/' nor start with '.'")
        if name in self.populations:
            raise ValueError(f"{owner}: the network already has a population of this name; names must be unique")
        return owner

    def _add(self, population: Population) -> Population:
        self.populations[population.name] = population
        return population


def _checked_name(what: str, name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"{what} {name!r}: a name must be a non-empty string")
    return name


def _check_shared(owner: str, rule: Rule, weight: Any, delay: Any, plasticity: Any) -> None:
    """Refuse what synapses that share weights cannot have each for itself."""
    if plasticity is not None:
        raise ValueError(
            f"{owner}: the synapses of a {rule.name} share weights, which cannot learn one by one; give each a weight "
            "of its own with explicit(pre, post)"
        )
    if isinstance(weight, Distribution) or isinstance(delay, Distribution) or np.ndim(delay):
        raise ValueError(
            f"{owner}: weight is {describe(weight)} and delay {describe(delay)}; the synapses of a {rule.name} share "
            "weights, which must be numbers, and one delay"
        )


def _check_plasticity(owner: str, plasticity: Any, weight: Any, dt: float) -> None:
    if not isinstance(plasticity, PairSTDP):
        raise TypeError(f"{owner}: plasticity is {plasticity!r}; it must be an evsim.PairSTDP")
    plasticity.check(owner, dt)
    low, high = weight.bounds() if isinstance(weight, Distribution) else (weight.min(), weight.max())
    if low < plasticity.w_min or high > plasticity.w_max:
        raise ValueError(
            f"{owner}: initial weights run from {low:g} to {high:g}; they must lie between w_min = "
            f"{plasticity.w_min:g} and w_max = {plasticity.w_max:g}"
        )


def _check_learns(owner: str, source: Population, target: Population, delay: Any, dt: float) -> None:
    if not isinstance(delay, Distribution) and delay.size and not delay.any():
        raise ValueError(f"{owner}: delay is 0 ms; where weights learn it must be at least dt = {dt:g} ms")
    for population in (source, target):
        if population.multi_spike:
            raise ValueError(
                f"{owner}: {population.name!r} can spike several times in a step; where weights learn, neurons must "
                "spike at most once"
            )


def _is_multi_spike(owner: str, model: NeuronModel, dt: float, one_winner: bool) -> bool:
    """Whether neurons of the model can spike several times in a step, which a model says whatever its parameters."""
    c = model.coefficients(dict.fromkeys(model.parameters(), 1.0), dt)
    if c.multi_spike and one_winner:
        raise ValueError(f"{owner}: one_winner is True; neurons that compete must spike at most once in a step")
    return c.multi_spike
