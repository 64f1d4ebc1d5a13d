"""A live account: the gateway works it through ccxt at a local server that speaks the exchange's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.brokers import ends
from foldbook.brokers.live.broker import LiveBroker
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.live.symbols import symbols_of
from foldbook.brokers.port import Broker
from foldbook.brokers.process import GatewayProcess
from foldbook.brokers.term import Opened
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.events import EVENT_TYPES, OrderSubmitted
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.values import OrdStatus
from tests.brokers.binance_server import KEY, SECRET, BinanceServer, binance_server
from tests.brokers.gateway_world import WAIT_S, now
from tests.builders import adjust, cancel, open_account, place, replace_order

ACCOUNT, OTHER = "alice/binance/live", "bob/binance/live"
SYMBOL = "BTCUSDT"


class LiveGateway:
    """The account of alice, who has credentials, and that of bob, who has none."""

    def __init__(self, dsn: str, server: BinanceServer) -> None:
        self.server = server
        self.dsn = dsn
        self.store = PostgresStore(dsn)
        self.bus = CommandBus(self.store, ORDER_BOOK)
        self.broker: LiveBroker | None = None
        self.gateway = self._new_gateway()

    def _new_gateway(self) -> GatewayProcess:
        return GatewayProcess(
            self.dsn, "live", 1, self._broker_of, "test", now=now, new_id=uuid7, poll_interval_s=0.2, term_s=8.0
        )

    async def begin_anew(self) -> None:
        """Another process: it knows what is in the database."""
        if self.broker is not None:
            await self.broker.close()
        self.broker, self.gateway = None, self._new_gateway()

    def _broker_of(self, opened: Opened) -> Broker:
        if opened.account != ACCOUNT:
            raise LiveError(f"there are no credentials of {opened.account}")
        if self.broker is None:
            settings = LiveSettings(
                account=ACCOUNT,
                opened_at=opened.at,
                request_s=1.0,
                rate_wait_s=1.0,
                rest_url=self.server.rest_url,
                ws_url=self.server.ws_url,
            )
            symbols = partial(symbols_of, self.dsn, ACCOUNT)
            self.broker = LiveBroker(settings, Credentials(KEY, SECRET), now, symbols)
        return self.broker

    def trade_elsewhere(self, client_id: str, quantity: str, *, seconds_ago: float) -> None:
        """A trade at the exchange's own screen, which no stream tells."""
        self.server.ahead_s = -seconds_ago
        self.server.exchange.quote(SYMBOL, "99", "100")
        self.server.exchange.place(
            {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": quantity, "newClientOrderId": client_id}
        )
        self.server.exchange.quote(SYMBOL, "199", "200")
        self.server.ahead_s = 0.0

    async def order(self, order_id: str = "o-1") -> Order:
        order: Order | None = None
        for event in await self.events():
            if event.subject == order_id:
                order = evolve_order(order, event)
        assert order is not None
        return order

    async def events(self) -> list[Any]:
        stored = await self.store.read_aggregates(0, [(AggregateKey("order_book", ACCOUNT), 0)])
        return [EVENT_TYPES.decode(event.type, event.schema_version, event.payload) for event in stored]

    async def position(self) -> Decimal:
        return ORDER_BOOK.fold(await self.events()).position_qty(SYMBOL)

    async def order_is(self, status: OrdStatus, cum_qty: str = "0") -> Order:
        async with asyncio.timeout(WAIT_S):
            while True:
                order = await self.order()
                if (order.status, order.cum_qty, order.doubts) == (status, Decimal(cum_qty), ()):
                    return order
                await asyncio.sleep(0.02)


@asynccontextmanager
async def idle_gateway(dsn: str) -> AsyncIterator[LiveGateway]:
    """It does not run yet."""
    async with binance_server(now) as server:
        live = LiveGateway(dsn, server)
        await live.bus.start()
        try:
            yield live
        finally:
            if live.broker is not None:
                await live.broker.close()
            await live.bus.stop()
            await live.store.close()


@asynccontextmanager
async def running(live: LiveGateway) -> AsyncIterator[None]:
    task = asyncio.create_task(live.gateway.run())
    try:
        yield
    finally:
        live.gateway.stop()
        await task


@asynccontextmanager
async def live_gateway(dsn: str) -> AsyncIterator[LiveGateway]:
    async with idle_gateway(dsn) as live:
        for account in (ACCOUNT, OTHER):
            await live.bus.execute(open_account(account))
        async with running(live):
            yield live


def an_order(**fields: Any) -> Any:
    return place(account=ACCOUNT, received_at=now(), symbol=SYMBOL, quantity="2", **fields)


async def test_an_order_goes_out_is_filled_in_parts_and_booked(database: str) -> None:
    async with live_gateway(database) as live:
        await live.bus.execute(an_order())
        await live.order_is(OrdStatus.NEW)
        live.server.exchange.quote(SYMBOL, "99", "100", "1", "0.5")
        await live.order_is(OrdStatus.PARTIALLY_FILLED, "0.5")
        live.server.exchange.quote(SYMBOL, "99", "100", "1", "5")
        filled = await live.order_is(OrdStatus.FILLED, "2")
        assert filled.broker_order_id is not None
        assert live.gateway.term is not None
        assert live.gateway.term.status()["not_worked"] == {OTHER: f"there are no credentials of {OTHER}"}


async def test_an_order_is_found_by_its_client_id_which_is_a_hash(database: str) -> None:
    async with live_gateway(database) as live:
        await live.bus.execute(an_order())
        await live.order_is(OrdStatus.NEW)
        (client_id,) = [event.client_order_id for event in await live.events() if isinstance(event, OrderSubmitted)]
    connection = await connect(database)
    try:
        for search_max, found in ((100, "o-1"), (1, None)):
            question = "select brokers.order_of_client_id($1, $2, $3)"
            assert await connection.fetchval(question, ACCOUNT, client_id, search_max) == found
    finally:
        await connection.close()


@pytest.mark.parametrize("fault", ["lose_ack", "status_500", "nonsense"])
async def test_what_nobody_knows_is_asked_for_and_adopted(database: str, fault: str) -> None:
    async with live_gateway(database) as live:
        await live.bus.execute(an_order(order_id="o-0"))
        setattr(live.server.faults, fault, 1)
        await live.bus.execute(an_order())
        await live.order_is(OrdStatus.NEW)
        await live.bus.execute(cancel(account=ACCOUNT))
        await live.order_is(OrdStatus.CANCELED)


async def test_a_replace_becomes_a_cancel_and_a_new_order(database: str) -> None:
    async with live_gateway(database) as live:
        await live.bus.execute(an_order())
        await live.order_is(OrdStatus.NEW)
        live.server.exchange.quote(SYMBOL, "99", "100", "1", "0.5")
        await live.order_is(OrdStatus.PARTIALLY_FILLED, "0.5")
        await live.bus.execute(replace_order(account=ACCOUNT, quantity=Decimal(3), limit_price=Decimal(98)))
        replaced = await live.order_is(OrdStatus.PARTIALLY_FILLED, "0.5")
        async with asyncio.timeout(WAIT_S):
            while replaced.quantity != 3 or replaced.requests:
                await asyncio.sleep(0.02)
                replaced = await live.order()
        assert replaced.limit_price == 98
        live.server.exchange.quote(SYMBOL, "97", "98", "1", "5")
        await live.order_is(OrdStatus.FILLED, "3")


async def fill_untold_and_cancel(live: LiveGateway) -> None:
    """The report of the fill is lost."""
    await live.bus.execute(an_order())
    await live.order_is(OrdStatus.NEW)
    live.server.faults.drop = 1
    live.server.exchange.quote(SYMBOL, "99", "100", "1", "0.5")
    await live.bus.execute(cancel(account=ACCOUNT))


async def test_a_fill_that_nobody_told_is_asked_for_when_its_order_ends(database: str) -> None:
    async with idle_gateway(database) as live:
        await live.bus.execute(open_account(ACCOUNT))
        async with running(live):
            await fill_untold_and_cancel(live)
            await live.order_is(OrdStatus.CANCELED, "0.5")
        names = [type(event).__name__ for event in await live.events()]
        assert names[-2:] == ["OrderFilled", "OrderCanceled"]


async def test_a_fill_that_nobody_told_is_found_by_a_successor_though_its_order_has_ended(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a symbol that was never asked for: the log has the order."""
    monkeypatch.setattr(ends, "WAIT_S_MAX", 0.0)
    async with idle_gateway(database) as live:
        await live.bus.execute(open_account(ACCOUNT))
        async with running(live):
            await fill_untold_and_cancel(live)
            await live.order_is(OrdStatus.CANCELED)
        assert await symbols_of(database, ACCOUNT) == [SYMBOL]
        assert await symbols_of(database, OTHER) == []
        await live.begin_anew()
        async with running(live):
            await live.order_is(OrdStatus.CANCELED, "0.5")
            assert await live.position() == Decimal("0.5")


@pytest.mark.parametrize("is_known_before", [True, False])
async def test_what_traded_before_the_account_was_opened_or_a_position_told_is_in_it(
    database: str, is_known_before: bool
) -> None:
    """In whatever order the gateway hears of it: from the books when it begins, or from the log while it runs."""
    async with idle_gateway(database) as live, AsyncExitStack() as stack:
        if not is_known_before:
            await stack.enter_async_context(running(live))
        at = now()
        live.trade_elsewhere("before-the-account", "1", seconds_ago=60)
        live.trade_elsewhere("before-the-position", "2", seconds_ago=20)
        live.trade_elsewhere("after-it", "4", seconds_ago=5)
        await live.bus.execute(open_account(ACCOUNT, received_at=at - timedelta(seconds=40)))
        opening = {"symbol": SYMBOL, "quantity": "3", "price": "90", "transact_time": at - timedelta(seconds=10)}
        await live.bus.execute(adjust("OPENING", ACCOUNT, received_at=at, **opening))
        if is_known_before:
            await stack.enter_async_context(running(live))
        await live.bus.execute(an_order())
        await live.order_is(OrdStatus.NEW)
        live.server.exchange.quote(SYMBOL, "99", "100")
        await live.order_is(OrdStatus.FILLED, "2")
        assert live.gateway.term is not None
        await live.gateway.term.reconcile(ACCOUNT)
        assert await live.position() == 9
