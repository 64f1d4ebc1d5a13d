"""The server, and what it serves."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import uvicorn

from foldbook.api.commands.protocol import CommandProtocol
from foldbook.api.front import Front
from foldbook.config import Settings
from foldbook.engine.domains import DOMAINS, Domain
from foldbook.engine.wiring import api
from foldbook.wire.connections import Connections
from foldbook.wire.sockets import SocketProtocol

FILES_KEPT = 256
"""Open files of this process that are no connections of clients."""

GRACE_S = 10
"""How long a stopping server waits for requests under way."""


WEBSOCKET_MESSAGE_BYTES_MAX = 1 << 10
"""Of a client, which has nothing to say."""


class Server(uvicorn.Server):
    """uvicorn's, which waits for open requests. Streams have no end of their own."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)


def create_app(settings: Settings | None = None, domains: Sequence[Domain] = DOMAINS) -> Front:
    """The ASGI application. Without ``settings``, they are read from the environment."""
    return api(settings or Settings(), domains)


def connections_max(wanted: int) -> int:
    """As many as are wanted, or as this process may have files open: a server that has none left takes no connection,
    not even to end one. The limit is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + FILES_KEPT
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - FILES_KEPT)
    return wanted


def create_server(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> uvicorn.Server:
    """A server of one process, without an access log. At SIGTERM or SIGINT it ends the streams, answers open requests,
    and ends."""
    app = create_app(settings, domains)
    connections = Connections(
        connections_max(settings.connections_max), settings.request_timeout_s, settings.answer_timeout_s
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(CommandProtocol, app, connections)),
        ws=cast(type[asyncio.Protocol], partial(SocketProtocol, connections)),
        ws_max_size=WEBSOCKET_MESSAGE_BYTES_MAX,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        # uvicorn logs to the program's own handlers.
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config, app.end_streams)
