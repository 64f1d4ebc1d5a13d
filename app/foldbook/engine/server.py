"""The server, and what it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import cast

import uvicorn

from foldbook.api.commands.protocol import CommandProtocol
from foldbook.api.connections import Connections
from foldbook.api.front import Front
from foldbook.config import Settings
from foldbook.engine.domains import DOMAINS, Domain
from foldbook.engine.wiring import api

GRACE_S = 10
"""How long a stopping server waits for requests under way."""


def create_app(settings: Settings | None = None, domains: Sequence[Domain] = DOMAINS) -> Front:
    """The ASGI application. Without ``settings``, they are read from the environment."""
    return api(settings or Settings(), domains)


def create_server(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> uvicorn.Server:
    """A server of one process, without an access log. At SIGTERM or SIGINT it answers open requests, then ends."""
    app = create_app(settings, domains)
    connections = Connections(settings.connections_max, settings.request_timeout_s)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(CommandProtocol, app, connections)),
        ws="none",
        lifespan="on",
        access_log=False,
        # uvicorn logs to the program's own handlers.
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
