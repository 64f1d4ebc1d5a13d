"""Orders over WebSocket: one connection, requests of many accounts under way at once, answers matched by id.

A frame is one request, or several, a line each, and so is a frame of answers. What comes while the journal is written
is answered together. So many share what a frame costs, and nothing of HTTP is left to pay.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

import msgspec
from litestar import WebSocket, websocket
from msgspec import Struct

from foldbook.problems import problem_document
from foldbook.venue.server import orders
from foldbook.venue.server.bodies import CancelRequest, ReplaceRequest, RequestKey, SubmitRequest
from foldbook.venue.server.documents import OrderDocument
from foldbook.venue.server.faults import NONSENSE, Scope, Wrong
from foldbook.venue.server.problems import UNREGISTERED, problem_of
from foldbook.venue.server.streams import until_one_ends
from foldbook.venue.server.venue import Venue

Socket: TypeAlias = WebSocket[Any, Any, Any]
Request: TypeAlias = SubmitRequest | CancelRequest | ReplaceRequest

UNANSWERED_MAX = 10_000
"""Requests of one connection that may wait for their answers. While there are more, no frame is read."""

_FAILED = problem_document("internal", UNREGISTERED, "a fault", {})
_SCOPES: dict[type, Scope] = {
    SubmitRequest: Scope.SUBMIT,
    CancelRequest: Scope.CANCEL,
    ReplaceRequest: Scope.REPLACE,
}
_decode = msgspec.json.Decoder(Request).decode
_decode_key = msgspec.json.Decoder(RequestKey).decode
_encode = msgspec.json.Encoder().encode


class SessionAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The order, or the problem. ``id``: null if the request had none that could be read."""

    id: int | str | None
    result: OrderDocument | None = None
    error: dict[str, Any] | None = None


@websocket("/orders")
async def enter_orders(socket: Socket, venue: Venue) -> None:
    """Submits, cancels and replaces, until the client leaves, or a fault has the venue hang up."""
    await socket.accept()
    session = OrderSession(socket, venue)
    await until_one_ends(session.read(), session.answer())


class OrderSession:
    """The requests of one connection."""

    def __init__(self, socket: Socket, venue: Venue) -> None:
        self._socket = socket
        self._venue = venue
        self._answers: list[tuple[bytes, float]] = []
        """What is to be answered once it is on disk, and how much later, in seconds."""
        self._unanswered = 0
        self._hangs_up = False
        """What was answered before is still sent, and nothing is read any more."""
        self._has_some = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    # -- requests ------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Do what is asked, until the client leaves."""
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            text = message.get("text")
            frame = (message.get("bytes") or b"") if text is None else text.encode()
            for line in frame.split(b"\n"):
                if line and not self._hangs_up:
                    self._take(line)
            await self._has_room.wait()

    def _take(self, line: bytes) -> None:
        try:
            request: Request = _decode(line)
        except msgspec.MsgspecError as error:
            self._put(_encode(_problem(_id_of(line), error)), 0.0)
            return
        wrong, delay_s = self._venue.faults.of_answer(_SCOPES[type(request)])
        if wrong is Wrong.LOSE_REQUEST:
            self._hang_up()
            return
        answer = self._do(request)
        match wrong:
            case Wrong.LOSE_ACK:
                self._hang_up()
            case Wrong.STATUS_500:
                self._put(_encode(SessionAnswer(id=request.id, error=_FAILED)), delay_s)
            case Wrong.NONSENSE:
                self._put(NONSENSE, delay_s)
            case None:
                self._put(_encode(answer), delay_s)

    def _do(self, request: Request) -> SessionAnswer:
        try:
            return SessionAnswer(id=request.id, result=_done(request, self._venue))
        except Exception as error:
            return _problem(request.id, error)

    # -- answers -------------------------------------------------------------------------------------------------

    def _put(self, answer: bytes, delay_s: float) -> None:
        self._answers.append((answer, delay_s))
        self._has_some.set()
        self._unanswered += 1
        if self._unanswered >= UNANSWERED_MAX:
            self._has_room.clear()

    def _hang_up(self) -> None:
        self._hangs_up = True
        self._has_some.set()

    async def answer(self) -> None:
        """Send answers when what they tell is on disk, until the venue hangs up. Raises ``VenueStopped``."""
        is_over = False
        while not is_over:
            await self._has_some.wait()
            self._has_some.clear()
            is_over = self._hangs_up
            answers, self._answers = self._answers, []
            await self._venue.durable()
            for answer, delay_s in answers:
                if delay_s:
                    asyncio.get_running_loop().call_later(delay_s, self._now, answer)
            due = [answer for answer, delay_s in answers if not delay_s]
            if due:
                await self._socket.send_data(b"\n".join(due), mode="text")
                self._unanswered -= len(due)
                if self._unanswered < UNANSWERED_MAX:
                    self._has_room.set()

    def _now(self, answer: bytes) -> None:
        self._answers.append((answer, 0.0))
        self._has_some.set()


def _done(request: Request, venue: Venue) -> OrderDocument:
    """Raises ``VenueProblem``."""
    match request:
        case SubmitRequest(params=params):
            return orders.submit(venue, params)
        case CancelRequest(params=params):
            return orders.cancel(venue, params.client_order_id, params)
        case ReplaceRequest(params=params):
            return orders.replace(venue, params.client_order_id, params)


def _problem(request_id: int | str | None, error: Exception) -> SessionAnswer:
    return SessionAnswer(id=request_id, error=problem_of(error)[1])


def _id_of(line: bytes) -> int | str | None:
    """Of a request that cannot be read."""
    try:
        return _decode_key(line).id
    except msgspec.MsgspecError:
        return None
