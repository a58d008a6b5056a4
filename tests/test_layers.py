"""Layers do what their equations say: against SciPy, against dense NumPy, and the same however they are run."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from layer_reference import DenseNeurons, convolve, pool, random_networks
from scipy import signal, sparse

import evsim
from evsim import batch_engine, sinabs, spikingjelly
from evsim import batch_model as bm
from evsim.batch_input import EventInput, PoissonInput, RepeatedInput
from evsim.neurons import NeuronModel

COUNTER = sinabs.ExpLeak(tau_mem=1e30)  # v is the sum of all that has arrived
COUNTS_OF_UNITS = [1, 2, 8, 9, 15, 16, 17, 31, 32, 127, 255, 4000, 65535]


def frames(rng, kind, *shape):
    """Frames of spikes, of counts, or of values."""
    if kind == "spikes":
        return (rng.random(shape) < 0.3).astype(np.float32)
    if kind == "counts":
        return rng.integers(0, 6, shape).astype(np.float32)
    return rng.normal(0.0, 1.0, shape).astype(np.float32)


KINDS = pytest.mark.parametrize("kind", ["spikes", "counts", "values"])


@KINDS
@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [
        (1, 0, 1, 1), (2, 1, 1, 1), ((1, 3), (2, 0), (2, 1), 1), (1, (1, 2), (1, 2), 2), ((3, 2), 4, 1, 4),
        (1, 6, 2, 1), (2, 0, (2, 3), 4),
    ],
)  # fmt: skip
def test_a_convolution_is_that_of_scipy(kind, stride, padding, dilation, groups):
    rng = np.random.default_rng(1)
    pairs = [(each, each) if isinstance(each, int) else each for each in (stride, padding, dilation)]
    (s0, s1), (p0, p1), (d0, d1) = pairs
    weight, bias = rng.normal(0.0, 1.0, (8, 4 // groups, 3, 2)), rng.normal(0.0, 1.0, 8)
    layer = evsim.Conv2d(4, 8, (3, 2), stride, padding, dilation, groups, bias=bias, weight=weight)
    x = frames(rng, kind, 3, 2, 4, 9, 8)
    given = evsim.Sequential(layer)(x)
    spread = np.zeros((8, 4 // groups, 2 * d0 + 1, d1 + 1))
    spread[:, :, ::d0, ::d1] = layer.weight
    padded = np.pad(x.astype(np.float64), [(0, 0)] * 3 + [(p0, p0), (p1, p1)])
    for o in range(8):
        group = o // (8 // groups)
        own = padded[:, :, group * 4 // groups : (group + 1) * 4 // groups]
        expected = signal.correlate(own, spread[o][None, None], mode="valid")[:, :, 0, ::s0, ::s1] + layer.bias[o]
        np.testing.assert_allclose(given[:, :, o], expected, atol=2e-5)
    np.testing.assert_allclose(given, convolve(x, layer.weight, layer.bias, *pairs, groups), atol=2e-5)


@KINDS
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 3, 2, 3), (3, 1, 1, 1)])
def test_a_convolution_in_one_dimension_is_that_of_scipy(kind, stride, padding, dilation, groups):
    rng = np.random.default_rng(2)
    layer = evsim.Conv1d(3, 6, 4, stride, padding, dilation, groups, bias=rng.normal(0.0, 1.0, 6))
    x = frames(rng, kind, 2, 2, 3, 21)
    given = evsim.Sequential(layer)(x)
    padded = np.pad(x.astype(np.float64), [(0, 0)] * 3 + [(padding, padding)])
    for o in range(6):
        group = o // (6 // groups)
        spread = np.zeros((3 // groups, 3 * dilation + 1))
        spread[:, ::dilation] = layer.weight[o]
        own = padded[:, :, group * 3 // groups : (group + 1) * 3 // groups]
        expected = signal.correlate(own, spread[None, None], mode="valid")[:, :, 0, ::stride] + layer.bias[o]
        np.testing.assert_allclose(given[:, :, o], expected, atol=1e-5)


@KINDS
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 1)), (3, 1, 0), ((1, 5), (4, 1), 0)]
)
@pytest.mark.parametrize("how", [np.sum, np.mean, np.max])
def test_pools(kind, kernel, stride, padding, how):
    x = frames(np.random.default_rng(3), kind, 4, 2, 3, 8, 7) - (1.0 if kind == "values" else 0.0)
    layer = {np.sum: evsim.SumPool2d, np.mean: evsim.AvgPool2d, np.max: evsim.MaxPool2d}[how](kernel, stride, padding)
    expected = pool(x.astype(np.float64), how, layer.kernel_size, layer.stride, layer.padding)
    np.testing.assert_allclose(evsim.Sequential(layer)(x), expected, rtol=1e-6, atol=1e-6)
    if kind != "values":
        counts = evsim.Sequential(layer, COUNTER)(x)
        np.testing.assert_allclose(counts, expected.cumsum(axis=0), rtol=1e-6)


def test_pools_behind_one_another():
    x = frames(np.random.default_rng(4), "counts", 3, 2, 2, 13, 12)
    net = evsim.Sequential(evsim.AvgPool2d(3, 1, 1), evsim.MaxPool2d(2), evsim.AvgPool2d(2, 1), evsim.SumPool2d((1, 3)))
    expected = pool(x, np.mean, (3, 3), (1, 1), (1, 1))
    expected = pool(pool(expected, np.max, (2, 2), (2, 2)), np.mean, (2, 2), (1, 1))
    np.testing.assert_allclose(net(x), pool(expected, np.sum, (1, 3), (1, 3)), rtol=1e-6)


@pytest.mark.parametrize("most", [16384, 65535])
def test_pooled_spikes_are_as_many_as_they_are(most):
    """Also where a sum of counts does not fit into 16 bits."""
    x = np.full((2, 1, 1, 4, 4), most, np.float32)
    x[1, 0, 0, :2] = 1.0
    expected = [4.0 * most] * 4 + [4.0] * 2 + [4.0 * most] * 2
    np.testing.assert_array_equal(evsim.Sequential(evsim.SumPool2d(2))(x).ravel(), expected)
    twice = evsim.Sequential(evsim.SumPool2d(2), evsim.SumPool2d(2), evsim.Flatten(), evsim.Linear(1, 1, False, [[1]]))
    np.testing.assert_array_equal(twice(x).ravel(), [16.0 * most, 8.0 * most + 8.0])
    assert evsim.Sequential(evsim.MaxPool2d(4))(x).ravel().tolist() == [most, most]


def test_flatten_is_in_the_order_of_channels_rows_columns():
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(1, 1, 2, 3, 4)
    n = x.size
    for layers in (
        [evsim.Flatten(), evsim.Linear(n, n, False, np.eye(n))],
        [evsim.AvgPool2d(1), evsim.Flatten(), evsim.Linear(n, n, False, np.eye(n))],
        [COUNTER, evsim.Flatten()],
        [evsim.Conv2d(2, 2, 1, bias=False, weight=np.eye(2)[:, :, None, None]), evsim.Flatten(), COUNTER],
    ):
        np.testing.assert_array_equal(evsim.Sequential(*layers)(x), x.reshape(1, 1, n))
        np.testing.assert_array_equal(evsim.Sequential(*layers)(x - 0.5), x.reshape(1, 1, n) - 0.5)
    rows = x[0, 0].transpose(1, 0, 2)  # (C, L) are ordered too
    net = evsim.Sequential(evsim.Conv1d(3, 3, 1, bias=False, weight=np.eye(3)[:, :, None]), evsim.Flatten())
    np.testing.assert_array_equal(net(rows[:, None, None, 0, :].reshape(1, 1, 3, 4)).ravel(), rows[:, 0].ravel())


def test_a_recurrent_layer_of_several_tiles_is_a_loop():
    rng = np.random.default_rng(5)
    weight, back = rng.integers(-8, 9, (300, 40)) / 16, rng.integers(-8, 9, (300, 300)) / 32
    bias, back_bias = rng.integers(0, 9, 300) / 16, rng.integers(0, 9, 300) / 16
    net = evsim.Sequential(
        evsim.Linear(40, 300, bias, weight),
        evsim.Recurrent(spikingjelly.LIFNode(v_reset=None), evsim.Linear(300, 300, back_bias, back)),
    )
    record = net.record(1, "spikes", "v")
    x = frames(rng, "spikes", 12, 3, 40)
    v, spikes = np.zeros((3, 300)), np.zeros((3, 300))
    for t, frame in enumerate([*net(x)]):
        v += (x[t] @ weight.T + bias + (spikes @ back.T + back_bias if t else 0.0) - v) / 2
        spikes = (v >= 1.0).astype(float)
        v -= spikes
        np.testing.assert_array_equal(frame, spikes)
        np.testing.assert_allclose(record.v[t], v, atol=1e-5)


@pytest.mark.parametrize("before", [(), (evsim.AvgPool2d(1),), (evsim.Conv2d(2, 2, 1, weight=np.ones((2, 2, 1, 1))),)])
def test_a_recurrent_layer_of_a_flattened_image_is_in_the_order_of_the_user(before):
    rng = np.random.default_rng(15)
    back, bias = rng.integers(-4, 5, (24, 24)) / 8, rng.integers(-4, 5, 24) / 8
    layers = [evsim.Flatten(), evsim.Recurrent(spikingjelly.IFNode(), evsim.Linear(24, 24, bias, back))]
    x = frames(rng, "counts", 8, 2, 2, 3, 4)
    flat = evsim.Sequential(*before, evsim.AvgPool2d(1), evsim.Flatten())(x)
    np.testing.assert_array_equal(evsim.Sequential(*before, *layers)(x), evsim.Sequential(*layers)(flat))


@pytest.mark.parametrize("each", [8, 40, 255])
def test_recurrent_neurons_may_spike_often(each):
    n = 20
    back = evsim.Linear(n, n, bias=False, weight=np.full((n, n), 1 / 16))
    net = evsim.Sequential(evsim.Recurrent(sinabs.IAF(spike_threshold=1.25), back))
    x = np.zeros((2, 1, n), np.float32)
    x[0] = 1.25 * each
    first, second = net(x)[:, 0]
    assert set(first) == {each}
    assert set(second) == {each}


def test_threads_that_share_a_sample_say_what_stopped_them(monkeypatch):
    monkeypatch.setattr(batch_engine, "SHARED_UNITS", 0)
    net = evsim.Sequential(evsim.Linear(2, 3, weight=np.full((3, 2), 100.0)), sinabs.IAF(), threads=4)
    x = np.ones((64, 1, 2), np.float32)
    x[40, 0, 1] = 10.0
    with pytest.raises(RuntimeError, match=r"layer 1 \(IAF\).*spike"):
        net(x)
    x[30, 0, 0] = np.nan
    net.reset()
    with pytest.raises((ValueError, RuntimeError)):
        net(x)


@pytest.mark.parametrize("n", [1, 8, 63, 127, 129, 140, 193, 300])
def test_the_last_tile_of_a_layer_lies_in_the_scratch(n):
    net = evsim.Sequential(evsim.Linear(2, n))
    net(np.ones((1, 1, 2)))
    row, (_, work, _) = net._built.model.node[0], net._engine._own[0]
    tiles = -(-n // row[bm.TILE_SIZE])
    assert min(work[0].size, work[1].size) >= tiles * row[bm.TILE_SIZE]


DIFFERENTLY = {"deadline": None, "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow]}


def run(layers, x, threads=1):
    """What a network gives, and what its layers recorded."""
    net = evsim.Sequential(*layers, threads=threads)
    records = []
    for index, layer in enumerate(layers):
        if isinstance(layer, NeuronModel | evsim.Recurrent):
            records.append(net.record(index, "spikes", "v", "v_pre_reset"))
    return net, records, net(x)


@given(random_networks())
@settings(max_examples=200, **DIFFERENTLY)
def test_random_networks_are_the_dense_ones(made):
    expected = made.expected()
    net, records, out = run(made.layers, made.x)
    np.testing.assert_array_equal(out, expected[-1][0])
    for record in records:
        spikes, v = expected[record.layer]
        np.testing.assert_array_equal(record.spikes, spikes, err_msg=record.name)
        np.testing.assert_array_equal(record.v, v, err_msg=record.name)


@given(random_networks(), st.integers(2, 5), st.sampled_from([1, 64, 500]), st.integers(0, 2**32))
@settings(max_examples=80, **DIFFERENTLY)
def test_a_network_gives_the_same_however_it_is_run(made, threads, chunk_units, seed):
    """Step by step, sample by sample, in any chunks and threads: bit for bit, also where weights are rounded."""
    rng = np.random.default_rng(seed)
    for layer in made.layers:
        for connection in (layer, getattr(layer, "connection", None)):
            if hasattr(connection, "weight"):
                connection.weight = rng.normal(0.0, 0.3, connection.weight.shape)
    x = np.where(made.x == np.rint(made.x), made.x, made.x * np.float32(1.1))

    def bits(out, records):
        return [each.tobytes() for each in (out, *(getattr(r, name) for r in records for name in r.variables))]

    try:
        net, records, out = run(made.layers, x)
    except RuntimeError:
        reject()  # spikes too often
    same = bits(out, records)
    assert bits(*run(made.layers, x, threads)[2:0:-1]) == same
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_engine, "CHUNK_UNITS", chunk_units)
        patch.setattr(batch_engine, "SHARED_UNITS", 0)  # threads share samples
        assert bits(*run(made.layers, x, threads)[2:0:-1]) == same
    for record in records:
        record.clear()
    net.reset()
    assert bits(np.stack([net.step(frame) for frame in x]), records) == same
    singles = [run(made.layers, x[:, b : b + 1]) for b in range(x.shape[1])]
    np.testing.assert_array_equal(np.concatenate([each[2] for each in singles], axis=1), out)
    for number, record in enumerate(records):
        own = np.concatenate([each[1][number].v for each in singles], axis=1)
        assert own.tobytes() == record.v.tobytes()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("times", COUNTS_OF_UNITS)
def test_sums_have_room_for_any_number_of_spikes(times, sign):
    """Far beyond what fixed-point sums hold: to float32's precision of the sum."""
    rng = np.random.default_rng(6)
    weight, bias = sign * rng.random((30, 50)), sign * rng.random(30)
    kernel = sign * rng.random((4, 3, 3, 3))
    linear, conv = evsim.Linear(50, 30, bias, weight), evsim.Conv2d(3, 4, 3, padding=1, bias=bias[:4], weight=kernel)
    x, image = np.full((2, 1, 50), times, np.float32), np.full((2, 1, 3, 5, 5), times, np.float32)
    expected = x.astype(float) @ linear.weight.T + linear.bias
    np.testing.assert_allclose(evsim.Sequential(linear)(x), expected, rtol=2e-6)
    expected = convolve(image, conv.weight, conv.bias, padding=(1, 1))
    np.testing.assert_allclose(evsim.Sequential(conv)(image), expected, rtol=2e-6)
    pooled = pool(image, np.mean, (3, 3), (1, 1), (1, 1))
    expected = convolve(pooled, conv.weight, conv.bias, padding=(1, 1))
    np.testing.assert_allclose(evsim.Sequential(evsim.AvgPool2d(3, 1, 1), conv)(image), expected, rtol=2e-6)
    sums = evsim.Sequential(evsim.AvgPool2d(3, 1, 1), COUNTER)(image)
    np.testing.assert_allclose(sums, pooled.cumsum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("times", [1.0, 15.0, 16.0, 255.0])
def test_multi_spike_neurons_are_followed_by_sums_with_room(times):
    weight = np.random.default_rng(7).random((20, 40))
    linear = evsim.Linear(40, 20, bias=False, weight=weight)
    given = evsim.Sequential(sinabs.IAF(), linear)(np.full((1, 1, 40), times, np.float32))
    np.testing.assert_allclose(given[0, 0], times * linear.weight.astype(float).sum(axis=1), rtol=1e-6)


LAYERS = (
    evsim.Conv2d(2, 3, 3, padding=1), spikingjelly.LIFNode(v_threshold=0.3), evsim.AvgPool2d(2), evsim.Flatten(),
    evsim.Linear(12, 9), evsim.Recurrent(sinabs.IAF(spike_threshold=0.5), evsim.Linear(9, 9)), evsim.Linear(9, 4),
)  # fmt: skip


@pytest.mark.parametrize(
    "layers", [LAYERS, (spikingjelly.IFNode(),), (evsim.MaxPool2d(2), *LAYERS[2:4], evsim.Linear(2, 4))]
)
def test_all_inputs_are_their_tensor(layers):
    rng = np.random.default_rng(8)
    spikes = rng.random((9, 3, 2, 4, 5)) < 0.4
    current = rng.normal(0.5, 1.0, (3, 2, 4, 5))

    def out(x):
        return evsim.Sequential(*layers)(x)

    expected = out(spikes.astype(np.float32))
    assert expected.any()
    locked = spikes.astype(np.float32)
    locked.flags.writeable = False
    every_second = np.repeat(spikes.astype(np.float32), 2, axis=0)[::2]
    types = [np.float64, bool, np.uint8, np.int64, np.float16, ">f4", np.uint16]
    for x in (*map(spikes.astype, types), spikes.tolist(), EventInput.from_dense(spikes), locked, every_second):
        np.testing.assert_array_equal(out(x), expected)
    np.testing.assert_array_equal(out(EventInput.from_dense(2 * spikes)), out((2 * spikes).astype(np.uint8)))
    poisson = PoissonInput(rng.integers(0, 2**32, (3, 2, 4, 5)), 9, seed=3, first_sample=5)
    np.testing.assert_array_equal(out(poisson), out(poisson.dense()))
    for repeated in (RepeatedInput(current, 9), RepeatedInput(np.rint(np.abs(3 * current)), 9)):
        np.testing.assert_array_equal(out(repeated), out(repeated.dense()))


@pytest.mark.parametrize(
    ("first", "shape"), [(evsim.Linear(37, 6), (37,)), (evsim.Conv2d(1, 6, 3, padding=1), (1, 5, 8)), (COUNTER, (37,))]
)
@pytest.mark.parametrize("chunk_units", [64, 10**5])
def test_spikes_that_are_lists_already_are_their_tensor(monkeypatch, chunk_units, first, shape):
    monkeypatch.setattr(batch_engine, "CHUNK_UNITS", chunk_units)
    rng = np.random.default_rng(9)
    poisson = PoissonInput(rng.integers(0, 2**32, (3, *shape)) // 2, 20, seed=3, first_sample=5)
    twice = EventInput.from_dense(2 * poisson.dense())
    assert (poisson.events().ascending, twice.ascending) == (True, False)
    for x in (poisson, poisson.events(), EventInput.from_dense(poisson.dense()), twice):
        net = evsim.Sequential(first, spikingjelly.LIFNode(v_threshold=0.1))
        out = net(x)
        net.reset()
        np.testing.assert_array_equal(out, net(x.dense()))
        assert out.any()


@pytest.mark.parametrize("chunk_units", [1, 200, 10**5])
def test_a_repeated_current_goes_through_any_first_layer(monkeypatch, chunk_units):
    monkeypatch.setattr(batch_engine, "CHUNK_UNITS", chunk_units)
    rng = np.random.default_rng(9)
    repeated = RepeatedInput(rng.normal(0.2, 0.3, (2, 1, 4, 4)), 20)
    recurrent = evsim.Recurrent(spikingjelly.LIFNode(), evsim.Linear(16, 16))
    for layers in (
        (evsim.SumPool2d(2), evsim.MaxPool2d(2, 1), evsim.Conv2d(1, 2, 1), spikingjelly.IFNode()),
        (evsim.Flatten(), recurrent),
        (evsim.Flatten(), evsim.Linear(16, 200), evsim.Linear(200, 3)),
        (evsim.MaxPool2d(2),),
        (spikingjelly.IFNode(), evsim.AvgPool2d(2)),
    ):
        given = evsim.Sequential(*layers)(repeated)
        np.testing.assert_array_equal(given, evsim.Sequential(*layers)(repeated.dense()))


def test_spikes_and_values_may_take_turns():
    rng = np.random.default_rng(10)
    linear = evsim.Linear(30, 140)
    x = np.stack([frames(rng, kind, 3, 30) for kind in ["spikes", "values", "counts", "values", "spikes"] * 2])
    x[4, 0] = 0.0
    x[5, 1, 3] = 70000.0  # whole, but more than a count
    x[7, 2] = [-1.0, 2.0] * 15
    np.testing.assert_allclose(evsim.Sequential(linear)(x), x @ linear.weight.T + linear.bias, rtol=1e-5, atol=1e-4)


def test_the_state_is_kept_until_it_is_reset():
    x = frames(np.random.default_rng(11), "counts", 12, 2, 2, 4, 5)
    net = evsim.Sequential(*LAYERS)
    expected = net(x)
    net.reset()
    parts = [net(x[:5]), net.step(x[5])[None], net(EventInput.from_dense(x[6:]))]
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    assert (net(x) != expected).any()
    net.reset()
    np.testing.assert_array_equal(net(x), expected)
    net.reset()
    assert net(x[:, :1, :, :, :]).shape == (12, 1, 4)


def test_weights_may_change_between_calls():
    linear = evsim.Linear(2, 1, bias=False, weight=[[1.0, 2.0]])
    net = evsim.Sequential(linear, COUNTER)
    x = np.ones((1, 1, 2))
    assert net(x).item() == 3.0
    linear.weight = [[1.0, -2.0]]
    assert net(x).item() == 2.0
    linear.bias = [10.0]
    assert net(x).item() == 11.0
    linear.bias = None
    assert net(x).item() == 10.0
    drawn = evsim.Linear(2, 2)
    drawn.bias = None
    assert evsim.Sequential(drawn)(np.zeros((1, 1, 2))).tolist() == [[[0.0, 0.0]]]


def test_drawn_weights_are_those_of_a_seed_and_of_the_range_of_torch():
    def weights(seed):
        layers = evsim.Linear(100, 50), evsim.Linear(50, 100), evsim.Recurrent(spikingjelly.IFNode())
        evsim.Sequential(*layers, seed=seed)(np.zeros((1, 1, 100)))
        return [layers[0].weight, layers[0].bias, layers[1].weight, layers[2].connection.weight]

    for one, same, other, fan_in in zip(weights(1), weights(1), weights(2), [100, 100, 50, 100], strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()
        assert 0.9 / fan_in**0.5 < np.abs(one).max() <= 1 / fan_in**0.5
    assert weights(1)[3].shape == (100, 100)


@pytest.mark.parametrize("t_ref", [0.0, 1.5])
@pytest.mark.parametrize("tau_syn", [None, 3.0])
def test_lif_in_ms_is_exact_between_spikes(t_ref, tau_syn):
    dt, tau = 0.5, 7.0
    rng = np.random.default_rng(12)
    weight = rng.integers(-4, 9, (6, 10)) / 8
    lif = evsim.LIF(tau_mem=tau, tau_syn=tau_syn, t_ref=t_ref, v_leak=-0.25, v_reset=-0.5, r_mem=3.0, i_bias=0.1)
    net = evsim.Sequential(evsim.Linear(10, 6, False, weight), lif, dt=dt)
    record = net.record(1, "v", "spikes", *(["i"] if tau_syn else []))
    x = frames(rng, "spikes", 60, 2, 10)
    net(x)
    leak, v, i, left = np.exp(-dt / tau), np.full((2, 6), -0.25), np.zeros((2, 6)), np.zeros((2, 6), int)
    for t in range(60):
        arriving = x[t] @ weight.T
        h = leak * v + (1 - leak) * (-0.25 + 3.0 * 0.1)
        if tau_syn is None:
            h += arriving
        else:
            h += 3.0 * tau_syn / (tau - tau_syn) * (leak - np.exp(-dt / tau_syn)) * i
            i = np.exp(-dt / tau_syn) * i + arriving
            np.testing.assert_allclose(record.i[t], i, atol=1e-5)
        h = np.where(left > 0, v, h)
        fired = (h >= 1.0) & (left == 0)
        v = np.where(fired, -0.5, h)
        left = np.where(fired, round(t_ref / dt), np.maximum(left - 1, 0))
        np.testing.assert_array_equal(record.spikes[t], fired)
        np.testing.assert_allclose(record.v[t], v, atol=1e-5)
    assert record.spikes.sum() > 50


def test_the_batch_engine_gives_what_a_simulation_gives():
    rng = np.random.default_rng(13)
    first, second = rng.integers(-8, 17, (30, 20)) / 64, rng.integers(-8, 17, (15, 30)) / 32
    lif = evsim.LIF(tau_mem=10.0, t_ref=2.0, v_threshold=rng.uniform(0.5, 1.0, 30))
    cuba = evsim.LIF(tau_mem=10.0, tau_syn=4.0, r_mem=2.0, v_reset=None, theta_plus=0.1, tau_theta=50.0)
    x = frames(rng, "spikes", 80, 1, 20)
    layers = [evsim.Linear(20, 30, False, first), lif, evsim.Linear(30, 15, False, second), cuba]
    sequential = evsim.Sequential(*layers, dt=0.5)
    records = [sequential.record(1, "spikes", "v"), sequential.record(3, "spikes", "v")]
    sequential(x)
    net = evsim.Network(dt=0.5)
    steps, units = np.nonzero(x[:, 0])
    source = net.add_spike_source("source", 20, units, steps * 0.5)
    populations = [net.add_population("lif", 30, lif), net.add_population("cuba", 15, cuba)]
    net.connect(source, populations[0], sparse.csr_matrix(first.T), delay=0.0)
    net.connect(*populations, sparse.csr_matrix(second.T), delay=0.0)
    sim = evsim.Simulation(net, threads=1)
    sim.record(spikes=populations, state=dict.fromkeys(populations, "v"))
    sim.run(40.0)
    for population, record in zip(populations, records, strict=True):
        spikes = np.zeros(record.spikes.shape)
        ids, times = sim.spikes(population)
        spikes[np.rint(times / 0.5).astype(int), 0, ids] = 1.0
        assert spikes.sum() > 10
        np.testing.assert_array_equal(record.spikes, spikes)
        np.testing.assert_array_equal(record.v[:, 0], sim.state(population).values)


def test_parameters_of_images_are_in_the_order_of_the_user():
    rng = np.random.default_rng(14)
    kernel = rng.integers(-4, 9, (3, 2, 2, 2)) / 8
    threshold, v_reset, t_ref = rng.uniform(0.5, 3.0, 36), rng.uniform(-1.0, 0.0, 36), rng.integers(0, 4, 36) * 1.0
    model = evsim.IAF(v_threshold=threshold, v_reset=v_reset, t_ref=t_ref)
    net = evsim.Sequential(evsim.Conv2d(2, 3, 2, bias=False, weight=kernel), model)
    record = net.record(model, "v", "v_pre_reset")
    x = frames(rng, "spikes", 15, 2, 2, 4, 5)
    dense = DenseNeurons(lambda v, x: v + x, threshold, v_reset.reshape(3, 3, 4), t_ref=t_ref.reshape(3, 3, 4))
    spikes, v = dense(convolve(x, kernel))
    np.testing.assert_array_equal(net(x), spikes)
    np.testing.assert_allclose(record.v, v, atol=1e-5)
    assert ((record.v_pre_reset >= threshold.reshape(3, 3, 4).astype(np.float32)) >= (spikes > 0)).all()


def test_distributions_are_drawn_for_each_neuron():
    model = evsim.IAF(v_threshold=evsim.uniform(1.0, 9.0))
    image, flat = (evsim.Sequential(*layers, model, seed=5) for layers in ([], [evsim.Flatten()]))
    x = np.ones((12, 1, 3, 4, 5), np.float32)
    spikes = image(x)
    first = spikes.argmax(axis=0)[0]
    assert 0 < first.min() < 3
    assert 6 < first.max() <= 8
    assert np.unique(first).size > 5
    np.testing.assert_array_equal(flat(x), spikes.reshape(12, 1, -1))  # neuron 7 is the same one
    other = evsim.Sequential(model, seed=6)(x)
    assert (other != spikes).any()
