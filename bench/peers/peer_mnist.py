"""MNIST for the peer benchmarks, from a folder with its four IDX files, packed (.gz) or not."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

SIDE = 28  # pixels


def read_idx(folder: Path, name: str, header: int, size: int) -> np.ndarray:
    """Return the first size bytes after the header of a file, uint8."""
    plain = folder / name
    packed = plain.with_name(f"{name}.gz")
    if not plain.exists() and not packed.exists():
        sys.exit(f"{folder} has neither {plain.name} nor {packed.name}; name MNIST's folder with --data")
    with plain.open("rb") if plain.exists() else gzip.open(packed) as file:
        file.seek(header)
        return np.frombuffer(bytearray(file.read(size)), np.uint8)  # bytearray: torch wants to be able to write


def read_images(folder: Path, part: str, number: int) -> np.ndarray:
    """Return the first images of "train" or "t10k", (number, 1, 28, 28) uint8."""
    pixels = read_idx(folder, f"{part}-images-idx3-ubyte", 16, number * SIDE * SIDE)
    return pixels.reshape(number, 1, SIDE, SIDE)


def read_labels(folder: Path, part: str, number: int) -> np.ndarray:
    """Return the first labels of "train" or "t10k", (number,) uint8."""
    return read_idx(folder, f"{part}-labels-idx1-ubyte", 8, number)
