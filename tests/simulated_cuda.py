"""Both backends on the same small networks; run by test_cpu_cuda_agree.py under the CUDA simulator."""

import numpy as np
import pytest
from cuda_cases import (
    CASES,
    LEARNING_CASES,
    Multi,
    assert_equal,
    competing_neurons,
    delta_neurons_with_noise,
    learning_beside_stages,
    soft_reset_and_wide_sums,
    stages_of_a_step,
    tabulated_dependence,
)

import evsim
import evsim.cuda_kernels.engine as engine
from evsim.cuda_kernels.target import SIMULATED, compile_cuda_kernel, cuda, grid_sync

pytestmark = pytest.mark.skipif(not SIMULATED, reason="needs NUMBA_ENABLE_CUDASIM=1")


@compile_cuda_kernel(8)
def pass_on(out, last):
    """Each thread reads, in every round, what its neighbour wrote in the round before; some end early."""
    lane = cuda.threadIdx.x
    for step in range(1, last[lane] + 1):
        grid_sync()
        out[step, lane] = out[step - 1, (lane + 1) % 8] + 1


@compile_cuda_kernel(8)
def fail_in_one(out):
    if cuda.threadIdx.x == 3:
        raise ValueError("no more")
    for _ in range(5):
        cuda.syncthreads()
    out[0] = 1


def test_threads_wait_for_each_other_and_not_for_those_that_have_ended():
    out, last = np.zeros((41, 8), np.int64), np.array([40, 40, 40, 40, 40, 40, 40, 5])
    pass_on[2, 8](out, last)
    expected = np.zeros_like(out)
    for step in range(1, 41):
        goes_on = last >= step
        expected[step, goes_on] = np.roll(expected[step - 1], -1)[goes_on] + 1
    np.testing.assert_array_equal(out, expected)


def test_a_thread_that_fails_ends_the_launch():
    out = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match=r"tid=\[3, 0, 0\] ctaid=\[0, 0, 0\]: no more"):
        fail_in_one[1, 8](out)
    assert out[0] == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_both_backends_give_the_same_numbers(case):
    assert_equal(case)


@pytest.mark.parametrize("case", LEARNING_CASES, ids=lambda case: case.__name__)
def test_both_backends_learn_the_same(case):
    assert_equal(case, (17, 3, 8))


def test_a_checkpoint_and_learned_weights_go_to_another_simulation(tmp_path):
    def make():
        sim = evsim.Simulation(competing_neurons(20)[0], backend="cuda")
        sim.run(3.0)
        return sim

    sim, other, third = make(), make(), make()
    sim.save(tmp_path / "checkpoint")
    sim.run(2.0)
    sim.save_weights(tmp_path / "weights.h5")
    other.run(1.0)
    other.load(tmp_path / "checkpoint")
    other.run(2.0)
    third.load_weights(tmp_path / "weights.h5")
    plastic, cells = sim.network.projections[0], sim.network.populations["cells"]
    assert other.spike_checksum == sim.spike_checksum
    for same in (other, third):
        own = same.network.projections[0], same.network.populations["cells"]
        np.testing.assert_array_equal(same.synapses(own[0]).weight, sim.synapses(plastic).weight)
        np.testing.assert_array_equal(same.values(own[1], "theta"), sim.values(cells, "theta"))


def test_wide_sums_are_wide():
    net, _ = soft_reset_and_wide_sums()
    assert evsim.Simulation(net)._built.state.ring.dtype == np.int64


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_too_many_spikes_stop_the_run_with_the_same_words(backend):
    net = evsim.Network(dt=1.0)
    later = net.add_population("later", 2, Multi(), v=[0.5, 0.0])
    first = net.add_population("first", 3, Multi(leak=1.0), v=0.5)
    net.add_current("step", first[1:], [0.0, 2.0, 300.0], times=[0.0, 1.0, 3.0])
    net.connect(first, later, evsim.all_to_all(), 2.5, delay=0.0)
    sim = evsim.Simulation(net, backend=backend)
    sim.run(3.0)
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match=r"population 'later': in step 3 a neuron would spike more than 255 times"
        ):
            sim.run(4.0)


@pytest.mark.parametrize(
    ("case", "steps"),
    [(delta_neurons_with_noise, 12), (tabulated_dependence, 30), (stages_of_a_step, 12), (learning_beside_stages, 12)],
)
def test_a_full_list_ends_a_launch_and_the_run_goes_on_exactly(monkeypatch, case, steps):
    monkeypatch.setattr(engine, "LIST_SPIKES", 1)  # then it holds the spikes of two windows
    monkeypatch.setattr("evsim.recorder.MIN_SPIKES", 1)
    assert_equal(case, (steps,))
