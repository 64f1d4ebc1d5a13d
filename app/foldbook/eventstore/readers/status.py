"""The status of projections, which the database keeps, so that every process can see it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from foldbook.errors import ProjectionError
from foldbook.postgres.calls import call
from foldbook.postgres.connection import COMMAND_TIMEOUT_S, Connection

_STATUS = call("eventstore.projection_status", 1)


class Run(msgspec.Struct, frozen=True):
    """The last reset, rebuild or verification. ``state``: running, finished, failed; interrupted: its process died."""

    kind: str
    state: str
    events_done: int
    events_total: int
    events_per_second: int
    started_at: datetime
    eta_seconds: float | None = None
    finished_at: datetime | None = None
    error: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """The event that a projection stopped at, and why. It is tried again at growing intervals. ``events``: how many the
    round had that failed; of several, none is to blame, and the next round takes half as many."""

    position: int
    sqlstate: str
    message: str
    attempts: int
    since: datetime
    events: int = 1


class ProjectionStatus(msgspec.Struct, frozen=True):
    """One projection on one shard. ``state``: live, slow (its rounds take too long and are made smaller), failed,
    resetting, or rebuilding, while its old tables serve. ``aggregate_types``: those whose events it folds.
    ``skipped``: how many events an operator had it skip."""

    name: str
    shard: int
    checkpoint: int
    head: int
    lag: int
    state: str
    definition_hash: str
    aggregate_types: list[str]
    skipped: int
    error: Failure | None
    run: Run | None


async def projection_status(connection: Connection, name: str | None = None) -> list[ProjectionStatus]:
    """One element per projection and shard. Raises ``ProjectionError`` if there is no projection of that name."""
    rows = await connection.fetch(_STATUS, name, timeout=COMMAND_TIMEOUT_S)
    if name is not None and not rows:
        raise unknown(name)
    return [
        ProjectionStatus(
            **{
                **row,
                "error": row["error"] and msgspec.json.decode(row["error"], type=Failure),
                "run": row["run"] and msgspec.json.decode(row["run"], type=Run),
            }
        )
        for row in rows
    ]


def unknown(name: str) -> ProjectionError:
    return ProjectionError("unknown-projection", f"there is no projection {name!r}")
