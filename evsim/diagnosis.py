"""Why a network stays silent, fires without pause, or does not learn; see `Simulation.diagnose`.

How far a silent population came is not noted during a run, which would cost every step of every network. The start
of the run is repeated instead, on the CPU and with v recorded, at the weights, thresholds and rates as they are now;
once as it is, and once without spikes arriving. Below threshold v depends on the weights in a straight line, so the
two tell by what factor the weights fall short: where b is v without spikes, (v_threshold - b) / (v - b).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built, build
from evsim.cpu_engine import CpuEngine
from evsim.distributions import Distribution
from evsim.learner import Learner
from evsim.model import DRIVE, LEAK, REFRACTORY_STEPS, V_THRESHOLD
from evsim.network import Network, Poisson, Population, Projection, Slice, SpikeSource
from evsim.recorder import MemorySink, Probe, Recorder
from evsim.weights import Weights

NEAR = 0.9  # of the highest rate a neuron can have: saturated
MANY = 0.25  # share of saturated neurons from which a population is
STUCK = 0.9  # share of a projection's weights at one bound
CHUNK = 500  # steps repeated at a time


@dataclass(frozen=True)
class Silence:
    """A population of which no neuron has fired.

    reached : how much of the way from its resting v to threshold the neuron that came nearest went.
    factor : what to multiply the weights of all `inputs` by for the first neuron to fire; rounded up. It is enough;
        where v is held up by v_min, or inhibition arrives as well, less may do. inf: nothing raised v.
    factor_half : for half of the neurons.
    inputs : names of the projections and Poisson stimuli that can excite it.
    advice : the same in words.
    """

    reached: float
    factor: float
    factor_half: float
    inputs: list[str]
    advice: str


@dataclass(frozen=True)
class Saturation:
    """A population that fires nearly as often as it can: mean and highest possible rate (Hz), and the share of its
    neurons that are within a tenth of it."""

    rate: float
    highest: float
    share: float


@dataclass(frozen=True)
class Stuck:
    """Shares of a projection's weights that lie at the lower and at the upper bound of its rule."""

    at_min: float
    at_max: float


@dataclass(frozen=True)
class Diagnosis:
    """What `Simulation.diagnose` found; print it for a text.

    Attributes
    ----------
    duration : time simulated, ms; repeated : how much of it was repeated for the silent populations, ms.
    never_fired : population -> how many of its neurons have never fired, of all populations.
    silent, saturated : population -> what is known of it, of those that are.
    unchanged : plastic projection -> why it cannot have learned, of those.
    stuck : plastic projection -> shares at the bounds, where nearly all weights lie at one of them.
    """

    duration: float
    repeated: float
    populations: dict[str, int]
    rates: dict[str, float]
    never_fired: dict[str, int]
    silent: dict[str, Silence]
    saturated: dict[str, Saturation]
    unchanged: dict[Projection, str]
    stuck: dict[Projection, Stuck]

    def __str__(self) -> str:
        lines = [f"{f'after {self.duration:g} ms':<32}{'neurons':>10}{'never fired':>14}{'mean rate':>14}"]
        for name, size in self.populations.items():
            lines.append(f"{name[:31]:<32}{size:>10}{self.never_fired[name]:>14}{self.rates[name]:>11.2f} Hz")
        found = [f"population {name!r} never fired: {of.advice}" for name, of in self.silent.items()]
        found += [
            f"population {name!r} is saturated: {of.share:.0%} of its neurons fire within a tenth of {of.highest:.4g} "
            "Hz, the most they can; lower the weights or rates of what excites it, or raise its inhibition or t_ref"
            for name, of in self.saturated.items()
        ]
        found += [f"projection {q.name!r} cannot have learned: {why}" for q, why in self.unchanged.items()]
        found += [
            f"projection {q.name!r} is stuck: {of.at_min:.0%} of its weights lie at w_min, {of.at_max:.0%} at w_max; "
            "change the balance of a_plus and a_minus, or the bounds"
            for q, of in self.stuck.items()
        ]
        return "\n".join([*lines, *(found or ["no population is silent or saturated, no projection stuck"])])


def diagnose(
    network: Network, built: Built, weights: Weights, rates: Mapping[str, Any], step: int, longest: int
) -> Diagnosis:
    """Look at a network after `step` steps, repeating at most `longest` of them.

    Parameters
    ----------
    built : with State as it is now.
    rates : the fields of Model that hold the rates as they are now.
    """
    layout, dt = built.layout, network.dt
    if len(network.projections) > built.n_synapses.size or len(network.populations) > len(layout.populations):
        raise ValueError("diagnose: the network was added to after the simulation was built; make a new one")
    spikes = {
        p.name: built.state.neuron_spikes[first : first + p.size]
        for p, first in zip(layout.populations, layout.population_start, strict=False)
    }
    silent = [p for p in layout.populations if not spikes[p.name].any()]
    neurons = [p for p in silent if not isinstance(p.model, SpikeSource)]
    repeated = min(step, longest) if neurons else 0
    peaks = _repeat(network, built, weights, rates, neurons, step, repeated)
    report = _Silences(network, spikes, weights, step, repeated * dt)
    return Diagnosis(
        duration=step * dt,
        repeated=repeated * dt,
        populations={p.name: p.size for p in layout.populations},
        rates={name: float(n.mean()) / (step * dt * 1e-3) for name, n in spikes.items()},
        never_fired={name: int((n == 0).sum()) for name, n in spikes.items()},
        silent={p.name: report.of(p, *peaks.get(p.name, (np.zeros(p.size), np.full(p.size, np.inf)))) for p in silent},
        saturated=_saturated(built, spikes, step, dt),
        unchanged=_unchanged(network, spikes),
        stuck=_stuck(network, weights, step),
    )


def _repeat(
    network: Network,
    built: Built,
    weights: Weights,
    rates: Mapping[str, Any],
    populations: list[Population],
    step: int,
    n_steps: int,
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Population -> how far each neuron came, as a share of the way to threshold, and the factor it falls short by."""
    if not n_steps:
        return {}
    fresh = build(network, built.layout.n_threads, lambda _: None)
    copies = Weights(fresh, Learner(fresh, CpuEngine(fresh)))
    for projection in _plastic(network):
        copies.write(projection, weights.read(projection, step), 0)
    fresh.state.neuron_theta[:] = built.state.neuron_theta
    fresh.state.learning[:] = built.state.learning
    fresh = replace(fresh, model=fresh.model._replace(**rates))
    alone = replace(fresh, model=_without_spikes(fresh), state=copy.deepcopy(fresh.state), learning=[])
    runs = []
    for one in (fresh, alone):
        recorder = Recorder(one, [], [Probe(p, "v_pre_reset", np.arange(p.size), 1) for p in populations], network.dt)
        engine = CpuEngine(one)
        engine.record(recorder.model, recorder.state)
        runs.append((engine, recorder))
    rest = {p.name: _rest(fresh, p) for p in populations}
    threshold = {p.name: _threshold(fresh, p) for p in populations}
    peaks = {p.name: (np.zeros(p.size), np.full(p.size, np.inf)) for p in populations}
    chunk = min(CHUNK, runs[0][1].max_steps)
    for first_step in range(0, n_steps, chunk):
        n = min(chunk, n_steps - first_step)
        frames = []
        for engine, recorder in runs:
            engine.start(first_step, n)
            engine.wait()
            sink = MemorySink()
            recorder.drain(sink, first_step, n, engine.collect())
            frames.append(sink.frames)
        for probe in runs[0][1].probes:
            name = probe.population.name
            v, b = (each[probe.name][0].astype(np.float64) for each in frames)
            reached, factor = peaks[name]
            share = (v - rest[name]) / (threshold[name] - rest[name])
            np.maximum(reached, share.max(axis=0), out=reached)
            raised = v > b
            needed = (threshold[name] - b) / np.where(raised, v - b, 1.0)
            np.minimum(factor, np.where(raised, needed, np.inf).min(axis=0), out=factor)
    return peaks


def _without_spikes(built: Built) -> Any:
    """A Model in which no spike and no stimulus but currents arrives."""
    model = built.model
    return model._replace(
        outgoing_start=np.zeros_like(model.outgoing_start), poisson_start=np.zeros_like(model.poisson_start)
    )


def _coefficient(built: Built, population: Population, j: int) -> NDArray[np.float64]:
    """A coefficient of every neuron."""
    model, p = built.model, built.layout.index(population)
    places = model.parameter_start[p, j] + model.parameter_step[p, j] * np.arange(population.size)
    return model.parameter_value[places].astype(np.float64)


def _rest(built: Built, population: Population) -> NDArray[np.float64]:
    """Where v goes without input: v_leak and what the bias adds (LIF), or 0 (IAF)."""
    leak, drive = (_coefficient(built, population, j) for j in (LEAK, DRIVE))
    return np.where(leak < 1.0, drive / np.where(leak < 1.0, 1.0 - leak, 1.0), 0.0)


def _threshold(built: Built, population: Population) -> NDArray[np.float64]:
    """v_threshold, and what adaptation has added."""
    threshold, theta = _coefficient(built, population, V_THRESHOLD), built.state.neuron_theta
    first = built.layout.population_start[built.layout.index(population)]
    return threshold + theta[first : first + population.size] if theta.size else threshold


class _Silences:
    """Says what keeps populations silent."""

    def __init__(
        self, network: Network, spikes: Mapping[str, NDArray[np.int64]], weights: Weights, step: int, repeated: float
    ) -> None:
        self._network, self._spikes, self._weights, self._step = network, spikes, weights, step
        self._repeated = repeated

    def of(self, population: Population, reached: NDArray[np.float64], factor: NDArray[np.float64]) -> Silence:
        """From how far each neuron came, and the factor it falls short by."""
        if isinstance(population.model, SpikeSource):
            return Silence(0.0, np.inf, np.inf, [], "none of its spikes lies in the time simulated")
        exciting = [q for q in self._network.projections if q.target.population is population and self._highest(q) > 0]
        active = [q for q in exciting if _fired(self._spikes, q.source)]
        noise = [s for s in self._network.poissons if s.target.population is population and s.weight > 0.0]
        raising = active if active or noise else exciting  # sources that have not fired may, in the repeat
        inputs = list(dict.fromkeys([*(q.name for q in raising), *(s.name for s in noise)]))
        first, half = _rounded_up(factor.min()), _rounded_up(np.sort(factor)[(factor.size - 1) // 2])
        if first == np.inf:
            why = self._nothing_came(exciting, active, noise)
        elif first <= 1.0:
            why = f"with weights and rates as they are now it fires within the first {self._repeated:g} ms; run on"
        else:
            why = _advice(raising, noise, first, half) + self._bounds(raising, first)
        words = (
            f"v came {reached.max():.1%} of the way from rest to threshold in the first {self._repeated:g} ms; {why}"
        )
        return Silence(float(reached.max()), first, half, inputs, words)

    def _highest(self, projection: Projection) -> float:
        """The largest weight of a projection."""
        weight = projection.weight
        if projection.plasticity is not None:
            weight = self._weights.read(projection, self._step)
        return float(weight.bounds()[1] if isinstance(weight, Distribution) else np.max(weight, initial=0.0))

    def _nothing_came(self, exciting: list[Projection], active: list[Projection], noise: list[Poisson]) -> str:
        if not exciting and not noise:
            return "nothing that excites is connected to it"
        if not active and not noise:
            sources = ", ".join(dict.fromkeys(repr(q.source) for q in exciting))
            return f"what excites it comes from {sources}, which never fired either: look there first"
        return (
            f"nothing raised it: {_named([*active, *noise])} brought no spikes in that time, or inhibition outweighed "
            "them; look at rates, delays and negative weights"
        )

    def _bounds(self, active: list[Projection], factor: float) -> str:
        """Which rules would not let the weights be that large."""
        low = [
            f"{q.name!r} to {factor * self._highest(q):.4g}"
            for q in active
            if q.plasticity is not None and factor * self._highest(q) > q.plasticity.w_max
        ]
        return f"; for that, raise w_max of {', '.join(low)}" if low else ""


def _advice(active: list[Projection], noise: list[Poisson], first: float, half: float) -> str:
    to_half = f" ({half:g} for half of its neurons)" if first < half < np.inf else ""
    return f"multiply the weights of {_named([*active, *noise])} by at least {first:g}{to_half}"


def _named(items: list[Any]) -> str:
    words = [f"{'poisson' if isinstance(item, Poisson) else 'projection'} {item.name!r}" for item in items]
    return " and ".join(dict.fromkeys(words))


def _rounded_up(factor: float) -> float:
    """To three digits, with room for the rounding of weights."""
    if not np.isfinite(factor) or factor <= 0.0:
        return float(factor)
    digit = 10.0 ** (np.floor(np.log10(factor)) - 2.0)
    return float(f"{np.ceil(factor * 1.0001 / digit) * digit:.4g}") if factor > 1.0 else float(factor)


def _saturated(built: Built, spikes: Mapping[str, NDArray[np.int64]], step: int, dt: float) -> dict[str, Saturation]:
    found = {}
    for population in built.layout.populations:
        if isinstance(population.model, SpikeSource):
            continue
        interval = _coefficient(built, population, REFRACTORY_STEPS) + 1.0
        of_most = spikes[population.name] / np.ceil(step / interval)
        share = float((of_most >= NEAR).mean())
        if share >= MANY or of_most.mean() >= NEAR:
            rate = float(spikes[population.name].mean()) / (step * dt * 1e-3)
            found[population.name] = Saturation(rate, float((1e3 / (interval * dt)).mean()), share)
    return found


def _unchanged(network: Network, spikes: Mapping[str, NDArray[np.int64]]) -> dict[Projection, str]:
    found = {}
    for projection in _plastic(network):
        rule = projection.plasticity
        assert rule is not None
        if not _fired(spikes, projection.target):
            found[projection] = f"its targets, {projection.target!r}, never fired"
        elif not _fired(spikes, projection.source) and rule.x_target == 0.0:
            found[projection] = f"its sources, {projection.source!r}, never fired"
    return found


def _stuck(network: Network, weights: Weights, step: int) -> dict[Projection, Stuck]:
    found = {}
    for projection in _plastic(network):
        rule = projection.plasticity
        assert rule is not None
        weight = weights.read(projection, step)
        of = Stuck(float((weight <= np.float32(rule.w_min)).mean()), float((weight >= np.float32(rule.w_max)).mean()))
        if max(of.at_min, of.at_max) >= STUCK:
            found[projection] = of
    return found


def _fired(spikes: Mapping[str, NDArray[np.int64]], part: Slice) -> bool:
    return bool(spikes[part.population.name][part.start : part.stop].any())


def _plastic(network: Network) -> list[Projection]:
    return [q for q in network.projections if q.plasticity is not None]
