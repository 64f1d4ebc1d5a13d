"""Who opens connections and does not use them keeps nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.wire.connections import Connections, TooManyConnections
from tests.api.conftest import AT, Engine, order, serving
from tests.api.test_connections import GET, connected, post

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


async def test_a_bulk_request_may_last_if_something_comes(engine: Engine) -> None:
    await engine.open()
    account = AT.removeprefix("/accounts/")
    async with connected(engine) as (reader, writer):
        writer.write(b"POST /commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        loop, number = asyncio.get_running_loop(), 0
        long_enough_s = loop.time() + 2 * engine.settings.request_timeout_s
        while loop.time() < long_enough_s:
            text = _line(account, f"o-{number}")
            writer.write(b"%x\r\n%b\r\n" % (len(text), text))
            assert b"OrderCreated" in await asyncio.wait_for(reader.readuntil(b"}\n"), 30)
            number += 1
        assert b"request-timeout" in await everything(reader)


def _line(account: str, order_id: str) -> bytes:
    import msgspec

    return msgspec.json.encode({"type": "PlaceOrder", "account": account, **order(order_id)}) + b"\n"


class Socket:
    def __init__(self) -> None:
        self.heard_at_s = 0.0
        self.due_from_s: float | None = None
        self.unsent_from_s: float | None = None
        self.unsent_bytes = 0
        self.key_id: str | None = None
        self.is_idle = True
        self.is_ended = False

    def end(self) -> None:
        self.is_ended = True

    abort = end


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
