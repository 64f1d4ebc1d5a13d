"""An engine with streams, clients of them, and keys that are not real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from foldbook.api.streams.events import EventStream
from foldbook.api.streams.streams import StreamApplications
from foldbook.client.server_sent import Message, Parser
from tests.api.conftest import Engine, serving, settings_for

WAIT_S = 60


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    """The API, without a projector: streams need none."""
    async with serving(settings_for(database)) as running:
        yield running


@dataclass
class Client:
    """One connection to ``/stream/events``, on a raw socket, which is read when one asks for a message."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int
    headers: dict[str, str]
    parser: Parser = field(default_factory=Parser)
    messages: list[Message] = field(default_factory=list)
    is_whole: bool = False
    """The server said that the stream ends: a browser sees no error, and comes back."""

    async def next(self) -> Message:
        """The next message with data or an id. Raises ``EOFError`` at the end of the stream."""
        async with asyncio.timeout(WAIT_S):
            while not self.messages:
                self.messages.extend(self.parser.feed(await self._chunk()))
        return self.messages.pop(0)

    async def take(self, count: int) -> list[Message]:
        return [await self.next() for _ in range(count)]

    async def until(self, event: str) -> list[Message]:
        """Up to this message, with it."""
        found = [await self.next()]
        while found[-1].event != event:
            found.append(await self.next())
        return found

    async def ends(self) -> list[Message]:
        """What comes until the stream ends."""
        found = []
        try:
            while True:
                found.append(await self.next())
        except EOFError:
            return found

    async def problem(self) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            body = await self.reader.readexactly(int(self.headers["content-length"]))
        problem: dict[str, Any] = msgspec.json.decode(body)
        return problem

    async def _chunk(self) -> bytes:
        try:
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            chunk = await self.reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError from None
        if size == 0:
            self.is_whole = True
            raise EOFError
        return chunk[:-2]

    def leave(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def listening(engine: Engine, query: str = "", headers: Mapping[str, str] | None = None) -> AsyncIterator[Client]:
    client = await connect(*engine.address, query, headers)
    try:
        yield client
    finally:
        client.leave()


async def connect(host: str, port: int, query: str = "", headers: Mapping[str, str] | None = None) -> Client:
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    lines = [f"GET /stream/events{query} HTTP/1.1", f"Host: {host}:{port}"]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(WAIT_S):
        status, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    return Client(reader, writer, int(status.split()[1]), dict(line.lower().split(": ", 1) for line in rest))


def streams_of(engine: Engine) -> StreamApplications:
    """Those of a server in this process."""
    streams: StreamApplications = engine.server.config.app._streams  # type: ignore[union-attr]
    return streams


def beat_often(engine: Engine, heartbeat_s: float = 0.05) -> None:
    events = streams_of(engine).events
    assert isinstance(events, EventStream)
    events._heartbeat_s = heartbeat_s


def told(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(message.id, message.event) for message in messages]
