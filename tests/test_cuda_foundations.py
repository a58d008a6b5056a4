"""What the GPU engine stands on, proved without a GPU: one arithmetic everywhere, the simulator, machine code."""

import math
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evsim.jit import compile_kernel, fma, leading_zeros

SAMPLE = Path(__file__).with_name("cuda_sample.py")
WORD = {np.float32: np.uint32, np.float64: np.uint64}
needs_cuda_packages = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("numba_cuda", "nvidia")), reason="needs the packages of evsim[cuda]"
)


@compile_kernel
def fill_fma(a, b, c, out):
    for i in range(a.size):
        out[i] = fma(a[i], b[i], c[i])


@compile_kernel
def fill_leading_zeros(x, out):
    for i in range(x.size):
        out[i] = leading_zeros(x[i])


def assert_fma_is_exact(a, b, c):
    dtype = a.dtype.type
    plain = np.array([fma(*terms) for terms in zip(a, b, c, strict=True)])
    compiled = np.empty_like(a)
    fill_fma(a, b, c, compiled)
    assert plain.dtype == a.dtype
    differ = (plain.view(WORD[dtype]) != compiled.view(WORD[dtype])) & ~(np.isnan(plain) & np.isnan(compiled))
    assert not differ.any(), [(a[i], b[i], c[i], plain[i], compiled[i]) for i in np.flatnonzero(differ)[:5]]
    return compiled


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_fma_as_plain_python_rounds_once_for_any_bits(dtype, data):
    word = st.integers(0, np.iinfo(WORD[dtype]).max)
    terms = np.array(data.draw(st.lists(st.tuples(word, word, word), min_size=1, max_size=20)), WORD[dtype])
    assert_fma_is_exact(*np.ascontiguousarray(terms.T).view(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_fma_as_plain_python_rounds_once_where_rounding_twice_goes_wrong(dtype, seed):
    """The product is half a unit in the last place of c, but for a relative 2^-46 (float32): almost a tie."""
    rng = np.random.default_rng(seed)
    n, bits = 200, np.finfo(dtype).nmant
    i, k = rng.integers(0, 2 ** (bits // 2), n), rng.integers(-60, 60, n)
    a = ((1 + i * 2.0**-bits) * 2.0**k).astype(dtype)
    b = (rng.choice([-1, 1], n) * (1 - i * 2.0**-bits)).astype(dtype)
    c = ((2**bits + rng.integers(0, 2**bits, n)) * 2.0 ** (k + 1) * rng.choice([-1, 1], n)).astype(dtype)
    once = assert_fma_is_exact(a, b, c)
    twice = (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(dtype)
    assert (once != twice).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fma_as_plain_python_keeps_zeros_infinities_and_the_smallest_numbers(dtype):
    limits = np.finfo(dtype)
    special = [0.0, 1.0, 2.0, limits.max, limits.tiny, limits.smallest_subnormal, limits.eps, np.inf, np.nan]
    special = np.array(special + [-x for x in special], dtype)
    a, b, c = np.ascontiguousarray(np.stack(np.meshgrid(special, special, special)).reshape(3, -1))
    assert_fma_is_exact(a, b, c)


@given(x=st.lists(st.integers(0, 2**64 - 1), min_size=1))
@settings(deadline=None)
def test_leading_zeros_as_plain_python_equals_compiled(x):
    words = np.array([*x, 0, 1, 2**64 - 1], np.uint64)
    out = np.empty_like(words)
    fill_leading_zeros(words, out)
    assert out.tolist() == [int(leading_zeros(word)) for word in words]
    assert out[-3:].tolist() == [64, 63, 0]


def test_only_target_imports_the_cuda_compiler():
    room = Path(__file__).parents[1] / "cuda_kernels"
    importing = [path.name for path in room.glob("*.py") if "import numba.cuda" in path.read_text()]
    importing += [path.name for path in room.glob("*.py") if "from numba import cuda" in path.read_text()]
    importing += [path.name for path in room.glob("*.py") if "from numba.cuda" in path.read_text()]
    assert set(importing) == {"target.py"}


def run_python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize("forbidden", ["numba.cuda", "numba_cuda"])
def test_missing_package_is_named_with_its_remedy(forbidden):
    hide = (
        f"import sys; sys.modules[{forbidden!r}] = None\n"
        "sys.meta_path = [f for f in sys.meta_path if type(f).__name__ != 'NumbaCudaFinder']\n"
    )
    result = run_python("-c", hide + "import evsim.cuda_kernels.target", NUMBA_ENABLE_CUDASIM="0")
    assert result.returncode != 0
    assert "ImportError: the CUDA backend needs the package numba-cuda" in result.stderr
    assert "pip install 'evsim[cuda]'" in result.stderr.splitlines()[-1]


@pytest.fixture
def target():
    return pytest.importorskip("evsim.cuda_kernels.target", exc_type=ImportError)


@needs_cuda_packages
@pytest.mark.parametrize(
    ("status", "driver", "runtime", "capability", "message"),
    [
        ("", 0, 13050, None, "no NVIDIA driver was found: install driver 580 or newer"),
        ("", 0, 12090, None, "no NVIDIA driver was found: install driver 530 or newer"),
        ("CUDA_SUCCESS", 12040, 13050, None, r"serves CUDA 12\.4, .* of CUDA 13\.5; .* 580 or newer.*evsim\[cuda12\]"),
        ("CUDA_SUCCESS", 12000, 12090, None, r"too old: it serves CUDA 12\.0, .* install driver 530 or newer$"),
        ("CUDA_ERROR_NO_DEVICE", 13000, 13050, None, "no NVIDIA GPU was found; CUDA_VISIBLE_DEVICES='7' may hide it"),
        ("CUDA_ERROR_SYSTEM_NOT_READY", 13000, 13050, None, "does not start .CUDA_ERROR_SYSTEM_NOT_READY.*nvidia-smi"),
        ("CUDA_SUCCESS", 13000, 13050, (7, 0), r"has compute capability 7\.0; .* need 7\.5 or newer.*evsim\[cuda12\]"),
    ],
)
def test_what_stands_in_the_way_of_a_gpu_is_named(target, monkeypatch, status, driver, runtime, capability, message):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(target, "_query_driver", lambda: (status, driver))
    monkeypatch.setattr(target, "_query_runtime", lambda: runtime)
    monkeypatch.setattr(target, "_query_lowest_compute_capability", lambda: (7, 5))
    monkeypatch.setattr(target, "_query_device", lambda: ("Tesla V100", capability, 80, 2**34, 2**33))
    with pytest.raises(RuntimeError, match=message):
        target.check_device()


@needs_cuda_packages
def test_a_gpu_is_described(target, monkeypatch):
    monkeypatch.setattr(target, "_query_driver", lambda: ("CUDA_SUCCESS", 13000))
    monkeypatch.setattr(target, "_query_runtime", lambda: 13050)
    monkeypatch.setattr(target, "_query_device", lambda: ("NVIDIA H100", (9, 0), 132, 80 * 2**30, 78 * 2**30))
    assert str(target.check_device()) == (
        "NVIDIA H100, compute capability 9.0, 132 multiprocessors, 78.0 of 80.0 GiB free, driver for CUDA 13.0, "
        "packages of CUDA 13.5"
    )


@pytest.fixture(scope="module")
def sample():
    """The sample's module; where numba-cuda is missing it can be had by the simulator's process only."""
    return pytest.importorskip("cuda_sample", exc_type=ImportError)


def spikes_by_step(spike, n_spikes):
    return [sorted(spike[first:stop].tolist()) for first, stop in pairwise(n_spikes)]


@pytest.mark.parametrize("threads", [32, 7])
def test_simulated_kernel_equals_compiled_loop(sample, tmp_path, threads):
    network, expected = sample.make_network()
    sample.advance_cpu(network, expected, np.int64(sample.N_STEPS))
    assert expected.n_spikes[-1] > 20
    path = tmp_path / "simulated.npz"
    result = run_python(str(SAMPLE), str(path), str(threads), NUMBA_ENABLE_CUDASIM="1")
    assert result.returncode == 0, result.stderr
    simulated = np.load(path)
    spikes = spikes_by_step(simulated["spike"], simulated["n_spikes"])
    assert spikes == spikes_by_step(expected.spike, expected.n_spikes)
    for name, array in expected._asdict().items():
        assert simulated[name].dtype == array.dtype
        if name != "spike":
            assert simulated[name].tobytes() == array.tobytes(), name


@pytest.fixture(scope="module")
def machine_code():
    return pytest.importorskip("evsim.cuda_kernels.machine_code", exc_type=ImportError)


@needs_cuda_packages
def test_sample_becomes_machine_code_for_every_compute_capability(sample, machine_code):
    codes = machine_code.compile_machine_code(sample.advance_cuda, (*sample.make_network(), np.int64(1)))
    assert [code.compute_capability for code in codes] == list(machine_code.COMPUTE_CAPABILITIES)
    for code in codes:
        assert code.cubin.startswith(b"\x7fELF")
        assert code.registers <= 255
        assert code.spill_stores == code.spill_loads == 0
        assert code.shared == 33 * 8 + 4
        assert code.parameters == (13 * 7 + 2 * 9 + 1) * 8  # an array takes 5 words and 2 a dimension
        for atomic in ("shared.add.u32", "shared.add.u64", "global.add.u32", "global.add.u64"):
            assert re.search(rf"(atom|red)\.([\w.]*\.)?{atomic}", code.ptx)
        assert ".cas." not in code.ptx  # no atomic is a loop of compare-and-swap
    table = machine_code.format_table(codes).splitlines()
    assert len(table) == 1 + len(codes)
    assert table[1].split()[:3] == ["advance_cuda", "7.5", str(codes[0].registers)]


@needs_cuda_packages
def test_physics_is_the_same_arithmetic_on_the_gpu(sample, machine_code):
    arguments = (*sample.make_network(), np.int64(1))
    assert machine_code.find_float_differences(sample.advance_cuda, arguments) == []


@needs_cuda_packages
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_arithmetic_unlike_the_cpu_is_found(machine_code, target, real):
    u32, cuda = np.uint32, target.cuda

    @target.compile_cuda_kernel(launch_bounds=64)
    def careless(a):
        i = u32(cuda.grid(1))
        a[i] = a[i] * real(3) + a[u32(0)]  # within one block of code: NVVM fuses it
        product = a[i] * a[u32(1)]
        if a[u32(2)] > real(0):
            product -= real(2)  # over a branch: ptxas may
        a[i] = fma(product, real(2), a[u32(3)])
        a[u32(3)] = max(a[u32(2)], real(0))
        a[u32(4)] = math.exp(a[u32(4)])

    first = careless.py_func.__code__.co_firstlineno
    found = machine_code.find_float_differences(careless, (np.zeros(1, real),))
    expected = {3: "fused", 6: "fused", 8: "max or min of floats", 9: "approximate"}
    if real is np.float64:
        del expected[9]  # exp of a float64 is a polynomial
    name = Path(__file__).name
    assert {f"{name}:{first + line}: {reason}" for line, reason in expected.items()} <= set(found)
    assert not any(f"{name}:{first + 7}" in line for line in found)  # fused as asked


@needs_cuda_packages
def test_fma_needs_one_type_on_the_gpu_too(machine_code, target):
    @target.compile_cuda_kernel(launch_bounds=64)
    def mixed(a):
        a[0] = fma(a[0], 0.5, a[1])

    with pytest.raises(Exception, match=r"(?s)No implementation.*fma.*float32, float64, float32"):
        machine_code.compile_machine_code(mixed, (np.zeros(2, np.float32),), [(9, 0)])
