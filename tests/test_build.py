"""Network -> arrays: any network gives valid rows, and runs like a dense simulation written in NumPy."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import evsim
from evsim.build import build
from evsim.memory import _within_container
from evsim.model import Model
from evsim.network import SpikeSource
from evsim.reference_networks import brunel, microcircuit

N_STEPS = 40
f32, f64 = np.float32, np.float64


# what hypothesis makes networks of


def models(rng):
    """A neuron model of each kind that the update distinguishes; some parameters differ between neurons."""
    return [
        lambda n: evsim.IAF(v_threshold=5.0),
        lambda n: evsim.IAF(v_threshold=3.0, v_reset=None, leak=0.5, v_min=-4.0),
        lambda n: evsim.IAF(v_threshold=rng.uniform(2.0, 6.0, n), tau_syn=(1.0, 3.0), t_ref=1.0),
        lambda n: evsim.LIF(v_threshold=4.0, i_bias=3.5, tau_mem=5.0, t_ref=0.5),
        lambda n: evsim.LIF(v_threshold=2.0, v_reset=None, v_leak=-1.0, tau_mem=rng.uniform(2.0, 20.0, n)),
        lambda n: evsim.LIF(v_threshold=2.0, tau_mem=5.0, tau_syn={"fast": 0.7, "jump": None, "slow": 5.0}),
    ]


@st.composite
def networks(draw):
    """Any mix of populations, slices, rules, weights and delays."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="draws of arrays"))
    dt = draw(st.sampled_from([0.1, 0.5, 1.0]))
    net = evsim.Network(dt, seed=draw(st.integers(0, 2**64 - 1)))
    kinds = models(rng)
    size = st.one_of(st.integers(1, 20), st.integers(1, 300))
    for name in "abc"[: draw(st.integers(1, 3))]:
        n = draw(size)
        model = kinds[draw(st.integers(0, len(kinds) - 1))](n)
        net.add_population(name, n, model, v=draw(st.sampled_from([None, 0.5, evsim.uniform(-1.0, 2.0)])))
    targets = list(net.populations.values())
    n = draw(size)
    ids, steps = np.nonzero(rng.random((n, N_STEPS)) < draw(st.sampled_from([0.0, 0.05, 1.0])))
    net.add_spike_source("source", n, ids, steps * dt)
    for _ in range(draw(st.integers(0, 4))):
        source = part(draw, draw(st.sampled_from(list(net.populations.values()))))
        target = part(draw, draw(st.sampled_from(targets)))
        rule = rules(draw, rng, source, target)
        shape = rule.value_shape(len(source), len(target))
        receptors = list(target.population.model.receptors())
        receptor = draw(st.sampled_from(receptors if len(receptors) == 3 else [None, *receptors]))
        net.connect(source, target, rule, weights(draw, rng, shape), delays(draw, rng, shape, dt), receptor)
    return net


def part(draw, population):
    start = draw(st.integers(0, population.size - 1))
    return draw(st.sampled_from([population.all(), population[start : draw(st.integers(start + 1, population.size))]]))


def rules(draw, rng, source, target):
    n_source, n_target = len(source), len(target)
    overlap = source.overlap(target)
    allow = {"allow_autapses": draw(st.booleans()), "allow_multapses": draw(st.booleans())}
    spare = 0 if allow["allow_autapses"] or not overlap else 1

    def degree(most):
        return draw(st.integers(0, min(most, 6) if most == 0 or not allow["allow_multapses"] else 6))

    kind = draw(st.sampled_from(["all", "one", "in", "out", "number", "bernoulli", "explicit", "sparse"]))
    if kind == "one" and n_source == n_target:
        return evsim.one_to_one()
    if kind == "in":
        return evsim.fixed_indegree(degree(n_source - spare), **allow)
    if kind == "out":
        return evsim.fixed_outdegree(degree(n_target - spare), **allow)
    if kind == "number":
        if overlap and not overlap == n_source == n_target:
            allow["allow_multapses"] = True
        pairs = n_source * n_target - overlap * spare
        most = 0 if pairs == 0 else 500 if allow["allow_multapses"] else min(pairs, 500)
        return evsim.fixed_total_number(draw(st.integers(0, most)), **allow)
    if kind == "bernoulli":
        return evsim.pairwise_bernoulli(draw(st.sampled_from([0.0, 0.02, 1.0])), allow["allow_autapses"])
    if kind == "explicit":
        n = draw(st.integers(0, 300))
        return evsim.explicit(rng.integers(0, n_source, n), rng.integers(0, n_target, n))
    return evsim.all_to_all(allow["allow_autapses"])


def weights(draw, rng, shape):
    """Of one sign, so that they fit a pair of receptors."""
    sign = draw(st.sampled_from([1.0, -1.0]))
    size = draw(st.sampled_from([0.01, 1.0, 3.0]))
    kinds = [sign * size, evsim.normal(sign * size, 0.1 * size)]
    if shape is not None:
        kinds.append(sign * size * rng.uniform(0.0, 2.0, shape))
    return draw(st.sampled_from(kinds))


def delays(draw, rng, shape, dt):
    longest = draw(st.sampled_from([1, 3, 17, 60]))
    kinds = [longest * dt, evsim.uniform(0.5 * dt, (longest + 0.5) * dt)]
    if shape is not None:
        kinds.append(rng.integers(1, longest + 1, shape) * dt)
    return draw(st.sampled_from(kinds))


# the checks


def decode(sim, projection):
    """The synapses of one projection, read from the arrays: (pre, post, weight, delay in steps), in order.

    On the way everything that makes the rows valid is asserted.
    """
    model, layout = sim._built.model, sim._built.layout
    q = model.projection_index.tolist().index(projection.index)
    p = layout.populations.index(projection.target.population)
    n_rows = len(projection.source) * sim.threads
    first = model.projection_row[q] + model.projection_row_step[q] * np.arange(len(projection.source))[:, None]
    first = (first + np.arange(sim.threads)).ravel()
    n = model.row_start[first + 1] - model.row_start[first]
    row = np.repeat(np.arange(n_rows), n)
    at = np.concatenate([np.arange(model.row_start[r], model.row_start[r + 1]) for r in first])
    synapse = model.synapse[at].astype(np.int64)
    if model.projection_target[q] >= 0:
        synapse += model.source_target[model.projection_target[q] + row // sim.threads]
    same_row = np.diff(row) == 0
    assert (np.diff(synapse)[same_row] >= 0).all()  # by delay, then target
    steps, place = synapse >> layout.target_bits, synapse & ((1 << layout.target_bits) - 1)
    size = layout.population_start[p + 1] - layout.population_start[p]
    neuron = place - layout.population_input[p] - projection.receptor * size
    assert ((neuron >= projection.target.start) & (neuron < projection.target.stop)).all()
    if projection.same_step:
        assert (steps == 0).all()
    else:
        assert ((steps >= 1) & (steps <= layout.ring_slots)).all()
        assert steps.min(initial=layout.window) >= layout.window
    thread = row % sim.threads
    assert ((neuron >= layout.slice_start[p][thread]) & (neuron < layout.slice_stop[p][thread])).all()
    unit = float(model.input_unit[p, projection.receptor]) * 2.0 ** model.projection_shift[q]
    if model.projection_uniform[q]:
        weight = np.full(synapse.size, model.projection_fixed_weight[q]) * unit
    else:
        at += model.projection_weight[q] + model.projection_weight_step[q] * (row // sim.threads)
        weight = model.synapse_weight[at] * unit
    return row // sim.threads, neuron - projection.target.start, weight, steps


def check_rows(sim):
    """All rows are valid, and `synapses` and `weights` show what is in them."""
    model, net = sim._built.model, sim.network
    assert model.row_start.dtype == np.int64
    assert model.row_start[0] == 0
    n_weights, n_stored = 0, 0
    for projection in net.projections:
        decoded = decode(sim, projection)
        synapses = sim.synapses(projection)
        shown = (synapses.pre, synapses.post, synapses.weight, np.rint(synapses.delay / net.dt))
        for a, b in zip((x[np.lexsort(decoded)] for x in decoded), (x[np.lexsort(shown)] for x in shown), strict=True):
            np.testing.assert_array_equal(a, b)
        dense = np.zeros((len(projection.source), len(projection.target)))
        np.add.at(dense, (synapses.pre, synapses.post), synapses.weight)
        np.testing.assert_allclose(sim.weights(projection).toarray(), dense, rtol=1e-12, atol=1e-12)
        varied = isinstance(projection.weight, evsim.distributions.Distribution) or projection.weight.ndim > 0
        lists = projection.rule.lists
        n_weights += 0 if not varied else lists.target.size if lists is not None else synapses.pre.size
        n_own = lists.target.size if lists is not None else len(projection.target)
        n_stored += n_own if projection.shares_rows else synapses.pre.size
    assert model.synapse_weight.size == n_weights
    assert model.synapse.size == n_stored


def fma(a, b, c):
    """a * b + c of float32, rounded once: the sum is rounded to odd in float64, and then to float32."""
    product = f64(a) * f64(b)
    total = product + f64(c)
    shadow = total - product
    error = (product - (total - shadow)) + (f64(c) - shadow)
    total = np.asarray(total)
    even = (total.view(np.int64) & 1) == 0
    odd = np.where((error != 0.0) & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return odd.astype(f32)


def simulate(sim, n_steps):
    """What `sim` will do: the same equations, dense, a step after the other, in float32 as in `dynamics`.

    Returns each population's spikes [(step, id), ...] and its v at the end.
    """
    net = sim.network
    neurons = [p for p in net.populations.values() if not isinstance(p.model, SpikeSource)]
    synapses = [sim.synapses(projection) for projection in net.projections]
    arriving = {
        p.name: np.zeros((len(p.model.receptors()), n_steps + 100, p.size)) for p in neurons
    }  # summed weights, by receptor and step: whole multiples of a power of two, so exact
    coefficients = {}
    for p in neurons:
        values = {name: np.asarray(value, f64) for name, value in p.model.parameters().items()}
        coefficients[p.name] = p.model.coefficients(values, net.dt)
    v = {p.name: sim.values(p).copy() for p in neurons}
    current = {p.name: np.zeros((len(p.model.receptors()), p.size), f32) for p in neurons}
    refractory = {p.name: np.zeros(p.size, int) for p in neurons}
    spikes = {name: [] for name in net.populations}
    for step in range(n_steps):
        fired = {}
        for p in neurons:
            c, name = coefficients[p.name], p.name
            drive = np.broadcast_to(f32(c.drive), p.size)
            for k, tau in enumerate(p.model.receptors().values()):
                x, i = arriving[name][k, step].astype(f32), current[name][k]
                if tau is None:
                    drive = drive + x
                else:
                    drive = fma(f32(c.coupling[k]), i, drive)
                    current[name][k] = fma(f32(c.decay[k]), i, x)
            held = refractory[name] > 0
            moved = np.maximum(fma(f32(c.leak), v[name], drive), f32(c.v_min))
            v[name] = np.where(held, v[name], moved)
            fired[name] = np.flatnonzero((v[name] >= f32(c.v_threshold)) & ~held)
            refractory[name] = np.maximum(refractory[name] - 1, 0)
            after = v[name] - f32(c.v_reset) if c.soft_reset else np.broadcast_to(f32(c.v_reset), p.size)
            v[name][fired[name]] = after[fired[name]]
            refractory[name][fired[name]] = int(c.refractory_steps)
        for p in net.populations.values():
            if isinstance(p.model, SpikeSource):
                fired[p.name] = p.model.ids[p.model.steps == step].astype(int)
            spikes[p.name] += [(step, int(i)) for i in fired[p.name]]
        for projection, s in zip(net.projections, synapses, strict=True):
            source, target = projection.source, projection.target
            hit = np.isin(s.pre + source.start, fired[source.population.name])
            at = step + np.rint(s.delay[hit] / net.dt).astype(int)
            into = arriving[target.population.name][projection.receptor]
            np.add.at(into, (at, s.post[hit] + target.start), s.weight[hit])
    return spikes, v


def check_run(sim):
    """Spikes, step for step, and v, bit for bit, of the dense simulation."""
    net = sim.network
    expected, expected_v = simulate(sim, N_STEPS)
    sim.record(spikes=list(net.populations.values()))
    sim.run(N_STEPS * net.dt)
    for name, population in net.populations.items():
        ids, times = sim.spikes(population)
        assert list(zip(np.rint(times / net.dt).astype(int).tolist(), ids.tolist(), strict=True)) == expected[name]
        if name in expected_v:
            np.testing.assert_array_equal(sim.values(population), expected_v[name])
    assert sim.spike_counts() == {name: len(spikes) for name, spikes in expected.items()}
    events = 0
    for projection in net.projections:
        outdegree = np.bincount(sim.synapses(projection).pre, minlength=len(projection.source))
        fired = np.array([i for _, i in expected[projection.source.population.name]], int) - projection.source.start
        events += outdegree[fired[(fired >= 0) & (fired < len(projection.source))]].sum()
    assert sim.n_events == events


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(networks(), st.integers(1, 4))
def test_any_network_has_valid_rows_and_runs_like_a_dense_one(net, threads):
    note(net.summary())
    sim = evsim.Simulation(net, threads=threads)
    check_rows(sim)
    check_run(sim)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(1, 7))
def test_many_networks_have_valid_rows_and_run_like_dense_ones(net, threads):
    sim = evsim.Simulation(net, threads=threads)
    check_rows(sim)
    check_run(sim)


def test_networks_of_the_strategy_are_not_silent():
    """Comparing silent networks would prove nothing."""
    net = evsim.Network(dt=0.5, seed=3)
    rng = np.random.default_rng(1)
    ids, steps = np.nonzero(rng.random((100, N_STEPS)) < 0.1)
    source = net.add_spike_source("source", 100, ids, steps * 0.5)
    for k, kind in enumerate(models(rng)):
        v, outer, inner = evsim.uniform(-1.0, 2.0), evsim.normal(1.0, 0.3), 0.1
        if k == 0:  # whole numbers: v falls on the threshold itself, time and again
            v, outer, inner = 0.0, 1.0, 1.0
        population = net.add_population(str(k), 200, kind(200), v)
        for receptor in population.model.receptors():
            net.connect(source, population, evsim.fixed_indegree(20), outer, 0.5, receptor)
            net.connect(population, population, evsim.one_to_one(), inner, evsim.uniform(0.5, 9.0), receptor)
    sim = evsim.Simulation(net, threads=3)
    check_rows(sim)
    check_run(sim)
    assert all(n > 100 for n in sim.spike_counts().values())


def test_sums_beyond_32_bits_are_exact():
    """Tiny and huge weights on one receptor take a ring of 64-bit integers."""
    net = evsim.Network(dt=0.5)
    neurons = net.add_population("n", 130, evsim.LIF(tau_mem=5.0, v_threshold=1000.0))
    ids, steps = np.nonzero(np.random.default_rng(1).random((50, N_STEPS)) < 0.3)
    source = net.add_spike_source("s", 50, ids, steps * 0.5)
    net.connect(source, neurons, evsim.fixed_indegree(5), evsim.uniform(1e-3, 3e-3), evsim.uniform(0.5, 9.0))
    net.connect(source, neurons, evsim.fixed_indegree(5), evsim.uniform(-50.0, 100.0), 1.0)
    sim = evsim.Simulation(net, threads=2)
    assert sim._built.state.ring.dtype == np.int64
    weight = sim.synapses(net.projections[0]).weight
    assert 1e-3 * 0.9999 < weight.min() < weight.max() < 3e-3 * 1.0001
    check_rows(sim)
    check_run(sim)


def test_projections_without_weights_each_take_none():
    sim = evsim.Simulation(brunel(500))
    assert sim._built.model.synapse_weight.size == 0
    assert sim._built.model.synapse.nbytes == 4 * sim.n_synapses


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_neuron_has_one_thread(threads):
    layout = evsim.Simulation(brunel(3000), threads=threads)._built.layout
    for p, population in enumerate(layout.populations):
        owned = np.zeros(population.size, int)
        for start, stop in zip(layout.slice_start[p], layout.slice_stop[p], strict=True):
            owned[start:stop] += 1
        assert (owned == 1).all()
    groups = -(-(layout.slice_stop - layout.slice_start) // 128)
    assert np.ptp(groups.sum(axis=0)) <= 1


# memory


def mixed():
    """Populations, stimuli and projections of every kind that takes memory of its own."""
    net = evsim.Network()
    varied = evsim.LIF(evsim.normal(20.0, 1.0, low=10.0), (evsim.uniform(1.0, 2.0), 3.0), v_threshold=20.0)
    a = net.add_population("a", 20_000, varied)
    b = net.add_population("b", 5000, evsim.LIF(v_threshold=20.0))
    source = net.add_spike_source("s", 1000, np.arange(100_000) % 1000, np.arange(100_000) // 1000 * 0.1)
    net.add_poisson("noise", a, np.repeat(np.linspace(10.0, 10_000.0, 200), 100), 0.1)
    net.add_current("steps", a, [1.0, 2.0], times=[0.0, 1.0])
    net.connect(a, [a, b], evsim.fixed_indegree(10), evsim.normal(0.1, 0.01), evsim.uniform(1.0, 3.0))
    net.connect(b, a, evsim.fixed_outdegree(200), -0.5, 1.0)
    net.connect(b[:500], b, evsim.pairwise_bernoulli(0.1), -0.5, 1.0)
    net.connect(source, b, evsim.fixed_total_number(30_000), 0.5, 1.0)
    return net


def wide():
    net = mixed()
    net.connect(net.populations["s"], net.populations["b"], evsim.fixed_indegree(1), 1e-6, 1.0)
    return net


def listed():
    net = evsim.Network()
    population = net.add_population("p", 3000, evsim.IAF())
    rng = np.random.default_rng(1)
    pairs = evsim.explicit(*rng.integers(0, 3000, (2, 300_000)))
    net.connect(population, population, pairs, rng.uniform(size=300_000), rng.integers(1, 30, 300_000) * 0.1)
    return net


def plastic():
    net = brunel(2000)
    exc = net.populations["exc"]
    rule = evsim.PairSTDP(w_max=0.3)
    net.connect(exc, exc[:1000], evsim.fixed_indegree(200), weight=0.1, delay=1.5, plasticity=rule)
    lif = evsim.LIF(theta_plus=0.1)
    net.connect(exc, net.add_population("adaptive", 500, lif), evsim.all_to_all(), 0.1, 1.0, plasticity=rule)
    return net


def layered():
    """Rows that sources share: of a convolution, a pool before a linear layer, and runs."""
    net = evsim.Network(dt=1.0)
    source = net.add_population("s", 1024, evsim.IAF())
    evsim.Sequential(
        evsim.Conv2d(1, 64, 3, padding=1),
        evsim.sinabs.IAF(),
        evsim.AvgPool2d(4),
        evsim.Flatten(),
        evsim.Linear(4096, 300),
        evsim.spikingjelly.IFNode(),
    ).add_to(net, "net", source, (1, 32, 32))
    net.connect(source, source, evsim.all_to_all(), evsim.uniform(0.0, 1.0), 1.0)
    return net


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "network", [lambda: brunel(2000), lambda: microcircuit(0.04), mixed, wide, listed, plastic, layered]
)
def test_estimated_memory_is_what_is_held(network, threads):
    net = network()
    build(net, threads, lambda n: None)  # compiles kernels, which takes memory of its own
    tracemalloc.start()
    try:
        built = build(net, threads, lambda n: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    memory, model = built.memory, built.model
    held = {name: array.nbytes for part in (model, built.state) for name, array in part._asdict().items()}
    rows = held["synapse"] + held["synapse_weight"] + held["row_start"] + held["source_target"]
    synapses = rows + sum({id(x): x.nbytes for parts in built.learning for part in parts for x in part}.values())
    synapses -= held["synapse_weight"] if built.learning else 0  # a view of it is among them
    held["learning"] = synapses - rows
    assert sum(n for _, n in memory.projections.values()) == pytest.approx(synapses, rel=0.02)
    assert memory.bytes_per_synapse == pytest.approx(synapses / built.n_synapses.sum(), rel=0.02)
    neurons = sum(held.values()) - synapses
    assert sum(n for _, n in memory.populations.values()) == pytest.approx(neurons, rel=0.05)
    n_neurons = sum(p.size for p in net.populations.values())
    assert memory.bytes_per_neuron == pytest.approx(neurons / n_neurons, rel=0.05)
    assert memory.total == pytest.approx(sum(held.values()), rel=0.03)
    assert 0.6 * (memory.total + memory.building) < peak < 1.02 * (memory.total + memory.building)


def test_memory_table_names_every_part():
    table = str(evsim.Simulation(mixed()).memory())
    lines = [line.split() for line in table.splitlines()]
    assert ["a", "20000"] in [line[:2] for line in lines]
    assert ["a->b", "50000"] in [line[:2] for line in lines]
    assert [line[0] for line in lines[1:-1]] == [
        *"abs",
        "a->a",
        "a->b",
        "b->a",
        "b[0:500]->b",
        "s->b",
        "total",
    ]
    assert "bytes a neuron" in table.splitlines()[-1]


def test_what_a_container_leaves(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100\n")
    assert _within_container(tmp_path) == 500.0
    (tmp_path / "memory.max").write_text("max\n")
    assert _within_container(tmp_path) == float("inf")
    assert _within_container(tmp_path / "missing") == float("inf")


def test_arrays_are_flat_and_contiguous():
    model = evsim.Simulation(brunel(500))._built.model
    assert isinstance(model, Model)
    assert all(array.flags.c_contiguous for array in model)
