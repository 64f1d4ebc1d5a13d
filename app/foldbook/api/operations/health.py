"""Is it alive, is it ready, how much has it done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from foldbook.api.commands.handlers import Bus
from foldbook.api.operations.metrics import Requests, exposition
from foldbook.api.operations.projections import statuses
from foldbook.api.problems import Problem, told
from foldbook.api.queries.reader import Reader
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.readers.status import ProjectionStatus
from foldbook.resources import projection_files

ANSWER_TIMEOUT_S = 2.0
READ_TABLES = {path.stem for path in projection_files()}


class Live(Struct, frozen=True):
    status: Literal["live"] = "live"


class Ready(Struct, frozen=True):
    status: Literal["ready"] = "ready"


@get("/health/live", tags=["operations"])
async def get_live() -> Live:
    """The process answers."""
    return Live()


@get("/health/ready", tags=["operations"], responses=told("not-ready"))
async def get_ready(bus: NamedDependency[Bus], reader: NamedDependency[Reader]) -> Ready:
    """Commands are taken, the database answers, the read tables are there."""
    if not bus.is_running:
        raise Problem("not-ready", "commands are not taken")
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            projections = await statuses(reader)
    except (StoreUnavailable, TimeoutError) as error:
        raise Problem("not-ready", f"the database does not answer: {error}") from None
    if missing := READ_TABLES - {row.name for row in projections}:
        raise Problem("not-ready", f"there is no projection {', '.join(sorted(missing))} yet")
    return Ready()


@get("/metrics", tags=["operations"], media_type=CONTENT_TYPE_LATEST)
async def get_metrics(
    bus: NamedDependency[Bus], reader: NamedDependency[Reader], requests: NamedDependency[Requests]
) -> Response[bytes]:
    """For Prometheus. Without a database there is no lag to tell of, and the rest all the same."""
    projections: Sequence[ProjectionStatus] = ()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            projections = await statuses(reader)
    except (StoreUnavailable, TimeoutError):
        pass
    return Response(exposition(bus, requests, projections), media_type=CONTENT_TYPE_LATEST)


CALLS = (get_live, get_ready, get_metrics)
