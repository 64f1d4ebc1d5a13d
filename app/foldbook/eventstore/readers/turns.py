"""The turn of a projection: one reset, rebuild or verification of it at a time, in whichever process.

The turn is a lock in an open transaction of a session that does nothing else. It ends with that session, so that
nothing has to be cleared up after a process that died. A run that goes on without its turn, because only that session
was lost, is canceled; and the database refuses what it may still do (``eventstore.projection_check_run``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from foldbook.errors import ProjectionError
from foldbook.eventstore.waits import is_set_within
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, Connection, connect

HEARTBEAT_INTERVAL_S = 5.0
"""Shorter than what anybody calls idle in a transaction."""
HEARTBEAT_TIMEOUT_S = 5.0

_TAKE = call("eventstore.projection_take_turn", 1)

T = TypeVar("T")


class Turn:
    """A turn that this process has, from ``take`` to ``give_back``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: self._lost.set())

    @classmethod
    async def take(cls, dsn: str, projection: str) -> Turn:
        """Raises ``ProjectionError`` projection-busy if somebody else has it."""
        connection = await connect(dsn, settings={"idle_in_transaction_session_timeout": "0"})
        try:
            await connection.execute("begin")
            is_free = await connection.fetchval(_TAKE, projection)
            # Until the next simple query, the portal of this one keeps its snapshot, which holds back vacuum.
            await connection.execute("select 1")
        except BaseException:
            connection.terminate()
            raise
        if not is_free:
            connection.terminate()
            raise ProjectionError("projection-busy", f"a reset, rebuild or verification of {projection} is under way")
        return cls(connection)

    async def during(self, work: Awaitable[T]) -> T:
        """The result of ``work``. Raises ``ConnectionError`` if the turn is lost meanwhile, once the work has ended."""
        working = asyncio.ensure_future(work)
        keeping = asyncio.create_task(self._keep(), name="keep a turn")
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise ConnectionError("its turn was lost: the session that had it has ended")
        finally:
            keeping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait([working])

    async def give_back(self) -> None:
        """Return when others can take it."""
        with suppress(*UNREACHABLE):
            await self._connection.execute("rollback", timeout=HEARTBEAT_TIMEOUT_S)
        self._connection.terminate()

    async def _keep(self) -> None:
        """Return when the session has ended or does not answer."""
        with suppress(*UNREACHABLE):
            while not await is_set_within(self._lost, HEARTBEAT_INTERVAL_S):
                await self._connection.execute("select 1", timeout=HEARTBEAT_TIMEOUT_S)
