"""One term of a gateway: what the holder of the lease does from its beginning to its end.

Everything that it needs is in the log: it loads the books, and does what they leave to do. A term ends with the lease,
or with the first thing that goes wrong here; the next begins from the log again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from foldbook.brokers.desk import Desk
from foldbook.brokers.log_reader import PAUSE_S, LogReader, Told
from foldbook.brokers.port import Broker, BrokerUnavailable
from foldbook.brokers.reconciling import Reconciliation
from foldbook.brokers.session import Session
from foldbook.brokers.work import AccountWork
from foldbook.errors import FoldbookError, StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.state_cache import StateCache
from foldbook.eventstore.events import AggregateKey, Event
from foldbook.eventstore.lease import Lease
from foldbook.eventstore.postgres_store import LeaseLost, PostgresStore
from foldbook.eventstore.readers.listener import LOG_CHANNEL, Listener
from foldbook.eventstore.store import shard_of
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, Connection, connect, create_pool
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.state import completed, outlines_in

SENDS_PER_TERM = 2
"""The longest request must fit into what is left of the lease between two renewals."""

BOOKS_AT_ONCE = 500
"""Books that are loaded in one query."""

TABLES_PAUSE_S = 0.5
OPENED_PAUSE_S = 1.0
CURSORS_EVERY_S = 1.0
LISTED_MAX = 20
"""Of each kind of problem, in what the gateway says of itself."""
REQUESTS_EVERY_S = 0.5
RECONCILE_CHANNEL = "foldbook_reconcile"

_KNOWN_ACCOUNTS = call("brokers.known_accounts", 1)
_READ_CURSORS = call("brokers.read_cursors", 1)
_MOVE_CURSORS = call("brokers.move_cursors", 2)
_ORDER_OF_CLIENT_ID = call("brokers.order_of_client_id", 2)
_OPEN_RECONCILIATIONS = call("brokers.open_reconciliations", 1)
_FINISH_RECONCILIATION = call("brokers.finish_reconciliation", 3)

logger = logging.getLogger(__name__)


class Opened(NamedTuple):
    """An account, and when it was opened."""

    account: str
    at: datetime


BrokerOf = Callable[[Opened], Broker]
"""The broker of an account; the same for accounts that share one. Raises ``FoldbookError`` if it cannot be worked."""


class Assignment(NamedTuple):
    """What a gateway is to work. ``kind``: ``simulated`` or ``live``."""

    dsn: str
    kind: str
    shard_count: int
    broker_of: BrokerOf
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    poll_interval_s: float


class Term:
    """What one holder of the lease does."""

    def __init__(self, assignment: Assignment, lease: Lease) -> None:
        self._lease = lease
        self._dsn, self._kind, self._shard_count = assignment.dsn, assignment.kind, assignment.shard_count
        self._assignment = assignment
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._store = PostgresStore(self._dsn, lease=lease.as_epoch)
        self._store.on_another_run = self._meet_another_server
        limits = BusLimits(aggregates_max=100_000)
        self._bus = CommandBus(self._store, ORDER_BOOK, shard_count=self._shard_count, limits=limits, heard=self._heard)
        self._listener = Listener(self._dsn)
        self._readers = [
            LogReader(
                self._dsn,
                shard,
                self._kind,
                self._hear,
                self.end,
                self._store.is_another,
                poll_interval_s=assignment.poll_interval_s,
            )
            for shard in range(self._shard_count)
        ]
        self._works: dict[str, AccountWork] = {}
        self._not_worked: dict[str, str] = {}
        self._sessions: dict[int, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._cursors: dict[str, str] = {}
        self._moved: dict[str, str] = {}
        self._pool: Any = None
        self._requested = asyncio.Event()
        self.is_working = False

    # -- its course ----------------------------------------------------------------------------------------------

    async def run(self, connection: Connection, stopping: asyncio.Event) -> None:
        self._run(self._renew(connection), "renew the lease")
        work = asyncio.create_task(self._work(), name="gateway")
        stopped = asyncio.create_task(stopping.wait(), name="stopping")
        try:
            await asyncio.wait((work, stopped, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not work.cancelled():
                work.result()
                await asyncio.wait((stopped, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                self._ended.result()
        finally:
            for task in (work, stopped):
                task.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)

    async def _work(self) -> None:
        self._pool = await create_pool(self._dsn, min_size=1, max_size=4)
        await self._bus.start()
        # What the last holder sent at the very end of its lease is on its way for so long.
        await asyncio.sleep(await self._begin())
        for reader in self._readers:
            self._listener.listen(LOG_CHANNEL, reader.hint)
        self._listener.listen(RECONCILE_CHANNEL, lambda _: self._requested.set())
        await self._listener.start()
        for reader in self._readers:
            await reader.start()
        # From here on nothing is awaited: an account of which the readers have just told is worked like the others.
        for work in self._works.values():
            self._session_of(work).add(work)
        for session in self._sessions.values():
            self._run(session.run(), f"session {session.name}")
        self._run(self._keep_cursors(), "keep cursors")
        self._run(self._reconcile_on_request(), "reconcile on request")
        self.is_working = True

    async def _begin(self) -> float:
        """Load the books. Returns how long a request of a predecessor may still be on its way, in seconds."""
        rows: Sequence[Any] = ()
        while len(rows) < self._shard_count:
            with suppress(asyncpg.UndefinedTableError):
                rows = await self._pool.fetch(_KNOWN_ACCOUNTS, self._kind)
            if len(rows) < self._shard_count:
                await asyncio.sleep(TABLES_PAUSE_S)  # The read tables are being created.
        for row in rows:
            self._readers[row["shard"]].begin_after(row["checkpoint"])
            known = [Opened(*each) for each in zip(row["accounts"], row["opened_at"], strict=True)]
            for first in range(0, len(known), BOOKS_AT_ONCE):
                await self._load(row["shard"], known[first : first + BOOKS_AT_ONCE])
        sources = [*self._works, *(session.name for session in self._sessions.values())]
        for row in await self._pool.fetch(_READ_CURSORS, sources):
            self._cursors[row["source"]] = row["cursor"]
        return max((session.desk.broker.capabilities.send_s for session in self._sessions.values()), default=0.0)

    async def _load(self, shard: int, known: Sequence[Opened]) -> None:
        """Books as the log has them now, each from its snapshot."""
        cache = StateCache(
            self._store,
            {ORDER_BOOK.name: ORDER_BOOK},
            shard,
            kept_max=len(known),
            snapshot_every=1_000_000_000,
            outage_max_s=10.0,
        )
        keys = [AggregateKey(ORDER_BOOK.name, opened.account) for opened in known]
        unreadable = await cache.load(keys)
        for key, opened in zip(keys, known, strict=True):
            if key in unreadable:
                self._not_worked[key.id] = f"its book cannot be folded: {unreadable[key]}"
                continue
            loaded = cache[key]
            book, sequence = loaded.stored, loaded.stored_sequence
            try:
                for order_id in outlines_in(book):
                    past = await self._past_of(shard, key, order_id)
                    book = completed(book, order_id, [event for number, event in past if number <= sequence])
            except StoreUnavailable:
                raise
            except Exception as error:
                self._not_worked[key.id] = f"an order of its book cannot be folded: {error}"
                continue
            self._open(opened, book, sequence)

    async def _past_of(self, shard: int, key: AggregateKey, order_id: str) -> list[tuple[int, Event]]:
        """All events about an order, with their sequences."""
        found = await self._store.read_subjects(shard, [(key, order_id)])
        return [(each.sequence, EVENT_TYPES.decode(each.type, each.schema_version, each.payload)) for each in found]

    def _open(self, opened: Opened, book: Any, sequence: int) -> AccountWork | None:
        account = opened.account
        try:
            broker = self._assignment.broker_of(opened)
        except FoldbookError as error:
            if account not in self._not_worked:
                logger.warning("account %s is not worked: %s", account, error)
            self._not_worked[account] = error.detail
            return None
        session = self._sessions.get(id(broker))
        if session is None:
            session = self._sessions[id(broker)] = self._new_session(account, broker)
            if self.is_working:
                self._run(session.run(), f"session {session.name}")
        work = AccountWork(account, book, sequence, session.desk, lambda: session.poll(account))
        self._works[account] = work
        if self.is_working:
            session.add(work)
        return work

    def _new_session(self, account: str, broker: Broker) -> Session:
        name = self._kind if broker.capabilities.serves_many else account
        if broker.capabilities.send_s * SENDS_PER_TERM > self._lease.term_s:
            raise BrokerUnavailable(f"a request to {name} may take longer than the lease lasts")
        desk = Desk(
            broker,
            self._bus,
            self._lease,
            now=self._assignment.now,
            new_id=self._assignment.new_id,
            order_of=self._order_of,
            lost=self.end,
        )
        return Session(name, desk, self._cursors, self._moved.__setitem__)

    def _session_of(self, work: AccountWork) -> Session:
        return self._sessions[id(work.desk.broker)]

    async def close(self) -> None:
        """End everything. What was sent and not answered is in doubt for the next term."""
        self.is_working = False
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for reader in self._readers:  # first: what is heard begins new tasks
            await reader.stop()
        for session in self._sessions.values():
            await session.desk.stop()
        await self._listener.stop()
        with suppress(Exception):
            async with asyncio.timeout(2.0):
                await self._bus.stop()
        await self._store.close()
        if self._pool is not None:
            self._pool.terminate()
        if not self._ended.done():
            self._ended.cancel()

    def end(self, error: BaseException) -> None:
        """Something went wrong that a new beginning from the log puts right."""
        if not self._ended.done():
            self._ended.set_exception(error)

    async def _meet_another_server(self) -> None:
        """The books may have more than its log."""
        self.end(BrokerUnavailable("the log is on another server: the books are read again"))

    def _run(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)

    # -- the log -------------------------------------------------------------------------------------------------

    def _hear(self, told: Told) -> None:
        """Raises what an account's events cannot be read for; the next term leaves that account out."""
        work = self._works.get(told.account)
        if work is None and told.account not in self._not_worked:
            first_sequence = told.sequence - len(told.rows) + 1
            if first_sequence != 1:
                raise BrokerUnavailable(f"account {told.account} was not loaded")
            work = self._open(Opened(told.account, told.occurred_at), ORDER_BOOK.initial, 0)
        if work is None:
            return
        events = told.events()
        work.hear(told.sequence, told.command_id, events)
        for order_id in {event.subject for event in events if event.subject is not None}:
            order = work.order(order_id)
            if order is not None and order.is_outline:
                self._run(self._complete(work, order_id), f"read all of {order_id}")

    async def _complete(self, work: AccountWork, order_id: str) -> None:
        """An order works again that the book had forgotten. It is reconciled like any other when all of it is known."""
        key = AggregateKey(ORDER_BOOK.name, work.account)
        past = await self._past_of(shard_of(work.account, self._shard_count), key, order_id)
        work.complete(order_id, past)

    def _heard(self, key: AggregateKey) -> tuple[Book, int] | None:
        """An account's book, as far as the log was read."""
        work = self._works.get(key.id)
        return None if work is None else (work.book, work.sequence)

    async def _order_of(self, account: str, client_order_id: str) -> str | None:
        known: str | None = await self._pool.fetchval(_ORDER_OF_CLIENT_ID, account, client_order_id)
        return known

    async def _renew(self, connection: Connection) -> None:
        """Keep the lease. While the database cannot be reached it runs out, and nothing is sent."""
        lease = self._lease
        own: Connection | None = connection
        while True:
            await asyncio.sleep(lease.pause_s)
            try:
                if own is None or own.is_closed():
                    own = await connect(self._dsn)
                async with asyncio.timeout(lease.pause_s * 2):
                    await lease.renew(own)
            except LeaseLost:
                raise
            except UNREACHABLE as error:
                logger.warning("the lease was not renewed: %s", error)
                if own is not None:
                    own.terminate()
                own = None

    # -- cursors and requests ------------------------------------------------------------------------------------

    async def _keep_cursors(self) -> None:
        while True:
            await asyncio.sleep(CURSORS_EVERY_S)
            moved = dict(self._moved)
            if moved:
                with suppress(*UNREACHABLE):
                    await self._pool.execute(_MOVE_CURSORS, list(moved), list(moved.values()))
                    for source, cursor in moved.items():
                        if self._moved.get(source) == cursor:
                            del self._moved[source]

    async def _reconcile_on_request(self) -> None:
        while True:
            self._requested.clear()
            with suppress(*UNREACHABLE):
                rows = await self._pool.fetch(_OPEN_RECONCILIATIONS, self._kind)
                await asyncio.gather(*(self._reconcile(row["account"], row["requested"]) for row in rows))
            await asyncio.sleep(PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(REQUESTS_EVERY_S):
                    await self._requested.wait()

    async def reconcile(self, account: str) -> Reconciliation:
        """Compare an account with its broker. Raises ``BrokerUnavailable``, also if the account is not worked."""
        work = self._works.get(account)
        if work is None and account not in self._not_worked:
            await asyncio.sleep(OPENED_PAUSE_S)  # It may have been opened a moment ago.
            work = self._works.get(account)
        if work is None:
            raise BrokerUnavailable(self._not_worked.get(account, "the gateway does not know the account"))
        return await self._session_of(work).reconcile(work)

    async def _reconcile(self, account: str, number: int) -> None:
        try:
            result: Any = await self.reconcile(account)
        except BrokerUnavailable as error:
            result = {"error": error.detail}
        await self._pool.execute(_FINISH_RECONCILIATION, account, number, msgspec.json.encode(result))

    def sequence_of(self, account: str) -> int:
        """How far the account's events have been heard."""
        work = self._works.get(account)
        return 0 if work is None else work.sequence

    # -- what it says of itself ------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        works = self._works.values()
        counts = [session.desk.counts for session in self._sessions.values()]
        problems = {session.name: session.problem for session in self._sessions.values() if session.problem}
        return {
            "state": self._state(),
            "accounts": len(works),
            "ready": sum(work.is_ready for work in works),
            "doubts": sum(work.doubts for work in works),
            "mismatches": sum(len(work.book.risk.mismatches) for work in works),
            "mismatched": [
                f"{work.account} {symbol}: {known.expected:f} in the book, {known.observed:f} at the broker"
                for work in works
                for symbol, known in work.book.risk.mismatches.items()
            ][:LISTED_MAX],
            "problems": dict(list(problems.items())[:LISTED_MAX]),
            "not_worked": dict(list(self._not_worked.items())[:LISTED_MAX]),
            "orphans": [
                f"{work.account} {client_id}"
                for work in works
                if work.reconciling.latest is not None
                for client_id in work.reconciling.latest.orphans
            ][:LISTED_MAX],
            "checkpoints": {str(reader.shard): reader.checkpoint for reader in self._readers},
            "sent": sum(count.sent for count in counts),
            "refused": sum(count.refused for count in counts),
            "in_doubt": sum(count.in_doubt for count in counts),
            "reports": sum(count.reports for count in counts),
            "reconciliations": sum(count.reconciliations for count in counts),
        }

    def _state(self) -> str:
        sessions = self._sessions.values()
        if any(session.problem for session in sessions) or (self._not_worked and not sessions):
            return "disconnected"
        if not self.is_working:
            return "starting"
        return "working" if sessions else "idle"

    @property
    def is_idle(self) -> bool:
        """Is nothing under way, as far as the log was read?"""
        return (
            self.is_working
            and all(session.is_idle for session in self._sessions.values())
            and not self._bus.queued
            and not self._bus.in_flight
        )
