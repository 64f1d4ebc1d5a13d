"""Writes the log, up to its head when the export begins, to files that can be verified without a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import msgspec

from foldbook.audit.files import FILE_NAMES, FORMAT, ROWS_PER_BATCH, Format, Manifest, write_manifest, write_rows
from foldbook.audit.report import AuditError, Checkpoint
from foldbook.audit.rows import NULL, CommandRow, CommitRow, EventRow, Row
from foldbook.audit.verify import checkpoints
from foldbook.postgres.calls import call
from foldbook.postgres.connection import connect

BATCH_TIMEOUT_S = 600.0

_SUMMARIZE = call("audit.summarize_commands", 0)
_COMMITS = call("audit.export_commits", 3)
_COMMANDS = call("audit.export_commands", 3)
_EVENTS = call("audit.export_events", 3)

Progress = Callable[[int, int, int], None]
"""Called with a shard, how many of its events are written, and how many there are."""
Connection: TypeAlias = "asyncpg.Connection[Any]"


async def export(dsn: str, folder: Path, rows: Format, *, on_progress: Progress | None = None) -> Manifest:
    """Export all shards into ``folder``, which must be empty or not exist yet; writers go on meanwhile.

    Raises :class:`AuditError`.
    """
    _make_empty(folder)
    connection = await connect(dsn)
    try:
        heads = await checkpoints(connection)
        await connection.execute(_SUMMARIZE, timeout=BATCH_TIMEOUT_S)
        for head in heads:
            await _export_shard(connection, folder, rows, head, on_progress)
    finally:
        await connection.close()
    manifest = Manifest(format=FORMAT, rows=rows, exported_at=datetime.now(UTC), shards=heads)
    write_manifest(folder, manifest)
    return manifest


async def _export_shard(
    connection: Connection, folder: Path, rows: Format, head: Checkpoint, on_progress: Progress | None
) -> None:
    async def copy(row_type: type[Row], question: str, end: int, per_batch: int, make: Callable[..., Row]) -> None:
        with write_rows(folder, rows, row_type, head.shard) as writer:
            for after, to in _ranges(end, per_batch):
                try:
                    found = await connection.fetch(question, head.shard, after, to, timeout=BATCH_TIMEOUT_S)
                except OverflowError as error:
                    where = f"shard {head.shard}, {FILE_NAMES[row_type]} after {after}"
                    raise AuditError(f"{where}: there is a time outside of the years 1 to 9999") from error
                writer.write([make(*row) for row in found])
                if row_type is EventRow and on_progress is not None:
                    on_progress(head.shard, to, end)

    commits_per_batch = max(1, ROWS_PER_BATCH * head.commits // max(head.events, head.commits, 1))
    await copy(CommitRow, _COMMITS, head.commits, ROWS_PER_BATCH, CommitRow)
    await copy(CommandRow, _COMMANDS, head.commits, commits_per_batch, command_row)
    await copy(EventRow, _EVENTS, head.events, ROWS_PER_BATCH, event_row)


def _make_empty(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise AuditError(f"{folder} is not empty: an export needs an empty folder")


def _ranges(end: int, size: int) -> Iterator[tuple[int, int]]:
    """(after, to] from 0 to ``end``."""
    for after in range(0, end, size):
        yield after, min(after + size, end)


def command_row(*row: Any) -> CommandRow:
    """A row of ``audit.export_commands``, its JSON as bytes."""
    shard, command_id, kind, aggregate_id, name, fingerprint, actor, outcome, reason, *rest = row
    leading = (shard, command_id, kind, aggregate_id, name, fingerprint, actor, outcome)
    return CommandRow(*leading, msgspec.Raw(NULL if reason is None else reason), *rest)


def event_row(*row: Any) -> EventRow:
    """A row of ``audit.export_events``, its JSON as bytes."""
    shard, position, kind, aggregate_id, sequence, name, version, subject, command_id, payload, metadata, *rest = row
    leading = (shard, position, kind, aggregate_id, sequence, name, version, subject, command_id)
    return EventRow(*leading, msgspec.Raw(payload), msgspec.Raw(metadata), *rest)
