"""Streams of events, such as those of a silicon cochlea or an event camera, in the HDF5 layout of the Heidelberg data.

/
    spikes/times     (n_samples,) of floats of any length, s from the sample's beginning
    spikes/units     (n_samples,) of whole numbers of the same lengths
    labels           (n_samples,) whole numbers

Source: Cramer et al. 2022, "The Heidelberg spiking data sets for the systematic evaluation of spiking neural networks".
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from evsim import checks
from evsim.batch_input import EventInput
from evsim.io.output import check_output, require_free

LAYOUT = {"spikes/times": "f", "spikes/units": "iu", "labels": "iu"}  # kinds of their numbers


@dataclass(frozen=True, eq=False)
class EventStream:
    """Events of many samples: times[i] and units[i] are arrays, those of a file are read when they are asked for.

    Parameters
    ----------
    times
        (n_samples,) arrays (n_events,), s from the beginning of the sample.
    units
        (n_samples,) arrays (n_events,) of whole numbers.
    labels
        (n_samples,) int64.
    path
        The file they come from, which `close` closes, as leaving a `with` block does.

    Raises
    ------
    ValueError : times, units and labels that are not of one length.
    """

    times: Sequence[np.ndarray]
    units: Sequence[np.ndarray]
    labels: np.ndarray
    path: str = "event stream"

    def __post_init__(self) -> None:
        if not len(self.times) == len(self.units) == len(self.labels):
            raise ValueError(
                f"{self.path}: holds {len(self.times)} times, {len(self.units)} units and {len(self.labels)} labels; "
                "there must be one of each for a sample"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def bin(
        self,
        samples: Any,
        n_steps: int,
        *,
        n_units: int,
        dt: float | None = None,
        duration: float | None = None,
        crop: bool = False,
    ) -> EventInput:
        """Some samples as the input of a batch: an event at time t is a spike in step floor(t / dt).

        Parameters
        ----------
        samples
            (B,) which samples.
        n_steps
            T.
        n_units
            Units of a sample.
        dt, duration
            Length of a step, or of all T steps, in s: one of the two.
        crop
            Whether to leave out the events from T dt on; else they are refused.

        Raises
        ------
        IndexError : no such sample.
        ValueError : both or neither of dt and duration; times that are negative, not finite or too late; no such unit.
        """
        n_steps = checks.size(self.path, "n_steps", n_steps, 1)
        if duration is not None and dt is None:
            step = duration / n_steps
        elif dt is not None and duration is None:
            step = dt
        else:
            raise ValueError(f"{self.path}: dt is {dt} and duration is {duration}; give one of them, in s")
        chosen = [int(sample) for sample in samples]
        missing = [sample for sample in chosen if not 0 <= sample < len(self)]
        if missing:
            raise IndexError(f"{self.path}: there is no sample {missing[0]}; samples must be in [0, {len(self)})")
        return EventInput.from_events(
            [self.times[sample] for sample in chosen],
            [self.units[sample] for sample in chosen],
            n_steps,
            n_units,
            step,
            crop,
            [f"{self.path}, sample {sample}" for sample in chosen],
        )

    def close(self) -> None:
        """Close the file; times and units can no longer be read."""
        if isinstance(self.times, h5py.Dataset):
            self.times.file.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def read_event_stream(path: str | os.PathLike[str]) -> EventStream:
    """Open a file of events; `with read_event_stream(path) as stream:` closes it.

    Parameters
    ----------
    path
        The file, not compressed (SHD and SSC come as .h5.gz and .h5.zip).

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not an HDF5 file, or one of another layout.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(errno.ENOENT, "no file of events there", str(source))
    if not h5py.is_hdf5(source):
        raise ValueError(f"{source} is not a file of events: not an HDF5 file; unpack it if it is compressed")
    file = h5py.File(source, "r")
    try:
        times, units, labels = (_dataset(source, file, *item) for item in LAYOUT.items())
        return EventStream(times, units, labels[()].astype(np.int64), str(source))
    except ValueError:
        file.close()
        raise


def write_event_stream(
    path: str | os.PathLike[str],
    times: Sequence[np.ndarray],
    units: Sequence[np.ndarray],
    labels: np.ndarray,
    overwrite: bool = False,
) -> Path:
    """Write events to a file beside `path`, which then takes its place in one move; returns the path, absolute.

    Parameters
    ----------
    times, units, labels
        As those of an EventStream; they are stored as float64, uint32 and int64.

    Raises
    ------
    ValueError : times that are negative or not finite, units or labels that are not whole, lengths that differ.
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError : before anything is written.
    OSError : the disk has no room (ENOSPC).
    """
    target = check_output(path, overwrite)
    stream = EventStream(times, units, labels, str(target))
    rows = []
    for i in range(len(stream)):
        owner = f"{target}, sample {i}"
        unit = checks.indices(owner, "units", units[i], 2**32)
        rows.append((checks.numbers(owner, "times", np.atleast_1d(times[i]), unit.shape, 0.0, unit="s"), unit))
    label = checks.indices(str(target), "labels", labels, 2**63)
    require_free(target, sum(12 * unit.size + 40 for _, unit in rows) + 2**20, "nothing is written; ")
    beside = target.with_name(f".{target.name}.part")
    try:
        with h5py.File(beside, "w") as file:
            for name, column, kind in (("times", 0, np.float64), ("units", 1, np.uint32)):
                data = file.create_dataset(f"spikes/{name}", len(rows), h5py.vlen_dtype(kind))
                for i, row in enumerate(rows):
                    data[i] = row[column]
            file["labels"] = label
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _dataset(source: Path, file: h5py.File, name: str, kinds: str) -> h5py.Dataset:
    """A dataset (n_samples,) of whole or real numbers: one a sample, or for spikes any number a sample."""
    data = file.get(name)
    kind = getattr(data, "dtype", None)
    kind = h5py.check_vlen_dtype(kind) if kind is not None and name.startswith("spikes/") else kind
    if not isinstance(data, h5py.Dataset) or data.ndim != 1 or kind is None or kind.kind not in kinds:
        found = f"{data.dtype} {data.shape}" if isinstance(data, h5py.Dataset) else "none"
        what = "real" if kinds == "f" else "whole"
        many = " of any length" if name.startswith("spikes/") else ""
        raise ValueError(f"{source}: /{name} must hold {what} numbers{many} for each sample; there is {found}")
    return data
