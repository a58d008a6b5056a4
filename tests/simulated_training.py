"""Gradients of both backends on small networks; run by test_training_cuda_agree.py under the CUDA simulator."""

import cuda_training_cases as cases
import numpy as np
import pytest

import evsim
from evsim.cuda_kernels.target import SIMULATED
from evsim.training import forward

pytestmark = pytest.mark.skipif(not SIMULATED, reason="needs NUMBA_ENABLE_CUDASIM=1")


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.__name__)
def test_both_backends_give_the_same_gradients(case):
    cases.assert_equal(case)


@pytest.mark.parametrize("surrogate", cases.SURROGATES, ids=lambda surrogate: type(surrogate).__name__)
def test_every_surrogate(surrogate):
    cpu, cuda = (cases.gradients(*cases.surrogate_case(surrogate), backend) for backend in ("cpu", "cuda"))
    cases.assert_close(cpu, cuda)


@pytest.mark.parametrize("case", [cases.recurrent_neurons, cases.learned_constants], ids=lambda case: case.__name__)
def test_a_run_kept_in_parts_has_the_same_bits(case):
    layers, x = case(False)
    x = np.tile(x, (3, 1, 1))
    whole, parts = (cases.gradients(layers, x, "cuda", checkpoint_every=every) for every in (None, 16))
    assert whole[0].tobytes() == parts[0].tobytes()
    for name, gradient in whole[1].items():
        np.testing.assert_array_equal(parts[1][name], gradient, err_msg=name)


def test_a_state_that_goes_on_and_gradients_of_hidden_layers():
    layers, x = cases.recurrent_neurons(False)
    results = []
    for backend in ("cpu", "cuda"):
        net = evsim.Sequential(*layers, seed=7, backend=backend)
        forward(net, x)
        output, backward = forward(net, x, checkpoint_every=None)
        extra = np.random.default_rng(2).normal(size=backward.frames(1).shape).astype(np.float32)
        results.append((output, backward(np.ones(output.shape, np.float32), {1: extra}), backward.rates()))
    cases.assert_close(*results)


def test_poisson_spikes_are_drawn_again_in_parts():
    layers, _ = cases.hard_and_soft_resets(False)
    x = evsim.encoders.poisson(np.random.default_rng(1).random((2, 9)), 20, seed=3)
    cpu, cuda = (cases.gradients(layers, x, backend, checkpoint_every=16) for backend in ("cpu", "cuda"))
    cases.assert_close(cpu, cuda)


def test_a_trainer_learns_the_same():
    (history, weights), (other_history, others) = (
        cases.train(backend, checkpoint_every=16) for backend in ("cpu", "cuda")
    )
    for name, values in history.items():
        np.testing.assert_allclose(other_history[name], values, rtol=1e-4, err_msg=name)
    for name, weight in weights.items():
        np.testing.assert_allclose(others[name], weight, atol=1e-5, err_msg=name)


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("evsim.cuda_kernels.batch_engine.free_bytes", lambda: 2000)
    layers, x = cases.repeated_currents(False)
    net = evsim.Sequential(*layers, backend="cuda")
    with pytest.raises(
        MemoryError, match=r"gradients of 4 samples over 6 steps need .* smaller batches, or checkpoint"
    ):
        forward(net, x)
