"""Command calls over uvicorn's HTTP/1.1 connection, without an ASGI exchange around each.

Of what a server does for one small request, the scope, the events and the two messages of ASGI take about as long as
the command itself. So a plain command call (its length known, its connection kept alive, nothing before it unanswered)
is read and answered right here. Every other request takes uvicorn's own way to the application.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from foldbook.api.commands.calls import CommandCall, CommandCalls

_METHODS = {b"POST": "POST", b"PUT": "PUT"}
"""Of command calls."""


class CommandProtocol(HttpToolsProtocol):
    """One connection. ``cycle`` is the request under way, uvicorn's own or an ``_Exchange``."""

    cycle: Any

    def __init__(self, calls: CommandCalls, **given: Any) -> None:
        super().__init__(**given)
        self._calls = calls

    def on_headers_complete(self) -> None:
        exchange = self._begin_exchange()
        if exchange is None:
            super().on_headers_complete()
        else:
            self.cycle = exchange

    def on_body(self, body: bytes) -> None:
        if type(self.cycle) is _Exchange:
            self.cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if type(self.cycle) is _Exchange:
            task = self.loop.create_task(self._answer(self.cycle))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            super().on_message_complete()

    def _begin_exchange(self) -> _Exchange | None:
        """What to answer here; None: it is no plain command call."""
        parser = self.parser
        method = parser.get_method()
        if method not in _METHODS or not (self.cycle is None or self.cycle.response_complete):
            return None
        if b"%" in self.url or b"?" in self.url:
            return None
        if (found := self._calls.find(_METHODS[method], self.url.decode("latin-1"))) is None:
            return None
        headers = dict(self.headers)
        is_plain = (
            int(headers.get(b"content-length", b"0")) <= self._calls.body_bytes_max
            and b"transfer-encoding" not in headers
            and not self.expect_100_continue
            and not parser.should_upgrade()
            and parser.should_keep_alive()
        )
        return _Exchange(*found, headers) if is_plain else None

    async def _answer(self, exchange: _Exchange) -> None:
        reply = await self._calls.reply(exchange.call, exchange.parameters, exchange.headers, exchange.body)
        exchange.response_complete = True
        if self.transport.is_closing():
            return
        lines = [STATUS_LINE[reply.status]]
        for name, value in (*self.server_state.default_headers, *reply.headers):
            lines += (name, b": ", value, b"\r\n")
        if not exchange.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", reply.body)
        self.transport.write(b"".join(lines))
        if not exchange.keep_alive:
            self.transport.close()
        # Begins what came meanwhile, or the wait for the next request.
        self.on_response_complete()


class _Exchange:
    """A command call under way. What uvicorn's protocol looks at has the names it has there."""

    __slots__ = (
        "body",
        "call",
        "disconnected",
        "headers",
        "keep_alive",
        "message_event",
        "parameters",
        "response_complete",
    )

    def __init__(self, call: CommandCall, parameters: dict[str, str], headers: dict[bytes, bytes]) -> None:
        self.call = call
        self.parameters = parameters
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        """Turned off by a server that stops."""
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY_WAITS


class _NobodyWaits(asyncio.Event):
    """uvicorn wakes a waiting application when its client is gone; here none waits."""

    def set(self) -> None:
        pass


_NOBODY_WAITS = _NobodyWaits()
