"""Decoding: counts, rates, first spikes and predictions, against loops and in small cases that are worked out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evsim import decoding, encoders
from evsim.batch_input import EventInput
from evsim.labelling import NONE

trains = arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.sampled_from([0, 0, 0, 1, 2]))


@given(trains)
def test_counts_rates_and_first_spikes_are_their_definitions(spikes):
    counts, first = decoding.count(spikes), decoding.first_spike(spikes)
    assert counts.dtype == first.dtype == np.int64
    np.testing.assert_allclose(decoding.rate(spikes), counts / len(spikes), rtol=1e-15)
    for at in np.ndindex(counts.shape):
        train = [spikes[(t, *at)] for t in range(len(spikes))]
        assert counts[at] == sum(train)
        assert first[at] == next((t for t, n in enumerate(train) if n), len(train))


@given(trains)
def test_predictions_are_their_definitions(spikes):
    counts, first = decoding.count(spikes), decoding.first_spike(spikes)
    most, earliest = decoding.predict_count(spikes), decoding.predict_first_spike(spikes)
    for b in range(spikes.shape[1]):
        units = range(spikes.shape[2])
        silent = not spikes[:, b].any()
        assert most[b] == (NONE if silent else min(units, key=lambda i: (-counts[b, i], i)))
        assert earliest[b] == (NONE if silent else min(units, key=lambda i: (first[b, i], -counts[b, i], i)))


def test_predictions_in_words():
    spikes = np.array(
        [
            [[0, 1, 0], [0, 1, 1], [0, 0, 0]],
            [[1, 0, 0], [0, 0, 1], [0, 0, 0]],
            [[1, 0, 0], [0, 1, 1], [0, 0, 0]],
        ]
    )  # the first's unit 1 is early, its unit 0 spikes more; units 1 and 2 of the second are equally early
    assert decoding.predict_count(spikes).tolist() == [0, 2, -1]
    assert decoding.predict_first_spike(spikes).tolist() == [1, 2, -1]
    assert decoding.NONE == NONE


def test_encoded_values_are_decoded():
    x = np.random.default_rng(2).permutation(60).reshape(3, 20) / 60 + 0.01
    assert (decoding.predict_first_spike(encoders.rank_order(x, 20)) == x.argmax(axis=1)).all()
    assert (decoding.first_spike(encoders.latency(x, 11)) == np.rint(10 * (1 - x))).all()
    assert np.abs(decoding.rate(encoders.poisson(x, 4000)) - x).max() < 4.5 * 0.5 / np.sqrt(4000)
    assert decoding.count(EventInput.from_spikes([3, 3], [0, 0], [1, 1], (5, 1, 2))).tolist() == [[0, 2]]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_any_type_of_spikes_will_do(dtype):
    spikes = np.ones((300, 1, 1), dtype)
    assert decoding.count(spikes).tolist() == [[300]]
    assert decoding.rate(spikes).tolist() == [[1.0]]
    assert decoding.predict_first_spike(spikes).tolist() == [0]


def test_membrane():
    v = np.array([[[1.0, -3.0]], [[5.0, -1.0]], [[0.0, -2.0]]])
    assert decoding.membrane(v).tolist() == [[0.0, -2.0]]
    assert decoding.membrane(v, "mean").tolist() == [[2.0, -2.0]]
    assert decoding.membrane(v, how="max").tolist() == [[5.0, -1.0]]
    with pytest.raises(ValueError, match="membrane: how is 'min'; it must be one of 'last', 'mean', 'max'"):
        decoding.membrane(v, "min")
    with pytest.raises(ValueError, match=r"v is float64 \(3,\); it must be numbers \(T, B"):
        decoding.membrane(v[:, 0, 0])


@pytest.mark.parametrize(
    ("spikes", "words"),
    [
        (
            np.zeros((0, 2, 3)),
            r"spikes is float64 \(0, 2, 3\); it must be numbers \(T, B, \.\.\.\), of one step or more",
        ),
        (np.full((1, 1, 1), "a"), "spikes is <U1"),
        (np.full((1, 1, 2), 0.5), r"spikes\[0, 0, 0\] is 0.5; it must be a whole number of spikes"),
        (np.full((1, 1, 2), -1), r"spikes\[0, 0, 0\] is -1"),
        (np.full((1, 1, 2), np.nan), r"spikes\[0, 0, 0\] is nan"),
        (np.full((1, 1, 2), np.inf), r"spikes\[0, 0, 0\] is inf"),
    ],
)
def test_what_are_no_spikes_is_named(spikes, words):
    for decode in (decoding.count, decoding.rate, decoding.first_spike, decoding.predict_count):
        with pytest.raises(ValueError, match=words):
            decode(spikes)


def test_predictions_need_outputs():
    for predict in (decoding.predict_count, decoding.predict_first_spike):
        for shape in ((2, 3), (2, 3, 0), (2, 3, 1, 1)):
            with pytest.raises(ValueError, match=r"spikes has shape .*; it must be \(T, B, N\)"):
                predict(np.zeros(shape))
