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
from foldbook.api.front import Front
from foldbook.api.gate import Application, Bodies, BodyLimits, Gate
from foldbook.api.operations import gateways, health, keys, relays, sessions, verification
from foldbook.api.operations import projections as admin
from foldbook.api.operations.keys import KeyAdmin
from foldbook.api.operations.metrics import Requests
from foldbook.api.operations.relays import Rabbit
from foldbook.api.operations.verification import LogVerifier
from foldbook.api.queries import accounts, fills, instruments, ledger, log, lots, orders, positions, risk
from foldbook.api.queries.parameters import LogTypes, check_query_parameters
from foldbook.api.queries.reader import Reader
from foldbook.api.routes import GatedRoutes, answer_problem, check_routes, metadata_of_request, principal_of_request
from foldbook.api.streams.streams import Streams
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
    *relays.CALLS,
    verification.verify_log,
    *keys.CALLS,
    *sessions.CALLS,
    *health.CALLS,
)
"""Everything that is not a command."""


def create_application(
    commands: Sequence[type[Command]],
    bus: Bus,
    log_types: LogTypes,
    reader: Reader,
    projection_admin: ProjectionAdmin,
    verifier: LogVerifier,
    gate: Gate,
    key_admin: KeyAdmin,
    streams: Streams,
    rabbit: Rabbit,
    running: Callable[[Litestar], AbstractAsyncContextManager[None]],
    *,
    body_bytes_max: int,
    bulk_bytes_max: int,
    bulk_window_max: int,
    bulk_timeout_s: float,
) -> Front:
    """``commands``: those that can be sent. ``running``: what must run while the application does; entered when the
    server starts."""
    requests = Requests()
    bodies = Bodies(BodyLimits("application/json", body_bytes_max))
    calls = CommandCalls(commands, bus, requests.count, gate.check_live)
    bulk = BulkCommands(
        commands,
        bus,
        requests.count,
        check_live=gate.check_live,
        window_max=bulk_window_max,
        body_bytes_max=bulk_bytes_max,
        progress_timeout_s=bulk_timeout_s,
    )
    dependencies = {
        "bus": Provide(lambda: bus, sync_to_thread=False),
        "log_types": Provide(lambda: log_types, sync_to_thread=False),
        "reader": Provide(lambda: reader, sync_to_thread=False),
        "admin": Provide(lambda: projection_admin, sync_to_thread=False),
        "verifier": Provide(lambda: verifier, sync_to_thread=False),
        "requests": Provide(lambda: requests, sync_to_thread=False),
        "gate": Provide(lambda: gate, sync_to_thread=False),
        "key_admin": Provide(lambda: key_admin, sync_to_thread=False),
        "principal": Provide(principal_of_request, sync_to_thread=False),
        "rabbit": Provide(lambda: rabbit, sync_to_thread=False),
        "metadata": Provide(metadata_of_request, sync_to_thread=False),
    }

    async def count(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            http = cast(dict[str, Any], scope)
            requests.count(http["method"], http.get("path_template", "unknown"), message["status"])

    def gated(app: ASGIApp) -> ASGIApp:
        return cast(ASGIApp, GatedRoutes(cast(Application, app), bodies, gate.check_live))

    document = openapi_document(ROUTES, tuple(sorted(dependencies)), tuple(commands), log_types)
    routes = [*ROUTES, *docs_routes(document)]
    check_routes(routes)
    litestar = Litestar(
        routes,
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
        route.path_format: route.methods - {"OPTIONS"} for route in litestar.routes if isinstance(route, HTTPRoute)
    }
    return Front(
        cast(Application, litestar),
        calls,
        bulk,
        streams.applications(gate, requests.count, log_types.events),
        gate,
        bodies,
        others,
    )
