"""Rows that sources share: the same spikes as synapses listed one by one, in less memory."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import evsim
from evsim.connectivity import Lists, shared
from evsim.layer_paths import connection_paths, pool_paths
from evsim.layer_rows import shared_lists
from evsim.layers import AvgPool2d, Conv1d, Conv2d, Linear, MaxPool2d, Pool, SumPool2d

RNG = np.random.default_rng(3)


def listed(pools, layer, shape):
    """Every synapse on its own."""
    found = None
    for each in (*pools, *([] if layer is None else [layer])):
        if isinstance(each, Pool):
            after = pool_paths(each, shape, each.scale)
        else:
            after = connection_paths(each, (int(np.prod(shape)),) if isinstance(each, Linear) else shape)
        shape = shape if isinstance(each, Linear) else each.output_shape("", shape)
        found = after if found is None else after.behind(found)
    return found


def in_order(*columns):
    return np.array(columns)[:, np.lexsort(columns)]


def assert_same_synapses(pools, layer, shape):
    lists, weight, n_targets = shared_lists(pools, layer, shape)
    pre, post, entry = lists.expand()
    expected = listed(pools, layer, shape)
    weight = np.broadcast_to(np.float32(weight), lists.target.shape)[entry]
    np.testing.assert_array_equal(
        in_order(pre, post, weight), in_order(expected.pre, expected.post, np.float32(expected.weight))
    )
    assert n_targets == expected.n_targets
    assert lists.of_source.size == lists.first_target.size == np.prod(shape)
    for first, stop in zip(lists.start[:-1], lists.start[1:], strict=True):
        assert (np.diff(lists.target[first:stop]) >= 0).all()
    return lists


def weights(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@st.composite
def convolutions(draw, channels, image):
    """A Conv2d that fits, of any kernel, stride, padding, dilation and groups."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
    needed = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(max(p, -(-(n - size) // 2)) for p, n, size in zip(padding, needed, image, strict=True))
    n_out = groups * draw(st.integers(1, 3))
    weight = weights(n_out, channels // groups, *kernel)
    return Conv2d(channels, n_out, kernel, stride, padding, dilation, groups, bias=False, weight=weight)


@st.composite
def layered(draw):
    """Pools, a layer or none behind them, and the shape of what enters."""
    shape = (draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    pools, image = [], shape
    for kind in draw(st.lists(st.sampled_from([AvgPool2d, SumPool2d, MaxPool2d]), max_size=2)):
        kernel = tuple(draw(st.integers(1, min(3, n))) for n in image[1:])
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        pools.append(kind(kernel, stride, padding))
        image = pools[-1].output_shape("", image)
    kinds = ["convolution", "linear"] + (["none"] if pools else [])
    kind = draw(st.sampled_from(kinds))
    layer = None
    if kind == "convolution":
        layer = draw(convolutions(shape[0], image[1:]))
    elif kind == "linear":
        n = int(np.prod(image))
        layer = Linear(n, 3, weight=weights(3, n))
    return pools, layer, shape


@given(layered())
@settings(max_examples=150, deadline=None)
def test_the_lists_are_the_synapses_of_the_layers(case):
    assert_same_synapses(*case)


@given(layered(), st.integers(0, 2**32), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_sequential_and_simulation_agree(case, seed, threads):
    """Spikes and v of what lies behind any pools and any layer."""
    pools, layer, shape = case
    sums = [isinstance(pool, AvgPool2d | SumPool2d) for pool in pools]
    assume(not any(isinstance(pool, MaxPool2d) and any(sums[:i]) for i, pool in enumerate(pools)))
    flat = [evsim.Flatten()] if isinstance(layer, Linear) else []
    net = evsim.Sequential(*pools, *flat, *([] if layer is None else [layer]), evsim.spikingjelly.LIFNode(tau=3.0))
    x = np.random.default_rng(seed).random((9, 1, *shape)) < 0.5
    last = len(net) - 1
    record = net.record(last, "spikes", "v")
    net(x)
    network = evsim.Network(dt=1.0)
    steps, ids = np.nonzero(x.reshape(9, -1))
    source = network.add_spike_source("input", int(np.prod(shape)), ids, steps.astype(float))
    cells = net.add_to(network, "net", source, shape)[-1]
    sim = evsim.Simulation(network, backend="cpu", threads=threads)
    sim.record(spikes=cells, state={cells: "v"})
    sim.run(9.0)
    ids, times = sim.spikes(cells)
    spikes = np.zeros((9, cells.size))
    spikes[np.rint(times).astype(int), ids] = 1.0
    np.testing.assert_array_equal(spikes, record.spikes[:, 0].reshape(9, -1))
    np.testing.assert_array_equal(sim.state(cells, "v").values, record.v[:, 0].reshape(9, -1))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_one_dimensional_convolution(groups):
    layer = Conv1d(2, 4, 3, stride=2, padding=1, groups=groups, weight=weights(4, 2 // groups, 3))
    assert_same_synapses([], layer, (2, 11))


def test_of_stride_1_only_the_borders_have_lists_of_their_own():
    layer = Conv2d(3, 5, 3, padding=1, weight=weights(5, 3, 3, 3))
    lists = assert_same_synapses([], layer, (3, 20, 30))
    assert lists.start.size - 1 == 3 * 9
    assert lists.target.size == 3 * 5 * 7 * 7  # along each axis 2, 3 and 2 of 3 places of the kernel


CONVOLUTION = Conv2d(2, 5, 3, padding=1, stride=(1, 2), weight=weights(5, 2, 3, 3))
SHAPE = (2, 9, 14)
TARGETS = 5 * 9 * 7


def network(make, delay, neurons, uniform=False, receptor=None):
    """Poisson sources, a convolution or a dense projection to a slice of neurons, noise; `make` says how it is given.

    Returns the network and its projections.
    """
    net = evsim.Network(dt=0.5, seed=4)
    source = net.add_poisson_source("source", np.prod(SHAPE) + 7, rate=150.0)
    cells = net.add_population("cells", TARGETS + 20, neurons)
    net.add_poisson("noise", cells, rate=200.0, weight=0.5, receptor=receptor)
    made = make(net, source[3 : 3 + np.prod(SHAPE)], cells[11 : 11 + TARGETS], delay, uniform, receptor)
    net.connect(cells, source, evsim.fixed_outdegree(3), weight=0.25, delay=1.0)
    return net, made


def as_convolution(net, source, target, delay, uniform, receptor):
    lists, weight, n = shared_lists([], CONVOLUTION, SHAPE)
    weight = 0.3 if uniform else weight
    return net.connect(source, target, shared("convolution", lists, n), weight, delay, receptor)


def as_list(net, source, target, delay, uniform, receptor):
    paths = connection_paths(CONVOLUTION, SHAPE)
    rule = evsim.explicit(paths.pre, paths.post)
    return net.connect(source, target, rule, 0.3 if uniform else paths.weight, delay, receptor)


MATRIX = RNG.normal(0.02, 0.1, (np.prod(SHAPE), TARGETS))


def as_run(net, source, target, delay, uniform, receptor):
    return net.connect(source, target, evsim.all_to_all(), 0.02 if uniform else MATRIX, delay, receptor)


def as_list_of_all(net, source, target, delay, uniform, receptor):
    pre, post = (index.reshape(-1) for index in np.indices(MATRIX.shape))
    return net.connect(source, target, evsim.explicit(pre, post), 0.02 if uniform else MATRIX.ravel(), delay, receptor)


def results(net, threads, chunks=(30,)):
    sim = evsim.Simulation(net, backend="cpu", threads=threads)
    cells = net.populations["cells"]
    sim.record(spikes=cells, state={cells: "v"})
    for n in chunks:
        sim.run(n * net.dt)
    ids, times = sim.spikes(cells)
    return sim, (ids, times, sim.state(cells, "v").values, np.array([sim.n_events, int(sim.spike_checksum, 16)]))


LIF = evsim.LIF(tau_mem=10.0, v_threshold=1.0, t_ref=1.0)
CASES = {
    "delayed": (1.5, LIF, False, None),
    "same step": (0.0, LIF, False, None),
    "one weight": (2.0, LIF, True, None),
    "second receptor": (1.0, evsim.LIF(tau_syn=(2.0, 3.0), v_threshold=1.0), False, "inh"),
    "soft reset": (1.0, evsim.IAF(v_reset=None, v_threshold=1.0), False, None),
}


@pytest.mark.parametrize("pair", [(as_convolution, as_list), (as_run, as_list_of_all)], ids=["convolution", "run"])
@pytest.mark.parametrize("case", CASES)
def test_shared_rows_give_what_listed_synapses_give(case, pair):
    (net, own), (other, each) = (network(make, *CASES[case]) for make in pair)
    single, expected = results(other, 1)
    assert expected[0].size > 50
    for threads, chunks in ((1, (30,)), (2, (7, 23)), (3, (1, 28, 1))):
        sim, got = results(net, threads, chunks)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (sim.weights(own) != single.weights(each)).nnz == 0
    for a, b in zip(sim.synapses(own), single.synapses(each), strict=True):
        np.testing.assert_array_equal(a, b)
    assert sim.synaptic_operations()[own.name] == single.synaptic_operations()[each.name] > 0


@pytest.mark.parametrize("make", [as_convolution, as_run])
def test_sums_of_64_bits(make):
    pair = (make, as_list if make is as_convolution else as_list_of_all)
    results_of = []
    for each in pair:
        net, _ = network(each, 1.0, LIF)
        net.connect(net.populations["source"], net.populations["cells"], evsim.fixed_indegree(2), 1e-6, 1.0)
        sim, got = results(net, 2)
        assert sim._built.state.ring.dtype == np.int64
        results_of.append(got)
    for a, b in zip(*results_of, strict=True):
        np.testing.assert_array_equal(a, b)


def test_drawn_weights_of_a_run_are_those_of_single_rows():
    """The same synapse draws the same weight, whether sources have the same targets or not."""
    nets = []
    for autapses in (True, False):
        net = evsim.Network(seed=9)
        cells = net.add_population("cells", 40, evsim.LIF())
        net.connect(cells, cells, evsim.all_to_all(autapses), weight=evsim.normal(1.0, 0.3), delay=1.0)
        nets.append(net)
    run, rows = (evsim.Simulation(net, threads=1).weights(net.projections[0]).toarray() for net in nets)
    assert nets[0].projections[0].shares_rows
    assert not nets[1].projections[0].shares_rows
    np.testing.assert_allclose(run[~np.eye(40, dtype=bool)], rows[~np.eye(40, dtype=bool)], rtol=1e-6)
    assert (np.diag(run) != 0.0).all()


def held(sim):
    """Bytes of the arrays that hold synapses."""
    model = sim._built.model
    return sum(x.nbytes for x in (model.synapse, model.synapse_weight, model.row_start, model.source_target))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolution_takes_well_below_4_bytes_a_synapse(threads):
    net = evsim.Network(dt=1.0)
    source = net.add_population("source", 16 * 32 * 32, evsim.IAF())
    layers = evsim.Conv2d(16, 32, 3, padding=1, bias=False), evsim.sinabs.IAF()
    evsim.Sequential(*layers).add_to(net, "net", source, (16, 32, 32))
    sim = evsim.Simulation(net, threads=threads)
    assert sim.n_synapses > 4_000_000
    assert held(sim) < 0.2 * sim.n_synapses
    assert sim.memory().bytes_per_synapse == pytest.approx(held(sim) / sim.n_synapses, rel=1e-3)
    assert sim.memory().building <= 16 * sum(population.size for population in net.populations.values())


def test_a_linear_layer_takes_4_bytes_a_synapse_and_one_weight_none():
    net = evsim.Network(dt=1.0)
    source = net.add_population("source", 500, evsim.IAF())
    evsim.Sequential(evsim.Linear(500, 400, bias=False), evsim.sinabs.IAF()).add_to(net, "net", source)
    sim = evsim.Simulation(net)
    assert 4.0 <= held(sim) / sim.n_synapses < 4.02
    net.connect(source, source, evsim.all_to_all(), weight=-1.0, delay=1.0)
    assert held(evsim.Simulation(net)) - held(sim) < 0.02 * 500**2


def test_what_cannot_share_is_refused():
    net = evsim.Network()
    cells = net.add_population("cells", 4, evsim.LIF())
    lists = Lists(np.zeros(4, int), np.arange(4), np.array([0, 1]), np.zeros(1, int))
    rule = shared("convolution", lists, 4)
    with pytest.raises(ValueError, match="the synapses of a convolution share weights, which cannot learn one by one"):
        net.connect(cells, cells, rule, 0.5, 1.0, plasticity=evsim.PairSTDP())
    with pytest.raises(ValueError, match="share weights, which must be numbers, and one delay"):
        net.connect(cells, cells, rule, evsim.uniform(0.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="share weights, which must be numbers, and one delay"):
        net.connect(cells, cells, rule, 0.5, np.array([1.0]))
    with pytest.raises(ValueError, match=r"it joins 4 sources to 3 targets; the convolution is one of .* \(4, 4\)"):
        net.connect(cells, cells[1:], rule, 0.5, 1.0)
    assert net.projections == []


def test_plastic_dense_projections_have_rows_of_their_own():
    net = evsim.Network()
    cells = net.add_population("cells", 4, evsim.LIF())
    plastic = net.connect(cells, cells, evsim.all_to_all(), 0.5, 1.0, plasticity=evsim.PairSTDP(w_max=1.0))
    assert not plastic.shares_rows
    assert dataclasses.replace(plastic, plasticity=None).shares_rows


def test_any_number_of_synapses_of_one_weight_takes_no_memory():
    net = evsim.Network(dt=1.0)
    source = net.add_spike_source("source", 100_000, [7, 9], [0.0, 0.0])
    cells = net.add_population("cells", 200_000, evsim.IAF(v_threshold=10.0))
    net.connect(source, cells, evsim.all_to_all(), weight=0.75, delay=1.0)
    sim = evsim.Simulation(net, backend="cpu")
    assert sim.n_synapses == 2 * 10**10
    sim.run(2.0)
    assert (sim.values(cells) == 1.5).all()
    assert sim.n_events == 400_000
