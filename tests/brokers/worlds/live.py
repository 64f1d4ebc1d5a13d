"""The world of the contract in which the live adapter talks to a local server that speaks Binance's protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from foldbook.brokers.live.broker import LiveBroker
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import NewOrder
from foldbook.trading.values import OrderType, Side
from tests.brokers.binance_server import KEY, SECRET, BinanceServer, Faults, binance_server
from tests.builders import NOW

ACCOUNT = "alice/binance/live"


class Clock:
    """What time it is: as long as a test does not let time pass, the same."""

    def __init__(self) -> None:
        self.time = NOW.replace(microsecond=678_000)  # the exchange tells milliseconds

    def __call__(self) -> datetime:
        return self.time


class LiveWorld:
    account = ACCOUNT
    symbol = "BTCUSDT"
    base = "BTC"
    currency = "USDT"
    step = Decimal("1e-8")

    def __init__(self, server: BinanceServer, broker: LiveBroker, clock: Clock) -> None:
        self.server = server
        self.broker = broker
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.time

    async def quote(self, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None:
        self.server.exchange.quote(self.symbol, bid, ask, bid_size, ask_size)

    async def advance(self, seconds: float) -> None:
        self._clock.time += timedelta(seconds=seconds)

    async def faults(self, **faults: Any) -> None:
        self.server.faults = Faults(**faults)


def settings_of(server: BinanceServer, **changed: Any) -> LiveSettings:
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "opened_at": NOW - timedelta(days=1),
        "request_s": 1.5,
        "rate_wait_s": 2.0,
        "rest_url": server.rest_url,
        "ws_url": server.ws_url,
    }
    return LiveSettings(**(given | changed))


@asynccontextmanager
async def opened(
    settings: LiveSettings, credentials: Credentials, clock: Clock, *symbols: Callable[[], Awaitable[Iterable[str]]]
) -> AsyncIterator[LiveBroker]:
    """A broker that has connected."""
    broker = LiveBroker(settings, credentials, clock, *symbols)
    try:
        await broker.connect()
        yield broker
    finally:
        await broker.close()


@asynccontextmanager
async def live_world(**settings: Any) -> AsyncIterator[LiveWorld]:
    clock = Clock()
    async with (
        binance_server(clock) as server,
        opened(settings_of(server, **settings), Credentials(KEY, SECRET), clock) as broker,
    ):
        yield LiveWorld(server, broker, clock)


def order(client_id: str = "order-1", side: str = "BUY", **changed: Any) -> NewOrder:
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "client_order_id": client_id,
        "symbol": "BTCUSDT",
        "side": Side(side),
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(1),
        "limit_price": Decimal(100),
    }
    return NewOrder(**(given | changed))


def at_market(client_id: str, side: str = "BUY", **changed: Any) -> NewOrder:
    return order(client_id, side, order_type=OrderType.MARKET, limit_price=None, **changed)


def elsewhere(world: LiveWorld, client_id: str, symbol: str = "BTCUSDT", quantity: str = "1") -> dict[str, Any]:
    """An order at market that somebody places at the exchange's own screen."""
    world.server.exchange.quote(symbol, "99", "100")
    return world.server.exchange.place(
        {"symbol": symbol, "side": "BUY", "type": "MARKET", "quantity": quantity, "newClientOrderId": client_id}
    )
