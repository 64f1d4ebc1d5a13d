"""The WebSocket connections of the server."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from foldbook.wire.connections import CONNECTION, Connections


class StreamProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, as one of the connections of this process. It is never idle, and no request is due."""

    is_idle = False
    due_from_s: float | None = None
    unsent_from_s: float | None = None
    key_id: str | None = None

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._others = connections
        self.heard_at_s = self.loop.time()

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def end(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def resume_writing(self) -> None:
        self.unsent_from_s = None
        super().resume_writing()

    def claim(self, key_id: str | None) -> None:
        """Raises ``Problem`` if the key has too many connections."""
        self._others.claim(self, key_id)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.remove(self)
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast(dict[str, Any], self.scope)[CONNECTION] = self
