"""Losses against PyTorch's (tests/data/make_training_golden.py) and their gradients against finite differences."""

from pathlib import Path

import numpy as np
import pytest

import evsim

GOLDEN = np.load(Path(__file__).parent / "data" / "training.npz")
SPIKES, ANALOG = GOLDEN["losses/spikes"], GOLDEN["losses/analog"]
CLASSES, WANTED = GOLDEN["losses/classes"], GOLDEN["losses/wanted"]
T, B, N = SPIKES.shape
LIKE_TORCH = {
    "RateMSE": (evsim.RateMSE(), SPIKES, CLASSES),
    "RateMSE-wanted": (evsim.RateMSE(), SPIKES, WANTED),
    "RateCrossEntropy": (evsim.RateCrossEntropy(), SPIKES, CLASSES),
    "CountCrossEntropy": (evsim.CountCrossEntropy(), SPIKES, CLASSES),
    "MeanCrossEntropy": (evsim.MeanCrossEntropy(), ANALOG, CLASSES),
    "BCEWithLogits-mean": (evsim.BCEWithLogits(), ANALOG, WANTED),
    "BCEWithLogits-sum": (evsim.BCEWithLogits(over="sum"), ANALOG, CLASSES),
    "BCEWithLogits-one": (evsim.BCEWithLogits(over="sum"), ANALOG[..., :1], WANTED[:, 0]),
}
ALL = [
    evsim.RateMSE(),
    evsim.RateCrossEntropy(),
    evsim.CountCrossEntropy(),
    evsim.MeanCrossEntropy(),
    evsim.BCEWithLogits(),
    evsim.FirstSpike(),
]


def finite_differences(function, x, step=1e-5):
    """d function / d x, by central differences, in float64."""
    gradient = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        up, down = x.astype(np.float64), x.astype(np.float64)
        up[at] += step
        down[at] -= step
        gradient[at] = (function(up) - function(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_losses_are_torchs(name):
    loss, output, target = LIKE_TORCH[name]
    value, gradient = loss(output, target)
    assert isinstance(value, float)
    assert gradient.dtype == np.float32
    assert value == pytest.approx(float(GOLDEN[f"losses/{name}/value"]), rel=1e-12)
    np.testing.assert_allclose(gradient, GOLDEN[f"losses/{name}/gradient"], rtol=1e-6, atol=1e-9)
    value32, gradient32 = loss(output.astype(np.float32), target)
    assert value32 == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(gradient32, gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_gradients_are_finite_differences(name):
    loss, output, target = LIKE_TORCH[name]
    expected = finite_differences(lambda x: loss(x, target)[0], output)
    np.testing.assert_allclose(loss(output, target)[1], expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_first_spike_is_the_derivative_of_the_chance_of_silence(tau):
    """Against finite differences of the loss in t = sum_k prod_{j <= k} (1 - s_j), which takes any s in [0, 1]."""
    spikes = SPIKES.copy()
    spikes[:, 1, 2] = 0  # a unit without a spike
    spikes[:, 3] = 0  # a sample without one

    def relaxed(s):
        t = np.cumprod(1.0 - s, axis=0).sum(axis=0)
        odds = np.exp(-t / tau)
        return -np.mean(np.log(odds[np.arange(B), CLASSES] / odds.sum(axis=1)))

    value, gradient = evsim.FirstSpike(tau)(spikes, CLASSES)
    assert value == pytest.approx(relaxed(spikes), rel=1e-12)
    np.testing.assert_allclose(gradient, finite_differences(relaxed, spikes), rtol=1e-5, atol=1e-8)
    assert gradient[:, 3].any()


def test_first_spike_of_a_few_steps():
    spikes = np.zeros((6, 1, 2))
    spikes[[2, 4], 0, 0] = 1
    value, gradient = evsim.FirstSpike(tau=2.0)(spikes, [0])  # first spikes at 2, and none: 6
    share = 1 / (1 + np.exp(-2.0))
    assert value == pytest.approx(-np.log(share))
    pull = (1 - share) / 2.0
    np.testing.assert_allclose(gradient[:, 0, 0], -pull * np.array([2, 1, 2, 0, 0, 0]), rtol=1e-6)
    np.testing.assert_allclose(gradient[:, 0, 1], pull * np.array([6, 5, 4, 3, 2, 1]), rtol=1e-6)


def test_several_spikes_in_a_step_are_one_first_spike():
    once, twice = evsim.FirstSpike()(SPIKES, CLASSES), evsim.FirstSpike()(2 * SPIKES, CLASSES)
    assert once[0] == twice[0]
    np.testing.assert_array_equal(once[1], twice[1])


def test_regulariser():
    rates = SPIKES.mean(axis=(0, 1))
    low, high = np.sort(rates)[[1, 2]]
    regulariser = evsim.RateRegulariser(low, high, strength=3.0)
    value, gradient = regulariser(SPIKES)
    assert value == pytest.approx(3.0 * np.sum([(low - rates.min()) ** 2, (rates.max() - high) ** 2]) / N)
    expected = finite_differences(lambda x: regulariser(x)[0], SPIKES)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)
    assert gradient.dtype == np.float32
    assert gradient[0, 0, rates.argmin()] < 0.0 < gradient[0, 0, rates.argmax()]
    assert evsim.RateRegulariser(0.0, np.inf)(SPIKES)[0] == 0.0
    assert regulariser(SPIKES.reshape(T, B, 2, 2))[1].shape == (T, B, 2, 2)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_losses_and_gradients_stay_finite(loss):
    """Where exp of the output would overflow."""
    output = np.zeros((4, 2, 3), np.float32)
    output[:, 0, 0], output[:, 1] = 4000.0, [0.0, 1000.0, 1000.0]
    for target in ([0, 1], [1, 0]):
        value, gradient = loss(output, target)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    if not isinstance(loss, evsim.FirstSpike):
        assert np.isfinite(loss(-output, [0, 1])[0])


def test_cross_entropy_of_hopeless_odds():
    output = np.zeros((4, 1, 2))
    output[:, 0, 0] = 1000.0
    value, gradient = evsim.MeanCrossEntropy()(output, [1])
    assert value == 1000.0
    np.testing.assert_allclose(gradient[:, 0], [[0.25, -0.25]] * 4)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_predictions(loss):
    output = np.zeros((4, 3, 3), np.uint8)
    output[1:, 0, 2] = 1  # more often
    output[0, 1, 0] = output[0, 1, 1] = 1  # a tie
    predicted = loss.predict(output)
    assert predicted.dtype == np.int64
    assert predicted.tolist() == [2, 0, -1]


def test_predictions_of_one_unit():
    output = np.array([[[2.0], [0.5]], [[-1.0], [-1.5]]])
    assert evsim.BCEWithLogits().predict(output).tolist() == [1, 0]


def test_the_first_to_spike_is_predicted_before_the_one_that_spikes_most():
    output = np.zeros((5, 1, 2))
    output[1:, 0, 0] = output[0, 0, 1] = 1
    assert evsim.FirstSpike().predict(output).tolist() == [1]
    assert evsim.RateCrossEntropy().predict(output).tolist() == [0]


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_bad_targets_are_refused_with_value_and_range(loss):
    name = type(loss).__name__
    for bad in (4, -1):
        with pytest.raises(ValueError, match=rf"{name}: target\[1\] is {bad}; indices must be in \[0, 4\)"):
            loss(SPIKES, [0, bad, 0, 0, 0])
    with pytest.raises(ValueError, match=f"{name}: target has 3 classes; .* each of 5 samples"):
        loss(SPIKES, [0, 1, 2])
    with pytest.raises(TypeError, match=f"{name}: target has dtype float64"):
        loss(SPIKES, [0.0, 1.0, 2.0, 3.0, 0.5])
    with pytest.raises(ValueError, match=rf"{name}: output has shape \(5, 4\)"):
        loss(SPIKES[0], CLASSES)


def test_bad_values_are_refused():
    output = ANALOG.copy()
    output[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match=r"RateMSE: the mean over the steps\[3, 1\] is nan"):
        evsim.RateMSE()(output, CLASSES)
    wanted = WANTED.copy()
    wanted[2, 1] = 1.5
    with pytest.raises(ValueError, match=r"BCEWithLogits: target\[2, 1\] is 1.5; it must be in \[0, 1\]"):
        evsim.BCEWithLogits()(ANALOG, wanted)
    with pytest.raises(ValueError, match=r"RateMSE: target has shape \(5, 3\)"):
        evsim.RateMSE()(SPIKES, WANTED[:, :3])
    with pytest.raises(ValueError, match="over is 'max'"):
        evsim.BCEWithLogits(over="max")
    with pytest.raises(ValueError, match="tau is 0"):
        evsim.FirstSpike(tau=0)
    with pytest.raises(ValueError, match=r"high is 0\.1; it must be at least 0\.2"):
        evsim.RateRegulariser(0.2, 0.1)
    with pytest.raises(ValueError, match=r"spikes has shape \(7, 5\)"):
        evsim.RateRegulariser(0.2, 0.3)(SPIKES[..., 0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, bool, np.uint8, np.int64])
def test_outputs_of_any_numbers_are_taken(dtype):
    output = (np.random.default_rng(7).random((6, 4, 3)) < 0.5).astype(dtype)
    value, gradient = evsim.CountCrossEntropy()(output, [0, 2, 1, 0])
    wanted, by_output = evsim.CountCrossEntropy()(output.astype(np.float64), [0, 2, 1, 0])
    assert value == wanted
    assert (gradient == by_output).all()
