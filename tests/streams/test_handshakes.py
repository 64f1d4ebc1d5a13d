"""Which requests begin a WebSocket. All others are answered like requests without ``Upgrade``, or refused."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from websockets.http11 import MAX_LINE_LENGTH
from websockets.server import ServerProtocol

from foldbook.api.streams.market import MarketStream
from foldbook.config import Settings
from foldbook.wire.requests import HEADERS_MAX, TARGET_BYTES_MAX
from foldbook.wire.sockets import _HANDSHAKE, VERSION, SocketProtocol, is_handshake
from tests.access.conftest import guarded_settings, guarding
from tests.api.conftest import AT, Engine, serving
from tests.api.test_connections import GET, answer, connected

CONNECTIONS_MAX = 8
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MARKET = "GET /stream/market HTTP/1.1"
OK_VERSION = "Sec-WebSocket-Version: 13"
OK_KEY = f"Sec-WebSocket-Key: {KEY}"


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    settings = Settings(database_url=SecretStr(database), connections_max=CONNECTIONS_MAX, request_timeout_s=1)
    async with serving(settings) as running:
        yield running


def asking(line: str = MARKET, *headers: str, host: str = "localhost") -> bytes:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    return "\r\n".join([line, f"Host: {host}", *upgrade, *headers, "", ""]).encode()


def handshake(line: str = MARKET, *headers: str, host: str = "localhost") -> bytes:
    return asking(line, OK_VERSION, OK_KEY, *headers, host=host)


SYMBOLS = ",".join(f"SYMBOL-{n:05}" for n in range(1_000))
LONG = {
    "a long target": handshake(f"GET /stream/market?symbols={SYMBOLS} HTTP/1.1"),
    "the longest target": handshake(f"GET {'/stream/market?symbols=A'.ljust(TARGET_BYTES_MAX, '/')} HTTP/1.1"),
    "a long header": handshake(MARKET, "X-A: " + "x" * 60_000),
    "a long cookie": handshake(MARKET, "Cookie: " + "x" * 10_000),
    "a long name": handshake(MARKET, "x" * 10_000 + ": a"),
    "many headers": handshake(MARKET, *(f"X-{n}: a" for n in range(HEADERS_MAX - 5))),
    "extensions and protocols that cannot be read": handshake(
        MARKET, "Sec-WebSocket-Extensions: =;=,", "Sec-WebSocket-Protocol: ,=,"
    ),
    "bytes that are not ASCII": handshake(MARKET, "X-A: \xe4"),
    "a length": handshake(MARKET, "Content-Length: 0"),
    "another spelling": handshake("GET /stream/market/ HTTP/1.1", "X-A: a").replace(b"websocket", b"WebSocket", 1),
}


@pytest.mark.parametrize("what", LONG)
async def test_what_may_be_sent_is_answered(engine: Engine, what: str) -> None:
    status = b"HTTP/1.1 400 " if what == "the longest target" else b"HTTP/1.1 101 "
    assert len(max(LONG["a long target"].split(b"\r\n"), key=len)) > MAX_LINE_LENGTH
    async with connected(engine) as (reader, writer):
        writer.write(LONG[what])
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(status)


TOO_MUCH = {
    "target": (handshake(f"GET /stream/market?x={'x' * TARGET_BYTES_MAX} HTTP/1.1"), 414),
    "header": (handshake(MARKET, "X-A: " + "x" * 70_000), 431),
    "headers": (handshake(MARKET, *(f"X-{n}: a" for n in range(HEADERS_MAX))), 431),
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_too_much_is_refused_as_it_is_of_others(engine: Engine, what: str) -> None:
    request, status = TOO_MUCH[what]
    async with connected(engine) as (reader, writer):
        writer.write(request)
        assert (await answer(reader))[0] == status


NOT_BEGUN = {
    "no key": asking(MARKET, OK_VERSION),
    "a short key": asking(MARKET, OK_VERSION, "Sec-WebSocket-Key: dGhl"),
    "a long key": asking(MARKET, OK_VERSION, f"Sec-WebSocket-Key: AAAA{KEY}"),
    "a key in other letters": asking(MARKET, OK_VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="),
    "no version": asking(MARKET, OK_KEY),
    "an old version": asking(MARKET, OK_KEY, "Sec-WebSocket-Version: 8"),
    "two versions": asking(MARKET, OK_KEY, "Sec-WebSocket-Version: 13, 8"),
    "HTTP/1.0": handshake(MARKET.replace("1.1", "1.0")),
    "another protocol": handshake().replace(b"websocket", b"h2c"),
    "no Connection": handshake().replace(b"Connection: Upgrade", b"Connection: keep-alive"),
    "plain": GET.replace(b"/health/live", b"/stream/market"),
}


@pytest.mark.parametrize("what", NOT_BEGUN)
async def test_what_is_no_handshake_is_told_what_to_do(engine: Engine, what: str) -> None:
    async with connected(engine) as (reader, writer):
        writer.write(NOT_BEGUN[what])
        status, headers, body = await answer(reader)
        assert (status, json.loads(body)["type"]) == (426, "urn:foldbook:problem:upgrade-required")
        assert (headers["sec-websocket-version"], headers["upgrade"]) == ("13", "websocket")
        assert headers["connection"] in ("upgrade", "close")


async def test_the_gate_is_asked_first(database: str) -> None:
    async with guarding(guarded_settings(database)) as guarded:
        for what, request in (LONG | NOT_BEGUN).items():
            for host, status in (("localhost", 401), ("evil.example", 421)):
                async with connected(guarded.engine) as (reader, writer):
                    writer.write(request.replace(b"Host: localhost", f"Host: {host}".encode()))
                    answered, headers, _ = await answer(reader)
                    assert (answered, headers["content-type"]) == (status, "application/problem+json"), (what, host)


async def test_where_there_is_no_websocket_the_request_is_like_others(engine: Engine) -> None:
    await engine.open()
    await engine.place("o-1")
    async with connected(engine) as (reader, writer):
        writer.write(handshake(f"POST {AT}/orders/o-1/cancel HTTP/1.1", "Content-Length: 0"))
        status, _, body = await answer(reader)
        assert (status, json.loads(body)["events"]) == (200, ["OrderCancelRequested"])
        writer.write(handshake("GET /health/live HTTP/1.1") + handshake("POST /stream/market HTTP/1.1") + GET)
        assert [(await answer(reader))[0] for _ in range(3)] == [200, 405, 200]
        writer.write(handshake("GET /nothing HTTP/1.1"))
        assert (await answer(reader))[0] == 404


async def test_a_socket_that_is_not_accepted_in_time_is_closed_and_keeps_nobody_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = asyncio.Event()

    async def say_nothing(*_: object) -> None:
        await is_over.wait()

    monkeypatch.setattr(MarketStream, "__call__", say_nothing)
    held = [await asyncio.open_connection(*engine.address) for _ in range(CONNECTIONS_MAX)]
    try:
        for _, writer in held:
            writer.write(handshake())
        await asyncio.sleep(0.2)
        async with connected(engine) as (reader, writer):
            writer.write(GET)
            assert (await answer(reader))[0] == 200
        for reader, _ in held:
            assert await asyncio.wait_for(reader.read(), 20) == b""
    finally:
        is_over.set()
        for _, writer in held:
            writer.close()


async def test_a_client_that_takes_no_pongs_is_sent_none(engine: Engine) -> None:
    reader, writer = await asyncio.open_connection(*engine.address, limit=1_000)
    try:
        writer.write(handshake())
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 101 ")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        ping = b"\x89\xfd" + bytes(4) + bytes(125)
        (socket,) = (each for each in engine.connections._all if isinstance(each, SocketProtocol))
        for _ in range(200):
            writer.write(ping * 400)
            await writer.drain()
        assert 0 < socket.unsent_bytes < 1 << 20
    finally:
        writer.transport.abort()


def test_the_library_takes_whatever_is_a_handshake() -> None:
    for letter in string.ascii_letters + string.digits + "+/":
        key = (letter * 22 + "==").encode()
        assert is_handshake(b"GET", "1.1", {b"sec-websocket-version": VERSION, b"sec-websocket-key": key})
        library = ServerProtocol()
        library.receive_data(_HANDSHAKE % (VERSION, key))
        (request,) = library.events_received()
        assert library.accept(request).status_code == 101  # type: ignore[arg-type]
