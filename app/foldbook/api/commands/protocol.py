"""The fast path: command calls over uvicorn's HTTP/1.1 connection, without an ASGI exchange around each.

The scope, the events and the two messages of ASGI take about as long as a command itself. So a plain command call (its
length known, its connection kept alive, no earlier request unanswered) is read and answered here. Every other request,
and every request that the gate does not admit, takes uvicorn's own way to the front, which answers it in the same way.

This relies on something that uvicorn does not promise: its protocol's callbacks, and what they read from ``cycle``. So
its version is bounded in ``pyproject.toml``, and ``tests/api/test_protocol.py`` compares its source with this module.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from foldbook.access.principal import Principal
from foldbook.api.commands import bulk
from foldbook.api.commands.calls import CommandCall, CommandCalls
from foldbook.api.connections import CONNECTION, Connections
from foldbook.api.escapes import canonical_path
from foldbook.api.front import Front
from foldbook.api.gate import Headers, headers_of
from foldbook.api.problems import Problem
from foldbook.errors import FoldbookError

_STREAMED = bulk.PATH.encode()

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
"""The answer to a request that did not arrive in time."""


class CommandProtocol(HttpToolsProtocol):
    """One connection. ``cycle`` is the request under way, uvicorn's own or an ``_Exchange``."""

    cycle: Any

    def __init__(self, front: Front, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._others = connections
        self.heard_at_s = 0.0
        self.due_from_s: float | None = None
        self.key_id: str | None = None
        self._calls: CommandCalls = front.calls
        self._gate = front.gate
        self._bodies = front.bodies
        self._incoming: _Exchange | None = None
        """The exchange whose request is being read. A request to upgrade has no cycle: ``cycle`` is an earlier one."""

    # -- as one of the connections of this process ---------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def end(self) -> None:
        if self.is_idle and self.due_from_s is not None and not self.transport.is_closing():
            self.transport.write(_TOO_LATE)
        self.transport.close()

    def claim(self, key_id: str | None) -> None:
        """Raises ``Problem`` if the key has too many connections."""
        self._others.claim(self, key_id)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.heard_at_s = self.due_from_s = self.loop.time()
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.remove(self)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[CONNECTION] = self
        self.heard_at_s = self.loop.time()
        if self.due_from_s is None:
            self.due_from_s = self.heard_at_s

    def handle_websocket_upgrade(self) -> None:
        self._others.remove(self)  # The connection goes on as another protocol's.
        super().handle_websocket_upgrade()

    # -- requests --------------------------------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        exchange = self._incoming = self._begin_exchange()
        if exchange is None:
            super().on_headers_complete()
        else:
            self.cycle = exchange

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None:
            self._incoming.body += body
        else:
            if self.url == _STREAMED:  # It may take as long as it likes, but for each piece.
                self.due_from_s = self.loop.time()
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.due_from_s = None
        if self._incoming is not None:
            task = self.loop.create_task(self._respond(self._incoming))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            super().on_message_complete()

    def _begin_exchange(self) -> _Exchange | None:
        """The exchange to answer here; None: the request takes uvicorn's way."""
        is_first = self.cycle is None or self.cycle.response_complete
        if not is_first or b"?" in self.url or b"#" in self.url or not self.url.isascii():
            return None
        try:
            method, path = self.parser.get_method().decode(), canonical_path(self.url)
        except Problem:
            return None
        if (found := self._calls.find(method, path)) is None:
            return None
        try:
            headers = headers_of(self.headers)
            if not self._is_plain(headers):
                return None
            self._bodies.check(headers)
            principal = self._gate.admit(headers)  # Last: it counts the request, and the other way does, too.
            self.claim(principal.key_id)
        except FoldbookError:
            return None
        return _Exchange(*found, principal, headers)

    def _is_plain(self, headers: Headers) -> bool:
        parser = self.parser
        return (
            b"transfer-encoding" not in headers
            and not self.expect_100_continue
            and not parser.should_upgrade()
            and bool(parser.should_keep_alive())
        )

    async def _respond(self, exchange: _Exchange) -> None:
        reply = await self._calls.reply(
            exchange.call, exchange.principal, exchange.named, exchange.headers, exchange.body
        )
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
        # Begins a request that arrived meanwhile, or the wait for the next one.
        self.on_response_complete()


class _Exchange:
    """A command call under way. The attributes that uvicorn's protocol reads have the names that it expects."""

    __slots__ = (
        "body",
        "call",
        "disconnected",
        "headers",
        "keep_alive",
        "message_event",
        "named",
        "principal",
        "response_complete",
    )

    def __init__(self, call: CommandCall, named: tuple[str, ...], principal: Principal, headers: Headers) -> None:
        self.call = call
        self.named = named
        self.principal = principal
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        """A stopping server turns it off."""
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY_WAITS


class _NobodyWaits(asyncio.Event):
    """uvicorn wakes an application that waits when its client is gone; here none waits."""

    def set(self) -> None:
        pass


_NOBODY_WAITS = _NobodyWaits()
