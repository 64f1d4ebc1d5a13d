"""The relay as a process: it takes the lease, and while it holds it relays every shard over one connection.

Two relays may run. One works, and the other takes over some seconds after the first has ended, so that the order is
kept: what a late relay still has under way repeats events, and a consumer knows them by their positions.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import msgspec
from aio_pika.abc import AbstractConnection

from foldbook.errors import FoldbookError
from foldbook.eventstore.lease import Lease
from foldbook.eventstore.postgres_store import LeaseLost
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.readers.reconnecting import Reconnecting
from foldbook.eventstore.readers.subscription import POLL_INTERVAL_S
from foldbook.messaging.connection import CALL_TIMEOUT_S, RabbitLink
from foldbook.messaging.relay import RELAY, SEND_S, STOP_TIMEOUT_S, ShardRelay
from foldbook.messaging.topology import declare, topology
from foldbook.postgres.connection import UNREACHABLE, Connection

TERM_S = 5.0
"""How long the lease is taken at a time: a successor takes over so long after the last renewal."""

logger = logging.getLogger(__name__)


class RelayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay says of itself. ``state``: ``working``; ``blocked`` by an alarm of RabbitMQ's; ``disconnected``
    from it; ``failing``: connected, and something goes wrong. ``unrouted``: events, since it began, for which no queue
    was bound."""

    state: str = "disconnected"
    checkpoints: dict[str, int] = {}
    unrouted: int = 0
    error: str | None = None


class RelayProcess:
    """``holder``: who this is, unlike all others."""

    def __init__(
        self,
        dsn: str,
        url: str,
        shard_count: int,
        holder: str,
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
        term_s: float = TERM_S,
    ) -> None:
        assert term_s > 2 * SEND_S, "or nothing could be sent between two renewals"
        self._url = url
        self._topology = topology(shard_count)
        self._shards = [ShardRelay(dsn, shard, poll_interval_s) for shard in range(shard_count)]
        self._lease = Lease(RELAY, holder, term_s, lambda: msgspec.json.encode(self.status))
        self._loop = Reconnecting("the relay", dsn, self._hold)
        self._listener = Listener(dsn)
        for shard in self._shards:
            self._listener.listen(LOG_CHANNEL, shard.hint)
        self._link: RabbitLink | None = None

    async def start(self) -> None:
        await self._listener.start()
        await self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop(grace_s=STOP_TIMEOUT_S * 2)
        await self._listener.stop()

    @property
    def status(self) -> RelayStatus:
        link = self._link
        if link is None:
            return RelayStatus()
        state = link.state
        if state == "connected":
            state = "working" if link.error is None else "failing"
        return RelayStatus(
            state=state,
            checkpoints={str(shard.shard): shard.checkpoint for shard in self._shards},
            unrouted=sum(shard.unrouted for shard in self._shards),
            error=link.error,
        )

    async def _hold(self, connection: Connection) -> None:
        """Take the lease whenever it is free, keep it, and relay meanwhile."""
        lease = self._lease
        self._loop.is_well()
        try:
            while not self._loop.stopping.is_set():
                # After a lost connection it may still be held.
                if lease.epoch is None and not await lease.acquire(connection):
                    await self._loop.pause(lease.pause_s / 2)
                    continue
                try:
                    await self._relay(connection)
                except LeaseLost as error:
                    logger.warning("%s", error)
        finally:
            with suppress(FoldbookError, *UNREACHABLE):
                if self._loop.stopping.is_set():
                    await lease.release(connection)

    async def _relay(self, connection: Connection) -> None:
        """Relay while the lease is renewed. Raises ``LeaseLost``."""
        logger.info("relaying the log, epoch %s", self._lease.epoch)
        link = self._link = RabbitLink("the relay", self._url, self._work)
        await link.start()
        try:
            while not self._loop.stopping.is_set():
                await self._lease.renew(connection)
                await self._loop.pause(self._lease.pause_s)
        finally:
            self._link = None
            link.stopping.set()
            for shard in self._shards:
                shard.hint(None)
            await link.stop(grace_s=STOP_TIMEOUT_S * 2 if self._loop.stopping.is_set() else 0.0)

    async def _work(self, rabbit: AbstractConnection) -> None:
        link = self._link
        assert link is not None
        async with asyncio.timeout(CALL_TIMEOUT_S), rabbit.channel() as channel:
            await declare(channel, self._topology)
        try:
            async with asyncio.TaskGroup() as tasks:
                for shard in self._shards:
                    tasks.create_task(shard.run(rabbit, link, self._lease), name=f"relay of shard {shard.shard}")
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None  # What ended the others is the same, or follows from it.
