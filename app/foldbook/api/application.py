"""The ASGI application: commands and routes, put together with what answers them.

The front answers the calls that commands declare. Everything else is a Litestar route behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from litestar import Litestar
from litestar.di import Provide
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, Message, Scope

from foldbook.api.commands.bulk import BulkCommands
from foldbook.api.commands.calls import Bus, CommandCalls
from foldbook.api.docs import docs_routes, openapi_document
from foldbook.api.front import Front, shape
from foldbook.api.gate import Application, BodyLimits, Gate, GatedRoutes
from foldbook.api.operations import gateways, health, verification
from foldbook.api.operations import projections as admin
from foldbook.api.operations.metrics import Requests
from foldbook.api.operations.verification import LogVerifier
from foldbook.api.problems import answer_problem
from foldbook.api.queries import accounts, fills, instruments, ledger, log, lots, orders, positions, risk
from foldbook.api.queries.parameters import check_query_parameters
from foldbook.api.queries.reader import Reader
from foldbook.eventstore.events import Command
from foldbook.eventstore.readers.administration import ProjectionAdmin

ROUTES = (
    *accounts.CALLS,
    *orders.CALLS,
    *fills.CALLS,
    *risk.CALLS,
    *instruments.CALLS,
    *positions.CALLS,
    *lots.CALLS,
    *ledger.CALLS,
    *log.CALLS,
    *admin.CALLS,
    *gateways.CALLS,
    verification.verify_log,
    *health.CALLS,
)
"""Everything that is not a command."""


def create_application(
    commands: Sequence[type[Command]],
    bus: Bus,
    reader: Reader,
    projection_admin: ProjectionAdmin,
    verifier: LogVerifier,
    running: Callable[[Litestar], AbstractAsyncContextManager[None]],
    *,
    body_bytes_max: int,
    bulk_bytes_max: int,
    bulk_window_max: int,
) -> Front:
    """``commands``: those that can be sent. ``running``: what must run while the application does; entered when the
    server starts."""
    requests = Requests()
    gate = Gate(BodyLimits("application/json", body_bytes_max))
    calls = CommandCalls(commands, bus, requests.count)
    bulk = BulkCommands(commands, bus, requests.count, window_max=bulk_window_max, body_bytes_max=bulk_bytes_max)
    dependencies = {
        "bus": Provide(lambda: bus, sync_to_thread=False),
        "reader": Provide(lambda: reader, sync_to_thread=False),
        "admin": Provide(lambda: projection_admin, sync_to_thread=False),
        "verifier": Provide(lambda: verifier, sync_to_thread=False),
        "requests": Provide(lambda: requests, sync_to_thread=False),
    }

    async def count(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            http = cast(dict[str, Any], scope)
            requests.count(http["method"], http.get("path_template", "unknown"), message["status"])

    def gated(app: ASGIApp) -> ASGIApp:
        return cast(ASGIApp, GatedRoutes(cast(Application, app), gate))

    document = openapi_document(ROUTES, tuple(sorted(dependencies)), tuple(commands))
    litestar = Litestar(
        [*ROUTES, *docs_routes(document)],
        dependencies=dependencies,
        exception_handlers={Exception: answer_problem},
        middleware=[gated],
        before_request=check_query_parameters,
        before_send=[count],
        lifespan=[running],
        request_max_body_size=None,  # the gate's business
        openapi_config=None,
        logging_config=None,
    )
    others = {
        shape(route.path_format): route.methods - {"OPTIONS"}
        for route in litestar.routes
        if isinstance(route, HTTPRoute)
    }
    return Front(cast(Application, litestar), calls, bulk, gate, others)
