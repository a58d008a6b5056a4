"""CPU and CUDA give the same numbers, bit for bit: every feature, on the CUDA simulator."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIMULATOR = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
PARTS = 8  # of the work of the GPU's compiler, which processes can share


@pytest.mark.slow
def test_every_feature_on_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/simulated_cuda.py"]
    done = subprocess.run(command, cwd=ROOT, env=SIMULATOR, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "24 passed" in done.stdout


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


@pytest.fixture(scope="module")
def kernel_table():
    pytest.importorskip("numba_cuda", reason="needs the packages of evsim[cuda]")
    return pytest.importorskip("evsim.cuda_kernels.kernel_table", exc_type=ImportError)


def share_of_kernels(kernel_table, part):
    """One of PARTS shares of all kernels with their arguments."""
    return list(kernel_table.example_kernels())[part::PARTS]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_kernel_becomes_machine_code_without_spills(kernel_table, part):
    from evsim.cuda_kernels.machine_code import compile_machine_code

    capabilities = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]
    for special, kernel, arguments in share_of_kernels(kernel_table, part):
        codes = compile_machine_code(kernel, arguments)
        print(kernel_table.format_markdown([(special, code) for code in codes]))
        assert [code.compute_capability for code in codes] == capabilities
        assert [code for code in codes if code.spill_stores or code.spill_loads] == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_kernel_calculates_as_the_cpu(kernel_table, part):
    from evsim.cuda_kernels.machine_code import find_float_differences

    for special, kernel, arguments in share_of_kernels(kernel_table, part):
        if kernel.py_func.__name__ == "fill_slopes":  # surrogates are equal to rounding only
            continue
        assert find_float_differences(kernel, arguments) == [], (kernel, special)


def test_the_table_has_every_kernel(kernel_table):
    sources = [path.read_text() for path in (ROOT / "cuda_kernels").glob("*.py")]
    kernels = {
        name for text in sources for name in re.findall(r"^ *@compile_cuda_kernel.*\n *def (\w+)", text, re.MULTILINE)
    }
    assert kernels >= {"advance"}
    assert {kernel.py_func.__name__ for _, kernel, _ in kernel_table.example_kernels()} == kernels
    assert (
        set(re.findall(r"^\| (\w+) \| .* \| 7\.5 ", (ROOT / "bench" / "kernels.md").read_text(), re.MULTILINE))
        == kernels
    )
