"""The engine's database as a command finds it: running or not, migrated or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

from foldbook.config import Settings
from foldbook.engine.lock import lock, running_on
from foldbook.errors import LogMismatch, StoreUnavailable
from foldbook.postgres import blocking
from foldbook.postgres.embedded import EmbeddedPostgres

_NOT_MIGRATED = (
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedTable,
    psycopg.errors.InsufficientPrivilege,  # migrated by a version that gave the auditor fewer rights
)


class LogFacts(NamedTuple):
    """``revision`` of the tables; ``events`` in all shards."""

    revision: str
    log_id: str
    shard_count: int
    events: int


@contextlib.contextmanager
def running_database(settings: Settings) -> Iterator[None]:
    """Ensure that the embedded PostgreSQL runs: the engine's if there is one, else one for the duration of the block.

    Leaves a database elsewhere alone. Raises ``AlreadyRunning`` if an engine starts at the same moment, and
    ``EmbeddedPostgresError``.
    """
    if not settings.is_embedded or running_on(settings.data_dir):
        yield
        return
    with lock(settings.data_dir, settings.url):
        server = EmbeddedPostgres(settings.data_dir)
        server.start()
        try:
            yield
        finally:
            server.stop()


def connect(settings: Settings) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection of an auditor, who only reads: whatever the engine may have planted in its schemas can do no more.
    Raises ``psycopg.OperationalError``, and ``SessionRefused`` if the database does not give such a session."""
    return blocking.connect(settings.auditor_dsn)


def log_facts(connection: psycopg.Connection[tuple[Any, ...]]) -> LogFacts | None:
    """What the database says about its log; None if it was not migrated to this version."""
    try:
        row = connection.execute("select * from eventstore.log_facts()").fetchone()
    except _NOT_MIGRATED:
        return None
    return None if row is None else LogFacts(*row)


def require_log(settings: Settings) -> None:
    """Raises ``StoreUnavailable`` if the database cannot be reached, and ``LogMismatch`` if it was not migrated, or has
    a log with another number of shards than the settings say."""
    try:
        with connect(settings) as connection:
            facts = log_facts(connection)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the database can't be reached: {str(error).strip()}") from error
    if facts is None:
        raise LogMismatch("this version's log is not in the database: run `foldbook migrate`")
    if facts.shard_count != settings.shards:
        raise LogMismatch.of_shards(facts.shard_count, settings.shards)
