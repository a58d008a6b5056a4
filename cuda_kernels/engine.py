"""The GPU engine's host side: arrays to the device, launches, results back.

Two buffers take turns: while a chunk runs and fills one, the chunk before it leaves the other over a stream of its
own and is sorted, counted and recorded.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built
from evsim.cuda_kernels import columns
from evsim.cuda_kernels.advance import advance
from evsim.cuda_kernels.learn import Notes, advance_learning
from evsim.cuda_kernels.phases import CHUNK, THREADS, Tasks
from evsim.cuda_kernels.target import SIMULATED, check_device, configure_launch, cuda, largest_grid
from evsim.layout import NO_EXCESS
from evsim.learning import Rules, Traces, nothing_plastic
from evsim.model import Model, SpikeRecord, State, row_bounds
from evsim.tally import tally_spikes

NEURON_FIELDS = ("neuron_v", "neuron_refractory", "neuron_theta", "input_current")
LIST_SPIKES = 2**16 if SIMULATED else 2**22  # a launch can leave, at least


class _Buffer(NamedTuple):
    """What a chunk leaves, on the device and as pinned memory of the host; and the chunk's end."""

    state: Any  # State, with the lists and frames of this buffer
    step: NDArray[np.int64]
    neuron: NDArray[np.uint32]
    frames: NDArray[np.float32]
    ending: NDArray[np.int64]  # (2, 8) as State.record_count: spikes, steps done, events at plastic synapses, excess
    ended: Any  # event
    first_step: NDArray[np.int64]  # (1,) of the chunk


class CudaEngine:
    """Advances a network compiled for one thread on the GPU; the interface is that of CpuEngine.

    Raises RuntimeError where there is no GPU to use.
    """

    def __init__(self, built: Built) -> None:
        self.device = check_device()
        self._built = built
        plastic = built.learning[0][0].projection if built.learning else np.zeros(0, np.int64)
        self._tasks = _share_out(built, plastic)
        self._out_degree = _out_degree(built.model, plastic)
        self._device_arrays: dict[str, tuple[NDArray[Any], Any]] = {}
        self._running, self._leaving = cuda.stream(), cuda.stream()
        self.n_launches, self.launch_seconds = 0, 0.0
        self._excess = NO_EXCESS
        self._learned = self._send_learning() if _learns(built) else ()
        self.record(built.model, built.state)

    def record(self, model: Model, state: State) -> None:
        """Use these from now on: the same arrays, with buffers for what is recorded."""
        layout = self._built.layout
        self._recorded, self._host = model.neuron_recorded, state
        capacity = max(LIST_SPIKES, 2 * layout.window * int(layout.thread_spikes.sum()))
        shared = {
            name: self._send(name, array)
            for name, array in state._asdict().items()
            if name not in ("window_spike", "record_neuron", "record_step", "record_count", "frame_value")
        }
        self._buffers = [_make_buffer(shared, capacity, state) for _ in range(2)]
        self._model: Any = Model(**{name: self._send(name, array) for name, array in model._asdict().items()})
        self._device_tasks = Tasks(*map(cuda.to_device, self._tasks))
        kernel = advance_learning if self._learned else advance
        arguments = (self._model, self._buffers[0].state, self._device_tasks, *self._learned, 0, 0)
        wanted = -(-layout.n_neurons // THREADS)
        blocks = min(wanted, largest_grid(kernel, arguments, THREADS))
        self._launch = configure_launch(kernel, blocks, THREADS, self._running)
        cuda.synchronize()

    def start(self, first_step: int, n_steps: int) -> None:
        """Begin a chunk of up to n_steps; returns at once."""
        started = time.perf_counter()
        self._buffers.reverse()
        buffer = self._buffers[0]
        buffer.state.record_count.copy_to_device(_NOTHING, self._running)
        self._launch(self._model, buffer.state, self._device_tasks, *self._learned, first_step, n_steps)
        buffer.state.record_count.copy_to_host(buffer.ending, self._running)
        buffer.ended.record(self._running)
        buffer.first_step[0] = first_step
        self.n_launches += 1
        self.launch_seconds += time.perf_counter() - started

    def wait(self) -> int:
        """Wait until the chunk has ended; returns the steps done, fewer where the list of spikes is full.

        Raises RuntimeError where a multi-spike neuron would have spiked too often.
        """
        self._ended = self._buffers[0]
        self._ended.ended.synchronize()
        self._excess = min(self._excess, int(self._ended.ending[0, 3]))
        self._built.layout.check_excess(self._excess)
        return int(self._ended.ending[0, 1])

    def collect(self) -> SpikeRecord:
        """The spikes recorded in the chunk waited for; its frames come into the host's State."""
        buffer = self._ended
        n_spikes = int(buffer.ending[0, 0])
        if n_spikes:
            buffer.state.record_step[0, :n_spikes].copy_to_host(buffer.step[:n_spikes], self._leaving)
            buffer.state.record_neuron[0, :n_spikes].copy_to_host(buffer.neuron[:n_spikes], self._leaving)
        if buffer.frames.size:
            buffer.state.frame_value.copy_to_host(buffer.frames, self._leaving)
        self._leaving.synchronize()
        self._host.frame_value[:] = buffer.frames
        in_order = np.sort((buffer.step[:n_spikes] - buffer.first_step) << 32 | buffer.neuron[:n_spikes])
        step, neuron = (in_order >> 32) + buffer.first_step, in_order.astype(np.uint32)
        before = self._host.population_spikes[0].copy()
        self._tally(step, neuron, int(buffer.ending[0, 2]))
        wanted = self._recorded[neuron] == 1
        per_step = np.bincount(step[wanted] - buffer.first_step, minlength=int(buffer.ending[0, 1]))
        return SpikeRecord(neuron[np.newaxis, wanted], per_step[np.newaxis], self._host.population_spikes[0] - before)

    def change(self, **arrays: NDArray[Any]) -> None:
        """Use these arrays of Model, as they are now, from now on."""
        for name in arrays:
            self._device_arrays.pop(name, None)  # its values may have changed
        self._model = self._model._replace(**{name: self._send(name, array) for name, array in arrays.items()})

    def pull(self, *names: str) -> None:
        """Copy fields of State back, those of neurons unless others are named."""
        for name in names or NEURON_FIELDS:
            if getattr(self._host, name).size:
                getattr(self._buffers[0].state, name).copy_to_host(getattr(self._host, name))

    def push(self, *names: str) -> None:
        """Go on from fields of State as they are now on the host, those of neurons unless others are named."""
        for name in names or NEURON_FIELDS:
            if getattr(self._host, name).size:
                getattr(self._buffers[0].state, name).copy_to_device(getattr(self._host, name))

    def pull_traces(self, weights: bool = False) -> None:
        """Copy Traces back, the weights too or all else."""
        for on_host, on_device in self._pairs_of_traces(weights):
            on_device.copy_to_host(on_host)

    def push_traces(self, weights: bool = False) -> None:
        """Go on from Traces as they are now on the host, with their weights or without."""
        for on_host, on_device in self._pairs_of_traces(weights):
            on_device.copy_to_device(on_host)

    def _pairs_of_traces(self, weights: bool) -> list[tuple[NDArray[Any], Any]]:
        """Each array of Traces on the host and on the device, but for empty ones."""
        if not self._built.learning:
            return []
        on_host, on_device = self._built.learning[0][1], self._learned[1]
        names = [name for name, array in on_host._asdict().items() if name != "weight" and array.size]
        pairs = [(getattr(on_host, name), getattr(on_device, name)) for name in names]
        return pairs + [(on_host.weight.view(np.int32), self._model.synapse_weight)] * weights

    def switch_learning(self, on: bool) -> None:
        """Let weights and thresholds change from now on, or not."""
        self._host.learning[0] = on
        self._buffers[0].state.learning.copy_to_device(self._host.learning)

    def settle(self, before: int) -> None:
        """Bring all plastic synapses up to date: spikes and arrivals before a step."""
        self._each_target(columns.settle_all, int(self._host.learning[0]), before)

    def apply_changes(self, k: int) -> None:
        """Add to the weights of plastic projection k what has added up in a run."""
        self._each_target(columns.apply_changes, k)

    def normalize(self, k: int, total: NDArray[np.float64], per_unit: float) -> None:
        """Scale the weights into each target of plastic projection k to sum to total, in units of 1 / per_unit."""
        self._each_target(columns.normalize, k, cuda.to_device(total), per_unit)

    def _each_target(self, kernel: Any, *arguments: Any) -> None:
        """Run a kernel with a block for each target of plastic projections."""
        if self._built.learning:
            rules, traces, _ = self._learned
            launch = configure_launch(kernel, traces.post_count.size, THREADS, self._running)
            launch(self._model, rules, traces, *arguments)
            self._running.synchronize()

    def _send_learning(self) -> tuple[Any, ...]:
        """(Rules, Traces, Notes) on the device; the host's Traces get room for the weights."""
        model = self._built.model
        rules, traces = self._built.learning[0] if self._built.learning else nothing_plastic()
        on_device = {name: cuda.to_device(array) for name, array in traces._asdict().items() if name != "weight"}
        weight = self._send("synapse_weight", model.synapse_weight).view(np.float32)
        if self._built.learning:
            self._built.learning[0] = rules, traces._replace(weight=np.empty(weight.size, np.float32))
        longest = [int(_row_lengths(model, q).max(initial=0)) for q in rules.projection]
        notes = Notes(
            n_chunks=np.array([-(-n // CHUNK) for n in longest], np.int64),
            winner=np.zeros(len(self._built.layout.populations), np.uint64),
            full=np.zeros(traces.post_count.size, np.int64),
            n_full=np.zeros(1, np.int64),
        )
        return (
            Rules(*map(cuda.to_device, rules)),
            Traces(weight=weight, **on_device),
            Notes(*map(cuda.to_device, notes)),
        )

    def _tally(self, step: NDArray[np.int64], neuron: NDArray[np.uint32], plastic_events: int) -> None:
        start, group_population = self._built.layout.population_start, self._tasks.group_population
        counts = self._host.population_spikes[0], self._host.neuron_spikes
        events, checksum = tally_spikes(step, neuron, group_population, start, self._out_degree, *counts)
        self._host.thread_total[0, 0] += np.uint64(events + plastic_events)
        self._host.thread_total[0, 1:2] += np.uint64(checksum)

    def _send(self, name: str, array: NDArray[Any]) -> Any:
        """The array on the device, sent unless it is there already."""
        before, on_device = self._device_arrays.get(name, (None, None))
        if before is not array:
            on_device = array if hasattr(array, "copy_to_host") else cuda.to_device(array)
            self._device_arrays[name] = (array, on_device)
        return on_device


_NOTHING = np.zeros((2, 8), np.int64)
_NOTHING[0, 3] = NO_EXCESS


def _make_buffer(shared: dict[str, Any], capacity: int, state: State) -> _Buffer:
    """`shared` are the fields of State that both buffers have in common, on the device."""
    on_device = State(
        window_spike=cuda.device_array((2, 1, 1), np.uint32),  # the list takes its place
        record_neuron=cuda.device_array((1, capacity), np.uint32),
        record_step=cuda.device_array((1, capacity), np.int64),
        record_count=cuda.to_device(_NOTHING),
        frame_value=cuda.device_array(state.frame_value.size, np.float32),
        **shared,
    )
    return _Buffer(
        on_device,
        cuda.pinned_array(capacity, np.int64),
        cuda.pinned_array(capacity, np.uint32),
        cuda.pinned_array(max(1, state.frame_value.size), np.float32)[: state.frame_value.size],
        cuda.pinned_array((2, 8), np.int64),
        cuda.event(),
        np.zeros(1, np.int64),
    )


def _learns(built: Built) -> bool:
    """Whether anything changes in the network but potentials and currents, or neurons compete."""
    model = built.model
    return bool(built.learning) or bool(model.population_theta[:, 0].any() or model.population_one_winner.any())


def _row_lengths(model: Model, q: int) -> NDArray[np.int64]:
    """Synapses of each source of a projection."""
    lengths: NDArray[np.int64] = np.diff(row_bounds(model, q)).reshape(-1)  # there is one thread
    return lengths


def _share_out(built: Built, plastic: NDArray[np.int64]) -> Tasks:
    """The tasks that deliver one spike of each population, but over plastic projections."""
    model, layout = built.model, built.layout
    shares: list[list[tuple[int, int]]] = []
    for p in range(len(layout.populations)):
        share = []
        for q in range(model.outgoing_start[p], model.outgoing_start[p + 1]):
            longest = 0 if q in plastic else int(_row_lengths(model, q).max(initial=0))
            share += [(q, chunk) for chunk in range(-(-longest // CHUNK))]
        shares.append(share)
    width = max(1, *(len(share) for share in shares))
    table = np.full((len(shares), width, 2), -1, np.int32)
    for row, share in zip(table, shares, strict=True):
        row[: len(share)] = np.array(share, np.int32).reshape(-1, 2)
    return Tasks(layout.group_population(), np.ascontiguousarray(table[:, :, 0]), np.ascontiguousarray(table[:, :, 1]))


def _out_degree(model: Model, plastic: NDArray[np.int64]) -> NDArray[np.int64]:
    """Synapses that leave each neuron and are not plastic."""
    degree = np.zeros(int(model.population_start[-1]), np.int64)
    for q, (first, stop) in enumerate(model.projection_source):
        if q not in plastic:
            degree[first:stop] += _row_lengths(model, q)
    return degree
