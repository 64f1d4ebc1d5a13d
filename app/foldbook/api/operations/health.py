"""Health and metrics, for monitoring."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal, TypeVar

from litestar import Response, get
from litestar.di import NamedDependency
from msgspec import Struct
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from foldbook.access.roles import EVERYBODY
from foldbook.api.commands.calls import Bus
from foldbook.api.operations.gateways import GatewayStatus, doubt_counts, gateway_statuses
from foldbook.api.operations.metrics import Requests, exposition
from foldbook.api.operations.projections import statuses
from foldbook.api.operations.relays import RelayRow, relay_statuses
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.reader import Reader
from foldbook.api.routes import may
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.readers.status import ProjectionStatus
from foldbook.eventstore.seen import Loss
from foldbook.resources import projection_files

ANSWER_TIMEOUT_S = 2.0

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
    became of them. ``relays``: the state of the relay to RabbitMQ, and how many events it is behind. ``lost``:
    what a failover or a restore took from the log. The engine takes commands whatever these say."""

    status: Literal["ready"] = "ready"
    gateways: dict[str, str]
    doubts: int
    relays: dict[str, RelayReady]
    lost: list[Lost] = []


@get("/health/live", tags=["operations"], opt=may(None))
async def get_live() -> Live:
    """The process answers."""
    return Live()


@get("/health/ready", tags=["operations"], responses=problem_responses("not-ready"), opt=may(None))
async def get_ready(bus: NamedDependency[Bus], reader: NamedDependency[Reader]) -> Ready:
    """The engine takes commands, the database answers, and every read table exists."""
    if not bus.is_running:
        raise Problem("not-ready", "the engine does not take commands")
    try:
        projections = await _statuses_in_time(reader)
    except StoreUnavailable as error:
        raise Problem("not-ready", error.detail) from None
    if missing := PROJECTIONS - {row.name for row in projections}:
        raise Problem("not-ready", f"the read tables are being created: {', '.join(sorted(missing))}")
    try:
        gateways, doubts = await _gateways_in_time(reader)
        relays = await _in_time(relay_statuses(reader))
    except StoreUnavailable as error:
        raise Problem("not-ready", error.detail) from None
    return Ready(
        gateways={each.broker: each.state for each in gateways},
        doubts=sum(doubts.values()),
        relays={each.name: RelayReady(state=each.state, lag=each.lag) for each in relays},
        lost=[_lost(loss) for loss in bus.losses],
    )


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
    projections: Sequence[ProjectionStatus] = ()
    gateways: Sequence[GatewayStatus] = ()
    doubts: Mapping[str, int] = {}
    relays: Sequence[RelayRow] = ()
    with suppress(StoreUnavailable):
        projections = await _statuses_in_time(reader)
        gateways, doubts = await _gateways_in_time(reader)
        relays = await _in_time(relay_statuses(reader))
    told = exposition(bus, requests, projections, gateways, doubts, relays)
    return Response(told, media_type=CONTENT_TYPE_LATEST)


def _lost(loss: Loss) -> Lost:
    return Lost(
        shard=loss.shard,
        after_position=loss.after_position,
        last_position=loss.last_position,
        after_commit=loss.after_commit,
        last_commit=loss.last_commit,
        found_at=loss.found_at,
    )


CALLS = (get_live, get_ready, get_metrics)


async def _statuses_in_time(reader: Reader) -> list[ProjectionStatus]:
    """Raises ``StoreUnavailable``, also if the database takes too long."""
    return await _in_time(statuses(reader))


async def _gateways_in_time(reader: Reader) -> tuple[list[GatewayStatus], dict[str, int]]:
    """Likewise; and how many doubts there are, by kind of broker."""
    return await _in_time(_gateways_and_doubts(reader))


async def _gateways_and_doubts(reader: Reader) -> tuple[list[GatewayStatus], dict[str, int]]:
    return await gateway_statuses(reader), await doubt_counts(reader)


async def _in_time(question: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await question
    except TimeoutError as error:
        raise StoreUnavailable(f"the database did not answer within {ANSWER_TIMEOUT_S:g} s") from error
