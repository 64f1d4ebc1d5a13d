"""The relay of a shard: reads the log and publishes each event to RabbitMQ, in order, at least once, none left out.

It reads the log after a checkpoint, sends what it read without waiting, up to a window, and moves the checkpoint to
what RabbitMQ has confirmed. So whatever is killed in between, what was not confirmed is sent again. A consumer tells a
repeated event by its position.

An event that no queue is bound for is returned by RabbitMQ. The relay counts it and goes on: who binds a queue for some
accounts only must not stop the others' events, and the log keeps what a later consumer wants to catch up with.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import asyncpg
import msgspec
from aio_pika.abc import AbstractConnection
from pamqp import commands as spec

from foldbook.eventstore.lease import Lease
from foldbook.eventstore.postgres_store import LeaseLost
from foldbook.eventstore.readers.hints import Hints
from foldbook.eventstore.readers.subscription import SETTINGS
from foldbook.messaging.connection import PERSISTENT, RabbitLink
from foldbook.messaging.publishing import Outgoing, Publisher
from foldbook.messaging.topology import EVENTS, event_key
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, Connection, connect

RELAY = "relay"
"""The name of the subscription, and of the lease."""

SEND_S = 1.0
"""What must be left of the lease when something is sent."""
EVENTS_PER_SEND = 500
WINDOW = 4_000
"""Events that are sent and not confirmed."""
PAUSE_S = 0.005
"""Between two looks at the log, unless it has much more: however many notifications there are."""
CHECKPOINT_INTERVAL_S = 0.2
"""The checkpoint moves at most this often."""
CONFIRM_TIMEOUT_S = 30.0
"""RabbitMQ that confirms nothing for so long, without being blocked, is given up."""
STOP_TIMEOUT_S = 3.0

MOVED_BEYOND = "FB020"
"""What ``eventstore.subscription_move`` raises."""

_BEGIN = call("eventstore.subscription_begin", 2)
_EVENTS = call("eventstore.relay_events", 3)
_MOVE = call("eventstore.subscription_move", 3)


class ShardRelay:
    """Relays a shard over one connection after the other."""

    def __init__(self, dsn: str, shard: int, poll_interval_s: float) -> None:
        self.shard = shard
        self._dsn = dsn
        self._poll_interval_s = poll_interval_s
        self._hints = Hints(shard)
        self.hint = self._hints.take
        """Takes a notification of ``foldbook_log``; None: there may be something to do in any case."""
        self.checkpoint = 0
        self.unrouted = 0
        """Events, since this process began, for which no queue was bound."""

    async def run(self, rabbit: AbstractConnection, link: RabbitLink, lease: Lease) -> None:
        """Until the link stops. Raises what ends the work: a loss of either side, a refusal, the end of the lease."""
        database = await connect(self._dsn, settings=SETTINGS)
        try:
            publisher = await Publisher.open_on(rabbit, lambda: self.hint(None))
            begin = await database.fetchrow(_BEGIN, RELAY, self.shard)
            assert begin is not None
            self.checkpoint = begin["checkpoint"]
            session = _Session(self, database, publisher, begin["log_id"])
            try:
                while not link.stopping.is_set():
                    self.look()
                    has_more = await session.send(lease)
                    await session.settle(link)
                    if not has_more:
                        self._hints.reached(session.sent_to)
                        await asyncio.sleep(PAUSE_S)
                        await self.pause(CHECKPOINT_INTERVAL_S if publisher.unconfirmed else self._poll_interval_s)
                await session.finish()
            finally:
                # Whatever ended it, what was confirmed need not be sent again.
                with suppress(LeaseLost, *UNREACHABLE):
                    await session.move()
        finally:
            database.terminate()

    def look(self) -> None:
        """What was hinted until now is looked at."""
        self._hints.look()

    async def pause(self, seconds: float) -> None:
        """Until woken, or so long."""
        await self._hints.wait(seconds)


class _Session:
    """What one connection does for a shard. Positions, delivery tags: both count the events from where it began."""

    def __init__(self, relay: ShardRelay, database: Connection, publisher: Publisher, log_id: str) -> None:
        self._relay = relay
        self._database = database
        self._publisher = publisher
        self._log_id = log_id
        self._began = relay.checkpoint
        self._returned = 0
        self._confirmed = 0
        self._confirmed_at_s = time.monotonic()
        self._moved_at_s = 0.0

    @property
    def sent_to(self) -> int:
        """The position up to which everything was sent."""
        return self._began + self._publisher.sent

    async def send(self, lease: Lease) -> bool:
        """Send the next events if the window has room for them. Returns whether more can follow at once."""
        publisher, shard = self._publisher, self._relay.shard
        publisher.check()
        if publisher.unconfirmed > WINDOW - EVENTS_PER_SEND:
            return False
        after = self.sent_to
        rows = await self._database.fetch(_EVENTS, shard, after, EVENTS_PER_SEND)
        if rows:
            assert rows[-1]["position"] == after + len(rows), "positions are gapless"
            messages = [message_of(self._log_id, shard, row) for row in rows]
            await lease.wait_for(SEND_S)
            await publisher.send(EVENTS, messages, is_mandatory=True)
        return len(rows) == EVENTS_PER_SEND

    async def settle(self, link: RabbitLink) -> None:
        """Take note of what RabbitMQ says, and move the checkpoint if it is time. Raises ``TimeoutError`` if it has
        confirmed nothing for too long."""
        publisher = self._publisher
        self._relay.unrouted += publisher.returned - self._returned
        self._returned = publisher.returned
        now_s = time.monotonic()
        if not publisher.unconfirmed or publisher.confirmed >= WINDOW:
            link.is_well()  # Not sooner: RabbitMQ may confirm some, and refuse the next ones.
        if publisher.confirmed > self._confirmed or not publisher.unconfirmed:
            self._confirmed, self._confirmed_at_s = publisher.confirmed, now_s
        elif link.state == "blocked":
            self._confirmed_at_s = now_s
        elif now_s > self._confirmed_at_s + CONFIRM_TIMEOUT_S:
            raise TimeoutError(f"RabbitMQ has confirmed nothing for {CONFIRM_TIMEOUT_S:g} s")
        if now_s > self._moved_at_s + CHECKPOINT_INTERVAL_S:
            self._moved_at_s = now_s
            await self.move()

    async def finish(self) -> None:
        """Wait a moment for what is not confirmed."""
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        while self._publisher.unconfirmed and time.monotonic() < deadline_s:
            self._relay.look()
            await self._relay.pause(CHECKPOINT_INTERVAL_S)
            self._publisher.check()

    async def move(self) -> None:
        """Move the checkpoint to what is confirmed. Raises ``LeaseLost`` if another relay has moved it beyond."""
        reached = self._began + self._publisher.confirmed
        if reached > self._relay.checkpoint:
            try:
                await self._database.execute(_MOVE, RELAY, self._relay.shard, reached)
            except asyncpg.PostgresError as error:
                if error.sqlstate == MOVED_BEYOND:
                    raise LeaseLost(f"another relay has taken over: {error.args[0]}: {error.detail}") from error
                raise
            self._relay.checkpoint = reached


def message_of(log_id: str, shard: int, row: Any) -> Outgoing:
    """A row of ``eventstore.relay_events`` as a message. The body is the event as ``GET /events`` shows it."""
    headers = {
        "aggregate_type": row["aggregate_type"],
        "aggregate_id": row["aggregate_id"],
        "sequence": row["sequence"],
        "schema_version": row["schema_version"],
    }
    properties = spec.Basic.Properties(
        content_type="application/json",
        headers=headers,
        delivery_mode=PERSISTENT,
        message_id=f"{log_id}/{shard}/{row['position']}",
        message_type=row["type"],
    )
    key = event_key(shard, row["aggregate_type"], row["aggregate_id"], row["type"])
    return Outgoing(key, properties, msgspec.json.format(row["document"], indent=-1))
