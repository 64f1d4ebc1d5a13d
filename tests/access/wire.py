"""Requests as bytes: what a client library would never send, and the ways that a request can take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from tests.api.conftest import Engine

Way = Literal["fast", "slow"]
WAYS: tuple[Way, Way] = ("fast", "slow")
"""A body of known length, which the protocol reads itself; a chunked one, which goes through the front."""

Headers = Iterable[tuple[str, str]]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """Of the problem; None: it is none."""
        if self.headers.get("content-type") != "application/problem+json":
            return None
        kind: str = json.loads(self.body)["type"]
        return kind.removeprefix("urn:foldbook:problem:")

    @property
    def seen(self) -> tuple[int, dict[str, str], bytes]:
        """All that a client can tell two answers apart by."""
        return self.status, {name: value for name, value in self.headers.items() if name != "date"}, self.body


async def send(
    engine: Engine,
    method: str,
    path: str,
    headers: Headers = (),
    body: bytes | None = None,
    way: Way = "fast",
    host: str | None = "localhost",
) -> Answer:
    """On a connection of its own. ``headers`` are sent as they are; those that frame the body are added."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if host is not None:
        lines.append(f"Host: {host}")
    content = b""
    if body is not None and way == "fast":
        lines.append(f"Content-Length: {len(body)}")
        content = body
    elif body is not None:
        lines.append("Transfer-Encoding: chunked")
        content = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:]) if part) + b"0\r\n\r\n"
    return await talk(engine, "\r\n".join([*lines, "", ""]).encode("latin-1") + content, has_body=method != "HEAD")


async def talk(engine: Engine, request: bytes, *, has_body: bool = True) -> Answer:
    """The answer to the bytes of one request."""
    reader, writer = await asyncio.open_connection(*engine.address)
    try:
        async with asyncio.timeout(30):
            writer.write(request)
            return await read_answer(reader, has_body=has_body)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> Answer:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    received = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = b""
    if not has_body or received.get("content-type") == "text/event-stream":
        pass  # or it goes on for as long as somebody listens
    elif received.get("transfer-encoding") == "chunked":
        while (size := int((await reader.readline()).strip(), 16)) > 0:
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(received.get("content-length", "0")))
    return Answer(int(first.split()[1]), received, body)


def json_body(document: Any) -> bytes:
    return json.dumps(document).encode()


JSON = ("Content-Type", "application/json")
