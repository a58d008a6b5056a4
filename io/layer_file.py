"""Frames of recorded layers in an HDF5 file: <layer>/<variable> (T, B, ...), one call's steps after the other's."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

CHUNK_VALUES = 2**16


def create_layer_file(path: Path, dt: float) -> None:
    """An empty file, in the place of one that is there."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "evsim layers"
        file.attrs["dt"] = dt


def append_frames(path: Path, layer: str, variable: str, frames: NDArray[np.float32]) -> None:
    """Add frames (T, B, ...) to a dataset, which the first ones make."""
    with h5py.File(path, "r+") as file:
        name = f"{layer}/{variable}"
        shape = frames.shape[1:]
        if name not in file:
            steps = max(1, CHUNK_VALUES // max(int(np.prod(shape)), 1))
            options = {"maxshape": (None, *shape), "chunks": (steps, *shape), "shuffle": True, "compression": 1}
            file.create_dataset(name, (0, *shape), np.float32, **options)
        dataset = file[name]
        n = len(dataset)
        dataset.resize(n + len(frames), axis=0)
        dataset[n:] = frames


def read_frames(path: Path, layer: str, variable: str) -> NDArray[np.float32]:
    """All frames of a dataset, (T, B, ...)."""
    with h5py.File(path, "r") as file:
        frames: NDArray[np.float32] = file[f"{layer}/{variable}"][:]
        return frames
