"""Ctrl-C, held back while something is under way that must not stop half-done."""

import signal
import threading
from types import FrameType


class Interrupt:
    """Holds Ctrl-C back inside `with` (in the main thread; elsewhere signals do not arrive); `seen` says of one."""

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> None:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._note)

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self.seen = True

    def __exit__(self, *_: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)
