"""Batches: every sample once, in an order that seed and epoch alone decide."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evsim import batches
from evsim.batches import shuffled


@given(st.integers(0, 40), st.integers(1, 12), st.one_of(st.none(), st.integers(0, 2**64 - 1)), st.booleans())
def test_every_sample_comes_once_and_arrays_stay_together(n, size, seed, drop_last):
    x, y = np.arange(2 * n).reshape(n, 2), np.arange(n)
    parts = list(batches(x, y, size=size, seed=seed, drop_last=drop_last))
    lengths = [len(part) for part, _ in parts]
    assert lengths == [size] * (n // size) + ([] if drop_last or n % size == 0 else [n % size])
    order = np.concatenate([part for _, part in parts]) if parts else np.zeros(0, int)
    assert len(set(order.tolist())) == len(order)
    np.testing.assert_array_equal(
        order, np.arange(n)[: len(order)] if seed is None else shuffled(n, seed)[: len(order)]
    )
    for left, right in parts:
        np.testing.assert_array_equal(left, x[right])


def test_orders_of_seed_and_epoch_stay_what_they_are():
    assert shuffled(10, 1).tolist() == [3, 5, 2, 9, 7, 0, 8, 6, 1, 4]
    assert shuffled(10, 1, epoch=1).tolist() == [0, 6, 5, 3, 4, 9, 7, 8, 2, 1]


def test_orders_are_uniform():
    """Each sample in each place, over seeds and over epochs."""
    for orders in ([shuffled(5, seed) for seed in range(5000)], [shuffled(5, 7, epoch) for epoch in range(5000)]):
        counts = np.array([np.bincount(column, minlength=5) for column in np.array(orders).T])
        assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000 * 0.8)
        assert len({tuple(order.tolist()) for order in orders}) == 120


def test_one_array_gives_tuples_of_one():
    assert [part.tolist() for (part,) in batches([3, 1, 2], size=2)] == [[3, 1], [2]]


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ((), {}, "arrays' shapes are none"),
        ((np.zeros(3), np.zeros((2, 3))), {}, r"arrays' shapes are \(3,\), \(2, 3\); their first axes must be of one"),
        ((np.zeros(3), 1.0), {}, r"shapes are \(3,\), \(\)"),
        ((np.zeros(3),), {"size": 0}, "batches: size is 0"),
        ((np.zeros(3),), {"seed": -1}, "batches: seed is -1"),
        ((np.zeros(3),), {"seed": 1, "epoch": -1}, "batches: epoch is -1"),
    ],
)
def test_what_cannot_be_divided_is_refused_at_once(arrays, options, words):
    with pytest.raises(ValueError, match=words):
        batches(*arrays, **{"size": 2, **options})
