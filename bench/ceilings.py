"""What the GPU itself can do, measured: the floor under every time that bench/gpu.py measures in the same run.

Microseconds of a barrier of the grid, nanoseconds of a load that waits for the one before it (in the L2 cache and in
memory), bytes read a second, and integer atomic additions a second at random places of buffers of several sizes.
"""

import time
from typing import Any

import numpy as np
from common import write_line
from device import describe_device, device_parser

from evsim.cuda_kernels.target import (
    SIMULATED,
    check_device,
    compile_cuda_kernel,
    configure_launch,
    cuda,
    grid_sync,
    largest_grid,
)

i32, i64, u32, u64 = np.int32, np.int64, np.uint32, np.uint64
THREADS = 8 if SIMULATED else 256  # of a block
LINE = 32  # words of a cache line


@compile_cuda_kernel((THREADS, 1))
def meet(n_times):
    """Barriers of the grid, and nothing else."""
    for _ in range(n_times):
        grid_sync()


@compile_cuda_kernel((THREADS, 1))
def lay_chain(line, chain):
    """Make chain (uint32, a cache line for each of `line`) lead from line i to line[i]."""
    for i in range(i64(cuda.grid(1)), i64(line.size), i64(cuda.gridsize(1))):
        chain[u64(i) * u64(LINE)] = u32(i64(line[i]) * i64(LINE))


@compile_cuda_kernel((1, 1))
def follow(chain, n_loads, end):
    """Loads of which each needs the one before it."""
    at = chain[u32(0)]
    for _ in range(n_loads):
        at = chain[at]
    end[0] = at


@compile_cuda_kernel((THREADS, 1))
def read(words, total):
    """Read all of words (uint64) once, in loads that do not wait for each other."""
    i, n_all, n_words = u64(cuda.grid(1)), u64(cuda.gridsize(1)), u64(words.size)
    a, b, c, d = u64(0), u64(0), u64(0), u64(0)
    while i + u64(3) * n_all < n_words:
        a ^= words[i]
        b ^= words[i + n_all]
        c ^= words[i + u64(2) * n_all]
        d ^= words[i + u64(3) * n_all]
        i += u64(4) * n_all
    if a ^ b ^ c ^ d == u64(1):  # never, but the compiler does not know
        total[0] = a


@compile_cuda_kernel((THREADS, 1))
def scatter(counter, mask, n_each):
    """Every thread adds 1 to n_each random places of counter (int32)."""
    x = u32((u64(cuda.grid(1)) + u64(1)) * u64(2654435761) & u64(0xFFFFFFFF))
    for _ in range(n_each):  # xorshift
        x = u32(x ^ u32(x << u32(13)))
        x = u32(x ^ u32(x >> u32(17)))
        x = u32(x ^ u32(x << u32(5)))
        cuda.atomic.add(counter, u64(x) & u64(mask), i32(1))


def best_seconds(launch: Any, *arguments: Any, repeat: int = 3) -> float:
    """The shortest of some runs, after one that compiles and warms up."""
    seconds = []
    for _ in range(repeat + 1):
        cuda.synchronize()
        started = time.perf_counter()
        launch(*arguments)
        cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def barrier_us(n_times: int) -> dict[int, float]:
    """Microseconds of a barrier, by the number of blocks of the grid."""
    largest = largest_grid(meet, (n_times,), THREADS)
    n_multiprocessors = check_device().n_multiprocessors
    found = {}
    for blocks in sorted({min(n, largest) for n in (1, 4, 16, 64, *(k * n_multiprocessors for k in (1, 2, 3, 4)))}):
        launch = configure_launch(meet, blocks, THREADS)
        found[blocks] = (best_seconds(launch, n_times) - best_seconds(launch, 0)) / n_times * 1e6
    return found


def load_ns(n_lines: int, n_loads: int) -> float:
    """Nanoseconds of a dependent load in a random cycle through n_lines cache lines."""
    order = np.random.default_rng(0).permutation(n_lines).astype(np.uint32)
    line = np.empty_like(order)
    line[order] = np.roll(order, -1)
    chain = cuda.device_array(n_lines * LINE, np.uint32)
    configure_launch(lay_chain, 8 if SIMULATED else 256, THREADS)(cuda.to_device(line), chain)
    end = cuda.to_device(np.zeros(1, np.uint32))
    return best_seconds(configure_launch(follow, 1, 1), chain, n_loads, end) / n_loads * 1e9


def read_bytes_per_s(n_bytes: int) -> float:
    if not SIMULATED:
        n_bytes = min(n_bytes, check_device().memory_free // 4 // 8 * 8)
    words = (
        cuda.to_device(np.zeros(n_bytes // 8, np.uint64)) if SIMULATED else cuda.device_array(n_bytes // 8, np.uint64)
    )
    launch = configure_launch(read, 8 * check_device().n_multiprocessors, THREADS)
    return n_bytes / best_seconds(launch, words, cuda.to_device(np.zeros(1, np.uint64)))


def atomics_per_s(n_bytes: int, n_each: int) -> float:
    counter = cuda.to_device(np.zeros(n_bytes // 4, np.int32))
    blocks = 8 * check_device().n_multiprocessors
    launch = configure_launch(scatter, blocks, THREADS)
    return blocks * THREADS * n_each / best_seconds(launch, counter, n_bytes // 4 - 1, n_each)


def main() -> None:
    given = device_parser(__doc__ or "").parse_args()
    tiny, mega = given.tiny, 2**20
    result: dict[str, Any] = {
        "benchmark": "ceilings",
        "barrier_us": barrier_us(3 if tiny else 10_000),
        "load_l2_ns": load_ns(8 if tiny else 2**15, 20 if tiny else 200_000),
        "load_memory_ns": load_ns(16 if tiny else 2**23, 20 if tiny else 200_000),
        "read_bytes_per_s": read_bytes_per_s(2048 if tiny else 4096 * mega),
        "atomics_per_s": {
            n_bytes: atomics_per_s(n_bytes, 2 if tiny else 2000)
            for n_bytes in ((64, 128) if tiny else (4 * mega, 16 * mega, 32 * mega, 128 * mega, 1024 * mega))
        },
    }
    result["launch_us"] = best_seconds(configure_launch(meet, 1, THREADS), 0) * 1e6
    write_line({**result, **describe_device()}, given.out)


if __name__ == "__main__":
    main()
