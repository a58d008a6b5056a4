"""The CPU engine's host side: a thread of the machine for each thread of the kernels."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import learning_kernels
from evsim.aligned import aligned_zeros
from evsim.arrival_kernels import Lists, make_lists
from evsim.build import Built
from evsim.cpu_kernels import advance
from evsim.jit import bind_kernel
from evsim.layout import NO_EXCESS, Layout
from evsim.learning import Rules, Traces
from evsim.model import Model, SpikeRecord, State
from evsim.poisson_kernels import make_lit

ROWS = 512  # synapse rows a thread looks up before it delivers them


class CpuEngine:
    """Advances a network compiled for as many threads; the calling thread is one of them."""

    def __init__(self, built: Built) -> None:
        self._layout, self._threads = built.layout, built.layout.n_threads
        self._pool = ThreadPoolExecutor(max(self._threads - 1, 1), thread_name_prefix="evsim")
        self._scratch = [_scratch(built.state, built.layout) for _ in range(self._threads)]
        self._learning: list[tuple[Rules, Traces, Lists] | None] = [None] * self._threads
        if built.learning:
            self._learning = [(rules, traces, make_lists(rules, traces)) for rules, traces in built.learning]
        self.record(built.model, built.state)
        self._bound: dict[Any, Callable[..., Any]] = {}
        self.start(0, 0)
        self._advance = bind_kernel(advance, self._arguments(0))  # compiles the kernel, or loads it from the cache

    def record(self, model: Model, state: State) -> None:
        """Use these from now on: the same arrays, with buffers for what is recorded."""
        self._model, self._state = model, state

    def change(self, **arrays: NDArray[Any]) -> None:
        """Use these arrays of Model, of the types they have had, from now on."""
        if any(getattr(self._model, name) is not array for name, array in arrays.items()):
            self._model = self._model._replace(**arrays)

    def start(self, first_step: int, n_steps: int) -> None:
        """Begin a chunk: what `wait` then does, since the threads are those of the caller."""
        self._chunk = first_step, n_steps

    def wait(self) -> int:
        """Advance through the chunk; returns the steps done, fewer where the record of spikes is full.

        Raises RuntimeError where a multi-spike neuron would have spiked too often.
        """
        self._spikes_before = self._state.population_spikes.copy()
        others = [self._pool.submit(self._advance, *self._arguments(t)) for t in range(1, self._threads)]
        done = self._advance(*self._arguments(0))
        for other in others:
            other.result()
        self._layout.check_excess(min(int(block[-1][0]) for block, _, _ in self._scratch))
        return int(done)

    def _arguments(self, thread: int) -> tuple[Any, ...]:
        return self._model, self._state, self._learning[thread], *self._scratch[thread], thread, *self._chunk

    def collect(self) -> SpikeRecord:
        """The spikes recorded in the chunk waited for; its frames are in State."""
        most = (self._state.population_spikes - self._spikes_before).sum(axis=0)
        return SpikeRecord(self._state.record_neuron, self._state.record_per_step, most)

    def pull(self, *names: str) -> None:
        """Bring State up to date: it always is."""

    def push(self, *names: str) -> None:
        """Go on from State as it is now."""

    def pull_traces(self, weights: bool = False) -> None:
        """Bring Traces up to date: they always are."""

    def push_traces(self, weights: bool = False) -> None:
        """Go on from Traces as they are now."""

    def switch_learning(self, on: bool) -> None:
        """Let weights and thresholds change from now on, or not."""
        self._state.learning[0] = on

    def settle(self, before: int) -> None:
        """Bring all plastic synapses up to date: spikes and arrivals before a step."""
        self._each_thread(learning_kernels.settle_all, self._state.learning[0] == 1, before)

    def apply_changes(self, k: int) -> None:
        """Add to the weights of plastic projection k what has added up in a run."""
        self._each_thread(learning_kernels.apply_changes, k)

    def normalize(self, k: int, total: NDArray[np.float64], per_unit: float) -> None:
        """Scale the weights into each target of plastic projection k to sum to total, in units of 1 / per_unit."""
        self._each_thread(learning_kernels.normalize, k, total, per_unit, with_lists=True)

    def _each_thread(self, kernel: Any, *arguments: Any, with_lists: bool = False) -> None:
        """Run a kernel over each thread's plastic synapses."""
        own = 3 if with_lists else 2
        calls = [(self._model, *learned[:own], *arguments) for learned in self._learning if learned is not None]
        if kernel not in self._bound and calls:
            self._bound[kernel] = bind_kernel(kernel, calls[0])
        others = [self._pool.submit(self._bound[kernel], *of_thread) for of_thread in calls[1:]]
        for of_thread in calls[:1]:
            self._bound[kernel](*of_thread)
        for other in others:
            other.result()


def _scratch(state: State, layout: Layout) -> tuple[Any, ...]:
    """A thread's working arrays: of one block's update, its spikes per step of a window, rows about to be delivered."""
    block = (
        aligned_zeros(layout.block, state.ring.dtype),
        aligned_zeros(layout.block, np.float32),
        aligned_zeros(layout.block, np.uint32),
        aligned_zeros(layout.block, np.uint8),
        make_lit(layout.n_neurons),
        aligned_zeros(layout.block, np.float32),
        np.full(1, NO_EXCESS, np.int64),
    )
    rows = tuple(np.zeros(ROWS, kind) for kind in (np.uint64, np.uint64, np.uint64, np.uint64, np.int64))
    return block, np.zeros(layout.window, np.int64), rows
