"""Recordings: spikes, state variables and weights streamed into one SONATA HDF5 file while the simulation runs.

The layout is in `evsim.io.sonata`, reading in `evsim.io.reader`, repair of killed files in `evsim.io.repair`.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from evsim.io import sonata
from evsim.io.output import check_output, require_free
from evsim.io.reader import Recording as Recording
from evsim.io.reader import State as State
from evsim.io.reader import WeightHistory as WeightHistory
from evsim.io.reader import open_recording as open_recording
from evsim.io.sonata import ReportSpec as ReportSpec
from evsim.io.sonata import WeightSpec as WeightSpec
from evsim.io.sonata import step_times as step_times
from evsim.io.stream import RESERVE_BYTES, Batch, Stream


class RecordingWriter:
    """Streams spikes, reports and weights of one simulation into one file; nothing handed over is lost.

    `write_spikes`, `write_frames` and `write_weights` collect, `commit` hands what was collected to a
    background thread as one batch: after a kill, a batch is in the file whole or not at all. Pending batches
    are bounded in bytes; `commit` waits when the disk is slower than the simulation. The writer owns the arrays
    it is given; do not change them afterwards.

    Parameters
    ----------
    path
        File to create; SONATA HDF5.
    populations
        Name -> number of neurons, of every population.
    spikes
        Populations whose spikes are recorded.
    reports
        State variables to be recorded.
    weights
        Projections whose weights are recorded, and of which synapses.
    dt
        Step in ms.
    metadata
        Nested dict of text, numbers, lists and NumPy arrays, kept with the file.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError : before anything is written.
    OSError : the disk has no room (ENOSPC), or another program has the file open.
    ValueError : a name, an id or an interval the file could not hold.

    Notes ----- A write that fails later (disk full, disk gone) stops the thread and is raised as OSError by
    the next call, whichever it is; what was flushed stays in the file. Of a `with` block that an error ends,
    the committed batches are kept.
    """

    _stream: Stream
    _batch: Batch
    _closed: bool
    _told: bool
    _finalizer: weakref.finalize[..., Any]

    def __init__(
        self,
        path: str | os.PathLike[str],
        populations: Mapping[str, int],
        spikes: Sequence[str] = (),
        reports: Sequence[ReportSpec] = (),
        dt: float = 0.1,
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        weights: Sequence[WeightSpec] = (),
    ) -> None:
        sonata.check_layout(populations, spikes, reports, weights, dt)
        self.path = check_output(path, overwrite)
        self.dt = dt
        self._populations = dict(populations)
        groups = sonata.report_groups(reports)
        self._reports = {report.name: (groups[report.name], report) for report in reports}
        first_chunks = sonata.CHUNK * (16 * len(spikes) + 4 * len(reports) + 4 * len(weights))
        first_chunks += sum(24 * len(spec.synapses) for spec in weights)
        require_free(self.path, RESERVE_BYTES + first_chunks)
        existed = self.path.exists()
        if existed:
            _refuse_live(self.path)
        try:
            file = sonata.create_recording(self.path, populations, spikes, reports, weights, dt, metadata or {})
        except BaseException as error:
            if not existed:
                self.path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OSError(
                    error.errno or 0,
                    f"recording cannot be created ({error}); close other users of it",
                    str(self.path),
                ) from error
            raise
        file.swmr_mode = True
        self._open_stream(file)
        self._last_time = dict.fromkeys(spikes, 0.0)
        self._spike_counts = dict.fromkeys(spikes, 0)
        self._frame_counts = dict.fromkeys(self._reports, 0)
        self._synapses = {spec.name: len(spec.synapses) for spec in weights}
        self._last_snapshot = dict.fromkeys(self._synapses, -1)
        self._steps = 0

    @property
    def spike_counts(self) -> dict[str, int]:
        """Spikes handed over so far, by population."""
        return dict(self._spike_counts)

    @property
    def frame_counts(self) -> dict[str, int]:
        """Frames handed over so far, by report."""
        return dict(self._frame_counts)

    def buffer(self, n_spikes: int) -> tuple[np.ndarray, np.ndarray]:
        """Arrays (n_spikes,), float64 and uint64, for times and ids handed over in the next batch, and only in that."""
        self._check_open()
        buffer = self._stream.buffer(n_spikes)
        self._batch.buffers.append(buffer)
        return buffer[0, :n_spikes], buffer[1, :n_spikes].view(np.uint64)

    def write_spikes(self, population: str, times: np.ndarray, ids: np.ndarray) -> None:
        """Add spikes of one population to the batch.

        Parameters
        ----------
        population
            One of those whose spikes are recorded.
        times
            float64 (n,), ms, multiples of dt as `step_times` gives them; ascending, none before the last one handed
            over.
        ids
            uint64 (n,), neuron of each spike within its population.

        Raises
        ------
        ValueError : unknown population, unequal lengths, times not ascending, an id out of range.
        OSError : the writing thread has stopped; the message says why.
        """
        self._check_open()
        if population not in self._last_time:
            raise ValueError(
                f"spikes: population '{population}' is not recorded; recorded: {', '.join(self._last_time) or 'none'}"
            )
        times = np.asarray(times, np.float64)
        ids = np.asarray(ids)
        if times.ndim != 1 or times.shape != ids.shape or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"spikes of '{population}': times {times.shape} and ids {ids.dtype} {ids.shape}; "
                "both must be 1-D, the ids integers, and of one length"
            )
        if len(times) == 0:
            return
        size = self._populations[population]
        numbers = ids.astype(np.uint64, copy=False)  # negative ones become large
        if int(numbers.max()) >= size:
            at = int(np.argmax(numbers >= size))
            raise ValueError(f"spikes of '{population}': ids[{at}] is {ids[at]}; ids must be 0 to {size - 1}")
        last = self._last_time[population]
        if not last <= times[0] < np.inf:
            raise ValueError(
                f"spikes of '{population}': times[0] is {times[0]:g} ms, before the last batch's {last:g} ms or not "
                "finite; hand spikes over in order of time"
            )
        if not (np.all(times[:-1] <= times[1:]) and times[-1] < np.inf):  # both false of nan
            at = int(np.argmin((times[:-1] <= times[1:]) & (times[1:] < np.inf))) + 1
            raise ValueError(
                f"spikes of '{population}': times[{at}] is {times[at]:g} ms after {times[at - 1]:g} ms; times must be "
                "finite and ascending"
            )
        self._last_time[population] = float(times[-1])
        self._steps = max(self._steps, sonata.to_steps(times[-1], self.dt) + 1)
        self._spike_counts[population] += len(times)
        self._batch.spikes.setdefault(population, []).append((times, numbers))
        self._batch.n_bytes += times.nbytes + numbers.nbytes

    def write_frames(self, report: str, frames: np.ndarray) -> None:
        """Add frames of one report to the batch.

        Parameters
        ----------
        report
            Name of the report.
        frames
            float32 (n_frames, n_ids), the frames that follow those handed over before.

        Raises
        ------
        ValueError : unknown report, wrong shape, a value that is not finite.
        OSError : the writing thread has stopped; the message says why.
        """
        self._check_open()
        if report not in self._reports:
            raise ValueError(f"frames: unknown report '{report}'; known: {', '.join(self._reports) or 'none'}")
        group, spec = self._reports[report]
        frames = np.asarray(frames, np.float32)
        n_ids = len(spec.node_ids)
        if frames.ndim != 2 or frames.shape[1] != n_ids:
            raise ValueError(
                f"report '{report}' of population '{spec.population}': frames {frames.shape}; "
                f"the shape must be (n_frames, {n_ids})"
            )
        if not np.isfinite(frames).all():
            row, column = np.argwhere(~np.isfinite(frames))[0]
            raise ValueError(
                f"report '{report}': {spec.variable} of neuron {spec.node_ids[column]} of population "
                f"'{spec.population}' is {frames[row, column]} in frame {self._frame_counts[report] + row}; "
                "values must be finite (a model that diverges needs a smaller dt or weaker weights)"
            )
        if len(frames) == 0:
            return
        self._frame_counts[report] += len(frames)
        last = spec.start_ms + (self._frame_counts[report] - 1) * spec.every_ms
        self._steps = max(self._steps, sonata.to_steps(last, self.dt) + 1)
        self._batch.frames.setdefault(group, []).append(frames)
        self._batch.n_bytes += frames.nbytes

    def write_weights(self, projection: str, step: int, values: np.ndarray) -> None:
        """Add a snapshot of a projection's weights to the batch.

        Parameters
        ----------
        projection
            Name of one of those whose weights are recorded.
        step
            Step before which the weights are these, after that of the last snapshot.
        values
            float32 (n,), of the recorded synapses.

        Raises
        ------
        ValueError : unknown projection, wrong shape, a step that does not ascend.
        OSError : the writing thread has stopped; the message says why.
        """
        self._check_open()
        if projection not in self._synapses:
            known = ", ".join(self._synapses) or "none"
            raise ValueError(f"weights: those of projection '{projection}' are not recorded; recorded: {known}")
        values = np.asarray(values, np.float32)
        n = self._synapses[projection]
        if values.shape != (n,):
            raise ValueError(f"weights of '{projection}': values {values.shape}; the shape must be ({n},)")
        last = self._last_snapshot[projection]
        if step <= last:
            raise ValueError(
                f"weights of '{projection}': step is {step}, not after step {last} of the last snapshot; hand them "
                "over in order of time"
            )
        self._last_snapshot[projection] = step
        self._steps = max(self._steps, step)
        self._batch.weights.setdefault(projection, []).append((step, values))
        self._batch.n_bytes += values.nbytes

    def commit(self, steps: int | None = None) -> None:
        """Make what was handed over since the last commit one batch, appended in the background.

        Parameters
        ----------
        steps
            Steps simulated so far, which becomes the recording's duration. Left out: up to the last spike or
            frame.

        Raises
        ------
        OSError : the writing thread has stopped; the message says why.
        """
        self._check_open()
        self._steps = max(self._steps, steps or 0)
        self._batch.steps = self._steps
        batch, self._batch = self._batch, Batch()
        try:
            self._stream.put(batch)
        except OSError:
            self._told = True
            raise

    def flush(self) -> None:
        """Wait until all committed batches are in the file; raises as `commit` does."""
        self._check_open()
        try:
            self._stream.flush()
        except OSError:
            self._told = True
            raise

    def close(self, final_metadata: Mapping[str, Any] | None = None, complete: bool = True) -> None:
        """Commit the rest, write the closing words and close the file. Further calls do nothing.

        Parameters
        ----------
        final_metadata
            Like `metadata`, known only at the end: wall time, counts.
        complete
            Whether the simulation ended as planned.

        Raises
        ------
        OSError : the writing thread has stopped early, unless an earlier call has said so.
        """
        if self._closed:
            return
        text = sonata.to_json(dict(final_metadata or {}))
        try:
            if not self._told and (self._batch.n_bytes or self._batch.steps < self._steps):
                self.commit()
            self._closed = True
            self._finalizer.detach()
            self._stream.stop(text, complete)
        except OSError:
            self._closed = True
            if not self._told:
                raise

    def resume(self) -> None:
        """Open the file again after `close`, to append more. Does nothing to an open recording.

        Raises
        ------
        OSError : the file is gone, or another program has it open.
        """
        if not self._closed:
            return
        file = h5py.File(self.path, "r+", **sonata.ACCESS)
        file["evsim/complete"][()] = np.uint8(False)
        file.swmr_mode = True
        self._open_stream(file)

    def _open_stream(self, file: h5py.File) -> None:
        self._stream = Stream(file, self.path, dict(self._reports.values()), self.dt)
        self._batch = Batch()
        self._closed = False
        self._told = False
        self._finalizer = weakref.finalize(self, self._stream.stop)
        self._finalizer.atexit = False  # the stream sees to that, in the right order

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._told = True  # the error on its way is the one to report; a batch it cut short is no batch
        self.close(complete=kind is None)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"recording '{self.path}' is closed; make a new RecordingWriter")
        try:
            self._stream.check()
        except OSError:
            self._told = True
            raise


def _refuse_live(path: Path) -> None:
    """Raise when another simulation is writing the file that is about to be replaced."""
    try:
        recording = open_recording(path)
    except (OSError, ValueError):
        return  # not a recording: overwrite=True has been given
    with recording:
        if recording.writing:
            raise PermissionError(
                errno.EBUSY,
                "output is being written by another simulation; wait or choose another path",
                str(path),
            )
