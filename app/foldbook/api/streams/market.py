"""``/stream/market``: quotes, trades and bars over WebSocket, as the venue's stream has them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from foldbook.access.principal import Principal
from foldbook.access.roles import EVERYBODY, Unauthenticated
from foldbook.api.commands.calls import CountResponse, problem_reply
from foldbook.api.gate import PRINCIPAL, Gate, Receive, Reply, Scope, Send
from foldbook.api.problems import Problem, problem_of
from foldbook.api.queries.parameters import malformed
from foldbook.api.refusals import log_refusal
from foldbook.api.streams.market_hub import Listener, MarketHub
from foldbook.api.streams.open_streams import OpenStreams
from foldbook.api.streams.query_string import parameters_in
from foldbook.api.streams.sockets import STALLED_S, hang_up_soon, serve_until_gone, watched
from foldbook.errors import FoldbookError, register
from foldbook.trading.values import SYMBOL
from foldbook.wire.sockets import VERSION

PATH = "/stream/market"
PROBLEMS = ("malformed", "too-many-streams", "overloaded")
SYMBOLS_MAX = 1_000
CLOSE_ENDED = 1001
"""RFC 6455: the server goes away, or ends the stream."""

_SYMBOL = re.compile(SYMBOL)

register({"upgrade-required": (426, "The call needs a WebSocket")})


class MarketStream:
    """Answers WebSocket ``/stream/market``, after the client has asked to connect."""

    def __init__(
        self,
        hub: MarketHub,
        open_streams: OpenStreams,
        gate: Gate,
        count: CountResponse,
        *,
        stalled_s: float = STALLED_S,
    ) -> None:
        self._hub = hub
        self._open = open_streams
        self._gate = gate
        self._count = count
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal: Principal = scope[PRINCIPAL]
        try:
            principal.check(EVERYBODY)
            symbols = _symbols_in(scope["query_string"])
            self._open.check_room(principal)
        except Exception as error:
            problem = problem_of(error)
            log_refusal(problem, principal, "GET", PATH)
            self._count("GET", PATH, problem.status)
            await refuse(scope, send, problem_reply(problem))
            return
        self._count("GET", PATH, 101)
        with self._hub.listening(symbols) as listener:
            sending = asyncio.create_task(self._send_all(send, listener, principal))
            with self._open.entered(principal, sending.cancel):
                is_gone = await serve_until_gone(sending, receive)
        if not is_gone:
            hang_up_soon(scope)
            await send({"type": "websocket.close", "code": CLOSE_ENDED})

    async def _send_all(self, send: Send, listener: Listener, principal: Principal) -> None:
        """Until the key is not in force any more. Cancelled if the client takes nothing for too long."""
        with watched(send, self._stalled_s) as send, suppress(Unauthenticated):
            await send({"type": "websocket.accept"})
            while True:
                text = await listener.next()
                self._gate.check_live(principal)
                await send({"type": "websocket.send", "text": text})


def without_upgrade(principal: Principal) -> Problem:
    """The answer to a GET that is no handshake (RFC 6455, 4.2.1)."""
    try:
        principal.check(EVERYBODY)
    except FoldbookError as error:
        return problem_of(error)
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": VERSION.decode()}
    return Problem("upgrade-required", "connect by WebSocket, version 13, with HTTP/1.1", headers=headers)


async def refuse(scope: Scope, send: Send, reply: Reply) -> None:
    """Answer a request to connect. A server that cannot send more says 403."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "websocket.http.response.body", "body": reply.body, "more_body": False})


def _symbols_in(query: bytes) -> frozenset[str] | None:
    """None: all. Raises ``Problem``."""
    text = parameters_in(query, ("symbols",)).get("symbols")
    if text is None:
        return None
    symbols = frozenset(text.split(","))
    if len(symbols) > SYMBOLS_MAX:
        raise malformed("symbols", f"names more than {SYMBOLS_MAX}")
    if unknown := [symbol for symbol in symbols if not _SYMBOL.fullmatch(symbol)]:
        raise malformed("symbols", f"names {unknown[0]!r}, which is no symbol")
    return symbols
