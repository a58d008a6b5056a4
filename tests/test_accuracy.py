"""Accuracy over time: what it says of a network is what running it for so many steps says."""

import numpy as np
import pytest

import evsim


def network():
    """Three classes by which third of 12 inputs is the brightest, and noise in the weights."""
    rng = np.random.default_rng(1)
    weight = np.kron(np.eye(3), np.full((2, 4), 0.2)) + rng.normal(0.0, 0.05, (6, 12))
    readout = np.kron(np.eye(3), np.ones((1, 2))) + rng.normal(0.0, 0.1, (3, 6))
    return evsim.Sequential(
        evsim.Linear(12, 6, bias=False, weight=weight),
        evsim.sinabs.IAF(),
        evsim.Linear(6, 3, bias=False, weight=readout),
        backend="cpu",
        threads=1,
    )


def samples(n=70):
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, n)
    x = 0.25 * rng.random((n, 12))
    for sample, label in enumerate(y):
        x[sample, 4 * label : 4 * label + 4] += 0.25
    return x, y


@pytest.mark.parametrize("batch_size", [7, 64])
def test_each_step_is_a_run_of_so_many_steps(batch_size):
    net, (x, y) = network(), samples()
    table = evsim.accuracy_over_time(net, x, y, 12, "poisson", seed=4, batch_size=batch_size)
    assert table.accuracy[-1] > table.accuracy[0]
    for n in (1, 3, 7, 12):
        given = evsim.encoders.poisson(x, n, seed=4)
        net.reset()
        out = net(given).sum(axis=0)
        right = (out.argmax(axis=1) == y) & out.any(axis=1)
        assert table.accuracy[n - 1] == pytest.approx(right.mean())
        done = evsim.count_operations(net, given)
        assert table.spikes[n - 1] == pytest.approx(done.spikes.sum() / len(x))
        assert table.synaptic_operations[n - 1] == pytest.approx(done.synaptic.sum() / len(x))
        assert table.joules[n - 1] == pytest.approx(done.energy().mean())
    np.testing.assert_allclose(table.layer_spikes, done.spikes.sum(axis=(0, 1)) / len(x))
    np.testing.assert_allclose(table.layer_operations, done.synaptic.sum(axis=(0, 1)) / len(x))
    assert table.n_samples == len(x)
    assert str(table).splitlines()[-1].split()[0] == "12"


def test_memory_is_bounded_by_the_samples_at_a_time(monkeypatch):
    net, (x, y) = network(), samples()
    expected = evsim.accuracy_over_time(net, x, y, 12, "poisson", margins=(1.0,))
    monkeypatch.setattr("evsim.layer_frames.FRAME_BYTES", 1500)  # two samples
    table = evsim.accuracy_over_time(net, x, y, 12, "poisson", margins=(1.0,))
    np.testing.assert_array_equal(table.accuracy, expected.accuracy)
    np.testing.assert_array_equal(table.synaptic_operations, expected.synaptic_operations)
    assert table.exits == expected.exits


def test_direct_input_multiplies_in_the_first_layer():
    net, (x, y) = network(), samples()
    table = evsim.accuracy_over_time(net, x, y, 10)
    np.testing.assert_allclose(table.multiply_accumulates, 72 * np.arange(1, 11))
    same = evsim.accuracy_over_time(net, x, y, 10, lambda batch, first: evsim.encoders.repeat(batch, 10))
    np.testing.assert_array_equal(table.accuracy, same.accuracy)


def test_early_exit_stops_where_one_class_leads():
    net, (x, y) = network(), samples()
    margins = (0.0, 0.5, 3.0, 1e6)
    table = evsim.accuracy_over_time(net, x, y, 20, "poisson", seed=4, margins=margins, batch_size=9)
    sums = np.cumsum(net(evsim.encoders.poisson(x, 20, seed=4)), axis=0, dtype=np.float64)
    done = evsim.count_operations(net, evsim.encoders.poisson(x, 20, seed=4)).synaptic.sum(axis=2)
    for exit, margin in zip(table.exits, margins, strict=True):
        steps, right, operations = [], [], []
        for sample, label in enumerate(y):
            for t in range(20):
                first, second = np.sort(sums[t, sample])[:-3:-1]
                if (first - second >= margin and sums[t, sample].any()) or t == 19:
                    break
            steps.append(t + 1)
            right.append(sums[t, sample].argmax() == label and sums[t, sample].any())
            operations.append(done[: t + 1, sample].sum())
        assert exit.margin == margin
        assert exit.steps == pytest.approx(np.mean(steps))
        assert exit.accuracy == pytest.approx(np.mean(right))
        assert exit.operations == pytest.approx(np.mean(operations))
    assert table.exits[0].steps < table.exits[1].steps < table.exits[2].steps < 20
    assert table.exits[3].steps == 20
    assert table.exits[3].accuracy == pytest.approx(table.accuracy[-1])


@pytest.mark.parametrize("margin", [0.0, 0.5, 3.0, 1e6])
def test_predictions_are_made_as_soon_as_the_table_says(margin):
    net, (x, y) = network(), samples()
    table = evsim.accuracy_over_time(net, x, y, 21, "poisson", seed=4, margins=(margin,))
    given = evsim.encoders.poisson(x, 21, seed=4)
    for each in (given, given.events(), np.asarray(given)):
        classes, steps = evsim.predict_early(net, each, margin)
        assert steps.mean() == pytest.approx(table.exits[0].steps)
        assert (classes == y).mean() == pytest.approx(table.exits[0].accuracy)


def test_an_early_exit_saves_steps(monkeypatch):
    net, (x, _) = network(), samples()
    seen = []
    call = evsim.Sequential.__call__

    def counted(self, given):
        seen.append(len(given))
        return call(self, given)

    monkeypatch.setattr(evsim.Sequential, "__call__", counted)
    classes, steps = evsim.predict_early(net, evsim.encoders.repeat(x[:5], 400), 1.0)
    assert sum(seen) == -(-steps.max() // 8) * 8 < 400
    nothing, all_steps = evsim.predict_early(net, np.zeros((20, 2, 12)), 0.0)
    assert nothing.tolist() == [-1, -1]
    assert all_steps.tolist() == [20, 20]
    with pytest.raises(ValueError, match=r"margin is -1\.0; it must be at least 0"):
        evsim.predict_early(net, np.zeros((20, 2, 12)), -1.0)


def test_a_sample_without_output_is_wrong():
    net = evsim.Sequential(evsim.Linear(2, 2, weight=np.eye(2), bias=False), evsim.sinabs.IAF(), backend="cpu")
    table = evsim.accuracy_over_time(net, np.array([[0.5, 0.0], [0.0, 0.0]]), [0, 0], 4)
    np.testing.assert_array_equal(table.accuracy, [0.0, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [0, 1]}, r"there are 70 samples, y has shape \(2,\)"),
        ({"encoder": "rate"}, "encoder is 'rate'; it must be 'direct' or 'poisson', or callable"),
        ({"encoder": lambda x, first: evsim.encoders.repeat(x, 3)}, "encoder gives 3 steps; it must give n_steps = 5"),
        ({"n_steps": 0}, "n_steps is 0"),
        ({"margins": (-1.0,)}, "margins is -1.0; it must be at least 0"),
    ],
)
def test_bad_input_is_refused(change, message):
    x, y = samples()
    with pytest.raises(ValueError, match=message):
        evsim.accuracy_over_time(network(), **{"x": x, "y": y, "n_steps": 5, **change})
