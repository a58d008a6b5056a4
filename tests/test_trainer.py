"""Training: the plain loop, the Trainer, interrupt and resume; any number of threads gives the same weights."""

import signal

import h5py
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


def test_ctrl_c_waits_for_the_end_of_a_batch(tmp_path, monkeypatch):
    """A batch is learned as a whole or not at all, so that a resumed run is the uninterrupted one."""
    whole = network()
    expected = trainer(whole).fit(*points(), epochs=2, batch_size=20)
    net, file = network(), tmp_path / "run.h5"
    first = trainer(net)
    update, calls = first.optimizer.update, []

    def interrupted(*arguments):
        calls.append(None)
        if len(calls) == 14:
            signal.raise_signal(signal.SIGINT)
        return update(*arguments)

    monkeypatch.setattr(first.optimizer, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.fit(*points(), epochs=2, batch_size=20, checkpoint=file)
    assert len(calls) == 14
    other = network()
    second = trainer(other)
    second.resume(file)
    with pytest.raises(ValueError, match=r"batch_size is 10 and there are 200 samples; the epoch .* has seen 80 in 4"):
        second.fit(*points(), epochs=2, batch_size=10)
    assert second.fit(*points(), epochs=2, batch_size=20) == expected
    for name, value in whole.parameters().items():
        np.testing.assert_array_equal(other.parameters()[name], value)


def test_a_run_interrupted_while_it_evaluates(tmp_path, monkeypatch):
    whole = network()
    data = {"validation": points(20, 2), "batch_size": 30, "epochs": 2}
    expected = trainer(whole).fit(*points(), **data)
    first = trainer(network())

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(first, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.fit(*points(), checkpoint=tmp_path / "run.h5", **data)
    second = trainer(network())
    second.resume(tmp_path / "run.h5")
    assert second.fit(*points(), **data) == expected


def test_history_is_in_the_checkpoint(tmp_path):
    one, validated = trainer(network()), {"validation_loss", "validation_accuracy"}
    history = one.fit(*points(40), epochs=2, validation=points(20, 2), checkpoint=tmp_path / "run.h5")
    assert set(history) == {"loss", "accuracy", "rate.1", "silent.1"} | validated
    with h5py.File(tmp_path / "run.h5") as file:
        for name, values in history.items():
            np.testing.assert_array_equal(file[f"history/{name}"][()], values)


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


SILENT = "layer 1 (SpikingNeuron): its neurons spike 0 times a step, too seldom to learn; raise the weights before it"
SATURATED = "layer 1 (SpikingNeuron): its neurons spike 1 times a step, nearly always; lower the weights before it"
IDLE = "layer 1 (SpikingNeuron): 90 % of its neurons do not spike in a batch; raise the weights before it"


@pytest.mark.parametrize(("bias", "n", "message"), [(0.0, 10, SILENT), (9.0, 10, SATURATED), (0.6, 1, IDLE)])
def test_silent_and_saturated_layers_are_told(bias, n, message, monkeypatch, capsys):
    net = network()
    net[0].weight, net[0].bias = np.full((10, 2), 1e-3), np.where(np.arange(10) < n, bias, 0.0)
    monkeypatch.setattr("evsim.training.trainer.IDLE", 0.85)
    one = trainer(net)
    one.optimizer.lr = 0.0
    one.fit(*points(20), epochs=1, batch_size=20)
    (line,) = one.diagnose()
    assert message in line
    assert message in capsys.readouterr().err


def test_layers_are_looked_at_before_the_first_epoch_is_over(monkeypatch, capsys):
    monkeypatch.setattr("evsim.training.trainer.FIRST_LOOK", 2)
    net = network()
    net[0].weight, net[0].bias = np.full((10, 2), 1e-3), np.zeros(10)
    one = trainer(net)
    one.optimizer.lr = 0.0
    one.fit(*points(60), epochs=1, batch_size=20)
    assert capsys.readouterr().err.count(SILENT) == 2  # then, and at the end


def test_several_spikes_a_step_are_not_too_many():
    net = evsim.Sequential(evsim.Linear(2, 3), evsim.sinabs.IAF(), evsim.Linear(3, 1), evsim.sinabs.ExpLeak(5.0))
    net[0].weight, net[0].bias = np.zeros((3, 2)), np.full(3, 2.0)
    one = trainer(net)
    one.fit(*points(20), epochs=1, batch_size=20)
    assert one.history["rate.1"][0] > 1.0
    assert "rate.3" not in one.history  # v, not spikes
    assert one.diagnose() == []


def test_what_cannot_be_trained_is_refused():
    net = evsim.Sequential(evsim.Linear(2, 3), evsim.LIF(t_ref=2.0))
    with pytest.raises(NotImplementedError, match=r"layer 1 \(LIF\): neurons with a refractory time"):
        forward(net, np.ones((3, 1, 2)))
    with pytest.raises(ValueError, match="3 samples and 2 targets"):
        trainer(network()).fit(np.zeros((3, 2)), np.zeros((2, 1)), epochs=1)
