"""HTTP/1.1 as clients really speak it: kept-alive, pipelined, in pieces, closed half-way."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.api.conftest import AT, Engine, order, until


@asynccontextmanager
async def connected(engine: Engine) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*engine.address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):  # The server may have closed it first.
            await writer.wait_closed()


def post(order_id: str, *headers: str, path: str = f"{AT}/orders", **fields: object) -> bytes:
    body = json.dumps(order(order_id, **fields)).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection: status, headers, body."""
    async with asyncio.timeout(20):
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["content-length"]))
    return int(status.split()[1]), headers, body


async def test_one_connection_carries_one_request_after_another(engine: Engine) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        for n in range(20):
            writer.write(post(f"o-{n}"))
            status, headers, body = await answer(reader)
            assert (status, json.loads(body)["sequence"], headers["etag"]) == (201, n + 2, f'"{n + 2}"')
            assert "date" in headers and "connection" not in headers
            writer.write(GET)
            assert (await answer(reader))[0] == 200
            writer.write(post(f"o-{n}", quantity="x"))
            assert (await answer(reader))[0] == 422


async def test_pipelined_requests_are_answered_in_their_order(engine: Engine) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        writer.write(post("a") + post("b") + GET + post("c") + GET + GET + post("c", quantity="3") + post("d"))
        answers = [await answer(reader) for _ in range(8)]
    assert [status for status, _, _ in answers] == [201, 201, 200, 201, 200, 200, 409, 201]
    assert [json.loads(body).get("sequence") for _, _, body in answers] == [2, 3, None, 4, None, None, None, 5]


async def test_a_request_may_come_in_pieces(engine: Engine) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        request = post("o-1")
        for n in range(0, len(request), 7):
            writer.write(request[n : n + 7])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answer(reader))[0] == 201


async def test_a_chunked_or_announced_body_is_read_too(engine: Engine) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        body = json.dumps(order("o-1")).encode()
        head = f"POST {AT}/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:]))
        assert (await answer(reader))[0] == 201

        request = post("o-2", "Expect: 100-continue")
        head, body = request.split(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await answer(reader))[0] == 201


@pytest.mark.parametrize("path", [f"{AT}/orders?", f"{AT}/orders/"])
async def test_another_way_to_write_a_path_is_the_same_call(engine: Engine, path: str) -> None:
    await engine.open()
    async with connected(engine) as (reader, writer):
        writer.write(post("o-1", path=path))
        assert (await answer(reader))[0] == 201


@pytest.mark.parametrize(
    ("version", "headers"),
    [("1.1", ["Connection: close"]), ("1.0", []), ("1.0", ["Connection: keep-alive"])],
)
async def test_a_connection_that_is_to_close_is_closed_after_the_answer(
    engine: Engine, version: str, headers: list[str]
) -> None:
    """One of HTTP/1.0 always is."""
    await engine.open()
    async with connected(engine) as (reader, writer):
        writer.write(post("o-1", *headers).replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        said = await asyncio.wait_for(reader.read(), 20)
    assert re.match(rb"HTTP/1.1 201 ", said)
    assert b"connection: close" in said.lower()


async def test_a_client_that_goes_away_half_way_harms_nobody(engine: Engine) -> None:
    await engine.open()
    request = post("o-1")
    for cut in (10, len(request) - 10, len(request)):
        async with connected(engine) as (_, writer):
            writer.write(request[:cut])
            await writer.drain()
            writer.transport.abort()

    async def is_recorded() -> bool:
        return bool((await engine.get("/events"))["head"] == 2)

    await until(is_recorded)
    assert (await engine.place("o-2"))["sequence"] == 3


async def test_a_path_that_is_not_ascii_is_not_http(engine: Engine) -> None:
    async with connected(engine) as (reader, writer):
        writer.write(post("o-1", path=f"{AT.replace('alice', 'älice')}/orders"))
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 400 ")


async def test_what_is_not_http_is_refused(engine: Engine) -> None:
    async with connected(engine) as (reader, writer):
        writer.write(b"HELLO\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 400 ")
