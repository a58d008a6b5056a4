"""Work shared out among threads: kernels release Python's lock, so that several run at a time."""

import time
from collections.abc import Callable, Iterable
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from evsim.jit import atomic_load, compile_kernel, yield_core

__all__ = ["share_out"]

AWAKE = 2e-4  # s that a thread looks for the end of the others' calls before it sleeps: to wake up takes as long
LOOKS = 4000  # that the others take for new calls before they sleep, about a millisecond
MOMENT = 20  # looks in which the thread that calls them comes to leave Python: to wait for it asleep takes longer
u64 = np.uint64


def share_out(threads: int, work: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> None:
    """work(*call) for all calls, on so many threads, of which this is one. An exception of a call is raised.

    Calls are taken one after another: a thread that comes late takes fewer, or none.
    """
    waiting = iter(list(calls))
    come, gone, errors = [], [], []  # type: ignore[var-annotated]

    def take() -> None:
        for call in waiting:
            work(*call)

    def help_out() -> None:
        come.append(None)
        try:
            take()
        except BaseException as error:
            errors.append(error)
        finally:
            gone.append(None)

    for _ in range(threads - 1):
        _helpers(threads).put(help_out)
    try:
        take()
    finally:
        list(waiting)  # after an exception no other call begins
        started = time.perf_counter()
        while len(gone) < len(come):
            time.sleep(0.0 if time.perf_counter() < started + AWAKE else AWAKE)
    if errors:
        raise errors[0]


class _Helpers:
    """Threads, one fewer than so many, that take tasks, and stay awake for a moment where none is left."""

    def __init__(self, threads: int) -> None:
        self._tasks = SimpleQueue[Callable[[], None]]()
        self._n_put = np.zeros(1, np.int64)  # tasks so far
        for number in range(1, threads):
            Thread(target=self._serve, name=f"evsim_{number}", daemon=True).start()

    def put(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)
        self._n_put[0] += 1

    def _serve(self) -> None:
        while True:
            self._tasks.get()()
            n_seen = self._n_put[0]  # before the look at the tasks, lest one that comes in between is overlooked
            if self._tasks.empty():
                look_out(self._n_put, n_seen, LOOKS)


@compile_kernel
def look_out(put, seen, looks):  # type: ignore[no-untyped-def]
    """Wait until put[0] is no longer `seen`, for so many looks, and a MOMENT; others may have the core in between."""
    for _ in range(looks):
        if atomic_load(put, u64(0)) != seen:
            for _ in range(MOMENT):
                yield_core()
            return
        yield_core()


@cache
def _helpers(threads: int) -> _Helpers:
    return _Helpers(threads)
