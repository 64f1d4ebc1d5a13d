"""The venue as a source and as a sink, over real sockets; and exchanges through ccxt, with a ccxt that is not real."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.exchange import ExchangeStream
from foldbook.market.feeds.told import Lost, Told
from foldbook.market.feeds.venue import VenueSink, VenueStream
from foldbook.market.records import Bar, Quote, Trade
from foldbook.trading.values import Side
from tests.market.feeding import NOON_NS, S
from tests.market.small_venue import small_venue
from tests.waiting import until


def quote(n: int, symbol: str = "X") -> Quote:
    return Quote(symbol, NOON_NS + n * S, str(n), str(n + 1))


def frame(n: int) -> dict[str, object]:
    return {"kind": "QUOTE", "symbol": "X", "time": f"2026-01-02T12:00:{n:02}Z", "bid": f"{n}", "ask": f"{n + 1}"}


# -- sink --------------------------------------------------------------------------------------------------------


async def test_the_venue_is_told_everything_in_order_in_batches() -> None:
    async with small_venue() as venue, VenueSink(venue.url) as sink:
        venue.gate.clear()
        sink.put(quote(0))
        await until(lambda: venue.requests == 1)
        for n in range(1, 4):
            sink.put(quote(n))
        sink.put(Trade("X", NOON_NS, "5"))
        sink.put(Bar("X", NOON_NS, "1", "1", "1", "1"))
        sink.put(quote(9))
        venue.gate.set()
        await sink.drain()
        assert [path for path, _ in venue.told] == ["/quotes"] * 4 + ["/trades", "/bars", "/quotes"]
        assert [told["bid"] for path, told in venue.told if path == "/quotes"] == ["0", "1", "2", "3", "9"]
        assert venue.requests == 5
        assert (sink.sent, sink.dropped, sink.failed) == (7, 0, 0)


async def test_what_a_slow_venue_does_not_take_is_dropped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async with small_venue() as venue, VenueSink(venue.url, waiting_max=10) as sink:
        venue.gate.clear()
        sink.put(quote(0))
        await until(lambda: venue.requests == 1)
        for n in range(1, 1_000):
            sink.put(quote(n, "XY"[n % 2]))
        venue.gate.set()
        await sink.drain()
        latest = {told["symbol"]: told["bid"] for _, told in venue.told}
        assert latest == {"X": "998", "Y": "999"}
        assert sink.sent + sink.dropped == 1_000
        assert len(venue.told) == sink.sent <= 12
    assert f"{sink.dropped} data dropped so far" in caplog.text


async def test_who_waits_for_room_has_nothing_dropped() -> None:
    async with small_venue() as venue, VenueSink(venue.url, waiting_max=10) as sink:
        for n in range(500):
            await sink.room()
            sink.put(quote(n))
        await sink.drain()
        assert [told["bid"] for _, told in venue.told] == [str(n) for n in range(500)]
        assert sink.dropped == 0


async def test_a_venue_that_is_not_there_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with small_venue() as venue:
        await venue.stop()
        async with VenueSink(venue.url) as sink:
            sink.put(quote(1))
            await until(lambda: "does not take market data" in caplog.text)
            await venue.start()
            await sink.drain()
            assert [told["bid"] for _, told in venue.told] == ["1"]
    assert "takes market data again" in caplog.text
    assert sink.failed == 0


async def test_what_may_have_arrived_is_not_sent_again() -> None:
    async with small_venue() as venue, VenueSink(venue.url) as sink:
        venue.failures = 1
        sink.put(Trade("X", NOON_NS, "1"))
        await until(lambda: sink.failed == 1)
        sink.put(Trade("X", NOON_NS, "2"))
        await sink.drain()
        assert [told["price"] for _, told in venue.told] == ["2"]


async def test_of_a_batch_that_is_refused_only_what_is_wrong_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    async with small_venue() as venue, VenueSink(venue.url) as sink:
        venue.refused_symbols.add("bad")
        venue.gate.clear()
        sink.put(quote(0))
        await until(lambda: venue.requests == 1)
        for n in range(1, 9):
            sink.put(quote(n, "bad" if n in (3, 6) else "X"))
        venue.gate.set()
        await sink.drain()
        assert [told["bid"] for _, told in venue.told] == ["0", "1", "2", "4", "5", "7", "8"]
        assert (sink.sent, sink.failed) == (7, 2)
    assert "the venue refuses market data" in caplog.text


# -- source ------------------------------------------------------------------------------------------------------


async def test_the_stream_of_the_venue_is_read_and_read_again_after_a_loss() -> None:
    async with small_venue() as venue, aclosing(VenueStream(venue.url, ["X", "Y"]).stream()) as stream:
        first = asyncio.create_task(anext(stream))
        await until(lambda: len(venue.streams) == 1)
        assert venue.queries == ["symbols=X,Y"]
        await venue.send(frame(1))
        assert await first == quote(1)
        await venue.send({"kind": "LOST", "count": 4})
        lost = await anext(stream)
        assert isinstance(lost, Lost)
        assert lost.count == 4
        await venue.stop()
        lost = await anext(stream)
        assert isinstance(lost, Lost)
        assert lost.count is None
        second = asyncio.create_task(anext(stream))
        await venue.start()
        await until(lambda: len(venue.streams) == 1)
        await venue.send(frame(2))
        assert await second == quote(2)


async def test_nonsense_on_the_stream_is_a_loss_and_not_the_end() -> None:
    async with small_venue() as venue, aclosing(VenueStream(venue.url).stream()) as stream:
        first = asyncio.create_task(anext(stream))
        await until(lambda: len(venue.streams) == 1)
        await venue.send("no JSON")
        lost = await first
        assert isinstance(lost, Lost)
        assert "cannot be read" in lost.why
        second = asyncio.create_task(anext(stream))
        await until(lambda: len(venue.queries) == 2 and len(venue.streams) == 1)
        await venue.send(frame(2))
        assert await second == quote(2)


# -- exchanges ---------------------------------------------------------------------------------------------------


ccxt: Any = importlib.import_module("ccxt")


class FakeExchange:
    """As much of a ccxt.pro exchange as the feed uses. It gives one of each, and then nothing more."""

    id = "fake"

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {
            "ticker": [
                ccxt.NetworkError("gone"),
                {"bid": 1.1, "ask": 1.2, "bidVolume": 1e-7, "askVolume": None, "timestamp": 1_767_355_200_001},
                {"bid": None, "ask": 1.2},
            ],
            "trades": [[{"price": 1.15, "amount": 2.0, "side": "sell", "timestamp": None}]],
        }
        self.is_closed = False

    async def watch_ticker(self, symbol: str) -> Any:
        return await self._next("ticker")

    async def watch_trades(self, symbol: str) -> Any:
        return await self._next("trades")

    async def close(self) -> None:
        self.is_closed = True

    async def _next(self, what: str) -> Any:
        if not self.answers[what]:
            await asyncio.Event().wait()
        answer = self.answers[what].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def some(stream: AsyncGenerator[Told, None], count: int) -> list[Told]:
    return [await anext(stream) for _ in range(count)]


async def test_quotes_and_trades_of_an_exchange_are_exact() -> None:
    exchange = FakeExchange()
    feed = ExchangeStream("fake", ["A/B"], lambda: NOON_NS, make=lambda _: exchange)
    async with aclosing(feed.stream()) as stream:
        told = await some(stream, 3)
    assert exchange.is_closed
    assert [one for one in told if isinstance(one, Lost)] == [Lost(None, "A/B: gone")]
    assert Quote("A/B", NOON_NS + 1_000_000, "1.1", "1.2", "0.0000001") in told
    assert Trade("A/B", NOON_NS, "1.15", "2", Side.SELL) in told


async def test_what_an_exchange_cannot_do_ends_the_feed() -> None:
    exchange = FakeExchange()
    exchange.answers["ticker"] = [ccxt.BadSymbol("what is A/B?")]
    feed = ExchangeStream("fake", ["A/B"], lambda: NOON_NS, make=lambda _: exchange)
    with pytest.raises(MarketDataError, match="fake gives no market data of A/B: what is A/B"):
        async with aclosing(feed.stream()) as stream:
            await some(stream, 3)
    assert exchange.is_closed


def test_an_exchange_needs_a_name_and_symbols() -> None:
    with pytest.raises(MarketDataError, match="needs to know which symbols"):
        ExchangeStream("binance", [], lambda: 0)
    with pytest.raises(MarketDataError, match="knows no exchange 'nowhere'"):
        ExchangeStream("nowhere", ["A/B"], lambda: 0)
