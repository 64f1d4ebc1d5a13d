"""``GET /stream/events``: the events of a shard as they are appended, as server-sent events.

A raw ASGI application: each client is one task that sends and one that waits until the client is gone, and both have
ended when the request has. A client that does not read is hung up on; it can resume where it was.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from foldbook.access.principal import Principal
from foldbook.access.roles import READERS, AccountHidden
from foldbook.api.commands.calls import CountResponse, problem_reply
from foldbook.api.gate import PRINCIPAL, Gate, Message, Receive, Scope, Send, respond
from foldbook.api.problems import Problem, problem_of
from foldbook.api.queries.parameters import HASH_PATTERN, POSITION_MAX, check_known, malformed
from foldbook.api.refusals import log_refusal
from foldbook.api.streams.open_streams import OpenStreams
from foldbook.api.streams.query_string import parameters_in
from foldbook.api.streams.server_sent import MEDIA_TYPE, caught_up_frame, idle_frame, start_frame
from foldbook.api.streams.sockets import GOODBYE_S, STALLED_S, hang_up_soon, serve_until_gone, watched
from foldbook.errors import FoldbookError
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.readers.tail.history import History
from foldbook.eventstore.readers.tail.selection import Selection, View
from foldbook.eventstore.readers.tail.tail import Tail
from foldbook.eventstore.store import shard_of
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.values import is_account
from foldbook.wire.requests import Headers, headers_of

PATH = "/stream/events"
HEARTBEAT_S = 15.0
PROBLEMS = (
    "malformed", "unknown-account", "position-ahead", "log-changed", "too-many-streams", "overloaded", "unavailable",
)  # fmt: skip

_PARAMETERS = ("after", "account", "type", "hash", "seals")
AFTER_PATTERN = r"([0-9]{1,4}):([0-9]{1,19}|now)|now"
_AFTER = re.compile(AFTER_PATTERN)
_POSITION = re.compile(r"[0-9]{1,4}:[0-9]{1,19}")
_HASH = re.compile(HASH_PATTERN)
_LAST_EVENT_ID = b"last-event-id"
_HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    # A proxy must pass on each event when it comes.
    (b"x-accel-buffering", b"no"),
    # The connection is not used again.
    (b"connection", b"close"),
]


class Asked(NamedTuple):
    """What a request asks for. ``after`` None: from now on."""

    shard: int
    after: int | None
    account: str | None
    type: str | None
    hash: str | None = None
    """Of the commit that wrote the position ``after``, as the client knows it."""
    wants_seals: bool = False


class EventStream:
    """Answers ``GET /stream/events``. ``tails``: one for each shard."""

    def __init__(
        self,
        tails: Sequence[Tail],
        history: History,
        open_streams: OpenStreams,
        gate: Gate,
        count: CountResponse,
        event_types: Collection[str],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._tails = tails
        self._history = history
        self._open = open_streams
        self._gate = gate
        self._count = count
        self._event_types = event_types
        self._heartbeat_s = heartbeat_s
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal = scope[PRINCIPAL]
        try:
            principal.check(READERS)
            asked = read_request(scope["query_string"], headers_of(scope["headers"]), principal, len(self._tails))
            check_known("type", asked.type, self._event_types)
            self._open.check_room(principal)
        except Exception as error:
            await self._refuse(send, problem_of(error), principal)
            return
        response = _Response(send)
        sending = asyncio.create_task(self._send_all(response, asked, principal))
        with self._open.entered(principal, sending.cancel):
            is_gone = await serve_until_gone(sending, receive)
        if is_gone:
            return
        if response.is_begun:
            await response.end(scope)
        else:
            await self._refuse(send, response.problem or Problem("overloaded", "the stream was ended"), principal)

    async def _send_all(self, response: _Response, asked: Asked, principal: Principal) -> None:
        """Until the key is not in force any more, or the log cannot be read for this client. Cancelled if it is too
        slow."""
        selection = selection_of(principal, asked.account, asked.type)
        try:
            start = await self._history.begin(asked.shard, asked.after, asked.hash)
            with (
                self._tails[start.shard].followed(
                    self._history, selection, start.after, wants_seals=asked.wants_seals
                ) as follower,
                watched(response.send, self._stalled_s) as send,
            ):
                self._count("GET", PATH, 200)
                await response.begin()
                await send(_part(start_frame(start)))
                is_told = False
                while True:
                    frames = await follower.take(self._heartbeat_s)
                    if not is_told and follower.is_in_present:
                        frames += caught_up_frame(start.shard, follower.position)
                        is_told = True
                    self._gate.check_live(principal)
                    await send(_part(frames or idle_frame(start.shard, follower.position)))
        except FoldbookError as error:
            response.problem = problem_of(error)

    async def _refuse(self, send: Send, problem: Problem, principal: Principal) -> None:
        log_refusal(problem, principal, "GET", PATH)
        self._count("GET", PATH, problem.status)
        await respond(send, problem_reply(problem))


def selection_of(principal: Principal, account: str | None, type_: str | None) -> Selection:
    """What a principal gets of what it asks for. ``account``: one that it sees."""
    if account is not None:
        return Selection(AggregateKey(ORDER_BOOK.name, account), type_)
    return Selection(None, type_, None if principal.sees_all else View(principal.accounts, principal.sees))


class _Response:
    """What is sent to one client."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.is_begun = False
        self.problem: Problem | None = None
        """Why it was not begun, or was ended."""

    async def begin(self) -> None:
        self.is_begun = True
        await self.send({"type": "http.response.start", "status": 200, "headers": _HEADERS})

    async def end(self, scope: Scope) -> None:
        """Say so, and close the connection, even if the client takes nothing any more."""
        hang_up_soon(scope)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _part(frames: bytes) -> Message:
    return {"type": "http.response.body", "body": frames, "more_body": True}


def _hash_in(given: Mapping[str, str]) -> str | None:
    if (text := given.get("hash")) is None:
        return None
    if not _HASH.fullmatch(text):
        raise malformed("hash", "is not the hash of a commit")
    if not _POSITION.fullmatch(given.get("after", "")):
        raise malformed("hash", "needs a position in after")
    return text


def _wants_seals(given: Mapping[str, str]) -> bool:
    text = given.get("seals", "false")
    if text not in ("true", "false"):
        raise malformed("seals", "is true or false")
    return text == "true"


def read_request(query: bytes, headers: Headers, principal: Principal, shard_count: int) -> Asked:
    """Raises ``Problem``."""
    given = parameters_in(query, _PARAMETERS)
    account, type_, after = given.get("account"), given.get("type"), given.get("after", "")
    if account is not None:
        if not is_account(account):
            raise AccountHidden(account)
        principal.check(READERS, account)
    hash_, wants_seals = _hash_in(given), _wants_seals(given)
    name = "after"
    if headers.get(_LAST_EVENT_ID):
        name, after = "Last-Event-ID", headers[_LAST_EVENT_ID].decode("latin-1")
        hash_ = None  # It belongs to the position in the address.
    shard = 0 if account is None else shard_of(account, shard_count)
    if not after:
        return Asked(shard, 0, account, type_, hash_, wants_seals)
    if (found := _AFTER.fullmatch(after)) is None:
        raise malformed(name, "is <shard>:<position>, the id of an event, or now")
    if found[1] is not None:
        named = int(found[1])
        if named >= shard_count:
            raise malformed(name, f"names shard {named}, and this log has {shard_count}")
        if account is not None and named != shard:
            raise malformed(name, f"names shard {named}, and the account is in shard {shard}")
        shard = named
    position = None if after.endswith("now") else int(found[2])
    if position is not None and position > POSITION_MAX:
        raise malformed(name, "is not a position")
    return Asked(shard, position, account, type_, hash_, wants_seals)
