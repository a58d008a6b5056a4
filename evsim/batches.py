"""Batches of a data set, in an order that is the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evsim import checks


def batches(
    *arrays: Any, size: int, seed: int | None = None, epoch: int = 0, drop_last: bool = False
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Go once through arrays, `size` samples at a time: for x, y in batches(images, labels, size=64, seed=1): ...

    Parameters
    ----------
    arrays
        (n_samples, ...) each; one array gives tuples of one, as zip does.
    size
        Samples of a batch.
    seed
        None keeps the order; a number in [0, 2^64) shuffles, every epoch otherwise.
    epoch
        Which time it is, in [0, 2^64).
    drop_last
        Whether to leave out a last batch of fewer samples.

    Yields
    ------
    a tuple of arrays (size, ...), one of each.

    Raises
    ------
    ValueError : no arrays, or arrays of different lengths; a size below 1.
    """
    sources = [np.asarray(array) for array in arrays]
    lengths = [len(source) if source.ndim else 0 for source in sources]
    if not sources or not all(source.ndim for source in sources) or len(set(lengths)) > 1:
        shapes = ", ".join(str(source.shape) for source in sources) or "none"
        raise ValueError(
            f"batches: the arrays' shapes are {shapes}; their first axes must be of one length, that of the samples"
        )
    n, size = lengths[0], checks.size("batches", "size", size, 1)
    order = np.arange(n) if seed is None else shuffled(n, seed, epoch)
    last = n - size if drop_last else n - 1
    return (tuple(source[order[at : at + size]] for source in sources) for at in range(0, last + 1, size))


def shuffled(n: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """The numbers 0 to n - 1 in an order that is a function of seed and epoch, both in [0, 2^64).

    They are sorted by Philox words, which NumPy promises not to change, as it does not of Generator.permutation.
    """
    key = [checks.size("batches", name, value, high=2**64 - 1) for name, value in (("seed", seed), ("epoch", epoch))]
    return np.argsort(np.random.Philox(key=np.array(key, np.uint64)).random_raw(n), kind="stable")
