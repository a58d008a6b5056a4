"""Where populations, inputs and threads lie in the flat arrays: known before anything is allocated."""

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evsim.distributions import Distribution
from evsim.dynamics import MAX_SPIKES
from evsim.model import BLOCK, GROUP
from evsim.network import Network, Population, Projection, SpikeSource

MAX_WINDOW = 16  # steps; a longer window gains nothing and takes memory
SYNAPSE_BITS = 32
NO_EXCESS = 2**62  # later than any step * n_pop + population: see Layout.check_excess


@dataclass(frozen=True)
class Layout:
    """Places in the flat arrays of `model`; see there."""

    populations: list[Population]
    n_threads: int
    population_start: NDArray[np.int64]  # (n_pop + 1,)
    population_input: NDArray[np.int64]  # (n_pop,)
    n_receptors: NDArray[np.int64]  # (n_pop,)
    slice_start: NDArray[np.int64]  # (n_pop, n_threads)
    slice_stop: NDArray[np.int64]
    stage: NDArray[np.int64]  # (n_pop,) the longest chain of projections of delay 0 that leads to it
    n_inputs: int
    target_bits: int
    min_delay: int  # steps, of those that are not 0
    max_delay: int

    @property
    def n_neurons(self) -> int:
        """Neuron places, padding included."""
        return int(self.population_start[-1])

    @property
    def window(self) -> int:
        """Steps between two exchanges of spikes; one where they are exchanged within a step, or can be very many."""
        single = self.n_stages > 1 or any(p.multi_spike for p in self.populations)
        return 1 if single else min(self.min_delay, MAX_WINDOW)

    @property
    def n_stages(self) -> int:
        """Parts of a step, after each of which spikes are exchanged."""
        return int(self.stage.max()) + 1

    @property
    def block(self) -> int:
        """Neurons that a thread advances at a time: BLOCK, or a whole population of which one neuron wins."""
        return max([BLOCK, *(padded(p.size) for p in self.populations if p.one_winner)])

    @property
    def ring_slots(self) -> int:
        """Steps the ring of arriving input holds: the longest delay, rounded up to a power of two."""
        return int(1 << (self.max_delay - 1).bit_length())

    @property
    def thread_spikes(self) -> NDArray[np.int64]:
        """Spikes that each thread's neurons can have in a step, (n_threads,)."""
        of_neuron = np.array([[MAX_SPIKES if p.multi_spike else 1] for p in self.populations])
        return ((self.slice_stop - self.slice_start) * of_neuron).sum(axis=0)

    def index(self, population: Population) -> int:
        """The population's number."""
        return self.populations.index(population)

    def group_population(self) -> NDArray[np.int64]:
        """The population of each group of 128 neurons."""
        return np.repeat(np.arange(len(self.populations)), np.diff(self.population_start) // GROUP)

    def group_thread(self, population: Population) -> NDArray[np.int64]:
        """Which thread owns each group of 128 neurons of a population."""
        p = self.index(population)
        groups = np.arange(padded(population.size) // GROUP) * GROUP
        return np.searchsorted(self.slice_stop[p], groups, side="right")

    def check_excess(self, excess: int) -> None:
        """Refuse to go on where a multi-spike neuron would have spiked too often: at step * n_pop + population."""
        if excess < NO_EXCESS:
            step, p = divmod(excess, len(self.populations))
            raise RuntimeError(
                f"population {self.populations[p].name!r}: in step {step} a neuron would spike more than {MAX_SPIKES} "
                "times, the most there can be; raise its v_threshold, or lower the weights of its input"
            )


def padded(n: int) -> int:
    """n rounded up to whole groups."""
    return -(-n // GROUP) * GROUP


def delay_range(projection: Projection, dt: float) -> tuple[int, int]:
    """The shortest and longest delay of a projection in steps."""
    if projection.same_step:
        return 0, 0
    delay = projection.delay
    if isinstance(delay, Distribution):
        low, high = delay.bounds()
    else:
        low, high = (delay.min(), delay.max()) if delay.size else (dt, dt)
    return max(1, round(low / dt)), max(1, round(high / dt))


def lay_out(network: Network, n_threads: int) -> Layout:
    """Place the network for `n_threads` threads.

    Refuses no neurons, a cycle of projections of delay 0, and a delay too long to store.
    """
    populations = list(network.populations.values())
    if not populations:
        raise ValueError("network: it has no population; add one with add_population")
    start = np.cumsum([0, *(padded(p.size) for p in populations)])
    receptors = [0 if isinstance(p.model, SpikeSource) else len(p.model.receptors()) for p in populations]
    inputs = np.cumsum([0, *(k * padded(p.size) for k, p in zip(receptors, populations, strict=True))])
    target_bits = max(int(inputs[-1] - 1).bit_length(), 1)
    longest = 2 ** max(SYNAPSE_BITS - target_bits, 0) - 1
    ranges = [delay_range(projection, network.dt) for projection in network.projections]
    for projection, (_, high) in zip(network.projections, ranges, strict=True):
        if high > longest:
            raise ValueError(
                f"projection {projection.name!r}: delay is up to {high * network.dt:g} ms; with {inputs[-1]} "
                f"inputs in the network it must be at most {longest * network.dt:g} ms ({longest} steps)"
            )
    slice_start, slice_stop = _divide(populations, n_threads)
    return Layout(
        populations=populations,
        n_threads=n_threads,
        population_start=start,
        population_input=np.where(np.array(receptors) > 0, inputs[:-1], -1),
        n_receptors=np.array(receptors, np.int64),
        slice_start=slice_start,
        slice_stop=slice_stop,
        stage=_stages(network, populations),
        n_inputs=int(inputs[-1]),
        target_bits=target_bits,
        min_delay=min((low for low, _ in ranges if low > 0), default=MAX_WINDOW),
        max_delay=max((high for _, high in ranges if high > 0), default=1),
    )


def _stages(network: Network, populations: list[Population]) -> NDArray[np.int64]:
    """The longest chain of projections of delay 0 that leads to each population."""
    sources: dict[Population, dict[Population, str]] = {p: {} for p in populations}
    for q in network.projections:
        if q.same_step:
            sources[q.target.population][q.source.population] = q.name
    stage: dict[Population, int] = {}
    try:
        for p in TopologicalSorter(sources).static_order():
            stage[p] = max((stage[source] + 1 for source in sources[p]), default=0)
    except CycleError as error:
        names = [repr(sources[target][source]) for source, target in pairwise(error.args[1])]
        raise ValueError(
            f"projection {', '.join(names)}: delays of 0 ms form a cycle; give one of them a delay of at least "
            f"dt = {network.dt:g} ms"
        ) from None
    return np.array([stage[p] for p in populations], np.int64)


def _divide(populations: list[Population], n_threads: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each population in whole groups over all threads; odd groups go where there are fewest so far."""
    stops = np.zeros((len(populations), n_threads), np.int64)
    load = np.zeros(n_threads, np.int64)
    for p, population in enumerate(populations):
        if isinstance(population.model, SpikeSource):
            stops[p] = population.size  # the trains are emitted by the first thread
            continue
        groups = padded(population.size) // GROUP
        if population.one_winner:  # who wins is found without asking another thread
            share = np.where(np.arange(n_threads) == np.argmin(load), groups, 0)
        else:
            share = np.full(n_threads, groups // n_threads)
            share[np.argsort(load, kind="stable")[: groups - share.sum()]] += 1
        load += share
        stops[p] = np.minimum(np.cumsum(share) * GROUP, population.size)
    starts = np.concatenate([np.zeros((len(populations), 1), np.int64), stops[:, :-1]], axis=1)
    return starts, stops
