"""`Simulation`: build a network, run it, record it, read it."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from tqdm import tqdm

from evsim import checks
from evsim.backend import choose_backend
from evsim.build import Built, build
from evsim.cpu_engine import CpuEngine
from evsim.cpu_maker import CpuMaker
from evsim.diagnosis import Diagnosis, diagnose
from evsim.interrupt import Interrupt
from evsim.io.checkpoint import read_checkpoint, write_checkpoint
from evsim.io.recording import RecordingWriter, ReportSpec, WeightHistory, open_recording, step_times
from evsim.io.recording import State as RecordedState
from evsim.learner import Learner
from evsim.memory import Memory
from evsim.model import row_bounds
from evsim.network import Network, Population, Projection, SpikeSource, Target
from evsim.rates import Rates
from evsim.recorder import MemorySink, Recorder, as_slices, make_probes, variable_code
from evsim.snapshots import Snapshots
from evsim.synapse_list import Synapses, list_synapses
from evsim.timetable import Timetable
from evsim.trained import Trained
from evsim.versions import versions
from evsim.weights import Weights

__all__ = ["Simulation", "Synapses"]

CHUNK_SECONDS = 0.5  # wall time between two drains
_CHANGING = (
    "neuron_v", "neuron_refractory", "neuron_theta", "neuron_spikes", "learning", "input_current", "ring",
    "population_spikes", "thread_total",
)  # fmt: skip
_ON_DEVICE = ("neuron_v", "neuron_refractory", "neuron_theta", "input_current", "ring")  # of these, where there is one


class Simulation:
    """A network compiled and ready to run.

    Parameters
    ----------
    network : Network
    backend : {"auto", "cpu", "cuda"}
        Where to run. "auto" takes the first GPU that CUDA_VISIBLE_DEVICES shows, where there is one and the network
        fits into its memory, and says so on stderr; elsewhere the CPU. The attribute `backend` says what was taken.
    threads : int, optional
        CPU threads; by default all cores, fewer for small networks. It changes the speed, never a spike.

    Raises
    ------
    MemoryError : the network does not fit; names what is too big.
    ImportError, RuntimeError : backend is "cuda" and no GPU can be used; names the remedy.
    """

    def __init__(self, network: Network, backend: str = "auto", threads: int | None = None) -> None:
        self.network = network
        self.backend = choose_backend(network, backend)
        if self.backend == "cuda":
            threads = 1  # rows are not divided on a GPU
        threads = _default_threads(network) if threads is None else threads
        self.threads = checks.size("simulation", "threads", threads, 1, 1024)
        started = time.perf_counter()
        expected = sum(projection.expected_synapses() for projection in network.projections)
        with tqdm(total=round(expected), desc="build", unit=" synapses", unit_scale=True, disable=None) as bar:
            self._built = build(network, self.threads, bar.update, _maker_type(self.backend))
        self.build_seconds = time.perf_counter() - started
        self.run_seconds = 0.0
        self._populations = {p.name: p for p in self._built.layout.populations}
        self._step = 0
        self._chunk = self._built.layout.window
        self._places = {int(index): q for q, index in enumerate(self._built.model.projection_index)}
        self._initial_v = self._built.state.neuron_v.copy()
        self._recorder = Recorder(self._built, [], [], network.dt)
        self._sink: MemorySink | RecordingWriter = MemorySink()
        self._recording = False
        self._engine = _make_engine(self.backend, self._built)
        self._learner = Learner(self._built, self._engine)
        self._weights = Weights(self._built, self._learner)
        self._snapshots = Snapshots(network, self._built.n_synapses, self._weights, [])
        self._timetable = Timetable()
        self._rates = Rates(network, self._built.layout, self._built.model)

    @property
    def time(self) -> float:
        """Model time so far, ms."""
        return self._step * self.network.dt

    @property
    def n_neurons(self) -> int:
        """Neurons of all populations, spike sources not counted."""
        return sum(p.size for p in self._populations.values() if not isinstance(p.model, SpikeSource))

    @property
    def n_synapses(self) -> int:
        """Synapses of all projections."""
        return int(self._built.n_synapses.sum())

    @property
    def n_spikes(self) -> int:
        """Spikes of all populations since the start, recorded or not."""
        return int(self._built.state.population_spikes.sum())

    @property
    def n_events(self) -> int:
        """Spikes delivered to synapses since the start."""
        return int(self._built.state.thread_total[:, 0].sum())

    def synaptic_operations(self) -> dict[str, int]:
        """Operations of each projection since the start, exact: for each spike of a source neuron, its synapses there.

        A spike counts when it is emitted, also where it has yet to arrive. Projections of one name are added up.
        Input of `Network.add_poisson` and `add_current` acts without synapses and counts nothing.
        """
        model, spikes = self._built.model, self._built.state.neuron_spikes
        made: dict[str, int] = {}
        for q, (first, stop) in enumerate(model.projection_source):
            bounds = row_bounds(model, q)
            name = self.network.projections[model.projection_index[q]].name
            made[name] = made.get(name, 0) + int(spikes[first:stop] @ (bounds[:, -1] - bounds[:, 0]))
        return made

    @property
    def spike_checksum(self) -> str:
        """A hash of all spikes since the start; equal for every backend and number of threads."""
        return f"{int(self._built.state.thread_total[:, 1].sum()):016x}"

    def spike_counts(self) -> dict[str, int]:
        """Spikes of each population since the start, recorded or not."""
        counts = self._built.state.population_spikes.sum(axis=0)
        return {p.name: int(n) for p, n in zip(self._built.layout.populations, counts, strict=True)}

    def neuron_spikes(self, target: Target) -> NDArray[np.int64]:
        """Spikes of each neuron of a population or slice since the start, recorded or not (a copy)."""
        (part,) = as_slices("neuron_spikes", target, self._populations)
        first = self._built.layout.population_start[self._built.layout.index(part.population)] + part.start
        return self._built.state.neuron_spikes[first : first + len(part)].copy()

    @property
    def learning(self) -> bool:
        """Whether weights and adaptive thresholds change. Set it to False to test what was learned."""
        return self._learner.learning

    @learning.setter
    def learning(self, on: bool) -> None:
        self._learner.switch(on, self._step)

    def normalize(self, projection: Projection, total: Any, every: float | None = None) -> None:
        """Scale the weights into each target of a plastic projection so that they sum to `total`.

        Without `every`, now; with it, at all multiples of `every` from now on, while weights learn, in the place of
        what was said of the projection before. Weights are clamped to the bounds of the rule afterwards; targets whose
        weights are all 0 stay as they are.

        Parameters
        ----------
        total : a number, or one for each target (n_targets,); of the sign of the weights.
        every : float, optional
            ms, a multiple of dt.
        """
        q = self._place(projection, "normalize")
        owner = f"normalize: projection {projection.name!r}"
        if projection.plasticity is None:
            raise ValueError(f"{owner} has no plasticity; only plastic weights can be normalised")
        totals = checks.numbers(owner, "total", total, (len(projection.target),))
        totals = np.full(len(projection.target), totals)
        interval = 0 if every is None else self._interval(owner, "every", every)
        if not interval or (self._step % interval == 0 and self.learning):
            self._learner.normalize(q, totals, self._step)
        if interval:

            def again(step: int) -> None:
                if self.learning:
                    self._learner.normalize(q, totals, step)

            self._timetable.put(projection, interval, again, rank=0, first=self._step + 1)

    def save_weights(
        self, path: str | Path, projections: Sequence[Projection] | None = None, overwrite: bool = False
    ) -> None:
        """Write what was learned to an HDF5 file: plastic weights, and adaptive thresholds of all populations.

        Parameters
        ----------
        projections : plastic projections; by default all.
        overwrite : replace an existing file; otherwise one is refused.
        """
        self._engine.pull()
        self._trained().save(path, projections, self._step, self.network.dt, overwrite)

    def load_weights(self, path: str | Path, projections: Sequence[Projection] | None = None) -> None:
        """Take weights and adaptive thresholds from a file of `save_weights`, from now on.

        The network must be built like the one that was saved: the same names, sizes, sources, targets and delays.
        Otherwise nothing changes, and the error names the first difference.

        Parameters
        ----------
        projections : those to load; by default all plastic ones, which must then be those of the file.
        """
        self._engine.pull()
        self._trained().load(path, projections, self._step)
        self._engine.push()

    def _trained(self) -> Trained:
        return Trained(self.network, self._built, self._weights, self.synapses)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint: everything that has changed since the start, so that `load` goes on exactly from here."""
        self._engine.pull(*_ON_DEVICE)
        self._engine.pull_traces(weights=True)
        write_checkpoint(path, self._configuration(), {"step": np.array([self._step]), **self._changing()})

    def load(self, path: str | Path) -> None:
        """Go on from a checkpoint of the same network, compiled for as many threads.

        What is due at an interval (`normalize`, `record`) is not in the file; said before, it goes on as well.

        Raises
        ------
        ValueError : the file is no checkpoint, or of another configuration; names what differs.
        """
        arrays = read_checkpoint(path, self._configuration())
        self._step = int(arrays["step"][0])
        self._learner.forget()
        self._timetable.move(self._step)
        self._engine.change(**self._rates.restore(arrays))
        for name, array in self._changing().items():
            array[...] = arrays[name]
        self._engine.push(*_ON_DEVICE)
        self._engine.push_traces(weights=True)
        self._engine.switch_learning(self.learning)

    def _configuration(self) -> dict[str, Any]:
        return {"network": self.network.summary(), "threads": self.threads, "backend": self.backend}

    def _changing(self) -> dict[str, NDArray[Any]]:
        """Every array that a run changes, by name."""
        state = self._built.state._asdict()
        kept = {f"state.{name}": state[name] for name in _CHANGING}
        for t, (_, traces) in enumerate(self._built.learning):
            kept |= {f"traces.{t}.{name}": array for name, array in traces._asdict().items()}
        return {**kept, **self._rates.arrays()}

    def reset_state(self) -> None:
        """Put all neurons back to their initial v, without currents, refractory times, traces and spikes on their way.

        Time, weights, adaptive thresholds and counts go on: for samples that follow each other.
        """
        state = self._built.state
        self._learner.reset(self._step)
        state.neuron_v[:] = self._initial_v
        for array in (state.neuron_refractory, state.input_current, state.ring):
            array[:] = 0
        self._engine.push("neuron_v", "neuron_refractory", "input_current", "ring")

    def set_rate(self, name: str, rate: Any) -> None:
        """Change the rate of a Poisson stimulus, or Poisson source, from now on.

        Parameters
        ----------
        name : the stimulus, one that drives one population (or slice) and has no `times`.
        rate : Hz, one number, or one for each target if it was so in `add_poisson`; at most the largest given there.
        """
        self._engine.change(**self._rates.change(name, rate))

    def rates(self) -> dict[str, float]:
        """Mean rate of each population since the start, Hz."""
        seconds = max(self.time, self.network.dt) * 1e-3
        return {name: n / self._populations[name].size / seconds for name, n in self.spike_counts().items()}

    def memory(self) -> Memory:
        """Bytes of every population and projection; print it for a table."""
        return self._built.memory

    def record(
        self,
        path: str | Path | None = None,
        spikes: Target | Sequence[Target] = (),
        state: Mapping[Any, str | Sequence[str]] | None = None,
        every: float | None = None,
        weights: Any = (),
        weights_every: float | None = None,
        overwrite: bool = False,
    ) -> None:
        """Choose what the run records; call it once, before the first run.

        Parameters
        ----------
        path : str, optional
            HDF5 file (SONATA layout, see `evsim.open_recording`), streamed while the simulation runs. Without a path
            everything is kept in memory, which then grows with time.
        spikes : populations or slices whose spikes are recorded.
        state : {population or slice: variable or list of variables}
            Variables: "v" (after reset), "v_pre_reset", and "i_<receptor>" of exponential receptors.
        every : float, optional
            Interval between samples of the state, ms; by default dt. Samples are taken at its multiples.
        weights : plastic projection, list of them, or {projection: indices in the order of `synapses`}
            Whose weights are recorded: of all synapses, or of the chosen ones.
        weights_every : float, optional
            Interval between snapshots of the weights, ms; they are taken at its multiples, the first at 0. By default
            at the beginning and end of each run.
        overwrite : bool
            Replace an existing file; otherwise one is refused.
        """
        if self._recording or self._step:
            raise RuntimeError("record: it must be called once, before the first run")
        dt = self.network.dt
        steps = self._interval("record", "every", dt if every is None else every)
        weight_steps = 0 if weights_every is None else self._interval("record", "weights_every", weights_every)
        parts = as_slices("record: spikes", spikes, self._populations)
        probes = make_probes(state or {}, steps, self._populations)
        snapshots = Snapshots(self.network, self._built.n_synapses, self._weights, weights)
        if not parts and not probes and not snapshots.chosen:
            raise ValueError("record: nothing is chosen; give spikes=, state= or weights=")
        chosen = [name for name in self._populations if name in {part.population.name for part in parts}]
        if path is not None:
            self._sink = RecordingWriter(
                path,
                populations={p.name: p.size for p in self._populations.values()},
                spikes=chosen,
                reports=[
                    ReportSpec(
                        probe.name,
                        probe.population.name,
                        probe.variable,
                        probe.neurons,
                        probe.units,
                        probe.every * dt,
                    )
                    for probe in probes
                ],
                dt=dt,
                metadata={
                    "network": self.network.summary(),
                    "seed": self.network.seed,
                    "backend": self.backend,
                    "threads": self.threads,
                    "versions": versions(),
                },
                overwrite=overwrite,
                weights=[snapshots.spec(projection, self.synapses(projection)) for projection in snapshots.chosen],
            )
            self._sink.close({}, complete=False)
        self._snapshots = snapshots
        if snapshots.chosen:
            self._timetable.put("weights", weight_steps, lambda step: snapshots.take(step, self._sink), rank=1)
        self._recorder = Recorder(self._built, parts, probes, dt)
        self._engine.record(self._recorder.model, self._recorder.state)
        self._engine.change(**self._rates.present())
        self._recording = True

    def run(self, duration: float) -> None:
        """Advance by `duration` ms. On a terminal a progress bar shows, unless the run is short.

        Ctrl-C stops between two chunks: all that was simulated is recorded, and the run can go on. After a run the
        recording is closed and any program can read it; a further run appends.
        """
        n_steps = checks.grid_step("run", "duration", duration, self.network.dt)
        stop = self._step + n_steps
        started = decided = time.perf_counter()
        self._sink.resume()
        interrupted, bar = Interrupt(), None
        try:
            try:
                with interrupted:
                    self._timetable.act(self._step, edge=True)
                    chunk = min(self._chunk, self._longest_chunk(stop))
                    going_on = n_steps > 0
                    if going_on:
                        self._engine.start(self._step, chunk)
                    while going_on:
                        first_step, done = self._step, self._engine.wait()
                        self._step += done
                        going_on = self._step < stop and not interrupted.seen
                        if going_on:  # a GPU runs the next chunk while this one is recorded
                            seconds, decided = time.perf_counter() - decided, time.perf_counter()
                            change = min(max(CHUNK_SECONDS / max(seconds, 1e-9), 0.25), 4.0)
                            self._chunk = max(1, round(chunk * change))
                            self._timetable.act(self._step)
                            chunk = min(self._chunk, self._longest_chunk(stop))
                            self._engine.start(self._step, chunk)
                        self._recorder.drain(self._sink, first_step, done, self._engine.collect())
                        if going_on and bar is None:  # not for a short run, which is one chunk
                            bar = tqdm(total=duration, desc="run", unit=" ms", unit_scale=True, disable=None)
                        if bar is not None:
                            bar.update((self._step - stop + n_steps) * self.network.dt - bar.n)
            finally:
                if bar is not None:
                    bar.close()
                self._learner.apply(self._step)
            self._timetable.act(self._step, edge=True)
        finally:
            self.run_seconds += time.perf_counter() - started
            if self._recording:
                self._sink.close(self._summary(), complete=self._step == stop)
        if interrupted.seen:
            raise KeyboardInterrupt

    def _longest_chunk(self, stop: int) -> int:
        """The steps that may follow without a stop."""
        return min(self._recorder.max_steps, stop - self._step, self._timetable.due - self._step)

    def diagnose(self, repeat: float = 1000.0) -> Diagnosis:
        """Say, after a run, what keeps populations silent or firing without pause, and projections from learning.

        Parameters
        ----------
        repeat : ms. To find how far silent populations came, the start of the run is repeated on the CPU, in a
            copy of the network, at the weights, thresholds and rates as they are now: at most for so long.
        """
        if not self._step:
            raise RuntimeError("diagnose: nothing has been simulated yet; call it after run")
        longest = checks.grid_step("diagnose", "repeat", repeat, self.network.dt)
        self._engine.pull()
        return diagnose(self.network, self._built, self._weights, self._rates.present(), self._step, longest)

    def _summary(self) -> dict[str, Any]:
        """What a recording says at its end."""
        return {
            "time_ms": self.time,
            "wall_seconds": self.run_seconds,
            "build_seconds": self.build_seconds,
            "spikes": self.spike_counts(),
            "synaptic_events": self.n_events,
            "spike_checksum": self.spike_checksum,
        }

    def spikes(self, population: Population) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Recorded spikes of a population: (ids, times in ms), by time and then id."""
        as_slices("spikes", population, self._populations)
        if self._built.layout.index(population) not in self._recorder.populations:
            raise ValueError(
                f"spikes: those of {population.name!r} are not recorded; ask for them in record(spikes=...)"
            )
        if not isinstance(self._sink, MemorySink):
            with open_recording(self._sink.path) as recording:
                return recording.spikes(population.name)
        pieces = self._sink.spikes.get(population.name, [])
        times = np.concatenate([np.zeros(0), *(times for times, _ in pieces)])
        ids = np.concatenate([np.zeros(0, np.uint64), *(ids for _, ids in pieces)])
        return ids.view(np.int64), times

    def state(self, population: Population, variable: str = "v") -> RecordedState:
        """A recorded state variable: times (T,) in ms, ids (V,), values (T, V)."""
        probes = [p for p in self._recorder.probes if p.population is population and p.variable == variable]
        if not probes:
            raise ValueError(
                f"state: {variable!r} of {population.name!r} is not recorded; ask for it in record(state=...)"
            )
        if not isinstance(self._sink, MemorySink):
            with open_recording(self._sink.path) as recording:
                return recording.state(population.name, variable)
        probe = probes[0]
        empty = np.zeros((0, probe.neurons.size), np.float32)
        values = np.concatenate([empty, *self._sink.frames.get(probe.name, [])])
        times = step_times(np.arange(len(values)) * probe.every, self.network.dt)
        return RecordedState(times, probe.neurons, values, variable, probe.units, probe.every * self.network.dt)

    def weight_history(self, projection: Projection) -> WeightHistory:
        """Recorded weights of a projection: times (T,) in ms, pre, post, delay (n,), values (T, n).

        All of them are read; `evsim.open_recording(path).weights(projection)` reads of a file what is asked for.
        """
        if projection not in self._snapshots.chosen:
            raise ValueError(
                f"weight_history: weights of {projection.name!r} are not recorded; ask for them in record(weights=...)"
            )
        if not isinstance(self._sink, MemorySink):
            with open_recording(self._sink.path) as recording:
                history = recording.weights(projection.name)
                return history._replace(values=np.asarray(history.values))
        return self._snapshots.history(projection, self.synapses(projection), self._sink, self.network.dt)

    def values(self, target: Target, variable: str = "v") -> NDArray[Any]:
        """The present value of a state variable of a population or slice (a copy).

        Variables are those that can be recorded, and "theta" where thresholds adapt (float64).
        """
        (part,) = as_slices("values", target, self._populations)
        if variable == "v_pre_reset":
            raise ValueError("values: v_pre_reset is only known within a step; record it with record(state=...)")
        layout, state = self._built.layout, self._built.state
        self._engine.pull()
        p = layout.index(part.population)
        if variable == "theta" and self._built.model.population_theta[p, 0] != 0.0:
            first = layout.population_start[p] + part.start
            return state.neuron_theta[first : first + len(part)].copy()
        (probe,) = make_probes({part: variable}, 1, self._populations)  # refuses an unknown variable
        code = variable_code(part.population, variable)
        if code < 0:
            first = layout.population_start[p] + part.start
            return state.neuron_v[first : first + len(part)] * probe.scale
        size = layout.population_start[p + 1] - layout.population_start[p]
        first = layout.population_input[p] + code * size + part.start
        return state.input_current[first : first + len(part)].copy()

    def synapses(self, projection: Projection) -> Synapses:
        """Every synapse of a projection, with its weight and delay as used."""
        q = self._place(projection, "synapses")
        self._learner.settle(self._step)
        return list_synapses(self._built, projection, q, self.network.dt)

    def _interval(self, owner: str, name: str, time: float) -> int:
        """A time in ms, at least dt, as steps."""
        checks.number(owner, name, time, 0.0, inclusive=False, unit="ms")
        return checks.grid_step(owner, name, time, self.network.dt)

    def _place(self, projection: Projection, caller: str) -> int:
        """The projection's place in Model."""
        if projection not in self.network.projections:
            raise ValueError(f"{caller}: projection {projection.name!r} does not belong to this network")
        if projection.index >= self._built.n_synapses.size:
            raise ValueError(f"{caller}: projection {projection.name!r} came after the network was built")
        return self._places[projection.index]

    def weights(self, projection: Projection) -> sparse.csr_array:
        """The weights of a projection as a sparse array (n_source, n_target); several synapses of a pair add up."""
        synapses = self.synapses(projection)
        shape = (len(projection.source), len(projection.target))
        return sparse.csr_array((synapses.weight, (synapses.pre, synapses.post)), shape=shape)


def _make_engine(backend: str, built: Built) -> Any:
    if backend == "cpu":
        return CpuEngine(built)
    from evsim.cuda_kernels.engine import CudaEngine

    return CudaEngine(built)


def _maker_type(backend: str) -> Any:
    if backend == "cpu":
        return CpuMaker
    from evsim.cuda_kernels.maker import CudaMaker

    return CudaMaker


def _default_threads(network: Network) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    neurons = sum(p.size for p in network.populations.values())
    return max(1, min(cores, neurons // 1024))  # with fewer each, threads wait for each other longer than they work
