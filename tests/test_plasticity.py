"""Pair-based STDP against a dense step-by-step reference, closed forms, and itself: threads, chunks, switches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evsim


def strengths(rule, w):
    """f_plus and f_minus at w."""
    span = rule.w_max - rule.w_min
    plus, minus = rule.dependences()

    def of(function, room):
        if function == "additive":
            return np.ones_like(w)
        if function == "multiplicative":
            return room / span
        if isinstance(function, tuple):
            return np.clip(room / span, 0.0, 1.0) ** function[1]
        return function(w) + 0.0 * w

    return of(plus, rule.w_max - w), of(minus, w - rule.w_min)


def dense_reference(rule, dt, n_steps, synapses, pre_spikes, post_spikes):
    """The weights after n_steps: every trace decays in every step, every synapse is looked at in every step.

    `synapses` as Simulation.synapses gives them; spikes are sets of (neuron, step).
    """
    w = synapses.weight.copy()
    change = np.zeros_like(w)
    delay = np.rint(synapses.delay / dt).astype(int)
    x_pre, x_post = np.zeros_like(w), np.zeros_like(w)
    decay_pre, decay_post = (
        1.0 - dt / tau if rule.decay == "euler" else np.exp(-dt / tau) for tau in (rule.tau_pre, rule.tau_post)
    )
    pre = np.array(sorted(pre_spikes)).reshape(-1, 2)
    post = np.array(sorted(post_spikes)).reshape(-1, 2)
    for n in range(n_steps):
        x_pre *= decay_pre
        x_post *= decay_post
        arrives = np.zeros(w.size, bool)
        for d in np.unique(delay):
            arrives |= (delay == d) & np.isin(synapses.pre, pre[pre[:, 1] == n - d, 0])
        fires = np.isin(synapses.post, post[post[:, 1] == n, 0])
        if rule.order == "together":
            mark(x_pre, arrives, rule)
            mark(x_post, fires, rule)
        f_plus, f_minus = strengths(rule, w)
        step = np.where(arrives, -rule.a_minus * x_post * f_minus, 0.0)
        if rule.order == "pre_first":
            mark(x_pre, arrives, rule)
            if rule.apply == "spike":
                w = np.clip(w + step, rule.w_min, rule.w_max)
                step = np.zeros_like(w)
                f_plus, _ = strengths(rule, w)
        step += np.where(fires, rule.a_plus * (x_pre - rule.x_target) * f_plus, 0.0)
        if rule.order == "pre_first":
            mark(x_post, fires, rule)
        if rule.apply == "run":
            change += step
        else:
            w = np.clip(w + step, rule.w_min, rule.w_max)
    return np.clip(w + change, rule.w_min, rule.w_max)


def mark(x, spikes, rule):
    x[spikes] = x[spikes] + 1.0 if rule.traces == "all" else 1.0


def recorded(sim, population, dt):
    ids, times = sim.spikes(population)
    return set(zip(ids.tolist(), np.rint(times / dt).astype(int).tolist(), strict=True))


def learn(
    rule, threads=1, runs=(150.0,), seed=0, delay=None, n_source=12, n_target=200, rate=0.12, between=None, n_steps=0
):
    """Explicit trains, and neurons that they and noise drive, over synapses that learn."""
    net = evsim.Network(dt=1.0, seed=seed)
    spikes = np.random.default_rng(seed).random((n_steps or int(sum(runs)), n_source)) < rate
    step, source = np.nonzero(spikes)
    inputs = net.add_spike_source("inputs", n_source, source, step * 1.0)
    cells = net.add_population("cells", n_target, evsim.LIF(tau_mem=10.0, v_threshold=1.0, t_ref=1.0))
    net.add_poisson("noise", cells, rate=40.0, weight=1.2)
    delay = evsim.uniform(1.0, 4.0) if delay is None else delay
    span = rule.w_max - rule.w_min
    weight = evsim.uniform(rule.w_min + 0.1 * span, rule.w_max - 0.1 * span)
    rule_of_pairs = evsim.pairwise_bernoulli(0.5)
    plastic = net.connect(inputs, cells, rule_of_pairs, weight=weight, delay=delay, plasticity=rule)
    recurrent = net.connect(cells, cells[:50], evsim.fixed_indegree(5), weight=weight, delay=2.0, plasticity=rule)
    net.connect(cells, cells, evsim.fixed_indegree(10), weight=-0.05, delay=1.0)
    sim = evsim.Simulation(net, threads=threads, backend="cpu")
    sim.record(spikes=[inputs, cells])
    before = [sim.synapses(q) for q in (plastic, recurrent)]
    for duration in runs:
        if between and sim.time:
            between(sim, plastic)
        sim.run(duration)
    return sim, (plastic, recurrent), before


VARIANTS = {
    "additive": {},
    "nearest": {"traces": "nearest"},
    "multiplicative": {"dependence": "multiplicative"},
    "power": {"dependence": ("power", 0.4)},
    "target trace": {"x_target": 0.3, "a_minus": 0.0},
    "together": {"order": "together"},
    "together, soft": {"order": "together", "dependence": (lambda w: 1.0 - w, lambda w: w), "decay": "euler"},
    "together, nearest": {"order": "together", "traces": "nearest", "tau_pre": 5.0},
    "at the end": {"apply": "run", "a_plus": 0.002, "a_minus": 0.003},
    "at the end, together": {"apply": "run", "order": "together", "a_plus": 0.002, "a_minus": 0.003},
    "negative": {"w_min": -1.0, "w_max": 0.0, "dependence": "multiplicative"},
    "a function": {"dependence": (np.cos, lambda w: w * w)},
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_weights_equal_those_of_a_dense_reference(variant):
    rule = evsim.PairSTDP(**{"a_plus": 0.03, "a_minus": 0.025, "tau_post": 15.0, **variant})
    sim, projections, before = learn(rule)
    for projection, synapses in zip(projections, before, strict=True):
        source, target = projection.source.population, projection.target.population
        expected = dense_reference(
            rule, 1.0, 150, synapses, recorded(sim, source, 1.0), recorded(sim, target, 1.0)
        )  # fmt: skip
        after = sim.synapses(projection)
        assert np.abs(after.weight - synapses.weight).max() > 0.01
        tolerance = 2e-4 if callable(rule.dependences()[0]) or rule.dependence == ("power", 0.4) else 2e-6
        np.testing.assert_allclose(after.weight, expected, rtol=0, atol=tolerance)
        assert rule.w_min <= after.weight.min()
        assert after.weight.max() <= rule.w_max


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    traces=st.sampled_from(["all", "nearest"]),
    order=st.sampled_from(["pre_first", "together"]),
    dependence=st.sampled_from(["additive", "multiplicative"]),
    taus=st.tuples(st.floats(1.0, 40.0), st.floats(1.0, 40.0)),
    rate=st.floats(0.0, 0.8),
    delay=st.sampled_from([1.0, 3.0, None]),
    threads=st.integers(1, 3),
)
def test_any_rule_equals_the_dense_reference(seed, traces, order, dependence, taus, rate, delay, threads):
    rule = evsim.PairSTDP(
        tau_pre=taus[0], tau_post=taus[1], a_plus=0.02, a_minus=0.03, traces=traces, order=order, dependence=dependence
    )
    sim, projections, before = learn(rule, threads, (60.0,), seed, delay, n_target=150, rate=rate)
    for projection, synapses in zip(projections, before, strict=True):
        source, target = projection.source.population, projection.target.population
        spikes = recorded(sim, source, 1.0), recorded(sim, target, 1.0)
        expected = dense_reference(rule, 1.0, 60, synapses, *spikes)
        np.testing.assert_allclose(sim.synapses(projection).weight, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("variant", "delay"),
    [({}, 2.0), ({}, None), ({"x_target": 0.02}, 2.0), ({"order": "together"}, 2.0), ({"apply": "run"}, None)],
)
def test_rare_arrivals_learn_from_all_spikes_in_between(variant, delay):
    """Columns are settled many times, where some synapses have and some have not learned of their latest spikes."""
    rule = evsim.PairSTDP(**{"a_plus": 0.004, "a_minus": 0.002, "tau_pre": 60.0, **variant})
    sim, projections, before = learn(rule, 2, (1500.0,), rate=0.006, delay=delay)
    spikes = [recorded(sim, sim.network.populations[name], 1.0) for name in ("inputs", "cells")]
    assert len(spikes[1]) > 50 * 200
    expected = dense_reference(rule, 1.0, 1500, before[0], *spikes)
    np.testing.assert_allclose(sim.synapses(projections[0]).weight, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_all_to_all_equals_the_same_synapses_listed(variant):
    rule = evsim.PairSTDP(**{"a_plus": 0.03, "a_minus": 0.025, **variant})
    weight = np.random.default_rng(1).uniform(rule.w_min + 0.1, rule.w_max - 0.1, (9, 150))
    results = []
    listed = evsim.explicit(np.repeat(np.arange(9), 150), np.tile(np.arange(150), 9))
    for pairs, values in ((evsim.all_to_all(), weight), (listed, weight.ravel())):
        net = evsim.Network(dt=1.0, seed=3)
        inputs = net.add_poisson_source("inputs", 9, rate=np.linspace(0.0, 200.0, 9))
        cells = net.add_population("cells", 150, evsim.LIF(tau_mem=10.0, v_threshold=1.0, t_ref=1.0))
        net.add_poisson("noise", cells[:120], rate=30.0, weight=1.2)
        plastic = net.connect(inputs, cells, pairs, weight=values, delay=2.0, plasticity=rule)
        sim = evsim.Simulation(net, backend="cpu", threads=2)
        sim.run(60.0)
        sim.reset_state()
        sim.normalize(plastic, 3.0 if rule.w_max > 0.0 else -3.0)
        sim.run(90.0)
        results.append((sim.spike_checksum, sim.synapses(plastic).weight))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("variant", ["additive", "together", "at the end"])
def test_threads_and_chunks_change_nothing(variant):
    rule = evsim.PairSTDP(**{"a_plus": 0.03, "a_minus": 0.025, **VARIANTS[variant]})
    whole = (150.0,)
    pieces = whole if rule.apply == "run" else (1.0, 49.0, 3.0, 97.0)
    sim, projections, _ = learn(rule, 1, whole)
    for threads, runs in ((2, whole), (3, pieces), (1, pieces)):
        other, same, _ = learn(rule, threads, runs)
        assert other.spike_checksum == sim.spike_checksum
        assert other.n_events == sim.n_events
        for a, b in zip(projections, same, strict=True):
            np.testing.assert_array_equal(sim.synapses(a).weight, other.synapses(b).weight)


def test_reading_weights_between_runs_changes_nothing():
    rule = evsim.PairSTDP(a_plus=0.03, a_minus=0.025)
    sim, projections, _ = learn(rule, 1, (60.0, 90.0))
    other, same, _ = learn(rule, 1, (60.0, 90.0), between=lambda sim, projection: sim.weights(projection))
    assert sim.spike_checksum == other.spike_checksum
    np.testing.assert_array_equal(sim.synapses(projections[0]).weight, other.synapses(same[0]).weight)


def pair(rule, pre_times, post_times, delay=1.0, duration=200.0, weight=0.5, dt=0.1):
    """The weight of one synapse after imposed spikes; the teacher's spikes fire the neuron in their step."""
    net = evsim.Network(dt=dt, seed=0)
    source = net.add_spike_source("source", 1, [0] * len(pre_times), pre_times)
    teacher = net.add_spike_source("teacher", 1, [0] * len(post_times), np.asarray(post_times) - dt)
    cell = net.add_population("cell", 1, evsim.LIF(tau_mem=1e-3, v_threshold=100.0))
    net.connect(teacher, cell, evsim.all_to_all(), weight=200.0, delay=dt)
    plastic = net.connect(source, cell, evsim.all_to_all(), weight=weight, delay=delay, plasticity=rule)
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(duration)
    assert sim.spike_counts()["cell"] == len(post_times)
    return float(sim.synapses(plastic).weight[0])


@pytest.mark.parametrize("gap", [-80.0, -20.0, -3.0, -0.1, 0.0, 0.1, 5.0, 40.0])
@pytest.mark.parametrize("delay", [0.1, 2.5])
def test_the_window_of_one_pair(gap, delay):
    """dw = a_plus exp(-gap / tau_pre) where the target spikes `gap` ms after the arrival, else -a_minus exp(...)."""
    rule = evsim.PairSTDP(tau_pre=17.0, tau_post=34.0, a_plus=0.1, a_minus=0.05)
    change = pair(rule, [100.0 - delay], [100.0 + gap], delay) - 0.5
    expected = 0.1 * np.exp(-gap / 17.0) if gap >= 0.0 else -0.05 * np.exp(gap / 34.0)
    assert change == pytest.approx(expected, abs=1e-6)


def test_a_coincident_pair_by_both_orders():
    first = evsim.PairSTDP(a_plus=0.1, a_minus=0.03)
    together = evsim.PairSTDP(a_plus=0.1, a_minus=0.03, order="together")
    assert pair(first, [99.0], [100.0]) == pytest.approx(0.6, abs=1e-6)
    assert pair(together, [99.0], [100.0]) == pytest.approx(0.5 + 0.1 - 0.03, abs=1e-6)


def test_triplets_and_bursts():
    rule = evsim.PairSTDP(tau_pre=20.0, tau_post=20.0, a_plus=0.01, a_minus=0.01)
    e = lambda ms: np.exp(-ms / 20.0)  # noqa: E731
    # pre, post, pre at 100, 110, 130 ms
    assert pair(rule, [99.0, 129.0], [110.0]) == pytest.approx(0.5 + 0.01 * (e(10) - e(20)), abs=1e-6)
    # a burst of five, then post: every pair counts, or the last
    burst = [100.0, 102.0, 104.0, 106.0, 108.0]
    every = 0.01 * sum(e(110.0 - t - 1.0) for t in burst)
    assert pair(rule, burst, [110.0]) == pytest.approx(0.5 + every, abs=1e-6)
    nearest = evsim.PairSTDP(a_plus=0.01, a_minus=0.01, traces="nearest")
    assert pair(nearest, burst, [110.0]) == pytest.approx(0.5 + 0.01 * e(1.0), abs=1e-6)


def test_more_spikes_than_are_remembered():
    rule = evsim.PairSTDP(a_plus=0.001, a_minus=0.0)
    posts = np.arange(10.0, 110.0, 1.0)
    expected = 0.5 + 0.001 * np.exp(-(posts - 6.0) / 20.0).sum()
    assert pair(rule, [5.0], posts) == pytest.approx(expected, abs=2e-6)


def test_weights_stop_at_their_bounds():
    assert pair(evsim.PairSTDP(a_plus=0.3), [9.0, 19.0, 29.0], [10.0, 20.0, 30.0]) == 1.0
    assert pair(evsim.PairSTDP(a_plus=0.0, a_minus=0.4), [10.0, 20.0, 30.0], [10.0, 20.0, 30.0]) == 0.0


def test_learning_can_be_switched_off_and_on():
    rule = evsim.PairSTDP(a_plus=0.03, a_minus=0.025)
    weights = []

    def switch(sim, projection):
        sim.learning = not sim.learning
        weights.append(sim.synapses(projection).weight)

    sim, (projection, _), before = learn(rule, 1, (50.0, 50.0, 50.0), between=switch)
    weights.append(sim.synapses(projection).weight)
    assert sim.learning
    assert np.abs(weights[0] - before[0].weight).max() > 0.01
    np.testing.assert_array_equal(weights[1], weights[0])
    assert np.abs(weights[2] - weights[1]).max() > 0.01


def test_normalization():
    rule = evsim.PairSTDP(a_plus=0.01, a_minus=0.01)
    sim, (projection, recurrent), _ = learn(rule, 2, (50.0,))
    sim.normalize(projection, 1.0)
    sums = sim.weights(projection).sum(axis=0)
    connected = np.diff(sim.weights(projection).tocsc().indptr) > 2
    np.testing.assert_allclose(sums[connected], 1.0, rtol=1e-6)
    sim.normalize(recurrent, np.linspace(0.5, 1.0, 50))
    np.testing.assert_allclose(sim.weights(recurrent).sum(axis=0), np.linspace(0.5, 1.0, 50), rtol=1e-6)


def test_thresholds_adapt():
    net = evsim.Network(dt=1.0)
    lif = evsim.LIF(tau_mem=1e-3, v_threshold=1.0, theta_plus=0.25, tau_theta=100.0)
    cell = net.add_population("cell", 1, lif)
    net.add_current("on", cell, amplitude=1.6)
    sim = evsim.Simulation(net, backend="cpu")
    sim.record(spikes=cell)
    sim.run(40.0)
    theta, expected = 0.0, []
    for step in range(40):
        theta *= np.exp(-0.01)
        if np.float32(1.6) >= 1.0 + theta:
            theta += 0.25
            expected.append(float(step))
    assert sim.spikes(cell)[1].tolist() == expected
    assert sim.values(cell, "theta")[0] == pytest.approx(theta, rel=1e-12)
    sim.learning = False
    sim.run(20.0)
    assert sim.values(cell, "theta")[0] == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_winner(threads):
    net = evsim.Network(dt=1.0)
    lif = evsim.LIF(tau_mem=1e9, v_threshold=1.0)
    start = np.linspace(0.0, 0.5, 700)
    start[[17, 500]] = 0.9
    cells = net.add_population("cells", 700, lif, v=start, one_winner=True)
    others = net.add_population("others", 300, lif)
    source = net.add_spike_source("source", 1, [0, 0], [0.0, 4.0])
    net.connect(source, [cells, others], evsim.all_to_all(), weight=0.7, delay=1.0)
    sim = evsim.Simulation(net, threads=threads, backend="cpu")
    sim.record(spikes=cells, state={cells: "v"})
    sim.run(10.0)
    ids, times = sim.spikes(cells)
    assert times.tolist() == [1.0, 5.0]
    assert ids[0] == 17  # the first of the two furthest above
    v = sim.state(cells).values
    assert (v[1] < 1.0).all()  # the others that reached it were reset too
    assert v[1, 500] == 0.0
    assert ids[1] == np.argmax(v[4])


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"tau_pre": 0.0}, "tau_pre is 0.0; it must be above 0 ms"),
        ({"tau_post": float("nan")}, "tau_post is nan"),
        ({"w_min": 1.0}, "w_min is 1.0; it must be below w_max"),
        ({"traces": "some"}, "unknown traces 'some'; known are all, nearest"),
        ({"order": "post_first"}, "unknown order 'post_first'; known are pre_first, together"),
        ({"decay": "euler", "tau_pre": 0.5}, "tau_pre is 0.5; it must be at least 1 ms"),
        ({"dependence": ("power", -1.0)}, "mu is -1.0; it must be at least 0"),
        ({"dependence": "soft"}, "dependence is 'soft'; it must be"),
        ({"dependence": lambda w: 0.0 * w + np.nan}, "does not give a finite number"),
        ({"w_max": 0.4}, "initial weights run from 0.5 to 0.5; they must lie between w_min = 0 and w_max = 0.4"),
    ],
)
def test_bad_rules_are_refused(given_, message):
    net = evsim.Network(dt=1.0)
    a = net.add_population("a", 3, evsim.LIF())
    with pytest.raises((ValueError, KeyError)) as error:
        net.connect(a, a, evsim.all_to_all(), weight=0.5, delay=1.0, plasticity=evsim.PairSTDP(**given_))
    assert "projection 'a->a'" in str(error.value)
    assert message in str(error.value)


def test_what_does_not_learn_is_refused_by_name():
    net = evsim.Network(dt=1.0)
    a = net.add_population("a", 3, evsim.LIF())
    with pytest.raises(TypeError, match=r"plasticity is 'stdp'; it must be an evsim.PairSTDP"):
        net.connect(a, a, evsim.all_to_all(), weight=0.5, delay=1.0, plasticity="stdp")
    projection = net.connect(a, a, evsim.all_to_all(), weight=0.5, delay=1.0)
    sim = evsim.Simulation(net, backend="cpu")
    with pytest.raises(ValueError, match=r"projection 'a->a' has no plasticity"):
        sim.normalize(projection, 1.0)
    with pytest.raises(ValueError, match=r"theta_plus is .* one number for all"):
        net.add_population("b", 3, evsim.LIF(theta_plus=np.ones(3)))


def test_a_checkpoint_goes_on_exactly(tmp_path):
    rule = evsim.PairSTDP(a_plus=0.03, a_minus=0.025)
    runs = (60.0, 90.0)
    expected, projections, _ = learn(rule, 2, runs)

    def keep(sim, projection):
        sim.save(tmp_path / "half.h5")

    learn(rule, 2, runs, between=keep)
    resumed, same, _ = learn(rule, 2, (0.0,), n_steps=150)
    resumed.load(tmp_path / "half.h5")
    assert resumed.time == 60.0
    resumed.run(90.0)
    assert resumed.spike_checksum == expected.spike_checksum
    assert resumed.n_events == expected.n_events
    for a, b in zip(projections, same, strict=True):
        np.testing.assert_array_equal(expected.synapses(a).weight, resumed.synapses(b).weight)
    other, _, _ = learn(rule, 1, (0.0,), n_steps=150)
    with pytest.raises(ValueError, match=r"another configuration: threads was 2 there, and is 1 here"):
        other.load(tmp_path / "half.h5")
    (tmp_path / "other.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"other\.h5 is not a checkpoint"):
        other.load(tmp_path / "other.h5")


def test_samples_that_follow_each_other():
    net = evsim.Network(dt=1.0, seed=2)
    inputs = net.add_poisson_source("inputs", 50, rate=np.full(50, 200.0))
    lif = evsim.LIF(tau_mem=20.0, v_threshold=1.0, t_ref=2.0)
    cells = net.add_population("cells", 30, lif)
    rule = evsim.PairSTDP(w_max=0.5)
    weight = evsim.uniform(0.1, 0.4)
    plastic = net.connect(inputs, cells, evsim.all_to_all(), weight=weight, delay=3.0, plasticity=rule)
    sim = evsim.Simulation(net, backend="cpu")
    sim.run(50.0)
    rate = sim.spike_counts()["inputs"] / 50 / 0.05
    assert 200.0 * 0.75 < rate < 200.0 * 1.1  # at most one spike a step
    learned = sim.weights(plastic).toarray()
    sim.set_rate("inputs", np.where(np.arange(50) < 10, 150.0, 0.0))
    sim.reset_state()
    assert (sim.values(cells) == 0.0).all()
    np.testing.assert_array_equal(sim.weights(plastic).toarray(), learned)
    before = sim.neuron_spikes(inputs)
    sim.run(3.0)
    assert (sim.values(cells) == 0.0).all()  # what was on its way has gone
    sim.run(100.0)
    spikes = sim.neuron_spikes(inputs) - before
    assert (spikes[10:] == 0).all()
    assert (spikes[:10] > 0).all()
    assert (sim.weights(plastic).toarray()[:10] != learned[:10]).any()
    np.testing.assert_array_equal(sim.weights(plastic).toarray()[10:], learned[10:])


def test_rates_come_back_after_others_took_their_place(monkeypatch):
    monkeypatch.setattr("evsim.rates.MOST_CLASSES", 8)
    rates = [[10.0, 20.0, 30.0, 40.0], [50.0, 60.0, 70.0, 80.0], [10.0, 60.0, 200.0, 300.0]]
    counts = []
    for shown in (rates, rates[2:]):
        net = evsim.Network(dt=1.0, seed=1)
        inputs = net.add_poisson_source("inputs", 4, rate=np.full(4, 400.0))
        sim = evsim.Simulation(net, backend="cpu")
        for rate in shown:
            sim.set_rate("inputs", rate)
        sim.run(500.0)
        counts.append(sim.neuron_spikes(inputs))
    np.testing.assert_array_equal(*counts)


def test_rates_stay_when_a_recording_is_asked_for():
    net = evsim.Network(dt=1.0, seed=1)
    inputs = net.add_poisson_source("inputs", 10, rate=np.full(10, 100.0))
    sim = evsim.Simulation(net, backend="cpu")
    sim.set_rate("inputs", 0.0)
    sim.record(spikes=[inputs])
    sim.run(200.0)
    assert sim.n_spikes == 0


def test_bad_rates_are_refused():
    net = evsim.Network(dt=1.0)
    inputs = net.add_poisson_source("inputs", 5, rate=np.full(5, 100.0))
    net.add_poisson("noise", [inputs, inputs[:2]], rate=10.0, weight=0.1)
    sim = evsim.Simulation(net, backend="cpu")
    with pytest.raises(KeyError, match=r"unknown poisson stimulus 'input'; known are inputs, noise"):
        sim.set_rate("input", 1.0)
    with pytest.raises(ValueError, match=r"poisson 'inputs': rate is 101 Hz; it must be at most 100 Hz"):
        sim.set_rate("inputs", 101.0)
    for bad in ([0.0, 0.0, -1.0, 0.0, 0.0], np.array([0.0, 0.0, -1.0, 0.0, 0.0])):
        with pytest.raises(ValueError, match=r"rate\[2\] is -1.0; it must be at least 0 Hz"):
            sim.set_rate("inputs", bad)
    with pytest.raises(ValueError, match=r"poisson 'noise' has 2 targets"):
        sim.set_rate("noise", 1.0)
