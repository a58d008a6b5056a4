"""Which backend a network runs on, decided before it is built."""

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

from numba.core import config as _config

from evsim.layout import lay_out
from evsim.memory import estimate_memory
from evsim.network import Network

__all__ = ["choose_backend", "choose_batch_backend", "find_gpu", "reason_against_gpu"]

BACKENDS = ("auto", "cpu", "cuda")
SPARE_BYTES = 2**29  # of a GPU's memory, for the lists of spikes and the driver
_NO_GPU = (34, 100)  # CUDA_ERROR_STUB_LIBRARY, CUDA_ERROR_NO_DEVICE
_numba_config: Any = _config  # its settings are not declared


def choose_backend(network: Network, backend: str) -> str:
    """The backend that `backend` ("auto", "cpu" or "cuda") means for this network: "cpu" or "cuda".

    "auto" is the GPU where there is one and the network fits into its memory, and the CPU elsewhere; the simulator is
    taken where asked for only. Where there is a GPU, a line on stderr says what was taken, once, or why not the GPU.

    Raises
    ------
    ValueError : no such backend.
    ImportError, RuntimeError : "cuda" was asked for and no GPU can be used; names the remedy.
    MemoryError : "cuda" was asked for and its memory is too small; names what is too big.
    """
    return _choose(backend, lambda: _check_fit(network))


def choose_batch_backend(backend: str) -> str:
    """The same for a layered network, whose memory depends on its batches: "auto" is the GPU where there is one."""
    return _choose(backend, _check_gpu)


def _choose(backend: str, check: Callable[[], str]) -> str:
    """The backend; `check` returns the name of the GPU to use, or raises."""
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; it must be 'auto', 'cpu' or 'cuda'")
    if backend == "cuda":
        check()
        return "cuda"
    if backend == "cpu" or _numba_config.ENABLE_CUDASIM or not find_gpu():
        return "cpu"
    try:
        _say(f"running on the GPU: {check()} (backend='cpu' takes the CPU)")
    except (ImportError, RuntimeError, MemoryError) as error:
        _say(f"running on the CPU, because the GPU cannot be used: {error}")
        return "cpu"
    return "cuda"


def reason_against_gpu() -> str | None:
    """Why "auto" takes the CPU for any network; None where it can take the GPU."""
    if _numba_config.ENABLE_CUDASIM:
        return "the simulator is taken where asked for only"
    if not find_gpu():
        return "there is no NVIDIA GPU"
    try:
        from evsim.cuda_kernels.target import check_device

        check_device()
    except (ImportError, RuntimeError) as error:
        return str(error)
    return None


@functools.cache
def find_gpu() -> bool:
    """Whether the driver shows a GPU. Without a driver this takes no time, and nothing of CUDA is imported."""
    if sys.platform == "darwin":
        return False
    try:
        driver: Any = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        return driver.cuInit(0) not in _NO_GPU
    except (OSError, AttributeError):
        return False


def _check_gpu() -> str:
    """The name of the GPU; raises where there is none."""
    from evsim.cuda_kernels.target import check_device

    return check_device().name


def _check_fit(network: Network) -> str:
    """The name of the GPU that holds the network; raises where there is none."""
    from evsim.cuda_kernels.maker import CudaMaker
    from evsim.cuda_kernels.target import SIMULATED, check_device

    device = check_device()
    if not SIMULATED:
        layout = lay_out(network, 1)
        memory = estimate_memory(network, layout, CudaMaker(network, layout).scratch_bytes())
        try:
            memory.check(device.memory_free - SPARE_BYTES)
        except MemoryError as error:
            raise MemoryError(f"{device.name}: {error}, or backend='cpu'") from None
    return device.name


@functools.cache
def _say(line: str) -> None:
    print(f"evsim: {line}", file=sys.stderr)
