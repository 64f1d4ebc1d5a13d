"""The server, and what it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import cast

import uvicorn

from foldbook.api.commands.protocol import CommandProtocol
from foldbook.api.front import Front
from foldbook.config import Settings
from foldbook.engine.domains import DOMAINS, Domain
from foldbook.engine.wiring import api

GRACE_S = 10
"""How long a server that stops waits for what it was asked."""


def create_app(settings: Settings | None = None, domains: Sequence[Domain] = DOMAINS) -> Front:
    """The ASGI application; without ``settings``, by those of the environment."""
    return api(settings or Settings(), domains)


def create_server(settings: Settings, domains: Sequence[Domain] = DOMAINS) -> uvicorn.Server:
    """A server of one process, without access log. At SIGTERM or SIGINT it answers what was asked, then ends."""
    app = create_app(settings, domains)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(CommandProtocol, app)),
        ws="none",
        lifespan="on",
        access_log=False,
        # What there is to log goes where the program's logging goes.
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
