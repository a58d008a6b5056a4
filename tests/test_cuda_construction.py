"""The GPU builds the same networks as the CPU, bit for bit, on the CUDA simulator."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest

import evsim
from evsim.build import build

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_network_on_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/simulated_construction.py"]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


class DeviceArray(np.ndarray):
    """What the maker takes for an array on the device; what it copies back says that each row has a synapse."""

    def copy_to_host(self):
        return np.ones(self.shape, self.dtype)


@pytest.fixture
def launched(monkeypatch):
    """The arguments of every kernel that a build launches, as it launches them."""
    pytest.importorskip("numba_cuda", reason="needs the packages of evsim[cuda]")
    from evsim.cuda_kernels import maker

    arguments = {}

    def configure_launch(kernel, blocks, threads, stream=0, shared_bytes=0):
        assert 0 < threads <= 512
        assert blocks > 0
        assert shared_bytes <= 48 * 1024
        return lambda *given: arguments.update(
            {kernel: tuple(np.array(x) if isinstance(x, DeviceArray) else x for x in given)}
        )

    device = SimpleNamespace(
        to_device=lambda array: array.copy().view(DeviceArray),
        synchronize=lambda: None,
        device_array=lambda size, dtype: np.zeros(size, dtype).view(DeviceArray),
    )
    monkeypatch.setattr(maker, "cuda", device)
    monkeypatch.setattr(maker, "check_device", lambda: SimpleNamespace(memory_free=2**40))
    monkeypatch.setattr(maker, "configure_launch", configure_launch)
    monkeypatch.setattr("evsim.synapses.Rows.longest", 10_000)
    net = evsim.Network()
    cells = net.add_population("cells", 1000, evsim.LIF())
    net.connect(cells, cells, evsim.fixed_indegree(10), weight=evsim.normal(1.0, 0.1), delay=evsim.uniform(0.1, 1.0))
    build(net, 1, lambda done: None, maker.CudaMaker)
    return arguments


def test_a_build_launches_every_kernel_as_the_table_has_it(launched):
    """With arguments of the very types that are compiled there."""
    kernel_table = pytest.importorskip("evsim.cuda_kernels.kernel_table", exc_type=ImportError)
    construction = pytest.importorskip("evsim.cuda_kernels.construction", exc_type=ImportError)
    made_there = {id(each) for each in vars(construction).values()}
    compiled = {kernel: given for _, kernel, given in kernel_table.example_kernels() if id(kernel) in made_there}
    assert launched.keys() == compiled.keys()
    for kernel, arguments in launched.items():
        assert [numba.typeof(x) for x in arguments] == [numba.typeof(x) for x in compiled[kernel]], kernel
