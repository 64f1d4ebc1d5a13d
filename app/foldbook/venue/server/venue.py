"""The venue as it runs: the exchange, with a clock, a journal, listeners and faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from foldbook.venue.messages import (
    AnyMessage,
    Configure,
    Datum,
    Expire,
    RefuseLate,
    Submit,
)
from foldbook.venue.records import Answer, Order
from foldbook.venue.server.commits import Commits
from foldbook.venue.server.documents import MarketFrame, market_frame, time_text
from foldbook.venue.server.faults import REFUSE_LATE_S, Faults
from foldbook.venue.server.options import Clock, VenueOptions
from foldbook.venue.server.problems import VenueProblem
from foldbook.venue.server.streams import MarketListener
from foldbook.venue.server.telling import Telling
from foldbook.venue.store import Store

SYMBOLS_MAX = 100_000
EXPIRY_S = 0.2
"""How often it is looked at what expires."""
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class Venue:
    """The running venue. ``fail`` is called when it cannot go on."""

    def __init__(self, store: Store, options: VenueOptions, fail: Callable[[], None]) -> None:
        self.exchange = store.exchange
        self.options = options
        self.faults = Faults()
        self.telling = Telling(self.faults)
        self.market_listeners: set[MarketListener] = set()
        self._commits = Commits(store, self.telling.tell, fail)
        self._last_ns = 0

    @property
    def has_failed(self) -> bool:
        """Could the journal not be written?"""
        return self._commits.has_failed

    # -- the clock -----------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """The venue's time. It never goes back."""
        now_ns = time.time_ns() if self.options.clock is Clock.WALL else self.exchange.data_ns
        self._last_ns = max(self._last_ns, now_ns)
        return self._last_ns

    # -- messages ------------------------------------------------------------------------------------------------------

    async def do(self, message: AnyMessage) -> Answer:
        """Apply a message; when this returns, it is on disk. Raises ``VenueStopped``."""
        return await self.durably(lambda: self.apply(message))

    async def durably(self, do: Callable[[], T]) -> T:
        """What ``do`` returns or raises, once it is on disk. Raises ``VenueStopped``."""
        try:
            return do()
        finally:
            await self._commits.durable()

    async def durable(self) -> None:
        """Wait until all that has happened is on disk. Raises ``VenueStopped``."""
        await self._commits.durable()

    def apply(self, message: AnyMessage) -> Answer:
        """Apply a message. What came of it may be told when it is on disk."""
        answer = self.exchange.apply(message)
        if not answer.is_duplicate and (answer.reports or answer.refusal is None):
            self._commits.add(message, answer.reports)
        return answer

    def submit(self, message: Submit) -> Answer:
        """Likewise for an order, with the faults of orders. Raises ``VenueProblem``."""
        self.check_symbol(message.symbol)
        if self._is_known(message) and self.faults.take("forget_dedup"):
            message = msgspec.structs.replace(message, is_deduplicated=False)
        is_new = not (message.is_deduplicated and self._is_known(message))
        if is_new and self.faults.take("refuse_late"):
            message = msgspec.structs.replace(message, is_refused_late=True)
        answer = self.apply(message)
        if message.is_refused_late and answer.order is not None:
            asyncio.get_running_loop().call_later(REFUSE_LATE_S, self._refuse_late, answer.order)
        return answer

    def check_symbol(self, symbol: str) -> None:
        """Raises ``VenueProblem`` for a new symbol when there are too many."""
        books = self.exchange.matching.books
        if len(books) >= SYMBOLS_MAX and symbol not in books:
            raise VenueProblem("venue-full", f"the venue knows {SYMBOLS_MAX:,} symbols")

    def _is_known(self, message: Submit) -> bool:
        account = self.exchange.accounts.get(message.account)
        return account is not None and message.client_order_id in account.by_client_id

    def _refuse_late(self, order: Order) -> None:
        self.apply(RefuseLate(self.now_ns(), order.key))

    async def tell_data(self, data: Iterable[Datum]) -> None:
        """Market data. It need not be on disk at once, unless something happened because of it."""
        is_anything_told = False
        for datum in data:
            self.check_symbol(datum.symbol)
            answer = self.exchange.apply(datum)
            self._commits.add(datum, answer.reports, is_urgent=False)
            is_anything_told = is_anything_told or bool(answer.reports)
            if self.market_listeners:
                frame = market_frame(datum)
                self._show(frame.kind, datum.symbol, _encode(frame))
        if is_anything_told:
            await self._commits.durable()

    def _show(self, kind: str, symbol: str, frame: bytes) -> None:
        for listener in self.market_listeners:
            if listener.wants(symbol):
                listener.add(kind, symbol, frame)

    # -- its life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until ``stop``."""
        matching, options = self.exchange.matching, self.options
        if (matching.desk.costs, matching.path) != (options.costs, options.path):
            self.apply(Configure(self.now_ns(), options.costs, options.path))
        for order in [order for order in self.exchange.orders.values() if order.is_held]:
            self._refuse_late(order)
        expiring = asyncio.create_task(self._expire())
        try:
            await self._commits.run()
        finally:
            expiring.cancel()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_S)
            due_ns = self.exchange.matching.next_expiry_ns()
            if due_ns is not None and due_ns <= self.now_ns():
                self.apply(Expire(self.now_ns()))

    def stop(self) -> None:
        """End the streams, and ``run`` when everything is written."""
        self.telling.end("the venue stops")
        for listener in self.market_listeners:
            listener.end("the venue stops")
        self._commits.stop()

    def hello(self) -> bytes:
        return _encode(MarketFrame(kind="HELLO", time=time_text(self.now_ns())))
