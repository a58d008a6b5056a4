"""Optimisers and schedules against torch.optim (tests/data/make_training_golden.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

import evsim

GOLDEN = np.load(Path(__file__).parent / "data" / "training.npz")
OPTIMIZERS, SCHEDULES = json.loads(str(GOLDEN["optimizers"])), json.loads(str(GOLDEN["schedules"]))
NAMES = ("weight", "bias")
START = {name: GOLDEN[f"optimizers/start/{name}"] for name in NAMES}
GRADIENTS = [{name: GOLDEN[f"optimizers/gradients/{name}"][step] for name in NAMES} for step in range(10)]


def made(number):
    kind, kwargs = OPTIMIZERS[number]
    return getattr(evsim, kind)(**kwargs)


@pytest.mark.parametrize("number", range(len(OPTIMIZERS)), ids=[f"{kind}-{kwargs}" for kind, kwargs in OPTIMIZERS])
def test_ten_steps_are_torchs(number):
    optimizer, parameters = made(number), START
    for step, gradients in enumerate(GRADIENTS):
        before = {name: value.copy() for name, value in parameters.items()}
        new = optimizer.update(parameters, gradients)
        for name in NAMES:
            np.testing.assert_array_equal(parameters[name], before[name])
            assert new[name].dtype == np.float32
            np.testing.assert_allclose(new[name], GOLDEN[f"optimizers/{number}/{name}"][step], rtol=1e-5, atol=1e-6)
        parameters = new


@pytest.mark.parametrize("number", range(len(OPTIMIZERS)), ids=[f"{kind}-{kwargs}" for kind, kwargs in OPTIMIZERS])
def test_a_loaded_state_goes_on_with_the_same_bits(number, tmp_path):
    through, halves, parameters, others = made(number), made(number), START, START
    for step, gradients in enumerate(GRADIENTS):
        if step == 5:
            np.savez(tmp_path / "state.npz", **halves.state())
            halves.update(others, gradients)  # what is done after saving is forgotten
            halves = made(number)
            with np.load(tmp_path / "state.npz") as state:
                halves.load_state(state)
        parameters, others = through.update(parameters, gradients), halves.update(others, gradients)
    for name in NAMES:
        np.testing.assert_array_equal(parameters[name], others[name])


@pytest.mark.parametrize("optimizer", [evsim.SGD(momentum=0.9), evsim.Adam(), evsim.AdamW()], ids=str)
def test_a_factor_multiplies_lr(optimizer):
    halved = type(optimizer)(**{**{k: v for k, v in vars(optimizer).items() if k != "_state"}, "lr": optimizer.lr / 2})
    given = optimizer.update(START, GRADIENTS[0], factor=0.5)
    for name, value in halved.update(START, GRADIENTS[0]).items():
        np.testing.assert_array_equal(given[name], value)


def test_parameters_without_a_gradient_stay():
    optimizer = evsim.Adam()
    new = optimizer.update(START, {"bias": GRADIENTS[0]["bias"]})
    np.testing.assert_array_equal(new["weight"], START["weight"])
    assert (new["bias"] != START["bias"]).all()
    assert set(optimizer.state()) == {"bias/step", "bias/m", "bias/v"}


@pytest.mark.parametrize("size", [1, 7, 64, 1001])
def test_every_entry_is_treated_alike(size):
    """Whatever its place, and however gradient and parameter lie in memory."""
    p = np.linspace(-1.0, 1.0, 2 * size, dtype=np.float32).reshape(size, 2)
    g = np.broadcast_to(np.float32(0.3), (size, 2))
    for kind in (evsim.SGD, evsim.Adam, evsim.AdamW):
        together = kind(lr=0.1).update({"w": p.T}, {"w": g.T})["w"]
        alone = [kind(lr=0.1).update({"w": p[i, 1]}, {"w": np.float32(0.3)})["w"] for i in range(size)]
        np.testing.assert_array_equal(together[1], alone)


@pytest.mark.parametrize("max_norm", ["1", "1000"])
def test_clipped_gradients_are_torchs(max_norm):
    clipped = evsim.clip_gradients(GRADIENTS[0], float(max_norm))
    for name in NAMES:
        assert clipped[name].dtype == np.float32
        np.testing.assert_allclose(clipped[name], GOLDEN[f"optimizers/clipped/{max_norm}/{name}"], rtol=1e-6)


@pytest.mark.parametrize("number", range(len(SCHEDULES)), ids=[f"{kind}-{kwargs}" for kind, kwargs in SCHEDULES])
def test_schedules_are_torchs(number):
    kind, kwargs = SCHEDULES[number]
    schedule = getattr(evsim, kind)(**kwargs)
    given = [schedule(epoch) for epoch in range(12)]
    np.testing.assert_allclose(given, GOLDEN[f"schedules/{number}"], rtol=1e-9, atol=1e-12)


def test_what_does_not_fit_is_refused_and_changes_nothing():
    optimizer = evsim.Adam()
    with pytest.raises(KeyError, match="Adam: unknown parameter 'gain'; known are weight, bias"):
        optimizer.update(START, {**GRADIENTS[0], "gain": np.zeros(3)})
    with pytest.raises(ValueError, match=r"Adam: the gradient of 'bias' has shape \(3,\); it must be \(4,\)"):
        optimizer.update(START, {**GRADIENTS[0], "bias": np.zeros(3)})
    given, fresh = optimizer.update(START, GRADIENTS[0]), evsim.Adam().update(START, GRADIENTS[0])
    np.testing.assert_array_equal(given["weight"], fresh["weight"])
    with pytest.raises(ValueError, match=r"Adam: the m of 'bias' has shape \(4,\); it must be \(5,\)"):
        optimizer.update({"bias": np.zeros(5)}, {"bias": np.zeros(5)})
    with pytest.raises(ValueError, match="SGD: the state of 'weight' has m, step, v; it must have b, step"):
        evsim.SGD().load_state(optimizer.state())


def test_bad_settings_are_refused():
    for make, message in (
        (lambda: evsim.SGD(lr=-1.0), "SGD: lr is -1.0"),
        (lambda: evsim.SGD(momentum=-0.1), "SGD: momentum is -0.1"),
        (lambda: evsim.SGD(nesterov=True), "SGD: momentum is 0 with nesterov"),
        (lambda: evsim.Adam(betas=(0.9, 1.0)), r"Adam: betas is \(0.9, 1.0\)"),
        (lambda: evsim.AdamW(weight_decay=np.nan), "AdamW: weight_decay is nan"),
        (lambda: evsim.StepLR(0), "StepLR: step_size is 0"),
        (lambda: evsim.ExponentialLR(-0.5), "ExponentialLR: gamma is -0.5"),
        (lambda: evsim.CosineAnnealingLR(0), "CosineAnnealingLR: T_max is 0"),
        (lambda: evsim.clip_gradients(START, -1.0), "clip_gradients: max_norm is -1.0"),
        (lambda: evsim.clip_gradients({"w": [1.0, np.inf]}, 1.0), "clip_gradients: the norm of w is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
