"""Spike statistics against cases whose answer is known."""

import numpy as np
import pytest

from evsim.analysis import cv_isi, firing_rates, isi, pairwise_correlations, population_rates, spike_counts


def poisson(rate, n_neurons, duration, seed=0):
    """Independent Poisson spikes, rate in Hz, duration in ms, in order of time."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(rate * n_neurons * duration * 1e-3)
    return rng.integers(0, n_neurons, n), np.sort(rng.random(n) * duration)


def test_firing_rates():
    np.testing.assert_allclose(firing_rates(np.array([0, 2, 2]), 4, 500.0), [2.0, 0.0, 4.0, 0.0])


def test_population_rates_of_a_clock():
    times = np.arange(0, 100, 10.0)
    edges, rates = population_rates(times, 5, 0.0, 100.0, 20.0)
    np.testing.assert_allclose(edges, np.arange(0, 101, 20.0))
    np.testing.assert_allclose(rates, 2 / (5 * 0.02))


def test_bins_hold_grid_times_exactly():
    """Times k * 0.1 fall into the bin they begin, whatever their rounding; each bin of 0.3 ms holds three."""
    times = np.arange(3000) / 10
    _, rates = population_rates(times, 1, 0.0, 300.0, 0.3)
    np.testing.assert_allclose(rates, 10_000.0)


def test_incomplete_bin_and_spikes_outside_are_left_out():
    edges, rates = population_rates(np.array([-1.0, 5.0, 24.0, 30.0]), 1, 0.0, 25.0, 10.0)
    assert len(edges) == 3
    np.testing.assert_allclose(rates, [100.0, 0.0])


def test_isi_is_per_neuron_and_needs_no_order():
    neurons, intervals = isi(np.array([1, 0, 1, 1, 2]), np.array([9.0, 1.0, 2.0, 4.0, 7.0]))
    assert neurons.tolist() == [1, 1]
    assert intervals.tolist() == [2.0, 5.0]


def test_cv_is_0_for_a_clock_and_1_for_poisson():
    clock = cv_isi(np.zeros(50, int), np.arange(50) * 7.0, 2)
    np.testing.assert_allclose(clock[0], 0.0, atol=1e-12)
    assert np.isnan(clock[1])
    cv = cv_isi(*poisson(20.0, 200, 20_000.0), 200)
    assert abs(cv.mean() - 1.0) < 0.02


def test_cv_of_known_intervals():
    times = np.cumsum([0.0, 1.0, 3.0, 1.0, 3.0])
    np.testing.assert_allclose(cv_isi(np.zeros(5, int), times, 1), 0.5)
    assert np.isnan(cv_isi(np.zeros(5, int), times, 1, min_spikes=6))


def test_spike_counts_follow_the_order_of_neurons():
    ids, times = np.array([3, 1, 3, 0, 3]), np.array([0.0, 1.0, 5.0, 6.0, 19.0])
    counts = spike_counts(ids, times, np.array([3, 1, 2]), 0.0, 20.0, 10.0)
    assert counts.tolist() == [[2, 1], [1, 0], [0, 0]]


def test_correlations_of_independent_neurons_vanish():
    rho = pairwise_correlations(*poisson(20.0, 100, 20_000.0), 100, 0.0, 20_000.0, 2.0, n_sample=60)
    assert len(rho) == 60 * 59 // 2
    assert abs(rho.mean()) < 1e-3
    assert rho.std() < 0.02


def test_correlation_of_copies_is_1_and_of_shared_input_known():
    ids, times = poisson(50.0, 1, 50_000.0)
    both = np.concatenate([ids, ids + 1]), np.concatenate([times, times])
    np.testing.assert_allclose(pairwise_correlations(*both, 2, 0.0, 50_000.0), 1.0)
    own = [poisson(50.0, 1, 50_000.0, seed)[1] for seed in (1, 2)]
    shared = np.concatenate([both[0], np.zeros(len(own[0]), int), np.ones(len(own[1]), int)])
    rho = pairwise_correlations(shared, np.concatenate([both[1], *own]), 2, 0.0, 50_000.0)
    np.testing.assert_allclose(rho, 0.5, atol=0.03)  # half of each neuron's spikes are shared


def test_correlations_need_two_neurons_that_vary():
    assert pairwise_correlations(np.array([0, 0]), np.array([1.0, 2.0]), 5, 0.0, 10.0).shape == (0,)
    assert pairwise_correlations(np.zeros(0, int), np.zeros(0), 5, 0.0, 10.0).shape == (0,)


def test_same_seed_same_sample():
    spikes = poisson(20.0, 100, 1000.0)
    first, again, other = (
        pairwise_correlations(*spikes, 100, 0.0, 1000.0, n_sample=10, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="neuron 7 is not in a population of 4"):
        firing_rates(np.array([1, 7]), 4, 100.0)
    with pytest.raises(ValueError, match=r"window from 5\.0 to 5\.0 ms is empty"):
        population_rates(np.zeros(1), 1, 5.0, 5.0)
    with pytest.raises(ValueError, match=r"bin_width is 20\.0 ms"):
        population_rates(np.zeros(1), 1, 0.0, 5.0, 20.0)
    with pytest.raises(ValueError, match="min_spikes is 2"):
        cv_isi(np.zeros(1, int), np.zeros(1), 1, min_spikes=2)
    with pytest.raises(ValueError, match="of one length"):
        isi(np.zeros(2, int), np.zeros(1))
