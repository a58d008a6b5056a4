"""Poisson input, injected currents and explicit spike trains, seen in the v of neurons that only add up."""

import numpy as np
import pytest
from scipy import stats

from evsim import IAF, LIF, Network, Simulation, all_to_all, one_to_one
from evsim.stimuli import poisson_thresholds

COUNTER = IAF(v_threshold=1e9)  # v is the sum of all that has arrived


def increments(net, duration, *populations):
    """What each step (rows) adds to each neuron (columns), for each population."""
    sim = Simulation(net, threads=1)
    sim.record(state=dict.fromkeys(populations, "v"))
    sim.run(duration)
    steps = [np.diff(sim.state(p).values.astype(np.float64), axis=0, prepend=0.0) for p in populations]
    return steps[0] if len(steps) == 1 else steps


def poisson_counts(n, n_steps, rate, dt=1.0, seed=1, **arguments):
    """Counts per step and neuron of one Poisson stimulus onto n neurons."""
    net = Network(dt=dt, seed=seed)
    cells = net.add_population("cells", n, COUNTER)
    net.add_poisson("noise", cells, rate, weight=1.0, **arguments)
    return increments(net, n_steps * dt, cells)


def chi_square_poisson(counts, mean):
    """The p-value of counts against the Poisson distribution; values in the tails are joined."""
    values = np.arange(int(mean + 10.0 * np.sqrt(mean)) + 10)
    common = np.flatnonzero(counts.size * stats.poisson.pmf(values, mean) >= 10.0)
    low, high = common[0], common[-1]
    observed = np.bincount(counts.ravel().astype(int).clip(low, high) - low, minlength=high - low + 1)
    below = stats.poisson.cdf(np.arange(low, high), mean)
    return stats.chisquare(observed, counts.size * np.diff(below, prepend=0.0, append=1.0)).pvalue


# --- Poisson ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one_rate", [True, False], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("mean", [0.002, 0.3, 2.5, 40.0, 900.0])
def test_counts_per_step_are_poisson(mean, one_rate):
    rate = np.full(300, mean * 1e3)
    rate[:3] *= 1.0 if one_rate else 2.0  # then each neuron looks its rate up
    counts = poisson_counts(300, 400, rate[0] if one_rate else rate)[:, 3:]
    assert chi_square_poisson(counts, mean) > 1e-3
    assert abs(counts.mean() - mean) < 4.0 * np.sqrt(mean / counts.size)


@pytest.mark.parametrize("mean", [1e-8, 1e-3, 0.7, 12.0, 300.0, 1e6])
def test_thresholds_give_the_exact_probabilities(mean):
    """base + (thresholds that a 32-bit word is above) exceeds k with the probability of the Poisson distribution."""
    base, thresholds = poisson_thresholds(mean)
    assert (np.diff(thresholds.astype(float)) >= 0.0).all()
    above = (2.0**32 - 1.0 - thresholds) / 2.0**32
    np.testing.assert_allclose(above, stats.poisson.sf(base + np.arange(above.size), mean), rtol=0.0, atol=2.0**-32)
    assert stats.poisson.cdf(base - 1, mean) < 2.0**-32
    assert stats.poisson.sf(base + above.size, mean) < 2.0**-32


def test_a_huge_rate_has_the_mean_and_the_variance():
    counts = poisson_counts(128, 50, 1e8)
    assert abs(counts.mean() - 1e5) < 4.0 * np.sqrt(1e5 / counts.size)
    spread = counts.var(ddof=1) * (counts.size - 1) / 1e5
    assert 1e-3 < stats.chi2(counts.size - 1).cdf(spread) < 1.0 - 1e-3


def squared_correlations(x, y=None):
    """T times the squares of all correlations between columns; chi-square distributed (1) where independent."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    if y is None:
        return (len(x) * np.corrcoef(z.T)[np.triu_indices(x.shape[1], 1)] ** 2).ravel()
    w = (y - y.mean(axis=0)) / y.std(axis=0)
    return (z.T @ w / len(x)).ravel() ** 2 * len(x)


def looks_independent(squares):
    return 1e-3 < stats.chi2(squares.size).cdf(squares.sum()) < 1.0 - 1e-3 and squares.max() < 40.0


def test_neurons_and_steps_are_independent():
    """Also those that share one Philox call, 32 apart."""
    counts = poisson_counts(300, 3000, 1000.0)
    assert looks_independent(squared_correlations(counts))
    for lag in (1, 2, 16):
        assert looks_independent(squared_correlations(counts[lag:], counts[:-lag]))
    assert looks_independent(squared_correlations(counts.T[:, ::10]))


def test_each_neuron_has_its_own_rate():
    rate = np.concatenate([[0.0], np.geomspace(0.1, 1e6, 299)])
    counts = poisson_counts(300, 1000, rate, dt=0.5)
    mean = rate * 0.5e-3 * 1000
    assert (counts[:, 0] == 0.0).all()
    deviation = (counts.sum(axis=0) - mean)[mean > 20.0] / np.sqrt(mean[mean > 20.0])
    assert 1e-3 < stats.chi2(deviation.size).cdf((deviation**2).sum()) < 1.0 - 1e-3


@pytest.mark.parametrize("starts", [[0, 16, 48, 64], [0, 7, 40, 41], [5, 6, 7, 99], [33]])
@pytest.mark.parametrize("each", [False, True], ids=["one rate", "a rate each"])
def test_rates_change_at_their_steps(starts, each):
    """Nothing before the first time; the last rate holds on. Windows are 16 steps."""
    levels = np.array([1e6, 0.0, 3e6, 1e5])[: len(starts)]
    rate = np.outer(levels, [1.0, 2.0] * 100 + [0.0]) if each else levels
    counts = poisson_counts(201, 120, rate, times=np.array(starts, float))
    mean = np.zeros((120, 201))
    for start, level in zip(starts, np.reshape(rate, (len(starts), -1)) * 1e-3, strict=True):
        mean[start:] = level
    assert (counts[mean == 0.0] == 0.0).all()
    assert (np.abs(counts - mean) <= 7.0 * np.sqrt(mean)).all()


def test_a_slice_is_driven_and_nothing_else():
    """Slices need not begin at whole groups of 128; a neuron's train does not depend on who else is driven."""
    everyone = poisson_counts(1000, 30, 5000.0)
    for start, stop in [(0, 1000), (100, 300), (127, 129), (500, 640), (999, 1000)]:
        net = Network(dt=1.0, seed=1)
        cells = net.add_population("cells", 1000, COUNTER)
        net.add_poisson("noise", cells[start:stop], 5000.0, weight=1.0)
        counts = increments(net, 30.0, cells)
        np.testing.assert_array_equal(counts[:, start:stop], everyone[:, start:stop])
        assert counts.sum() == counts[:, start:stop].sum()


def test_rates_of_a_slice_belong_to_its_neurons():
    rate = 1e5 * np.arange(1, 301)
    net = Network(dt=1.0)
    cells = net.add_population("cells", 700, COUNTER)
    net.add_poisson("noise", cells[250:550], rate, weight=1.0)
    counts = increments(net, 40.0, cells)
    np.testing.assert_allclose(counts[:, 250:550].mean(axis=0), rate * 1e-3, rtol=0.05)
    assert (counts[:, :250] == 0.0).all()
    assert (counts[:, 550:] == 0.0).all()


def test_stimuli_are_independent_of_each_other():
    """Of two populations under one name, and of two stimuli onto one population; the sum of two is Poisson."""
    net = Network(dt=1.0)
    one, two = (net.add_population(name, 150, COUNTER) for name in "ab")
    current = net.add_population("c", 150, LIF(tau_syn=(1e-3, 1e-3), v_threshold=1e9))  # a step's input is its current
    net.add_poisson("noise", [one, two], 3000.0, weight=1.0)
    net.add_poisson("more", one, 1000.0, weight=1.0)
    net.add_poisson("plus", current, 2000.0, weight=1.0)
    net.add_poisson("minus", current, 2000.0, weight=-1.0)
    sim = Simulation(net, threads=1)
    sim.record(state={one: "v", two: "v", current: ["i_exc", "i_inh"]})
    sim.run(1000.0)
    a, b = (np.diff(sim.state(p).values, axis=0, prepend=0.0) for p in (one, two))
    plus, minus = sim.state(current, "i_exc").values, -sim.state(current, "i_inh").values
    assert chi_square_poisson(a, 4.0) > 1e-3
    assert chi_square_poisson(b, 3.0) > 1e-3
    assert chi_square_poisson(plus, 2.0) > 1e-3
    for x, y in [(a, b), (plus, minus), (a, plus)]:
        assert looks_independent(squared_correlations(x, y))


def test_the_seed_decides_the_trains():
    counts = {seed: poisson_counts(300, 100, 1000.0, seed=seed) for seed in (1, 2, 1 + 2**32, 2**64 - 1)}
    np.testing.assert_array_equal(counts[1], poisson_counts(300, 100, 1000.0, seed=1))
    seeds = list(counts)
    for k, seed in enumerate(seeds):
        for other in seeds[k + 1 :]:
            assert looks_independent(squared_correlations(counts[seed].T, counts[other].T))


def test_the_weight_scales_the_train():
    net = Network(dt=1.0, seed=1)
    cells = net.add_population("cells", 100, COUNTER)
    net.add_poisson("noise", cells, 3000.0, weight=-0.37)
    np.testing.assert_allclose(increments(net, 100.0, cells), -0.37 * poisson_counts(100, 100, 3000.0), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": -1.0}, r"poisson 'noise': rate is -1.0; it must be at least 0 Hz"),
        ({"rate": np.array([1.0, np.nan])}, r"rate\[1\] is nan"),
        ({"rate": np.ones(3)}, r"rate has shape \(3,\)"),
        ({"rate": 1e11}, "it must be at most 1e6 spikes a step"),
        ({"rate": [1.0, 2.0], "times": [0.0]}, r"rate has shape \(2,\)"),
        ({"rate": [1.0, 2.0], "times": [2.0, 1.0]}, "ascending"),
        ({"rate": [1.0, 2.0], "times": [0.0, 0.05]}, r"times\[1\] is 0.05 ms; times must be multiples of dt"),
        ({"rate": 1.0, "weight": np.inf}, "weight is inf"),
    ],
)
def test_impossible_stimuli_are_refused(arguments, message):
    net = Network(dt=0.1)
    cells = net.add_population("cells", 2, COUNTER)
    with pytest.raises(ValueError, match=message):
        net.add_poisson("noise", cells, **{"weight": 1.0, **arguments})


# --- currents -----------------------------------------------------------------------------------------------------


def current_steps(n, n_steps, *currents, model=COUNTER, dt=0.5):
    """Increments of v a step under injected currents, each (first, last, arguments of add_current)."""
    net = Network(dt=dt)
    cells = net.add_population("cells", n, model)
    for k, (first, last, arguments) in enumerate(currents):
        net.add_current(f"current {k}", cells[first:last], **arguments)
    return increments(net, n_steps * dt, cells)


def test_a_constant_current_adds_dt_times_itself_a_step():
    np.testing.assert_array_equal(current_steps(3, 20, (0, 3, {"amplitude": 4.0})), np.full((20, 3), 2.0))


def test_a_current_holds_from_its_time_on_and_ends():
    steps = current_steps(2, 100, (0, 2, {"amplitude": [8.0, -2.0, 0.0], "times": [10.0, 20.0, 30.0]}))
    expected = np.repeat([0.0, 4.0, -1.0, 0.0], [20, 20, 20, 40])
    np.testing.assert_array_equal(steps, np.stack([expected, expected], axis=1))


def test_each_neuron_has_its_own_current():
    constant, in_time = np.arange(600.0), np.arange(1800.0).reshape(3, 600)
    steps = current_steps(
        600, 30, (0, 600, {"amplitude": constant}), (0, 600, {"amplitude": in_time, "times": [1.0, 2.5, 10.0]})
    )
    expected = np.tile(0.5 * constant, (30, 1))
    expected[2:] += 0.5 * np.repeat(in_time, [3, 15, 10], axis=0)
    np.testing.assert_array_equal(steps, expected)


def test_an_array_gives_one_row_a_step_and_ends():
    array = np.random.default_rng(0).integers(-50, 50, (40, 300)).astype(float)
    steps = current_steps(300, 60, (0, 300, {"amplitude": array}))
    np.testing.assert_array_equal(steps[:40], 0.5 * array)
    assert (steps[40:] == 0.0).all()


@pytest.mark.parametrize(("first", "last"), [(0, 1), (100, 300), (127, 129), (511, 513), (1099, 1100)])
def test_a_current_reaches_its_slice_only(first, last):
    array = 2.0 + np.arange(10.0 * (last - first)).reshape(10, -1)
    steps = current_steps(1100, 15, (first, last, {"amplitude": array}), (first, last, {"amplitude": 6.0}))
    np.testing.assert_array_equal(steps[:10, first:last], 0.5 * array + 3.0)
    assert (steps[10:, first:last] == 3.0).all()
    assert (np.delete(steps, np.s_[first:last], axis=1) == 0.0).all()


def test_a_current_is_scaled_by_the_resistance():
    """Of each neuron; in an LIF it acts as i_bias does."""
    r_mem = np.array([0.5, 1.0, 4.0])
    steps = current_steps(3, 10, (0, 3, {"amplitude": 2.0}), model=IAF(r_mem=r_mem, v_threshold=1e9))
    np.testing.assert_array_equal(steps, np.tile(r_mem, (10, 1)))
    parameters = {"tau_mem": 10.0, "v_leak": -65.0, "v_threshold": 1e9, "r_mem": r_mem}
    injected = current_steps(3, 100, (0, 3, {"amplitude": 2.0}), model=LIF(**parameters))
    biased = current_steps(3, 100, model=LIF(**parameters, i_bias=2.0))
    np.testing.assert_allclose(injected, biased, atol=1e-4)
    np.testing.assert_allclose(injected[1:].sum(axis=0), 2.0 * r_mem * np.exp(-0.05) * -np.expm1(-4.95), rtol=1e-4)


# --- spike trains -------------------------------------------------------------------------------------------------


def test_trains_arrive_after_their_delay():
    """The spike of source i at t over a delay d arrives in step (t + d) / dt, once for each spike."""
    ids, times = np.array([0, 1, 0, 2, 0, 2]), np.array([0.0, 0.0, 0.1, 2.5, 7.3, 7.3])
    delay = np.array([0.1, 1.7, 5.0])
    net = Network(dt=0.1)
    source = net.add_spike_source("source", 3, ids, times)
    cells = net.add_population("cells", 3, COUNTER)
    net.connect(source, cells, one_to_one(), weight=np.array([1.0, 10.0, 100.0]), delay=delay)
    steps = increments(net, 20.0, cells)
    expected = np.zeros((200, 3))
    for i, t in zip(ids, times, strict=True):
        expected[round((t + delay[i]) / 0.1), i] += 10.0**i
    np.testing.assert_allclose(steps, expected, rtol=1e-4)


def test_slices_of_a_source_and_of_the_target():
    net = Network(dt=1.0)
    source = net.add_spike_source("source", 300, np.arange(300), np.arange(300.0))
    cells = net.add_population("cells", 300, COUNTER)
    net.connect(source[100:102], cells[200:203], all_to_all(), weight=2.0 ** -np.arange(6.0).reshape(2, 3), delay=3.0)
    steps = increments(net, 320.0, cells)
    expected = np.zeros((320, 300))
    expected[103, 200:203], expected[104, 200:203] = [1.0, 0.5, 0.25], [0.125, 0.0625, 0.03125]
    np.testing.assert_array_equal(steps, expected)


def test_a_source_spikes_as_it_was_told():
    rng = np.random.default_rng(3)
    flat = np.sort(rng.choice(200 * 500, 5000, replace=False))  # (step, id), each at most once
    steps, ids = flat // 200, flat % 200
    order = np.lexsort((steps, ids))  # given train by train, recorded in order of time
    net = Network(dt=0.1)
    source = net.add_spike_source("source", 200, ids[order], steps[order] * 0.1)
    sim = Simulation(net, threads=1)
    sim.record(spikes=source)
    sim.run(50.0)
    recorded_ids, times = sim.spikes(source)
    np.testing.assert_array_equal(recorded_ids, ids)
    np.testing.assert_array_equal(np.rint(times / 0.1), steps)
    assert sim.spike_counts() == {"source": 5000}


def test_spikes_after_the_end_wait_for_the_next_run():
    net = Network(dt=1.0)
    source = net.add_spike_source("source", 1, np.zeros(4, int), [0.0, 9.0, 10.0, 1000.0])
    sim = Simulation(net, threads=1)
    sim.record(spikes=source)
    sim.run(10.0)
    assert sim.spikes(source)[1].tolist() == [0.0, 9.0]
    sim.run(5.0)
    assert sim.spikes(source)[1].tolist() == [0.0, 9.0, 10.0]


@pytest.mark.parametrize(
    ("ids", "times", "message"),
    [
        ([0, 5], [0.0, 1.0], r"ids\[1\] is 5; indices must be in \[0, 5\)"),
        ([0], [0.05], r"times\[0\] is 0.05 ms; times must be multiples of dt = 0.1 ms"),
        ([0], [-0.1], r"times\[0\] is -0.1 ms; times must be in"),
        ([0], [np.nan], r"times\[0\] is nan ms"),
        ([0, 1], [0.0], "there must be as many of each"),
        ([1, 1], [2.0, 1.0], r"times\[1\] is 1.0 ms, before the spike that precedes it in the train of neuron 1"),
        ([1, 0, 1], [2.0, 2.0, 2.0], r"times\[2\] is 2.0 ms a second time for neuron 1"),
    ],
)
def test_impossible_trains_are_refused(ids, times, message):
    with pytest.raises(ValueError, match=message):
        Network(dt=0.1).add_spike_source("source", 5, ids, times)


def test_a_source_receives_nothing():
    net = Network()
    source = net.add_spike_source("source", 2, [0], [1.0])
    with pytest.raises(ValueError, match="'source' is a spike source and receives no input"):
        net.connect(source, source, one_to_one(), weight=1.0, delay=1.0)
