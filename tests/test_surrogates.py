"""Surrogate derivatives against those of SpikingJelly, sinabs and snnTorch (tests/data/make_training_golden.py)."""

import json
import math
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import numpy as np
import pytest

import evsim
from evsim.model import BLOCK, JUMP, V_THRESHOLD
from evsim.surrogates import FromFunction
from evsim.training.neuron_kernels import Given, Kind, NeuronsBack, loop_of

GOLDEN = np.load(Path(__file__).parent / "data" / "training.npz")
CASES = json.loads(str(GOLDEN["surrogates"]))
ALL = [
    evsim.ATan(),
    evsim.FastSigmoid(),
    evsim.PiecewiseQuadratic(),
    evsim.Sigmoid(),
    evsim.SingleExponential(),
    evsim.SoftSign(),
    evsim.StraightThrough(),
    evsim.Triangle(),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['class']}-{case['kwargs']}" for case in CASES])
def test_derivatives_are_the_peers(case):
    surrogate = getattr(evsim, case["class"])(**case["kwargs"])
    for v_threshold, expected in zip(GOLDEN["surrogate/v_threshold"], GOLDEN[case["key"]], strict=True):
        given = surrogate.derivative(GOLDEN["surrogate/h"], v_threshold)
        np.testing.assert_allclose(given, expected, rtol=2e-5, atol=1e-6 * np.abs(expected).max())


def test_defaults_are_the_peers():
    for case in CASES:
        if case["key"].endswith("/0"):
            assert getattr(evsim, case["class"])() == getattr(evsim, case["class"])(**case["kwargs"])


def test_triangle():
    h = np.array([-0.1, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0])
    given = evsim.Triangle(scale=0.3).derivative(h, 0.5)
    np.testing.assert_allclose(given, [0.0, 0.0, 0.15, 0.3, 0.15, 0.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("surrogate", ALL, ids=str)
def test_derivatives_keep_the_shape_and_are_float32(surrogate):
    h = np.random.default_rng(1).normal(1.0, 1.0, (5, 2, 3))
    thresholds = np.array([0.5, 1.0, 2.0])
    given = surrogate.derivative(h, thresholds)
    assert given.dtype == np.float32
    assert given.shape == h.shape
    for i, v_threshold in enumerate(thresholds):
        np.testing.assert_array_equal(given[..., i], surrogate.derivative(h[..., i], v_threshold))
    assert surrogate.derivative(1.0, 1.0).shape == ()


@pytest.mark.parametrize("surrogate", ALL, ids=str)
def test_derivatives_far_from_the_threshold_are_finite(surrogate):
    given = surrogate.derivative(np.array([-1e30, 1e30, -100.0, 100.0]), 1.0)
    assert np.isfinite(given).all()
    assert (given >= 0.0).all()


def test_surrogates_are_frozen_and_refuse_bad_parameters():
    with pytest.raises(FrozenInstanceError):
        evsim.ATan().alpha = 3.0
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"ATan: alpha is {bad}"):
            evsim.ATan(alpha=bad)
    with pytest.raises(ValueError, match="SingleExponential: grad_width is 0"):
        evsim.SingleExponential(grad_width=0)


def test_a_surrogate_from_a_scalar_function():
    def cut(x):
        return math.exp(-x * x) if x < 0.5 else 0.0

    surrogate = evsim.Surrogate.from_function(cut)
    h = np.array([[0.2, 1.0, 1.4], [1.6, 2.0, -3.0]])
    given = surrogate.derivative(h, 1.0)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, np.vectorize(cut, otypes=[float])(h - 1.0), rtol=1e-6)
    with pytest.raises(TypeError, match="cannot compile"):
        evsim.Surrogate.from_function(lambda x: {}.format(x))


def test_a_surrogate_of_ones_own():
    @dataclass(frozen=True)
    class Gaussian(evsim.Surrogate):
        width: float = 0.5

        def curve(self, x, v_threshold):
            return np.exp(-((x / (self.width * v_threshold)) ** 2))

    np.testing.assert_allclose(Gaussian().derivative([2.0, 3.0], 2.0), [1.0, math.exp(-1.0)], rtol=1e-6)


@dataclass(frozen=True)
class Rectangle(evsim.Surrogate):
    """A curve that is of arrays only."""

    width: float = 0.5

    def curve(self, x, v_threshold):
        return np.where(np.abs(x) < self.width, 1 / (2 * self.width), 0.0)


SLOPES = [
    evsim.ATan(3.0),
    evsim.Sigmoid(),
    evsim.PiecewiseQuadratic(0.7),
    evsim.FastSigmoid(),
    evsim.SoftSign(),
    evsim.SingleExponential(0.1, 2.0),
    evsim.Triangle(),
    evsim.StraightThrough(),
    evsim.Surrogate.from_function(lambda x: math.exp(-x * x)),
    Rectangle(),
]


@pytest.mark.parametrize("surrogate", SLOPES, ids=lambda surrogate: type(surrogate).__name__)
@pytest.mark.parametrize("each", [False, True])
def test_training_takes_the_derivative_of_all_neurons(surrogate, each):
    rng = np.random.default_rng(6)
    pre = rng.normal(0.0, 30.0, (3, 4, 37)).astype(np.float32)
    pre[0] /= 30
    value = np.zeros(5 + 3 * BLOCK, np.float32)  # zeros, ones, thresholds
    value[5 + BLOCK :] = 1.0
    value[5 + 2 * BLOCK :] = 0.8
    start, step = np.full(JUMP + 1, 5), np.zeros(JUMP + 1, np.int64)
    start[JUMP], start[V_THRESHOLD], step[V_THRESHOLD] = 5 + BLOCK, 5 + 2 * BLOCK, int(each)
    threshold = value[5 + 2 * BLOCK :][:37]
    if each:
        threshold[:] = rng.uniform(0.5, 2.0, 37)
    wanted = surrogate.derivative(pre[:, 1:3], threshold)
    made, ones = np.empty((3, 2, 40), np.float32), np.ones_like(pre)
    carried = np.zeros((4, 37), np.float32), np.zeros((4, 37), np.float32)
    kind = Kind(soft=True, detach=False, filtered=False, spiking=True)
    back = NeuronsBack(surrogate, kind, value, start, step)
    back(pre, np.zeros(pre.shape, np.uint8), (1, 3), ones, made, 1, carried)
    made = made[:, :, :37]
    assert isinstance(loop_of(surrogate)[1], Given) == isinstance(surrogate, FromFunction | Rectangle)
    np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-30)
