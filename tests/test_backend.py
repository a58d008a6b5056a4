"""Which backend "auto" takes, told on stderr; a GPU is stood in for."""

import subprocess
import sys

import pytest

import evsim
from evsim import backend
from evsim.__main__ import main
from evsim.backend import choose_backend, reason_against_gpu
from evsim.reference_networks import brunel


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing said yet; CUDA is real, as far as the settings go."""
    monkeypatch.setattr(backend._numba_config, "ENABLE_CUDASIM", 0)
    backend._say.cache_clear()


@pytest.fixture
def gpu(monkeypatch):
    """A stand-in for a GPU: what its dictionary says of it may be changed."""
    target = pytest.importorskip("evsim.cuda_kernels.target", exc_type=ImportError)
    shown = {"free": 78 * 2**30, "driver": 13000, "others": []}
    monkeypatch.setattr(backend, "find_gpu", lambda: True)
    monkeypatch.setattr(target, "_query_driver", lambda: ("CUDA_SUCCESS", shown["driver"]))
    monkeypatch.setattr(target, "_query_runtime", lambda: 13050)
    monkeypatch.setattr(target, "_query_lowest_compute_capability", lambda: (7, 5))
    monkeypatch.setattr(target, "_query_device", lambda: ("NVIDIA H100", (9, 0), 132, 80 * 2**30, shown["free"]))
    monkeypatch.setattr(target, "_query_others", lambda: shown["others"])
    return shown


def test_auto_takes_the_gpu_and_says_so_once(gpu, capsys):
    assert choose_backend(brunel(100), "auto") == "cuda"
    assert choose_backend(brunel(200), "auto") == "cuda"
    assert capsys.readouterr().err == "evsim: running on the GPU: NVIDIA H100 (backend='cpu' takes the CPU)\n"


def test_a_network_too_large_for_the_gpu_goes_to_the_cpu_and_says_why(gpu, capsys):
    gpu["free"] = 2**29 + 2**20
    assert choose_backend(brunel(100), "auto") == "cuda"
    assert choose_backend(brunel(10_000), "auto") == "cpu"
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("evsim: running on the CPU, because the GPU cannot be used: NVIDIA H100: projection 'exc->")
    assert "1.05 MB are available" in line


def test_cuda_refuses_a_network_too_large_before_it_is_built(gpu, monkeypatch):
    gpu["free"] = 2**29 + 2**20
    monkeypatch.setattr("evsim.simulation.build", None)
    with pytest.raises(MemoryError, match=r"NVIDIA H100: projection 'exc->.* available.* or backend='cpu'"):
        evsim.Simulation(brunel(10_000), backend="cuda")


def test_an_old_driver_is_a_reason_for_auto_and_an_error_for_cuda(gpu, capsys, monkeypatch):
    gpu["driver"] = 12040
    assert evsim.Simulation(brunel(100)).backend == "cpu"
    line = capsys.readouterr().err
    assert line.startswith("evsim: running on the CPU, because the GPU cannot be used: the NVIDIA driver is too old")
    assert line.count("\n") == 1
    monkeypatch.setattr("evsim.simulation.build", None)
    with pytest.raises(RuntimeError, match="the NVIDIA driver is too old"):
        evsim.Simulation(brunel(100), backend="cuda")


def test_a_missing_compiler_is_named_with_its_remedy(gpu, monkeypatch):
    def missing():
        raise ImportError("libNVVM is not available")

    monkeypatch.setattr("evsim.cuda_kernels.target.cuda.cudadrv.nvvm.NVVM", missing)
    with pytest.raises(RuntimeError, match=r"compiler \(libNVVM\) was not found: pip install 'evsim\[cuda\]'"):
        choose_backend(brunel(100), "cuda")


def test_auto_never_takes_the_simulator(gpu, monkeypatch, capsys):
    monkeypatch.setattr(backend._numba_config, "ENABLE_CUDASIM", 1)
    assert choose_backend(brunel(100), "auto") == "cpu"
    assert "simulator" in str(reason_against_gpu())
    assert capsys.readouterr().err == ""


def test_without_a_driver_nothing_of_cuda_is_imported():
    script = """
import ctypes, sys
import evsim
def refuse(name, *rest):
    raise OSError(f"{name}: cannot open shared object file")
ctypes.CDLL = refuse
from evsim.reference_networks import brunel
assert evsim.Simulation(brunel(100), threads=1).backend == "cpu"
assert not [name for name in sys.modules if name.startswith(("numba.cuda", "numba_cuda", "cuda.", "evsim.cuda"))]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("status", "found"), [(0, True), (803, True), (100, False), (34, False)])
def test_a_gpu_is_what_the_driver_shows(monkeypatch, status, found):
    class Driver:
        def cuInit(self, _flags):
            return status

    backend.find_gpu.cache_clear()
    monkeypatch.setattr(backend.ctypes, "CDLL", lambda _name: Driver())
    try:
        assert backend.find_gpu() == (found and sys.platform != "darwin")
    finally:
        backend.find_gpu.cache_clear()


def test_info_lists_every_gpu_and_what_auto_takes(gpu, capsys):
    gpu["others"] = [("NVIDIA L4", (8, 9), 58, 23 * 2**30, 22 * 2**30)]
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    gpus = [line.split(maxsplit=1)[1] for line in lines if line.startswith("GPU ")]
    assert [one.split(", ")[:2] for one in gpus] == [
        ["NVIDIA H100", "compute capability 9.0"],
        ["NVIDIA L4", "compute capability 8.9"],
    ]
    assert all("GiB free, driver for CUDA 13.0" in one for one in gpus)
    assert "backend     cuda (what 'auto' takes for networks that fit)" in lines


def test_info_says_why_auto_takes_the_cpu(gpu, capsys):
    gpu["driver"] = 12040
    assert main(["info"]) == 0
    assert "backend     cpu (what 'auto' takes: the NVIDIA driver is too old" in capsys.readouterr().out
