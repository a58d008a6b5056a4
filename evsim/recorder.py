"""From the kernels' chunk buffers to a file or to memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evsim import checks
from evsim.build import Built
from evsim.io.recording import step_times
from evsim.jit import compile_kernel
from evsim.model import Model, SpikeRecord, State
from evsim.network import Population, Slice, SpikeSource, Target

i64 = np.int64
u64 = np.uint64

FRAME_BYTES = 32 * 2**20  # most that state frames of one chunk take
MIN_SPIKES = 2**20  # spikes a thread can record between two drains, at least

Spikes = tuple[NDArray[np.float64], NDArray[np.uint64]]  # times in ms and ids, each (n_spikes,)


class Sink(Protocol):
    """Where recorded data go, a chunk at a time: MemorySink, or a RecordingWriter."""

    def resume(self) -> None: ...

    def buffer(self, n_spikes: int) -> Spikes: ...

    def write_spikes(self, population: str, times: NDArray[np.float64], ids: NDArray[np.uint64]) -> None: ...

    def write_frames(self, report: str, frames: NDArray[np.float32]) -> None: ...

    def write_weights(self, projection: str, step: int, values: NDArray[np.float32]) -> None: ...

    def commit(self, steps: int) -> None: ...

    def close(self, final_metadata: Mapping[str, Any], complete: bool) -> None: ...


@dataclass(frozen=True)
class Probe:
    """A state variable of chosen neurons of one population, sampled every `every` steps."""

    population: Population
    variable: str
    neurons: NDArray[np.int64]  # ascending, within the population
    every: int

    @property
    def name(self) -> str:
        """Unique in a recording."""
        return f"{self.population.name}.{self.variable}"

    @property
    def scale(self) -> np.float32:
        """What the values that the kernels hold are multiplied by: what a framework calls v may be a part of it."""
        assert not isinstance(self.population.model, SpikeSource)
        return np.float32(self.population.model.v_scale() if self.variable == "v" else 1.0)

    @property
    def units(self) -> str:
        """mV for potentials; currents have the unit the weights were given in."""
        return "mV" if self.variable in ("v", "v_pre_reset") else "weight"


class MemorySink:
    """Keeps everything in lists."""

    def __init__(self) -> None:
        self.spikes: dict[str, list[Spikes]] = {}
        self.frames: dict[str, list[NDArray[np.float32]]] = {}
        self.weights: dict[str, list[tuple[int, NDArray[np.float32]]]] = {}

    def resume(self) -> None:
        """Nothing to open."""

    def buffer(self, n_spikes: int) -> Spikes:
        """Arrays for times and ids that are then handed over."""
        return np.empty(n_spikes), np.empty(n_spikes, np.uint64)

    def write_spikes(self, population: str, times: NDArray[np.float64], ids: NDArray[np.uint64]) -> None:
        self.spikes.setdefault(population, []).append((times.copy(), ids.copy()))  # the buffers may be larger

    def write_frames(self, report: str, frames: NDArray[np.float32]) -> None:
        self.frames.setdefault(report, []).append(frames)

    def write_weights(self, projection: str, step: int, values: NDArray[np.float32]) -> None:
        self.weights.setdefault(projection, []).append((step, values))

    def commit(self, steps: int) -> None:
        """Nothing to do: what is written is there."""

    def close(self, final_metadata: Mapping[str, Any], complete: bool) -> None:
        """Nothing to close."""


def as_slices(owner: str, given: Target | Sequence[Target], populations: Mapping[str, Population]) -> list[Slice]:
    """Populations and slices as slices of this network."""
    slices = []
    for part in given if isinstance(given, list | tuple) else [given]:
        whole = part.all() if isinstance(part, Population) else part
        if not isinstance(whole, Slice):
            raise TypeError(f"{owner}: {part!r} is given; it must be a population or a slice of one")
        if populations.get(whole.population.name) is not whole.population:
            raise ValueError(f"{owner}: {part!r} does not belong to this network, or came after it was built")
        if len(whole) == 0:
            raise ValueError(f"{owner}: {part!r} is empty; it must hold at least one neuron")
        slices.append(whole)
    return slices


def make_probes(
    state: Mapping[Target, str | Sequence[str]], every: int, populations: Mapping[str, Population]
) -> list[Probe]:
    """One probe for each (population, variable), joining slices of the same population."""
    if not isinstance(state, Mapping):
        raise TypeError(f"record: state is {state!r}; it must be a dict such as {{population: 'v'}}")
    wanted: dict[tuple[str, str], list[Slice]] = {}
    for target, variables in state.items():
        for part in as_slices("record", target, populations):
            model = part.population.model
            if isinstance(model, SpikeSource):
                raise ValueError(f"record: {part.population.name!r} is a spike source and has no state")
            known = [
                "v",
                "v_pre_reset",
                *(f"i_{name}" for name in model.currents()),
            ]
            for variable in variables if isinstance(variables, list | tuple) else [variables]:
                if variable not in known:
                    raise checks.nearest("record", f"variable of {part.population.name!r}", variable, known)
                wanted.setdefault((part.population.name, variable), []).append(part)
    probes = []
    for (name, variable), parts in wanted.items():
        neurons = np.unique(np.concatenate([np.arange(part.start, part.stop) for part in parts]))
        probes.append(Probe(populations[name], variable, neurons, every))
    return probes


def variable_code(population: Population, variable: str) -> int:
    """The variable as the kernels know it."""
    assert not isinstance(population.model, SpikeSource)
    if variable in ("v", "v_pre_reset"):
        return -1 if variable == "v" and population.model.v_recorded == "v" else -2
    return list(population.model.receptors()).index(variable.removeprefix("i_"))


class Recorder:
    """Owns the chunk buffers in Model and State, and drains them into a sink."""

    def __init__(self, built: Built, spikes: Sequence[Slice], probes: Sequence[Probe], dt: float) -> None:
        layout = built.layout
        self.layout = layout
        self.dt = dt
        self.probes = list(probes)
        self.populations = sorted({layout.index(part.population) for part in spikes})
        self._group_population = layout.group_population()
        recorded = np.zeros(layout.n_neurons, np.uint8)
        for part in spikes:
            first = layout.population_start[layout.index(part.population)]
            recorded[first + part.start : first + part.stop] = 1
        capacity = 0
        if self.populations:
            capacity = max(MIN_SPIKES, 2 * layout.window * int(layout.thread_spikes.max()))
        every = max((probe.every for probe in probes), default=1)
        per_step = sum(4 * probe.neurons.size / probe.every for probe in probes)
        self.max_steps = int(np.clip(FRAME_BYTES / max(per_step, 1e-9), max(every, layout.window), 60000))
        sizes = [(self.max_steps // probe.every + 1) * probe.neurons.size for probe in probes]
        self.frame_start = np.cumsum([0, *sizes])
        lengths = [probe.neurons.size for probe in probes]
        self.model: Model = built.model._replace(
            neuron_recorded=recorded,
            probe_start=np.cumsum([0, *lengths]),
            probe_variable=np.array([variable_code(p.population, p.variable) for p in probes], np.int64),
            probe_population=np.array([layout.index(p.population) for p in probes], np.int64),
            probe_every=np.array([p.every for p in probes], np.int64),
            probe_neuron=np.concatenate([np.zeros(0, np.int64), *(p.neurons for p in probes)]),
        )
        self.state: State = built.state._replace(
            record_neuron=np.zeros((layout.n_threads, capacity), np.uint32),
            record_per_step=np.zeros((layout.n_threads, self.max_steps if capacity else 0), np.int64),
            frame_value=np.zeros(int(self.frame_start[-1]), np.float32),
            frame_start=self.frame_start[:-1].astype(np.int64),
        )
        if self.populations:
            nothing = SpikeRecord(
                self.state.record_neuron, self.state.record_per_step, np.zeros_like(layout.n_receptors)
            )
            self.drain(MemorySink(), 0, 0, nothing)  # compiles, or loads, the kernel before the run

    def drain(self, sink: Sink, first_step: int, n_steps: int, spikes: SpikeRecord) -> None:
        """Hand a chunk's spikes, sorted by step and then neuron, and its frames to the sink."""
        if self.populations:
            most = np.zeros_like(spikes.population_most)
            most[self.populations] = spikes.population_most[self.populations]
            start = np.cumsum([0, *most])
            stop = start[:-1].copy()
            times, ids = sink.buffer(int(start[-1]))
            merge_spikes(
                spikes.neuron, spikes.per_step, np.zeros(len(spikes.neuron), np.int64), self._group_population,
                self.layout.population_start, step_times(np.arange(first_step, first_step + n_steps), self.dt),
                stop, times, ids,
            )  # fmt: skip
            for p in self.populations:
                own = slice(start[p], stop[p])
                sink.write_spikes(self.layout.populations[p].name, times[own], ids[own])
        for probe, start in zip(self.probes, self.frame_start, strict=False):
            n_frames = (first_step + n_steps - 1) // probe.every - (first_step - 1) // probe.every
            size = n_frames * probe.neurons.size
            if n_frames:
                frames = self.state.frame_value[start : start + size].reshape(n_frames, -1)
                sink.write_frames(probe.name, frames * probe.scale)
        sink.commit(first_step + n_steps)


@compile_kernel
def merge_spikes(  # type: ignore[no-untyped-def]
    neuron, per_step, position, group_population, population_start, step_time, stop, times, ids
):
    """Merge the threads' spikes into times and ids (numbered within its population), population p up to stop[p].

    `stop` (n_pop,) comes as where each population starts, `step_time` (n_steps,) is the time of each step, `position`
    (n_threads,) is zeros. Each thread's spikes are in order of step, those of a population in a step ascend, and so do
    the threads' shares of a population: the spikes of a population come out by step, then neuron.
    """
    for s in range(u64(step_time.size)):
        time = step_time[s]
        for t in range(u64(position.size)):
            j = u64(position[t])
            end = j + u64(per_step[t, s])
            position[t] = i64(end)
            while j < end:
                p = group_population[neuron[t, j] >> u64(7)]
                start, size = u64(population_start[p]), u64(population_start[p + 1] - population_start[p])
                at = u64(stop[p])
                while j < end and u64(neuron[t, j]) - start < size:  # what lies below start wraps round
                    times[at], ids[at] = time, u64(neuron[t, j]) - start
                    j += u64(1)
                    at += u64(1)
                stop[p] = i64(at)
