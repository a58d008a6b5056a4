"""The batch engine's host side on the GPU: weights and state stay there, input goes there, results come back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import batch_model as bm
from evsim.batch_build import BatchBuilt
from evsim.batch_call import Request, input_arrays, raise_stopped
from evsim.batch_input import BatchInput
from evsim.cuda_kernels.batch import advance_samples
from evsim.cuda_kernels.batch_frames import Frames, Records
from evsim.cuda_kernels.phases import THREADS
from evsim.cuda_kernels.target import check_device, configure_launch, cuda, free_bytes, largest_grid

CHUNK_BYTES = 2**28  # of input and results that lie on the device at a time, or one step's
MOST_TARGETS = 4096  # whose sums a block holds in shared memory


class CudaBatchEngine:
    """Runs samples through a compiled Sequential on the GPU; the interface is that of BatchEngine.

    Raises RuntimeError where there is no GPU to use.
    """

    def __init__(self, built: BatchBuilt) -> None:
        self.device = check_device()
        self._no_step = cuda.to_device(np.zeros(1, np.int64))
        self._frames: Frames | None = None
        self._most_blocks: dict[Any, int] = {}  # that run at once
        node = built.model.node
        self._targets = min(int(node[:, bm.N_OUT].max()), MOST_TARGETS)
        longest = [int(node[0, bm.N_IN]), *(int(node[k::2, bm.N_OUT].max(initial=0)) for k in (0, 1))]
        longest.append(int(node[0, bm.N_OUT]))
        self._frame_start = np.cumsum([0, *(-(-n // 64) * 64 for n in longest)])
        self.use(built)

    def use(self, built: BatchBuilt) -> None:
        """Take another model of the same layers from now on: other weights."""
        self._built = built
        self._model = bm.BatchModel(*map(cuda.to_device, built.model))

    def new_state(self, n_samples: int) -> bm.BatchState:
        """The state of n samples before their first step, on the device; the number of steps is kept on the host."""
        state = self._built.new_state(n_samples)
        on_device: Any = bm.BatchState(*map(cuda.to_device, state))
        return on_device._replace(step=state.step)

    def copy_state(self, state: bm.BatchState) -> bm.BatchState:
        """The same state, which a run does not change."""
        on_device: Any = state[:-1]
        copies = [cuda.device_array(part.shape, part.dtype) for part in on_device]
        for copy, part in zip(copies, on_device, strict=True):
            if part.size:
                copy.copy_to_device(part)
        return bm.BatchState._make([*copies, state.step.copy()])

    def send(self, given: BatchInput | NDArray[Any]) -> tuple[Any, ...]:
        """An input on the device, for `run_kept`."""
        return tuple(cuda.to_device(each) if isinstance(each, np.ndarray) else each for each in input_arrays(given))

    def run_kept(
        self,
        state: bm.BatchState,
        given: Any,
        sent: tuple[Any, ...],
        first: int,
        stop: int,
        requests: Sequence[Request],
    ) -> list[Any]:
        """Advance all samples through steps [first, stop) of an input; what is asked for, (T, B, units), stays here."""
        n_samples, n = given.shape[1], stop - first
        self._check_room(requests, n, n_samples)
        records, parts = self._make_records(requests, n, n_samples)
        stopped = cuda.to_device(np.zeros((n_samples, 3), np.int64))
        kind, tensor, *rest = sent
        tensor = tensor[first:stop] if kind == bm.DENSE else tensor
        self._launch(state, (kind, tensor, *rest), records, (n_samples, int(state.step[0]) - first, first, n), stopped)
        self._check(given, stopped.copy_to_host())
        state.step[0] += n
        sizes = [self._built.nodes[node].size for node, _ in requests]
        return [part.reshape(n, n_samples, size) for part, size in zip(parts, sizes, strict=True)]

    def run(
        self, state: bm.BatchState, given: BatchInput | NDArray[Any], requests: Sequence[Request]
    ) -> list[NDArray[Any]]:
        """Advance all samples through the input's steps; returns what is asked for, each (T, B, units)."""
        n_steps, n_samples = given.shape[:2]
        kind, dense, *rest = input_arrays(given)
        sent = [cuda.to_device(each) if isinstance(each, np.ndarray) else each for each in rest]
        outputs = [
            np.empty((n_steps, n_samples, self._built.nodes[node].size), _dtype(variable))
            for node, variable in requests
        ]
        step_bytes = sum(out[0].nbytes for out in outputs) + (dense[0].nbytes if kind == bm.DENSE else 0)
        chunk = min(n_steps, max(1, CHUNK_BYTES // max(step_bytes, 1)))
        records, parts = self._make_records(requests, chunk, n_samples)
        stopped = cuda.to_device(np.zeros((n_samples, 3), np.int64))
        if kind != bm.DENSE:
            dense = cuda.to_device(dense)
        for first in range(0, n_steps, chunk):
            n = min(chunk, n_steps - first)
            tensor = cuda.to_device(dense[first : first + n]) if kind == bm.DENSE else dense
            numbers = n_samples, int(state.step[0]), first, n
            self._launch(state, (kind, tensor, *sent), records, numbers, stopped)
            self._check(given, stopped.copy_to_host())
            for out, on_device in zip(outputs, parts, strict=True):
                part = out[first : first + n].reshape(-1)
                on_device[: part.size].copy_to_host(part)
        state.step[0] += n_steps
        return outputs

    def _make_records(self, requests: Sequence[Request], n_steps: int, n_samples: int) -> tuple[Any, list[Any]]:
        """Records of so many steps on the device, in the order of their nodes, and the part of each request."""
        order = sorted(range(len(requests)), key=lambda r: requests[r][0])
        nodes = np.array([requests[r][0] for r in order], np.int64)
        start, used = np.zeros(len(order), np.int64), {np.uint8: 0, np.float32: 0}  # entries
        sizes = {r: n_steps * n_samples * self._built.nodes[requests[r][0]].size for r in order}
        for at, r in enumerate(order):
            dtype = _dtype(requests[r][1])
            start[at] = used[dtype]
            used[dtype] += sizes[r]
        room = {dtype: cuda.device_array(max(n, 1), dtype) for dtype, n in used.items()}
        records = Records(
            begin=cuda.to_device(np.searchsorted(nodes, np.arange(len(self._built.nodes) + 1))),
            variable=cuda.to_device(np.array([requests[r][1] for r in order], np.int64)),
            start=cuda.to_device(start),
            out=room[np.float32],
            counts=room[np.uint8],
        )
        parts = {r: room[_dtype(requests[r][1])][start[at] : start[at] + sizes[r]] for at, r in enumerate(order)}
        return records, [parts[r] for r in range(len(requests))]

    def _check_room(self, requests: Sequence[Request], n_steps: int, n_samples: int) -> None:
        """Refuse what the device has no memory for."""
        largest = max(node.size for node in self._built.nodes)
        per_unit = [np.dtype(_dtype(variable)).itemsize * self._built.nodes[node].size for node, variable in requests]
        n_in = self._built.nodes[0].order_in.size
        needed = n_steps * n_samples * (sum(per_unit) + 4 * (n_in + 2 * largest))  # with the input and two gradients
        free = free_bytes()
        if free is not None and needed > free:
            raise MemoryError(
                f"forward: gradients of {n_samples} samples over {n_steps} steps need {needed / 2**30:.2f} GiB of the "
                f"GPU's memory, {free / 2**30:.2f} GiB are free; take smaller batches, or checkpoint_every"
            )

    def _launch(self, state: bm.BatchState, given: Any, records: Any, numbers: tuple[int, ...], stopped: Any) -> None:
        """Advance all samples; `numbers` are the kernel's."""
        shared_bytes = 4 * self._targets

        def arguments(frames: Frames) -> tuple[Any, ...]:
            on_device = state._replace(step=self._no_step)
            return (
                self._model,
                on_device,
                given,
                self._built.channels,
                frames,
                records,
                self._targets,
                *numbers,
                stopped,
            )

        dtype = given[1].dtype  # of a tensor: what the kernel is compiled for
        if dtype not in self._most_blocks:
            self._most_blocks[dtype] = largest_grid(
                advance_samples, arguments(self._make_frames(1)), THREADS, shared_bytes
            )
        blocks = min(numbers[0], self._most_blocks[dtype])
        configure_launch(advance_samples, blocks, THREADS, 0, shared_bytes)(*arguments(self.frames_of(blocks)))

    @property
    def model(self) -> bm.BatchModel:
        """The model on the device."""
        return self._model

    def frames_of(self, blocks: int) -> Frames:
        """Frames of so many blocks, for one launch at a time."""
        if self._frames is None or self._frames.values.size < blocks * self._frame_start[-1]:
            self._frames = self._make_frames(blocks)
        return self._frames

    def _make_frames(self, blocks: int) -> Frames:
        """Room for the frames of so many blocks."""
        n = blocks * int(self._frame_start[-1])
        word = cuda.device_array(n // 2, np.uint32)
        value = cuda.device_array(n, np.float32)
        return Frames(word.view(np.uint16), word, value, cuda.to_device(self._frame_start.astype(np.int64)))

    def _check(self, given: BatchInput | NDArray[Any], stopped: NDArray[np.int64]) -> None:
        """Raise where a sample was stopped: for the first of them."""
        bad = np.flatnonzero(stopped[:, 0])
        if bad.size:
            why, node, step = (int(x) for x in stopped[bad[0]])
            raise_stopped(given, why, self._built.nodes[node].label, int(bad[0]), step)


def _dtype(variable: int) -> Any:
    """Of what is recorded of a variable."""
    return np.uint8 if variable == bm.COUNTS else np.float32
