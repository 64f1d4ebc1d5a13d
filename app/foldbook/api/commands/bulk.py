"""``POST /commands``: many commands in one request, as newline-delimited JSON.

Three tasks share a request. The first reads lines and submits them as they arrive, up to a window of them at once, so
that they share commits; the bus keeps the order of each aggregate. The second awaits the results in the order of the
lines. The third sends them. A line that cannot be read, or a command that is refused, gets its problem as its result
and affects no other line.

A client may send its whole body before it reads the first result: up to ``UNREAD_BYTES_MAX`` of results wait for the
client before reading stops.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from uuid_utils.compat import uuid7

from foldbook.access.principal import Principal, check_command
from foldbook.api.commands.calls import Bus, CountResponse, problem_reply
from foldbook.api.commands.envelope import IDEMPOTENCY_KEY, IF_MATCH, metadata_of
from foldbook.api.gate import PRINCIPAL, Bodies, BodyLimits, Receive, Reply, Scope, Send, refuse_keys, respond
from foldbook.api.problems import GATE_PROBLEMS, Problem, body_too_large, problem_of
from foldbook.api.refusals import log_refusal
from foldbook.eventstore.command_json import CommandLines
from foldbook.eventstore.commands.documents import ResultDocument
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Command, Metadata
from foldbook.wire.requests import Headers, headers_of

PATH = "/commands"
MEDIA_TYPE = "application/x-ndjson"
LINE_BYTES_MAX = 1 << 20
CHUNK_LINES_MAX = 128
UNREAD_BYTES_MAX = 64 << 20
STALLED_MAX_S = 30.0
REQUESTS_MAX = 8
"""Bulk requests at once: each may fill a window and hold UNREAD_BYTES_MAX of results."""
REQUESTS_OF_KEY_MAX = 4

PROBLEMS = ("malformed", "body-too-large", "unsupported-media-type", "overloaded", *GATE_PROBLEMS)

_ALSO = ("application/ndjson", "application/jsonl", "application/json")
_ENCODER = msgspec.json.Encoder()


class BulkCommands:
    """Answers ``POST /commands``. ``window_max``: commands of one request in the bus at once. ``progress_timeout_s``:
    how long a client may take for the next command."""

    def __init__(
        self,
        commands: Iterable[type[Command]],
        bus: Bus,
        count: CountResponse,
        *,
        check_live: Callable[[Principal], None],
        window_max: int,
        body_bytes_max: int,
        progress_timeout_s: float,
    ) -> None:
        self._progress_timeout_s = progress_timeout_s
        self._submitter = _Submitter(commands, bus, check_live)
        self._count = count
        self._window_max = window_max
        self._bodies = Bodies(BodyLimits(MEDIA_TYPE, body_bytes_max, _ALSO), is_streamed=True)
        self._requests: Counter[str | None] = Counter()
        """Under way, by key."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal = scope[PRINCIPAL]
        try:
            sender = _Sender(principal, self._admit(scope, headers_of(scope["headers"]), principal))
        except Exception as error:
            await respond(send, self._refuse(problem_of(error), principal))
            return
        self._count("POST", PATH, 200)
        self._requests[principal.key_id] += 1
        try:
            exchange = _Exchange(
                self._submitter, sender, self._window_max, self._bodies.bytes_max, self._progress_timeout_s
            )
            await exchange.run(receive, send)
        finally:
            self._requests[principal.key_id] -= 1
            if not self._requests[principal.key_id]:
                del self._requests[principal.key_id]

    def _admit(self, scope: Scope, headers: Headers, principal: Principal) -> Metadata:
        principal.require_key()
        if scope["query_string"]:
            raise Problem("malformed", "commands take no query parameters")
        self._bodies.check(headers)
        for header in (IDEMPOTENCY_KEY, IF_MATCH):
            name = header.name.lower()
            if name.encode() in headers:
                raise Problem("malformed", f"{name} is for one command; here each line has its own", field=name)
        if self._requests.total() >= REQUESTS_MAX:
            raise Problem("overloaded", f"{REQUESTS_MAX} bulk requests are already under way")
        if principal.key_id is not None and self._requests[principal.key_id] >= REQUESTS_OF_KEY_MAX:
            raise Problem("overloaded", f"{REQUESTS_OF_KEY_MAX} bulk requests of this key are already under way")
        return metadata_of(headers, principal)

    def _refuse(self, problem: Problem, principal: Principal) -> Reply:
        self._count("POST", PATH, problem.status)
        log_refusal(problem, principal, "POST", PATH)
        return problem_reply(problem)


class _Gone(Exception):
    """The client went away."""


class _Sender(NamedTuple):
    """``metadata``: of all its commands."""

    principal: Principal
    metadata: Metadata


_Submitted = tuple[asyncio.Future[CommandResult], ResultDocument]


class _Submitter:
    """Reads commands from lines and submits them."""

    def __init__(self, commands: Iterable[type[Command]], bus: Bus, check_live: Callable[[Principal], None]) -> None:
        commands = tuple(commands)
        self._bus = bus
        self._check_live = check_live
        self._lines = CommandLines(commands)
        self._documents = {command: ResultDocument(command) for command in commands}

    def submit(self, text: bytes, sender: _Sender) -> _Submitted | Problem:
        try:
            self._check_live(sender.principal)
            refuse_keys(text, "line")
            line = self._lines.read(text, uuid7, datetime.now(UTC), sender.metadata)
            check_command(sender.principal, line.command)
            future = self._bus.submit(line.command, metadata=line.metadata, expected_sequence=line.expected_sequence)
        except Exception as error:
            return problem_of(error)
        return future, self._documents[type(line.command)]


class _Patience:
    """How long the client may take for its next command.

    Only its own time counts. While the result of a command is due, or what it sent is read, the client waits for us.
    Blank lines, and lines that are no command, win it nothing: they could go on for ever.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._from_s = self._left_off_s = self._loop.time()
        self._results_due = 0

    def submitted(self) -> None:
        self._results_due += 1
        self._from_s = self._loop.time()

    def answered(self) -> None:
        self._results_due -= 1
        self._from_s = self._loop.time()

    async def receive(self, receive: Receive) -> Any:
        """The next message. Raises ``TimeoutError``."""
        now_s = self._loop.time()
        self._from_s = min(self._from_s + now_s - self._left_off_s, now_s)
        try:
            while True:
                try:
                    async with asyncio.timeout_at(self._from_s + self.timeout_s):
                        return await receive()
                except TimeoutError:
                    if self._results_due:
                        self._from_s = self._loop.time()
                    elif self._from_s + self.timeout_s <= self._loop.time():
                        raise
        finally:
            self._left_off_s = self._loop.time()


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        submitter: _Submitter,
        sender: _Sender,
        window_max: int,
        body_bytes_max: int,
        progress_timeout_s: float,
    ) -> None:
        self._patience = _Patience(progress_timeout_s)
        self._submitter = submitter
        self._sender = sender
        self._body_bytes_max = body_bytes_max
        self._window: asyncio.Queue[_Submitted | Problem | None] = asyncio.Queue(window_max)
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._unread_bytes = 0
        self._is_room = asyncio.Event()

    async def run(self, receive: Receive, send: Send) -> None:
        """Raises nothing because of a line. A client that goes away, or stops reading, ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(receive))
                tasks.create_task(self._settle())
                tasks.create_task(self._send(send))
        except* _Gone:
            # Submitted commands are executed all the same, but nobody waits for their results any more.
            while not self._window.empty():
                if isinstance(entry := self._window.get_nowait(), tuple):
                    entry[0].cancel()

    async def _read(self, receive: Receive) -> None:
        try:
            async for line in self._lines(receive):
                entry = line if isinstance(line, Problem) else self._submitter.submit(line, self._sender)
                if not isinstance(entry, Problem):
                    self._patience.submitted()
                await self._window.put(entry)
        except TimeoutError:
            seconds = f"{self._patience.timeout_s:g} seconds"
            await self._window.put(
                Problem("request-timeout", f"no command came within {seconds}: the rest is not read")
            )
        await self._window.put(None)

    async def _lines(self, receive: Receive) -> AsyncIterator[bytes | Problem]:
        """The lines that are not blank. A problem replaces a line that is too long, or the rest of a body that is."""
        rest, is_too_long, is_more, length = b"", False, True, 0
        while is_more:
            message = await self._patience.receive(receive)
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
                    yield Problem("body-too-large", f"a line may have at most {LINE_BYTES_MAX} bytes")
                elif line and not line.isspace():
                    yield line
            if len(rest) > LINE_BYTES_MAX:
                rest, is_too_long = b"", True

    async def _settle(self) -> None:
        documents: list[Any] = []
        while (entry := await self._window.get()) is not None:
            documents.append(await _document_of(entry))
            if not isinstance(entry, Problem):
                self._patience.answered()
            if len(documents) >= CHUNK_LINES_MAX or self._window.empty():
                await self._put(_ENCODER.encode_lines(documents))
                documents.clear()
        await self._put(_ENCODER.encode_lines(documents))
        await self._put(b"")

    async def _put(self, chunk: bytes) -> None:
        while self._unread_bytes > UNREAD_BYTES_MAX:
            self._is_room.clear()
            try:
                async with asyncio.timeout(STALLED_MAX_S):
                    await self._is_room.wait()
            except TimeoutError:
                raise _Gone from None
        self._unread_bytes += len(chunk)
        self._unsent.put_nowait(chunk)

    async def _send(self, send: Send) -> None:
        headers = [(b"content-type", MEDIA_TYPE.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        is_more = True
        while is_more:
            chunk = await self._unsent.get()
            is_more = chunk != b""
            await send({"type": "http.response.body", "body": chunk, "more_body": is_more})
            self._unread_bytes -= len(chunk)
            self._is_room.set()


async def _document_of(entry: _Submitted | Problem) -> Any:
    """The result of a line, or its problem."""
    if isinstance(entry, Problem):
        return entry.document()
    future, document = entry
    try:
        return document(await future)
    except Exception as error:
        return problem_of(error).document()
