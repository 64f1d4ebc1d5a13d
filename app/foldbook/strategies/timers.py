"""The timers of a strategy on a clock that somebody else moves."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class _Timer(msgspec.Struct):
    due_ns: int
    every_ns: int | None


class Timers:
    """Named timers; times and lengths are nanoseconds, times since 1970-01-01T00:00:00Z.

    A strategy has a few, so the next one is looked for among all of them, but only when something has changed.
    """

    def __init__(self) -> None:
        self._timers: dict[str, _Timer] = {}
        self.next_ns: int | None = None
        """When the next timer is due; None: none is set."""

    def set(self, name: str, now_ns: int, at_ns: int | None = None, every_ns: int | None = None) -> None:
        """Fire at ``at_ns``, or after ``every_ns`` if that is None, and again after every ``every_ns``, if given.

        Nothing fires before now: a time that is over is now. A timer of the same name is replaced. Raises
        ``ValueError`` if neither time is given, or ``every_ns`` is not greater than 0.
        """
        if every_ns is not None and every_ns <= 0:
            raise ValueError(f"every_ns must be greater than 0, not {every_ns}")
        if at_ns is None:
            if every_ns is None:
                raise ValueError(f"timer {name!r} needs a time or an interval")
            at_ns = now_ns + every_ns
        self._timers.pop(name, None)  # of two timers that are due together, the one that was set first fires first
        self._timers[name] = _Timer(max(at_ns, now_ns), every_ns)
        self._find_next()

    def cancel(self, name: str) -> None:
        """Forget a timer, if there is one of this name."""
        if self._timers.pop(name, None) is not None:
            self._find_next()

    def due(self, until_ns: int) -> Iterator[tuple[str, int]]:
        """The timers that fire up to ``until_ns``, included, and when each was due, in order of time.

        They fire one by one: what is set or canceled after one of them counts for the next.
        """
        while self.next_ns is not None and self.next_ns <= until_ns:
            due_ns = self.next_ns
            name, timer = next(item for item in self._timers.items() if item[1].due_ns == due_ns)
            if timer.every_ns is None:
                del self._timers[name]
            else:
                timer.due_ns += timer.every_ns
            self._find_next()
            yield name, due_ns

    def _find_next(self) -> None:
        self.next_ns = min((timer.due_ns for timer in self._timers.values()), default=None)
