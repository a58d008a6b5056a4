"""Both backends on the same small layered networks; run by test_batch_cuda_agree.py under the CUDA simulator."""

import cuda_batch_cases as cases
import numpy as np
import pytest

import evsim
import evsim.cuda_kernels.batch_engine as engine
from evsim.cuda_kernels.target import SIMULATED

pytestmark = pytest.mark.skipif(not SIMULATED, reason="needs NUMBA_ENABLE_CUDASIM=1")
FEW = [cases.chain_of_linear_layers, cases.recurrent_neurons, cases.images, cases.one_dimension]


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.__name__)
def test_both_backends_give_the_same_numbers(case):
    cases.assert_equal(case)


@pytest.mark.parametrize("case", FEW, ids=lambda case: case.__name__)
def test_blocks_share_samples_and_parts_of_nodes_and_lists_follow_each_other(monkeypatch, case):
    monkeypatch.setattr(engine, "largest_grid", lambda *_arguments: 2)
    monkeypatch.setattr(engine, "MOST_TARGETS", 50)
    monkeypatch.setattr("evsim.cuda_kernels.batch.LISTED", 16)
    monkeypatch.setattr("evsim.cuda_kernels.batch_frames.LISTED", 16)
    cases.assert_equal(case)


@pytest.mark.parametrize("case", [*FEW, cases.drawn_and_listed_spikes], ids=lambda case: case.__name__)
def test_chunks_of_one_step_change_nothing(monkeypatch, case):
    monkeypatch.setattr(engine, "CHUNK_BYTES", 1)
    cases.assert_equal(case)


def lif_pair(backend):
    rng = np.random.default_rng(1)
    net = evsim.Sequential(
        evsim.Linear(4, 6, weight=rng.normal(0.5, 1.0, (6, 4)), bias=False), evsim.sinabs.IAF(), backend=backend
    )
    return net, net.record(1, "v")


def test_steps_one_by_one_new_weights_and_a_reset():
    results = []
    for backend in ("cpu", "cuda"):
        net, record = lif_pair(backend)
        x = cases.spikes(0.5, 1, 6, 3, 4)
        outputs = [net.step(frame) for frame in x[:3]]
        net[0].weight = 2.0 * net[0].weight
        outputs += [net(x[3:])]
        net.reset()
        outputs += [net(x[:, ::-1])]
        results.append((outputs, record._frames["v"]))
    for own, other in zip(*(out + kept for out, kept in results), strict=True):
        np.testing.assert_array_equal(own, other)


def test_what_stops_a_run_is_named():
    net, _ = lif_pair("cuda")
    x = cases.spikes(0.5, 1, 6, 3, 4)
    x[4, 1, 2], x[2, 2, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"input: x\[2, 2, 0\] is inf; .*; the state is reset"):
        net(x)
    x[4, 1, 2], x[2, 2, 0] = 1e6, 0.0
    with pytest.raises(
        RuntimeError, match=r"layer 1 \(IAF\): .* more than 255 times in a step \(sample 1, from step 4"
    ):
        net(x)


def test_auto_never_takes_the_simulator():
    assert evsim.Sequential(evsim.Linear(2, 2)).backend == "cpu"
