"""How evsim compiles for the GPU: the one module that imports `numba.cuda`, and owner of every kernel's options.

Kernels take from here `cuda`, the two decorators and `grid_sync`; callers take `check_device`, `largest_grid` and
`configure_launch`. With NUMBA_ENABLE_CUDASIM=1 in the environment before numba is imported, kernels run as plain
Python (`SIMULATED`): one block of a cooperative grid, no GPU.
"""

import contextlib
import hashlib
import math
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import config as _config

from evsim.cuda_kernels import simulator
from evsim.jit import CACHE_FOLDER, choose, exp, fma, leading_zeros, positive, product

__all__ = [
    "SIMULATED",
    "Device",
    "check_device",
    "compile_cuda_kernel",
    "compile_device_function",
    "configure_launch",
    "cuda",
    "free_bytes",
    "grid_sync",
    "largest_grid",
    "list_devices",
]

_INSTALL = "pip install 'evsim[cuda]'"
_INSTALL_12 = "pip install 'evsim[cuda12]'"

_numba_config: Any = _config  # its settings are not declared
SIMULATED = bool(_numba_config.ENABLE_CUDASIM)

try:
    from numba import cuda as _cuda
except ImportError as error:
    raise ImportError(f"the CUDA backend needs the package numba-cuda ({error}): {_INSTALL}") from error
cuda: Any = _cuda  # numba-cuda's, in the place of numba's own, is not what type checkers see
if not SIMULATED and getattr(cuda, "implementation", None) != "NVIDIA":
    raise ImportError(f"the CUDA backend needs the package numba-cuda, which is not installed: {_INSTALL}")


def _register_overloads() -> None:
    overload = cuda.extending.overload

    @overload(fma, target="cuda")
    def _overload_fma(a, b, c):  # type: ignore[no-untyped-def]
        if isinstance(a, numba.types.Float) and a == b == c:
            return lambda a, b, c: cuda.fma(a, b, c)
        return None

    @overload(product, target="cuda")
    def _overload_product(a, b):  # type: ignore[no-untyped-def]
        if a == b == numba.types.float64:
            return lambda a, b: cuda.libdevice.dmul_rn(a, b)
        if a == b == numba.types.float32:
            return lambda a, b: cuda.libdevice.fmul_rn(a, b)
        return None

    @overload(choose, target="cuda")
    def _overload_choose(condition, a, b):  # type: ignore[no-untyped-def]
        return lambda condition, a, b: a if condition else b

    @overload(exp, target="cuda")
    def _overload_exp(x):  # type: ignore[no-untyped-def]
        return lambda x: math.exp(x)

    @overload(positive, target="cuda")
    def _overload_positive(x):  # type: ignore[no-untyped-def]
        return lambda x: max(x, 0.0)

    @overload(leading_zeros, target="cuda")
    def _overload_leading_zeros(x):  # type: ignore[no-untyped-def]
        if x == numba.types.uint64:
            return lambda x: np.uint64(cuda.clz(x))
        return None


if SIMULATED:
    simulator.mend()
else:
    _register_overloads()


def _cache_folder() -> str:
    """A folder below evsim's own: also a change of these kernels, or of numba-cuda, must never find a stale one."""
    import numba_cuda

    digest = hashlib.sha256(f"{numba_cuda.__version__}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return str(Path(CACHE_FOLDER) / f"cuda-{digest.hexdigest()[:16]}")


@contextlib.contextmanager
def _cache_in_own_folder():  # type: ignore[no-untyped-def]
    if SIMULATED:
        yield
        return
    config = cuda.core.config
    previous = config.CACHE_DIR
    config.CACHE_DIR = _CACHE_FOLDER
    try:
        yield
    finally:
        config.CACHE_DIR = previous


_CACHE_FOLDER = "" if SIMULATED else _cache_folder()

# Link-time optimisation stays off, so that what runs is the PTX that `machine_code` inspects.
_OPTIONS: dict[str, Any] = {} if SIMULATED else {"fastmath": False, "lto": False, "opt": True, "cache": True}


def compile_cuda_kernel(
    launch_bounds: int | tuple[int, int], cache: bool = True
) -> Callable[[Callable[..., None]], Any]:
    """Compile the decorated function as a kernel on its first launch; kept on disk, unless made anew for its user.

    `launch_bounds` is the most threads of a block, or (that, the least blocks that must fit on a multiprocessor):
    the compiler chooses the registers of a thread so that it can be kept.
    """

    def decorate(function: Callable[..., None]) -> Any:
        with _cache_in_own_folder():
            if SIMULATED:
                return cuda.jit(function)
            options = {**_OPTIONS, "cache": cache}
            return cuda.jit(function, launch_bounds=launch_bounds, **options)  # as a decorator it would forget `lto`

    return decorate


def compile_device_function(function: Callable[..., Any]) -> Any:
    """Compile `function` to be called by kernels: for whatever uses `cuda` outside the module of its kernel."""
    return cuda.jit(function, device=True)


@compile_device_function
def grid_sync():  # type: ignore[no-untyped-def]
    """Wait for all threads of the grid; what they wrote before is then seen by all. Makes the launch cooperative."""
    cuda.cg.this_grid().sync()


def largest_grid(kernel: Any, arguments: tuple[Any, ...], threads: int, shared_bytes: int = 0) -> int:
    """The most blocks of `threads` threads a cooperative launch of `kernel` can have on this device (simulator: 1)."""
    if SIMULATED:
        return 1
    compiled = kernel.compile(tuple(kernel.typeof_pyval(argument) for argument in arguments))
    return int(compiled.max_cooperative_grid_blocks(threads, shared_bytes))


def configure_launch(
    kernel: Any, blocks: int | tuple[int, ...], threads: int, stream: Any = 0, shared_bytes: int = 0
) -> Any:
    """What to call with the kernel's arguments; made once and kept, since making it takes time."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Grid size .* low occupancy"
        )  # a cooperative grid is as large as fits
        return kernel[blocks, threads, stream, shared_bytes]


def free_bytes() -> int | None:
    """Memory of the GPU that is free now, or could be; None on the simulator."""
    if SIMULATED:
        return None
    context = cuda.current_context()
    waiting = getattr(context.memory_manager, "deallocations", None)  # of arrays that nobody has any more
    if waiting is not None:
        waiting.clear()
    return int(context.get_memory_info()[0])


class Device(NamedTuple):
    """The GPU that kernels will run on."""

    name: str
    compute_capability: tuple[int, int]
    n_multiprocessors: int
    memory_total: int  # bytes
    memory_free: int  # bytes
    driver_version: str  # the newest CUDA the driver serves
    runtime_version: str  # the CUDA of the installed packages

    def __str__(self) -> str:
        if SIMULATED:
            return self.name
        return (
            f"{self.name}, compute capability {self.compute_capability[0]}.{self.compute_capability[1]}, "
            f"{self.n_multiprocessors} multiprocessors, {self.memory_free / 2**30:.1f} of "
            f"{self.memory_total / 2**30:.1f} GiB free, driver for CUDA {self.driver_version}, "
            f"packages of CUDA {self.runtime_version}"
        )


def _query_driver() -> tuple[str, int]:
    """The status of the driver's start ("CUDA_SUCCESS", ...; "" where there is no driver) and its version."""
    from cuda.bindings import driver

    try:
        (status,) = driver.cuInit(0)
        _, version = driver.cuDriverGetVersion()
    except RuntimeError:  # libcuda cannot be loaded
        return "", 0
    return status.name, version


def _query_runtime() -> int:
    from cuda.bindings import runtime

    _, version = runtime.getLocalRuntimeVersion()
    return int(version)


def _query_lowest_compute_capability() -> tuple[int, int]:
    """The oldest that the installed packages compile for; 6.0 is the first with cooperative grids."""
    return max((6, 0), cuda.cudadrv.nvrtc.get_lowest_supported_cc()[:2])


def _query_device() -> tuple[str, tuple[int, int], int, int, int]:
    """Name, compute capability, multiprocessors, total and free memory of the current device."""
    return _describe(cuda.get_current_device())


def _query_others() -> list[tuple[str, tuple[int, int], int, int, int]]:
    """The same of the other visible devices."""
    current = cuda.get_current_device().id
    described = []
    for device in cuda.gpus:
        if device.id != current:
            with device:
                described.append(_describe(device))
    return described


def _describe(device: Any) -> tuple[str, tuple[int, int], int, int, int]:
    free, total = cuda.current_context().get_memory_info()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    return name, tuple(device.compute_capability[:2]), int(device.MULTIPROCESSOR_COUNT), int(total), int(free)


def _query_compiler() -> bool:
    """Whether libNVVM is there, which turns kernels into PTX."""
    try:
        return cuda.cudadrv.nvvm.NVVM() is not None
    except (ImportError, OSError, RuntimeError):
        return False


_LOWEST_DRIVER = 12010  # the first that launches kernels with more than 4096 bytes of arguments


def _spell(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def list_devices() -> list[Device]:
    """The GPU that kernels will run on, then the other visible ones; raises as `check_device` does."""
    first = check_device()
    if SIMULATED:
        return [first]
    return [first, *(Device(*other, first.driver_version, first.runtime_version) for other in _query_others())]


def check_device() -> Device:
    """The GPU that kernels will run on: the first that CUDA_VISIBLE_DEVICES shows, unless another is current.

    Raises RuntimeError, naming what is missing (driver, GPU, a newer driver, the compiler, a newer GPU) and what to do.
    """
    if SIMULATED:
        return Device("CUDA simulator", (0, 0), 1, 0, 0, "none", "none")
    if sys.platform == "darwin":
        raise RuntimeError("the CUDA backend needs an NVIDIA GPU, which macOS does not support: use backend='cpu'")
    status, driver_version = _query_driver()
    runtime_version = _query_runtime()
    needed = "580" if runtime_version >= 13000 else "530"
    if not status:
        raise RuntimeError(
            f"no NVIDIA driver was found: install driver {needed} or newer (https://www.nvidia.com/drivers), "
            "or use backend='cpu'"
        )
    if driver_version < max(_LOWEST_DRIVER, runtime_version // 1000 * 1000):
        older = (
            f", or use packages of CUDA 12: {_INSTALL_12} in a fresh environment"
            if driver_version >= _LOWEST_DRIVER
            else ""
        )
        raise RuntimeError(
            f"the NVIDIA driver is too old: it serves CUDA {_spell(driver_version)}, the installed packages are of "
            f"CUDA {_spell(runtime_version)}; install driver {needed} or newer{older}"
        )
    if status == "CUDA_ERROR_NO_DEVICE":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f"; CUDA_VISIBLE_DEVICES={visible!r} may hide it"
        raise RuntimeError(f"no NVIDIA GPU was found{hint}: use backend='cpu'")
    if status != "CUDA_SUCCESS":
        raise RuntimeError(f"the NVIDIA driver does not start ({status}): see what `nvidia-smi` says")
    if not _query_compiler():
        install = _INSTALL if driver_version >= 13000 else _INSTALL_12
        raise RuntimeError(f"the CUDA compiler (libNVVM) was not found: {install}")
    name, compute_capability, n_multiprocessors, total, free = _query_device()
    lowest = _query_lowest_compute_capability()
    if compute_capability < lowest:
        older = f", or {_INSTALL_12} in a fresh environment" if (6, 0) <= compute_capability < lowest else ""
        raise RuntimeError(
            f"{name} has compute capability {compute_capability[0]}.{compute_capability[1]}; the installed packages "
            f"need {lowest[0]}.{lowest[1]} or newer: use another GPU{older}"
        )
    return Device(
        name, compute_capability, n_multiprocessors, total, free, _spell(driver_version), _spell(runtime_version)
    )
