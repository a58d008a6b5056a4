"""Ordinary networks: layers against windows taken one by one, gradients against differences, learning."""

import numpy as np
import pytest
from layer_reference import convolve, pool

import evsim
from evsim.training.analog import loss_gradients


def test_convolutions_and_pools_are_those_of_the_dense_reference():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 4, 9, 7)).astype(np.float32)
    w, b = rng.normal(size=(6, 2, 3, 2)), rng.normal(size=6)
    more = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
    layer = evsim.Conv2d(4, 6, (3, 2), bias=b, weight=w, **more)
    np.testing.assert_allclose(evsim.AnalogNetwork(layer)(x), convolve(x, w, b, **more), atol=1e-5)
    for kind, how in ((evsim.AvgPool2d, np.mean), (evsim.SumPool2d, np.sum), (evsim.MaxPool2d, np.max)):
        given = ((3, 2), (2, 1), (1, 0))
        np.testing.assert_allclose(evsim.AnalogNetwork(kind(*given))(x), pool(x, how, *given), atol=1e-5)
    rows = x[:, :, 0]
    layer = evsim.Conv1d(4, 6, 3, 2, 1, bias=b, weight=rng.normal(size=(6, 4, 3)))
    expected = convolve(rows[:, :, None], layer.weight[:, :, None], b, (1, 2), (0, 1))[:, :, 0]
    np.testing.assert_allclose(evsim.AnalogNetwork(layer)(rows), expected, atol=1e-5)


def test_batch_norm_is_folded_and_dropout_left_out():
    rng = np.random.default_rng(2)
    mean, variance, weight, bias = rng.normal(size=4), rng.uniform(0.5, 2, 4), rng.normal(size=4), rng.normal(size=4)
    conv = evsim.Conv2d(2, 4, 3, weight=rng.normal(size=(4, 2, 3, 3)), bias=rng.normal(size=4))
    norm = evsim.BatchNorm(mean, variance, weight, bias, eps=1e-3)
    ann = evsim.AnalogNetwork(conv, norm, evsim.Dropout(), evsim.ReLU(), names=["a", "b", "c", "d"])
    assert ann.names == ["a", "d"]
    x = rng.normal(size=(3, 2, 6, 6))
    y = convolve(x, conv.weight, conv.bias)
    normed = (y - mean[:, None, None]) / np.sqrt(variance + 1e-3)[:, None, None]
    expected = np.maximum(normed * weight[:, None, None] + bias[:, None, None], 0.0)
    np.testing.assert_allclose(ann(x), expected, atol=1e-5)


def small(seed=1):
    return evsim.AnalogNetwork(
        evsim.Conv2d(2, 4, 3, padding=1, groups=2, stride=(1, 2), dilation=(2, 1)),
        evsim.ReLU(),
        evsim.AvgPool2d(2, 1, 1),
        evsim.Conv2d(4, 3, 2),
        evsim.MaxPool2d(2, 1),
        evsim.ReLU(),
        evsim.SumPool2d((2, 1)),
        evsim.Flatten(),
        evsim.Linear(9, 5),
        seed=seed,
    )


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(3)
    ann = small()
    x, y = rng.normal(size=(6, 2, 6, 7)).astype(np.float32), rng.integers(0, 5, 6)
    _, gradients = loss_gradients(ann, x, y)
    parameters = ann.parameters()
    assert gradients.keys() == parameters.keys()
    for name, value in parameters.items():
        direction = rng.normal(size=value.shape)
        losses = []
        for sign in (1, -1):
            ann.load_parameters({name: value + sign * 3e-4 * direction})
            losses.append(loss_gradients(ann, x, y)[0])
        ann.load_parameters({name: value})
        assert (losses[0] - losses[1]) / 6e-4 == pytest.approx(float((gradients[name] * direction).sum()), rel=0.01)


def test_a_network_learns_and_seeds_are_kept():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 2)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(int)
    weights = []
    for _ in range(2):
        ann = evsim.AnalogNetwork(evsim.Linear(2, 16), evsim.ReLU(), evsim.Linear(16, 2), seed=7)
        losses = evsim.training.fit_analog(ann, x, y, 8, evsim.Adam(lr=0.02), batch_size=20, seed=1)
        weights.append(ann.parameters()["0.weight"])
        assert losses[-1] < 0.3 * losses[0]
        assert (ann(x).argmax(axis=1) == y).mean() > 0.95
    np.testing.assert_array_equal(*weights)


def test_bad_input_is_refused():
    ann = evsim.AnalogNetwork(evsim.Linear(2, 3), evsim.ReLU())
    with pytest.raises(ValueError, match=r"0 \(Linear\): its input has shape \(5,\)"):
        ann(np.zeros((1, 5)))
    with pytest.raises(KeyError, match=r"AnalogNetwork: unknown parameter '3\.weight'; known are 0\.weight, 0\.bias"):
        ann.load_parameters({"3.weight": 1.0})
    with pytest.raises(ValueError, match=r"there are 2 samples, y has shape \(3,\)"):
        evsim.training.fit_analog(ann, np.zeros((2, 2)), [0, 1, 2], 1, evsim.SGD(0.1))
    with pytest.raises(ValueError, match="BatchNorm: variance"):
        evsim.BatchNorm([0.0], [-1.0])
    with pytest.raises(ValueError, match=r"BatchNorm: mean has shape \(\)"):
        evsim.BatchNorm(0.0, 1.0)
