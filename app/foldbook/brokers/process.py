"""The gateway as a process: it takes the lease of one kind of broker, and works its accounts term by term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import msgspec

from foldbook.brokers.port import LEASE_PREFIX
from foldbook.brokers.term import Assignment, BrokerOf, Term
from foldbook.errors import FoldbookError
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.lease import Lease
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.connection import UNREACHABLE, Connection, connect

TERM_S = 5.0
"""How long the lease is taken at a time: a successor takes over so long after the last renewal."""

PAUSE_S_MIN = 0.2
PAUSE_S_MAX = 5.0

logger = logging.getLogger(__name__)


class GatewayProcess:
    """``kind``: ``simulated`` or ``live``; ``holder``: who this is, unlike all others."""

    def __init__(
        self,
        dsn: str,
        kind: str,
        shard_count: int,
        broker_of: BrokerOf,
        holder: str,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        poll_interval_s: float = 0.5,
        term_s: float = TERM_S,
    ) -> None:
        self._assignment = Assignment(dsn, kind, shard_count, broker_of, now, new_id, poll_interval_s)
        self._stopping = asyncio.Event()
        self._backoff = Backoff(PAUSE_S_MIN, PAUSE_S_MAX)
        self.lease = Lease(f"{LEASE_PREFIX}{kind}", holder, term_s, self._status)
        self.term: Term | None = None

    def stop(self) -> None:
        self._stopping.set()

    @property
    def is_working(self) -> bool:
        """Does it hold the lease, and has its term begun?"""
        return self.term is not None and self.term.is_working

    async def run(self) -> None:
        """Work until ``stop``. No error ends it: the next term begins from the log."""
        while not self._stopping.is_set():
            try:
                if not await self._try():
                    await self._pause(self.lease.pause_s / 2)
            except (FoldbookError, *UNREACHABLE) as error:
                logger.warning("the gateway's term has ended: %s", error)
                await self._pause(self._backoff.next_s())
            except Exception:
                logger.exception("the gateway's term has ended")
                await self._pause(self._backoff.next_s())

    async def _try(self) -> bool:
        """One term, if nobody else has the lease. Raises what ended it."""
        connection = await connect(self._assignment.dsn)
        try:
            if not await self.lease.acquire(connection):
                return False
            await self._serve(connection)
            return True
        finally:
            self.lease.lose()
            connection.terminate()

    async def _serve(self, connection: Connection) -> None:
        logger.info("working the %s accounts, epoch %s", self._assignment.kind, self.lease.epoch)
        self.term = Term(self._assignment, self.lease)
        try:
            await self.term.run(connection, self._stopping)
        finally:
            if self.term.is_working:
                self._backoff.reset()  # What ended it is not what ended the one before.
            term, self.term = self.term, None
            await term.close()
            with suppress(FoldbookError, *UNREACHABLE):
                await self.lease.release(connection)

    async def _pause(self, seconds: float) -> None:
        await is_set_within(self._stopping, seconds)

    def _status(self) -> bytes:
        return msgspec.json.encode({} if self.term is None else self.term.status())
