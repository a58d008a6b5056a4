"""IDX files, the format of MNIST: a typed array of any number of dimensions, plain or compressed with gzip.

    bytes 0, 1   zero
    byte  2      type of the values, see TYPES
    byte  3      number of dimensions
    then         size of each dimension, unsigned 32-bit
    then         the values in C order; everything is big-endian

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MNIST = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the array of an IDX file.

    Parameters
    ----------
    path
        The file, compressed or not. Where it does not exist, the same name with or without .gz is tried.

    Returns
    -------
    array of the shape and type that the file states, in this machine's byte order.

    Raises
    ------
    FileNotFoundError : there is no such file under either name.
    ValueError : the file is not IDX, holds fewer or more values than it states, or is a damaged gzip file.
    """
    found = _find(Path(path))
    data = _content(found)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES:
        raise ValueError(
            f"{found}: not an IDX file, it begins with the bytes {data[:4].hex(' ') or 'of an empty file'}; "
            "an IDX file begins with 00 00, a type (08 to 0e) and the number of dimensions"
        )
    dtype, n_dimensions = np.dtype(TYPES[data[2]]), data[3]
    start = 4 + 4 * n_dimensions
    if len(data) < start:
        raise ValueError(f"{found}: ends within its header of {start} bytes, after {len(data)}; get the file again")
    shape = tuple(np.frombuffer(data, ">u4", n_dimensions, 4).tolist())
    expected = math.prod(shape) * dtype.itemsize
    if len(data) - start != expected:
        fault = "is truncated" if len(data) - start < expected else "is too long"
        raise ValueError(
            f"{found}: {fault}: its header states {' x '.join(map(str, shape))} values of {dtype.itemsize} bytes, "
            f"which are {expected} bytes, but {len(data) - start} follow; get the file again"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def load_mnist(folder: str | os.PathLike[str], split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of MNIST, or of a data set that comes in the same four files.

    Parameters
    ----------
    folder
        Holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
        each with or without .gz.
    split
        "train" or "test".

    Returns
    -------
    images : (n, 28, 28) uint8, 0 is background. labels : (n,) int64.

    Raises
    ------
    FileNotFoundError : a file is missing.
    ValueError : an unknown split, a damaged file, or files that do not hold images and their labels.
    """
    if split not in MNIST:
        raise ValueError(f"load_mnist: split is {split!r}; it must be 'train' or 'test'")
    image_path, label_path = (Path(folder) / name for name in MNIST[split])
    images, labels = read_idx(image_path), read_idx(label_path)
    for path, array, shape, words in (
        (image_path, images, (len(labels), 28, 28), "images of 28 x 28"),
        (label_path, labels, (len(labels),), "labels"),
    ):
        if array.dtype != np.uint8 or array.shape != shape:
            raise ValueError(
                f"{path}: holds {array.dtype} {array.shape}; uint8 {shape} were expected, {words}, "
                f"for the {len(labels)} labels of {label_path.name}"
            )
    return images, labels.astype(np.int64)


def _find(path: Path) -> Path:
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    for candidate in (path, other):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"{path.parent} has neither {path.name} nor {other.name}; put the file there, or name another folder"
    )


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: the compressed file is damaged or truncated ({error}); get the file again"
        ) from error
