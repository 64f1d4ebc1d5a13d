"""uvicorn's HTTP/1.1 connection, strict: with bounds, with deadlines, and with one meaning for each request.

``foldbook.wire.requests`` says which requests are refused. A refusal waits for the answers to the requests before it,
and nothing that comes after it is read.

This relies on something that uvicorn does not promise: its protocol's callbacks. So its version is bounded in
``pyproject.toml``, and ``tests/api/test_protocol.py`` compares its source with this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from foldbook.errors import FoldbookError
from foldbook.wire.connections import CONNECTION, Connection, Connections
from foldbook.wire.requests import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    PIPELINED_MAX,
    TARGET_BYTES_MAX,
    Headers,
    RequestRefused,
    check_target,
    headers_of,
)
from foldbook.wire.sockets import SocketProtocol, is_handshake

LINGER_S = 2.0
"""How long a client that was refused may go on sending: if we closed at once, it could lose the answer (RFC 9112, 9.6).
"""

VERSIONS = ("1.1", "1.0")


class StrictProtocol(Connection, HttpToolsProtocol):
    """One connection."""

    socket_paths: Collection[bytes] = ()
    """Where a request begins a WebSocket, if it asks for one."""

    due_from_s: float | None = None
    cycle: Any

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.counted_by = connections
        self._unanswered = 0
        """Requests whose head was read, and that were not answered."""
        self._is_body_due = False
        """Was a head read, and not the end of its message?"""
        self._version = ""
        """Of the last head."""
        self._begins_socket = False
        """Does the last request to upgrade begin a WebSocket?"""
        self._header_count = 0
        self._head_bytes_max = 0
        """What the head that is being read can have at most: it began in the last read that was of use, or later."""
        self._useless_bytes = 0
        """Read since the last head, piece of a body, or end of a message."""
        self._is_of_use = False
        self._error: FoldbookError | None = None
        """Why a callback ended the parser."""
        self._refusal: bytes | None = None

    def refusal_of(self, error: FoldbookError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body of the last answer of this connection."""
        raise NotImplementedError

    # -- as one of the connections of this process ---------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not self._unanswered

    @property
    def is_waiting(self) -> bool:
        return self._unanswered <= self._is_body_due or self.unsent_bytes > 0

    @property
    def is_held_up(self) -> bool:
        return self.flow.read_paused

    def end(self, error: FoldbookError) -> None:
        if self.transport.is_closing():
            self.abort()
        elif self.due_from_s is not None:
            self._refuse(error)
            if self.is_idle:
                self.transport.close()
        else:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.due_from_s = self.loop.time()
        super().connection_made(transport)

    # -- requests --------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._head_bytes_max += len(data)
        self._is_of_use = False
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(self._error or RequestRefused("this is not a request of HTTP/1.1"))
            return
        if self._is_of_use:
            self._useless_bytes, self._head_bytes_max = 0, len(data)
            return
        self._useless_bytes += len(data)
        if self._useless_bytes > HEAD_BYTES_MAX:
            self._refuse(self._too_much())
        elif self.due_from_s is None and not self._unanswered:
            self.due_from_s = self.loop.time()  # An empty line ends the wait for the next request.

    def _feed(self, data: bytes) -> None:
        """The parser stops after a request to upgrade. If it is not to one of ours, it is a request like others."""
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                data = data[upgrade.args[0] :]
            else:
                return

    def _should_upgrade(self) -> bool:
        return self._begins_socket

    def handle_websocket_upgrade(self) -> None:
        """The connection goes on as another protocol's."""
        self.counted_by.remove(self)
        self.connections.discard(self)
        protocol = cast(Callable[..., SocketProtocol], self.ws_protocol_class)(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.connection_made(self.transport)
        protocol.begin(self.url, self.headers)
        self.transport.set_protocol(protocol)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[CONNECTION] = self
        self.heard_at_s = self.loop.time()
        if self.due_from_s is None:
            self.due_from_s = self.heard_at_s

    def on_headers_complete(self) -> None:
        self.accept(self.check_head())

    def accept(self, headers: Headers) -> None:
        """Begin with the request whose head was read. Here and below, what it takes is uvicorn's way."""
        super().on_headers_complete()

    def check_head(self) -> Headers:
        """The headers of the request. Raises ``RequestRefused``."""
        is_upgrade = self.parser.should_upgrade()
        try:
            headers = self._checked_head()
            if is_upgrade:
                self._check_upgrade(headers)
        except RequestRefused as error:
            self._error = error
            raise
        self._is_of_use = self._is_body_due = True
        self._header_count = len(self.headers)
        if not is_upgrade or not self._begins_socket:
            self._unanswered += 1
        return headers

    def _checked_head(self) -> Headers:
        version = self._version = self.parser.get_http_version()
        if version not in VERSIONS:
            raise RequestRefused("the version must be HTTP/1.1 or HTTP/1.0")
        check_target(self.url)
        given = self.headers
        if len(given) > HEADERS_MAX or (self._head_bytes_max > HEAD_BYTES_MAX and _size_of(given) > HEAD_BYTES_MAX):
            raise _headers_too_large()
        if self._unanswered >= PIPELINED_MAX:
            raise RequestRefused(f"at most {PIPELINED_MAX} requests may wait for their answers")
        return headers_of(given, version)

    def _check_upgrade(self, headers: Headers) -> None:
        """The parser reads no body after it: it would take the body for the next request."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise RequestRefused("this is no proxy")
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            raise RequestRefused("a request to upgrade the connection has no body", field="upgrade")
        self._begins_socket = (
            self._get_upgrade() == b"websocket"
            and self.url.partition(b"?")[0].rstrip(b"/") in self.socket_paths
            and is_handshake(method, self._version, headers)
        )
        if self._unanswered and self._begins_socket:
            raise RequestRefused("a connection is upgraded when its requests are answered", field="upgrade")

    def on_body(self, body: bytes) -> None:
        self._is_of_use = True
        self.take(body)

    def take(self, body: bytes) -> None:
        """A piece of the body."""
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Trailers are no headers (RFC 9110, 6.5.1), but the parser does not tell them apart."""
        if len(self.headers) > self._header_count:
            self._error = RequestRefused("no header may follow the body", field=self.headers[-1][0].decode("latin-1"))
            raise self._error
        # If it was answered before, the next one is due.
        self.due_from_s = None if self._unanswered else self.loop.time()
        self._is_of_use = True
        self._is_body_due = False
        self.complete()

    def complete(self) -> None:
        """The body is complete."""
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        if self._is_body_due and not self._unanswered and self.due_from_s is None:
            self.due_from_s = self.loop.time()  # Of the rest nobody keeps the time any more.
        if self._refusal is not None and not self._unanswered:
            self._send_refusal()
        else:
            super().on_response_complete()

    # -- refusals --------------------------------------------------------------------------------------------------

    def _too_much(self) -> RequestRefused:
        if self._is_body_due:
            return RequestRefused(f"at most {HEAD_BYTES_MAX} bytes may come between two pieces of a body")
        if len(self.url) > TARGET_BYTES_MAX:
            return RequestRefused(f"a path and a query string have at most {TARGET_BYTES_MAX} bytes", "target-too-long")
        return _headers_too_large()

    def _refuse(self, error: FoldbookError) -> None:
        """Answer what is being read with ``error``, after what was read before it, and read no more."""
        if self._refusal is not None:
            return
        if self._is_body_due and self.cycle.response_complete:
            self._refusal = b""  # It has its answer.
            self.transport.close()
            return
        status, headers, body = self.refusal_of(error)
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            if name != b"connection":
                lines += (name, b": ", value, b"\r\n")
        self._refusal = b"".join((*lines, b"connection: close\r\n\r\n", body))
        self.due_from_s = None
        self._abandon()
        if not self._unanswered:
            self._send_refusal()

    def _abandon(self) -> None:
        """Let nobody wait for the rest of the request that is being read."""
        if not self._is_body_due:
            return
        self._unanswered -= 1
        waiting = [one for one in self.pipeline if one[0] is self.cycle]
        for one in waiting:
            self.pipeline.remove(one)
        if not waiting:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if getattr(self.cycle, "response_started", False):
                self.abort()  # Half an answer cannot be followed by another.

    def _send_refusal(self) -> None:
        assert self._refusal is not None, "something was refused"
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.transport.write(self._refusal)
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)


def _headers_too_large() -> RequestRefused:
    return RequestRefused(
        f"a request has at most {HEADERS_MAX} headers of {HEAD_BYTES_MAX} bytes together", "headers-too-large"
    )


def _size_of(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)
