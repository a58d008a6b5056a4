"""Ctrl-C, held back while something is under way that must not stop half-done."""

import signal
import threading
from types import FrameType
from typing import Any, ClassVar


class Interrupt:
    """Holds Ctrl-C back inside `with` (in the main thread; elsewhere signals do not arrive); `seen` says of one.

    Inside another one the signal is held back already, which takes a while, and both see it.
    """

    _held: ClassVar[list["Interrupt"]] = []  # under way in the main thread, the outermost first
    _before: ClassVar[Any] = None  # what Ctrl-C did before it

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> "Interrupt":
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            if self._held:
                self.seen = self._held[0].seen
            else:
                Interrupt._before = signal.signal(signal.SIGINT, self._note)
            self._held.append(self)
        return self

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        for each in self._held:
            each.seen = True

    def __exit__(self, *_: object) -> None:
        if self._main:
            self._held.pop()
            if not self._held:
                signal.signal(signal.SIGINT, Interrupt._before)
