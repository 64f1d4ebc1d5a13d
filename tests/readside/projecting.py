"""Projectors, and waiting for what they must come to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

import psycopg

from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.runner import ProjectionRunner
from foldbook.eventstore.readers.status import ProjectionStatus
from foldbook.resources import projection_files
from tests.waiting import until

DEFINITIONS = [Definition.read(path) for path in projection_files()]
NAMES = [definition.name for definition in DEFINITIONS]


@asynccontextmanager
async def administering(dsn: str, definitions: Sequence[Definition] = DEFINITIONS) -> AsyncIterator[ProjectionAdmin]:
    admin = ProjectionAdmin(dsn, definitions)
    try:
        yield admin
    finally:
        await admin.stop()


@asynccontextmanager
async def projecting(dsn: str, definitions: Sequence[Definition] = DEFINITIONS) -> AsyncIterator[ProjectionRunner]:
    async with administering(dsn, definitions) as admin:
        runner = ProjectionRunner(dsn, definitions, admin.rebuild)
        await runner.start()
        try:
            yield runner
        finally:
            await runner.stop()


async def caught_up(dsn: str, names: Sequence[str] = NAMES) -> None:
    """Wait until these projections have reached the head."""
    async with administering(dsn) as admin:

        async def no_lag() -> bool:
            return all(status.lag == 0 for status in await admin.status() if status.name in names)

        await until(no_lag)


async def status_of(dsn: str, name: str) -> ProjectionStatus:
    async with administering(dsn) as admin:
        (status,) = await admin.status(name)
        return status


MAY_BE_EMPTY = ("settings",)
"""Orders and fills change nothing here."""


async def assert_equal_to_fresh_folds(dsn: str, names: Sequence[str] = NAMES) -> None:
    async with administering(dsn) as admin:
        for name in names:
            found = await admin.verify(name)
            assert found.equal, f"{name}: {bytes(found.differences).decode()}"
            assert found.rows > 0 or name in MAY_BE_EMPTY, f"{name} is empty"


@contextmanager
def connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


async def waiting_for_a_lock(dsn: str, statement: str, *, is_afresh: bool = False) -> int:
    """Wait until a session waits for a lock in ``statement`` (a LIKE pattern); its backend's process id. ``is_afresh``:
    in one that began after this call."""
    began = _clock(dsn)
    found: list[int] = []

    async def waits() -> bool:
        found.extend(pid for pid, at in _waiting(dsn, statement) if not is_afresh or at > began)
        return bool(found)

    await until(waits)
    return found[0]


async def waiting_for_no_lock(dsn: str, statement: str) -> None:
    """Wait until no session waits for a lock in ``statement``: that of a killed process goes on for a moment."""

    async def is_over() -> bool:
        return not _waiting(dsn, statement)

    await until(is_over)


def _clock(dsn: str) -> datetime:
    with connected(dsn) as connection:
        (now,) = connection.execute("select clock_timestamp()").fetchone() or (None,)
    assert isinstance(now, datetime)
    return now


def _waiting(dsn: str, statement: str) -> list[tuple[int, datetime]]:
    with connected(dsn) as connection:
        return connection.execute(
            "select pid, query_start from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock' and query like %s",
            [statement],
        ).fetchall()
