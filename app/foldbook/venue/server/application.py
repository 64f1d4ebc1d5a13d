"""The ASGI application of the venue, and its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import msgspec
import uvicorn
from litestar import Litestar
from litestar.di import Provide

from foldbook.errors import FoldbookError
from foldbook.problems import MEDIA_TYPE
from foldbook.venue.server import account_routes, market_routes, order_routes, stream_routes
from foldbook.venue.server.docs import docs_routes
from foldbook.venue.server.faults import App, FaultyAnswers
from foldbook.venue.server.options import VenueOptions
from foldbook.venue.server.order_session import enter_orders
from foldbook.venue.server.problems import answer_problem, problem_of
from foldbook.venue.server.venue import Venue
from foldbook.venue.store import Store
from foldbook.wire.connections import Connections
from foldbook.wire.protocol import StrictProtocol
from foldbook.wire.sockets import SocketProtocol

ROUTES = (*order_routes.ROUTES, *account_routes.ROUTES, *market_routes.ROUTES)
HOST = "127.0.0.1"
BODY_BYTES_MAX = 1 << 20
CONNECTIONS_MAX = 1_000
"""With streams and sessions. One more takes the place of one that waits for its client."""
REQUEST_TIMEOUT_S = 30
"""How long a request may take to arrive."""
ANSWER_TIMEOUT_S = 60
"""How long an answer may wait for a client that does not take it."""
GRACE_S = 10
"""How long a stopping server waits for requests under way."""


class VenueProtocol(StrictProtocol):
    """An HTTP connection."""

    socket_paths = (b"/orders", b"/reports", b"/market")

    def refusal_of(self, error: FoldbookError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        status, document = problem_of(error)
        body = msgspec.json.encode(document)
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        return status, headers, body


def create_application(venue: Venue, store: Store) -> App:
    """All routes, behind the layer of faults. When it ends, it leaves the store."""

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        work = asyncio.create_task(venue.run())
        try:
            yield
        finally:
            venue.stop()
            await work
            if venue.has_failed:
                store.leave()
            else:
                store.close()

    litestar = Litestar(
        [*ROUTES, enter_orders, *stream_routes.ROUTES, *docs_routes(ROUTES, ("venue",))],
        dependencies={"venue": Provide(lambda: venue, sync_to_thread=False)},
        exception_handlers={Exception: answer_problem},
        lifespan=[running],
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
        logging_config=None,
    )
    return FaultyAnswers(cast(App, litestar), venue.faults)


def create_server(store: Store, options: VenueOptions, port: int) -> uvicorn.Server:
    """A server of one process. At SIGTERM or SIGINT it answers open requests, then ends."""
    server: uvicorn.Server | None = None

    def fail() -> None:
        assert server is not None
        server.should_exit = True

    connections = Connections(CONNECTIONS_MAX, REQUEST_TIMEOUT_S, ANSWER_TIMEOUT_S)
    config = uvicorn.Config(
        cast(Any, create_application(Venue(store, options, fail), store)),
        host=HOST,
        port=port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(VenueProtocol, connections)),
        ws=cast(type[asyncio.Protocol], partial(SocketProtocol, connections)),
        ws_max_size=BODY_BYTES_MAX,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    return server
