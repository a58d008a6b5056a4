"""Work shared out among threads: kernels release Python's lock, so that several run at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any

__all__ = ["share_out"]


def share_out(threads: int, work: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> None:
    """work(*call) for all calls, on so many threads, of which this is one. An exception of a call is raised."""
    waiting = iter(list(calls))

    def take() -> None:
        for call in waiting:
            work(*call)

    others = [_pool(threads).submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        wait(others)
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(threads - 1, 1), thread_name_prefix="evsim")
