"""The connections of this process: how many there may be, whose they are, and how long a client may take.

Somebody who opens connections and sends nothing, or half a request, or takes no answer, must not keep others out. So a
request has to arrive in time, and an answer has to be taken in time. When there are too many connections, a new one
takes the place of one that waits for its client: first of those without a key, and of these first of those that are
idle, the one that has been heard the longest ago. Only if each has a request to answer, the new one is turned away,
with 503. A key may have half of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from foldbook.errors import FoldbookError, Overloaded
from foldbook.wire.requests import RequestRefused

SWEEP_INTERVAL_S = 1.0

CONNECTION = "foldbook.connection"
"""Where a scope has its connection."""


class TooManyConnections(RequestRefused):
    retry_after_s = 1


class Connection(asyncio.Protocol):
    """What makes a protocol of uvicorn's one of the connections of this process."""

    transport: Any
    counted_by: Connections
    heard_at_s = 0.0
    """When something came last."""
    unsent_from_s: float | None = None
    """Since when the client takes too little; None: it is as fast as we are."""
    held_up_at_s = 0.0
    """When we read nothing of it last: its client waited for us."""
    key_id: str | None = None

    @property
    def due_from_s(self) -> float | None:
        """Since when a request is due, or on its way; None: none is."""
        raise NotImplementedError

    @property
    def is_idle(self) -> bool:
        """Has it nothing to answer?"""
        raise NotImplementedError

    @property
    def is_waiting(self) -> bool:
        """Does it wait for its client: for a request, for the rest of one, or until an answer is taken?"""
        return self.is_idle or self.unsent_bytes > 0

    @property
    def is_held_up(self) -> bool:
        """Do we read nothing of it at present?"""
        return False

    @property
    def unsent_bytes(self) -> int:
        unsent: int = self.transport.get_write_buffer_size()
        return unsent

    def end(self, error: FoldbookError) -> None:
        """Close it; a request that is due, or on its way, is answered with ``error``."""
        self.transport.close()

    def abort(self) -> None:
        """Close it, and forget what was not sent."""
        self.transport.abort()

    def claim(self, key_id: str | None) -> None:
        """Raises ``TooManyConnections``."""
        self.counted_by.claim(self, key_id)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.heard_at_s = asyncio.get_running_loop().time()
        self.counted_by.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.counted_by.remove(self)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self.unsent_from_s = None
        super().resume_writing()


class Connections:
    """``timeout_s``: how long a request may take to arrive; ``answer_timeout_s``: how long an answer may wait for a
    client that does not take it."""

    def __init__(self, connections_max: int, timeout_s: float, answer_timeout_s: float) -> None:
        self._max = connections_max
        self._of_key_max = max(1, connections_max // 2)
        self._timeout_s = timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._all: set[Connection] = set()
        self._of_key: Counter[str] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Connection) -> None:
        """One that was made. It may end another, or itself."""
        self._all.add(connection)
        if len(self._all) > self._max:
            others = [each for each in self._all if each is not connection and each.is_waiting]
            if others:
                self._end(min(others, key=_worth), _late())
            else:
                self._end(connection, Overloaded(f"each of {self._max} connections has a request to answer"))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_S, self._sweep)

    def _end(self, connection: Connection, error: FoldbookError) -> None:
        """Now: it is counted no more, and nothing waits for its client."""
        connection.end(error)
        if connection.unsent_bytes:
            connection.abort()
        self.remove(connection)

    def remove(self, connection: Connection) -> None:
        """One that is lost."""
        self._all.discard(connection)
        self._disown(connection)

    def claim(self, connection: Connection, key_id: str | None) -> None:
        """A request with this key came over it. Raises ``TooManyConnections``."""
        if connection.key_id == key_id:
            return
        if key_id is not None and self._of_key[key_id] >= self._of_key_max:
            raise TooManyConnections(f"a key may have {self._of_key_max} connections", "rate-limited")
        self._disown(connection)
        connection.key_id = key_id
        if key_id is not None:
            self._of_key[key_id] += 1

    def _disown(self, connection: Connection) -> None:
        if connection.key_id is not None:
            self._of_key[connection.key_id] -= 1
            if not self._of_key[connection.key_id]:
                del self._of_key[connection.key_id]
            connection.key_id = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        late_s = now_s - self._timeout_s
        for connection in list(self._all):
            if not connection.unsent_bytes:
                connection.unsent_from_s = None
            elif connection.unsent_from_s is None:
                connection.unsent_from_s = now_s
            if _is_over(connection.unsent_from_s, now_s - self._answer_timeout_s):
                connection.abort()
            elif connection.is_held_up:
                connection.held_up_at_s = now_s
            elif connection.held_up_at_s < late_s and _is_over(connection.due_from_s, late_s):
                connection.end(_late())
        self._sweeper = loop.call_later(SWEEP_INTERVAL_S, self._sweep) if self._all else None


def _late() -> RequestRefused:
    return RequestRefused("a request must arrive in time", "request-timeout")


def _worth(connection: Connection) -> tuple[bool, bool, float]:
    """The least is ended first."""
    return connection.key_id is not None, not connection.is_idle, connection.heard_at_s


def _is_over(from_s: float | None, latest_s: float) -> bool:
    return from_s is not None and from_s < latest_s
