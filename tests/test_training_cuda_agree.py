"""Gradients on CUDA are the CPU's to rounding: every option, on the CUDA simulator."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import evsim

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_way_to_train_on_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/simulated_training.py"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@dataclass(frozen=True)
class Stepped(evsim.Surrogate):
    """Made of what the GPU's compiler does not know."""

    width: float = 0.5

    def curve(self, x, v_threshold):
        return np.exp(-np.abs(x) / self.width)


def test_a_surrogate_that_cannot_be_compiled_is_named(monkeypatch):
    pytest.importorskip("numba_cuda", reason="needs the packages of evsim[cuda]")
    pytest.importorskip("nvidia", reason="needs the packages of evsim[cuda]")
    neurons = pytest.importorskip("evsim.cuda_kernels.backward_neurons", exc_type=ImportError)
    from evsim.cuda_kernels.machine_code import _without_device

    with _without_device((9, 0)), pytest.raises(NotImplementedError) as told:
        neurons.check_surrogate("layer 1 (LIFNode)", Stepped())
    assert "layer 1 (LIFNode): its surrogate, Stepped(width=0.5), cannot be compiled for the GPU" in str(told.value)
    assert "make it with Surrogate.from_function" in str(told.value)
