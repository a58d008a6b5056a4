"""scripts/gpu.sh and what it measures with, as far as they go without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evsim.backend import find_gpu

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs bash")


def run_script(folder, **environment):
    command = ["bash", "scripts/gpu.sh", str(folder)]
    environment = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800)


@pytest.mark.slow
def test_the_script_runs_to_its_end_on_the_simulator(tmp_path):
    done = run_script(tmp_path / "results", NUMBA_ENABLE_CUDASIM="1", EVSIM_GPU_SECONDS="1600")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert done.stdout == (tmp_path / "results" / "log.txt").read_text()
    assert done.stdout.splitlines()[-1] == "== all passed"
    assert " passed" in done.stdout
    results = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")}
    cases = {"microcircuit-poisson", "microcircuit-dc", "brunel-1g", "brunel-3g", "vogels-1g", "brunel-small"}
    layers = {"layers-chain", "layers-cnn"}
    training = {"training-lif", "training-chain", "training-cnn"}
    assert set(results) == cases | layers | training | {"ceilings"}
    for name in cases:
        assert results[name]["benchmark"] == name
        assert results[name]["backend"] == "cuda"
        assert results[name]["device"]["name"] == "CUDA simulator"
        assert results[name]["floor_fraction"] > 0.0
    assert results["brunel-small"]["cpu"]["spike_checksum"] == results["brunel-small"]["spike_checksum"]
    for name in layers | training:
        assert results[name]["benchmark"] == name
        assert results[name]["backend"] == "cuda"
        assert results[name]["samples_per_s"] > 0.0
    assert cases | layers | training <= set((tmp_path / "results" / "summary.md").read_text().replace("|", " ").split())


@pytest.mark.skipif(find_gpu(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_so_and_fails(tmp_path):
    pytest.importorskip("numba_cuda", reason="needs the packages of evsim[cuda]")
    done = run_script(tmp_path, NUMBA_ENABLE_CUDASIM="0")
    assert done.returncode == 1
    assert "no NVIDIA" in done.stdout
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow
def test_no_time_left_is_a_failure(tmp_path):
    done = run_script(tmp_path, NUMBA_ENABLE_CUDASIM="1", EVSIM_GPU_SECONDS="14")
    assert done.returncode == 1
    assert "brunel-3g: left out, no time" in done.stdout
    assert "brunel-3g summary" in done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_kernels_of_the_ceilings_become_machine_code(monkeypatch):
    machine_code = pytest.importorskip("evsim.cuda_kernels.machine_code", exc_type=ImportError)
    pytest.importorskip("nvidia", reason="needs the packages of evsim[cuda]")
    monkeypatch.syspath_prepend(ROOT / "bench")
    import ceilings

    words, n = np.zeros(2, np.uint32), np.int64(1)
    for kernel, arguments in (
        (ceilings.meet, (n,)),
        (ceilings.lay_chain, (words, words)),
        (ceilings.follow, (words, n, words)),
        (ceilings.read, (words.astype(np.uint64), words.astype(np.uint64))),
        (ceilings.scatter, (words.astype(np.int32), n, n)),
    ):
        codes = machine_code.compile_machine_code(kernel, arguments)
        assert [code for code in codes if code.spill_stores or code.spill_loads] == []
        assert (kernel is ceilings.scatter) == ("global.add.u32" in codes[0].ptx)
