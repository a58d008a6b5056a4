"""How evsim compiles: one place for the options of every kernel and for the on-disk cache.

Compiled kernels are kept in a folder whose name carries a hash of evsim's own sources and of the versions of
numba and numpy, so a second start is fast and a stale kernel is never loaded (numba itself does not notice
that a helper in another file has changed). The folder lies in `EVSIM_CACHE_DIR`, or in the user's cache folder.
"""

import hashlib
import math
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core import config as _config
from numba.extending import intrinsic, overload, register_jitable

__all__ = [
    "CACHE_FOLDER",
    "atomic_add",
    "atomic_load",
    "bind_kernel",
    "choose",
    "compile_kernel",
    "disjoint",
    "element_pointer",
    "exp",
    "fma",
    "leading_zeros",
    "positive",
    "prefetch",
    "product",
    "register_jitable",
    "yield_core",
]


def _cache_folder() -> str:
    package = Path(__file__).parent
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {sys.version}".encode())
    for source in sorted(package.rglob("*.py")):
        digest.update(source.read_bytes())
    if "EVSIM_CACHE_DIR" in os.environ:
        base = Path(os.environ["EVSIM_CACHE_DIR"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "evsim"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "evsim"
    folder = base / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"evsim-{digest.hexdigest()[:16]}"
    return str(folder)


CACHE_FOLDER = _cache_folder()
_numba_config: Any = _config  # its settings are not declared
_FLOAT32_OVERFLOW = (2.0 - 2.0**-24) * 2.0**127  # rounds to infinity, as does what is larger
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy", "_nrt": False}


def compile_kernel(function: Callable[..., Any], cached: bool = True) -> Callable[..., Any]:
    """Compile `function` for the CPU on its first call: releases the GIL, never raises, cached on disk.

    One made in each run, around what the user may have written, is not `cached`. A kernel allocates nothing. Arrays are
    then not reference-counted, whose atomic counters threads would fight over.
    """
    previous = _numba_config.CACHE_DIR
    _numba_config.CACHE_DIR = CACHE_FOLDER  # read when the dispatcher is made, and by users' own kernels later
    try:
        return numba.njit(**{**_OPTIONS, "cache": cached})(function)
    finally:
        _numba_config.CACHE_DIR = previous


def bind_kernel(kernel: Any, arguments: Sequence[Any]) -> Callable[..., Any]:
    """A kernel as compiled for the types of these arguments, which all its calls must then have.

    Of 200 arrays it takes numba ten times as long to find the types, again at each call, as to hand them over.
    """
    bound: Callable[..., Any] = kernel.compile(tuple(numba.typeof(argument) for argument in arguments))
    return bound


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once: the same number on every backend.

    As plain Python, which only the CUDA simulator runs, it is exact too, for float32 and float64.
    """
    if isinstance(a, np.float32):
        return np.float32(_fma_float32(float(a), float(b), float(c)))
    return np.float64(_fma_float64(float(a), float(b), float(c)))


def _fma_float32(a: float, b: float, c: float) -> float:
    """A float64 that rounds to the float32 nearest to a * b + c, of which the product is exact in float64.

    The sum is rounded to odd (Boldo and Melquiond 2008, "Emulation of a FMA and correctly rounded sums"): rounding it
    to nearest would let the second rounding, to float32, start from a false tie.
    """
    product = a * b
    total = product + c
    if not math.isfinite(total):
        return total
    part = total - product
    error = (product - (total - part)) + (c - part)
    (bits,) = struct.unpack("<q", struct.pack("<d", total))
    if error != 0.0 and bits & 1 == 0:
        bits += 1 if (error > 0.0) == (total > 0.0) else -1  # away from zero, towards it
    (odd,) = struct.unpack("<d", struct.pack("<q", bits))
    return math.copysign(math.inf, odd) if abs(odd) >= _FLOAT32_OVERFLOW else odd


def _fma_float64(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b)):
        return a * b + c
    if not math.isfinite(c):
        return c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c  # for its sign: nothing is rounded
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@intrinsic
def _fma_cpu(_typing_context, a, b, c):  # type: ignore[no-untyped-def]
    if not (isinstance(a, numba.types.Float) and a == b == c):
        return None

    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fma(*arguments)

    return a(a, b, c), codegen


@overload(fma, target="cpu")
def _overload_fma(a, b, c):  # type: ignore[no-untyped-def]
    if isinstance(a, numba.types.Float) and a == b == c:
        return lambda a, b, c: _fma_cpu(a, b, c)
    return None


def product(a: Any, b: Any) -> Any:
    """a * b, rounded by itself: a GPU's compilers would fuse a plain product with a sum it goes into."""
    return a * b


@overload(product, target="cpu")
def _overload_product(a, b):  # type: ignore[no-untyped-def]
    return lambda a, b: a * b


def choose(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b: numbers, or vectors of `lanes`."""
    return a if condition else b


@overload(choose, target="cpu")
def _overload_choose(condition, a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, numba.types.Number) and isinstance(b, numba.types.Number):
        return lambda condition, a, b: a if condition else b
    return None


def exp(x: Any) -> Any:
    """e to the power of x, a number or an array; for surrogates only, since backends differ in its last digit."""
    return np.exp(x)


def positive(x: Any) -> Any:
    """x where it is above 0, else 0: a number or an array."""
    return np.maximum(x, 0)


def leading_zeros(x: Any) -> Any:
    """The number of leading zero bits of a uint64."""
    return np.uint64(64 - int(x).bit_length())


@intrinsic
def _leading_zeros_cpu(_typing_context, x):  # type: ignore[no-untyped-def]
    def codegen(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return numba.types.uint64(numba.types.uint64), codegen


@overload(leading_zeros, target="cpu")
def _overload_leading_zeros(x):  # type: ignore[no-untyped-def]
    return lambda x: _leading_zeros_cpu(x)


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """For intrinsics: where `array[index]` lies."""
    view = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, view, [index], wraparound=False)


@intrinsic
def disjoint(_typing_context):  # type: ignore[no-untyped-def]
    """Say first in a kernel: no array that it writes to overlaps another one. Its loops vectorise without a test."""

    def codegen(context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return numba.types.void(), codegen


@intrinsic
def atomic_add(_typing_context, array, index, value):  # type: ignore[no-untyped-def]
    """Add `value` to `array[index]` (sequentially consistent) and return what was there before."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.atomic_rmw("add", pointer, arguments[2], "seq_cst")

    return array.dtype(array, numba.types.uint64, array.dtype), codegen


@intrinsic
def atomic_load(_typing_context, array, index):  # type: ignore[no-untyped-def]
    """`array[index]`, read afresh from memory (acquire)."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load_atomic(pointer, "acquire", align=array.dtype.bitwidth // 8)

    return array.dtype(array, numba.types.uint64), codegen


@intrinsic
def prefetch(_typing_context, array, index):  # type: ignore[no-untyped-def]
    """Ask the processor to fetch `array[index]` into its cache; any index is allowed."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = element_pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        byte_pointer = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte_pointer, word, word, word])
        name = "llvm.prefetch.p0i8" if str(byte_pointer) == "i8*" else "llvm.prefetch.p0"
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        builder.call(function, [builder.bitcast(pointer, byte_pointer), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.uint64), codegen


yield_core = numba.types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", numba.types.int32()
)
