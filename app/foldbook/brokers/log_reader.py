"""What the gateway hears from the log: the events of the accounts of one kind of broker, command by command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

from foldbook.brokers.port import BrokerUnavailable
from foldbook.eventstore.events import Event
from foldbook.eventstore.readers.hints import Hints
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection
from foldbook.trading.events import EVENT_TYPES

POSITIONS_MAX = 2_000
"""Positions that are read at once."""
PAUSE_S = 0.02
"""After a look that a hint led to and that found nothing, however many there are."""

_LESS = "the log is another one than before, which may have less than was read"

_HEAD = call("eventstore.head", 1)
_READ_ACCOUNTS = call("brokers.read_accounts", 4)


class Told(NamedTuple):
    """The events of one command. ``sequence``: of the last of them; ``occurred_at``: of the first."""

    account: str
    occurred_at: datetime
    sequence: int
    command_id: UUID
    rows: Sequence[Any]

    def events(self) -> list[Event]:
        """Raises ``UnknownEvent`` and ``UnreadableEvent``."""
        return [EVENT_TYPES.decode(row["type"], row["schema_version"], row["payload"]) for row in self.rows]


class LogReader:
    """Reads a shard, and calls ``hear`` in the order of the log. What that raises goes to ``failed``.

    ``is_another`` says of a new connection whether the log may have less than was read.
    """

    def __init__(
        self,
        dsn: str,
        shard: int,
        kind: str,
        hear: Callable[[Told], None],
        failed: Callable[[BaseException], None],
        is_another: Callable[[Connection], Awaitable[bool]],
        *,
        poll_interval_s: float,
    ) -> None:
        self.shard = shard
        self.checkpoint = 0
        self.head = 0
        self._kind = kind
        self._hear = hear
        self._failed = failed
        self._poll_interval_s = poll_interval_s
        self._is_another = is_another
        self._hints = Hints(shard)
        self.hint = self._hints.take
        """Takes a notification of ``foldbook_log``."""
        self._loop = Reconnecting(f"the gateway's reader of shard {shard}", dsn, self._read)

    def begin_after(self, position: int) -> None:
        self.checkpoint = position

    async def start(self) -> None:
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def _read(self, connection: Connection) -> None:
        if await self._is_another(connection):
            self._failed(BrokerUnavailable(_LESS))
            return
        self._loop.is_well()
        while not self._loop.stopping.is_set():
            is_hinted = self._hints.look()
            head = await connection.fetchrow(_HEAD, self.shard)
            self.head = 0 if head is None else head["last_position"] or 0
            if self.head < self.checkpoint:
                self._failed(BrokerUnavailable(_LESS))
                return
            if is_hinted and self.checkpoint >= self.head:
                await asyncio.sleep(PAUSE_S)
            while self.checkpoint < self.head:
                to = min(self.checkpoint + POSITIONS_MAX, self.head)
                rows = await connection.fetch(_READ_ACCOUNTS, self.shard, self._kind, self.checkpoint, to)
                try:
                    for told in _by_command(rows):
                        self._hear(told)
                except Exception as error:
                    self._failed(error)
                    return
                self.checkpoint = to
            self._hints.reached(self.checkpoint)
            await self._hints.wait(self._poll_interval_s)


def _by_command(rows: Iterable[Any]) -> Iterable[Told]:
    for (account, command_id), group in groupby(rows, key=lambda row: (row["account"], row["command_id"])):
        facts = list(group)
        yield Told(account, facts[0]["occurred_at"], facts[-1]["sequence"], command_id, facts)
