"""The venue refuses the same requests as the engine: they share the protocol."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.venue.running import RunningVenue

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
PUT = b"PUT /faults HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
WHAT = {
    "no host": GET.replace(b"Host: localhost\r\n", b""),
    "two hosts": GET.replace(b"Host", b"Host: localhost\r\nHost"),
    "trailers": PUT + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\r\n\r\n",
    "gzip, chunked": PUT + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/0.9": GET.replace(b"HTTP/1.1", b"HTTP/0.9"),
    "HTTP/2.0": GET.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "two slashes": GET.replace(b"/health", b"//health"),
    "an escaped letter": GET.replace(b"/health", b"/%68ealth"),
    "absolute": GET.replace(b"/health", b"http://localhost/health"),
    "a fragment": GET.replace(b"/health", b"/health#x"),
    "no HTTP": b"HELLO\r\n\r\n",
    "nested deeply": PUT + b"Content-Length: 100000\r\nConnection: close\r\n\r\n" + b"[" * 100_000,
}


async def said_to(venue: RunningVenue, request: bytes) -> tuple[int, bytes]:
    """Status and body of the only answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
    try:
        writer.write(request)
        said = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
    head, body = said.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), body


@pytest.mark.parametrize("what", WHAT)
async def test_what_could_mean_two_things_is_400(venue: RunningVenue, what: str) -> None:
    status, body = await said_to(venue, WHAT[what])
    assert (status, json.loads(body)["type"]) == (400, "urn:foldbook:problem:malformed")


async def test_what_is_repeated_of_a_request_is_cut(venue: RunningVenue) -> None:
    body = json.dumps({"x" * 500_000: 1}).encode()
    status, said = await said_to(venue, PUT + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert status == 400
    assert len(said) < 2_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"x" * 1_000_000, 414),
        (GET[:-2] + b"X-A: " + b"x" * 1_000_000, 431),
        (GET[:-2] + b"X-A: b\r\n" * 1_000 + b"\r\n", 431),
    ],
)
async def test_too_much_of_a_request(venue: RunningVenue, request_: bytes, status: int) -> None:
    assert (await said_to(venue, request_))[0] == status


SOCKET = (
    b"GET /reports HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LONG = b"X-A: " + b"x" * 10_000 + b"\r\n"


@pytest.mark.parametrize("path", [b"/reports", b"/market", b"/orders"])
async def test_a_long_line_of_a_request_for_a_websocket_is_read(venue: RunningVenue, path: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
    try:
        writer.write(SOCKET.replace(b"/reports", path) + LONG + b"\r\n")
        assert (await asyncio.wait_for(reader.readline(), 30)).startswith(b"HTTP/1.1 101 ")
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("path", "without", "status"),
    [
        (b"/reports", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 405),
        (b"/reports", b"Sec-WebSocket-Version: 13\r\n", 405),
        (b"/orders", b"Sec-WebSocket-Version: 13\r\n", 200),
        (b"/health", b"", 200),
        (b"/nothing", b"", 404),
    ],
)
async def test_what_begins_no_websocket_is_a_request_like_others(
    venue: RunningVenue, path: bytes, without: bytes, status: int
) -> None:
    request = SOCKET.replace(b"/reports", path).replace(without, b"").replace(b"Upgrade\r\n", b"Upgrade, close\r\n", 1)
    answered, body = await said_to(venue, request + LONG + b"\r\n")
    assert answered == status
    assert status == 200 or json.loads(body)["type"].startswith("urn:foldbook:problem:")
