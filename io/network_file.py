"""A layered network in an HDF5 file: its description as JSON, its arrays as datasets.

/                 format, format_version, evsim_version
/description      JSON: numbers, texts, lists and objects; an array is {"array": "<dataset>"}
/arrays/<place>   the array at a place in the description, with its dtype
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from evsim._version import __version__
from evsim.io.output import check_output, require_free

FORMAT = "evsim layered network"
FORMAT_VERSION = 1


def write_network(path: str | os.PathLike[str], description: dict[str, Any], overwrite: bool = False) -> Path:
    """Write a description of numbers, texts, lists, dicts and arrays in one move; returns the path, absolute.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError : before anything is written.
    OSError : the disk has no room (ENOSPC).
    """
    target = check_output(path, overwrite)
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps(_take_arrays(description, "arrays", arrays))
    require_free(target, sum(array.nbytes for array in arrays.values()) + len(text) + 2**20, "nothing is written; ")
    beside = target.with_name(f".{target.name}.part")
    try:
        with h5py.File(beside, "w") as file:
            file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
            file.attrs["evsim_version"] = __version__
            file["description"] = text
            for name, array in arrays.items():
                file[name] = array
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def read_network(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `write_network` wrote.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : not a file of a layered network, or of a later evsim, or an array is missing.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(errno.ENOENT, "no file of a network there", str(source))
    if not h5py.is_hdf5(source):
        raise ValueError(f"{source} is not a file of a network: not an HDF5 file")
    with h5py.File(source, "r") as file:
        if file.attrs.get("format") != FORMAT:
            raise ValueError(f"{source} is an HDF5 file but not one of Sequential.save")
        if file.attrs["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{source} has format version {file.attrs['format_version']}, written by evsim "
                f"{file.attrs['evsim_version']}; this evsim reads up to version {FORMAT_VERSION}: upgrade evsim"
            )
        description: dict[str, Any] = _put_arrays(json.loads(file["description"][()]), file)
    return description


def _take_arrays(value: Any, place: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value with references for its arrays, which are put into `arrays` by their place."""
    if isinstance(value, np.ndarray):
        arrays[place] = value
        return {"array": place}
    if isinstance(value, dict):
        return {name: _take_arrays(each, f"{place}/{name}", arrays) for name, each in value.items()}
    if isinstance(value, list):
        return [_take_arrays(each, f"{place}/{number}", arrays) for number, each in enumerate(value)]
    return value


def _put_arrays(value: Any, file: h5py.File) -> Any:
    """The value with its arrays in the place of the references."""
    if isinstance(value, list):
        return [_put_arrays(each, file) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"array"}:
        if value["array"] not in file:
            raise ValueError(f"{file.filename}: its array {value['array']!r} is missing")
        return file[value["array"]][()]
    return {name: _put_arrays(each, file) for name, each in value.items()}
