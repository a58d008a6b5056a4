"""Makes synapses on the CPU: a thread of the machine for each thread of the kernels."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import construction
from evsim.aligned import aligned_zeros
from evsim.distributions import Distribution
from evsim.layout import Layout
from evsim.memory import available_memory
from evsim.network import Network
from evsim.rows import NO_FLOATS, Rows, SharedRows

MAX_MAKERS = 8  # threads that draw a projection's synapses, since each counts all of its rows
BATCH = 1024  # candidates whose weights and delays are drawn at a time


class CpuMaker:
    """The `synapses.Maker` of the CPU."""

    def __init__(self, network: Network, layout: Layout) -> None:
        self._network, self._layout = network, layout
        self._threads = layout.n_threads
        self._makers = min(self._threads, MAX_MAKERS)
        self._pool = ThreadPoolExecutor(self._threads)
        self._counts: list[NDArray[np.int32]] = []  # (makers, rows) of each projection: what each maker makes

    def available_memory(self) -> float:
        """Bytes that can still be allocated."""
        return available_memory()

    def scratch_bytes(self) -> int:
        """Counts of each maker for each row, sums of each input, delays in steps."""
        own = [p for p in self._network.projections if not p.shares_rows]
        rows = [len(p.source) * self._threads for p in own]
        counts = (sum(rows) // 2 + 2 * max(rows, default=0)) * self._makers
        delays = [p.delay for p in own if not isinstance(p.delay, Distribution)]
        listed = max((delay.size for delay in delays), default=0)
        return 8 * (counts + sum(rows)) + 16 * (self._layout.n_inputs + listed)

    def count(self, all_rows: Sequence[Rows]) -> NDArray[Any]:
        """The synapses of each row of all projections, one after another."""
        self._counts = [self._count(rows) for rows in all_rows]
        return np.concatenate([np.zeros(0, np.int64), *(count.sum(axis=0, dtype=np.int64) for count in self._counts)])

    def _count(self, rows: Rows) -> NDArray[np.int32]:
        edges, pairs, group_thread = self._edges(rows), rows.listed_pairs(), self._group_thread(rows)
        count = np.zeros((self._makers, rows.n_rows), np.int32)

        def work(m: int) -> None:
            construction.count_synapses(
                rows.rule, *pairs, edges[m], edges[m + 1], group_thread, self._threads, count[m]
            )

        self._share(work, self._makers)
        return count

    def allocate(self, row_start: NDArray[np.int64], n_synapses: int, n_weights: int) -> None:
        """Make room for synapses and weights; rows that are shared come behind those of `row_start`."""
        self._synapse = np.empty(n_synapses, np.uint32)
        self._weight = aligned_zeros(n_weights, np.float32)

    def fill(self, rows: Rows) -> None:
        """Write and sort a projection's rows; weights as float32."""
        count = self._counts[rows.number]
        cursor = rows.row_start[:-1] + np.cumsum(count, axis=0, dtype=np.int64) - count
        edges, pairs, group_thread = self._edges(rows), rows.listed_pairs(), self._group_thread(rows)
        weights, delays, dt = rows.listed_weights(), rows.listed_delays(self._network.dt), self._network.dt
        weight_table, delay_table = _table(rows.projection.weight), _table(rows.projection.delay)
        longest, bits = rows.longest, self._weight.view(np.uint32)
        n_bits = self._layout.target_bits + self._layout.max_delay.bit_length()

        def fill(m: int) -> None:
            scratch = [np.empty(BATCH, kind) for kind in (np.int64, np.int64, np.uint64, np.uint64, np.float32)]
            construction.fill_synapses(
                rows.rule, *pairs, edges[m], edges[m + 1], group_thread, self._threads,
                weights, weight_table, delays, delay_table, dt, *scratch,
                cursor[m], self._synapse, self._weight, rows.weight_shift,
            )  # fmt: skip

        def sort(t: int) -> None:
            first, stop = rows.n_rows * t // self._threads, rows.n_rows * (t + 1) // self._threads
            scratch = np.empty(256, np.int64), np.empty(longest, np.uint32), np.empty(longest, np.uint32)
            construction.sort_rows(
                rows.row_start, first, stop, n_bits, self._synapse, bits, rows.weight_shift, not rows.varied, *scratch
            )

        self._share(fill, self._makers)
        self._share(sort, self._threads)

    def copy(self, rows: SharedRows) -> None:
        """Write a projection's rows that sources share; weights as float32."""
        self._synapse[rows.first_synapse : rows.first_synapse + rows.n_stored] = rows.synapses()

        def copy(piece: tuple[int, int]) -> None:
            first, stop = piece
            self._weight[rows.first_weight + first : rows.first_weight + stop] = rows.weights(first, stop)

        list(self._pool.map(copy, rows.pieces()))

    def sum_weights(self, all_rows: Sequence[Rows], scales: Sequence[float]) -> NDArray[np.int64]:
        """The largest sums of positive and of negative weights that can reach each input, (2, n_inputs)."""
        sums = np.zeros((2, self._layout.n_inputs), np.int64)
        mask = np.uint32((1 << self._layout.target_bits) - 1)
        for of_rows, of_scale in zip(all_rows, scales, strict=True):
            for of_bound in of_rows.bounds:

                def work(t: int, rows: Rows = of_rows, scale: float = of_scale, bound: float | None = of_bound) -> None:
                    construction.sum_weights(
                        rows.row_start, t, self._threads, self._synapse, self._weight, rows.weight_shift,
                        bound is not None, bound or 0.0, scale, mask, sums[0], sums[1],
                    )  # fmt: skip

                self._share(work, self._threads)
        return sums

    def to_fixed_point(self, first: int, stop: int, unit: float) -> None:
        """Replace the float32 weights [first, stop) by whole numbers of units."""
        edges = np.linspace(first, stop, 9).astype(np.int64)
        bits = self._weight.view(np.int32)

        def work(part: int) -> None:
            construction.to_fixed_point(self._weight, bits, edges[part], edges[part + 1], unit)

        self._share(work, 8)

    def finish(self) -> tuple[Any, Any]:
        """Model.synapse and Model.synapse_weight."""
        self._pool.shutdown()
        return self._synapse, self._weight.view(np.int32)

    def _share(self, work: Callable[[int], None], parts: int) -> None:
        list(self._pool.map(work, range(parts)))

    def _edges(self, rows: Rows) -> NDArray[np.int64]:
        """Candidates [edges[m], edges[m + 1]) are maker m's."""
        return np.array([rows.n_candidates * m // self._makers for m in range(self._makers + 1)], np.int64)

    def _group_thread(self, rows: Rows) -> NDArray[np.int64]:
        return self._layout.group_thread(rows.projection.target.population)


def _table(value: Any) -> NDArray[np.float64]:
    """The quantile table of weights or delays that are drawn."""
    return value.quantile_table() if isinstance(value, Distribution) else NO_FLOATS
