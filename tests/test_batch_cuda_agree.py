"""The batch engine gives the same numbers on the CPU and on CUDA, bit for bit: every feature, on the CUDA simulator."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import evsim
from evsim import backend

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_feature_on_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/simulated_batch.py"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "23 passed" in done.stdout


def test_the_backend_is_chosen_as_for_a_simulation(monkeypatch, capsys):
    target = pytest.importorskip("evsim.cuda_kernels.target", exc_type=ImportError)
    backend._say.cache_clear()
    monkeypatch.setattr(backend._numba_config, "ENABLE_CUDASIM", 0)
    monkeypatch.setattr(backend, "find_gpu", lambda: True)
    monkeypatch.setattr(target, "_query_driver", lambda: ("CUDA_SUCCESS", 13000))
    monkeypatch.setattr(target, "_query_runtime", lambda: 13050)
    monkeypatch.setattr(target, "_query_lowest_compute_capability", lambda: (7, 5))
    monkeypatch.setattr(target, "_query_device", lambda: ("NVIDIA H100", (9, 0), 132, 80 * 2**30, 78 * 2**30))
    assert evsim.Sequential(evsim.Linear(2, 2)).backend == "cuda"
    assert capsys.readouterr().err == "evsim: running on the GPU: NVIDIA H100 (backend='cpu' takes the CPU)\n"
    assert evsim.Sequential(evsim.Linear(2, 2), backend="cpu").backend == "cpu"
    monkeypatch.setattr(target, "_query_driver", lambda: ("CUDA_SUCCESS", 12040))
    with pytest.raises(RuntimeError, match="the NVIDIA driver is too old"):
        evsim.Sequential(evsim.Linear(2, 2), backend="cuda")
    with pytest.raises(ValueError, match="backend is 'gpu'; it must be 'auto', 'cpu' or 'cuda'"):
        evsim.Sequential(evsim.Linear(2, 2), backend="gpu")
