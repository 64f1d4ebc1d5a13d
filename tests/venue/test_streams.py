"""The streams of reports and market data."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from foldbook.venue.server.streams import MARKET_WAITING_MAX, MarketListener, ReportListener
from tests.venue.running import FRAME_S, RunningVenue, order, quote, running

Client = httpx.AsyncClient


async def test_reports_come_in_order_of_their_number(venue: RunningVenue, client: Client) -> None:
    account, symbol = uuid4().hex, uuid4().hex
    async with venue.stream(f"/reports?account={account}") as own, venue.stream() as everybodys:
        await client.post("/orders", json=order("o", account=account, symbol=symbol, limit_price="101"))
        replace = {"account": account, "limit_price": "102", "request_id": "r-1"}
        await client.post("/orders/o/replace", json=replace)
        await client.post("/orders", json=order("theirs", account="somebody", limit_price="1"))
        await client.put("/quotes", json=quote("99", "100", symbol=symbol, ask_size="4"))
        await client.post("/orders/o/cancel", json={"account": account, "request_id": "r-2"})
        await client.post("/orders/o/cancel", json={"account": account, "request_id": "r-3"})
        frames = [await own.next() for _ in range(5)]
        assert [(frame["exec_type"], frame.get("request_id")) for frame in frames] == [
            ("NEW", None), ("REPLACED", "r-1"), ("TRADE", None), ("CANCELED", "r-2"), ("CANCEL_REJECTED", "r-3"),
        ]  # fmt: skip
        assert all(frame["account"] == account and frame["client_order_id"] == "o" for frame in frames)
        assert (frames[1]["quantity"], frames[1]["limit_price"]) == ("10", "102")
        assert {name: frames[2][name] for name in ("kind", "last_qty", "last_px", "side", "symbol")} == {
            "kind": "TRADE", "last_qty": "4", "last_px": "100", "side": "BUY", "symbol": symbol,
        }  # fmt: skip
        assert "reason" not in frames[0] and "limit_price" not in frames[0]
        seqs = [(await everybodys.next())["seq"] for _ in range(6)]
        assert seqs == list(range(seqs[0], seqs[0] + 6))
        fills = (await client.get("/fills", params={"account": account})).json()["fills"]
        assert fills == [frames[2]]  # the same, whoever tells it


async def test_market_data_is_told_as_it_comes(venue: RunningVenue, client: Client) -> None:
    symbol, other = uuid4().hex, uuid4().hex
    await client.put("/quotes", json=quote("1", "2", symbol=symbol, time="2026-01-01T00:00:00Z"))
    async with venue.stream(f"/market?symbols={symbol},another") as stream:
        assert await stream.next() == {
            "kind": "QUOTE", "symbol": symbol, "bid": "1", "ask": "2", "time": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        await client.put("/quotes", json=quote("1", "2", symbol=other))
        await client.put("/trades", json={"symbol": symbol, "price": "1.5", "size": "3", "aggressor": "SELL"})
        told = await stream.next()
        assert (told["kind"], told["price"], told["size"], told["aggressor"]) == ("TRADE", "1.5", "3", "SELL")
        bar = {"symbol": symbol, "open": "1", "high": "3", "low": "1", "close": "2", "interval_s": 60}
        await client.put("/bars", json=bar)
        told = await stream.next()
        assert (told["kind"], told["high"], told["interval_s"]) == ("BAR", "3", 60.0)


async def test_streams_end_when_the_venue_does(tmp_path: Path) -> None:
    with running(tmp_path) as venue:
        async with venue.stream() as reports, venue.stream("/market") as market:
            await asyncio.to_thread(venue.end, signal.SIGTERM)
            for stream in (reports, market):
                with pytest.raises(ConnectionClosed):
                    await stream.next()


async def test_a_client_that_leaves_is_forgotten(venue: RunningVenue, client: Client) -> None:
    for _ in range(3):
        async with connect(f"ws://127.0.0.1:{venue.port}/reports"):
            pass
    async with venue.stream() as stream:
        account = uuid4().hex
        await client.post("/orders", json=order("o", account=account, limit_price="1"))
        assert (await stream.next())["account"] == account


async def test_a_client_that_does_not_read_is_disconnected(venue: RunningVenue, client: Client) -> None:
    """What it missed is among the fills."""
    account, symbol = uuid4().hex, uuid4().hex
    with socket.create_connection(("127.0.0.1", venue.port), timeout=FRAME_S) as slow:
        slow.sendall(
            f"GET /reports?account={account} HTTP/1.1\r\nHost: venue\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert slow.recv(100).startswith(b"HTTP/1.1 101 ")
        large = order("o", quantity="1000000", account=account, symbol=symbol, limit_price="100")
        await client.post("/orders", json=large)
        one_each = [quote("99", "100", symbol=symbol, ask_size="1")] * 1000
        for _ in range(80):
            assert (await client.put("/quotes", json=one_each)).status_code == 200
        taken = await asyncio.to_thread(_until_over, slow)
        assert 0 < taken.count(b'"kind":"TRADE"') < 80_000
    (known,) = (await client.get("/orders", params={"account": account})).json()["orders"]
    assert known["cum_qty"] == "80000"


def _until_over(slow: socket.socket) -> bytes:
    """All that comes until the venue says goodbye, or hangs up."""
    taken = b""
    with contextlib.suppress(ConnectionResetError):
        while not taken.endswith(b"the listener is too slow") and (some := slow.recv(1 << 16)):
            taken += some
    return taken


# -- what waits for a listener -----------------------------------------------------------------------------------------


async def test_a_listener_that_has_too_much_to_take_is_ended() -> None:
    listener = ReportListener(None, waiting_max=2)
    for frame in (b"1", b"2"):
        listener.add(frame)
    assert await listener.next() == b"1"
    listener.add(b"3")
    assert not listener.ended.is_set()
    listener.add(b"4")
    assert listener.ended.is_set() and listener.why_ended == "the listener is too slow"


async def test_of_market_data_the_latest_counts() -> None:
    listener = MarketListener(frozenset({"X", "Y"}), lambda: "now")
    assert listener.wants("X") and not listener.wants("Z")
    for number in range(3):
        listener.add("QUOTE", "X", b"x%d" % number)
    listener.add("QUOTE", "Y", b"y")
    listener.add("TRADE", "X", b"t")
    told = [await listener.next() for _ in range(4)]
    assert told == [b'{"kind":"LOST","time":"now","count":2}', b"x2", b"y", b"t"]
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    listener.add("QUOTE", "X", b"x")
    assert await waiting == b"x"


async def test_the_first_frame_is_not_lost_among_many_quotes() -> None:
    listener = MarketListener(None, lambda: "now", b"HELLO")
    for number in range(MARKET_WAITING_MAX + 1):
        listener.add("QUOTE", f"S{number}", b"%d" % number)
    told = [await listener.next() for _ in range(3)]
    assert told == [b"HELLO", b'{"kind":"LOST","time":"now","count":1}', b"1"]
