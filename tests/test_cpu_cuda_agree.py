"""CPU and CUDA give the same numbers, bit for bit: every feature, on the CUDA simulator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evsim.build import build
from evsim.reference_networks import brunel, microcircuit

ROOT = Path(__file__).parents[1]
SIMULATOR = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}


@pytest.mark.slow
def test_every_feature_on_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/simulated_cuda.py"]
    done = subprocess.run(command, cwd=ROOT, env=SIMULATOR, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "5 passed" in done.stdout


@pytest.mark.slow
def test_brunel_script_has_the_same_checksum_on_both():
    checksums = []
    for backend, environment in (("cpu", os.environ), ("cuda", SIMULATOR)):
        options = ["--backend", backend, "--neurons", "100", "--time", "5", "--json"]
        command = [sys.executable, "scripts/brunel.py", *options]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        result = json.loads(done.stdout)
        assert result["backend"] == backend
        checksums.append(result["spike_checksum"])
    assert checksums[0] == checksums[1]


@pytest.mark.slow
@pytest.mark.parametrize("network", [brunel(200), microcircuit(0.005)], ids=["delta", "exponential"])
def test_the_kernel_becomes_machine_code_without_spills(network):
    pytest.importorskip("numba_cuda", reason="needs the packages of evsim[cuda]")
    from evsim.cuda_kernels.advance import Tasks, advance
    from evsim.cuda_kernels.machine_code import compile_machine_code, find_float_differences, format_table

    built = build(network, 1, lambda done: None)
    tasks = Tasks(np.zeros(2, np.int64), np.zeros((2, 3), np.int32), np.zeros((2, 3), np.int32))
    arguments = (built.model, built.state, tasks, np.int64(0), np.int64(0))
    codes = compile_machine_code(advance, arguments)
    print(format_table(codes))
    assert [code.compute_capability for code in codes] == [
        (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0),
    ]  # fmt: skip
    assert all(code.spill_stores == code.spill_loads == 0 for code in codes)
    assert find_float_differences(advance, arguments) == []
