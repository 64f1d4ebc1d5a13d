"""Administration of projections: status, reset, rebuild, verification, skipping an event."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import groupby
from typing import Annotated

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Raw, Struct, structs

from foldbook.access.roles import AUDITORS, NOBODY
from foldbook.api.commands.envelope import OnBehalfOf, asked_by
from foldbook.api.problems import problem_responses
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import compact
from foldbook.api.routes import may
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.copies import Verification
from foldbook.eventstore.readers.status import Failure, ProjectionStatus, Run, projection_status
from foldbook.postgres.connection import unreachable_as_unavailable

CALL_PROBLEMS = ("unknown-projection", "projection-busy", "unavailable")


class ShardStatus(Struct, frozen=True, kw_only=True):
    shard: int
    checkpoint: int
    head: int
    lag: int
    error: Failure | None


class Projection(Struct, frozen=True, kw_only=True):
    """``checkpoint``, ``head``, ``lag`` and ``skipped`` are counts of events, summed over all shards. ``run``: the last
    reset, rebuild or verification, with its progress."""

    name: str
    checkpoint: int
    head: int
    lag: int
    state: str
    definition_hash: str
    aggregate_types: list[str]
    skipped: int
    error: Failure | None
    run: Run | None
    shards: list[ShardStatus]


class Skip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``position``: the position of the event that stopped the projection, from its ``error``."""

    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reason: Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
    shard: Annotated[int, Meta(ge=0, le=1023)] = 0


class Projections(Struct, frozen=True):
    projections: list[Projection]


@get("/admin/projections", tags=["admin"], responses=problem_responses("unavailable"), opt=may(AUDITORS))
async def get_projections(reader: NamedDependency[Reader]) -> Projections:
    """All projections, with their lag behind the log."""
    return Projections(_by_name(await statuses(reader)))


@get(
    "/admin/projections/{name:str}",
    tags=["admin"],
    responses=problem_responses("unknown-projection", "unavailable"),
    opt=may(AUDITORS),
)
async def get_projection(reader: NamedDependency[Reader], name: FromPath[str]) -> Projection:
    """One projection, with the progress of its last reset, rebuild or verification."""
    return await _projection(reader, name)


@post(
    "/admin/projections/{name:str}/reset",
    tags=["admin"],
    status_code=202,
    responses=problem_responses(*CALL_PROBLEMS),
    opt=may(NOBODY),
)
async def reset_projection(
    admin: NamedDependency[ProjectionAdmin], reader: NamedDependency[Reader], name: FromPath[str]
) -> Response[Projection]:
    """Start to empty the live tables and replay the log into them. The projection's `run` shows the progress."""
    with unreachable_as_unavailable():
        _ignore_outcome(await admin.start_reset(name))
    return await _accepted(reader, name)


@post(
    "/admin/projections/{name:str}/rebuild",
    tags=["admin"],
    status_code=202,
    responses=problem_responses(*CALL_PROBLEMS),
    opt=may(NOBODY),
)
async def rebuild_projection(
    admin: NamedDependency[ProjectionAdmin], reader: NamedDependency[Reader], name: FromPath[str]
) -> Response[Projection]:
    """Start to fill new tables, which then replace the live ones. The projection's `run` shows the progress."""
    with unreachable_as_unavailable():
        _ignore_outcome(await admin.start_rebuild(name))
    return await _accepted(reader, name)


@post(
    "/admin/projections/{name:str}/verify",
    tags=["admin"],
    status_code=200,
    responses=problem_responses("projection-failed", *CALL_PROBLEMS),
    opt=may(AUDITORS),
)
async def verify_projection(admin: NamedDependency[ProjectionAdmin], name: FromPath[str]) -> Verification:
    """Fold the log again and compare with the live tables, row by row."""
    with unreachable_as_unavailable():
        verification = await admin.verify(name)
    return structs.replace(verification, differences=Raw(compact(bytes(verification.differences))))


@post(
    "/admin/projections/{name:str}/skip",
    tags=["admin"],
    status_code=200,
    responses=problem_responses("unknown-projection", "projection-not-stopped", "malformed", "unavailable"),
    opt=may(NOBODY),
)
async def skip_event(
    admin: NamedDependency[ProjectionAdmin],
    reader: NamedDependency[Reader],
    name: FromPath[str],
    data: JSONBody[Skip],
    metadata: NamedDependency[Metadata],
    x_actor: OnBehalfOf = None,
) -> Projection:
    """Let a stopped projection continue after the event that stopped it. The skip is recorded, with its actor."""
    with unreachable_as_unavailable():
        await admin.skip(name, data.shard, data.position, reason=data.reason, actor=asked_by(metadata))
    return await _projection(reader, name)


CALLS = (get_projections, get_projection, reset_projection, rebuild_projection, verify_projection, skip_event)


async def statuses(reader: Reader, name: str | None = None) -> list[ProjectionStatus]:
    """One element per projection and shard."""
    async with reader.connection() as connection:
        return await projection_status(connection, name)


async def _projection(reader: Reader, name: str) -> Projection:
    (projection,) = _by_name(await statuses(reader, name))
    return projection


async def _accepted(reader: Reader, name: str) -> Response[Projection]:
    return Response(await _projection(reader, name), headers={"Location": f"/admin/projections/{name}"})


def _ignore_outcome(task: asyncio.Task[None]) -> None:
    """The projection's status shows how the task ended; asyncio need not report its exception."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _by_name(rows: Iterable[ProjectionStatus]) -> list[Projection]:
    """One element per projection; ``rows`` are ordered by name."""
    projections = []
    for name, group in groupby(rows, key=lambda row: row.name):
        shards = list(group)
        failed = next((row for row in shards if row.error is not None), shards[0])
        projections.append(
            Projection(
                name=name,
                checkpoint=sum(row.checkpoint for row in shards),
                head=sum(row.head for row in shards),
                lag=sum(row.lag for row in shards),
                state=failed.state,
                definition_hash=failed.definition_hash,
                aggregate_types=failed.aggregate_types,
                skipped=sum(row.skipped for row in shards),
                error=failed.error,
                run=failed.run,
                shards=[
                    ShardStatus(shard=s.shard, checkpoint=s.checkpoint, head=s.head, lag=s.lag, error=s.error)
                    for s in shards
                ],
            )
        )
    return projections
