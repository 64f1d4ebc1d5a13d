"""A lease: what only one process may do at a time, and how it knows that it still may.

The database decides who holds it, by its own clock, and refuses appends under an earlier epoch. What leaves this
process by another way, such as a request to somebody else, nobody can refuse: right before that, the holder looks at
what is left of the lease by a clock that does not stop while the process does, and counts from before it asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from foldbook.eventstore.postgres_store import LeaseEpoch, LeaseLost
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection

_ACQUIRE = call("eventstore.acquire_lease", 3)
_RENEW = call("eventstore.renew_lease", 5)
_RELEASE = call("eventstore.release_lease", 3)

RENEWALS_PER_TERM = 4


def boot_time_s() -> float:
    """Seconds on a clock that goes on while the process, or the machine, is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """The lease ``name``, which ``holder`` takes and keeps for ``term_s`` seconds at a time. No other process is called
    that.

    ``status`` is asked at each renewal for what the holder says of itself, as JSON.
    """

    def __init__(
        self,
        name: str,
        holder: str,
        term_s: float,
        status: Callable[[], bytes],
        clock: Callable[[], float] = boot_time_s,
    ) -> None:
        self._name = name
        self._holder = holder
        self.term_s = term_s
        self._status = status
        self._clock = clock
        self._ends_s = 0.0
        self._changed = asyncio.Event()
        self.epoch: int | None = None
        """While it is held."""

    @property
    def pause_s(self) -> float:
        """Between two renewals."""
        return self.term_s / RENEWALS_PER_TERM

    @property
    def as_epoch(self) -> LeaseEpoch:
        assert self.epoch is not None, "it is held"
        return LeaseEpoch(self._name, self._holder, self.epoch)

    async def acquire(self, connection: Connection) -> bool:
        """Take it, if nobody holds it."""
        began_s = self._clock()
        self.epoch = await connection.fetchval(_ACQUIRE, self._name, self._holder, round(self.term_s * 1000))
        if self.epoch is not None:
            self._ends_s = began_s + self.term_s
        return self.epoch is not None

    async def renew(self, connection: Connection) -> None:
        """Raises ``LeaseLost`` if another process has taken it."""
        began_s = self._clock()
        term_ms = round(self.term_s * 1000)
        if not await connection.fetchval(_RENEW, *self.as_epoch, term_ms, self._status()):
            self.lose()
            raise LeaseLost(f"another process has taken the lease {self._name}")
        self._ends_s = began_s + self.term_s
        self._tell()

    async def release(self, connection: Connection) -> None:
        """Let others have it at once."""
        if self.epoch is not None:
            held = self.as_epoch
            self.lose()
            await connection.fetchval(_RELEASE, *held)

    def lose(self) -> None:
        """It is not held any more."""
        self.epoch = None
        self._ends_s = 0.0
        self._tell()

    def _tell(self) -> None:
        """Whoever waits looks again. The next who wait do so for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def is_left(self, seconds: float) -> bool:
        """Will it be held for so long, whatever happens?"""
        return self.epoch is not None and self._clock() + seconds < self._ends_s

    async def wait_for(self, seconds: float) -> None:
        """Return when it will be held for so long. Raises ``LeaseLost`` if it is lost instead."""
        while not self.is_left(seconds):
            if self.epoch is None:
                raise LeaseLost(f"the lease {self._name} is not held")
            await is_set_within(self._changed, self.pause_s)
