"""numba's CUDA simulator, mended: its threads meet without polling, and find one shared array where they make one."""

import sys
import threading
from typing import Any

import numpy as np

__all__ = ["mend"]


def mend() -> None:
    """Mend the simulator, once it is imported. Its threads run at the same time and take turns at any instruction."""
    sys.setswitchinterval(1e-5)  # many turns: what threads of a GPU would do out of order, these do too
    _meet_without_polling(sys.modules["numba.cuda.simulator.kernel"])
    _lock_shared_arrays(sys.modules["numba.cuda.simulator.kernelapi"].FakeCUDAShared)


def _meet_without_polling(kernel: Any) -> None:
    """The last thread to come to a barrier lets the others go on; the simulator's own host would ask them in a loop."""

    class Thread(kernel.BlockThread):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.gate = threading.Lock()
            self.gate.acquire()

        def run(self) -> None:
            try:
                super().run()  # which keeps what is raised
            finally:
                self._manager.leave(self)

        def syncthreads(self) -> None:
            self._manager.arrive(self)
            self.gate.acquire()
            if self.abort:
                raise RuntimeError("another thread of the block has failed")

    class Block(kernel.BlockManager):
        def run(self, place: tuple[int, ...], *arguments: Any) -> None:
            def call() -> None:
                self._f(*arguments)

            self._lock = threading.Lock()
            self._waiting: list[Thread] = []
            self._error: Any = None  # the first, as an exception and where it was raised
            threads = [Thread(call, self, place, at, self._debug) for at in np.ndindex(*self._block_dim)]
            self._n_running = len(threads)
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self._error is not None:
                raise self._error[0].with_traceback(self._error[1])

        def arrive(self, thread: Thread) -> None:
            with self._lock:
                self._waiting.append(thread)
                self._open()

        def leave(self, thread: Thread) -> None:
            with self._lock:
                self._n_running -= 1
                self._error = self._error or thread.exception
                self._open()

        def _open(self) -> None:
            """Let the waiting threads go on if all that still run are here, or if they wait in vain."""
            if self._error is not None or len(self._waiting) == self._n_running:
                for thread in self._waiting:
                    thread.abort = self._error is not None
                    thread.gate.release()
                self._waiting = []

    kernel.BlockManager = Block


class _Allocations(dict[Any, Any]):
    """A block's shared arrays, which the simulator looks up, then stores: for one thread at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def get(self, key: Any, default: Any = None) -> Any:
        self._lock.acquire()
        found = super().get(key, default)
        if found is not None:
            self._lock.release()
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self._lock.release()


def _lock_shared_arrays(shared: Any) -> None:
    begin = shared.__init__

    def begin_locked(self: Any, size: int) -> None:
        begin(self, size)
        self._allocations = _Allocations()

    shared.__init__ = begin_locked
