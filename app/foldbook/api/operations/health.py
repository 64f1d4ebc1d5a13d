"""Health and metrics, for monitoring."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime
from typing import Literal, TypeVar

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from foldbook.access.roles import EVERYBODY
from foldbook.api.commands.calls import Bus
from foldbook.api.operations.gateways import doubt_counts, gateway_statuses
from foldbook.api.operations.metrics import Requests, Told, exposition
from foldbook.api.operations.projections import statuses
from foldbook.api.operations.relays import relay_statuses
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.reader import Reader
from foldbook.api.routes import may
from foldbook.errors import StoreUnavailable
from foldbook.resources import projection_files

ANSWER_TIMEOUT_S = 3.0
"""Longer than it takes to prove that nothing can be committed, and why."""

T = TypeVar("T")
PROJECTIONS = {path.stem for path in projection_files()}


class Live(Struct, frozen=True):
    status: Literal["live"] = "live"


class RelayReady(Struct, frozen=True, kw_only=True):
    state: str
    lag: int


class Lost(Struct, frozen=True, kw_only=True):
    """What this process saw in the log and the log does not have: the positions after ``after_position`` up to
    ``last_position``, and the commits after ``after_commit`` up to ``last_commit``."""

    shard: int
    after_position: int
    last_position: int
    after_commit: int
    last_commit: int
    found_at: datetime


class Ready(Struct, frozen=True, kw_only=True):
    """``gateways``: the state of each, by kind of broker. ``doubts``: requests to brokers of which nobody knows what
    became of them. ``relays``: the state of the relay to RabbitMQ, and how many events it is behind.
    ``log_clock_ahead_s``: by how many seconds the log's last commit is later than the database server's clock, which
    is 0 unless that was put back. ``lost``: what a failover or a restore took from the log. The engine takes commands
    whatever these say."""

    status: Literal["ready"] = "ready"
    gateways: dict[str, str]
    doubts: int
    relays: dict[str, RelayReady]
    log_clock_ahead_s: float
    lost: list[Lost] = []


@get("/health/live", tags=["operations"], opt=may(None))
async def get_live() -> Live:
    """The process answers."""
    return Live()


@get("/health/ready", tags=["operations"], responses=problem_responses("not-ready"), opt=may(None))
async def get_ready(bus: NamedDependency[Bus], reader: NamedDependency[Reader]) -> Ready:
    """Commands can be committed, the database answers, and every read table exists.

    Within the last second a command was committed; or the log's lock, a write and a commit were tried, at most once a
    second for all who ask.
    """
    if not bus.is_running:
        raise Problem("not-ready", "the engine does not take commands")
    try:
        return await _in_time(_ready(bus, reader))
    except StoreUnavailable as error:
        raise Problem("not-ready", error.detail) from None


async def _ready(bus: Bus, reader: Reader) -> Ready:
    await bus.prove()
    told = await _told(reader)
    if missing := PROJECTIONS - {row.name for row in told.projections}:
        raise Problem("not-ready", f"the read tables are being created: {', '.join(sorted(missing))}")
    return Ready(
        gateways={each.broker: each.state for each in told.gateways},
        doubts=sum(told.doubts.values()),
        relays={each.name: RelayReady(state=each.state, lag=each.lag) for each in told.relays},
        log_clock_ahead_s=told.log_clock_ahead_s or 0.0,
        lost=msgspec.convert(list(bus.losses), list[Lost], from_attributes=True),
    )


async def log_clock_ahead_s(reader: Reader) -> float:
    """How far the clock of the log is ahead of the database server's, in whichever shard that is most."""
    rows = await reader.ask_all("eventstore.clock_ahead")
    return max((row["ahead_s"] for row in rows), default=0.0)


@get(
    "/metrics",
    tags=["operations"],
    media_type=CONTENT_TYPE_LATEST,
    responses=problem_responses(),
    opt=may(EVERYBODY),
)
async def get_metrics(
    bus: NamedDependency[Bus], reader: NamedDependency[Reader], requests: NamedDependency[Requests]
) -> Response[bytes]:
    """Metrics for Prometheus. While the database does not answer, they omit what only the database knows."""
    told = Told()
    with suppress(StoreUnavailable):
        told = await _in_time(_told(reader))
    return Response(exposition(bus, requests, told), media_type=CONTENT_TYPE_LATEST)


async def _told(reader: Reader) -> Told:
    return Told(
        projections=await statuses(reader),
        gateways=await gateway_statuses(reader),
        doubts=await doubt_counts(reader),
        relays=await relay_statuses(reader),
        log_clock_ahead_s=await log_clock_ahead_s(reader),
    )


CALLS = (get_live, get_ready, get_metrics)


async def _in_time(question: Awaitable[T]) -> T:
    """Raises ``StoreUnavailable``, also if the database takes too long."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await question
    except TimeoutError as error:
        raise StoreUnavailable(f"the database did not answer within {ANSWER_TIMEOUT_S:g} s") from error
