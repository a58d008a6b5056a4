"""Encoders: exact formulas, probabilities, and spikes that depend on nothing but seed, sample, step and unit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from evsim import encoders

GOLDEN = Path(__file__).parent / "data" / "encoders_spikingjelly.npz"
values = st.floats(0.0, 1.0, width=32)
some_values = arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=4), elements=values)
few_steps = st.integers(1, 12)


def first_steps(encoded):
    """(B, ...) the step of the one spike of each unit, which has at most one; T where it has none."""
    dense = np.asarray(encoded)
    assert dense.sum(axis=0).max(initial=0) <= 1
    return np.where(dense.any(axis=0), dense.argmax(axis=0), len(dense))


def test_poisson_probability_is_the_value():
    x = np.array([[0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0], [2.0**-32, 0.25, 0.3, 0.7, 0.75, 0.99, 1.0]])
    n = 20_000
    spikes = np.asarray(encoders.poisson(x, n, seed=3))
    assert not spikes[:, 0, 0].any()
    assert spikes[:, :, -1].all()
    counts = spikes.sum(axis=0)
    for count, p in zip(counts[:, 1:-1].ravel(), x[:, 1:-1].ravel(), strict=True):
        assert stats.binomtest(int(count), n, p).pvalue > 1e-5
    np.testing.assert_array_equal(encoders.poisson(x, 1).threshold[1, :2], [1, 2**30])


def test_poisson_spikes_are_independent():
    """Of units, samples and steps: pair correlations are those of chance, and so are the intervals."""
    spikes = np.asarray(encoders.poisson(np.full((6, 8), 0.3), 20_000, seed=4)).reshape(20_000, 48)
    correlation = np.corrcoef(np.concatenate([spikes[:-1], spikes[1:]], axis=1).T)
    largest = np.abs(correlation - np.eye(96))[np.triu_indices(96, 1)].max()
    assert largest < 5.5 / np.sqrt(20_000)
    intervals = np.concatenate([np.diff(np.flatnonzero(train)) for train in spikes.T])
    observed = np.bincount(np.minimum(intervals, 15), minlength=16)[1:]
    expected = np.append(0.3 * 0.7 ** np.arange(14), 0.7**14) * intervals.size
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-5


@given(some_values, st.integers(0, 2**64 - 1), st.integers(0, 2**53 - 10), st.data())
@settings(deadline=None)  # compiles at first
def test_poisson_spikes_do_not_depend_on_the_batch(x, seed, first, data):
    whole = np.asarray(encoders.poisson(x, 4, seed, first))
    cut = data.draw(st.integers(0, len(x)))
    parts = [
        np.asarray(encoders.poisson(x[:cut], 4, seed, first)),
        np.asarray(encoders.poisson(x[cut:], 4, seed, first + cut)),
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(np.asarray(encoders.poisson(x, 2, seed, first)), whole[:2])


def test_poisson_seeds_and_samples_differ():
    x = np.full((2, 500), 0.5)
    first = np.asarray(encoders.poisson(x, 4, 1))
    assert (first == np.asarray(encoders.poisson(x, 4, 1))).all()
    for other in (first[::-1], first[:, ::-1], encoders.poisson(x, 4, 2), encoders.poisson(x, 4, 1 + 2**32)):
        assert abs((first == np.asarray(other)).mean() - 0.5) < 0.05
    assert abs((first == np.asarray(encoders.poisson(x, 4, 1, first_sample=2**32))).mean() - 0.5) < 0.05


@given(some_values, few_steps)
def test_linear_latency_is_the_formula(x, n_steps):
    step = np.rint((n_steps - 1) * (np.float32(1) - x))
    np.testing.assert_array_equal(first_steps(encoders.latency(x, n_steps)), step)
    assert encoders.latency(x, n_steps).n_spikes == x.size


def test_latency_in_words():
    x = np.array([[1.0, 0.75, 0.5, 0.25, 0.125, 0.0]])
    assert first_steps(encoders.latency(x, 5)).tolist() == [[0, 1, 2, 3, 4, 4]]  # 3.5 to even
    # 4 - ln((e^4 - 1) x + 1)
    assert first_steps(encoders.latency(x, 5, "log")).tolist() == [[0, 0, 1, 1, 2, 4]]
    assert first_steps(encoders.latency(x, 1, "log")).tolist() == [[0] * 6]


def test_log_latency_of_many_steps_does_not_overflow():
    x = np.array([[1.0, np.exp(-100.0), np.exp(-999.0), 0.0]])  # T - 1 - ln(e^(T - 1) x) = -ln x
    x[0, 2] = np.exp(-700.0)
    assert first_steps(encoders.latency(x, 2000, "log")).tolist() == [[0, 100, 700, 1999]]


@given(some_values, st.integers(1, 30), st.integers(1, 12))
def test_phases_are_binary_digits(x, n_steps, n_phases):
    x = np.minimum(x, np.float32(1 - 2.0**-n_phases))
    spikes = np.asarray(encoders.weighted_phase(x, n_steps, n_phases))
    for t in range(n_steps):
        digit = np.floor(x.astype(float) * 2.0 ** (1 + t % n_phases)) % 2
        np.testing.assert_array_equal(spikes[t], digit)


def test_phases_of_the_paper():
    """Kim et al. 2018, the table of 8 phases."""
    spikes = np.asarray(encoders.weighted_phase(np.array([[192, 1, 128, 255]]) / 256, 8, 8))
    assert ["".join(str(int(s)) for s in train) for train in spikes[:, 0].T] == [
        "11000000",
        "00000001",
        "10000000",
        "11111111",
    ]


def test_latency_and_phases_are_those_of_spikingjelly():
    """Golden data of tests/data/make_encoders_golden.py."""
    with np.load(GOLDEN) as golden:
        x = golden["x"]
        for n_steps in golden["latency_steps"]:
            for kind in ("linear", "log"):
                got = first_steps(encoders.latency(x, int(n_steps), kind))
                np.testing.assert_array_equal(got, golden[f"latency_{kind}_{n_steps}"])
        for k in golden["phases"]:
            got = np.asarray(encoders.weighted_phase(golden[f"phase_x_{k}"], 2 * int(k) + 1, int(k)))
            np.testing.assert_array_equal(got, np.unpackbits(golden[f"phase_{k}"], count=got.size).reshape(got.shape))


@given(some_values, few_steps)
def test_ranks_are_in_the_order_of_the_values(x, n_steps):
    step = first_steps(encoders.rank_order(x, n_steps)).reshape(len(x), -1)
    for row, when in zip(x.reshape(len(x), -1), step, strict=True):
        order = sorted(np.flatnonzero(row > 0), key=lambda i: (-row[i], i))
        expected = np.full(row.size, n_steps)
        for rank, i in enumerate(order):
            expected[i] = rank * n_steps // len(order)
        np.testing.assert_array_equal(when, expected)


def test_ranks_in_words():
    x = np.array([[0.1, 0.9, 0.0, 0.5], [0.5, 0.5, 0.5, 0.6], [0.0, 0.0, 0.0, 0.0]])
    assert first_steps(encoders.rank_order(x, 4)).tolist() == [[2, 0, 4, 1], [1, 2, 3, 0], [4, 4, 4, 4]]
    assert first_steps(encoders.rank_order(x[:1], 3)).tolist() == [[2, 0, 3, 1]]  # one spike a step where T = m


@given(arrays(np.float64, array_shapes(min_dims=3, max_dims=4, max_side=5), elements=st.integers(-8, 8).map(float)))
def test_delta_is_the_formula(x):
    spikes = np.asarray(encoders.delta(x, 3.0))
    expected = np.zeros((*x.shape[:2], 2, *x.shape[2:]))
    for at in np.ndindex(x.shape[1:]):
        reference = x[(0, *at)]
        for t in range(len(x)):
            moved = x[(t, *at)] - reference
            if abs(moved) >= 3.0:
                expected[(t, at[0], int(moved < 0), *at[1:])] = 1
                reference = x[(t, *at)]
    np.testing.assert_array_equal(spikes, expected)
    np.testing.assert_array_equal(np.asarray(encoders.delta(x, 3.0, off_spikes=False)), expected[:, :, 0])


def test_delta_in_words():
    x = np.array([0.0, 0.5, 1.0, 1.5, 1.75, 0.5, 0.5, -1.0]).reshape(8, 1, 1)
    spikes = np.asarray(encoders.delta(x, 1.0))
    assert spikes.shape == (8, 1, 2, 1)
    assert spikes[:, 0, 0, 0].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert spikes[:, 0, 1, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


@given(some_values, few_steps)
def test_repeated_values_are_the_same_in_every_step(x, n_steps):
    encoded = encoders.repeat(x - 2, n_steps)
    assert encoded.shape == (n_steps, *x.shape)
    assert np.asarray(encoded).dtype == np.float32
    for frame in np.asarray(encoded):
        np.testing.assert_array_equal(frame, x - 2)


UNIT = {
    "poisson": lambda x: encoders.poisson(x, 4),
    "latency": lambda x: encoders.latency(x, 4),
    "weighted_phase": lambda x: encoders.weighted_phase(x, 4, 3),
    "rank_order": lambda x: encoders.rank_order(x, 4),
}
REAL = {"repeat": lambda x: encoders.repeat(x, 4), "delta": lambda x: encoders.delta([x, x], 0.5)}


@pytest.mark.parametrize("name", UNIT)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-9, 1.0001])
def test_values_outside_the_unit_interval_are_named(name, value):
    x = np.zeros((2, 1, 3))
    x[1, 0, 2] = value
    words = rf"^{name}: x\[1, 0, 2\] is {value}; values must be in \[0, (1|1 - 2\^-3)\]$"
    with pytest.raises(ValueError, match=words):
        UNIT[name](x)


@pytest.mark.parametrize("name", [*UNIT, *REAL])
def test_what_is_no_batch_of_numbers_is_named(name):
    encode = (UNIT | REAL)[name]
    if name != "delta":
        with pytest.raises(ValueError, match=rf"^{name}: x has shape \(3,\); it must be \(B, \.\.\.\)"):
            encode([0.0, 0.5, 0.5])
    with pytest.raises(TypeError, match=f"^{name}: x is "):
        encode([["a", "b"]])


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_currents_and_signals_must_be_finite(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: x\[.*\] is {value}; it must be finite"):
        REAL[name]([[0.0, value]])


@pytest.mark.parametrize(
    ("encode", "words"),
    [
        (
            lambda: encoders.poisson(np.full((1, 2), 255, np.uint8), 4),
            r"x\[0, 0\] is 255.0; .*; divide 8-bit values by 255",
        ),
        (lambda: encoders.weighted_phase([[0.9]], 4, 3), r"x\[0, 0\] is 0.9; values must be in \[0, 1 - 2\^-3\]"),
        (lambda: encoders.weighted_phase([[0.5]], 4, 53), r"n_phases is 53; it must be a whole number in \[1, 52\]"),
        (lambda: encoders.latency([[0.5]], 4, "exp"), "latency: kind is 'exp'; it must be 'linear' or 'log'"),
        (lambda: encoders.latency([[0.5]], 0), r"latency: n_steps is 0; it must be a whole number in \[1, "),
        (lambda: encoders.rank_order([[0.5]], 1.5), "rank_order: n_steps is 1.5"),
        (lambda: encoders.delta([[[0.5]]], 0.0), "delta: threshold is 0.0; it must be above 0"),
        (lambda: encoders.delta([[0.5]], 1.0), r"delta: x has shape \(1, 1\); it must be \(T, B, \.\.\.\)"),
    ],
)
def test_wrong_options_are_named(encode, words):
    with pytest.raises(ValueError, match=words):
        encode()


def test_spike_times_are_linear_in_darkness():
    times = encoders.spike_times(np.array([[[1.0, 0.75], [0.5, 0.2]], [[0.0, 0.21], [1.0, 0.0]]]), 20.0, threshold=0.2)
    np.testing.assert_allclose(times, [[[0.0, 5.0, 10.0, np.inf], [np.inf, 15.8, 0.0, np.inf]]])
    with pytest.raises(ValueError, match=r"spike_times: t_last is 0\.0; it must be above 0 ms"):
        encoders.spike_times([[0.5]], 0)
    with pytest.raises(ValueError, match=r"spike_times: x\[0, 0\] is 2.0; values must be in \[0, 1\]"):
        encoders.spike_times([[2.0]], 5.0)
