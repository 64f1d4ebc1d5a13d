"""The WebSocket connections of a server, and which requests begin one (RFC 6455, 4.2.1)."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from foldbook.wire.connections import CONNECTION, Connection, Connections
from foldbook.wire.requests import Headers

VERSION = b"13"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""16 bytes in Base64."""
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: %b\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


def is_handshake(method: bytes, version: str, headers: Headers) -> bool:
    """Of a request to upgrade to ``websocket``: can it be done? Otherwise ``Upgrade`` is ignored (RFC 9110, 7.8)."""
    return (
        method == b"GET"
        and version == "1.1"
        and headers.get(b"sec-websocket-version") == VERSION
        and _KEY.fullmatch(headers.get(b"sec-websocket-key", b"")) is not None
    )


class SocketProtocol(Connection, WebSocketsSansIOProtocol):
    """uvicorn's, as one of the connections of this process. Until its handshake is complete, a request is due."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.counted_by = connections

    @property
    def due_from_s(self) -> float | None:
        return None if self.handshake_complete else self.heard_at_s

    @property
    def is_idle(self) -> bool:
        return not self.handshake_complete

    def begin(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer a request that ``is_handshake``.

        The library behind uvicorn's protocol is given only what a handshake needs: it has bounds of its own for a
        request, narrower than ours, and leaves one that is beyond them without an answer.
        """
        self.data_received(_HANDSHAKE % (VERSION, dict(headers)[b"sec-websocket-key"]))
        path, _, query = target.partition(b"?")
        scope = cast(dict[str, Any], self.scope)
        scope.update(path=unquote(path.decode()), raw_path=path, query_string=query, headers=headers)
        scope[CONNECTION] = self

    def handle_ping(self) -> None:
        """A client that takes too little is sent no pongs: they would be kept for it."""
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
