"""Checkpoints: everything that changes in a simulation, in one HDF5 file.

/                  format, format_version, evsim_version; configuration: JSON text of what it belongs to
/arrays/<name>     as they are
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from evsim._version import __version__
from evsim.io.output import check_output

FORMAT = "evsim checkpoint"
FORMAT_VERSION = 2


def write_checkpoint(
    path: str | os.PathLike[str], configuration: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write arrays that belong to a configuration; an older file is there until the new one is whole.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, PermissionError : the path cannot be written.
    OSError : the disk has no room.
    """
    path = check_output(path, overwrite=True)
    unfinished = path.with_name(path.name + ".unfinished")
    with h5py.File(unfinished, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["evsim_version"] = __version__
        file.create_dataset("configuration", data=json.dumps(configuration, sort_keys=True))
        for name, array in arrays.items():
            file.create_dataset(f"arrays/{name}", data=array)
    os.replace(unfinished, path)


def read_checkpoint(path: str | os.PathLike[str], configuration: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint of the same configuration.

    Raises
    ------
    FileNotFoundError, OSError : no such file, or not HDF5.
    ValueError : not a checkpoint, or one of another configuration; the message names what differs.
    """
    if Path(path).is_file() and not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not a checkpoint: it is no HDF5 file")
    with h5py.File(Path(path), "r") as file:
        if file.attrs.get("format") != FORMAT or file.attrs["format_version"] != FORMAT_VERSION:
            raise ValueError(f"{path} is not a checkpoint that evsim {__version__} reads")
        before = json.loads(file["configuration"][()])
        now = json.loads(json.dumps(configuration))
        difference = _difference(before, now, "")
        if difference:
            raise ValueError(f"checkpoint {path} belongs to another configuration: {difference}")
        return {name: data[()] for name, data in file["arrays"].items()}


def _difference(before: Any, now: Any, place: str) -> str:
    """The first place where two configurations differ, in words; empty where they are equal."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(f"{place}.{key}".strip("."), before.get(key), now.get(key)) for key in sorted({*before, *now})]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(f"{place}[{i}]", a, b) for i, (a, b) in enumerate(zip(before, now, strict=True))]
    else:
        return "" if before == now else f"{place} was {before!r} there, and is {now!r} here"
    return next(filter(None, (_difference(a, b, inner) for inner, a, b in pairs)), "")
