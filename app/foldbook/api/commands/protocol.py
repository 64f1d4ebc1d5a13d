"""The fast path: command calls over uvicorn's HTTP/1.1 connection, without an ASGI exchange around each.

The scope, the events and the two messages of ASGI take about as long as a command itself. So a plain command call (its
length known, its connection kept alive, no earlier request unanswered) is read and answered here. Every other request,
and every request that the gate does not admit, takes uvicorn's own way to the front, which answers it in the same way.

This relies on something that uvicorn does not promise: its protocol's callbacks, and what they read from ``cycle``. So
its version is bounded in ``pyproject.toml``, and ``tests/api/test_protocol.py`` compares its source with this module.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from foldbook.access.principal import Principal
from foldbook.api.commands import bulk
from foldbook.api.commands.calls import CommandCall, CommandCalls
from foldbook.api.escapes import canonical_path
from foldbook.api.front import Front
from foldbook.api.gate import Reply
from foldbook.api.problems import problem_of
from foldbook.api.streams import market
from foldbook.errors import FoldbookError
from foldbook.wire.connections import Connections
from foldbook.wire.protocol import StrictProtocol
from foldbook.wire.requests import Headers

_BULK = bulk.PATH.encode()


class CommandProtocol(StrictProtocol):
    """One connection. ``cycle`` is the request under way, uvicorn's own or an ``_Exchange``."""

    socket_paths = (market.PATH.encode(),)

    def __init__(self, front: Front, connections: Connections, **given: Any) -> None:
        super().__init__(connections, **given)
        self._calls: CommandCalls = front.calls
        self._gate = front.gate
        self._bodies = front.bodies
        self._incoming: _Exchange | None = None
        """The exchange whose request is being read. A request to upgrade has no cycle: ``cycle`` is an earlier one."""

    def refusal_of(self, error: FoldbookError) -> Reply:
        return self._calls.refuse("unknown", "unknown", problem_of(error))

    @property
    def _is_bulk(self) -> bool:
        return self.url.rstrip(b"/") == _BULK

    def accept(self, headers: Headers) -> None:
        exchange = self._incoming = self._begin_exchange(headers)
        if exchange is None:
            super().accept(headers)
            if self._is_bulk:
                self.due_from_s = None  # It has a deadline of its own, for each command.
        else:
            self.cycle = exchange

    def take(self, body: bytes) -> None:
        if self._incoming is not None:
            self._incoming.body += body
        else:
            if self._is_bulk and not self.cycle.response_complete:
                self.heard_at_s = self.loop.time()
            super().take(body)

    def complete(self) -> None:
        if self._incoming is not None:
            task = self.loop.create_task(self._respond(self._incoming))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            super().complete()

    def _begin_exchange(self, headers: Headers) -> _Exchange | None:
        """The exchange to answer here; None: the request takes uvicorn's way."""
        is_first = self.cycle is None or self.cycle.response_complete
        if not is_first or b"?" in self.url:
            return None
        try:
            method, path = self.parser.get_method().decode(), canonical_path(self.url)
        except FoldbookError:
            return None
        if (found := self._calls.find(method, path)) is None:
            return None
        try:
            if not self._is_plain(headers):
                return None
            self._bodies.check(headers)
            principal = self._gate.admit(headers)  # After all checks: it counts the request, and so would the front.
            principal.require_key()
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
            and self._version == "1.1"
        )

    async def _respond(self, exchange: _Exchange) -> None:
        reply = await self._calls.reply(
            exchange.call, exchange.principal, exchange.named, exchange.headers, exchange.body
        )
        if self.flow.write_paused:  # Its client has to take the answers before this one first.
            await self.flow.drain()
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
