"""Gradients of a run that is kept in parts are those of one kept as a whole, bit for bit."""

import numpy as np
import pytest

import evsim
from evsim.training import forward

T, B = 37, 9
ATAN = evsim.ATan()


def dense(seed=0, **options):
    lif = evsim.spikingjelly.LIFNode(v_threshold=0.2, surrogate=ATAN, **options)
    return evsim.Sequential(evsim.Linear(20, 30), lif, evsim.Linear(30, 5), evsim.sinabs.ExpLeak(5.0), seed=seed)


def learning():
    """All kinds of neurons that learn themselves, some of them many, some recurrent."""
    tau = np.linspace(4.0, 9.0, 30)
    many = evsim.sinabs.LIF(tau_mem=tau, tau_syn=3.0, norm_input=False, learn=("tau_mem", "tau_syn", "spike_threshold"))
    return evsim.Sequential(
        evsim.Linear(20, 30),
        many,
        evsim.Recurrent(evsim.snntorch.Leaky(0.8, learn=("beta", "threshold")), evsim.Linear(30, 30)),
        evsim.Linear(30, 12),
        evsim.LIF(tau_mem=6.0, tau_syn=3.0, v_threshold=0.1, learn=("tau_mem", "tau_syn")),
        seed=3,
    )


def images():
    return evsim.Sequential(
        evsim.Conv2d(1, 4, 3, padding=1),
        evsim.sinabs.IAF(min_v_mem=-1.0),
        evsim.MaxPool2d(2),
        evsim.Conv2d(4, 6, 3, padding=1),
        evsim.spikingjelly.ParametricLIFNode(v_threshold=0.2, v_reset=None),
        evsim.AvgPool2d(2),
        evsim.Flatten(),
        evsim.Linear(24, 3),
        evsim.SpikingNeuron(threshold=0.5),
        seed=4,
    )


def spikes(shape, rate=0.4):
    return (np.random.default_rng(1).random(shape) < rate).astype(np.uint8)


X = spikes((T, B, 20))
CASES = {
    "soft": (lambda: dense(v_reset=None), X),
    "analog": (lambda: dense(detach_reset=True), np.random.default_rng(2).normal(size=X.shape).astype(np.float32)),
    "events": (dense, evsim.EventInput.from_dense(X)),
    "poisson": (dense, evsim.encoders.poisson(np.full((B, 20), 0.4), T, seed=5)),
    "repeated": (dense, evsim.encoders.repeat(np.full((B, 20), 0.7), T)),
    "learning": (learning, spikes((T, B, 20), 0.8)),
    "images": (images, spikes((T, B, 1, 8, 8))),
}


def gradients(make, x, threads=1, **options):
    net = make()
    net.threads = threads
    output, backward = forward(net, x, input_gradient=True, **options)
    c = np.random.default_rng(7).normal(size=output.shape).astype(np.float32)
    return output, backward(c), backward.rates()


@pytest.mark.parametrize("case", CASES)
def test_the_gradients_are_the_same_bits(case):
    make, x = CASES[case]
    output, whole, rates = gradients(make, x)
    assert all(np.abs(gradient).max() > 0.0 for gradient in whole.values())
    assert all(rate.max() > 0.0 for rate in rates.values())
    for every, threads in ((1, 1), (16, 3), (20, 1), (100, 2)):
        part_output, part, part_rates = gradients(make, x, threads, checkpoint_every=every)
        np.testing.assert_array_equal(part_output, output)
        assert part.keys() == whole.keys()
        for name, gradient in part.items():
            np.testing.assert_array_equal(gradient, whole[name], err_msg=f"{name}, every {every} steps")
        for layer, rate in part_rates.items():
            np.testing.assert_array_equal(rate, rates[layer])


def test_a_state_that_goes_on():
    whole, parts = learning(), learning()
    x = spikes((2 * T, B, 20), 0.8)
    results = []
    for net, options in ((whole, {}), (parts, {"checkpoint_every": 4})):
        forward(net, x[:T])
        output, backward = forward(net, x[T:], **options)
        results.append((output, backward(np.ones(output.shape, np.float32))))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        np.testing.assert_array_equal(results[1][1][name], gradient)


def test_gradients_of_hidden_layers():
    x, penalty = X, np.random.default_rng(3).normal(size=(T, B, 30)).astype(np.float32)
    made = []
    for options in ({}, {"checkpoint_every": 3}):
        output, backward = forward(dense(), x, **options)
        made.append(backward(np.zeros(output.shape, np.float32), {1: penalty}))
    assert made[0]["0.weight"].any()
    np.testing.assert_array_equal(made[0]["0.weight"], made[1]["0.weight"])


def test_rates_are_those_of_a_record():
    net = images()
    records = {index: net.record(index, "spikes") for index in (1, 4, 8)}
    net(CASES["images"][1])
    _, _, rates = gradients(images, CASES["images"][1], checkpoint_every=2)
    assert rates.keys() == records.keys()
    for index, record in records.items():
        np.testing.assert_allclose(rates[index], record.spikes.mean(axis=(0, 1)), rtol=1e-6)


def test_a_checkpointed_trainer_learns_the_same():
    x = np.random.default_rng(5).random((40, 20)).astype(np.float32)
    y = np.arange(40) % 5
    results = []
    for every in (None, 4):
        net = dense()
        trainer = evsim.Trainer(
            net,
            evsim.MeanCrossEntropy(),
            evsim.Adam(lr=0.01),
            encoder=lambda x, first: evsim.encoders.poisson(x, T, seed=1, first_sample=first),
            regularisers={1: evsim.RateRegulariser(0.3, 0.4, 10.0)},
            checkpoint_every=every,
        )
        results.append((trainer.fit(x, y, epochs=2, batch_size=16), net.parameters()))
    assert results[0][0] == results[1][0]
    for name, value in results[0][1].items():
        np.testing.assert_array_equal(results[1][1][name], value)


def test_what_cannot_be_is_refused():
    net = dense()
    output, backward = forward(net, X, checkpoint_every=3)
    with pytest.raises(ValueError, match="with checkpoint_every the frames are not kept"):
        backward.frames(1)
    net[0].weight = np.zeros((30, 20))
    with pytest.raises(RuntimeError, match="weights have changed since forward"):
        backward(output)
    with pytest.raises(ValueError, match="checkpoint_every is 0; it must be a whole number in"):
        forward(net, X, checkpoint_every=0)
    with pytest.raises(ValueError, match="Trainer: checkpoint_every is -1"):
        evsim.Trainer(net, evsim.RateMSE(), evsim.SGD(), checkpoint_every=-1)
