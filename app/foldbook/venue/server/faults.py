"""What goes wrong on request: the venue is as good as it can be, and this layer makes it as bad as it is told to be.

Faults of answers are a layer around the application, and a step of a session: the request is done, or not, and then
its answer is lost, late, wrong or none. Faults of reports are a layer before the listeners. Each is for the next so
many times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from foldbook.wire.connections import CONNECTION

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=600_000)]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

REORDER_S = 0.2
"""How long a report waits for the one that is to overtake it."""
REFUSE_LATE_S = 0.05
"""When an order that was taken is refused late."""
NONSENSE = b"<html>we'll be right back</html>"


class Scope(StrEnum):
    """Which requests are meant."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    REPLACE = "replace"
    QUESTION = "question"
    """GET of orders, fills, positions and balances."""
    ANY = "any"
    """All of these."""


class FaultBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong from now on: each for the next so many times."""

    lose_ack: Count = 0
    """The request is done, then the connection is closed without an answer."""
    lose_request: Count = 0
    """The connection is closed before anything is done."""
    status_500: Count = 0
    """The request is done, then answered with 500."""
    nonsense: Count = 0
    """The request is done, then answered 200 with text that is not JSON."""
    hang: Count = 0
    """The request is done, and its answer comes ``hang_ms`` later."""
    hang_ms: Milliseconds = 0
    delay_ms: Milliseconds = 0
    """All answers and reports come so much later."""
    drop: Count = 0
    """Reports that are sent to nobody."""
    repeat: Count = 0
    """Reports that are sent twice."""
    reorder: Count = 0
    """Reports that are sent after their successor."""
    disconnect: Count = 0
    """How often all streams of reports are closed instead of sending a report."""
    forget_dedup: Count = 0
    """Orders that are taken although their client id was used."""
    refuse_late: Count = 0
    """Orders that are taken, and rejected a moment later."""
    scope: Scope = Scope.ANY


class Wrong(StrEnum):
    """What can go wrong with an answer, by the name of the fault. The first that is left happens."""

    LOSE_REQUEST = "lose_request"
    LOSE_ACK = "lose_ack"
    STATUS_500 = "status_500"
    NONSENSE = "nonsense"


class Faults:
    """What is left of the faults that were asked for."""

    def __init__(self) -> None:
        self.left = FaultBody()

    def take(self, name: str) -> bool:
        """Does this go wrong now?"""
        count: int = getattr(self.left, name)
        if count:
            self.left = msgspec.structs.replace(self.left, **{name: count - 1})
        return count > 0

    @property
    def is_any_of_reports(self) -> bool:
        """Is there a fault that counts reports, whoever listens?"""
        left = self.left
        return bool(left.drop or left.repeat or left.reorder or left.disconnect)

    def of_answer(self, scope: Scope) -> tuple[Wrong | None, float]:
        """What goes wrong with the answer to a request, however it came; or how much later it comes, in seconds."""
        if self.left.scope not in (Scope.ANY, scope):
            return None, 0.0
        for wrong in Wrong:
            if self.take(wrong):
                return wrong, 0.0
        delay_ms = self.left.delay_ms
        if self.take("hang"):
            delay_ms += self.left.hang_ms
        return None, delay_ms / 1000


class FaultyAnswers:
    """The application, with what goes wrong with its answers."""

    def __init__(self, app: App, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        kind = _kind_of(scope) if scope["type"] == "http" else None
        wrong, delay_s = (None, 0.0) if kind is None else self._faults.of_answer(kind)
        match wrong:
            case Wrong.LOSE_REQUEST:
                await _hang_up(scope, receive)
            case Wrong.LOSE_ACK:
                await self._app(scope, receive, _swallow)
                await _hang_up(scope, receive)
            case Wrong.STATUS_500:
                await self._app(scope, receive, _swallow)
                await _answer(send, 500, b"Internal Server Error")
            case Wrong.NONSENSE:
                await self._app(scope, receive, _swallow)
                await _answer(send, 200, NONSENSE)
            case None:
                await self._app(scope, receive, _after(delay_s, receive, send) if delay_s else send)


def _kind_of(scope: MutableMapping[str, Any]) -> Scope | None:
    """Which kind of request it is; None: one that nothing goes wrong with."""
    parts = str(scope["path"]).strip("/").split("/")
    if scope["method"] == "GET":
        return Scope.QUESTION if parts[0] in ("orders", "fills", "positions", "balances") else None
    if scope["method"] != "POST" or parts[0] != "orders":
        return None
    return {1: Scope.SUBMIT, 3: Scope.CANCEL if parts[-1] == "cancel" else Scope.REPLACE}.get(len(parts))


async def _swallow(_: Message) -> None:
    """Nobody gets the answer."""


async def _hang_up(scope: MutableMapping[str, Any], receive: Receive) -> None:
    """Close the connection without a word."""
    scope[CONNECTION].transport.close()
    await _until_left(receive)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _after(delay_s: float, receive: Receive, send: Send) -> Send:
    """Answer so much later, or not at all if the client has left by then."""

    async def late(message: Message) -> None:
        if message["type"] == "http.response.start":
            leaving = asyncio.create_task(_until_left(receive))
            await asyncio.wait([leaving], timeout=delay_s)
            leaving.cancel()
        await send(message)

    return late


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
