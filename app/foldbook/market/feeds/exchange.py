"""Exchanges as a source of market data, through ccxt, which is an extra: ``pip install 'foldbook[live]'``."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any

from foldbook.eventstore.backoff import Backoff
from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.backlog import Backlog
from foldbook.market.feeds.told import Lost, Told
from foldbook.market.records import Quote, Trade
from foldbook.trading.values import Side

WAITING_MAX = 10_000
BACKOFF_S_MIN, BACKOFF_S_MAX = 0.5, 30.0

_NS_PER_MS = 1_000_000
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}

logger = logging.getLogger(__name__)


class ExchangeStream:
    """Quotes and trades of some symbols, written as ccxt writes them: ``BTC/USDT``. No credentials are needed."""

    def __init__(
        self, exchange: str, symbols: Sequence[str], now_ns: Callable[[], int], make: Callable[[str], Any] | None = None
    ) -> None:
        """``now_ns`` is the time of a quote that has none. ``make`` returns a ccxt.pro exchange by its name."""
        if not symbols:
            raise MarketDataError(f"ccxt:{exchange} needs to know which symbols: --symbols BTC/USDT,ETH/USDT")
        self._exchange = (make or _make)(exchange)
        self._symbols = tuple(symbols)
        self._now_ns = now_ns
        self._backlog = Backlog(WAITING_MAX)

    async def stream(self) -> AsyncGenerator[Told, None]:
        watching = [
            asyncio.create_task(self._watch(watch, symbol))
            for symbol in self._symbols
            for watch in (self._watch_quotes, self._watch_trades)
        ]
        try:
            while True:
                waiting = asyncio.create_task(self._backlog.wait())
                done, _ = await asyncio.wait([waiting, *watching], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                for task in done - {waiting}:
                    task.result()  # raises what has ended it
                while (told := self._backlog.take()) is not None:
                    yield told
                if dropped := self._backlog.take_dropped():
                    yield Lost(dropped, "data came faster than it was taken")
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            await self._exchange.close()

    async def _watch(self, watch: Callable[[str], Coroutine[Any, Any, None]], symbol: str) -> None:
        ccxt: Any = importlib.import_module("ccxt")
        backoff = Backoff(BACKOFF_S_MIN, BACKOFF_S_MAX)
        while True:
            try:
                await watch(symbol)
                backoff.reset()
            except ccxt.NetworkError as error:
                logger.warning("%s of %s is lost and tried again: %s", symbol, self._exchange.id, error)
                self._backlog.put(Lost(None, f"{symbol}: {error}"))
                await asyncio.sleep(backoff.next_s())
            except ccxt.BaseError as error:
                raise MarketDataError(f"{self._exchange.id} gives no market data of {symbol}: {error}") from error

    async def _watch_quotes(self, symbol: str) -> None:
        ticker = await self._exchange.watch_ticker(symbol)
        quote = quote_of(symbol, ticker, self._now_ns())
        if quote is not None:
            self._backlog.put(quote)

    async def _watch_trades(self, symbol: str) -> None:
        for document in await self._exchange.watch_trades(symbol):
            self._backlog.put(trade_of(symbol, document, self._now_ns()))


def quote_of(symbol: str, ticker: Mapping[str, Any], now_ns: int) -> Quote | None:
    """None: it has not both prices."""
    bid, ask = _exact(ticker.get("bid")), _exact(ticker.get("ask"))
    if bid is None or ask is None:
        return None
    time_ns = _time_ns(ticker, now_ns)
    return Quote(symbol, time_ns, bid, ask, _exact(ticker.get("bidVolume")), _exact(ticker.get("askVolume")))


def trade_of(symbol: str, document: Mapping[str, Any], now_ns: int) -> Trade:
    price = _exact(document["price"])
    assert price is not None, "a trade has a price"
    side = _SIDES.get(document.get("side") or "")
    return Trade(symbol, _time_ns(document, now_ns), price, _exact(document.get("amount")), side)


def _time_ns(document: Mapping[str, Any], now_ns: int) -> int:
    timestamp = document.get("timestamp")
    return now_ns if timestamp is None else int(timestamp) * _NS_PER_MS


def _exact(number: float | str | None) -> Decimal | None:
    """ccxt gives floats; the shortest text of one is what the exchange wrote."""
    return None if number is None else Decimal(str(number))


def _make(name: str) -> Any:
    try:
        pro: Any = importlib.import_module("ccxt.pro")
    except ImportError:
        raise MarketDataError("market data of exchanges needs ccxt: pip install 'foldbook[live]'") from None
    if name not in pro.exchanges:
        raise MarketDataError(f"ccxt knows no exchange {name!r} with streams")
    return getattr(pro, name)({"newUpdates": True})
