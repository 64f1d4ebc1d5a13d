"""The WebSocket connections of the server."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from foldbook.wire.connections import CONNECTION, Connection, Connections


class StreamProtocol(Connection, WebSocketsSansIOProtocol):
    """uvicorn's, as one of the connections of this process. It is never idle, and no request is due."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self.counted_by = connections

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast(dict[str, Any], self.scope)[CONNECTION] = self
