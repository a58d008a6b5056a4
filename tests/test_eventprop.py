"""EventProp: spike times and their gradients against closed forms, a fine grid and finite differences; the Trainer."""

import numpy as np
import pytest
from scipy.special import lambertw

import evsim
from evsim.training import forward

NONE = np.inf


def network(tau_mem=20.0, tau_syn=5.0, output="first_spike", threads=1, duration=40.0, **lif):
    """20 - 30 - 8 - 3 neurons, all of which spike, most of them several times."""
    weights = np.random.default_rng(1)
    neurons = evsim.LIF(tau_mem=tau_mem, tau_syn=tau_syn, **lif)
    return evsim.EventSequential(
        evsim.Linear(20, 30, bias=False, weight=weights.normal(0.6, 0.5, (30, 20))),
        neurons,
        evsim.Linear(30, 8, bias=False, weight=weights.normal(0.2, 0.4, (8, 30))),
        neurons,
        evsim.Linear(8, 3, bias=False, weight=weights.normal(0.9, 0.4, (3, 8))),
        neurons,
        duration=duration,
        output=output,
        threads=threads,
    )


def spike_times(n_samples=5, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.uniform(0.0, 20.0, (2, n_samples, 20))
    x[draw.random(x.shape) < 0.3] = NONE
    return x


def one_neuron(weight, duration=100.0, **lif):
    return evsim.EventSequential(
        evsim.Linear(1, 1, bias=False, weight=[[weight]]), evsim.LIF(**lif), duration=duration, threads=1
    )


@pytest.mark.parametrize("weight", [4.1, 5.0, 20.0])
def test_one_spike_in_the_closed_form_of_tau_mem_twice_tau_syn(weight):
    """v - v_leak = r w (x - x^2) with x = exp(-s / tau_mem): x^2 - x + a / w = 0 with a = (threshold - v_leak) / r."""
    net = one_neuron(weight, tau_mem=20.0, tau_syn=10.0, r_mem=2.0, v_leak=-65.0, v_reset=-70.0, v_threshold=-63.0)
    output, backward = forward(net, np.full((1, 1, 1), 3.0))
    w = float(np.float32(weight))
    x = (1.0 + np.sqrt(1.0 - 4.0 / w)) / 2.0
    assert output.item() == pytest.approx(3.0 - 20.0 * np.log(x), rel=1e-12)
    expected = -20.0 / x / (w**2 * (2.0 * x - 1.0))
    assert backward(np.ones((1, 1, 1)))["0.weight"].item() == pytest.approx(expected, rel=1e-6)


def test_one_spike_with_equal_time_constants():
    """v = w (s / tau) exp(-s / tau), whose inverse is Lambert's W."""
    output, backward = forward(one_neuron(3.0, tau_mem=10.0, tau_syn=10.0), np.zeros((1, 1, 1)))
    u = -lambertw(-1.0 / 3.0).real  # s / tau
    assert output.item() == pytest.approx(10.0 * u, rel=1e-12)
    assert backward(np.ones((1, 1, 1)))["0.weight"].item() == pytest.approx(-10.0 * u / (1.0 - u) / 3.0, rel=1e-6)


def test_time_constants_that_nearly_agree_are_no_special_case():
    equal, near = (one_neuron(3.0, tau_mem=10.0, tau_syn=tau)(np.zeros((1, 1, 1))) for tau in (10.0, 10.0 + 1e-10))
    np.testing.assert_allclose(near, equal, rtol=1e-9)


def test_a_threshold_that_is_only_touched_gives_finite_gradients():
    """Of v = w (x - x^2) the maximum is w / 4."""
    for weight in np.nextafter(np.float32(4.0), np.array([0.0, 4.0, 9.0], np.float32)):
        _, backward = forward(one_neuron(weight, tau_mem=20.0, tau_syn=10.0), np.zeros((1, 1, 1)))
        assert np.isfinite(backward(np.ones((1, 1, 1)))["0.weight"]).all()


@pytest.mark.parametrize(("tau_mem", "tau_syn", "v_reset"), [(20.0, 5.0, 0.0), (5.0, 8.0, -0.5), (10.0, 10.0, None)])
def test_spikes_are_those_of_a_fine_grid(tau_mem, tau_syn, v_reset):
    dt, n_steps = 0.002, 15_000
    lif = evsim.LIF(tau_mem=tau_mem, tau_syn=tau_syn, v_reset=v_reset)
    weight = np.random.default_rng(2).normal(0.5, 0.5, (6, 20))
    times = np.round(spike_times(3, seed=4) / dt) * dt
    net = evsim.EventSequential(evsim.Linear(20, 6, bias=False, weight=weight), lif, duration=dt * n_steps)
    _, backward = forward(net, times)
    k, sample, unit = np.nonzero(np.isfinite(times))
    x = np.zeros((n_steps, 3, 20), np.float32)
    np.add.at(x, (np.rint(times[k, sample, unit] / dt).astype(int), sample, unit), 1.0)
    grid = evsim.Sequential(evsim.Linear(20, 6, bias=False, weight=weight), lif, dt=dt)(x)
    n_spikes = 0
    for b, (ids, at) in enumerate(backward.spikes(1)):
        for i in range(6):
            expected = np.flatnonzero(grid[:, b, i]) * dt
            assert len(at[ids == i]) == len(expected)
            np.testing.assert_allclose(at[ids == i], expected, atol=4 * dt * (1 + len(expected)))
            n_spikes += len(expected)
    assert n_spikes > 30


@pytest.mark.parametrize("output", ["first_spike", "mean_v"])
@pytest.mark.parametrize(
    ("tau_mem", "tau_syn", "lif"),
    [
        (20.0, 5.0, {}),
        (20.0, 10.0, {"r_mem": 0.7, "v_leak": -1.0, "v_threshold": 0.1, "v_reset": -1.3}),
        (5.0, 20.0, {"v_reset": -0.3}),  # hundreds of spikes a neuron
        (10.0, 10.0, {"v_reset": None}),
    ],
)
def test_gradients_are_finite_differences_of_the_loss(tau_mem, tau_syn, lif, output):
    net, x = network(tau_mem, tau_syn, output, **lif), spike_times()
    given, backward = forward(net, x)
    draw = np.random.default_rng(3)
    wanted = draw.normal(size=given.shape) * (given < net.duration if output == "first_spike" else 1.0)
    gradients = backward(wanted)
    assert all((backward.frames(index) > 0).any() for index in (1, 3))
    for name, weight in net.parameters().items():
        exact, differences = [], []
        for place in draw.choice(weight.size, 20):
            values, sizes = [], []
            for side in (-5e-7, 5e-7):
                moved = weight.copy()
                moved.flat[place] += np.float32(side)
                net.load_parameters({name: moved})
                values.append(float((net(x) * wanted).sum()))
                sizes.append(float(moved.flat[place]))
            net.load_parameters({name: weight})
            differences.append((values[1] - values[0]) / (sizes[1] - sizes[0]))
            exact.append(gradients[name].flat[place])
        scale = np.abs(differences).max()
        assert scale > 1e-3
        np.testing.assert_allclose(exact, differences, atol=2e-5 * scale, rtol=0.0)


def test_what_is_kept_grows_with_the_spikes_alone():
    x = spike_times()
    _, short = forward(network(), x)
    n_in, n_own = np.isfinite(x).sum(), sum(len(ids) for layer in (1, 3, 5) for ids, _ in short.spikes(layer))
    starts = 4 * 8 * (5 + 5)  # where the samples of 5 groups begin and end, in the input and three layers
    assert short.nbytes == 12 * n_in + 20 * n_own + starts
    later = [max(at.max(initial=0.0) for _, at in short.spikes(layer)) for layer in (1, 3, 5)]
    long = forward(network(duration=10_000.0), x)[1]
    n_long = sum((at <= max(later)).sum() for layer in (1, 3, 5) for _, at in long.spikes(layer))
    assert n_long == n_own
    n_more = sum(len(ids) for layer in (1, 3, 5) for ids, _ in long.spikes(layer)) - n_own
    assert long.nbytes == short.nbytes + 20 * n_more
    assert n_more < n_own / 4  # 250 times the time


def test_rates_are_spikes_in_a_ms():
    for output, layers in (("first_spike", [1, 3, 5]), ("mean_v", [1, 3])):
        backward = forward(network(output=output), spike_times())[1]
        rates = backward.rates()
        assert list(rates) == layers
        for layer, rate in rates.items():
            count = np.bincount(np.concatenate([ids for ids, _ in backward.spikes(layer)]), minlength=len(rate))
            np.testing.assert_allclose(rate, count / 5 / 40.0, rtol=1e-6)
    with pytest.raises(NotImplementedError, match="gradients of its weights, not of its input's times"):
        forward(network(), spike_times(), input_gradient=True)


def test_a_sample_is_the_same_in_any_batch():
    x = spike_times(11)
    whole = network()(x)
    for b in range(11):
        np.testing.assert_array_equal(network()(x[:, b : b + 1])[:, 0], whole[:, b])


def test_the_mean_potential_is_that_of_a_fine_grid():
    weight = np.random.default_rng(2).normal(size=(4, 20))
    x, dt = np.round(spike_times(2) / 0.01) * 0.01, 0.01
    lif = evsim.LIF(tau_mem=20.0, tau_syn=5.0, v_leak=0.2)
    net = evsim.EventSequential(evsim.Linear(20, 4, bias=False, weight=weight), lif, duration=30.0, output="mean_v")
    at = dt * np.arange(3000)[:, np.newaxis, np.newaxis, np.newaxis]
    s = np.maximum(at - x, 0.0)
    response = 5.0 / 15.0 * (np.exp(-s / 20.0) - np.exp(-s / 5.0))
    expected = 0.2 + response.sum(axis=1).mean(axis=0) @ weight.T
    np.testing.assert_allclose(net(x)[0], expected, rtol=1e-3, atol=1e-4)


def test_penalties_take_a_count_for_that_of_neurons_without_leak():
    net, x = network(), spike_times()
    backward = forward(net, x)[1]
    penalty = np.random.default_rng(1).normal(size=(1, 5, 30))
    gradient = backward(np.zeros((1, 5, 3)), {1: penalty})
    arrived = np.isfinite(x).sum(axis=0)
    np.testing.assert_allclose(gradient["0.weight"], penalty[0].T @ arrived * 5.0 / 20.0 / 40.0, rtol=1e-5, atol=1e-6)
    assert not gradient["2.weight"].any()


def test_the_loss_of_spike_times():
    loss = evsim.SpikeTimeCrossEntropy(tau=0.7, late=0.1, tau_late=4.0)
    t, target = np.random.default_rng(1).uniform(1.0, 5.0, (1, 6, 4)), np.array([0, 1, 2, 3, 3, 0])
    odds = np.exp(-t[0] / 0.7)
    right = np.take_along_axis(t[0], target[:, np.newaxis], axis=1)
    share = np.take_along_axis(odds, target[:, np.newaxis], axis=1) / odds.sum(axis=1, keepdims=True)
    value, gradient = loss(t, target)
    assert value == pytest.approx(np.mean(-np.log(share) + 0.1 * (np.exp(right / 4.0) - 1.0)))
    for place in np.ndindex(t.shape):
        side = np.zeros(t.shape)
        side[place] = 1e-5
        difference = (loss(t + side, target)[0] - loss(t - side, target)[0]) / 2e-5
        assert gradient[place] == pytest.approx(difference, rel=1e-5, abs=1e-9)
    np.testing.assert_array_equal(loss.predict([[[3.0, 2.0], [9.0, 9.0], [1.0, 4.0]]]), [1, -1, 0])
    with pytest.raises(
        ValueError, match=r"SpikeTimeCrossEntropy: output has shape \(2, 6, 4\); it must be \(1, B, N\)"
    ):
        loss(np.zeros((2, 6, 4)), target)
    with pytest.raises(ValueError, match=r"output\[0, 0, 0\] is nan; it must be finite"):
        loss(np.full((1, 6, 4), np.nan), target)
    with pytest.raises(ValueError, match=r"tau_late is 0.0; it must be above 0 ms"):
        evsim.SpikeTimeCrossEntropy(tau_late=0.0)


def points(n=120, seed=1):
    """Two classes: which of the two inputs is larger."""
    x = np.random.default_rng(seed).random((n, 2))
    return x[np.abs(x[:, 0] - x[:, 1]) > 0.1], (x[:, 1] > x[:, 0]).astype(int)[np.abs(x[:, 0] - x[:, 1]) > 0.1]


def small(threads=1, output="first_spike", r_mem=1.0):
    """3 - 20 - 2 neurons; r_mem of the last ones."""
    draw, lif = np.random.default_rng(1), evsim.LIF(tau_mem=20.0, tau_syn=10.0)
    return evsim.EventSequential(
        evsim.Linear(3, 20, bias=False, weight=draw.normal(2.5, 2.0, (20, 3))),
        lif,
        evsim.Linear(20, 2, bias=False, weight=draw.normal(0.5, 0.5, (2, 20))),
        evsim.LIF(tau_mem=20.0, tau_syn=10.0, r_mem=r_mem),
        duration=40.0,
        output=output,
        threads=threads,
    )


def encode(x, _first):
    times = evsim.encoders.spike_times(x, 10.0)
    return np.concatenate((times, np.full((1, len(x), 1), 5.0)), axis=2)  # an input that always spikes


def trainer(net, **more):
    return evsim.Trainer(
        net, evsim.SpikeTimeCrossEntropy(tau=1.0), evsim.Adam(lr=0.03), encoder=encode, clip_norm=1.0, seed=3, **more
    )


def test_the_trainer_learns():
    history = trainer(small()).fit(*points(), epochs=15, batch_size=10, validation=points(seed=2))
    assert history["validation_accuracy"][-1] > 0.95
    assert history["loss"][-1] < 0.3 * history["loss"][0]


def test_the_plain_loop_learns():
    net, loss, optimizer = small(), evsim.SpikeTimeCrossEntropy(tau=1.0), evsim.Adam(lr=0.02)
    x, y = points()
    values = []
    for _ in range(25):
        output, backward = forward(net, encode(x, 0))
        value, gradient = loss(output, y)
        net.load_parameters(optimizer.update(net.parameters(), backward(gradient)))
        values.append(value)
    assert values[-1] < 0.5 * values[0]


def test_a_mean_potential_is_trained_too():
    net = small(output="mean_v", r_mem=50.0)
    with_mean = evsim.Trainer(net, evsim.MeanCrossEntropy(), evsim.Adam(lr=0.01), encoder=encode, seed=3)
    history = with_mean.fit(*points(), epochs=20, batch_size=10)
    assert np.mean(history["accuracy"][-5:]) > 0.85
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_learns_the_same(threads):
    one, several = small(), small(threads)
    for net in (one, several):
        trainer(net).fit(*points(), epochs=2, batch_size=20)
    for name, value in one.parameters().items():
        np.testing.assert_array_equal(several.parameters()[name], value)


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    whole = small()
    expected = trainer(whole).fit(*points(), epochs=3, batch_size=20)
    first, done = trainer(small()), []
    step = first._step

    def interrupted(*arguments):
        if len(done) == 8:
            raise KeyboardInterrupt
        done.append(step(*arguments))

    monkeypatch.setattr(first, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.fit(*points(), epochs=3, batch_size=20, checkpoint=tmp_path / "run.h5")
    other = small()
    second = trainer(other)
    second.resume(tmp_path / "run.h5")
    assert second.fit(*points(), epochs=3, batch_size=20) == expected
    for name, value in whole.parameters().items():
        np.testing.assert_array_equal(other.parameters()[name], value)


def test_the_best_network_is_saved_and_loaded(tmp_path):
    net, file = small(), tmp_path / "best.h5"
    trainer(net).fit(*points(), epochs=1, batch_size=20, best=file)
    loaded = evsim.load_network(file, threads=1)
    assert isinstance(loaded, evsim.EventSequential)
    x = encode(points()[0], 0)
    np.testing.assert_array_equal(loaded(x), net(x))


def test_silent_neurons_are_told_and_brought_back():
    net = small()
    net.load_parameters({"0.weight": np.full((20, 3), 0.1)})
    quiet = trainer(net)
    quiet.fit(*points(), epochs=1, batch_size=20)
    assert "layer 1 (LIF): its neurons spike 0 times a step, too seldom to learn" in quiet.diagnose()[0]
    awake = trainer(net, regularisers={1: evsim.RateRegulariser(low=0.05, high=np.inf, strength=1e3)})
    history = awake.fit(*points(), epochs=20, batch_size=20)
    assert history["rate.1"][-1] > 0.02
    assert history["accuracy"][-1] > 0.8


def test_bad_networks_are_refused():
    linear, lif = evsim.Linear(2, 3, bias=False), evsim.LIF(tau_syn=5.0)

    def refused(error, match, *layers, **more):
        with pytest.raises(error, match=match):
            evsim.EventSequential(*layers, **{"duration": 10.0, **more})

    refused(ValueError, "there are 1 layers; they must be pairs", linear)
    refused(ValueError, "there are 0 layers", duration=1.0)
    refused(TypeError, r"layer 0 \(Flatten\): it is Flatten\(\); it must be a Linear", evsim.Flatten(), lif)
    refused(TypeError, r"layer 1 \(IAF\): .* it must be an evsim.LIF", linear, evsim.IAF())
    refused(ValueError, r"layer 0 \(Linear\): it has a bias; make it with bias=False", evsim.Linear(2, 3), lif)
    refused(ValueError, r"layer 2 \(Linear\): it takes 4 inputs; the neurons before it are 3",
            linear, lif, evsim.Linear(4, 1, bias=False), lif)  # fmt: skip
    refused(ValueError, r"layer 1 \(LIF\): tau_syn is None; it must be one time constant", linear, evsim.LIF())
    refused(ValueError, "t_ref is 2.0; in continuous time it must be 0", linear, evsim.LIF(tau_syn=5.0, t_ref=2.0))
    refused(ValueError, "i_bias is 1.0; in continuous", linear, evsim.LIF(tau_syn=5.0, i_bias=1.0))
    refused(ValueError, r"tau_mem has shape \(3,\)", linear, evsim.LIF(tau_syn=5.0, tau_mem=np.full(3, 2.0)))
    refused(ValueError, "tau_syn is -1.0; it must be above 0", linear, evsim.LIF(tau_syn=-1))
    refused(ValueError, "v_threshold is -70; it must be above", linear, evsim.LIF(tau_syn=5.0, v_threshold=-70.0))
    refused(ValueError, "duration is 0.0; it must be above 0 ms", linear, lif, duration=0.0)
    refused(ValueError, "output is 'count'; it must be 'first_spike' or 'mean_v'", linear, lif, output="count")
    refused(ValueError, "threads is 0", linear, lif, threads=0)


def test_bad_input_is_refused():
    net = network()
    with pytest.raises(ValueError, match=r"x has shape \(5, 20\); it must be \(K, B, 20\)"):
        net(np.zeros((5, 20)))
    for bad in (-1.0, 41.0, np.nan, -np.inf):
        x = spike_times()
        x[1, 2, 3] = bad
        with pytest.raises(ValueError, match=rf"x\[1, 2, 3\] is {bad} ms; times must be in \[0, 40\] ms, or inf"):
            net(x)
    with pytest.raises(TypeError, match="x is 'now'"):
        net("now")
    with pytest.raises(KeyError, match=r"unknown parameter '1\.weight'; known are 0\.weight, 2\."):
        net.load_parameters({"1.weight": np.zeros(3)})
    with pytest.raises(ValueError, match=r"weight has shape \(3,\); it must have shape \(30, 20\)"):
        net.load_parameters({"0.weight": np.zeros(3)})
    with pytest.raises(RuntimeError, match=r"layer 1 \(LIF\): its neurons spike thousands of times each in 100 ms"):
        one_neuron(1e12, tau_syn=5.0)(np.zeros((1, 1, 1)))
    backward = forward(net, spike_times())[1]
    with pytest.raises(ValueError, match=r"the gradient of the output has shape \(1, 4, 3\); it must be \(1, 5, 3\)"):
        backward(np.zeros((1, 4, 3)))
    for layer in (-1, 2, 7):
        with pytest.raises(ValueError, match=f"layer {layer} has no spikes to tell of; those that do are 1, 3, 5"):
            backward(np.zeros((1, 5, 3)), {layer: np.zeros((1, 5, 8))})
    with pytest.raises(ValueError, match="layer 2 has no spikes to tell of; those that do are -1, 1, 3, 5"):
        backward.spikes(2)
    with pytest.raises(ValueError, match=r"the gradient of layer 3 has shape \(1, 5, 30\); it must be \(1, 5, 8\)"):
        backward(np.zeros((1, 5, 3)), {3: np.zeros((1, 5, 30))})
