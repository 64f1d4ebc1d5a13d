"""The progress of a long command, on standard error: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from foldbook.engine.console import tell

LINE_INTERVAL_S = 5.0


class ProgressDisplay:
    """Shows events per shard. ``done`` is what was done with them, such as "verified"."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._printed_at_s = time.monotonic()
        self._tasks: dict[int, TaskID] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("events " + done),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> ProgressDisplay:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar.console.is_terminal:
            self._bar.stop()

    def show(self, shard: int, events: int, events_total: int) -> None:
        if self._bar.console.is_terminal:
            if shard not in self._tasks:
                self._tasks[shard] = self._bar.add_task(f"shard {shard}", total=events_total)
            self._bar.update(self._tasks[shard], completed=events)
        elif time.monotonic() - self._printed_at_s > LINE_INTERVAL_S:
            self._printed_at_s = time.monotonic()
            tell(f"shard {shard}: {events} of {events_total} events {self._done}")
