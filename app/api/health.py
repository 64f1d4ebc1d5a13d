"""Is it alive, is it ready, how much has it done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.api.admin import statuses
from app.api.commands import Bus
from app.api.metrics import Requests, exposition
from app.api.problems import Problem, told
from app.api.reader import Reader
from app.eventstore.errors import StoreUnavailable
from app.eventstore.projections import ProjectionStatus
from app.resources import sql_files

ANSWER_TIMEOUT_S = 2.0
READ_TABLES = {path.stem for path in sql_files("projections")}


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
