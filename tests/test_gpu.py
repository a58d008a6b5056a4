"""The GPU gives the CPU's numbers, bit for bit (gradients: to rounding); the CUDA simulator runs tiny sizes of these.

`bash scripts/gpu.sh` runs them where there is a GPU; they need pytest and what evsim itself needs.
"""

import cuda_batch_cases
import cuda_training_cases
import numpy as np
import pytest
from cuda_cases import (
    CASES,
    LEARNING_CASES,
    assert_equal,
    assert_same,
    delta_neurons_with_noise,
    plastic_network,
    run,
    tabulated_dependence,
    two_receptors_and_currents,
)
from numba.core import config

import evsim
from evsim.backend import reason_against_gpu
from evsim.reference_networks import brunel, microcircuit, vogels

SIMULATED = bool(config.ENABLE_CUDASIM)
MISSING = None if SIMULATED else reason_against_gpu()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(MISSING is not None, reason=f"{MISSING}; scripts/gpu.sh runs these")]
LONG = (7, 5) if SIMULATED else (700, 500)  # steps of two runs


def brunel_network():
    net = brunel(100 if SIMULATED else 10_000)
    return net, {net.populations["exc"][:10]: "v", net.populations["inh"][:10]: ["v", "v_pre_reset"]}


def microcircuit_network():
    net = microcircuit(0.002 if SIMULATED else 1.0)
    return net, {net.populations["L4E"][:10]: "v", net.populations["L5I"][:2]: "i_syn"}


def vogels_network():
    net = vogels(250 if SIMULATED else 4000)
    return net, {net.populations["exc"][:10]: ["v", "i_exc", "i_inh"]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_feature(case):
    assert_equal(case, LONG)


@pytest.mark.parametrize("case", LEARNING_CASES, ids=lambda case: case.__name__)
def test_every_way_to_learn(case):
    assert_equal(case, (17, 3, 8) if SIMULATED else (700, 300, 500))


def test_a_network_of_many_blocks_learns():
    """A million synapses of either sign, so that the neurons neither fall silent nor always fire."""

    def case():
        rule = evsim.PairSTDP(a_plus=0.02, a_minus=0.02, w_min=-0.5, w_max=0.5)
        n_inputs, n_cells = (5, 20) if SIMULATED else (1000, 2000)
        return plastic_network(rule, evsim.uniform(1.0, 9.0), 11, n_inputs, n_cells)

    assert_equal(case, LONG)


@pytest.mark.parametrize("case", [brunel_network, vogels_network, microcircuit_network], ids=lambda case: case.__name__)
def test_one_second_of_a_reference_network(case):
    """Brunel with 10,000 neurons, Vogels and Abbott with 4,000, the full microcircuit with Poisson drive."""
    steps = (10, 10) if SIMULATED else (5000, 5000)
    assert_same(run(case, "cpu", steps), run(case, "cuda", steps))


@pytest.mark.parametrize("case", [delta_neurons_with_noise, tabulated_dependence], ids=lambda case: case.__name__)
def test_a_full_list_ends_a_launch_and_the_run_goes_on_exactly(monkeypatch, case):
    monkeypatch.setattr("evsim.cuda_kernels.engine.LIST_SPIKES", 1)  # then it holds the spikes of two windows
    monkeypatch.setattr("evsim.recorder.MIN_SPIKES", 1)
    assert_equal(case, (12,) if SIMULATED else (1200,))


@pytest.mark.parametrize("seconds", [1e-9, 1e9])
def test_the_length_of_chunks_changes_nothing(monkeypatch, seconds):
    cpu = run(two_receptors_and_currents, "cpu", LONG)
    monkeypatch.setattr("evsim.simulation.CHUNK_SECONDS", seconds)
    assert_same(cpu, run(two_receptors_and_currents, "cuda", (sum(LONG),)))


def test_recording_to_a_file_chunk_by_chunk(monkeypatch, tmp_path):
    cpu = run(brunel_network, "cpu", LONG, tmp_path / "cpu.h5")
    monkeypatch.setattr("evsim.simulation.CHUNK_SECONDS", 1e-9)
    assert_same(cpu, run(brunel_network, "cuda", LONG, tmp_path / "cuda.h5"))


@pytest.mark.parametrize("case", cuda_batch_cases.CASES, ids=lambda case: case.__name__)
def test_layers(case):
    cuda_batch_cases.assert_equal(case, big=not SIMULATED)


def test_layers_in_chunks_and_parts(monkeypatch):
    """Launches of few steps; nodes of more targets than a block has room for; more samples than blocks."""
    monkeypatch.setattr("evsim.cuda_kernels.batch_engine.CHUNK_BYTES", 2**16)
    monkeypatch.setattr("evsim.cuda_kernels.batch_engine.MOST_TARGETS", 100)
    monkeypatch.setattr("evsim.cuda_kernels.batch_engine.largest_grid", lambda *_arguments: 7)
    for case in (cuda_batch_cases.images, cuda_batch_cases.recurrent_neurons):
        cuda_batch_cases.assert_equal(case, big=not SIMULATED)


@pytest.mark.parametrize("case", cuda_training_cases.CASES, ids=lambda case: case.__name__)
def test_layers_learn(case):
    """Gradients equal the CPU's to rounding."""
    cuda_training_cases.assert_equal(case, big=not SIMULATED)


@pytest.mark.parametrize("surrogate", cuda_training_cases.SURROGATES, ids=lambda surrogate: type(surrogate).__name__)
def test_layers_learn_with_every_surrogate(surrogate):
    cpu, cuda = (
        cuda_training_cases.gradients(*cuda_training_cases.surrogate_case(surrogate), backend)
        for backend in ("cpu", "cuda")
    )
    cuda_training_cases.assert_close(cpu, cuda)


@pytest.mark.parametrize("every", [None, 16])
def test_layers_learn_the_same_bits_each_time(every):
    """Two runs, and one kept in parts."""
    layers, x = cuda_training_cases.recurrent_neurons(not SIMULATED)
    runs = [cuda_training_cases.gradients(layers, x, "cuda", checkpoint_every=each) for each in (None, every)]
    for name, gradient in runs[0][1].items():
        np.testing.assert_array_equal(runs[1][1][name], gradient, err_msg=name)


def test_a_trainer_learns_as_on_the_cpu():
    (_, weights), (_, others) = (cuda_training_cases.train(backend) for backend in ("cpu", "cuda"))
    for name, weight in weights.items():
        np.testing.assert_allclose(others[name], weight, atol=1e-4, err_msg=name)
