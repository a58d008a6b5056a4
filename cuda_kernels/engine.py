"""The GPU engine's host side: arrays to the device, launches, results back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.build import Built
from evsim.cuda_kernels.advance import CHUNK, THREADS, Tasks, advance
from evsim.cuda_kernels.target import SIMULATED, check_device, configure_launch, cuda, largest_grid
from evsim.model import Model, State
from evsim.tally import tally_spikes

LIST_SPIKES = 2**16 if SIMULATED else 2**22  # a launch can leave, at least


class CudaEngine:
    """Advances a network compiled for one thread on the GPU; the interface is that of CpuEngine.

    Raises RuntimeError where there is no GPU to use, MemoryError where the network does not fit into its memory.
    """

    def __init__(self, built: Built) -> None:
        device = check_device()
        if not SIMULATED:
            built.memory.check(device.memory_free)
        self._built = built
        self._tasks = _share_out(built)
        self._out_degree = _out_degree(built.model)
        self._device_arrays: dict[str, tuple[NDArray[Any], Any]] = {}
        self.record(built.model, built.state)

    def record(self, model: Model, state: State) -> None:
        """Use these from now on: the same arrays, with buffers for what is recorded."""
        layout = self._built.layout
        self._recorded, self._host = model.neuron_recorded, state
        capacity = max(LIST_SPIKES, 2 * layout.window * layout.n_neurons, state.record_step.shape[1])
        self._step, self._neuron = np.zeros((1, capacity), np.int64), np.zeros((1, capacity), np.uint32)
        state = state._replace(record_step=self._step, record_neuron=self._neuron)
        self._model: Any = Model(**{name: self._send(name, array) for name, array in model._asdict().items()})
        self._state: Any = State(**{name: self._send(name, array) for name, array in state._asdict().items()})
        arguments = (self._model, self._state, Tasks(*map(cuda.to_device, self._tasks)), 0, 0)
        wanted = -(-layout.n_neurons // THREADS)
        self._launch = configure_launch(advance, min(wanted, largest_grid(advance, arguments, THREADS)), THREADS)
        self._device_tasks = arguments[2]

    def advance(self, first_step: int, n_steps: int) -> tuple[int, list[int]]:
        """Advance by up to n_steps; returns the steps done and the number of spikes recorded."""
        self._state.record_count.copy_to_device(np.zeros_like(self._host.record_count))
        self._launch(self._model, self._state, self._device_tasks, first_step, n_steps)
        n_spikes, done = (int(x) for x in self._state.record_count.copy_to_host()[0, :2])
        step = self._state.record_step.copy_to_host()[0, :n_spikes]
        neuron = self._state.record_neuron.copy_to_host()[0, :n_spikes]
        order = np.lexsort((neuron, step))  # the list is in the order of the atomics
        step, neuron = step[order], neuron[order]
        self._tally(step, neuron)
        if self._host.frame_value.size:
            self._state.frame_value.copy_to_host(self._host.frame_value)
        wanted = self._recorded[neuron] == 1
        n_recorded = int(wanted.sum())
        self._host.record_step[0, :n_recorded] = step[wanted]
        self._host.record_neuron[0, :n_recorded] = neuron[wanted]
        return done, [n_recorded]

    def pull(self) -> None:
        """Copy the neurons' state back."""
        for name in ("neuron_v", "neuron_refractory", "input_current"):
            getattr(self._state, name).copy_to_host(getattr(self._host, name))

    def _tally(self, step: NDArray[np.int64], neuron: NDArray[np.uint32]) -> None:
        population_spikes = self._host.population_spikes[0]
        start = self._built.layout.population_start
        group_population = self._tasks.group_population
        events, checksum = tally_spikes(step, neuron, group_population, start, self._out_degree, population_spikes)
        self._host.thread_total[0, 0] += np.uint64(events)
        self._host.thread_total[0, 1:2] += np.uint64(checksum)

    def _send(self, name: str, array: NDArray[Any]) -> Any:
        """The array on the device, sent unless it is there already."""
        before, on_device = self._device_arrays.get(name, (None, None))
        if before is not array:
            on_device = cuda.to_device(array)
            self._device_arrays[name] = (array, on_device)
        return on_device


def _share_out(built: Built) -> Tasks:
    """The tasks that deliver one spike of each population."""
    model, layout = built.model, built.layout
    shares: list[list[tuple[int, int]]] = []
    for p in range(len(layout.populations)):
        share = []
        for q in range(model.outgoing_start[p], model.outgoing_start[p + 1]):
            first = model.projection_row[q]
            rows = model.row_start[first : first + np.diff(model.projection_source[q])[0] + 1]
            longest = int(np.diff(rows).max(initial=0))
            share += [(q, chunk) for chunk in range(-(-longest // CHUNK))]
        shares.append(share)
    width = max(1, *(len(share) for share in shares))
    table = np.full((len(shares), width, 2), -1, np.int32)
    for row, share in zip(table, shares, strict=True):
        row[: len(share)] = np.array(share, np.int32).reshape(-1, 2)
    return Tasks(layout.group_population(), np.ascontiguousarray(table[:, :, 0]), np.ascontiguousarray(table[:, :, 1]))


def _out_degree(model: Model) -> NDArray[np.int64]:
    """Synapses that leave each neuron."""
    degree = np.zeros(int(model.population_start[-1]), np.int64)
    for q, (first, stop) in enumerate(model.projection_source):
        row = model.projection_row[q]
        degree[first:stop] += np.diff(model.row_start[row : row + stop - first + 1])
    return degree
