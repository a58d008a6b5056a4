"""Work shared out among threads: kernels release Python's lock, so that several run at a time."""

import time
from collections.abc import Callable, Iterable
from functools import cache
from queue import SimpleQueue
from threading import Thread
from typing import Any

__all__ = ["share_out"]

AWAKE = 2e-4  # s that a thread looks for the end of the others' calls before it sleeps: to wake up takes as long


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
        _tasks(threads).put(help_out)
    try:
        take()
    finally:
        list(waiting)  # after an exception no other call begins
        started = time.perf_counter()
        while len(gone) < len(come):
            time.sleep(0.0 if time.perf_counter() < started + AWAKE else AWAKE)
    if errors:
        raise errors[0]


@cache
def _tasks(threads: int) -> "SimpleQueue[Callable[[], None]]":
    """What the other threads, one fewer than so many, take their tasks from."""
    tasks = SimpleQueue[Callable[[], None]]()

    def serve() -> None:
        while True:
            tasks.get()()

    for number in range(1, threads):
        Thread(target=serve, name=f"evsim_{number}", daemon=True).start()
    return tasks
