"""A training run in an HDF5 file: parameters, the optimiser's state, history, and how far it has come."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_training(
    path: Path,
    parameters: Mapping[str, Any],
    state: Mapping[str, Any],
    history: Mapping[str, list[float]],
    where: Mapping[str, int],
    sums: Mapping[str, float],
) -> None:
    """Write all in one move: a file that is there stays whole until the new one is."""
    unfinished = path.with_name(path.name + ".unfinished")
    with h5py.File(unfinished, "w") as file:
        file.attrs["format"] = "evsim training"
        for group, arrays in (("parameters", parameters), ("optimizer", state), ("history", history), ("sums", sums)):
            made = file.create_group(group)
            for name, array in arrays.items():
                made.create_dataset(name, data=np.asarray(array))
        for name, value in where.items():
            file.attrs[name] = np.uint64(value)
    os.replace(unfinished, path)


def read_training(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[float]], dict[str, int], Any]:
    """What write_training wrote: (parameters, state, history, where, sums).

    Raises
    ------
    ValueError : another kind of file.
    """
    with h5py.File(path, "r") as file:
        if file.attrs.get("format") != "evsim training":
            raise ValueError(f"{path}: it is no training run of evsim's")
        parameters, state = _arrays(file["parameters"]), _arrays(file["optimizer"])
        history = {name: [float(x) for x in values] for name, values in _arrays(file["history"]).items()}
        sums = {name: float(value) for name, value in _arrays(file["sums"]).items()}
        where = {name: int(file.attrs[name]) for name in ("epoch", "batch", "seed")}
    return parameters, state, history, where, sums


def _arrays(group: h5py.Group) -> dict[str, Any]:
    """All datasets of a group and the groups in it, by their names."""
    arrays: dict[str, Any] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    group.visititems(take)
    return arrays
