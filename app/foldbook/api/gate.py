"""The gate decides whether a request may come in, in one place for every way in.

The fast path of the protocol, the front, ``POST /commands`` and Litestar's routes all call ``Gate.admit`` before they
read a body. Those that do not have the body yet read it with ``Gate.read``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from foldbook.api.problems import Problem, body_too_large
from foldbook.eventstore.strict_json import refuse_repeated_keys

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application as ASGI 3 defines it."""

Headers = Mapping[bytes, bytes]
"""By lower-case name."""


class BodyLimits(Struct, frozen=True):
    """The media type of a body, and its maximum size in bytes."""

    media_type: str
    bytes_max: int
    also: tuple[str, ...] = ()
    """Media types that are accepted as the same."""

    def pattern(self) -> re.Pattern[bytes]:
        names = "|".join(map(re.escape, (self.media_type, *self.also)))
        return re.compile(rf"(?:{names})(?:;.*)?".encode(), re.IGNORECASE)


_QUESTIONS = ("GET", "HEAD", "OPTIONS")
"""Methods whose requests usually have no body."""


class Reply(NamedTuple):
    """A complete response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ClientGone(Exception):
    """The client went away before its request was complete."""


class Gate:
    """Admits requests whose body is within ``limits``."""

    def __init__(self, limits: BodyLimits) -> None:
        self.bytes_max = limits.bytes_max
        self._media_type = limits.media_type
        self._pattern = limits.pattern()

    def admit(self, headers: Headers, *, may_have_body: bool = True) -> None:
        """Raises ``Problem`` if the request may not come in. Called once for every request.

        A check of who may come in (the Host and Origin headers, the key) belongs here, before anything else.
        """
        if may_have_body:
            self._check_body(headers)

    def _check_body(self, headers: Headers) -> None:
        media_type = headers.get(b"content-type")
        # The usual type is compared without the pattern, in a tenth of the time.
        if media_type is not None and media_type != b"application/json" and not self._pattern.fullmatch(media_type):
            raise Problem("unsupported-media-type", f"the body must be {self._media_type}")
        length = headers.get(b"content-length")
        if length is not None and int(length) > self.bytes_max:
            raise body_too_large(self.bytes_max)

    async def read(self, receive: Receive) -> bytes:
        """The body. Raises ``ClientGone``, and ``Problem`` if the body is too large, which shows only while reading if
        its length was not given."""
        body, is_more = b"", True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message["body"]
            if len(body) > self.bytes_max:
                raise body_too_large(self.bytes_max)
            is_more = message["more_body"]
        return body


class GatedRoutes:
    """An ASGI application: the gate in front of the routes of ``app``, whose framework answers what the gate raises."""

    def __init__(self, app: Application, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
            self._gate.admit(headers, may_have_body=has_body or scope["method"] not in _QUESTIONS)
            if has_body:
                try:
                    receive = _again(await self._checked_body(receive), receive)
                except ClientGone:
                    return
        await self._app(scope, receive, send)

    async def _checked_body(self, receive: Receive) -> bytes:
        body = await self._gate.read(receive)
        refuse_repeated_keys(body)
        return body


def _again(body: bytes, then: Receive) -> Receive:
    """Receives a body that was already read, then what comes after it."""
    rest = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        message: Message | None = next(rest, None)
        return await then() if message is None else message

    return receive


async def respond(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})
