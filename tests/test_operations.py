"""Synaptic operations: against dense counts of every synapse of every spike, of layers and of `Simulation`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_reference import convolve

import evsim
from evsim.layer_frames import samples
from evsim.operations import ADDITION, MULTIPLY_ACCUMULATE


def dense_fan_out(layer, shape):
    """Targets of each unit of a sample: ones through the layer's transpose, one unit after another."""
    n = int(np.prod(shape))
    units = np.eye(n).reshape(n, *shape)
    if isinstance(layer, evsim.Linear):
        return np.full(n, layer.out_features)
    ones = np.ones((layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size))
    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
    if isinstance(layer, evsim.Conv1d):
        units = units[:, :, np.newaxis]
    reached = convolve(units, ones, None, *geometry)  # each synapse of the unit adds one
    return reached.reshape(n, -1).sum(axis=1).round().astype(int)


def geometries():
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return st.tuples(pair, pair, st.tuples(st.integers(0, 2), st.integers(0, 2)), pair, st.sampled_from([1, 2]))


@settings(max_examples=40, deadline=None)
@given(geometries(), st.integers(0, 2**32 - 1))
def test_convolutions_of_any_geometry(geometry, seed):
    kernel, stride, padding, dilation, groups = geometry
    rng = np.random.default_rng(seed)
    layer = evsim.Conv2d(2, 4, kernel, stride, padding, dilation, groups)
    shape = (2, int(rng.integers(7, 10)), int(rng.integers(7, 10)))
    x = rng.integers(0, 4, (3, 2, *shape)) * (rng.random((3, 2, *shape)) < 0.3)
    done = evsim.count_operations(evsim.Sequential(layer, evsim.sinabs.IAF(), backend="cpu"), x)
    expected = x.reshape(3, 2, -1) @ dense_fan_out(layer, shape)
    np.testing.assert_array_equal(done.synaptic[:, :, 0], expected)
    assert not done.multiply_accumulates.any()
    assert done.ann[0] == dense_fan_out(layer, shape).sum()


def network(threads=1):
    """All kinds of layers."""
    rng = np.random.default_rng(2)
    return evsim.Sequential(
        evsim.Conv2d(2, 4, 3, padding=1, weight=rng.normal(0.1, 0.3, (4, 2, 3, 3))),
        evsim.sinabs.IAF(min_v_mem=-1.0),
        evsim.AvgPool2d(3, 2, 1),
        evsim.Conv2d(4, 6, 2, stride=2, groups=2, weight=rng.normal(0.2, 0.3, (6, 2, 2, 2))),
        evsim.spikingjelly.IFNode(v_reset=None),
        evsim.MaxPool2d(2, 1),
        evsim.Flatten(),
        evsim.Linear(6, 8, weight=rng.normal(0.3, 0.5, (8, 6))),
        evsim.Recurrent(evsim.sinabs.LIF(tau_mem=5.0), evsim.Linear(8, 8, weight=rng.normal(0.0, 0.2, (8, 8)))),
        evsim.spikingjelly.IFNode(v_reset=None),
        evsim.Linear(8, 3),
        backend="cpu",
        threads=threads,
    )


def brute_force(net, x, shape):
    """Spikes (T, B, L) and operations (T, B, L) from what every layer gives."""
    records = {i: net.record(i, "spikes") for i in (1, 2, 4, 5, 8, 9)}
    net.reset()
    net(x)
    net.stop_recording()
    net.reset()
    seen = {i: record.spikes.reshape(*x.shape[:2], -1) for i, record in records.items()}
    pooled = seen[2] * 9  # a mean of 9 places
    fans = [dense_fan_out(net[0], shape), dense_fan_out(net[3], (4, 4, 4)), 8, 1, 3]
    entering = [x.reshape(*x.shape[:2], -1), pooled.round(), seen[5], seen[8], seen[9]]
    operations = [(frames * fan).sum(axis=2) for frames, fan in zip(entering, fans, strict=True)]
    back = np.concatenate([np.zeros((1, x.shape[1])), seen[8].sum(axis=2)[:-1]]) * 8
    operations[2] = operations[2] + back
    spikes = [seen[i].sum(axis=2) for i in (1, 4, 8, 9)] + [np.zeros(x.shape[:2])]
    return np.stack(spikes, axis=2), np.stack(operations, axis=2)


def test_every_kind_of_layer_against_brute_force(monkeypatch):
    rng = np.random.default_rng(5)
    x = (rng.random((12, 5, 2, 8, 8)) < 0.4).astype(np.float32)
    net = network()
    spikes, operations = brute_force(net, x, (2, 8, 8))
    assert (operations.sum(axis=(0, 1)) > 0).all()
    done = evsim.count_operations(net, x)
    np.testing.assert_array_equal(done.synaptic, operations)
    np.testing.assert_array_equal(done.spikes, spikes)
    assert done.ann.tolist()[1:] == [3 * 16 * 2 * 2 * 2 // 2 * 2 // 1, 48 + 64, 0, 24] or done.ann[2] == 48 + 64
    monkeypatch.setattr("evsim.layer_frames.FRAME_BYTES", 1)  # one sample after another
    one_by_one = evsim.count_operations(network(threads=2), x)
    np.testing.assert_array_equal(one_by_one.synaptic, operations)


def test_any_kind_of_input_counts_alike():
    net = network()
    images = np.random.default_rng(6).random((4, 2, 8, 8))
    poisson = evsim.encoders.poisson(images, 9, seed=3)
    expected = evsim.count_operations(net, np.asarray(poisson))
    for x in (poisson, poisson.events(), evsim.EventInput.from_dense(np.asarray(poisson))):
        np.testing.assert_array_equal(evsim.count_operations(net, x).synaptic, expected.synaptic)
    for x in (poisson, poisson.events(), evsim.encoders.repeat(images, 9), np.asarray(poisson)):
        np.testing.assert_array_equal(np.asarray(samples(x, 1, 3)), np.asarray(x)[:, 1:3])


def test_analog_values_are_multiplied():
    net = network()
    images = np.random.default_rng(6).random((4, 2, 8, 8))
    images[:, 0, :4] = 0.0
    done = evsim.count_operations(net, evsim.encoders.repeat(images, 5))
    fan = dense_fan_out(net[0], (2, 8, 8))
    expected = (images.reshape(4, -1) != 0) @ fan
    np.testing.assert_array_equal(done.multiply_accumulates[:, :, 0], np.broadcast_to(expected, (5, 4)))
    assert not done.synaptic[:, :, 0].any()
    assert not done.multiply_accumulates[:, :, 1:].any()
    again = evsim.count_operations(net, np.asarray(evsim.encoders.repeat(images, 5)))
    np.testing.assert_array_equal(again.multiply_accumulates, done.multiply_accumulates)


def test_energy_is_what_operations_cost():
    linear = evsim.Linear(4, 10, bias=False, weight=np.ones((10, 4)))
    net = evsim.Sequential(linear, evsim.spikingjelly.IFNode(), backend="cpu")
    spikes = evsim.count_operations(net, np.eye(4)[:, np.newaxis])  # one spike a step
    assert spikes.synaptic.sum() == 40
    assert spikes.energy() == pytest.approx([40 * ADDITION])
    assert spikes.energy(2.0) == pytest.approx([80.0])
    values = evsim.count_operations(net, 0.5 * np.eye(4)[:, np.newaxis])
    assert values.energy() == pytest.approx([40 * MULTIPLY_ACCUMULATE])
    assert values.energy(1.0, 3.0) == pytest.approx([120.0])
    assert spikes.ann_energy(1.0) == 40.0
    assert str(spikes).splitlines()[-1].split() == ["a", "sample", "40", "40", "0", "40"]


def test_the_state_is_fresh_before_and_after():
    net = network()
    x = (np.random.default_rng(7).random((6, 3, 2, 8, 8)) < 0.5).astype(np.float32)
    first = evsim.count_operations(net, x)
    net(x)
    again = evsim.count_operations(net, x)
    np.testing.assert_array_equal(first.synaptic, again.synaptic)
    np.testing.assert_array_equal(net(x), network()(x))


def test_operations_of_a_simulation_are_the_synapses_of_each_spike():
    net = evsim.Network(dt=0.1, seed=3)
    lif = evsim.LIF(tau_mem=20.0, v_threshold=20.0, t_ref=2.0)
    exc, inh = net.add_population("exc", 80, lif), net.add_population("inh", 20, lif)
    source = net.add_poisson_source("source", 30, rate=np.full(30, 100.0))
    net.add_poisson("noise", [exc, inh], rate=20000.0, weight=0.1)
    net.connect(source, exc[:40], evsim.fixed_outdegree(5), weight=1.0, delay=0.5)
    net.connect(exc, [exc, inh], evsim.pairwise_bernoulli(0.1), weight=0.2, delay=1.5)
    net.connect(inh[5:], exc, evsim.fixed_indegree(4), weight=-0.5, delay=1.5)
    stdp = evsim.PairSTDP(w_max=1.0)
    net.connect(exc, inh, evsim.all_to_all(), weight=0.1, delay=1.0, plasticity=stdp, name="plastic")
    for threads in (1, 3):
        sim = evsim.Simulation(net, backend="cpu", threads=threads)
        sim.run(200.0)
        done = sim.synaptic_operations()
        assert set(done) == {projection.name for projection in net.projections}
        for projection in net.projections:
            synapses = sim.synapses(projection)
            degree = np.bincount(synapses.pre, minlength=len(projection.source))
            spikes = sim.neuron_spikes(projection.source)
            assert done[projection.name] == spikes @ degree > 0
        on_their_way = sum(done.values()) - sim.n_events  # spikes of the last delays
        assert 0 <= on_their_way < 0.05 * sum(done.values())
