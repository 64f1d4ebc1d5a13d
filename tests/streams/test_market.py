"""``/stream/market``: market data for all who listen, from one source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from foldbook.api.streams.market_hub import Listener, MarketHub
from foldbook.market.feeds import wire
from foldbook.market.feeds.told import Lost, Opened, Told
from foldbook.market.records import Bar, Quote, Trade
from foldbook.trading.values import Side
from foldbook.wire.connections import Connections
from tests.api.conftest import Engine, assert_problem
from tests.market.feeding import NOON_NS, S
from tests.streams.conftest import streams_of
from tests.waiting import until

WAIT_S = 30
NOON = "2026-01-02T12:00:00Z"


class Scripted:
    """A source that tells what a test puts into it, and counts how often it is connected."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Told | Exception] = asyncio.Queue()
        self.connected = 0
        self.times = 0

    async def stream(self) -> AsyncGenerator[Told, None]:
        self.connected += 1
        self.times += 1
        try:
            while True:
                told = await self.told.get()
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.connected -= 1

    def tell(self, *told: Told | Exception) -> None:
        for one in told:
            self.told.put_nowait(one)


def quote(symbol: str = "BTC", bid: str = "1", n: int = 0) -> Quote:
    return Quote(symbol, NOON_NS + n * S, bid, "2")


@pytest.fixture
def source(engine: Engine) -> Scripted:
    """That of the engine's hub."""
    source = Scripted()
    hub: MarketHub = streams_of(engine).market._hub  # type: ignore[attr-defined]
    hub._source_of = lambda: source
    return source


@asynccontextmanager
async def listening(engine: Engine, query: str = "") -> AsyncIterator[ClientConnection]:
    async with connect("ws://{}:{}/stream/market{}".format(*engine.address, query)) as client:
        yield client


async def take(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(WAIT_S):
        return [json.loads(await client.recv()) for _ in range(count)]


async def until_away(source: Scripted) -> None:
    async def is_away() -> bool:
        return source.connected == 0

    await until(is_away)


async def test_everybody_gets_what_they_want_from_one_source(engine: Engine, source: Scripted) -> None:
    async with listening(engine) as everything, listening(engine, "?symbols=ETH,BTC%2FUSDT") as some:
        assert [frame["kind"] for frame in [*await take(everything, 1), *await take(some, 1)]] == ["HELLO", "HELLO"]
        source.tell(
            quote("BTC/USDT", "1.50", 1),
            Trade("BTC", NOON_NS, "3", "0.1", Side.SELL),
            Trade("ETH", NOON_NS, "4"),
            Opened("ETH", NOON_NS, Decimal(5)),
            Bar("ETH", NOON_NS, "1", "3", "1", "2", "10", 60 * S),
        )
        frames = await take(everything, 5)
        assert frames == [
            {"kind": "QUOTE", "symbol": "BTC/USDT", "time": "2026-01-02T12:00:01Z", "bid": "1.5", "ask": "2"},
            {"kind": "TRADE", "symbol": "BTC", "time": NOON, "price": "3", "size": "0.1", "aggressor": "SELL"},
            {"kind": "TRADE", "symbol": "ETH", "time": NOON, "price": "4"},
            {"kind": "OPEN", "symbol": "ETH", "time": NOON, "price": "5"},
            {
                "kind": "BAR", "symbol": "ETH", "time": NOON, "interval_s": 60,
                "open": "1", "high": "3", "low": "1", "close": "2", "volume": "10",
            },
        ]  # fmt: skip
        assert await take(some, 4) == [frames[0], *frames[2:]]
        assert source.times == 1
    await until_away(source)


async def test_who_comes_later_gets_the_last_quotes_first(engine: Engine, source: Scripted) -> None:
    async with listening(engine) as first:
        source.tell(quote("A", "1"), quote("B", "1"), quote("A", "1.5", 1))
        await take(first, 4)
        async with listening(engine, "?symbols=A,C") as second:
            hello, last = await take(second, 2)
            assert (hello["kind"], last["bid"]) == ("HELLO", "1.5")


async def test_a_source_that_is_away_is_told_and_tried_again(engine: Engine, source: Scripted) -> None:
    async with listening(engine) as first:
        source.tell(quote("A"), ConnectionError("the venue is gone"))
        assert [frame["kind"] for frame in await take(first, 3)] == ["HELLO", "QUOTE", "LOST"]
        async with listening(engine) as second:
            assert [frame["kind"] for frame in await take(second, 2)] == ["HELLO", "LOST"]
            source.tell(quote("A", "1.5"))
            assert [(frame["bid"]) for frame in [*await take(first, 1), *await take(second, 1)]] == ["1.5", "1.5"]
        assert source.times == 2


async def test_a_loss_that_the_source_tells_is_passed_on(engine: Engine, source: Scripted) -> None:
    async with listening(engine) as client:
        source.tell(Lost(3, "slow"), Lost(None, "away"))
        _, counted, uncounted = await take(client, 3)
        assert (counted["count"], "count" in uncounted) == (3, False)
        assert {counted["kind"], uncounted["kind"]} == {"LOST"}


async def test_the_source_is_connected_while_somebody_listens(engine: Engine, source: Scripted) -> None:
    for times in (1, 2):
        async with listening(engine) as client:
            await take(client, 1)

            async def is_connected(times: int = times) -> bool:
                return (source.connected, source.times) == (1, times)

            await until(is_connected)
        await until_away(source)


async def test_a_slow_listener_keeps_the_latest_quotes_and_is_told_how_many_it_missed() -> None:
    source = Scripted()
    hub = MarketHub(lambda: source, waiting_max=6)
    with hub.listening(None) as slow, hub.listening(frozenset({"A"})) as quick:
        read: list[str] = []
        for n in range(9):
            source.tell(quote("A", f"1.{n}", n), Trade("B", NOON_NS, str(n)))
            while len(read) < n + 2:
                read.append(await quick.next())
        frames = [json.loads(frame) for frame in await waiting(slow)]
    await hub.stop()
    assert [json.loads(frame).get("bid") for frame in read[1:]] == ["1", *(f"1.{n}" for n in range(1, 9))]
    lost, *rest = frames
    assert (lost["kind"], lost["count"] + len(rest)) == ("LOST", 19)
    assert [frame["bid"] for frame in rest if frame["kind"] == "QUOTE"][-1] == "1.8"
    assert [frame["price"] for frame in rest if frame["kind"] == "TRADE"][-1] == "8"


async def waiting(listener: Listener) -> list[str]:
    """What waits for it, from the loss on."""
    found = [await listener.next()]
    while len(listener):
        found.append(await listener.next())
    return found


async def test_a_client_that_does_not_read_is_hung_up_on_and_others_go_on(engine: Engine, source: Scripted) -> None:
    streams_of(engine).market._stalled_s = 0.5  # type: ignore[attr-defined]
    async with listening(engine) as quick:
        host, port = engine.address
        slow_reader, slow_writer = await asyncio.open_connection(host, port)
        slow_writer.write(
            f"GET /stream/market HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b" 101 " in await slow_reader.readuntil(b"\r\n\r\n")
        slow_writer.transport.pause_reading()  # type: ignore[attr-defined]
        await take(quick, 1)
        number = 0
        while len(streams_of(engine).open) == 2:
            source.tell(*(Trade("A" * 60, NOON_NS, str(n)) for n in range(number, number + 500)))
            number += 500
            assert (await take(quick, 500))[-1]["price"] == str(number - 1)
        slow_writer.transport.abort()


async def test_what_cannot_be_followed_is_refused(engine: Engine, source: Scripted) -> None:
    for query in (
        "?symbols=",
        "?symbols=A,,B",
        "?symbols=A&symbols=B",
        "?symbol=A",
        "?symbols=" + ",".join(map(str, range(1001))),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with listening(engine, query):
                pass
        assert refused.value.response.status_code == 400, query
        assert b'"urn:foldbook:problem:malformed"' in (refused.value.response.body or b"")
    with pytest.raises(InvalidStatus) as refused:
        async with connect("ws://{}:{}/stream/nothing".format(*engine.address)):
            pass
    assert refused.value.response.status_code == 404
    plain = await engine.client.get("/stream/market")
    assert_problem(plain, 426, "upgrade-required")
    assert plain.headers["upgrade"] == "websocket"
    assert source.times == 0


async def test_it_is_one_of_the_bounded_connections(engine: Engine, source: Scripted) -> None:
    connections: Connections = engine.server.config.ws_protocol_class.args[0]  # type: ignore[union-attr]
    before = len(connections)
    async with listening(engine) as first, listening(engine):
        await take(first, 1)
        assert len(connections) == before + 2

    async def are_as_many() -> bool:
        return len(connections) <= before

    await until(are_as_many)


async def test_a_stopping_server_ends_the_stream(engine: Engine, source: Scripted) -> None:
    async with listening(engine) as client:
        await take(client, 1)
        engine.server.should_exit = True
        with pytest.raises(ConnectionClosed):
            await take(client, 1)
    await until_away(source)


@pytest.mark.parametrize(
    "told",
    [
        quote("A", "1.5"),
        Quote("A", NOON_NS, "1", "2", "3", "4"),
        Trade("A", NOON_NS, "1", "2", Side.BUY),
        Bar("A", NOON_NS, "1", "3", "1", "2"),
        Opened("A", NOON_NS, Decimal("1.5")),
    ],
)
def test_a_frame_says_what_was_told(told: Told) -> None:
    assert wire.decode(wire.frame_of(told, Quote("A", NOON_NS, "1", "2").time)) == told


async def test_who_listens_again_after_a_while_is_told_no_old_quotes() -> None:
    class Source:
        times = 0

        async def stream(self) -> AsyncGenerator[Told, None]:
            Source.times += 1
            if Source.times == 1:
                yield Quote("BTC/USDT", NOON_NS, "10", "11", None, None)
            await asyncio.Event().wait()

    hub = MarketHub(Source)
    with hub.listening(None) as listener:
        assert "HELLO" in await listener.next()
        assert "BTC/USDT" in await listener.next()
    with hub.listening(None) as listener:
        assert "HELLO" in await listener.next()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await listener.next()
    await hub.stop()
