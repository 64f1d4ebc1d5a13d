"""A separate process that places orders for a gateway: ``python -m bench.brokers_load <OrderLoad as JSON>``.

It places them through a command bus, as the API does, reads from the log what becomes of them, and prints an
OrderTally. Beside that it tells the venue quotes: of two orders the next quote fills one, and one rests there. With
``rate`` they come at that pace, whether or not the gateway keeps up: it does not when more orders than it is given in
``BACKLOG_S`` wait to be accepted, which ends the load, or when so many more wait at its end than at its beginning.
Without it, ``backlog`` orders wait at any time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import aiohttp
import asyncpg
import msgspec
import uvloop
from uuid_utils.compat import uuid7

from bench.clock import Stopwatch
from bench.load import QUANTITY, STRATEGIES, SYMBOLS, accounts, open_account
from foldbook.errors import Overloaded, Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import PlaceOrder
from foldbook.trading.values import OrderType, Side, TimeInForce

BID, ASK, BELOW = Decimal(100), Decimal(101), Decimal(90)
QUOTES = msgspec.json.encode([{"symbol": symbol, "bid": str(BID), "ask": str(ASK)} for symbol in SYMBOLS])
QUOTE_EVERY_S = 0.05
BACKLOG_S = 1.0
KEPT_SHARE = 0.97
"""Of the orders that came in the meantime, who keeps up has accepted so many."""
WARM_UP_S = 1.0
TICK_S = 0.002
LOOK_EVERY_S = 0.05
READY_S = 60.0
DRAIN_S = 30.0

_HEAD = "select coalesce(max(position), 0) from eventstore.events where shard = 0"
_SINCE = """
select
    max(position) as head,
    count(*) filter (where type = 'OrderSubmitted') as attempted,
    count(*) filter (where type = 'OrderFilled') as filled,
    -- A trade may be told first.
    array_agg(subject) filter (where type in ('OrderAccepted', 'OrderFilled')) as accepted
from eventstore.events
where shard = 0 and position > $1
"""
_READY = "select coalesce(sum((status ->> 'ready')::integer), 0) from eventstore.lease_status('gateway:')"


class OrderLoad(msgspec.Struct, frozen=True, kw_only=True):
    """``rate``: orders/s; without it, ``backlog`` orders wait at any time. Accounts that are not there are opened."""

    dsn: str
    venue_url: str
    accounts: int
    seconds: float
    rate: float | None = None
    backlog: int = 0


class OrderTally(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the orders in the seconds that were measured."""

    seconds: float
    placed: int
    attempted: int
    accepted: int
    filled: int
    backlog_max: int
    orders: int
    """All that were placed, with those before and after these seconds."""
    cpu_share: float
    """Of one core, by the process that places them."""
    keeps_up: bool = True

    @property
    def rate(self) -> float:
        return self.accepted / self.seconds


class Trader:
    """Places orders, and looks what became of them."""

    def __init__(self, bus: CommandBus, log: asyncpg.Connection[Any], load: OrderLoad) -> None:
        self._bus = bus
        self._log = log
        self._load = load
        self._names = accounts("brokers", load.accounts)
        self._numbers = count()
        self._tag = uuid7().hex[-8:]
        self._pending: set[asyncio.Future[CommandResult]] = set()
        self._head = 0
        self._placed = self._attempted = self._filled = 0
        self._waiting: set[str] = set()
        self._is_over = False

    async def run(self) -> OrderTally:
        await asyncio.gather(*(self._open(name) for name in self._names))
        await self._wait_until_ready()
        self._head = await self._log.fetchval(_HEAD)
        placing = asyncio.create_task(self._place())
        quoting = asyncio.create_task(self._quote())
        try:
            await self._look_for(WARM_UP_S)
            stopwatch, before = Stopwatch(), self._so_far()
            backlog_max = await self._look_for(self._load.seconds)
            done, seconds = [now - then for now, then in zip(self._so_far(), before, strict=True)], stopwatch.seconds
            cpu_share = stopwatch.slice(done[0]).cpu_share or 0.0
            keeps_up, self._is_over = not self._is_over, True
            await placing
            await self._drain()
        finally:
            placing.cancel()
            quoting.cancel()
        placed, attempted, accepted, filled = done
        return OrderTally(
            seconds=seconds,
            placed=placed,
            attempted=attempted,
            accepted=accepted,
            filled=filled,
            backlog_max=backlog_max,
            orders=self._placed,
            cpu_share=cpu_share,
            keeps_up=keeps_up and accepted >= placed * KEPT_SHARE,
        )

    async def _open(self, name: str) -> None:
        with suppress(Refusal):  # already-exists
            await self._bus.execute(open_account(name))

    async def _wait_until_ready(self) -> None:
        """Until the gateway has reconciled every account."""
        async with asyncio.timeout(READY_S):
            while True:
                if await self._log.fetchval(_READY) >= self._load.accounts:
                    return
                await asyncio.sleep(LOOK_EVERY_S)

    # -- placing -------------------------------------------------------------------------------------------------

    async def _place(self) -> None:
        began_s, rate = time.perf_counter(), self._load.rate
        while not self._is_over:
            if rate is None:
                due = self._load.backlog - self._backlog
            else:
                due = int((time.perf_counter() - began_s) * rate) - self._placed
            for _ in range(due):
                self._place_one()
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*self._pending)

    def _place_one(self) -> None:
        order = self._order(next(self._numbers))
        try:
            future = self._bus.submit(order)
        except Overloaded:
            self._is_over = True
            return
        assert order.order_id is not None
        self._placed += 1
        self._waiting.add(order.order_id)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)

    def _order(self, number: int) -> PlaceOrder:
        return PlaceOrder(
            command_id=uuid7(),
            received_at=datetime.now(UTC),
            account=self._names[number * 7919 % len(self._names)],
            order_id=f"o-{self._tag}-{number}",
            strategy_id=STRATEGIES[number % 3],
            symbol=SYMBOLS[number % 7],
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            quantity=QUANTITY,
            limit_price=ASK if number % 2 else BELOW,
            time_in_force=TimeInForce.GTC,
        )

    async def _quote(self) -> None:
        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
            while True:
                async with session.put(f"{self._load.venue_url}/quotes", data=QUOTES) as answer:
                    answer.raise_for_status()
                await asyncio.sleep(QUOTE_EVERY_S)

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def _backlog(self) -> int:
        return len(self._waiting)

    def _so_far(self) -> tuple[int, int, int, int]:
        return self._placed, self._attempted, self._placed - self._backlog, self._filled

    async def _look_for(self, seconds: float) -> int:
        """Look for so long, or until the load is over. Returns the largest backlog."""
        began_s, largest, rate = time.perf_counter(), 0, self._load.rate
        while not self._is_over and time.perf_counter() - began_s < seconds:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._look()
            largest = max(largest, self._backlog)
            if rate is not None and self._backlog > rate * BACKLOG_S:
                self._is_over = True
        return largest

    async def _look(self) -> None:
        row = await self._log.fetchrow(_SINCE, self._head)
        assert row is not None
        self._head = row["head"] or self._head
        self._attempted += row["attempted"]
        self._filled += row["filled"]
        self._waiting.difference_update(row["accepted"] or ())

    async def _drain(self) -> None:
        async with asyncio.timeout(DRAIN_S):
            while self._backlog or self._filled < self._placed // 2:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._look()


async def drive(load: OrderLoad) -> OrderTally:
    store = PostgresStore(load.dsn)
    bus = CommandBus(store, ORDER_BOOK)
    log = await connect(load.dsn)
    await bus.start()
    try:
        return await Trader(bus, log, load).run()
    finally:
        await bus.stop()
        await store.close()
        await log.close()


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=OrderLoad)
    print(msgspec.json.encode(uvloop.run(drive(task))).decode())
