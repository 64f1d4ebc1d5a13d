"""Tells the books the last prices of the market, at a bounded rate.

A book needs them for its checks against the last price and for what its positions are worth, and an event for each
quote would drown everything else. So once in a while, and not for every quote, each account that holds a position or
has an open order in a symbol is told its price, if it has changed. Prices of simulated markets go to simulated
accounts only; those of an exchange also go to the live accounts there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import NamedTuple
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from foldbook.errors import FoldbookError, Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import Metadata
from foldbook.market.feeds.told import Opened, price_of
from foldbook.market.records import Datum
from foldbook.postgres.calls import call
from foldbook.postgres.connection import UNREACHABLE, connect
from foldbook.trading.commands import RecordPrice

INTERVAL_S = 10.0
COMMANDS_PER_S_MAX = 200
PAGE = 100
"""Accounts and symbols that are asked for, and told, at once."""
SYMBOLS_MAX = 10_000
"""Symbols whose price is known; one more is not told."""

_HOLDERS = call("trading.query_holders", 5)

logger = logging.getLogger(__name__)


class Holder(NamedTuple):
    """``price``: the one that its book has; None: none."""

    account: str
    symbol: str
    price: Decimal | None


class PriceTeller:
    """A sink of market data. ``interval_s``: from the end of one round to the next, so that a book is told a symbol's
    price at most once in so many seconds. ``exchange``: where the prices are from, if they are real."""

    def __init__(
        self,
        dsn: str,
        bus: CommandBus,
        now: Callable[[], datetime],
        *,
        interval_s: float = INTERVAL_S,
        exchange: str | None = None,
        commands_per_s_max: int = COMMANDS_PER_S_MAX,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._dsn = dsn
        self._bus = bus
        self._now = now
        self._interval_s = interval_s
        self._exchange = exchange
        self._pause_s = 1 / commands_per_s_max
        self._new_id = new_id
        self._latest: dict[str, Datum] = {}
        self._task: asyncio.Task[None] | None = None
        self._has_data = asyncio.Event()
        self._is_failing = False
        self.told = 0
        """Prices that books were told."""

    async def __aenter__(self) -> PriceTeller:
        self._task = asyncio.create_task(self._work(), name="prices")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    def put(self, told: Datum | Opened) -> None:
        if isinstance(told, Opened):
            return
        if told.symbol in self._latest or len(self._latest) < SYMBOLS_MAX:
            self._latest[told.symbol] = told
            self._has_data.set()

    async def room(self) -> None:
        """There is always room: only the latest counts."""

    async def tell(self) -> None:
        """One round."""
        latest = dict(self._latest)
        place = ("", "")
        while True:
            page = await self._holders(list(latest), *place)
            for holder in page:
                datum = latest[holder.symbol]
                price = price_of(datum)
                if price != holder.price:
                    await self._tell(holder, price, datum.time)
                    await asyncio.sleep(self._pause_s)
            if len(page) < PAGE:
                return
            place = (page[-1].account, page[-1].symbol)

    async def _tell(self, holder: Holder, price: Decimal, time: datetime) -> None:
        command = RecordPrice(
            command_id=self._new_id(),
            received_at=self._now(),
            account=holder.account,
            symbol=holder.symbol,
            price=price,
            transact_time=time,
        )
        try:
            await self._bus.execute(command, metadata=Metadata(actor="market data"))
        except Refusal as refusal:
            logger.warning("%s was not told the price of %s: %s", holder.account, holder.symbol, refusal)
        else:
            self.told += 1

    async def _holders(self, symbols: list[str], account: str, symbol: str) -> list[Holder]:
        connection = await connect(self._dsn)
        try:
            rows = await connection.fetch(_HOLDERS, symbols, self._exchange, account, symbol, PAGE)
        finally:
            await connection.close()
        return [Holder(*row) for row in rows]

    async def _work(self) -> None:
        await self._has_data.wait()
        while True:
            try:
                await self.tell()
                self._is_failing = False
            except Exception as error:
                # The next round tells what this one did not: nobody would notice if there were none.
                if not self._is_failing:
                    is_expected = isinstance(error, (FoldbookError, asyncpg.UndefinedTableError, *UNREACHABLE))
                    logger.warning(
                        "prices are not told to the books, and tried again: %s",
                        error,
                        exc_info=None if is_expected else error,
                    )
                self._is_failing = True
            await asyncio.sleep(self._interval_s)
