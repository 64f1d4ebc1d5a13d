"""The supervisor starts parts in order, restarts a part that ends, and stops them all in reverse order."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from foldbook.engine.console import tell
from foldbook.engine.parts import Part
from foldbook.errors import FoldbookError

READY_TIMEOUT_S = 120
POLL_S = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RESTARTS_MAX = 5
RESTARTS_WINDOW_S = 60


class SupervisorError(FoldbookError, code="supervisor", title="A part of the engine cannot be kept running"):
    """A part can't be started or kept running; the text says which and what to do."""


@dataclass
class Supervisor:
    """Runs ``parts`` inside a ``with`` block. At its end they have stopped."""

    parts: list[Part] = field(default_factory=list)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        tell("stopping")
        while self.parts:
            self.parts.pop().stop()
        tell("stopped")

    def start(self, part: Part) -> None:
        self.parts.append(part)
        part.start()

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Return when ``is_ready()``. A part that ends before that would fail again, so it is not restarted.

        Raises :class:`SupervisorError` if a part ends, or after ``READY_TIMEOUT_S``.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_ready():
            for part in self.parts:
                if (code := part.exit_code()) is not None:
                    raise SupervisorError(f"{part.name} ended with code {code} while starting; see above")
            if time.monotonic() > deadline:
                raise SupervisorError(f"the API was not ready within {READY_TIMEOUT_S} s; see above")
            time.sleep(POLL_S)

    def watch(self, seconds: float = math.inf) -> None:
        """Restart parts that end, for so long, or until a signal. Raises :class:`SupervisorError` for a part that keeps
        ending."""
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            time.sleep(POLL_S)
            for part in self.parts:
                if (code := part.exit_code()) is not None:
                    self._restart(part, code)

    def _restart(self, part: Part, code: int) -> None:
        now = time.monotonic()
        recent = [at for at in self.restarts.get(part.name, []) if at > now - RESTARTS_WINDOW_S]
        if len(recent) >= RESTARTS_MAX:
            raise SupervisorError(
                f"{part.name} ended {RESTARTS_MAX + 1} times within {RESTARTS_WINDOW_S} s, last with code {code}"
            )
        delay_s = 0.0 if not recent else 0.5 * 2 ** (len(recent) - 1)
        tell(f"{part.name} ended with code {code}; restarting it" + (f" in {delay_s:g} s" if delay_s else ""))
        time.sleep(delay_s)
        self.restarts[part.name] = [*recent, time.monotonic()]
        part.start()
