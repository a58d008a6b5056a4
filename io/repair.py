"""Making a recording whole after its simulation was killed, and packing one for keeping."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from evsim.io import sonata
from evsim.io.output import check_output, require_free
from evsim.io.reader import Recording, open_recording

BLOCK_BYTES = 8 * 2**20  # copied at a time


@dataclass(frozen=True)
class RepairReport:
    """What `repair_recording` found.

    Attributes
    ----------
    path
        The file.
    repaired
        False where there was nothing to do.
    duration
        Simulated time in the file, in ms.
    spikes
        Population -> spikes kept.
    dropped
        Dataset -> rows left out, which belonged to a batch that was cut off; empty where none were.
    """

    path: Path
    repaired: bool
    duration: float
    spikes: dict[str, int]
    dropped: dict[str, int]

    def __str__(self) -> str:
        held = ", ".join(f"{n} spikes of {population}" for population, n in self.spikes.items())
        text = f"{self.path}: {'repaired' if self.repaired else 'nothing to repair'}; {self.duration:g} ms"
        text += f"; {held}" if held else ""
        return text + (f"; cut-off rows left out: {self.dropped}" if self.dropped else "")


def repair_recording(path: str | os.PathLike[str]) -> RepairReport:
    """Make a recording that was cut off readable by any HDF5 program again.

    Whole batches are copied to a file beside it, which then replaces it in one move: an interruption leaves
    the old file. A whole file is left alone. Recordings written on another host cannot be told from abandoned
    ones: make sure that no simulation is writing there.

    Parameters
    ----------
    path
        The recording.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not a recording of evsim.
    PermissionError : a simulation is still writing it.
    OSError : no room for the copy (ENOSPC).
    """
    target = Path(path).absolute()
    with open_recording(target) as recording:
        if recording.writing:
            raise PermissionError(errno.EBUSY, "recording is still being written; nothing to repair", str(target))
        lengths = recording.lengths()
        dropped = {}
        for column in list(lengths)[1:]:
            for name in sonata.growing(column):
                extra = len(recording._file[name]) - lengths[column]
                if extra:
                    dropped[name] = extra
        report = RepairReport(
            path=target,
            repaired=recording.unfinished or bool(dropped),
            duration=recording.duration,
            spikes={population: recording.n_spikes(population) for population in recording.recorded},
            dropped=dropped,
        )
        if not report.repaired:
            return report
        beside = target.with_name(f".{target.name}.repair")
        _copy_recording(recording, beside, {})
    os.replace(beside, target)
    return report


def pack_recording(path: str | os.PathLike[str], out: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Copy a recording with gzip and byte shuffle, several times smaller, for keeping.

    h5py, h5dump, MATLAB, bmtk and evsim read the copy; the libsonata wheel has no gzip and does not.

    Parameters
    ----------
    path
        The recording.
    out
        File to create.
    overwrite
        Whether an existing file is replaced.

    Returns
    -------
    The path of the copy.

    Raises
    ------
    FileNotFoundError, FileExistsError, PermissionError : as for a new recording.
    ValueError : not a recording of evsim, or `out` is the recording itself.
    """
    target = check_output(out, overwrite)
    if target.exists() and Path(path).exists() and os.path.samefile(path, target):
        raise ValueError(f"{target}: a recording cannot be packed into itself; choose another name")
    beside = target.with_name(f".{target.name}.pack")
    with open_recording(path) as recording:
        _copy_recording(recording, beside, {"compression": "gzip", "compression_opts": 4, "shuffle": True})
    os.replace(beside, target)
    return target


def _copy_recording(recording: Recording, out: Path, filters: dict[str, Any]) -> None:
    """Copy the whole batches of a recording into a new file, which is removed again should that fail."""
    source = recording._file
    lengths = {}
    for column, n in recording.lengths().items():
        if column != "steps":
            lengths.update(dict.fromkeys(sonata.growing(column), n))
    lengths["evsim/batches"] = recording.n_batches()
    if not filters:
        require_free(out, recording.path.stat().st_size + 2**20, "the recording is untouched; ")
    try:
        with h5py.File(out, "w", libver=sonata.LIBVER) as target:
            _copy_attributes(source, target)
            _copy_group(source, target, lengths, filters)
            for column, n in recording.lengths().items():
                if column.startswith("report/"):
                    time = target[f"{column}/mapping/time"]
                    time[...] = sonata.report_time(float(time[0]), float(time[2]), n, recording.dt)
            target["evsim"].attrs["writer"] = json.dumps({**json.loads(target["evsim"].attrs["writer"]), "pid": 0})
        with open(out, "rb") as written:
            os.fsync(written.fileno())
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _copy_group(source: h5py.Group, target: h5py.Group, lengths: dict[str, int], filters: dict[str, Any]) -> None:
    for name, item in source.items():
        if name == "index_pointer":
            continue  # the second name of index_pointers, linked below
        if isinstance(item, h5py.Group):
            _copy_attributes(item, target.create_group(name))
            _copy_group(item, target[name], lengths, filters)
        else:
            _copy_dataset(item, target, name, lengths.get(item.name.strip("/")), filters)
    if "index_pointers" in target:
        target["index_pointer"] = target["index_pointers"]


def _copy_dataset(source: h5py.Dataset, target: h5py.Group, name: str, n: int | None, filters: dict[str, Any]) -> None:
    if n is None:
        data = target.create_dataset(name, data=source[()])
    else:
        shape = (n, *source.shape[1:])
        data = target.create_dataset(
            name, shape, source.dtype, maxshape=source.maxshape, chunks=source.chunks, **filters
        )
        row = source.dtype.itemsize * max(1, data.size // max(1, n))
        per_chunk = source.chunks[0]
        block = max(1, BLOCK_BYTES // (row * per_chunk)) * per_chunk
        for begin in range(0, n, block):
            end = min(n, begin + block)
            data[begin:end] = source[begin:end]
    _copy_attributes(source, data)


def _copy_attributes(source: h5py.HLObject, target: h5py.HLObject) -> None:
    for name in source.attrs:
        attribute = source.attrs.get_id(name)
        target.attrs.create(name, source.attrs[name], shape=attribute.shape, dtype=attribute.dtype)
