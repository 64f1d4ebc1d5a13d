"""Who opens connections and does not use them keeps nobody out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.errors import FoldbookError, Overloaded
from foldbook.wire.connections import Connections, TooManyConnections
from foldbook.wire.requests import RequestRefused
from tests.api.conftest import AT, Engine, order, serving
from tests.api.test_connections import GET, answer, connected, post
from tests.api.test_one_meaning import CHUNKED, OF_JSON, ORDERS, head
from tests.waiting import until

CONNECTIONS_MAX = 8


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    settings = Settings(database_url=SecretStr(database), connections_max=CONNECTIONS_MAX, request_timeout_s=1)
    async with serving(settings) as running:
        yield running


async def everything(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 30)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health/live HTTP/1.1\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    ],
)
async def test_a_request_that_does_not_arrive_in_time_is_answered_408(engine: Engine, sent: bytes) -> None:
    async with connected(engine) as (reader, writer):
        writer.write(sent)
        assert (await everything(reader)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("how", ["the fast path", "chunked", "a query"])
async def test_a_body_that_does_not_arrive_in_time_ends_its_connection(engine: Engine, how: str) -> None:
    await engine.open()
    half = post("o-1")[:-5]
    if how == "chunked":
        head, body = half.replace(b"Content-Length", b"X-Length").split(b"\r\n\r\n")
        half = b"%b\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b" % (head, len(body) + 5, body)
    elif how == "a query":
        half = half.replace(b"/orders HTTP", b"/orders? HTTP")
    async with connected(engine) as (reader, writer):
        writer.write(half)
        assert (await everything(reader)).startswith(b"HTTP/1.1 408 ")
    assert (await engine.client.get(f"{AT}/orders/o-1")).status_code in (404, 503)


async def test_one_more_connection_takes_the_place_of_the_idlest(engine: Engine) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(connected(engine)) for _ in range(CONNECTIONS_MAX)]
        reader, writer = await stack.enter_async_context(connected(engine))
        writer.write(GET)
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200 ")
        assert (await everything(silent[0][0])).startswith(b"HTTP/1.1 408 ")


HALF_BODY = head(ORDERS, OF_JSON, "Content-Length: 10") + b"{"
UNREAD = head("GET /openapi.json HTTP/1.1") * 40
HELD = {
    "half a body": HALF_BODY,
    "half a body in chunks": head(ORDERS, OF_JSON, CHUNKED) + b"5\r\n{",
    "half a body that is not needed": head("GET /health/live HTTP/1.1", "Content-Length: 10") + b"{",
    "half a body of many commands": head("POST /commands HTTP/1.1", "Content-Type: application/x-ndjson", CHUNKED),
    "answers that are not taken": UNREAD,
    "answers that are not taken, then half a request": UNREAD + b"GET / HTTP/1.1\r\n",
    "half a request after another": GET + b"GET / HTTP/1.1\r\n",
}


async def test_who_sends_half_a_request_or_takes_no_answer_keeps_nobody_out(database: str) -> None:
    """Nobody has a key here, and no time runs out."""
    settings = Settings(database_url=SecretStr(database), connections_max=CONNECTIONS_MAX)
    async with serving(settings) as engine:
        for what, sent in HELD.items():
            async with AsyncExitStack() as stack:
                for _ in range(CONNECTIONS_MAX):
                    _, writer = await stack.enter_async_context(_unread(engine))
                    writer.write(sent)
                await asyncio.sleep(0.5)
                for _ in range(2 * CONNECTIONS_MAX):
                    reader, writer = await stack.enter_async_context(connected(engine))
                    writer.write(GET)
                    assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 200 "), what


@asynccontextmanager
async def _unread(engine: Engine) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose client reads nothing."""
    async with connected(engine) as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def test_what_is_answered_before_its_body_is_read_ends_in_time(engine: Engine) -> None:
    """Its body is read to its end, and forgotten; then the next request is due."""
    for path in ("/health/live", "/docs"):
        async with connected(engine) as (reader, writer):
            writer.write(head(f"GET {path} HTTP/1.1", "Content-Type: application/json", "Content-Length: 10") + b"{")
            assert (await answer(reader))[0] == 200
            writer.write(b"}" + b" " * 8 + GET)
            assert (await answer(reader))[0] == 200
            assert await everything(reader) == b""
        async with connected(engine) as (reader, writer):
            writer.write(head(f"GET {path} HTTP/1.1", "Content-Type: application/json", "Content-Length: 10") + b"{")
            assert (await answer(reader))[0] == 200
            writer.write(b"}" + b" " * 8)
            assert (await everything(reader)).startswith(b"HTTP/1.1 408 ")


async def test_the_rest_of_a_bulk_request_that_is_refused_has_to_come_in_time(engine: Engine) -> None:
    async with connected(engine) as (reader, writer):
        writer.write(head("POST /commands HTTP/1.1", "Content-Type: text/plain", CHUNKED))
        assert (await answer(reader))[0] == 415
        reading = asyncio.create_task(everything(reader))
        while not reading.done():
            writer.write(b"1\r\n\n\r\n")
            await asyncio.sleep(0.1)
        assert await reading == b""


async def test_a_bulk_request_may_last_if_something_comes(database: str) -> None:
    settings = Settings(database_url=SecretStr(database), request_timeout_s=3)
    account = AT.removeprefix("/accounts/")
    async with serving(settings) as engine:
        await engine.open()
        async with connected(engine) as (reader, writer):
            writer.write(head("POST /commands HTTP/1.1", "Content-Type: application/x-ndjson", CHUNKED))
            loop, number = asyncio.get_running_loop(), 0
            long_enough_s = loop.time() + 1.5 * settings.request_timeout_s
            while loop.time() < long_enough_s:
                text = _line(account, f"o-{number}")
                writer.write(b"%x\r\n%b\r\n" % (len(text), text))
                assert b"OrderCreated" in await asyncio.wait_for(reader.readuntil(b"}\n"), 30)
                number += 1
            assert b"request-timeout" in await everything(reader)


def _line(account: str, order_id: str) -> bytes:
    import msgspec

    return msgspec.json.encode({"type": "PlaceOrder", "account": account, **order(order_id)}) + b"\n"


async def test_where_every_connection_has_a_request_to_answer_another_is_told_to_come_again(
    engine: Engine, database: str
) -> None:
    await engine.open()
    async with await psycopg.AsyncConnection.connect(database) as writer_lock, AsyncExitStack() as stack:
        await writer_lock.execute("select from eventstore.shards for update")
        for number in range(CONNECTIONS_MAX):
            _, writer = await stack.enter_async_context(connected(engine))
            writer.write(post(f"o-{number}"))
        await until(lambda: sum(not one.is_waiting for one in engine.connections._all) == CONNECTIONS_MAX)
        reader, _ = await stack.enter_async_context(connected(engine))
        status, headers, body = await answer(reader)
        assert (status, headers["retry-after"], json.loads(body)["type"]) == (
            503,
            "1",
            "urn:foldbook:problem:overloaded",
        )


class Socket:
    def __init__(self) -> None:
        self.heard_at_s = 0.0
        self.due_from_s: float | None = None
        self.unsent_from_s: float | None = None
        self.unsent_bytes = 0
        self.is_held_up = False
        self.held_up_at_s = 0.0
        self.key_id: str | None = None
        self.is_idle = True
        self.is_waiting = True
        self.is_ended = False
        self.told: FoldbookError | None = None

    def end(self, error: FoldbookError) -> None:
        self.is_ended, self.told = True, error

    def abort(self) -> None:
        self.is_ended = True


async def test_a_key_may_have_half_of_the_connections() -> None:
    connections = Connections(4, 1, 1)
    sockets: list[Any] = [Socket() for _ in range(4)]
    for socket in sockets:
        connections.add(socket)
    connections.claim(sockets[0], "a")
    connections.claim(sockets[1], "a")
    connections.claim(sockets[1], "a")
    with pytest.raises(TooManyConnections, match="2 connections"):
        connections.claim(sockets[2], "a")
    connections.claim(sockets[2], "b")
    connections.claim(sockets[1], "b")
    connections.claim(sockets[3], "a")
    connections.remove(sockets[0])
    connections.claim(sockets[1], "a")
    for socket in sockets:
        connections.remove(socket)
    assert len(connections) == 0


def a_socket(heard_at_s: float, key_id: str | None, *, is_idle: bool, is_waiting: bool = True) -> Any:
    socket = Socket()
    socket.heard_at_s, socket.key_id, socket.is_idle, socket.is_waiting = heard_at_s, key_id, is_idle, is_waiting
    return socket


async def test_who_has_no_key_goes_first_and_who_has_a_request_to_answer_stays() -> None:
    connections = Connections(6, 1, 1)
    order = [
        a_socket(8, None, is_idle=True),
        a_socket(9, None, is_idle=True),
        a_socket(7, None, is_idle=False),
        a_socket(2, "a", is_idle=True),
        a_socket(1, "a", is_idle=False),
    ]
    busy = a_socket(0, None, is_idle=False, is_waiting=False)
    for socket in (busy, *reversed(order)):
        connections.add(socket)
    for socket in order:
        assert not socket.is_ended
        connections.add(a_socket(0, None, is_idle=False, is_waiting=False))
        assert socket.is_ended
        assert isinstance(socket.told, RequestRefused)
        assert len(connections) == 6
    last = a_socket(0, None, is_idle=True)
    connections.add(last)
    assert (last.is_ended, busy.is_ended, len(connections)) == (True, False, 6)
    assert isinstance(last.told, Overloaded)
    for socket in list(connections._all):
        connections.remove(socket)
