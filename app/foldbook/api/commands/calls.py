"""Command calls on the short way, past Litestar's request machinery.

One order, one POST; one price, one PUT: at many thousands a second, building a request object and resolving parameters
costs several times what the command itself does. So the handlers in ``commands.py``, which stay Litestar's own for
routing errors and the OpenAPI document, are called here directly: the body is decoded once, straight into its type, and
the answer is encoded once. Whatever is no such call goes on to Litestar.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from foldbook.api.commands.handlers import Bus, Envelope, envelope_of
from foldbook.api.problems import MEDIA_TYPE, Problem, body_too_large, problem_of
from foldbook.api.queries.documents import CommandAnswer

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""ASGI 3, as servers speak it."""

Counted = Callable[[str, str, int], None]
"""Told of every answer: method, path template, status."""

_PARAMETER = re.compile(r"\{(\w+):str\}")
_JSON = re.compile(rb"application/json(;.*)?", re.IGNORECASE)
_ENCODER = msgspec.json.Encoder()


class Reply(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class CommandCall:
    """A handler, its path, and the decoder of its body."""

    def __init__(self, handler: HTTPRouteHandler) -> None:
        (template,) = handler.paths
        (self.method,) = map(str, handler.http_methods)
        body_type = get_type_hints(handler.fn)["data"]
        self.template = _PARAMETER.sub(r"{\1}", template)
        self.word = next(part for part in reversed(self.template.split("/")) if not part.startswith("{"))
        self.path = re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", template))
        self.answer: Callable[..., Awaitable[Response[CommandAnswer]]] = handler.fn
        self._decoder = msgspec.json.Decoder(body_type)
        self._may_be_empty = NoneType in get_args(body_type)

    def decode(self, body: bytes) -> object:
        if not body and self._may_be_empty:
            return None
        return self._decoder.decode(body)


class CommandCalls:
    """The command calls by path, and how each is answered."""

    def __init__(self, handlers: Iterable[HTTPRouteHandler], bus: Bus, count: Counted, *, body_bytes_max: int) -> None:
        self._bus = bus
        self._count = count
        self.body_bytes_max = body_bytes_max
        # Every command call of a method has a word of its own: the last part of its path, or the one before a name.
        self._calls = {(call.method, call.word): call for call in map(CommandCall, handlers)}

    def find(self, method: str, path: str) -> tuple[CommandCall, dict[str, str]] | None:
        """The call that this request is, with the parameters in its path."""
        before, _, last = path.rpartition("/")
        for word in (last, before.rpartition("/")[2]):
            call = self._calls.get((method, word))
            if call is not None and (match := call.path.fullmatch(path)) is not None:
                return call, match.groupdict()
        return None

    async def reply(
        self, call: CommandCall, parameters: Mapping[str, str], headers: Mapping[bytes, bytes], body: bytes
    ) -> Reply:
        """The answer, whatever happens. ``headers``: by lower-case name."""
        try:
            _check_media_type(headers)
            response = await call.answer(
                bus=self._bus, data=call.decode(body), envelope=_envelope_of(headers), **parameters
            )
            content = _ENCODER.encode(response.content)
        except Exception as error:
            return self.refuse(call, problem_of(error))
        status = response.status_code or 200
        self._count(call.method, call.template, status)
        return Reply(status, _headers(b"application/json", content, response.headers), content)

    def refuse(self, call: CommandCall, problem: Problem) -> Reply:
        content = problem.to_json()
        self._count(call.method, call.template, problem.status)
        return Reply(problem.status, _headers(MEDIA_TYPE.encode(), content, problem.headers), content)


def _check_media_type(headers: Mapping[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type")
    if media_type is not None and not _JSON.fullmatch(media_type):
        raise Problem("unsupported-media-type", "the body must be application/json")


def _headers(media_type: bytes, content: bytes, more: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(content)),
        *[(name.encode(), value.encode()) for name, value in more.items()],
    ]


def _envelope_of(headers: Mapping[bytes, bytes]) -> Envelope:
    def text(name: bytes) -> str | None:
        value = headers.get(name)
        return None if value is None else value.decode()

    return envelope_of(text(b"idempotency-key"), text(b"if-match"), text(b"x-actor"), text(b"x-correlation-id"))


class ShortWay:
    """An ASGI application in front of another: takes the command calls, whatever the server."""

    def __init__(self, app: Application, calls: CommandCalls) -> None:
        self._app = app
        self.calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (found := self.calls.find(scope["method"], scope["path"])) is None:
            await self._app(scope, receive, send)
            return
        call, parameters = found
        headers = dict(scope["headers"])
        try:
            body = await self._read(scope, headers, receive)
        except Problem as problem:
            reply = self.calls.refuse(call, problem)
        else:
            if body is None:
                return
            reply = await self.calls.reply(call, parameters, headers, body)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})

    async def _read(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
        """The body; None when the client went away before it was there. Raises ``Problem``: there is too much."""
        if scope["query_string"]:
            raise Problem("malformed", "a command takes no query parameters")
        bytes_max = self.calls.body_bytes_max
        length = headers.get(b"content-length")
        if length is not None and int(length) > bytes_max:
            raise body_too_large(bytes_max)
        body, is_more = b"", True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            if len(body) > bytes_max:
                raise body_too_large(bytes_max)
            is_more = message["more_body"]
        return body
