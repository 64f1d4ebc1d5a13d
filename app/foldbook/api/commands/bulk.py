"""``POST /commands``: many commands in one request, as newline-delimited JSON.

Three tasks share a request. Lines are read and submitted as they arrive, up to a window of them at once, so that they
share commits; the bus keeps the order of each account. Results are awaited in the order of the lines. Answers are
sent. A line that cannot be read, or a command that is refused, is answered by its problem and spoils no other.

A client may well send its whole body before it reads the first answer: up to ``UNREAD_BYTES_MAX`` of answers wait for
it before reading stops.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.types import ASGIApp
from uuid_utils.compat import uuid7

from foldbook.api.commands.calls import Receive, Scope, Send
from foldbook.api.commands.handlers import Bus, answer_of, envelope_of
from foldbook.api.commands.schemas import CommandLine
from foldbook.api.problems import Problem, body_too_large, problem_of, told
from foldbook.api.queries.documents import CommandAnswer
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Metadata

MEDIA_TYPE = "application/x-ndjson"
LINE_BYTES_MAX = 1 << 20
CHUNK_LINES_MAX = 128
UNREAD_BYTES_MAX = 64 << 20
STALLED_MAX_S = 30.0
REQUESTS_MAX = 8
"""Bulk requests at once: each may fill a window and hold UNREAD_BYTES_MAX of answers."""

BULK_PROBLEMS = ("malformed", "body-too-large", "unsupported-media-type", "overloaded")

_NDJSON = re.compile(rb"application/(x-ndjson|ndjson|jsonl|json)(;.*)?", re.IGNORECASE)
_DECODER: msgspec.json.Decoder[CommandLine] = msgspec.json.Decoder(CommandLine)
_ENCODER = msgspec.json.Encoder()


class BulkCommands:
    """An ASGI application that answers one call. ``window_max``: commands of one request in the bus at once."""

    def __init__(self, bus: Bus, *, window_max: int, body_bytes_max: int) -> None:
        self._bus = bus
        self._window_max = window_max
        self._body_bytes_max = body_bytes_max
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metadata = self._check(dict(scope["headers"]))
        if self._requests >= REQUESTS_MAX:
            raise Problem("overloaded", f"{REQUESTS_MAX} bulk requests are under way already")
        self._requests += 1
        try:
            await _Exchange(self._bus, metadata, self._window_max, self._body_bytes_max).run(receive, send)
        finally:
            self._requests -= 1

    def _check(self, headers: Mapping[bytes, bytes]) -> Metadata:
        media_type = headers.get(b"content-type")
        if media_type is not None and not _NDJSON.fullmatch(media_type):
            raise Problem("unsupported-media-type", f"the body must be {MEDIA_TYPE}")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._body_bytes_max:
            raise body_too_large(self._body_bytes_max)
        for name in (b"idempotency-key", b"if-match"):
            if name in headers:
                field = name.decode()
                raise Problem("malformed", f"{field} is for one command: here each line has its own", field=field)
        actor, correlation_id = headers.get(b"x-actor"), headers.get(b"x-correlation-id")
        return envelope_of(
            actor=None if actor is None else actor.decode(),
            correlation_id=None if correlation_id is None else correlation_id.decode(),
        ).metadata


class _Gone(Exception):
    """The client went away."""


class _Exchange:
    """One request and its answer."""

    def __init__(self, bus: Bus, metadata: Metadata, window_max: int, body_bytes_max: int) -> None:
        self._bus = bus
        self._metadata = metadata
        self._body_bytes_max = body_bytes_max
        self._window: asyncio.Queue[asyncio.Future[CommandResult] | Problem | None] = asyncio.Queue(window_max)
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread_bytes = 0
        self._is_room = asyncio.Event()

    async def run(self, receive: Receive, send: Send) -> None:
        """Raises nothing that a line caused. A client that goes away, or stops reading, ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(receive))
                tasks.create_task(self._settle())
                tasks.create_task(self._send(send))
        except* _Gone:
            # What was submitted is executed all the same; nobody waits for it any more.
            while not self._window.empty():
                entry = self._window.get_nowait()
                if isinstance(entry, asyncio.Future):
                    entry.cancel()

    async def _read(self, receive: Receive) -> None:
        async for line in self._lines(receive):
            await self._window.put(line if isinstance(line, Problem) else self._submit(line))
        await self._window.put(None)

    async def _lines(self, receive: Receive) -> AsyncIterator[bytes | Problem]:
        """The lines that are not blank; a problem in place of one that is too long, and at the end if all are."""
        rest, is_too_long, is_more, length = b"", False, True, 0
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            is_more = message["more_body"]
            length += len(message["body"])
            if length > self._body_bytes_max:
                yield body_too_large(self._body_bytes_max)
                return
            *lines, rest = (rest + message["body"]).split(b"\n")
            if not is_more:
                lines.append(rest)
            for line in lines:
                if is_too_long or len(line) > LINE_BYTES_MAX:
                    is_too_long = False
                    yield Problem("body-too-large", f"a line has at most {LINE_BYTES_MAX} bytes")
                elif line and not line.isspace():
                    yield line
            if len(rest) > LINE_BYTES_MAX:
                rest, is_too_long = b"", True

    def _submit(self, line: bytes) -> asyncio.Future[CommandResult] | Problem:
        try:
            content = _DECODER.decode(line)
            command = content.command(content.account, content.command_id or uuid7(), datetime.now(UTC))
            metadata = content.metadata(self._metadata)
            return self._bus.submit(command, metadata=metadata, expected_sequence=content.expected_sequence)
        except Exception as error:
            return problem_of(error)

    async def _settle(self) -> None:
        answers: list[CommandAnswer | dict[str, Any]] = []
        while (entry := await self._window.get()) is not None:
            answers.append(await _answer_to(entry))
            if len(answers) >= CHUNK_LINES_MAX or self._window.empty():
                await self._put(_ENCODER.encode_lines(answers))
                answers.clear()
        await self._put(_ENCODER.encode_lines(answers))
        await self._put(b"")

    async def _put(self, chunk: bytes) -> None:
        while self._unread_bytes > UNREAD_BYTES_MAX:
            self._is_room.clear()
            try:
                await asyncio.wait_for(self._is_room.wait(), STALLED_MAX_S)
            except TimeoutError:
                raise _Gone from None
        self._unread_bytes += len(chunk)
        self._answers.put_nowait(chunk)

    async def _send(self, send: Send) -> None:
        headers = [(b"content-type", MEDIA_TYPE.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        is_more = True
        while is_more:
            chunk = await self._answers.get()
            is_more = chunk != b""
            await send({"type": "http.response.body", "body": chunk, "more_body": is_more})
            self._unread_bytes -= len(chunk)
            self._is_room.set()


async def _answer_to(entry: asyncio.Future[CommandResult] | Problem) -> CommandAnswer | dict[str, Any]:
    try:
        return entry.document() if isinstance(entry, Problem) else answer_of(await entry)
    except Exception as error:
        return problem_of(error).document()


@post("/commands", tags=["commands"], status_code=200, responses=told(*BULK_PROBLEMS))
async def execute_commands(bulk: NamedDependency[BulkCommands]) -> ASGIApp:
    """Many commands, one a line, answered line by line in the same order: a result or a problem.

    Commands to one account are executed in order. A line is at most 1 MiB, the body 64 MiB.
    """
    return bulk  # type: ignore[return-value]
