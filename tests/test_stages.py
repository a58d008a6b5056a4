"""Delays of 0 and several spikes a step: the same as a plain NumPy loop, whatever the threads and the splits."""

import numpy as np
import pytest
from cuda_cases import Multi, Single
from hypothesis import given, settings
from hypothesis import strategies as st

import evsim
from evsim.dynamics import MAX_SPIKES
from evsim.layout import lay_out
from evsim.synapses import WEIGHT_PRECISION, unit_with_headroom


def simulate(net, n_steps, trains):
    """The network step by step, in stages: {name: spikes (n_steps, n)}, {name: v (n_steps, n)}.

    Weights and leaks are binary fractions, so that nothing but v itself is rounded. `trains` are the spikes of sources.
    """
    sim = evsim.Simulation(net, threads=1)
    weights = [sim.weights(q).toarray().astype(np.float64) for q in net.projections]
    delays = [round(float(q.delay) / net.dt) for q in net.projections]
    left = {p: np.zeros(p.size, int) for p in net.populations.values()}
    v = {p: np.zeros(p.size, np.float32) for p in net.populations.values()}
    arriving = {p: np.zeros((n_steps + max(delays) + 1, p.size)) for p in net.populations.values()}
    spikes = {p: np.zeros((n_steps, p.size), int) for p in net.populations.values()}
    traces = {p: np.zeros((n_steps, p.size), np.float32) for p in net.populations.values()}
    order = [p for stage in range(len(v)) for p, at in zip(v, lay_out(net, 1).stage, strict=True) if at == stage]
    for step in range(n_steps):
        for p in order:
            if p.name in trains:
                spikes[p][step] = trains[p.name][step]
            else:
                c = p.model
                moved = np.maximum(c.leak * v[p].astype(np.float64) + arriving[p][step], c.v_min).astype(np.float32)
                v[p] = np.where(left[p] > 0, v[p], moved)
                fired = (v[p] >= np.float32(c.v_threshold)) & (left[p] == 0)
                often = np.trunc(v[p] / np.float32(c.v_threshold)) if isinstance(c, Multi) else np.ones(p.size)
                n = np.where(fired, often, 0).astype(int)
                lowered = (v[p] - n * np.float64(c.v_threshold)).astype(np.float32)
                v[p] = np.where(fired, lowered if c.v_reset is None else np.float32(c.v_reset), v[p])
                left[p] = np.where(fired, round(c.t_ref / net.dt), np.maximum(left[p] - 1, 0))
                spikes[p][step] = n
            traces[p][step] = v[p]
            for q, weight, delay in zip(net.projections, weights, delays, strict=True):
                if q.source.population is p:
                    own = spikes[p][step, q.source.start : q.source.stop]
                    arriving[q.target.population][step + delay, q.target.start : q.target.stop] += own @ weight
    return {p.name: s for p, s in spikes.items()}, {p.name: x for p, x in traces.items()}


def observe(net, n_steps, threads=1, pieces=1):
    """What the engine makes of it, as `simulate` has it, and the simulation; run in so many pieces."""
    sim = evsim.Simulation(net, threads=threads)
    populations = list(net.populations.values())
    neurons = [p for p in populations if not isinstance(p.model, evsim.network.SpikeSource)]
    sim.record(spikes=populations, state=dict.fromkeys(neurons, "v"))
    for steps in np.diff(np.linspace(0, n_steps, pieces + 1).astype(int)):
        sim.run(steps * net.dt)
    spikes = {p.name: np.zeros((n_steps, p.size), int) for p in populations}
    for p in populations:
        ids, times = sim.spikes(p)
        np.add.at(spikes[p.name], (np.rint(times / net.dt).astype(int), ids), 1)
        np.testing.assert_array_equal(sim.neuron_spikes(p), spikes[p.name].sum(axis=0))
        assert (np.diff(times) >= 0.0).all()
        assert (np.diff(ids)[np.diff(times) == 0.0] >= 0).all()
    return spikes, {p.name: sim.state(p).values for p in neurons}, sim


def assert_as_simulated(net, n_steps, trains=(), **how):
    """Spikes and v of the engine are those of the NumPy loop; returns the spikes."""
    expected_spikes, expected_v = simulate(net, n_steps, dict(trains))
    spikes, v, sim = observe(net, n_steps, **how)
    for name, of_population in spikes.items():
        np.testing.assert_array_equal(of_population, expected_spikes[name], err_msg=name)
    for name, of_population in v.items():
        np.testing.assert_array_equal(of_population, expected_v[name], err_msg=name)
    degree = {p.name: np.zeros(p.size, int) for p in net.populations.values()}
    for q in net.projections:
        own = degree[q.source.population.name][q.source.start : q.source.stop]
        own += np.bincount(sim.synapses(q).pre, minlength=own.size)
    assert sim.n_events == sum(int((spikes[name] * degree[name]).sum()) for name in spikes)
    return spikes


def add_source(net, name, size, n_steps, probability, seed):
    """A spike source with random trains; returns it and {name: its spikes}."""
    train = (np.random.default_rng(seed).random((n_steps, size)) < probability).astype(int)
    steps, ids = np.nonzero(train)
    return net.add_spike_source(name, size, ids, steps * net.dt), {name: train}


def chain(model, sizes=(30, 20, 10), n_steps=40, weight=0.25):
    """A source and layers, each over a delay of 0."""
    net = evsim.Network(dt=0.5, seed=1)
    before, trains = add_source(net, "source", 40, n_steps, 0.3, 0)
    for k, size in enumerate(sizes):
        layer = net.add_population(f"layer {k}", size, model)
        net.connect(before, layer, evsim.pairwise_bernoulli(0.3), weight, delay=0.0)
        before = layer
    return net, trains


def diamond(model, feedback=True, size=60, n_steps=50):
    """a -> b -> d and a -> d over delays of 0, declared in another order; d -> a and b -> b over later steps."""
    net = evsim.Network(dt=1.0, seed=2)
    d = net.add_population("d", size, model)
    b = net.add_population("b", size, model)
    source, trains = add_source(net, "source", 20, n_steps, 0.3, 1)
    a = net.add_population("a", size, model)
    net.connect(b, d, evsim.fixed_indegree(6), 0.5, delay=0.0)
    net.connect(a, d, evsim.fixed_indegree(6), -0.125, delay=0.0)
    net.connect(a, b[5:], evsim.fixed_indegree(9), 0.25, delay=0.0)
    net.connect(source, a, evsim.fixed_indegree(5), 0.75, delay=1.0)
    if feedback:
        net.connect(d, a, evsim.fixed_indegree(4), -0.0625, delay=1.0)
        net.connect(b, b, evsim.fixed_indegree(4), -0.25, delay=3.0)
    return net, trains


@pytest.mark.parametrize("model", [Single(), Single(v_reset=0.0, t_ref=1.0), Multi(), Multi(v_reset=0.0, v_min=-0.5)])
@pytest.mark.parametrize("make", [chain, diamond])
def test_stages_are_those_of_a_plain_loop(make, model):
    net, trains = make(model)
    spikes = assert_as_simulated(net, 40, {name: train[:40] for name, train in trains.items()})
    counts = {name: of_population.sum() for name, of_population in spikes.items()}
    assert min(counts.values()) > 5, counts
    assert max(of_population.max() for of_population in spikes.values()) > 1 or not isinstance(model, Multi)


def test_a_spike_crosses_all_layers_in_its_step():
    net = evsim.Network(dt=0.1)
    source = net.add_spike_source("source", 1, [0], [0.3])
    layers = [net.add_population(f"layer {k}", 1, evsim.IAF()) for k in reversed(range(6))][::-1]
    for pre, post in zip([source, *layers], layers, strict=False):
        net.connect(pre, post, evsim.one_to_one(), 1.0, delay=0)
    sim = evsim.Simulation(net)
    sim.record(spikes=layers)
    sim.run(1.0)
    assert [sim.spikes(layer)[1].tolist() for layer in layers] == [[pytest.approx(0.3)]] * 6
    assert sim.synapses(net.projections[0]).delay.tolist() == [0.0]


@pytest.mark.parametrize(("threads", "pieces"), [(1, 7), (2, 1), (2, 50), (3, 4)])
@pytest.mark.parametrize("model", [Single(), Multi()])
def test_threads_and_splits_do_not_matter(model, threads, pieces):
    def run(threads, pieces):
        net, _ = diamond(model, size=700)
        spikes, v, sim = observe(net, 50, threads, pieces)
        return [*spikes.values(), *v.values()], sim.spike_checksum, sim.n_events

    expected, seen = run(1, 1), run(threads, pieces)
    for a, b in zip(expected[0], seen[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert expected[1:] == seen[1:]
    assert all(part.any() for part in expected[0])


def test_a_full_record_of_spikes_loses_nothing(monkeypatch):
    net, trains = diamond(Multi(), size=300)
    sim = evsim.Simulation(net, threads=2)
    sim.run(50.0)
    monkeypatch.setattr("evsim.recorder.MIN_SPIKES", 1)
    monkeypatch.setattr("evsim.simulation.CHUNK_SECONDS", 1e6)
    spikes, _, recorded = observe(net, 50, threads=2)
    assert recorded.spike_checksum == sim.spike_checksum
    assert sum(of_population.sum() for of_population in spikes.values()) == sim.n_spikes


def test_a_poisson_source_reaches_a_layer_in_its_step():
    net = evsim.Network(dt=1.0, seed=3)
    inputs = net.add_poisson_source("inputs", 150, rate=np.linspace(0.0, 300.0, 150))
    copies = net.add_population("copies", 150, evsim.IAF())
    last = net.add_population("last", 150, evsim.IAF())
    net.connect(copies, last, evsim.one_to_one(), 1.0, delay=0.0)
    net.connect(inputs, copies, evsim.one_to_one(), 1.0, delay=0.0)
    sim = evsim.Simulation(net, threads=2)
    sim.record(spikes=[inputs, copies, last])
    sim.run(50.0)
    assert sim.spike_counts()["inputs"] > 500
    for copied in (copies, last):
        np.testing.assert_array_equal(sim.spikes(copied), sim.spikes(inputs))


def test_poisson_input_and_currents_of_later_stages():
    """A population of a later stage takes in noise, currents and delayed spikes as one of the first does."""

    def run(delay):
        net = evsim.Network(dt=1.0, seed=4)
        silent = net.add_population("silent", 5, evsim.IAF())
        cells = net.add_population("cells", 200, evsim.LIF(tau_mem=10.0, tau_syn=3.0))
        net.add_poisson("noise", cells, rate=200.0, weight=1.0)
        net.add_current("step", cells[20:], [0.0, 0.3], times=[0.0, 20.0])
        net.connect(cells, cells, evsim.fixed_indegree(10), -0.1, delay=2.0)
        net.connect(silent, cells, evsim.all_to_all(), 1.0, delay=delay)
        sim = evsim.Simulation(net, threads=2)
        sim.run(100.0)
        return sim.spike_checksum, sim.n_spikes

    assert run(0.0) == run(1.0)
    assert run(0.0)[1] > 200


@pytest.mark.parametrize("threads", [1, 2])
def test_plastic_synapses_beside_delays_of_0(threads):
    """A plastic projection into a late stage learns as it does where the same spikes come over a step."""
    rule = evsim.PairSTDP(a_plus=0.01, a_minus=0.015)

    def run(delay, ahead):
        net = evsim.Network(dt=1.0, seed=5)
        (steps, ids), (later, others) = (np.nonzero(x) for x in np.random.default_rng(5).random((2, 80, 20)) < 0.2)
        source = net.add_spike_source("source", 20, ids, steps + 1.0 - ahead)
        cells = net.add_population("cells", 300, Single())
        inputs = net.add_spike_source("inputs", 20, others, later + 1.0)
        net.connect(source, cells, evsim.fixed_indegree(5), 0.5, delay=delay)
        plastic = net.connect(inputs, cells, evsim.all_to_all(), 0.1, delay=2.0, plasticity=rule)
        sim = evsim.Simulation(net, threads=threads)
        sim.run(90.0)
        return sim.weights(plastic).toarray(), sim.neuron_spikes(cells)

    (weights, spikes), (expected, same) = run(0.0, 0.0), run(1.0, 1.0)
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_array_equal(spikes, same)
    assert np.ptp(weights) > 0.5


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_small_network_is_that_of_a_plain_loop(data):
    draw = data.draw
    net = evsim.Network(dt=1.0, seed=draw(st.integers(0, 5)))
    n_steps = draw(st.integers(1, 12))
    source, trains = add_source(net, "source", draw(st.integers(1, 5)), n_steps, 0.6, draw(st.integers(0, 9)))
    models = st.sampled_from([Single(), Multi(), Multi(v_threshold=0.55, v_reset=0.0), Multi(leak=1.0, t_ref=1.0)])
    layers = [net.add_population(f"{k}", draw(st.integers(1, 4)), draw(models)) for k in range(draw(st.integers(1, 4)))]
    ranks = draw(st.permutations(range(len(layers))))
    weights, inner = st.sampled_from([-0.5, 0.375, 1.0, 2.5]), st.sampled_from([-0.25, 0.125])
    for post, rank in zip(layers, ranks, strict=True):
        net.connect(source, post, evsim.pairwise_bernoulli(0.7), draw(weights), delay=draw(st.sampled_from([0, 1, 3])))
        for pre, before in zip(layers, ranks, strict=True):
            if draw(st.booleans()):
                weight, delay = (draw(inner), 0) if before < rank else (-0.25, draw(st.sampled_from([1, 2])))
                net.connect(pre, post, evsim.pairwise_bernoulli(0.7), weight, delay=delay)
    assert_as_simulated(net, n_steps, trains, threads=draw(st.sampled_from([1, 2])), pieces=draw(st.integers(1, 3)))


def test_a_cycle_of_delays_of_0_is_refused_by_name():
    net = evsim.Network(dt=0.1)
    a, b, c = (net.add_population(name, 3, evsim.IAF()) for name in "abc")
    net.connect(a, b, evsim.all_to_all(), 1.0, delay=0.0)
    net.connect(b, c, evsim.all_to_all(), 1.0, delay=0.0, name="onwards")
    net.connect(b, a, evsim.all_to_all(), 1.0, delay=0.1)
    assert lay_out(net, 1).stage.tolist() == [0, 1, 2]
    net.connect(c[1:], a[:1], evsim.all_to_all(), 1.0, delay=0.0)
    with pytest.raises(ValueError, match=r"delays of 0 ms form a cycle; .* at least dt = 0.1 ms") as error:
        evsim.Simulation(net)
    assert all(name in str(error.value) for name in ("'a->b'", "'onwards'", "'c[1:3]->a[0:1]'"))
    net = evsim.Network()
    a = net.add_population("a", 3, evsim.IAF())
    net.connect(a, a, evsim.all_to_all(), 1.0, delay=0.0)
    with pytest.raises(ValueError, match=r"'a->a'"):
        evsim.Simulation(net)


def test_a_delay_of_0_is_one_for_the_whole_projection():
    net = evsim.Network(dt=0.1)
    a, b = (net.add_population(name, 2, evsim.IAF()) for name in "ab")
    rule = evsim.all_to_all()
    for delay in ([[0.0, 0.1], [0.1, 0.1]], evsim.uniform(0.0, 1.0)):
        with pytest.raises(ValueError, match=r"'a->b': delay.* at least dt = 0.1 ms, or 0 for the whole projection"):
            net.connect(a, b, rule, 1.0, delay)
    with pytest.raises(ValueError, match=r"'a->b': delay is 0 ms; where weights learn it must be at least dt"):
        net.connect(a, b, rule, 1.0, 0.0, plasticity=evsim.PairSTDP())
    assert net.connect(a, b, rule, 1.0, np.zeros((2, 2))).same_step
    assert not net.connect(a, b, rule, 1.0, 0.1).same_step


# --- several spikes in a step ---------------------------------------------------------------------------------------


def one_neuron(weight, model):
    """A neuron that gets `weight` in step 2."""
    net = evsim.Network(dt=1.0)
    source = net.add_spike_source("source", 1, [0], [2.0])
    neuron = net.add_population("neuron", 1, model)
    net.connect(source, neuron, evsim.one_to_one(), weight, delay=0.0)
    return net


@pytest.mark.parametrize("threshold", [1.0, 0.1, 0.3, 1e-3, 7.0])
def test_the_number_of_spikes_is_the_quotient_in_float32(threshold):
    quotients = np.float32([0.999, 1.0, 1.5, 2.0, 2.9999, 3.0, 17.0, 254.9, 255.0])
    net = evsim.Network(dt=1.0)
    neurons = net.add_population("neurons", quotients.size, Multi(v_threshold=threshold), v=quotients * threshold)
    neurons = net.add_population(
        "held", quotients.size, Multi(v_threshold=threshold, leak=1.0), v=quotients * threshold
    )
    sim = evsim.Simulation(net)
    sim.record(state={neurons: "v_pre_reset"})
    sim.run(1.0)
    before = sim.state(neurons, "v_pre_reset").values[0]
    n = np.where(before >= np.float32(threshold), np.trunc(before / np.float32(threshold)), 0.0)
    np.testing.assert_array_equal(sim.neuron_spikes(neurons), n)
    after = before.astype(np.float64) - n * np.float64(np.float32(threshold))
    np.testing.assert_array_equal(sim.values(neurons), after.astype(np.float32))
    assert {0, 1, 2, 3, 17} <= set(n.astype(int).tolist())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("times", [256.0, 1e20])
def test_too_many_spikes_stop_the_run(threads, times):
    sim = evsim.Simulation(one_neuron(255.5, Multi()), threads=threads)
    sim.run(5.0)
    assert sim.spike_counts()["neuron"] == MAX_SPIKES
    net = one_neuron(times, Multi())
    net.add_population("other", 3, Multi(leak=1.0), v=300.0)  # later in the network, but earlier
    sim = evsim.Simulation(net, threads=threads)
    with pytest.raises(RuntimeError, match=r"population 'other': in step 0 .* more than 255 times"):
        sim.run(5.0)
    sim = evsim.Simulation(one_neuron(times, Multi()), threads=threads)
    sim.run(2.0)
    with pytest.raises(RuntimeError, match=r"population 'neuron': in step 2 .* more than 255 times"):
        sim.run(5.0)
    with pytest.raises(RuntimeError, match="in step 2"):
        sim.run(1.0)


def test_sums_of_many_spikes_do_not_overflow():
    """Every source spikes as often as it can."""
    for n_sources, bits in ((50, 32), (3000, 64)):
        net = evsim.Network(dt=1.0)
        sources = net.add_population("sources", n_sources, Multi(), v=255.0 / 0.75)
        cells = net.add_population("cells", 2, evsim.IAF(v_threshold=1e9))
        weight = np.linspace(0.5, 1.0, 2 * n_sources).reshape(n_sources, 2)
        net.connect(sources, cells, evsim.all_to_all(), weight, delay=0.0)
        sim = evsim.Simulation(net)
        sim.run(1.0)
        assert sim.spike_counts()["sources"] == n_sources * MAX_SPIKES
        assert sim._built.state.ring.dtype == f"int{bits}"
        unit = sim._built.model.input_unit[1, 0]
        assert unit == unit_with_headroom(0.0, weight.mean())
        np.testing.assert_allclose(sim.values(cells), MAX_SPIKES * weight.sum(axis=0), rtol=WEIGHT_PRECISION)


@given(st.floats(1e-20, 1e20), st.floats(1e-30, 1e30))
def test_the_unit_with_headroom(unit, mean):
    chosen = unit_with_headroom(unit, mean)
    assert chosen >= unit
    assert chosen == unit or 0.5 * chosen <= WEIGHT_PRECISION * mean < chosen


def test_other_units_are_as_they_were():
    def unit(model):
        net = evsim.Network(dt=1.0)
        sources = net.add_population("sources", 20, model)
        cells = net.add_population("cells", 2, evsim.IAF())
        net.connect(sources, cells, evsim.all_to_all(), 0.5, delay=1.0)
        return evsim.Simulation(net)._built.model.input_unit[1, 0]

    assert unit(Single()) == 2.0**-27  # 10 fits into 31 bits
    assert unit(Multi()) == 2.0**-17


def test_layers_are_the_same_in_a_network():
    """Projections of delay 0 make of a Network what Sequential is."""
    rng = np.random.default_rng(7)
    weights = [rng.integers(-8, 12, shape) / 16.0 for shape in ((20, 30), (10, 20))]  # (to, from)
    train = (rng.random((25, 30)) < 0.4).astype(np.float32)
    layers = [evsim.Linear(w.shape[1], w.shape[0], bias=False, weight=w) for w in weights]
    expected = evsim.Sequential(layers[0], evsim.sinabs.IAF(), layers[1], evsim.sinabs.IAF())(train[:, None])[:, 0]
    net = evsim.Network(dt=1.0)
    steps, ids = np.nonzero(train)
    before = net.add_spike_source("source", 30, ids, steps)
    for k, w in enumerate(weights):
        layer = net.add_population(f"{k}", len(w), evsim.sinabs.IAF())
        net.connect(before, layer, evsim.all_to_all(), w.T, delay=0.0)
        before = layer
    spikes, _, _ = observe(net, 25)
    np.testing.assert_array_equal(spikes["1"], expected)
    assert expected.max() > 2.0


def test_what_needs_one_spike_a_step_refuses_several():
    net = evsim.Network(dt=1.0)
    with pytest.raises(ValueError, match=r"population 'a': one_winner is True; .* at most once in a step"):
        net.add_population("a", 3, Multi(), one_winner=True)
    a, b = net.add_population("a", 3, Multi()), net.add_population("b", 3, Single())
    for source, target in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=r"projection '.*': 'a' can spike several times in a step"):
            net.connect(source, target, evsim.all_to_all(), 0.1, delay=1.0, plasticity=evsim.PairSTDP())
    net.add_population("c", 2, Multi(v_threshold=np.array([1.0, -1.0])))
    with pytest.raises(ValueError, match=r"population 'c': v_threshold must be above 0"):
        evsim.Simulation(net)
    for model, words in ((evsim.sinabs.ALIF(10.0, 20.0, multi_spike=True), "must spike at most once in a step"),):
        net = evsim.Network(dt=1.0)
        net.add_population("adapting", 2, model)
        with pytest.raises(ValueError, match=f"population 'adapting': .*{words}"):
            evsim.Simulation(net)
