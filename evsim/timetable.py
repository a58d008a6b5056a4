"""What is due between two steps: at multiples of an interval, or where a run begins and ends."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

NEVER = 2**62


@dataclass
class _Entry:
    rank: int
    every: int  # steps; 0: where runs begin and end
    due: int
    action: Callable[[int], None]  # takes the step that comes next


class Timetable:
    """Runs stop at what is due, so that it happens at the same steps however they are divided."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def put(self, key: Hashable, every: int, action: Callable[[int], None], rank: int, first: int = 0) -> None:
        """Act at the multiples of `every` steps from `first` on, in the place of what `key` stood for.

        With every = 0: where runs begin and end. Of what is due together, the lowest rank comes first.
        """
        due = -(-first // every) * every if every else NEVER
        self._entries[key] = _Entry(rank, every, due, action)

    def move(self, step: int) -> None:
        """Go on at `step`, with what was due before it done."""
        for entry in self._entries.values():
            if entry.every:
                entry.due = (step // entry.every + 1) * entry.every

    @property
    def due(self) -> int:
        """The next step before which something is to be done."""
        return min((entry.due for entry in self._entries.values()), default=NEVER)

    def act(self, step: int, edge: bool = False) -> None:
        """Do what is due before `step`; `edge`: a run begins or ends there."""
        for entry in sorted(self._entries.values(), key=lambda entry: entry.rank):
            if entry.due <= step:
                entry.due = (step // entry.every + 1) * entry.every
                entry.action(step)
            elif edge and not entry.every:
                entry.action(step)
