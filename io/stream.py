"""The thread that writes a recording while the simulation goes on."""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import math
import os
import re
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from evsim.io import sonata
from evsim.io.output import require_free

PENDING_BYTES = 64 * 2**20  # handed over and not yet written
RESERVE_BYTES = 2**20  # kept free for HDF5's own indices and for closing the file
_RUNNING: set[Stream] = set()


@atexit.register  # after h5py's own, so it runs before: h5py's may not meet a thread inside HDF5
def _stop_all() -> None:
    with contextlib.ExitStack() as all_of_them:  # an error of one does not keep the others open
        for stream in list(_RUNNING):
            all_of_them.callback(stream.stop)


@dataclass
class Batch:
    """What one chunk of simulation left: spikes by population, frames by report group, snapshots of weights by
    projection, steps done."""

    spikes: dict[str, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)
    frames: dict[str, list[np.ndarray]] = field(default_factory=dict)
    weights: dict[str, list[tuple[int, np.ndarray]]] = field(default_factory=dict)
    steps: int = 0
    n_bytes: int = 0
    buffers: list[np.ndarray] = field(default_factory=list)  # what spikes lie in: free again once they are written


class Stream:
    """Owns the open file and the thread that appends to it.

    Batches wait in a queue bounded in bytes. Those waiting together are appended together and flushed once,
    so that a slow disk costs fewer flushes, not more memory. A batch larger than the bound passes when the
    queue is empty.
    """

    def __init__(
        self,
        file: h5py.File,
        path: Path,
        reports: dict[str, sonata.ReportSpec],
        dt: float,
    ) -> None:
        self._file = file
        self._path = path
        self._reports = reports
        self._dt = dt
        self._rows = file["evsim/batches"]
        self._columns: list[str] = json.loads(self._rows.attrs["columns"])
        paths = [path for column in self._columns for path in sonata.growing(column)]
        self._data = {path: file[path] for path in [*paths, "evsim/batches"]}
        self._chunk_bytes = {path: math.prod(data.chunks) * data.dtype.itemsize for path, data in self._data.items()}
        self._lengths = {path: len(data) for path, data in self._data.items()}  # of whole batches
        self._per_chunk = {path: _rows_and_columns(data) for path, data in self._data.items()}
        self._token: str = json.loads(file["evsim"].attrs["writer"])["token"]
        self._times = {column: file[f"{column}/mapping/time"] for column in reports}
        self._kept_steps = 0
        self._queue: list[Batch] = []
        self._spare: list[np.ndarray] = []
        self._pending = 0
        self._peak = 0
        self._stopping = False
        self._final: tuple[str, bool] = ("", False)
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="evsim-recording", daemon=True)
        sonata.LIVE.add(self._token)
        _RUNNING.add(self)
        self._thread.start()

    @property
    def peak_bytes(self) -> int:
        """Most bytes that ever waited."""
        return self._peak

    def buffer(self, n_spikes: int) -> np.ndarray:
        """A float64 array (2, n_spikes or more), if possible of memory used before: fresh pages take time."""
        with self._changed:
            while self._spare:
                spare = self._spare.pop()
                if spare.shape[1] >= n_spikes:
                    return spare
        return np.empty((2, n_spikes + n_spikes // 4))

    def put(self, batch: Batch) -> None:
        """Queue a batch; waits while more than the bound is pending, raises what stopped the thread."""
        with self._changed:
            while self._pending and self._pending + batch.n_bytes > PENDING_BYTES and self._error is None:
                self._changed.wait()
            self.check()
            self._queue.append(batch)
            self._pending += batch.n_bytes
            self._peak = max(self._peak, self._pending)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until every queued batch is in the file, raise what stopped the thread."""
        with self._changed:
            while (self._queue or self._pending) and self._error is None:
                self._changed.wait()
            self.check()

    def stop(self, final: str = "", complete: bool = False) -> None:
        """Write what is queued and the closing words, close the file, end the thread; raise its error."""
        with self._changed:
            if not self._stopping:
                self._stopping = True
                self._final = (final, complete)
                self._changed.notify_all()
        if threading.current_thread() is self._thread:
            return  # a forgotten writer, collected in this very thread, which ends by itself
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise OSError when the thread has stopped early."""
        cause = self._error
        if cause is None:
            return
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            raise OSError(cause.errno, cause.strerror, str(self._path)) from cause
        found = re.search(r"errno = (\d+)", str(cause))
        code = int(found[1]) if found else errno.EIO
        reason = os.strerror(code) if found else str(cause)
        kept = float(sonata.step_times(self._kept_steps, self._dt))
        text = f"recording failed: {reason}; it is kept up to {kept:g} ms, `evsim repair` makes it whole"
        raise OSError(code, text, str(self._path)) from cause

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._queue and not self._stopping:
                        self._changed.wait()
                    batches, self._queue = self._queue, []
                if not batches:
                    break
                self._claim(batches)
                self._append(batches)
                with self._changed:
                    self._pending -= sum(batch.n_bytes for batch in batches)
                    self._spare = [buffer for batch in batches[-2:] for buffer in batch.buffers]
                    self._changed.notify_all()
            self._finish()
        except BaseException as error:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._take_back()
            with contextlib.suppress(Exception):
                _abandon(self._file)
            with self._changed:
                self._error = error
                self._queue.clear()
                self._changed.notify_all()
        finally:
            sonata.LIVE.discard(self._token)
            _RUNNING.discard(self)

    def _claim(self, batches: list[Batch]) -> None:
        """Refuse a batch that the disk has no room for, while the file is whole."""
        need = RESERVE_BYTES
        for column in self._columns:
            added = sum(_added(batch, column, self._reports) for batch in batches)
            for path in sonata.growing(column) if added else []:
                rows, (per_chunk, across) = self._lengths[path], self._per_chunk[path]
                chunks = (math.ceil((rows + added) / per_chunk) - math.ceil(rows / per_chunk)) * across
                need += chunks * self._chunk_bytes[path]
        kept = float(sonata.step_times(self._kept_steps, self._dt))
        require_free(self._path, need, f"the recording up to {kept:g} ms is kept; ")

    def _append(self, batches: list[Batch]) -> None:
        for column in self._columns:
            kind, _, rest = column.partition("/")
            if kind == "spikes":
                self._append_spikes(column, [pair for batch in batches for pair in batch.spikes.get(rest, [])])
            elif kind == "weights":
                self._append_weights(column, [pair for batch in batches for pair in batch.weights.get(rest, [])])
            else:
                self._append_frames(column, [x for batch in batches for x in batch.frames.get(column, [])])
        steps, number = batches[-1].steps, len(self._rows) + 1
        self._rows.resize(number, axis=0)
        lengths = {path: len(data) for path, data in self._data.items()}
        self._rows[number - 1] = [number, steps, *(lengths[sonata.growing(column)[0]] for column in self._columns)]
        self._file.flush()
        self._kept_steps, self._lengths = steps, lengths

    def _take_back(self) -> None:
        """Shorten the file to its whole batches: no other reader shall see what of a failed one is not there."""
        for path, data in self._data.items():
            data.resize(self._lengths[path], axis=0)
        for column in self._reports:
            self._note_time(column, self._lengths[f"{column}/data"])

    def _append_spikes(self, column: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
        if not pairs:
            return
        times, ids = (self._data[path] for path in sonata.growing(column))
        at = len(times)
        total = at + sum(len(of_batch) for of_batch, _ in pairs)
        times.resize(total, axis=0)
        ids.resize(total, axis=0)
        for of_batch, indices in pairs:
            end = at + len(of_batch)
            times[at:end], ids[at:end] = of_batch, indices
            at = end

    def _append_frames(self, column: str, pieces: list[np.ndarray]) -> None:
        if not pieces:
            return
        data = self._data[f"{column}/data"]
        at = len(data)
        data.resize(at + sum(len(frames) for frames in pieces), axis=0)
        for frames in pieces:
            data[at : at + len(frames)] = frames
            at += len(frames)
        self._note_time(column, at)

    def _note_time(self, column: str, n_frames: int) -> None:
        report = self._reports[column]
        self._times[column][...] = sonata.report_time(report.start_ms, report.every_ms, n_frames, self._dt)

    def _append_weights(self, column: str, snapshots: list[tuple[int, np.ndarray]]) -> None:
        if not snapshots:
            return
        times, values = (self._data[path] for path in sonata.growing(column))
        at = len(times)
        times.resize(at + len(snapshots), axis=0)
        values.resize(at + len(snapshots), axis=0)
        times[at:] = sonata.step_times(np.array([step for step, _ in snapshots]), self._dt)
        for row, (_, snapshot) in enumerate(snapshots, start=at):
            values[row] = snapshot

    def _finish(self) -> None:
        require_free(self._path, RESERVE_BYTES // 2, "the recording is whole, its closing summary is not; ")
        text, complete = self._final
        if text:
            final = self._file["evsim/final"]
            final.resize(len(text.encode()), axis=0)
            final[:] = np.frombuffer(text.encode(), np.uint8)
        self._file["evsim/complete"][()] = np.uint8(complete)
        self._file.flush()
        self._file.close()


def _added(batch: Batch, column: str, reports: dict[str, sonata.ReportSpec]) -> int:
    if column in reports:
        return sum(len(frames) for frames in batch.frames.get(column, []))
    kind, _, rest = column.partition("/")
    if kind == "weights":
        return len(batch.weights.get(rest, []))
    return sum(len(times) for times, _ in batch.spikes.get(rest, []))


def _rows_and_columns(data: h5py.Dataset) -> tuple[int, int]:
    """The rows of one of its chunks, and how many chunks lie side by side."""
    return data.chunks[0], math.ceil(math.prod(data.shape[1:]) / math.prod(data.chunks[1:]))


def _abandon(file: h5py.File) -> None:
    """Close a file that may not be writable any more, leaving on disk what was flushed.

    HDF5 tries once more to write what a failed flush left, fails again, and crashes the process at exit. So
    when closing cannot be trusted, its descriptor is first pointed at an unnamed scratch file, where those
    writes succeed unseen.
    """
    if not file:
        return
    try:
        file.flush()
    except (OSError, RuntimeError):
        descriptor = file.id.get_vfd_handle()
        if hasattr(os, "memfd_create"):
            scratch = os.memfd_create("evsim")
        else:
            with tempfile.TemporaryFile() as unnamed:
                scratch = os.dup(unnamed.fileno())
        os.dup2(scratch, descriptor)
        os.close(scratch)
    file.close()
