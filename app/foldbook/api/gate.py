"""The gate decides who may come in, in one place for every way in.

The fast path of the protocol, the front, ``POST /commands``, Litestar's routes and the streams all call ``Gate.admit``
before anything else, and check what the principal that it returns may do. ``BodyLimits`` says what a body must be.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from msgspec import Struct

from foldbook.access.keyring import Keyring
from foldbook.access.keys import holds_key, shown_in
from foldbook.access.principal import ANYONE, UNKNOWN, Principal
from foldbook.access.rates import Rates
from foldbook.access.roles import Unauthenticated
from foldbook.api.hosts import Hosts
from foldbook.api.problems import Problem, body_too_large
from foldbook.api.sessions import Sessions
from foldbook.wire.requests import Headers

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An application as ASGI 3 defines it."""

PRINCIPAL = "foldbook.principal"
"""Where a scope has its principal."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Reply(NamedTuple):
    """A complete response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ClientGone(Exception):
    """The client went away before its request was complete."""


class Gate:
    """``keyring`` None: the engine is open to all who may reach it."""

    def __init__(self, hosts: Hosts, keyring: Keyring | None, sessions: Sessions, rates: Rates) -> None:
        self.keyring = keyring
        self.sessions = sessions
        self._hosts = hosts
        self._rates = rates

    def admit(self, headers: Headers, method: str = "POST") -> Principal:
        """Who sends the request. Raises ``Problem`` if it may not come in, whatever it asks for, and
        ``Unauthenticated`` if its key is not in force."""
        get = headers.get
        origin = get(b"origin")
        self._hosts.check(get(b"host"), origin, get(b"sec-fetch-site"), get(b"sec-fetch-mode"))
        if self.keyring is None:
            return ANYONE
        authorization = get(b"authorization")
        if authorization is not None:
            principal = self.keyring.principal_of(shown_in(authorization.decode("latin-1")))
        elif (cookies := get(b"cookie")) is not None:
            principal = self._in_session(self.keyring, cookies, origin, method)
        else:
            return UNKNOWN
        if principal.key_id is not None:
            self._rates.take(principal.key_id)
        return principal

    def check_live(self, principal: Principal) -> None:
        """Raises ``Unauthenticated`` if the key of a request that was admitted is not in force any more."""
        if self.keyring is not None and not self.keyring.is_live(principal):
            raise Unauthenticated("the key was revoked, or has expired")

    def _in_session(self, keyring: Keyring, cookies: bytes, origin: bytes | None, method: str) -> Principal:
        """A cookie that says nothing is not an error: the browser sends it until it is told otherwise."""
        principal = self.sessions.principal_of(cookies)
        if principal is None or not keyring.is_live(principal):
            return UNKNOWN
        if origin is None and method not in SAFE_METHODS:
            raise Problem("foreign-origin", "a session changes something only from a page of this engine")
        return principal


def refuse_keys(text: bytes, where: str) -> None:
    """Raises ``Problem`` for a text with a key in it: an order's reason, a line of a person who pasted the wrong thing.
    What is sent may be recorded, and an error may show it."""
    if holds_key(text):
        raise Problem("malformed", f"a key stands in the {where}: send it in Authorization only, and revoke this one")


class BodyLimits(Struct, frozen=True):
    """The media type of a body, and its maximum size in bytes."""

    media_type: str
    bytes_max: int
    also: tuple[str, ...] = ()
    """Media types that are accepted as the same."""

    def pattern(self) -> re.Pattern[bytes]:
        names = "|".join(map(re.escape, (self.media_type, *self.also)))
        return re.compile(rf"(?:{names})(?:\s*;.*)?".encode(), re.IGNORECASE)


class Bodies:
    """Checks and reads bodies within ``limits``. ``is_streamed``: they are not read here."""

    def __init__(self, limits: BodyLimits, *, is_streamed: bool = False) -> None:
        self._is_streamed = is_streamed
        self.bytes_max = limits.bytes_max
        self._media_type = limits.media_type
        self._pattern = limits.pattern()

    def check(self, headers: Headers) -> None:
        """Raises ``Problem``. A page of another site can send a body without asking only if it is not JSON, so that its
        type must be said (Fetch standard, CORS-safelisted request-header)."""
        media_type = headers.get(b"content-type")
        # The usual type is compared without the pattern, in a tenth of the time.
        if media_type != b"application/json" and (media_type is not None or self._is_surely_there(headers)):
            self._check_type(media_type)
        length = headers.get(b"content-length")
        if length is not None and int(length) > self.bytes_max:
            raise body_too_large(self.bytes_max)

    def _is_surely_there(self, headers: Headers) -> bool:
        """Whether a body of unknown length has any content shows when it is read."""
        return has_body(headers) and (self._is_streamed or b"transfer-encoding" not in headers)

    def _check_type(self, media_type: bytes | None) -> None:
        if media_type is None or not self._pattern.fullmatch(media_type):
            raise Problem("unsupported-media-type", f"the body must be {self._media_type}, and Content-Type say so")

    async def read(self, receive: Receive, headers: Headers) -> bytes:
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
        if body and b"content-type" not in headers:
            self._check_type(None)
        return body


def has_body(headers: Headers) -> bool:
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


async def respond(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})
