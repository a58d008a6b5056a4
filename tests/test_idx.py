"""IDX files: what was written is read, damage is named, and MNIST is MNIST."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evsim.io.idx import MNIST, TYPES, load_mnist, read_idx

SHARED = Path(__file__).parents[2] / "shared" / "data"
DATA = Path(os.environ.get("EVSIM_DATA") or SHARED) / "mnist"
CODES = {np.dtype(name).newbyteorder("="): code for code, name in TYPES.items()}


def idx(array):
    """The bytes of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder, split="train", images=None, labels=None):
    names = MNIST[split]
    images = np.arange(3 * 28 * 28).astype(np.uint8).reshape(3, 28, 28) if images is None else images
    labels = np.array([7, 0, 9], np.uint8) if labels is None else labels
    (folder / names[0]).write_bytes(idx(images))
    (folder / f"{names[1]}.gz").write_bytes(gzip.compress(idx(labels)))
    return images, labels


@given(st.sampled_from(sorted(CODES, key=str)).flatmap(lambda dtype: arrays(dtype, array_shapes(min_side=0))))
def test_what_was_written_is_read(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "a"
    for content in (idx(array), gzip.compress(idx(array))):
        path.write_bytes(content)
        got = read_idx(path)
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_either_name_is_found(tmp_path):
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "plain.gz", "packed", "packed.gz"):
        np.testing.assert_array_equal(read_idx(str(tmp_path / name)), array)


def test_mnist_is_read_from_plain_and_compressed_files(tmp_path):
    for split in ("train", "test"):
        images, labels = write_mnist(tmp_path, split)
        got_images, got_labels = load_mnist(tmp_path, split)
        np.testing.assert_array_equal(got_images, images)
        np.testing.assert_array_equal(got_labels, labels)
        assert got_labels.dtype == np.int64


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"neither a\.gz nor a; put the file there"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file, it begins with the bytes of an empty file"),
        (b"<html>", r"begins with the bytes 3c 68 74 6d; an IDX file begins with 00 00"),
        (b"\0\0\x07\x01" + bytes(8), "begins with the bytes 00 00 07 01"),
        (b"\0\0\x08\x03\0\0", "ends within its header of 16 bytes, after 6"),
        (idx(np.zeros((2, 3), np.uint8))[:-1], "is truncated: its header states 2 x 3 .* 6 bytes, but 5 follow"),
        (idx(np.zeros((2, 3), np.uint8)) + b"\0", "is too long"),
        (struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4), "is truncated"),
        (gzip.compress(idx(np.arange(1000, dtype=np.int32)))[:-20], "compressed file is damaged or truncated"),
        (gzip.compress(idx(np.arange(99, dtype=np.int32)))[:-8] + bytes(8), "compressed file is damaged"),
    ],
)
def test_damage_is_named(tmp_path, content, words):
    path = tmp_path / "digits"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path}: .*{words}"):
        read_idx(path)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="split is 'valid'; it must be 'train' or 'test'"):
        load_mnist(tmp_path, "valid")
    for images, labels, words in (
        (np.zeros((3, 28, 27), np.uint8), None, r"images-idx3-ubyte: holds uint8 \(3, 28, 27\); .* images of 28 x 28"),
        (np.zeros((3, 28, 28), np.int32), None, r"images-idx3-ubyte: holds int32"),
        (np.zeros((4, 28, 28), np.uint8), None, r"holds uint8 \(4, 28, 28\); .* for the 3 labels"),
        (None, np.zeros((3, 1), np.uint8), r"labels-idx1-ubyte: holds uint8 \(3, 1\)"),
    ):
        write_mnist(tmp_path, images=images, labels=labels)
        with pytest.raises(ValueError, match=words):
            load_mnist(tmp_path)


@pytest.mark.skipif(not DATA.is_dir(), reason="no MNIST: set EVSIM_DATA to a folder with mnist/ in it")
@pytest.mark.parametrize(
    ("split", "size", "counts", "first"),
    [
        ("train", 60_000, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], [5, 0, 4, 1, 9]),
        ("test", 10_000, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], [7, 2, 1, 0, 4]),
    ],
)
def test_mnist(split, size, counts, first):
    images, labels = load_mnist(DATA, split)
    assert images.shape == (size, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == counts
    assert labels[:5].tolist() == first
    assert abs(images.mean() / 255 - 0.1317) < 0.002
