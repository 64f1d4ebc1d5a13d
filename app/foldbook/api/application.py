"""The ASGI application: every call of the interface, given what answers it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from litestar import Litestar
from litestar.di import Provide
from litestar.types import Message, Scope

from foldbook.api.commands import bulk
from foldbook.api.commands import handlers as commands
from foldbook.api.commands.bulk import BulkCommands
from foldbook.api.commands.calls import Application, CommandCalls, ShortWay
from foldbook.api.commands.handlers import Bus, provide_envelope
from foldbook.api.docs import docs_handlers, openapi_document
from foldbook.api.operations import health, verification
from foldbook.api.operations import projections as admin
from foldbook.api.operations.metrics import Requests
from foldbook.api.operations.verification import LogVerifier
from foldbook.api.problems import answer_problem
from foldbook.api.queries import accounts, fills, instruments, log, orders, positions, risk
from foldbook.api.queries.parameters import check_query_parameters
from foldbook.api.queries.reader import Reader
from foldbook.eventstore.readers.administration import ProjectionAdmin

COMMAND_CALLS = (
    commands.open_account,
    commands.place_order,
    commands.request_cancel,
    commands.request_replace,
    commands.record_execution,
    commands.define_instrument,
    commands.record_price,
    commands.set_risk_limits,
    commands.halt_trading,
    commands.reduce_trading,
    commands.resume_trading,
)
CALLS = (
    *COMMAND_CALLS,
    bulk.execute_commands,
    *accounts.CALLS,
    *orders.CALLS,
    *fills.CALLS,
    *risk.CALLS,
    *instruments.CALLS,
    *positions.CALLS,
    *log.CALLS,
    *admin.CALLS,
    verification.verify_log,
    *health.CALLS,
)


def create_application(
    bus: Bus,
    reader: Reader,
    projection_admin: ProjectionAdmin,
    verifier: LogVerifier,
    running: Callable[[Litestar], AbstractAsyncContextManager[None]],
    *,
    body_bytes_max: int,
    bulk_bytes_max: int,
    bulk_window_max: int,
) -> ShortWay:
    """``running``: what has to run while the application does; entered when the server starts."""
    requests = Requests()
    bulk_commands = BulkCommands(bus, window_max=bulk_window_max, body_bytes_max=bulk_bytes_max)
    dependencies = {
        "bus": Provide(lambda: bus, sync_to_thread=False),
        "reader": Provide(lambda: reader, sync_to_thread=False),
        "admin": Provide(lambda: projection_admin, sync_to_thread=False),
        "verifier": Provide(lambda: verifier, sync_to_thread=False),
        "bulk": Provide(lambda: bulk_commands, sync_to_thread=False),
        "requests": Provide(lambda: requests, sync_to_thread=False),
        "envelope": Provide(provide_envelope, sync_to_thread=False),
    }

    async def count(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            http = cast(dict[str, Any], scope)
            requests.count(http["method"], http.get("path_template", "unknown"), message["status"])

    litestar = Litestar(
        [*CALLS, *docs_handlers(openapi_document(tuple(CALLS), tuple(sorted(dependencies))))],
        dependencies=dependencies,
        exception_handlers={Exception: answer_problem},
        before_request=check_query_parameters,
        before_send=[count],
        lifespan=[running],
        request_max_body_size=body_bytes_max,
        openapi_config=None,
        logging_config=None,
    )
    calls = CommandCalls(COMMAND_CALLS, bus, requests.count, body_bytes_max=body_bytes_max)
    return ShortWay(cast(Application, litestar), calls)
