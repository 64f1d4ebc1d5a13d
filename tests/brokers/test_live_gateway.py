"""A live account: the gateway works it through ccxt at a local server that speaks the exchange's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.brokers.live.broker import LiveBroker
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import Broker
from foldbook.brokers.process import GatewayProcess
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.values import OrdStatus
from tests.brokers.binance_server import KEY, SECRET, BinanceServer, binance_server
from tests.brokers.gateway_world import WAIT_S, now
from tests.builders import cancel, open_account, place, replace_order

ACCOUNT, OTHER = "alice/binance/live", "bob/binance/live"
SYMBOL = "BTCUSDT"


class LiveGateway:
    """The account of alice, who has credentials, and that of bob, who has none."""

    def __init__(self, dsn: str, server: BinanceServer) -> None:
        self.server = server
        self.store = PostgresStore(dsn)
        self.bus = CommandBus(self.store, ORDER_BOOK)
        settings = LiveSettings(
            account=ACCOUNT, request_s=1.0, rate_wait_s=1.0, rest_url=server.rest_url, ws_url=server.ws_url
        )
        self.broker = LiveBroker(settings, Credentials(KEY, SECRET), now)
        self.gateway = GatewayProcess(
            dsn, "live", 1, self._broker_of, "test", now=now, new_id=uuid7, poll_interval_s=0.2, term_s=8.0
        )

    def _broker_of(self, account: str) -> Broker:
        if account != ACCOUNT:
            raise LiveError(f"there are no credentials of {account}")
        return self.broker

    async def order(self, order_id: str = "o-1") -> Order:
        order: Order | None = None
        for event in await self.store.read_aggregates(0, [(AggregateKey("order_book", ACCOUNT), 0)]):
            fact: Any = EVENT_TYPES.decode(event.type, event.schema_version, event.payload)
            if fact.subject == order_id:
                order = evolve_order(order, fact)
        assert order is not None
        return order

    async def order_is(self, status: OrdStatus, cum_qty: str = "0") -> Order:
        async with asyncio.timeout(WAIT_S):
            while True:
                order = await self.order()
                if (order.status, order.cum_qty, order.doubts) == (status, Decimal(cum_qty), ()):
                    return order
                await asyncio.sleep(0.02)


@asynccontextmanager
async def live_gateway(dsn: str) -> AsyncIterator[LiveGateway]:
    async with binance_server(now) as server:
        live = LiveGateway(dsn, server)
        await live.bus.start()
        for account in (ACCOUNT, OTHER):
            await live.bus.execute(open_account(account))
        running = asyncio.create_task(live.gateway.run())
        try:
            yield live
        finally:
            live.gateway.stop()
            await running
            await live.broker.close()
            await live.bus.stop()
            await live.store.close()


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
