"""The engine: same spikes whatever the threads and the splits, nothing lost, everything readable."""

import json
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim import (
    IAF,
    LIF,
    Network,
    Simulation,
    all_to_all,
    explicit,
    fixed_indegree,
    fixed_outdegree,
    fixed_total_number,
    normal,
    one_to_one,
    open_recording,
    pairwise_bernoulli,
    recorder,
    simulation,
    uniform,
)
from evsim.interrupt import Interrupt

COUNTER = IAF(v_threshold=1e9)  # v is the sum of all that has arrived


def mixed_network(shortest=1.3, seed=4):
    """Everything the engine treats differently, in sizes that are no multiples of anything.

    Delta and exponential synapses; one weight and delay, lists and distributions of them; delays from `shortest`
    (ms) on; Poisson input with one rate, a rate each and changing rates; currents; spike sources.
    """
    net = Network(dt=0.1, seed=seed)
    cuba = LIF(
        tau_mem=10.0, tau_syn=(2.0, 5.0), t_ref=2.0, v_leak=-65.0, v_threshold=normal(-50.0, 1.0, -53.0, -47.0),
        v_reset=-65.0, r_mem=0.04,
    )  # fmt: skip
    exc = net.add_population("exc", 701, cuba, v=uniform(-65.0, -50.0))
    tiny = net.add_population("tiny", 3, LIF(i_bias=2.5, v_reset=None))
    inh = net.add_population("inh", 131, LIF(tau_mem=10.0, v_threshold=15.0, t_ref=1.0), v=uniform(0.0, 15.0))
    source = net.add_spike_source("source", 40, np.repeat(np.arange(40), 20), np.tile(np.arange(20) * 2.5, 40))
    net.add_poisson("noise", exc, rate=8000.0, weight=30.0)
    net.add_poisson("noise", inh[20:120], rate=np.linspace(1000.0, 3000.0, 100), weight=1.0)
    net.add_poisson("burst", exc[100:600], rate=[0.0, 3000.0, 0.0], times=[0.0, 11.3, 17.0], weight=-40.0)
    net.add_current("step", inh, [0.0, 14.0, -3.0], times=[0.0, 5.1, 30.0])
    spread = uniform(shortest, shortest + 2.0)
    net.connect(exc, [exc, inh], fixed_indegree(20), weight=normal(0.5, 0.1, 0.0, 2.0), delay=spread)
    net.connect(inh, [exc, inh[:77]], fixed_outdegree(20), weight=-0.4, delay=shortest)
    net.connect(source, inh, pairwise_bernoulli(0.2), weight=2.0, delay=shortest + 0.4)
    rng = np.random.default_rng(seed)
    pre, post = rng.integers(0, 3, 400), rng.integers(0, 131, 400)
    delay = shortest + 0.1 * rng.integers(0, 60, 400)
    net.connect(tiny, inh, explicit(pre, post), weight=rng.normal(0.0, 1.0, 400), delay=delay)
    net.connect(exc[650:], tiny, fixed_total_number(90), weight=0.05, delay=normal(shortest + 1.0, 0.5, shortest))
    return net


def neurons_of(net):
    return [p for p in net.populations.values() if p.name != "source"]


def observe(net, threads=1, pieces=(50.0,), path=None):
    """Run in pieces, recording all there is; everything that can be read afterwards, by name."""
    populations = neurons_of(net)
    exc, tiny, inh = populations
    sim = Simulation(net, threads=threads)
    state = {exc[3:690]: ["v", "i_exc"], exc[600:]: "i_inh", tiny: ["v", "v_pre_reset"], inh: "v"}
    sim.record(path, spikes=[*populations, net.populations["source"]], state=state, every=0.3)
    for piece in pieces:
        sim.run(piece)
    seen = {"checksum": sim.spike_checksum, "counts": sim.spike_counts(), "events": sim.n_events, "time": sim.time}
    for p in [*populations, net.populations["source"]]:
        seen[f"{p.name} ids"], seen[f"{p.name} times"] = sim.spikes(p)
    for p in populations:
        seen[f"{p.name} v"] = sim.values(p)
    seen["exc i_exc"], seen["exc i_inh"] = sim.values(exc, "i_exc"), sim.values(exc, "i_inh")
    for p, names in {exc: ["v", "i_exc", "i_inh"], tiny: ["v", "v_pre_reset"], inh: ["v"]}.items():
        for name in names:
            recorded = sim.state(p, name)
            for field in ("times", "ids", "values"):
                seen[f"{p.name} {name} {field}"] = getattr(recorded, field)
    for projection in net.projections:
        synapses = sim.synapses(projection)
        for field in synapses._fields:
            seen[f"{projection.index} {field}"] = getattr(synapses, field)
        seen[f"{projection.index} weights"] = sim.weights(projection).toarray()
    return seen


def assert_equal(seen, expected):
    assert seen.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(seen[name], value, err_msg=name)


@pytest.fixture(scope="module")
def reference():
    """The mixed network on one thread, 50 ms in one run, by shortest delay."""
    return {shortest: observe(mixed_network(shortest)) for shortest in (0.1, 1.3, 4.0)}  # windows 1, 13 and 16


def test_the_mixed_network_does_everything(reference):
    """What the tests below compare is there: all populations fire, none all the time, all events are delivered."""
    for seen in reference.values():
        for name, low, high in [("exc", 200, 10_000), ("tiny", 20, 1000), ("inh", 100, 3000), ("source", 800, 800)]:
            assert low <= seen["counts"][name] <= high
            assert seen[f"{name} ids"].size == seen["counts"][name]
        assert seen["exc v values"].shape == (167, 687)
        assert np.isfinite(seen["exc v values"]).all()
        assert seen["events"] > 100_000


# --- same spikes whatever the threads and the splits ----------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("shortest", [0.1, 1.3, 4.0])
def test_threads_do_not_matter(reference, shortest, threads):
    assert_equal(observe(mixed_network(shortest), threads), reference[shortest])


@pytest.mark.parametrize(
    "pieces",
    [[5.0] * 10, [0.1, 0.2, 0.7, 0.0, 1.0, 13.3, 0.1, 4.6, 25.9, 4.1], [0.1] * 500],
    ids=["10", "odd", "steps"],
)
@pytest.mark.parametrize(("shortest", "threads"), [(0.1, 1), (1.3, 2), (4.0, 3)])
def test_splits_do_not_matter(reference, shortest, threads, pieces):
    seen = observe(mixed_network(shortest), threads, pieces)
    assert seen.pop("time") == pytest.approx(50.0)
    assert_equal(seen, {name: value for name, value in reference[shortest].items() if name != "time"})


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_do_not_matter_for_many_odd_populations(threads):
    """Whole, almost whole and tiny groups of 128, in every order."""

    def run(threads):
        net = Network(dt=0.2, seed=6)
        sizes = [1, 127, 128, 129, 5, 513, 256, 2, 640, 255, 31, 257]
        lif = LIF(tau_mem=10.0, v_threshold=2.0, t_ref=1.0)
        populations = [net.add_population(f"p{k}", size, lif, v=uniform(0.0, 2.0)) for k, size in enumerate(sizes)]
        net.add_poisson("noise", populations[::2], 1500.0, 0.2)
        for k, target in enumerate(populations):
            delay = 0.6 if k % 3 else uniform(0.6, 8.0)
            net.connect([populations[k - 1], populations[k - 5]], target, fixed_indegree(6), weight=0.15, delay=delay)
        sim = Simulation(net, threads=threads)
        sim.record(spikes=populations)
        sim.run(100.0)
        return [part for p in populations for part in (*sim.spikes(p), sim.values(p))], sim.spike_checksum

    (expected, checksum), (seen, same) = run(1), run(threads)
    assert min(part.size for part in expected) > 0
    for a, b in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert same == checksum


def test_a_second_simulation_of_one_network_is_the_same(reference):
    net = mixed_network(1.3)
    observe(net)
    assert_equal(observe(net), reference[1.3])


def test_the_seed_matters(reference):
    assert observe(mixed_network(1.3, seed=5))["checksum"] != reference[1.3]["checksum"]


def test_recording_does_not_matter(reference):
    sim = Simulation(mixed_network(1.3), threads=2)
    sim.run(50.0)
    assert sim.spike_checksum == reference[1.3]["checksum"]
    assert sim.spike_counts() == reference[1.3]["counts"]


def test_the_checksum_is_of_all_spikes():
    """It tells apart who fired when, of which population, and a spike more or less."""

    def checksum(times, ids=(0,), name="a"):
        net = Network(dt=1.0)
        for other in "ab":
            net.add_spike_source(other, 2, *((ids, times) if other == name else ([], [])))
        sim = Simulation(net, threads=1)
        sim.run(10.0)
        return sim.spike_checksum

    sums = [checksum([3.0]), checksum([4.0]), checksum([3.0], [1]), checksum([3.0], name="b")]
    sums += [checksum([3.0, 4.0], [0, 0]), checksum([], [])]
    assert len(set(sums)) == len(sums)
    assert checksum([11.0]) == checksum([], [])  # not yet


# --- delivery -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 9, 16, 17, 33, 250])
def test_spikes_arrive_after_any_delay(steps, threads):
    """Also where the delay is just what the ring of arriving input holds: a spike a step, each of another weight."""
    net = Network(dt=1.0)
    sent = np.arange(60)
    source = net.add_spike_source("source", 60, sent, sent * 1.0)
    cells = net.add_population("cells", 300, COUNTER)
    weight = 2.0 ** (np.arange(60) % 8)
    listed = explicit(np.repeat(sent, 3), np.tile([0, 150, 299], 60))
    net.connect(source, cells, listed, weight=np.repeat(weight, 3), delay=float(steps))
    sim = Simulation(net, threads=threads)
    sim.record(state={cells: "v"})
    sim.run(60.0 + steps)
    arrived = np.zeros((60 + steps, 300))
    arrived[steps:, [0, 150, 299]] = np.cumsum(weight)[:, None]
    np.testing.assert_array_equal(sim.state(cells).values, arrived)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_pulse_travels_around_a_ring(threads):
    """Neuron i excites i + 1 after i % 7 + 1 steps; the pulse passes through all threads, for ever."""
    n = 600
    net = Network(dt=0.5)
    ring = net.add_population("ring", n, LIF(tau_mem=5.0, v_threshold=1.0, t_ref=3.0))
    kick = net.add_spike_source("kick", 1, [0], [1.0])
    net.connect(kick, ring[0], one_to_one(), weight=1.5, delay=0.5)
    delay = 1 + np.arange(n) % 7
    net.connect(ring, ring, explicit(np.arange(n), (np.arange(n) + 1) % n), weight=1.5, delay=0.5 * delay)
    sim = Simulation(net, threads=threads)
    sim.record(spikes=ring)
    sim.run(2000.0)
    ids, times = sim.spikes(ring)
    arrival = np.cumsum([3, *np.tile(delay, 2)])
    arrival = arrival[arrival < 4000]
    assert arrival.size > 600
    np.testing.assert_array_equal(np.rint(times / 0.5), arrival)
    np.testing.assert_array_equal(ids, np.arange(arrival.size) % n)
    assert sim.n_events == arrival.size + 1


def naive_run(n_steps, v, threshold, v_reset, refractory, synapses, trains):
    """Spikes (step, neuron) of neurons that add up their input: synapses (pre, post, weight, delay in steps).

    Sources count as neurons -1, -2, ...; everything is written as one would on paper.
    """
    n = v.size
    arriving = np.zeros((n_steps + synapses["delay"].max(initial=0) + 1, n))
    left, spikes = np.zeros(n, int), []
    for step in range(n_steps):
        v = np.where(left == 0, v + arriving[step], v)
        fired = (left == 0) & (v >= threshold)
        left = np.maximum(left - 1, 0)
        left[fired] = refractory[fired]
        v = np.where(fired, v - threshold if v_reset is None else v_reset, v)
        for neuron in np.flatnonzero(fired):
            spikes.append((step, neuron))
        senders = [*np.flatnonzero(fired), *(-1 - trains[1][trains[0] == step])]
        for sender in senders:
            row = synapses[synapses["pre"] == sender]
            np.add.at(arriving, (step + row["delay"], row["post"]), row["weight"])
    return np.array(spikes, int).reshape(-1, 2), v


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([1, 2, 9, 127, 128, 129, 300]), min_size=1, max_size=4),
    threads=st.integers(1, 4),
    shortest=st.integers(1, 20),
    spread=st.sampled_from([0, 1, 5, 40]),
    v_reset=st.sampled_from([None, 0.0, -1.0]),
    recorded_at_a_time=st.sampled_from([1, 2**18]),
    seed=st.integers(0, 2**32),
)
def test_any_network_is_what_it_is_on_paper(sizes, threads, shortest, spread, v_reset, recorded_at_a_time, seed):
    """Spike for spike and v for v, with numbers that floating point holds exactly."""
    rng = np.random.default_rng(seed)
    n, n_sources, n_steps = sum(sizes), 5, 150
    first = np.cumsum([0, *sizes])
    threshold, refractory = rng.integers(4, 12, n) / 2.0, rng.integers(0, 6, n)
    v = rng.integers(-4, 8, n) / 4.0
    steps, ids = np.divmod(np.sort(rng.choice(n_steps * n_sources, 120, replace=False)), n_sources)

    net = Network(dt=0.5)
    groups = [slice(a, b) for a, b in pairwise(first)]
    populations = [
        net.add_population(
            f"p{k}", b.stop - b.start, IAF(v_threshold=threshold[b], v_reset=v_reset, t_ref=0.5 * refractory[b]), v=v[b]
        )
        for k, b in enumerate(groups)
    ]
    source = net.add_spike_source("source", n_sources, ids, 0.5 * steps)
    parts = []
    for k, target in enumerate(populations):
        for j, sender in [*enumerate(populations), (-1, source)]:
            m = int(rng.integers(0, 4 * len(target) + 10))
            pre, post = rng.integers(0, len(sender), m), rng.integers(0, len(target), m)
            weight = rng.integers(-4, 9, m) / 4.0 if j >= 0 else np.full(m, 1.5)
            delay = shortest + rng.integers(0, spread + 1, m)
            net.connect(sender, target, explicit(pre, post), weight=weight, delay=0.5 * delay)
            pre = pre + first[j] if j >= 0 else -1 - pre
            parts.append(np.rec.fromarrays([pre, post + first[k], weight, delay], names="pre,post,weight,delay"))
    expected, final_v = naive_run(n_steps, v, threshold, v_reset, refractory, np.concatenate(parts), (steps, ids))

    sim = Simulation(net, threads=threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "MIN_SPIKES", recorded_at_a_time)
        sim.record(spikes=populations)
        sim.run(0.5 * n_steps)
    for b, population in zip(groups, populations, strict=True):
        ids, times = sim.spikes(population)
        own = expected[(expected[:, 1] >= b.start) & (expected[:, 1] < b.stop)]
        np.testing.assert_array_equal(np.rint(times / 0.5), own[:, 0])
        np.testing.assert_array_equal(ids, own[:, 1] - b.start)
        np.testing.assert_array_equal(sim.values(population), final_v[b])


def test_time_goes_on_beyond_32_bits():
    """The random numbers after 2^32 steps are not those after none, and spikes still arrive in time."""
    start = 2**32 - 20
    net = Network(dt=1.0, seed=1)
    cells = net.add_population("cells", 200, COUNTER)
    source = net.add_spike_source("source", 1, [0, 0], [start + 10.0, start + 25.0])
    sunk = net.add_population("sunk", 1, COUNTER)
    net.connect(source, sunk, one_to_one(), weight=1.0, delay=13.0)
    net.add_poisson("noise", cells, 2000.0, weight=1.0)
    counts = []
    for first_step in (0, start):
        sim = Simulation(net, threads=2)
        sim.record(state={cells: "v", sunk: "v"})
        sim._step = first_step
        sim.run(40.0)
        counts.append(np.diff(sim.state(cells).values, axis=0, prepend=0.0))
    early, late = counts
    np.testing.assert_array_equal(np.flatnonzero(np.diff(sim.state(sunk).values[:, 0], prepend=0.0)), [23, 38])
    assert late.mean() == pytest.approx(2.0, rel=0.05)
    assert abs(np.corrcoef(late[20:].ravel(), early[:20].ravel())[0, 1]) < 4.0 / np.sqrt(4000)


def test_events_are_spikes_times_their_synapses():
    net = Network(dt=1.0)
    source = net.add_spike_source("source", 5, [0, 1, 1, 4], [0.0, 1.0, 2.0, 3.0])
    cells = net.add_population("cells", 400, COUNTER)
    net.connect(source[:2], cells, all_to_all(), weight=1.0, delay=1.0)
    net.connect(source[1:], cells[7:20], all_to_all(), weight=1.0, delay=2.0)
    sim = Simulation(net, threads=2)
    sim.run(10.0)
    assert sim.n_events == 3 * 400 + 3 * 13
    assert sim.values(cells).sum() == sim.n_events


def test_networks_without_neurons_synapses_or_spikes_run():
    net = Network()
    cells = net.add_population("cells", 2, COUNTER)
    for rule in (fixed_indegree(0), explicit(np.zeros(0, int), np.zeros(0, int)), pairwise_bernoulli(0.0)):
        net.connect(cells, cells, rule, weight=1.0, delay=1.0)
    sim = Simulation(net, threads=2)
    sim.run(3.0)
    assert (sim.n_synapses, sim.n_events, sim.n_spikes) == (0, 0, 0)
    with pytest.raises(ValueError, match="it has no population"):
        Simulation(Network())
    net = Network()
    net.add_spike_source("only", 1, [0, 0], [1.0, 2.0])
    sim = Simulation(net)
    sim.run(3.0)
    assert (sim.n_neurons, sim.n_spikes) == (0, 2)


# --- weights ------------------------------------------------------------------------------------------------------


def used_weights(net, projection):
    return Simulation(net, threads=1).synapses(projection).weight


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 3e7])
def test_weights_are_kept_to_one_in_100_000(size):
    """Of the projection's mean |weight|, with hundreds of inputs, both signs and Poisson input beside them."""
    rng = np.random.default_rng(0)
    asked = size * rng.normal(0.1, 1.0, (500, 40))
    net = Network()
    source = net.add_spike_source("source", 500, [0], [1.0])
    cells = net.add_population("cells", 40, COUNTER)
    listed = net.connect(source, cells, all_to_all(), weight=asked, delay=1.0)
    one = net.connect(source, cells, fixed_indegree(300), weight=-0.123456789 * size, delay=1.0)
    drawn = net.connect(source, cells, all_to_all(), weight=normal(size, 0.1 * size, 0.5 * size), delay=1.0)
    net.add_poisson("noise", cells, 10_000.0, weight=size)
    np.testing.assert_allclose(used_weights(net, listed), asked.ravel(), rtol=0.0, atol=1e-5 * np.abs(asked).mean())
    np.testing.assert_allclose(used_weights(net, one), -0.123456789 * size, rtol=1e-5)
    weight = used_weights(net, drawn)
    assert abs(weight.mean() / size - 1.0) < 4 * 0.1 / np.sqrt(weight.size)
    assert weight.min() >= 0.5 * size * (1.0 - 1e-5)


@pytest.mark.parametrize("ratio", [1e-3, 1e-5, 1e-7])
def test_weights_beside_a_much_larger_poisson_weight_are_kept_as_well(ratio):
    """Where 32 bits do not hold both, 64 are used: the small input is not lost beside the large one."""
    net = Network(dt=1.0)
    source = net.add_spike_source("source", 1, np.zeros(50, int), np.arange(50.0))
    cells = net.add_population("cells", 3, COUNTER)
    small = net.connect(source, cells, all_to_all(), weight=ratio, delay=1.0)
    net.add_poisson("large", cells[1], rate=[1e5, 0.0], times=[100.0, 200.0], weight=1.0)
    sim = Simulation(net, threads=1)
    np.testing.assert_allclose(sim.synapses(small).weight, ratio, rtol=1e-5)
    sim.run(100.0)
    np.testing.assert_allclose(sim.values(cells), 50 * ratio, rtol=2e-5)
    sim.run(200.0)
    assert sim.values(cells)[1] == pytest.approx(1e4, rel=0.05)
    np.testing.assert_allclose(sim.values(cells)[[0, 2]], 50 * ratio, rtol=2e-5)


@pytest.mark.parametrize("ratio", [1e-4, 1e-7])
def test_small_and_large_weights_of_two_projections_are_both_kept(ratio):
    rng = np.random.default_rng(1)
    net = Network()
    source = net.add_spike_source("source", 30, [0], [1.0])
    cells = net.add_population("cells", 20, COUNTER)
    for size in (1.0, ratio):
        asked = size * rng.uniform(0.5, 1.5, (30, 20))
        projection = net.connect(source, cells, all_to_all(), weight=asked, delay=1.0)
        np.testing.assert_allclose(used_weights(net, projection), asked.ravel(), rtol=2e-5)
    for projection, size in zip(net.projections, (1.0, ratio), strict=True):
        assert used_weights(net, projection).mean() == pytest.approx(size, rel=0.05)


def feedforward(wide):
    """Sums that are exact in either width; with `wide`, two populations more that need 64 bits."""
    net = Network(dt=0.5, seed=11)
    source = net.add_spike_source("source", 50, np.repeat(np.arange(50), 40), np.tile(np.arange(40) * 5.0, 50))
    delta = net.add_population("delta", 200, LIF(tau_mem=10.0, v_threshold=6.0, t_ref=1.0))
    cuba = net.add_population("cuba", 200, LIF(tau_mem=10.0, tau_syn=(1.0, 3.0), v_threshold=1.0))
    net.connect(source, delta, fixed_indegree(30), weight=0.25, delay=uniform(1.0, 9.0))
    net.connect(source, cuba, fixed_indegree(30), weight=0.5, delay=uniform(1.0, 9.0))
    net.connect(delta, cuba, fixed_indegree(20), weight=-0.125, delay=1.5)
    net.add_poisson("noise", [delta, cuba], 2000.0, weight=0.5)
    if wide:
        odd = net.add_population("odd", 10, COUNTER)
        net.connect(source, odd, all_to_all(), weight=2.0**-18, delay=1.0)
        net.add_poisson("large", odd, 1e4, weight=1.0)
    return net, delta, cuba


def is_wide(sim):
    return sim._built.state.ring.dtype == np.int64


def test_input_that_never_comes_needs_no_64_bits():
    """Neither a projection without synapses nor a silent Poisson stimulus makes the network slower."""
    net = Network()
    cells = net.add_population("cells", 10, LIF(tau_syn=(1.0, 2.0)))
    net.connect(cells, cells, fixed_indegree(3), weight=1.0, delay=1.0)
    assert not is_wide(Simulation(net, threads=1))
    net.connect(cells, cells, fixed_indegree(0), weight=-1.0, delay=1.0)
    assert not is_wide(Simulation(net, threads=1))
    net.add_poisson("silent", cells, 0.0, weight=-1.0)
    assert not is_wide(Simulation(net, threads=1))


def run_feedforward(wide, threads=1):
    net, delta, cuba = feedforward(wide)
    sim = Simulation(net, threads=threads)
    sim.record(spikes=[delta, cuba], state={delta: "v", cuba: ["v", "i_exc", "i_inh"]})
    sim.run(200.0)
    assert is_wide(sim) == wide
    seen = {f"{p.name} {k}": part for p in (delta, cuba) for k, part in enumerate(sim.spikes(p))}
    seen |= {f"{p.name} {name}": sim.state(p, name).values for p, name in [(delta, "v"), (cuba, "v"), (cuba, "i_inh")]}
    return seen, sim.spike_checksum


def test_64_bit_sums_give_what_32_bit_sums_give():
    narrow, _ = run_feedforward(False)
    wide, checksum = run_feedforward(True)
    assert narrow["delta 0"].size > 500
    assert narrow["cuba 0"].size > 500
    assert_equal(wide, narrow)
    for threads in (2, 3):
        again, same = run_feedforward(True, threads)
        assert_equal(again, wide)
        assert same == checksum


# --- recording ----------------------------------------------------------------------------------------------------


def count_drains(monkeypatch):
    """Make chunks as long as they may be, whatever the machine, and count them."""
    drains = []
    drain = recorder.Recorder.drain

    def counting(self, sink, first_step, n_steps, used):
        drains.append(n_steps)
        return drain(self, sink, first_step, n_steps, used)

    monkeypatch.setattr(recorder.Recorder, "drain", counting)
    monkeypatch.setattr(simulation, "CHUNK_SECONDS", 1e9)
    return drains


@pytest.mark.parametrize(("shortest", "threads"), [(0.1, 1), (0.1, 3), (1.3, 2), (4.0, 3)])
def test_a_full_spike_record_loses_nothing(monkeypatch, shortest, threads):
    """The run stops early, is drained and goes on, as if the record were endless."""
    drains = count_drains(monkeypatch)
    expected = observe(mixed_network(shortest), threads, [600.0])
    roomy = max(drains)
    monkeypatch.setattr(recorder, "MIN_SPIKES", 1)
    drains.clear()
    seen = observe(mixed_network(shortest), threads, [600.0])
    assert max(drains) < roomy
    assert sum(drains) == 6000
    assert_equal(seen, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_neuron_may_fire_in_every_step(monkeypatch, threads):
    monkeypatch.setattr(recorder, "MIN_SPIKES", 1)
    net = Network(dt=0.1)
    a = net.add_population("a", 300, LIF(i_bias=1e6))
    b = net.add_population("b", 129, LIF(i_bias=1e6))
    net.connect(a, b, fixed_indegree(3), weight=0.1, delay=1.0)
    sim = Simulation(net, threads=threads)
    sim.record(spikes=[a, b])
    sim.run(20.0)
    for population in (a, b):
        ids, times = sim.spikes(population)
        np.testing.assert_array_equal(ids, np.tile(np.arange(len(population)), 200))
        np.testing.assert_array_equal(np.rint(times / 0.1), np.repeat(np.arange(200), len(population)))


@pytest.mark.parametrize("record", [False, True])
def test_chunks_grow_beyond_a_window(monkeypatch, record):
    """A large quiet network is not drained after each window, recorded or not."""
    drains = count_drains(monkeypatch)
    net = Network()
    cells = net.add_population("cells", 40_000, LIF())
    net.connect(cells[:10], cells, fixed_total_number(100), weight=0.1, delay=1.6)
    sim = Simulation(net, threads=2)
    if record:
        sim.record(spikes=cells)
    sim.run(50.0)
    assert sum(drains) == 500
    assert len(drains) <= 5  # 16, 64, 256 and the rest


def test_a_slice_is_recorded_and_nothing_else():
    net = Network(dt=1.0)
    cells = net.add_population("cells", 300, LIF(i_bias=1e6))
    other = net.add_population("other", 5, LIF(i_bias=1e6))
    sim = Simulation(net, threads=2)
    sim.record(spikes=[cells[120:140], cells[5]])
    sim.run(2.0)
    ids, times = sim.spikes(cells)
    assert ids.tolist() == 2 * [5, *range(120, 140)]
    assert times.tolist() == [0.0] * 21 + [1.0] * 21
    with pytest.raises(ValueError, match="those of 'other' are not recorded"):
        sim.spikes(other)


def test_state_is_sampled_at_multiples_of_its_interval():
    """Those of `record`, from time 0 on, whatever the pieces; slices of one population are joined."""
    net = Network(dt=0.1)
    cells = net.add_population("cells", 300, IAF(i_bias=np.arange(300.0), v_threshold=1e9))
    sim = Simulation(net, threads=2)
    sim.record(state={cells[290:]: "v", cells[3]: "v", cells[295:298]: "v"}, every=0.7)
    for piece in (0.1, 0.5, 0.2, 6.2):
        sim.run(piece)
    recorded = sim.state(cells)
    assert recorded.ids.tolist() == [3, *range(290, 300)]
    np.testing.assert_allclose(recorded.times, 0.7 * np.arange(10))
    expected = (recorded.times[:, None] + 0.1) * recorded.ids
    np.testing.assert_allclose(recorded.values, expected, rtol=1e-5)


def test_a_file_holds_what_memory_holds_and_later_runs_append(tmp_path, reference):
    path = tmp_path / "run.h5"
    seen = observe(mixed_network(1.3), 2, [20.0, 0.3, 29.7], path)
    assert seen.pop("time") == pytest.approx(50.0)
    assert_equal(seen, {name: value for name, value in reference[1.3].items() if name != "time"})
    with open_recording(path) as recording:
        assert recording.complete
        assert recording.duration == pytest.approx(50.0)
        assert {name: recording.n_spikes(name) for name in seen["counts"]} == seen["counts"]
        final = recording.metadata
    assert final["seed"] == 4
    assert final["final"]["spike_checksum"] == seen["checksum"]


def test_a_file_is_closed_after_every_run(tmp_path):
    path = tmp_path / "run.h5"
    net = mixed_network(1.3)
    sim = Simulation(net, threads=1)
    exc = net.populations["exc"]
    sim.record(path, spikes=exc)
    with open_recording(path) as recording:
        assert not recording.complete
    for k in range(1, 4):
        sim.run(10.0)
        with open_recording(path) as recording:
            assert recording.complete
            assert recording.duration == pytest.approx(10.0 * k)
            assert recording.n_spikes("exc") == sim.spike_counts()["exc"]
    with pytest.raises(FileExistsError):
        Simulation(net, threads=1).record(path, spikes=exc)


INTERRUPTED = """
    import json, sys
    import evsim
    from evsim.recorder import Recorder

    drain = Recorder.drain

    def drain_and_tell(self, *arguments):
        drain(self, *arguments)
        Recorder.drain = drain
        print("under way", flush=True)

    net = evsim.Network(dt=0.1, seed=8)
    cells = net.add_population("cells", 200, evsim.LIF(tau_mem=10.0, t_ref=2.0), v=evsim.uniform(0.0, 1.2))
    net.add_poisson("noise", cells, 3000.0, weight=0.05)
    net.connect(cells, cells, evsim.fixed_indegree(10), weight=-0.05, delay=1.5)
    sim = evsim.Simulation(net, threads=2)
    sim.record(sys.argv[1], spikes=cells, state={cells[:3]: "v"}, every=1.0)
    Recorder.drain = drain_and_tell
    try:
        sim.run(1e9)
    except KeyboardInterrupt:
        told = {"time": sim.time, "spikes": sim.n_spikes, "checksums": [sim.spike_checksum]}
        with evsim.open_recording(sys.argv[1]) as recording:
            told["complete"], told["duration"] = recording.complete, recording.duration
            told["kept"] = recording.n_spikes("cells")
    sim.run(10.0)
    told["checksums"].append(sim.spike_checksum)
    again = evsim.Simulation(net, threads=1)
    told["again"] = [again.run(duration) or again.spike_checksum for duration in (told["time"], 10.0)]
    print(json.dumps(told))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C alone there")
def test_ctrl_c_keeps_what_was_simulated_and_the_run_can_go_on(tmp_path):
    """The file holds all up to the interrupt and says it is not complete; a further run is as if nothing happened."""
    path = tmp_path / "run.h5"
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "under way\n"
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=300.0)
    assert child.returncode == 0, errors
    told = json.loads(out)
    assert 0.0 < told["time"] < 1e9
    assert not told["complete"]
    assert told["duration"] == pytest.approx(told["time"])
    assert told["kept"] == told["spikes"] > 0
    assert told["again"] == told["checksums"]
    with open_recording(path) as recording:
        assert recording.complete
        assert recording.duration == pytest.approx(told["time"] + 10.0)
        times = recording.state("cells").times
    np.testing.assert_allclose(times, np.arange(times.size), rtol=1e-12)
    assert times[-1] <= told["time"] + 10.0 <= times[-1] + 1.1


# --- reading a simulation -------------------------------------------------------------------------------------------


def test_counts_and_rates():
    net = Network(dt=0.1)
    a = net.add_population("a", 4, LIF(i_bias=1e6, t_ref=0.9))  # a spike a millisecond
    net.add_population("b", 100, LIF())
    net.add_spike_source("c", 2, [0, 1], [1.0, 1.5])
    sim = Simulation(net, threads=2)
    assert sim.rates() == {"a": 0.0, "b": 0.0, "c": 0.0}
    sim.run(50.0)
    assert sim.time == pytest.approx(50.0)
    assert sim.n_neurons == 104
    assert sim.n_spikes == 202
    assert sim.spike_counts() == {"a": 200, "b": 0, "c": 2}
    assert sim.rates() == pytest.approx({"a": 1000.0, "b": 0.0, "c": 20.0})
    sim.run(50.0)
    assert sim.rates()["c"] == pytest.approx(10.0)
    assert len(a) == 4


def test_values_are_copies_of_the_present_state():
    net = Network(dt=1.0)
    cells = net.add_population("cells", 300, LIF(tau_syn={"ampa": 5.0, "gaba": 10.0}, v_threshold=1e9))
    net.add_poisson("noise", cells, 1000.0 * np.arange(1, 301), weight=1.0, receptor="gaba")
    sim = Simulation(net, threads=2)
    sim.run(10.0)
    v, current = sim.values(cells), sim.values(cells, "i_gaba")
    assert v.shape == current.shape == (300,)
    assert (current > 0.0).all()
    assert (sim.values(cells, "i_ampa") == 0.0).all()
    np.testing.assert_array_equal(sim.values(cells[100:200], "i_gaba"), current[100:200])
    np.testing.assert_array_equal(sim.values(cells[299]), v[299:])
    kept = v.copy()
    v[:] = 0.0
    np.testing.assert_array_equal(sim.values(cells), kept)
    sim.run(1.0)
    assert (sim.values(cells) != kept).all()


def test_synapses_are_those_asked_for():
    """Every synapse with its own weight and delay, rows in the source's order; weights() adds several of a pair up."""
    rng = np.random.default_rng(2)
    net = Network(dt=0.1)
    a, b = net.add_population("a", 150, LIF()), net.add_population("b", 300, LIF())
    pre, post = rng.integers(0, 100, 2000), rng.integers(0, 200, 2000)
    steps, weight = rng.integers(1, 40, 2000), rng.integers(-8, 9, 2000) / 8.0
    listed = net.connect(a, a, all_to_all(), weight=np.arange(150.0 * 150.0).reshape(150, 150), delay=0.3)
    one = net.connect(a, b, fixed_indegree(7), weight=2.0, delay=1.0)
    projection = net.connect(a[50:], b[30:230], explicit(pre, post), weight=weight, delay=steps * 0.1)
    for threads in (1, 3):
        sim = Simulation(net, threads=threads)
        np.testing.assert_array_equal(sim.synapses(listed).weight, np.arange(150.0 * 150.0))
        assert (sim.weights(one).sum(axis=0) == 14.0).all()
        synapses = sim.synapses(projection)
        order = np.lexsort((weight, post, steps, pre))
        np.testing.assert_array_equal(synapses.pre, pre[order])
        np.testing.assert_array_equal(synapses.post, post[order])
        np.testing.assert_array_equal(synapses.weight, weight[order])
        np.testing.assert_allclose(synapses.delay, steps[order] * 0.1)
        dense = np.zeros((100, 200))
        np.add.at(dense, (pre, post), weight)
        np.testing.assert_array_equal(sim.weights(projection).toarray(), dense)
        assert sim.n_synapses == 2000 + 150 * 150 + 300 * 7


def test_memory_is_what_the_arrays_take():
    """Computed from the rules alone, by population and projection, and close to what is then allocated."""
    net = Network(seed=1)
    exc = net.add_population("exc", 4000, LIF(tau_syn=(2.0, 5.0)))
    inh = net.add_population("inh", 1000, LIF())
    net.connect(exc, [exc, inh], fixed_indegree(200), weight=normal(1.0, 0.1, 0.1), delay=uniform(0.5, 3.0))
    net.connect(inh, exc, fixed_indegree(100), weight=-1.0, delay=1.5)
    sim = Simulation(net, threads=2)
    memory = sim.memory()
    assert list(memory.populations) == ["exc", "inh"]
    assert {name: count for name, (count, _) in memory.projections.items()} == {
        "exc->exc": 800_000, "exc->inh": 200_000, "inh->exc": 400_000,
    }  # fmt: skip
    parts = [size for _, size in (*memory.populations.values(), *memory.projections.values())]
    assert memory.total == sum(parts)
    allocated = sum(array.nbytes for array in (*sim._built.model, *sim._built.state))
    assert memory.total == pytest.approx(allocated, rel=0.02)
    assert 4.0 < memory.bytes_per_synapse < 8.5
    for name in ("exc->inh", "inh", "total"):
        assert name in str(memory)


def test_a_network_that_does_not_fit_is_refused_by_name():
    net = Network()
    cells = net.add_population("cells", 100_000, LIF())
    net.connect(cells, cells, fixed_indegree(10), weight=0.1, delay=1.0, name="small")
    net.connect(cells, cells, fixed_indegree(2**31 - 1), weight=0.1, delay=1.0, name="too big")
    with pytest.raises(MemoryError, match=r"projection 'too big' takes 859 TB"):
        Simulation(net)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda sim, cells: sim.run(0.05), ValueError, "duration is 0.05 ms; times must be multiples of dt"),
        (lambda sim, cells: sim.run(-1.0), ValueError, "duration is -1.0 ms; times must be in"),
        (lambda sim, cells: sim.run(np.nan), ValueError, "duration is nan ms"),
        (lambda sim, cells: sim.record(), ValueError, "nothing is chosen"),
        (lambda sim, cells: sim.record(spikes=cells, every=0.25), ValueError, "every is 0.25 ms"),
        (lambda sim, cells: sim.record(spikes=cells, every=0.0), ValueError, "every is 0.0"),
        (lambda sim, cells: sim.record(state={cells: "u"}), KeyError, "unknown variable of 'cells' 'u'; known are v"),
        (lambda sim, cells: sim.record(spikes="cells"), TypeError, "it must be a population or a slice"),
        (lambda sim, cells: sim.values(cells, "i_exc"), KeyError, "unknown variable of 'cells' 'i_exc'"),
        (lambda sim, cells: sim.values(cells, "v_pre_reset"), (KeyError, ValueError), "v_pre_reset"),
        (lambda sim, cells: sim.spikes(cells), ValueError, "those of 'cells' are not recorded"),
        (lambda sim, cells: sim.state(cells), ValueError, "'v' of 'cells' is not recorded"),
        (lambda sim, cells: (sim.run(1.0), sim.record(spikes=cells)), RuntimeError, "once, before the first run"),
        (lambda sim, cells: [sim.record(spikes=cells) for _ in "12"], RuntimeError, "once, before the first run"),
    ],
)
def test_misuse_is_refused(use, error, message):
    net = Network(dt=0.1)
    cells = net.add_population("cells", 2, LIF())
    with pytest.raises(error, match=message):
        use(Simulation(net, threads=1), cells)


def test_things_of_another_network_are_refused():
    def make():
        net = Network()
        cells = net.add_population("cells", 2, LIF())
        return net, cells, net.connect(cells, cells, all_to_all(), weight=1.0, delay=1.0)

    (net, _, _), (_, cells, projection) = make(), make()
    sim = Simulation(net, threads=1)
    for use in (lambda: sim.record(spikes=cells), lambda: sim.values(cells), lambda: sim.synapses(projection)):
        with pytest.raises(ValueError, match="does not belong to this network"):
            use()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "gpu"}, "backend is 'gpu'"),
        ({"threads": 0}, r"threads is 0; it must be a whole number in \[1, 1024\]"),
        ({"threads": 1.5}, "threads is 1.5"),
    ],
)
def test_impossible_simulations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Simulation(mixed_network(), **arguments)


def test_an_interrupt_inside_another_is_held_back_by_both():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as outer:
        with Interrupt() as inner:
            signal.raise_signal(signal.SIGINT)
        with Interrupt() as later:
            pass
        assert signal.getsignal(signal.SIGINT) is not before
    assert inner.seen
    assert outer.seen
    assert later.seen
    assert signal.getsignal(signal.SIGINT) is before
