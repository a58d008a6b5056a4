"""Makes synapses on the GPU: launches queued one after another, and what is copied for them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim.construction import N_RULE
from evsim.cuda_kernels import construction
from evsim.cuda_kernels.target import SIMULATED, check_device, configure_launch, cuda
from evsim.distributions import Distribution
from evsim.layout import Layout
from evsim.memory import available_memory
from evsim.network import Network, Projection
from evsim.rows import NO_FLOATS, NO_INTS, Rows, SharedRows

MOST_BLOCKS = 2 if SIMULATED else 4096  # of a launch whose threads share out candidates or synapses
SORT_CAPACITY = 16 if SIMULATED else 6144  # entries sorted in shared memory: 48 kB, all that any device gives a block
PIECE = 50 if SIMULATED else 2**22  # candidates whose lists are on the device at a time


class CudaMaker:
    """The `synapses.Maker` of the GPU, for a network of one thread: rows are not divided there.

    The host waits for the device when it copies from or to it, so little is copied: the rules before, the counts of
    the rows and the sums of the inputs between. Raises RuntimeError where there is no GPU to use, once it is asked for
    its memory.
    """

    def __init__(self, network: Network, layout: Layout) -> None:
        self._network, self._layout = network, layout
        self._on_device: dict[Distribution | None, Any] = {}  # quantile tables

    def available_memory(self) -> float:
        """Bytes of the device that can still be allocated."""
        device = check_device()
        return available_memory() if SIMULATED else device.memory_free

    def scratch_bytes(self) -> int:
        """Counts and starts of rows, sums of each input, quantile tables, and lists: a piece in use and one before."""
        projections = [p for p in self._network.projections if not p.shares_rows]
        rows = sum(len(p.source) for p in projections)
        tables = {value for p in projections for value in (p.weight, p.delay) if isinstance(value, Distribution)}
        listed = max((_listed_bytes(p) for p in projections), default=0)
        return 12 * rows + 16 * self._layout.n_inputs + sum(t.quantile_table().nbytes for t in tables) + 2 * listed

    def count(self, all_rows: Sequence[Rows]) -> NDArray[Any]:
        """The synapses of each row of all projections, one after another."""
        self._no_ints, self._no_floats = cuda.to_device(NO_INTS), cuda.to_device(NO_FLOATS)
        self._on_device[None] = self._no_floats
        for rows in all_rows:
            self._table(rows.projection.weight)
            self._table(rows.projection.delay)
        self._rules = cuda.to_device(np.array([rows.rule for rows in all_rows], np.int64).reshape(-1, N_RULE))
        self._left = cuda.to_device(np.zeros(sum(rows.n_rows for rows in all_rows), np.int32))
        for rows in all_rows:
            for first, stop, pre, post in self._pieces(rows, *rows.listed_pairs()):
                _share_out(
                    construction.count_synapses, stop - first,
                    self._rules, rows.number, pre, post, first, stop, rows.first_row, self._left,
                )  # fmt: skip
        counts: NDArray[Any] = self._left.copy_to_host()
        return counts

    def allocate(self, row_start: NDArray[np.int64], n_synapses: int, n_weights: int) -> None:
        """Make room for synapses and weights; rows that are shared come behind those of `row_start`."""
        self._row_start = cuda.to_device(row_start)
        self._synapse = cuda.device_array(n_synapses, np.uint32)
        self._weight = cuda.device_array(n_weights, np.float32)

    def fill(self, rows: Rows) -> None:
        """Write and sort a projection's rows; weights as float32."""
        dt = self._network.dt
        weight_table, delay_table = self._table(rows.projection.weight), self._table(rows.projection.delay)
        lists = *rows.listed_pairs(), rows.listed_weights(), rows.listed_delays(dt)
        for first, stop, pre, post, weights, delays in self._pieces(rows, *lists):
            _share_out(
                construction.fill_synapses, stop - first,
                self._rules, rows.number, pre, post, weights, weight_table, delays, delay_table, dt, first, stop,
                rows.first_row, self._row_start, self._left, self._synapse, self._weight, rows.weight_shift,
            )  # fmt: skip
        longest = rows.longest
        if longest < 2:
            return
        capacity = min(longest, SORT_CAPACITY)
        threads = 1 << max(5, (longest - 1).bit_length() - 3)  # 4 pairs each in the longest row: most are shorter
        threads = min(threads, construction.SORT_THREADS)
        launch = configure_launch(construction.sort_rows, rows.n_rows, threads, shared_bytes=8 * capacity)
        bits = self._weight.view(np.uint32)
        launch(rows.first_row, self._row_start, self._synapse, bits, rows.weight_shift, not rows.varied, capacity)

    def copy(self, rows: SharedRows) -> None:
        """Write a projection's rows that sources share; weights as float32."""
        self._synapse[rows.first_synapse : rows.first_synapse + rows.n_stored].copy_to_device(rows.synapses())
        for first, stop in rows.pieces():
            at = slice(rows.first_weight + first, rows.first_weight + stop)
            self._weight[at].copy_to_device(rows.weights(first, stop))

    def sum_weights(self, all_rows: Sequence[Rows], scales: Sequence[float]) -> NDArray[np.int64]:
        """The largest sums of positive and of negative weights that can reach each input, (2, n_inputs)."""
        sums = cuda.to_device(np.zeros((2, self._layout.n_inputs), np.int64))
        mask = np.uint32((1 << self._layout.target_bits) - 1)
        for rows, scale in zip(all_rows, scales, strict=True):
            first, stop = int(rows.row_start[0]), int(rows.row_start[-1])
            for bound in rows.bounds:
                _share_out(
                    construction.sum_weights, stop - first, first, stop, self._synapse, self._weight,
                    rows.weight_shift, bound is not None, bound or 0.0, scale, mask, sums,
                )  # fmt: skip
        summed: NDArray[np.int64] = sums.copy_to_host()
        return summed

    def to_fixed_point(self, first: int, stop: int, unit: float) -> None:
        """Replace the float32 weights [first, stop) by whole numbers of units."""
        bits = self._weight.view(np.int32)
        _share_out(construction.to_fixed_point, stop - first, self._weight, bits, first, stop, unit)

    def finish(self) -> tuple[Any, Any]:
        """Model.synapse and Model.synapse_weight, on the device."""
        cuda.synchronize()
        return self._synapse, self._weight.view(np.int32)

    def _table(self, value: Any) -> Any:
        """The quantile table of weights or delays that are drawn."""
        distribution = value if isinstance(value, Distribution) else None
        if distribution is not None and distribution not in self._on_device:
            self._on_device[distribution] = cuda.to_device(distribution.quantile_table())
        return self._on_device[distribution]

    def _pieces(self, rows: Rows, *lists: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
        """(first, stop, *lists) of the candidates, in one piece unless lists have to be copied."""
        absent = {id(NO_INTS): self._no_ints, id(NO_FLOATS): self._no_floats}
        piece = max(rows.n_candidates, 1) if all(id(values) in absent for values in lists) else PIECE

        def copy(values: NDArray[Any], first: int, stop: int) -> Any:
            if id(values) in absent:
                return absent[id(values)]
            of_all = values.size == 1  # one for all candidates
            return cuda.to_device(values if of_all else np.ascontiguousarray(values[first:stop]))

        for first in range(0, rows.n_candidates, piece):
            stop = min(first + piece, rows.n_candidates)
            yield first, stop, *(copy(values, first, stop) for values in lists)


def _share_out(kernel: Any, n: int, *arguments: Any) -> None:
    """Queue a kernel that shares n things out among its threads."""
    if n:
        configure_launch(kernel, min(-(-n // construction.THREADS), MOST_BLOCKS), construction.THREADS)(*arguments)


def _listed_bytes(projection: Projection) -> int:
    """Bytes of a piece of a projection's lists."""
    rule = projection.rule
    n_lists = 2 * (rule.pre is not None) + sum(
        not isinstance(value, Distribution) and value.ndim > 0 for value in (projection.weight, projection.delay)
    )
    return 8 * n_lists * min(rule.n_candidates(len(projection.source), len(projection.target)), PIECE)
