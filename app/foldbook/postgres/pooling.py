"""Poolers that give a session another server connection for each transaction are refused by name.

A session that answers from another process than the one it was connected to is behind a pooler: every pooler tells its
clients a process id of its own. Then a second session, the probe, begins a transaction. In session mode the first one
keeps what it had. In transaction mode the probe is given the first one's server connection, or the first one is given
another. In statement mode the probe may not begin a transaction at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from foldbook.errors import SessionRefused
from foldbook.postgres.sessions import Found

PROBES = 3
"""With several server connections at hand, the first probe may see none of it by chance."""
PATIENCE_S = 2.0

LOST_STATEMENT = ("26000", "42P05")
"""A statement that a session prepared is unknown, or its name is taken: its server connection is another's, too."""

POOLED = (
    "DATABASE_URL leads to a pooler that gives a session another server connection for each transaction (pgbouncer: "
    "pool_mode = transaction or statement), where settings, locks, notifications and prepared statements are lost"
)
_BACKEND = "select pg_catalog.pg_backend_pid()"


def pooled(evidence: object) -> SessionRefused:
    """The refusal of a pooler that is not in session mode."""
    seen = str(evidence).partition("\n")[0]
    return SessionRefused(f"{POOLED} ({seen})", "use a direct connection or session pooling")


class Probe:
    """``other``: a second session. ``look``: what the first one finds in itself, in a transaction of its own."""

    def __init__(self, other: asyncpg.Connection[Any], look: Callable[[], Awaitable[Found]]) -> None:
        self._other = other
        self._look = look

    async def run(self) -> Found:
        """What the first session found last. Raises :class:`SessionRefused`."""
        first = found = await self._look()
        for _ in range(PROBES):
            held = asyncio.ensure_future(self._hold())
            try:
                await asyncio.wait([held], timeout=PATIENCE_S)
                # A probe that waits for a server connection, while the first session has its own, does no harm.
                taken = held.result() if held.done() else None
                found = await self._look_meanwhile(is_held=taken is not None)
                if taken == first.backend or found.backend != first.backend:
                    raise pooled("two sessions had the same server connection")
                if taken is None:
                    break
                await self._other.execute("rollback")
            finally:
                held.cancel()
                await asyncio.wait([held])
        return found

    async def _hold(self) -> int:
        try:
            await self._other.execute("begin")
        except asyncpg.PostgresError as error:
            raise pooled(error) from error
        backend: int = await self._other.fetchval(_BACKEND)
        return backend

    async def _look_meanwhile(self, *, is_held: bool) -> Found:
        looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait([looking], timeout=PATIENCE_S)
            if not looking.done() and is_held:
                # It waits for what the probe holds: then it gets that, and shows whose it was.
                await self._other.execute("rollback")
            return await looking
        finally:
            looking.cancel()
            await asyncio.wait([looking])
