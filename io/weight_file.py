"""Trained weights in an HDF5 file of their own.

/                        format, format_version, evsim_version, time (ms simulated)
/projections/<name>      source, target
    pre, post            uint32 (n,), of each synapse, within source and target
    delay                float64 (n,), ms
    weight               float32 (n,)
/thresholds/<population>
    theta                float64 (n_neurons,), what adaptation has added to v_threshold, mV
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from evsim._version import __version__
from evsim.io.output import check_output, require_free

FORMAT = "evsim weights"
FORMAT_VERSION = 1


class SavedProjection(NamedTuple):
    """A projection's synapses, in the order of Simulation.synapses: pre, post int64 (n,), delay float64 (n,) in ms,
    weight float32 (n,); source and target in words."""

    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    delay: np.ndarray
    weight: np.ndarray


class SavedWeights(NamedTuple):
    """What a file holds: projections by name, theta (n_neurons,) by population."""

    projections: dict[str, SavedProjection]
    theta: dict[str, np.ndarray]


def write_weights(
    path: str | os.PathLike[str],
    projections: Mapping[str, SavedProjection],
    theta: Mapping[str, np.ndarray],
    time: float,
    overwrite: bool = False,
) -> Path:
    """Write weights to a file beside `path`, which then takes its place in one move; returns the path, absolute.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError : before anything is written.
    OSError : the disk has no room (ENOSPC).
    """
    target = check_output(path, overwrite)
    n_bytes = sum(20 * len(saved.weight) for saved in projections.values()) + sum(8 * len(x) for x in theta.values())
    require_free(target, n_bytes + 2**20, "nothing is written; ")
    beside = target.with_name(f".{target.name}.part")
    try:
        with h5py.File(beside, "w") as file:
            file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
            file.attrs["evsim_version"], file.attrs["time"] = __version__, time
            for name, saved in projections.items():
                group = file.create_group(f"projections/{name}")
                group.attrs["source"], group.attrs["target"] = saved.source, saved.target
                group["pre"], group["post"] = saved.pre.astype(np.uint32), saved.post.astype(np.uint32)
                group["delay"], group["weight"] = saved.delay, saved.weight
                group["delay"].attrs["units"] = "ms"
            for name, values in theta.items():
                file[f"thresholds/{name}/theta"] = values
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def read_weights(path: str | os.PathLike[str]) -> SavedWeights:
    """Read what `write_weights` wrote.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not a file of weights, or of a later evsim.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(errno.ENOENT, "no file of weights there", str(source))
    if not h5py.is_hdf5(source):
        raise ValueError(f"{source} is not a file of weights: not an HDF5 file")
    with h5py.File(source, "r") as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"{source} is an HDF5 file but not one of Simulation.save_weights")
        if file.attrs["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{source} has format version {file.attrs['format_version']}, written by evsim "
                f"{file.attrs['evsim_version']}; this evsim reads up to version {FORMAT_VERSION}: upgrade evsim"
            )
        projections = {name: _read_projection(group) for name, group in file.get("projections", {}).items()}
        theta = {name: group["theta"][()] for name, group in file.get("thresholds", {}).items()}
    return SavedWeights(projections, theta)


def _read_projection(group: h5py.Group) -> SavedProjection:
    pre, post = (group[side][()].astype(np.int64) for side in ("pre", "post"))
    return SavedProjection(
        group.attrs["source"], group.attrs["target"], pre, post, group["delay"][()], group["weight"][()]
    )
