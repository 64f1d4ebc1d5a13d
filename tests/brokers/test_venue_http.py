"""Requests to the venue, against a server that answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from foldbook.brokers import venue_http
from foldbook.brokers.venue_http import HttpAnswer, VenueRequests

OK = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """It gives ``answers`` one after another; b"" closes the connection instead, None says nothing."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = list(answers)
        self.connections = 0
        self.requests: list[bytes] = []
        self.has_asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self._answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                self.has_asked.set()
                answer = self._answers.pop(0)
                if answer == b"":
                    break
                if answer is not None:
                    writer.write(answer)
            else:
                await reader.read()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asking(server: Server, path: str = "") -> AsyncIterator[VenueRequests]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    requests = VenueRequests(f"http://127.0.0.1:{port}{path}")
    try:
        yield requests
    finally:
        requests.close()
        listener.close()


async def test_requests_one_after_another_share_a_connection() -> None:
    server = Server(OK, b"HTTP/1.1 422 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n4\r\n now\r\n0\r\n\r\n", OK)
    async with asking(server, "/venue/") as requests:
        assert await requests.post("/orders", b"one") == HttpAnswer(201, b"{}")
        assert await requests.post("/orders", b"two") == HttpAnswer(422, b"not now")
        assert await requests.post("/orders", b"three") == HttpAnswer(201, b"{}")
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /venue/orders HTTP/1.1\r\nHost: 127.0.0.1:")
    assert server.requests[0].endswith(b"Content-Type: application/json\r\nContent-Length: 3\r\n\r\none")


async def test_requests_at_once_have_a_connection_each() -> None:
    server = Server(OK, OK, OK)
    async with asking(server) as requests:
        await asyncio.gather(*(requests.post("/orders", b"{}") for _ in range(3)))
    assert server.connections == 3


async def test_a_server_that_is_not_there() -> None:
    server = Server()
    async with asking(server) as requests:
        pass
    with pytest.raises(ConnectionRefusedError):
        await requests.post("/orders", b"{}")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"what is it you want?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b" " * 1_100_000,
    ],
    ids=["closed", "not HTTP", "without end"],
)
async def test_an_answer_that_is_none(answer: bytes) -> None:
    server = Server(answer, OK)
    async with asking(server) as requests:
        with pytest.raises(ConnectionError):
            await requests.post("/orders", b"{}")
        assert await requests.post("/orders", b"{}") == HttpAnswer(201, b"{}")
    assert server.connections == 2


async def test_who_does_not_wait_takes_the_connection_with_him() -> None:
    """Or the late answer would be taken for that of the next request."""
    server = Server(None, OK)
    async with asking(server) as requests:
        asked = asyncio.create_task(requests.post("/orders", b"{}"))
        await server.has_asked.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await requests.post("/orders", b"{}") == HttpAnswer(201, b"{}")
    assert server.connections == 2


@pytest.mark.parametrize(
    "limit", ["IDLE_MAX_S", "CONNECTIONS_IDLE_MAX"], ids=["it is too old", "there are enough of them"]
)
async def test_a_connection_that_is_not_used_again(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(venue_http, limit, 0)
    server = Server(OK, OK)
    async with asking(server) as requests:
        await requests.post("/orders", b"{}")
        await requests.post("/orders", b"{}")
    assert server.connections == 2


async def test_a_server_that_keeps_no_connections() -> None:
    server = Server(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK)
    async with asking(server) as requests:
        await requests.post("/orders", b"{}")
        await requests.post("/orders", b"{}")
    assert server.connections == 2
