"""Both backends on the same small networks; run by test_cpu_cuda_agree.py under the CUDA simulator."""

import numpy as np
import pytest
from cuda_cases import CASES, assert_equal, delta_neurons_with_noise, soft_reset_and_wide_sums

import evsim
import evsim.cuda_kernels.engine as engine
from evsim.cuda_kernels.target import SIMULATED

pytestmark = pytest.mark.skipif(not SIMULATED, reason="needs NUMBA_ENABLE_CUDASIM=1")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_backends_give_the_same_numbers(case):
    assert_equal(case)


def test_wide_sums_are_wide():
    net, _ = soft_reset_and_wide_sums()
    assert evsim.Simulation(net)._built.state.ring.dtype == np.int64


def test_a_full_list_ends_a_launch_and_the_run_goes_on_exactly(monkeypatch):
    monkeypatch.setattr(engine, "LIST_SPIKES", 1)  # then it holds the spikes of two windows
    monkeypatch.setattr("evsim.recorder.MIN_SPIKES", 1)
    assert_equal(delta_neurons_with_noise, steps=(12,))
