"""An account as of a position of the log: what a strategy in it knows, as the fold of the account's events.

The book starts from its snapshot, the cash and the number of the strategy's last order from the read tables; what those
have not seen is read from the log, which is what everything else is read from too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.events import AggregateKey, Event, RecordedEvent
from foldbook.eventstore.states.codec import codec_of
from foldbook.eventstore.store import EventStore, shard_of
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, connect
from foldbook.services.strategy.cash import Cash, cash_from, evolve_cash
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.events import OrderCreated

PAGE_EVENTS = 1_000

_START = call("trading.query_strategy_start", 3)

logger = logging.getLogger(__name__)


class Start(msgspec.Struct, frozen=True):
    """What the read tables know: the cash as of ``cash_position``, the last number as of ``number_position``."""

    cash_position: int = 0
    cash: dict[str, str] = {}
    number_position: int = 0
    last_number: int = 0


class Starts(Protocol):
    """Asks the read tables. Raises ``StoreUnavailable``."""

    async def __call__(self, shard: int, account: str, strategy_id: str) -> Start: ...


def read_tables(dsn: str) -> Starts:
    """The read tables of a database."""

    async def start(shard: int, account: str, strategy_id: str) -> Start:
        try:
            connection = await connect(dsn)
            try:
                row = await connection.fetchrow(_START, shard, account, strategy_id)
            finally:
                await connection.close()
        except UNREACHABLE as error:
            raise StoreUnavailable(f"the read tables cannot be read: {error}") from error
        assert row is not None, "the function returns one row"
        return Start(row[0], msgspec.json.decode(row[1], type=dict[str, str]), row[2], row[3])

    return start


def number_of(order_id: str, strategy_id: str) -> int:
    """Which of the strategy's orders it is; 0: its id is not one that the strategy gave."""
    name, separator, number = order_id.rpartition("-")
    return int(number) if separator and name == strategy_id and number.isascii() and number.isdigit() else 0


class Account:
    """Call ``open`` first. ``on_event`` is called with each event that is folded afterwards, in order."""

    def __init__(self, store: EventStore, account: str, strategy_id: str, shard_count: int = 1) -> None:
        self.name = account
        self.shard = shard_of(account, shard_count)
        self.book: Book = ORDER_BOOK.initial
        self.cash: Cash = Cash()
        self.last_number = 0
        self.position = 0
        """Of the last event of the account that was read."""
        self.sequence = 0
        self._store = store
        self._strategy_id = strategy_id
        self._key = AggregateKey(ORDER_BOOK.name, account)

    async def open(self, starts: Starts) -> None:
        """Fold everything up to now. Raises ``StoreUnavailable``."""
        start = await starts(self.shard, self.name, self._strategy_id)
        self.cash, self.last_number = cash_from(start.cash), start.last_number
        await self._begin_book()
        self.position = min(start.cash_position, start.number_position)
        while page := await self._page():
            for recorded in page:
                event = self._decoded(recorded)
                if recorded.sequence > self.sequence:
                    self.book, self.sequence = ORDER_BOOK.evolve(self.book, event), recorded.sequence
                if recorded.position > start.cash_position:
                    self.cash = evolve_cash(self.cash, event)
                self._count(event)
                self.position = recorded.position

    async def read(self, on_event: Callable[[Event], None], events_max: int) -> bool:
        """Fold what has come since, at most so many events. True: there may be more. Raises ``StoreUnavailable``."""
        page = await self._page(min(events_max, PAGE_EVENTS))
        for recorded in page:
            event = self._decoded(recorded)
            self.book, self.sequence = ORDER_BOOK.evolve(self.book, event), recorded.sequence
            self.cash = evolve_cash(self.cash, event)
            self._count(event)
            self.position = recorded.position
            on_event(event)
        return len(page) == min(events_max, PAGE_EVENTS)

    async def _begin_book(self) -> None:
        """From the latest snapshot, and what came after it."""
        codec = codec_of(ORDER_BOOK)
        for snapshot in await self._store.read_snapshots(self.shard, [(self._key, codec.fingerprint)]):
            try:
                self.book, self.sequence = codec.decode(snapshot.state), snapshot.sequence
            except msgspec.DecodeError as error:
                logger.warning("the snapshot of %s is ignored: %s", self.name, error)
        for stored in await self._store.read_aggregates(self.shard, [(self._key, self.sequence)]):
            self.book = ORDER_BOOK.evolve_recorded(self.book, stored.type, stored.schema_version, stored.payload)
            self.sequence = stored.sequence

    async def _page(self, limit: int = PAGE_EVENTS) -> list[RecordedEvent]:
        return await self._store.read_log(self.shard, self.position, limit, self._key)

    def _decoded(self, recorded: RecordedEvent) -> Event:
        return ORDER_BOOK.event_types.decode(recorded.type, recorded.schema_version, recorded.payload)

    def _count(self, event: Event) -> None:
        if type(event) is OrderCreated and event.strategy_id == self._strategy_id:
            self.last_number = max(self.last_number, number_of(event.order_id, self._strategy_id))
