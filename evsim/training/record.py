"""What a forward run keeps for its gradients: all of its steps, or the states at some and the means to repeat them.

A *chunk* is some steps of a run with what its nodes gave in them: spikes of neurons as uint8, everything else, and the
potentials before the reset, as float32. With checkpoints only the last chunk is there; those before it are run again
from the states at their first steps, and are the same, bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt, Node
from evsim.batch_input import BatchInput, EventInput, RepeatedInput
from evsim.buffers import Buffers
from evsim.layer_values import as_frames
from evsim.training.backward_kernels import STEPS_AT_ONCE
from evsim.training.gathering_kernels import count_spikes

F4 = NDArray[np.float32]


@dataclass
class Chunk:
    """Steps [first, stop) of a run; arrays are (stop - first, B, units), units in the engine's order."""

    first: int
    stop: int
    given: Any  # the input of these steps
    state: bm.BatchState  # before them
    frames: list[NDArray[Any]]  # of each node
    pre: dict[int, F4]  # v before the reset, of nodes with neurons
    current: dict[int, F4]  # the synaptic current, of nodes whose neurons learn
    source: F4 | None = None

    def frames_before(self, k: int, nodes: list[Node]) -> NDArray[Any]:
        """What enters node k."""
        if k > 0:
            return self.frames[k - 1]
        if self.source is None:
            self.source = as_frames(self.given, nodes[0].order_in)
        return self.source


class Record:
    """A run of `given` from `state` on, kept in chunks of `every` steps, or as a whole."""

    def __init__(
        self, built: BatchBuilt, engine: Any, state: bm.BatchState, given: Any, every: int | None, buffers: Buffers
    ) -> None:
        self._built, self._engine, self._given, self._buffers = built, engine, given, buffers
        nodes = built.nodes
        self._neurons = [k for k, node in enumerate(nodes) if node.row[bm.NEURONS] == 1]
        self._filtered = [k for k in self._neurons if nodes[k].row[bm.FILTERED] == 1 and _learns(nodes[k])]
        spiking = [k for k in self._neurons if nodes[k].row[bm.SPIKING] == 1]
        self._requests = [(k, bm.COUNTS if k in spiking else bm.SPIKES) for k in range(len(nodes))]
        self._requests += [(k, bm.V_PRE_RESET) for k in self._neurons] + [(k, bm.CURRENT) for k in self._filtered]
        n_steps = given.shape[0]
        chunk = n_steps if every is None else -(-every // STEPS_AT_ONCE) * STEPS_AT_ONCE
        self._edges = [*range(0, n_steps, chunk), n_steps]
        self._states = []
        self.output = buffers.empty("output", (*given.shape[:2], nodes[-1].size), np.float32)
        self.n_spikes = {k: np.zeros(nodes[k].size, np.int64) for k in spiking}  # of all steps and samples
        for first, stop in pairwise(self._edges):
            self._states.append(engine.copy_state(state))
            self.last = self._run(state, first, stop)
            self.output[first:stop] = self.frames(-1)
            for k in spiking:
                self.n_spikes[k] += self._count(self.last.frames[k])

    @property
    def is_whole(self) -> bool:
        """Whether every step is kept."""
        return len(self._states) == 1

    def frames(self, k: int) -> NDArray[Any]:
        """What node k gave in the last chunk."""
        return self.last.frames[k]

    def chunks_backwards(self) -> Iterator[Chunk]:
        """All chunks, the last one first."""
        yield self.last
        for (first, stop), state in list(zip(pairwise(self._edges), self._states, strict=True))[-2::-1]:
            yield self._run(self._engine.copy_state(state), first, stop)

    def _run(self, state: bm.BatchState, first: int, stop: int) -> Chunk:
        given = _steps_of(self._given, first, stop)
        return self._chunk_of(first, stop, given, self._engine.run(state, given, self._requests, self._buffers))

    def _count(self, counts: Any) -> NDArray[np.int64]:
        """The spikes of each unit, of a chunk's."""
        total = np.zeros(counts.shape[2], np.int64)
        count_spikes(counts, self._buffers.empty("counts", counts.shape[1] * counts.shape[2], np.uint32), total)
        return total

    def _chunk_of(self, first: int, stop: int, given: Any, arrays: list[Any]) -> Chunk:
        """A chunk of what was asked for."""
        kept = iter(arrays)
        frames = [next(kept) for _ in self._built.nodes]
        pre = {k: next(kept) for k in self._neurons}
        current = {k: next(kept) for k in self._filtered}
        return Chunk(first, stop, given, self._states[self._edges.index(first)], frames, pre, current)


def _learns(node: Node) -> bool:
    return node.neurons is not None and bool(node.neurons.learned())


def _steps_of(given: BatchInput | NDArray[Any], first: int, stop: int) -> Any:
    """The input of steps [first, stop)."""
    if (first, stop) == (0, given.shape[0]):
        return given
    if isinstance(given, EventInput):
        return given.steps(first, stop)
    if isinstance(given, RepeatedInput):
        return replace(given, n_steps=stop - first)
    return np.asarray(given)[first:stop]
