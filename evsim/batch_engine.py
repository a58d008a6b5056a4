"""The batch engine's host side on the CPU: samples shared out among threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt
from evsim.batch_call import Request, input_arrays, raise_stopped
from evsim.batch_input import BatchInput
from evsim.batch_kernels import run_samples
from evsim.model import BLOCK

CHUNK_UNITS = 2**17  # entries of a node's frames that a thread holds


class BatchEngine:
    """Runs samples through a compiled Sequential on the CPU."""

    def __init__(self, built: BatchBuilt, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(max(threads - 1, 1), thread_name_prefix="evsim")
        sizes = built.model.node[:, [bm.N_IN, bm.N_OUT]]
        self._frame = -(-int(sizes.max()) // 64) * 64
        self._chunk = max(1, CHUNK_UNITS // self._frame)
        self._scratch: list[tuple[Any, ...]] = []
        self.use(built)

    def use(self, built: BatchBuilt) -> None:
        """Take another model of the same layers from now on: other weights."""
        self._built = built

    def new_state(self, n_samples: int) -> bm.BatchState:
        """The state of n samples before their first step."""
        return self._built.new_state(n_samples)

    def copy_state(self, state: bm.BatchState) -> bm.BatchState:
        """The same state, which a run does not change."""
        return bm.BatchState._make(part.copy() for part in state)

    def run(
        self, state: bm.BatchState, given: BatchInput | NDArray[Any], requests: Sequence[Request]
    ) -> list[NDArray[Any]]:
        """Advance all samples through the input's steps; returns what is asked for, each (T, B, units)."""
        n_steps, n_samples = given.shape[0], given.shape[1]
        sizes = [n_steps * n_samples * self._built.nodes[node].size for node, _ in requests]
        is_byte = [variable == bm.COUNTS for _, variable in requests]
        starts = np.cumsum([0, *(-(-size // 4) if byte else size for size, byte in zip(sizes, is_byte, strict=True))])
        out = np.empty(starts[-1], np.float32)
        table = np.array(requests, np.int64).reshape(-1, 2)
        records = (table, starts[:-1].astype(np.int64), out, n_samples)
        next_sample, stopped = np.zeros(1, np.uint64), np.zeros(4, np.int64)
        chunk = min(self._chunk, n_steps)
        n_threads = min(self._threads, n_samples)
        self._make_scratch(n_threads, chunk)
        shared = (self._built.model, state, input_arrays(given), self._built.channels, records, 0, n_steps, chunk)
        calls = [(*shared, next_sample, scratch, stopped) for scratch in self._scratch[:n_threads]]
        others = [self._pool.submit(run_samples, *call) for call in calls[1:]]
        run_samples(*calls[0])
        for other in others:
            other.result()
        why, node, sample, step = (int(x) for x in stopped)
        if why != bm.DONE:
            raise_stopped(given, why, self._built.nodes[node].label, sample, step)
        state.step[0] += n_steps
        parts = zip(pairwise(starts), sizes, is_byte, strict=True)
        kept = [(out[a:b].view(np.uint8) if byte else out[a:b])[:size] for (a, b), size, byte in parts]
        return [part.reshape(n_steps, n_samples, -1) for part in kept]

    def _make_scratch(self, n_threads: int, chunk: int) -> None:
        """Working arrays for each thread, large enough for chunks of so many steps."""
        if self._scratch and self._scratch[0][0][1].size >= chunk * self._frame:
            missing = n_threads - len(self._scratch)
        else:
            self._scratch, missing = [], n_threads
        self._scratch += [self._scratch_of(chunk) for _ in range(missing)]

    def _scratch_of(self, chunk: int) -> tuple[Any, ...]:
        """Frames of two nodes, lists of units that are not zero, and inputs of one frame."""
        frames = []
        for _ in range(2):
            count = np.zeros(chunk * self._frame, np.uint16)
            value = np.zeros(chunk * self._frame, np.float32)
            frames.append((np.zeros(chunk, np.uint8), count, count.view(np.uint64), value))
        lists = (
            np.zeros(chunk + 1, np.uint64),
            np.zeros(chunk * self._frame + 1, np.uint32),  # one more is written than kept
            np.zeros(self._frame, np.uint32),
        )
        whole_tiles = -(-self._frame // bm.TILE) * bm.TILE
        work = np.zeros(whole_tiles, np.int32), np.zeros(whole_tiles, np.float32), np.zeros(BLOCK, np.float32)
        return (*frames, lists, work, np.uint64(self._frame))
