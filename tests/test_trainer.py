"""Training: the plain loop, the Trainer, interrupt and resume; any number of threads gives the same weights."""

import numpy as np
import pytest

import evsim
from evsim.training import forward


def points(n=200, seed=1):
    x = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    return x, (x.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def network(threads=1):
    return evsim.Sequential(evsim.Linear(2, 10), evsim.SpikingNeuron(), evsim.Linear(10, 1), seed=1, threads=threads)


def trainer(net, **more):
    def encode(x, _first):
        return evsim.encoders.repeat(x, 8)

    return evsim.Trainer(net, evsim.BCEWithLogits(), evsim.Adam(lr=0.02), encoder=encode, seed=3, **more)


def weights(net):
    return {name: value.copy() for name, value in net.parameters().items()}


def test_two_classes_are_learned_in_both_layers():
    net = network()
    before = weights(net)
    history = trainer(net).fit(*points(), epochs=12, batch_size=10, validation=points(seed=2))
    assert history["validation_accuracy"][-1] > 0.93
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert len(history["rate.1"]) == 12
    assert all((before[name] != value).any() for name, value in net.parameters().items())


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_learns_the_same(threads):
    one, several = network(1), network(threads)
    for net in (one, several):
        trainer(net).fit(*points(), epochs=2, batch_size=20)
    for name, value in one.parameters().items():
        np.testing.assert_array_equal(several.parameters()[name], value)


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    whole = network()
    expected = trainer(whole).fit(*points(), epochs=3, batch_size=20)
    file = tmp_path / "run.h5"
    net = network()
    first = trainer(net)
    step, done = first._step, []

    def interrupted(*arguments):
        if len(done) == 13:
            raise KeyboardInterrupt
        done.append(step(*arguments))

    monkeypatch.setattr(first, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.fit(*points(), epochs=3, batch_size=20, checkpoint=file)
    other = network()
    second = trainer(other)
    second.resume(file)
    history = second.fit(*points(), epochs=3, batch_size=20)
    assert history == expected
    for name, value in whole.parameters().items():
        np.testing.assert_array_equal(other.parameters()[name], value)
    with pytest.raises(ValueError, match="was made with seed 3, this Trainer has 4"):
        evsim.Trainer(net, evsim.BCEWithLogits(), evsim.Adam(lr=0.02), seed=4).resume(file)


def test_the_plain_loop():
    net, loss, optimizer = network(), evsim.BCEWithLogits(), evsim.SGD(lr=0.5)
    x, y = points(50)
    values = []
    for _ in range(20):
        net.reset()
        output, backward = forward(net, evsim.encoders.repeat(x, 8))
        value, gradient = loss(output, y)
        net.load_parameters(optimizer.update(net.parameters(), backward(gradient)))
        values.append(value)
    assert values[-1] < 0.7 * values[0]


def test_silent_layers_are_told():
    net = network()
    net[0].weight, net[0].bias = np.full((10, 2), 1e-3), np.zeros(10)
    one = trainer(net)
    one.fit(*points(20), epochs=1, batch_size=20)
    (line,) = one.diagnose()
    assert "layer 1 (SpikingNeuron): its neurons spike 0 times a step, too seldom to learn; raise the weights" in line


def test_what_cannot_be_trained_is_refused():
    net = evsim.Sequential(evsim.Linear(2, 3), evsim.LIF(t_ref=2.0))
    with pytest.raises(NotImplementedError, match=r"layer 1 \(LIF\): neurons with a refractory time"):
        forward(net, np.ones((3, 1, 2)))
    with pytest.raises(ValueError, match="3 samples and 2 targets"):
        trainer(network()).fit(np.zeros((3, 2)), np.zeros((2, 1)), epochs=1)
