"""What the GPU compiler makes of a kernel, found without a GPU: registers, spills, and arithmetic unlike the CPU's.

A kernel is compiled as its launch would compile it (NVVM to PTX, ptxas by nvJitLink, cooperative kernels linked with
libcudadevrt) for every compute capability asked for. Needs the packages of evsim[cuda], no driver.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numba

from evsim.cuda_kernels.target import SIMULATED, cuda

if SIMULATED:
    raise ImportError("machine code is made by the GPU compiler: unset NUMBA_ENABLE_CUDASIM")

COMPUTE_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))


class MachineCode(NamedTuple):
    """One kernel, compiled for one compute capability."""

    kernel: str
    compute_capability: tuple[int, int]
    registers: int  # of a thread
    spill_stores: int  # bytes of a thread that did not fit into registers, stored
    spill_loads: int  # and loaded again
    stack: int  # bytes of a thread
    shared: int  # bytes of a block, without what a launch adds
    parameters: int  # bytes
    cubin: bytes
    ptx: str


def compile_machine_code(
    kernel: Any,
    arguments: Sequence[Any],
    compute_capabilities: Sequence[tuple[int, int]] = COMPUTE_CAPABILITIES,
) -> list[MachineCode]:
    """Compile `kernel` for each compute capability.

    Parameters
    ----------
    kernel
        What `target.compile_cuda_kernel` returned.
    arguments
        Example arguments: NumPy arrays in place of device arrays, NamedTuples of them, NumPy scalars; or numba types.

    Raises
    ------
    RuntimeError
        Where the linker refuses, with what it says.
    """
    with _without_device(min(compute_capabilities)):
        library = _front_end(kernel, arguments, min(compute_capabilities))  # the same for all that evsim serves
        return [_finish(kernel.py_func.__name__, library, capability) for capability in compute_capabilities]


def format_table(codes: Sequence[MachineCode]) -> str:
    """A line for each, with a heading."""
    lines = ["kernel                            cc  registers  spilled  loaded  stack  shared  parameters   cubin"]
    lines += [
        f"{code.kernel:<30} {code.compute_capability[0]:>3}.{code.compute_capability[1]}  {code.registers:>9}  "
        f"{code.spill_stores:>7}  {code.spill_loads:>6}  {code.stack:>5}  {code.shared:>6}  {code.parameters:>10}  "
        f"{len(code.cubin):>6}"
        for code in codes
    ]
    return "\n".join(lines)


def find_float_differences(kernel: Any, arguments: Sequence[Any]) -> list[str]:
    """Where the GPU may not give the CPU's number: "file.py:12: reason", in order; none is what a kernel should have.

    - A product and a sum are fused, unasked, to one multiply-add, which rounds once: write `evsim.jit.fma`, or split
      them by an integer. Two compilers do it: NVVM, found by comparing with what it makes when told not to, and
      ptxas, which may fuse any product with a sum it goes into, also over a branch.
    - max or min of floats: the GPU puts +0 above -0 and drops nan, Python and the CPU keep the first argument unless
      the second is greater: write `b if a < b else a`.
    - An approximate instruction.
    """
    compile_ir = cuda.cudadrv.nvvm.compile_ir
    with _without_device((9, 0)):
        modules = _front_end(kernel, arguments, (9, 0), lineinfo=True).llvm_strs
        found: Counter[str] = Counter()
        for arch in ("compute_90", "compute_100"):  # NVVM has one compiler up to the first, another from the second on
            ptx = compile_ir(modules, opt=3, arch=arch).decode()
            asked = compile_ir(modules, opt=3, arch=arch, fma=False).decode()
            fused = _locate(ptx, _matching(ptx, r"fma\.rn\.")) - _locate(asked, _matching(asked, r"fma\.rn\."))
            fused += _locate(ptx, _fusable_lines(ptx))
            greatest = _locate(ptx, _matching(ptx, r"(max|min)\.[\w.]*f(32|64)\b"))
            rough = _locate(ptx, _matching(ptx, r"\w+\.([\w.]*\.)?(approx|full|ftz)\b"))
            for places, reason in ((fused, "fused"), (greatest, "max or min of floats"), (rough, "approximate")):
                found |= Counter({f"{place}: {reason}": n for place, n in places.items()})
    return sorted(found)


def _finish(name: str, library: Any, capability: tuple[int, int]) -> MachineCode:
    # like a launch, which asks for the features of just this chip where there are such
    (ptx,) = library.get_asm_strs(cc=(*capability, "a" if capability >= (9, 0) else ""))
    entry = re.search(r"\.entry\s+(\w+)\s*\(([^)]*)\)", ptx)
    arch = re.search(r"\.target\s+(\w+)", ptx)
    assert entry is not None
    assert arch is not None
    cubin, log = _link(ptx, arch[1], library.use_cooperative, name)
    compiled, linked = log[log.index(f"'{entry[1]}'") :], log[log.rindex(f"'{entry[1]}'") :]
    return MachineCode(
        kernel=name,
        compute_capability=capability,
        registers=_number(linked, r"used (\d+) registers"),
        spill_stores=_number(compiled, r"(\d+) bytes spill stores"),
        spill_loads=_number(compiled, r"(\d+) bytes spill loads"),
        stack=_number(linked, r"(\d+) stack"),
        shared=sum(int(size) for size in re.findall(r"^\.(?:visible )?\.?shared .*\[(\d+)\];", ptx, re.MULTILINE)),
        parameters=sum(int(bits) // 8 for bits in re.findall(r"\.param \.[a-z](\d+)", entry[2])),
        cubin=cubin,
        ptx=ptx,
    )


def _number(log: str, pattern: str) -> int:
    match = re.search(pattern, log)
    if match is None:
        raise RuntimeError(f"the linker's log has no {pattern!r}:\n{log[:2000]}")
    return int(match[1])


@contextlib.contextmanager
def _without_device(capability: tuple[int, int]) -> Iterator[None]:
    """Let numba-cuda, which asks the device what to compile for, find one of this compute capability."""
    device = mock.Mock(compute_capability=capability)
    with (
        mock.patch.object(cuda.dispatcher, "get_current_device", return_value=device),
        mock.patch.object(cuda.compiler, "get_current_device", return_value=device),
    ):
        yield


def _front_end(kernel: Any, arguments: Sequence[Any], capability: tuple[int, int], lineinfo: bool = False) -> Any:
    """numba's part: the kernel as LLVM modules, in a code library."""
    signature = [value if isinstance(value, numba.types.Type) else numba.typeof(value) for value in arguments]
    library, _ = cuda.compiler._compile_pyfunc_with_fixup(
        kernel.py_func,
        numba.types.void(*signature),
        device=False,
        abi="numba",
        cc=capability,
        lineinfo=lineinfo,
        fastmath=kernel.targetoptions["fastmath"],
        opt=kernel.targetoptions["opt"],
        launch_bounds=kernel.targetoptions["launch_bounds"],
    )
    return library


def _link(ptx: str, arch: str, cooperative: bool, name: str) -> tuple[bytes, str]:
    """The cubin of `ptx`, and what ptxas and the linker say about it."""
    from cuda import pathfinder
    from cuda.bindings import nvjitlink

    options = [f"-arch={arch}", "-verbose"]
    handle = nvjitlink.create(len(options), options)
    try:
        text = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), name)
        if cooperative:
            nvjitlink.add_file(handle, nvjitlink.InputType.LIBRARY, pathfinder.find_static_lib("cudadevrt"))
        nvjitlink.complete(handle)
        cubin = bytearray(nvjitlink.get_linked_cubin_size(handle))
        nvjitlink.get_linked_cubin(handle, cubin)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    except nvjitlink.nvJitLinkError as error:
        reason = bytearray(nvjitlink.get_error_log_size(handle))
        nvjitlink.get_error_log(handle, reason)
        raise RuntimeError(f"kernel {name!r} for {arch}: {error}: {reason.decode(errors='replace')}") from error
    finally:
        nvjitlink.destroy(handle)
    return bytes(cubin), log.decode(errors="replace")


def _matching(ptx: str, pattern: str) -> list[int]:
    """The lines whose instruction matches."""
    instruction = re.compile(r"\s*(@\S+\s+)?" + pattern)
    return [number for number, line in enumerate(ptx.splitlines()) if instruction.match(line)]


def _fusable_lines(ptx: str) -> list[int]:
    """Sums with a product among their terms, both without a rounding of their own (`mul.f32`, not `mul.rn.f32`)."""
    instruction = re.compile(r"\s*(?:@\S+\s+)?([a-z]+)((?:\.\w+)*)\s+(%\w+),\s*(.*);")
    floats = (".f32", ".f64", ".f32x2")
    parsed = [(number, match) for number, line in enumerate(ptx.splitlines()) if (match := instruction.match(line))]
    products: set[str] = set()
    while True:  # a product stays one through copies, choices and changes of sign
        before = len(products)
        for _, match in parsed:
            name, kind, result, terms = match.groups()
            if (name == "mul" and kind in floats) or (
                name in ("mov", "selp", "neg", "abs") and products & _registers(terms)
            ):
                products.add(result)
        if len(products) == before:
            break
    return [
        number
        for number, match in parsed
        if match[1] in ("add", "sub") and match[2] in floats and products & _registers(match[4])
    ]


def _registers(terms: str) -> set[str]:
    return set(re.findall(r"%\w+", terms))


def _locate(ptx: str, numbers: Sequence[int]) -> Counter[str]:
    """The source lines ("file.py:12") that these lines of the PTX were compiled from."""
    lines = ptx.splitlines()
    files = {
        match[1]: Path(match[2]).name for line in lines if (match := re.match(r'\s*\.file\s+(\d+)\s+"(.*?)"', line))
    }
    places: Counter[str] = Counter()
    wanted = set(numbers)
    place = "?"
    for number, line in enumerate(lines):
        if match := re.match(r"\s*\.loc\s+(\d+)\s+(\d+)", line):
            place = f"{files[match[1]]}:{match[2]}"
        elif number in wanted:
            places[place] += 1
    return places
