"""The batch engine's host side on the CPU: samples shared out among threads."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.aligned import aligned_zeros
from evsim.batch_build import BatchBuilt
from evsim.batch_call import Request, input_arrays, raise_stopped
from evsim.batch_input import BatchInput, EventInput, PoissonInput
from evsim.batch_kernels import run_samples
from evsim.buffers import Buffers
from evsim.encoding_kernels import drawing_scratch
from evsim.lanes import LANES, MASK
from evsim.model import BLOCK
from evsim.threads import share_out

CHUNK_UNITS = 2**17  # entries of a node's frames that a thread holds
SHARED_UNITS = 2**18  # units times steps of a sample from which several threads share it
SHARED_CHUNKS = 16  # that it then has at least
FINISHED = 6  # of what a team shares
SLOTS = 2  # chunks of each node's frames that a team holds


class BatchEngine:
    """Runs samples through a compiled Sequential on the CPU."""

    def __init__(self, built: BatchBuilt, threads: int) -> None:
        self._threads = threads
        sizes = [built.nodes[0].order_in.size, *(node.size for node in built.nodes)]
        self._sizes = np.array([-(-size // MASK) * MASK for size in sizes])
        self._chunk = max(1, CHUNK_UNITS // int(self._sizes.max()))
        self._own = [self._lists_of(self._chunk) for _ in range(threads)]
        self._made: tuple[Any, list[tuple[Any, ...]]] = (None, [])
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
        self,
        state: bm.BatchState,
        given: BatchInput | NDArray[Any],
        requests: Sequence[Request],
        buffers: Buffers | None = None,
    ) -> list[NDArray[Any]]:
        """Advance all samples through the input's steps; returns what is asked for, each (T, B, units).

        Its memory is new, or of `buffers`.
        """
        n_steps, n_samples = given.shape[0], given.shape[1]
        asked, requests = requests, list(dict.fromkeys(requests))
        sizes = [n_steps * n_samples * self._built.nodes[node].size for node, _ in requests]
        is_byte = [variable == bm.COUNTS for _, variable in requests]
        rooms = (-(-size // 4) if byte else size for size, byte in zip(sizes, is_byte, strict=True))
        starts = list(accumulate(rooms, initial=0))
        out = (Buffers() if buffers is None else buffers).empty("recorded", starts[-1], np.float32)
        table, begin = np.array(requests, np.int64).reshape(-1, 2), np.array(starts[:-1], np.int64)
        records = (table, begin, out, n_samples)
        taken = (input_arrays(given), _is_listed(given, self._built), self._built.channels)
        shared, stopped = (self._built.model, state, taken, records, n_steps), np.zeros(5, np.int64)
        samples, teams = np.array([0, n_samples], np.uint64), self._teams(n_samples, n_steps)
        calls = [(*shared, samples, team, own, stopped) for team, own in zip(teams, self._own, strict=False)]
        share_out(len(calls), run_samples, calls)
        why, node, sample, step = (int(x) for x in stopped[:4])
        if why != bm.DONE:
            raise_stopped(given, why, self._built.nodes[node].label, sample, step)
        state.step[0] += n_steps
        parts = zip(pairwise(starts), sizes, is_byte, strict=True)
        kept = [(out[a:b].view(np.uint8) if byte else out[a:b])[:size] for (a, b), size, byte in parts]
        made = {request: part.reshape(n_steps, n_samples, -1) for request, part in zip(requests, kept, strict=True)}
        return [made[request] for request in asked]

    def _teams(self, n_samples: int, n_steps: int) -> list[tuple[Any, ...]]:
        """The team of each thread that has something to do."""
        chunk = min(self._chunk, n_steps)
        share = n_samples < self._threads and n_steps * int(self._sizes.sum()) >= SHARED_UNITS
        n_teams = min(self._threads, n_samples)
        if share:
            chunk = min(chunk, -(-n_steps // SHARED_CHUNKS))
        if self._made[0] != (n_teams, chunk, share):
            teams = [self._team_of(SLOTS if share else 1, chunk, k if share else -1) for k in range(n_teams)]
            self._made = (n_teams, chunk, share), teams
        teams = self._made[1]
        for team in teams:
            team[FINISHED][:] = 0
        return [teams[k % n_teams] for k in range(self._threads if share else n_teams)]

    def _team_of(self, n_slots: int, chunk: int, sample: int) -> tuple[Any, ...]:
        """What the threads of a team share: frames of all parts, and their progress."""
        sizes = self._sizes * chunk * n_slots
        place = np.stack([np.cumsum(sizes) - sizes, self._sizes], axis=1)
        n = int(sizes.sum())
        frames = (
            np.zeros(len(sizes) * chunk * n_slots, np.uint8),
            aligned_zeros(n, np.uint16),
            aligned_zeros(n, np.float32),
        )
        progress = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
        return (*frames, place, np.uint64(n_slots), np.uint64(chunk), *progress, sample)

    def _lists_of(self, chunk: int) -> tuple[Any, ...]:
        """Lists of units that are not zero, inputs of one frame, and scratch of the encoder."""
        largest = int(self._sizes.max())
        lists = (
            np.zeros(chunk + 1, np.uint64),
            np.zeros(chunk, np.uint16),
            np.zeros(chunk * largest + 4, np.uint32),  # up to 4 more are written than kept
            np.zeros(largest, np.uint32),
        )
        sums = max(bm.SUMS, largest) + bm.TILE + LANES  # the last tile, and the last run of a convolution are filled up
        sizes = ((sums, np.int32), (sums, np.float32), (bm.SUMS, np.bool_), (BLOCK, np.float32))
        return lists, tuple(aligned_zeros(size, dtype) for size, dtype in sizes), drawing_scratch(int(self._sizes[0]))


def _is_listed(given: BatchInput | NDArray[Any], built: BatchBuilt) -> bool:
    """Whether the input's spikes are lists of the first node's units, each once, so that frames need not be made."""
    once = isinstance(given, PoissonInput) or (isinstance(given, EventInput) and given.ascending)
    return once and built.channels == 1 and built.nodes[0].row[bm.KIND] in (bm.LINEAR, bm.CONV)
