"""Verifies the log in place: SQL does the work, in ranges of commits, on two connections.

A range depends on nothing but the row of the commit before it. So ranges can be verified in any order, and a
verification that was interrupted continues from the last checkpoint that it reached.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias

import asyncpg

from foldbook.audit.guards import missing_guards
from foldbook.audit.report import (
    AuditError,
    Checkpoint,
    Finding,
    Report,
    ShardReport,
    check_belongs,
    compare_with_anchors,
    report_on,
)
from foldbook.postgres.calls import call
from foldbook.postgres.connection import connect, create_pool

CONNECTIONS = 2
ROWS_PER_RANGE = 6_000
"""Events and commands in a range, roughly: a tenth of a second, and few enough to stay in the processor's cache."""
RANGE_TIMEOUT_S = 3_600.0

_CHECKPOINTS = call("audit.checkpoints", 0)
_CHECKPOINT_AT = call("audit.checkpoint_at", 2)
_SUMMARIZE = call("audit.summarize_commands", 0)
_VERIFY_COMMITS = call("audit.verify_commits", 3)
_VERIFY_ENDS = call("audit.verify_ends", 1)

Progress = Callable[[Checkpoint, Checkpoint], None]
"""Called with a checkpoint up to which all is well, and with the head, the checkpoint to reach."""
Pool: TypeAlias = "asyncpg.Pool[Any]"
Connection: TypeAlias = "asyncpg.Connection[Any]"


async def verify(
    dsn: str,
    *,
    shard: int | None = None,
    verified: Sequence[Checkpoint] = (),
    anchors: Sequence[Checkpoint] = (),
    on_progress: Progress | None = None,
    compares_code: bool = True,
) -> Report:
    """Verify all shards, or one, up to where they are now; writers go on meanwhile. ``compares_code``: with the
    program's, for which a server of its own may be started.

    ``verified``: checkpoints that an earlier verification reached; this one continues from there, if they still hold.
    ``anchors``: checkpoints that were kept elsewhere, to compare with. On each shard, verification stops at the first
    bad range of commits. Raises :class:`AuditError` for checkpoints of another log.
    """
    pool = await create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS)
    try:
        heads = await checkpoints(pool)
        log_id = heads[0].log_id
        for what, given in (("progress", verified), ("anchor", anchors)):
            for checkpoint in given:
                check_belongs(checkpoint, heads, what)
        await pool.execute(_SUMMARIZE, timeout=RANGE_TIMEOUT_S)
        reports = [
            await _verify_shard(pool, head, _of(verified, head), _of(anchors, head), on_progress)
            for head in heads
            if shard in (None, head.shard)
        ]
        missing = await asyncio.to_thread(missing_guards, dsn) if compares_code else []
    finally:
        pool.terminate()
    if not reports:
        raise AuditError(f"this log has no shard {shard}: its shards are 0 to {len(heads) - 1}")
    is_ok = all(r.ok for r in reports) and not missing
    return Report(log_id=log_id, ok=is_ok, shards=reports, missing_guards=[each.guard for each in missing])


async def current_checkpoints(dsn: str) -> list[Checkpoint]:
    """How far each shard is now, unverified. Raises :class:`AuditError`."""
    connection = await connect(dsn)
    try:
        return await checkpoints(connection)
    finally:
        await connection.close()


async def checkpoints(connection: Pool | Connection) -> list[Checkpoint]:
    """How far each shard is now. Raises :class:`AuditError` for a database without a log of this program's version."""
    try:
        rows = await connection.fetch(_CHECKPOINTS)
    except (asyncpg.UndefinedFunctionError, asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise AuditError(f"this database has no log of this version: run `foldbook migrate` ({error})") from error
    if not rows:
        raise AuditError("the log has lost its identity: eventstore.log_info is empty")
    return [Checkpoint(**{**row, "hash": row["hash"].hex()}) for row in rows]


async def _verify_shard(
    pool: Pool,
    head: Checkpoint,
    verified: Sequence[Checkpoint],
    anchors: Sequence[Checkpoint],
    on_progress: Progress | None,
) -> ShardReport:
    findings = await _compare(pool, head, (*anchors, *verified))
    begin = max((c.commits for c in verified), default=0) if not findings else 0
    async for last, found in _in_order(pool, head, begin):
        if found:
            findings += found
            break
        if on_progress is not None:
            on_progress(await _reached(pool, head, last), head)
    ends = await pool.fetch(_VERIFY_ENDS, head.shard, timeout=RANGE_TIMEOUT_S)
    return report_on(head, [*findings, *(Finding(head.shard, *row) for row in ends)])


async def _in_order(pool: Pool, head: Checkpoint, begin: int) -> AsyncIterator[tuple[int, list[Finding]]]:
    """The last commit of each range, in order, and the range's findings. As many ranges are verified at once as there
    are connections."""
    tasks: deque[tuple[int, asyncio.Task[list[Finding]]]] = deque()
    ranges = _ranges(head, begin)
    try:
        while True:
            for first, last in ranges:
                tasks.append((last, asyncio.create_task(_verify_commits(pool, head.shard, first, last))))
                if len(tasks) > CONNECTIONS:
                    break
            if not tasks:
                return
            last, task = tasks.popleft()
            yield last, await task
    finally:
        for _, task in tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in tasks), return_exceptions=True)


def _ranges(head: Checkpoint, begin: int) -> Iterator[tuple[int, int]]:
    """(first, last) commit of each range after ``begin``, sized by the average number of rows in this log's commits."""
    rows_per_commit = 1 + head.events // max(head.commits, 1)
    size = max(1, ROWS_PER_RANGE // rows_per_commit)
    for first in range(begin + 1, head.commits + 1, size):
        yield first, min(first + size - 1, head.commits)


async def _verify_commits(pool: Pool, shard: int, first: int, last: int) -> list[Finding]:
    rows = await pool.fetch(_VERIFY_COMMITS, shard, first, last, timeout=RANGE_TIMEOUT_S)
    return [Finding(shard, *row) for row in rows]


async def _compare(pool: Pool, head: Checkpoint, checkpoints: Sequence[Checkpoint]) -> list[Finding]:
    pairs = []
    for checkpoint in checkpoints:
        row = await pool.fetchrow(_CHECKPOINT_AT, checkpoint.shard, checkpoint.commits)
        pairs.append((checkpoint, row and row["hash"].hex()))
    return compare_with_anchors(head, pairs)


async def _reached(pool: Pool, head: Checkpoint, commits: int) -> Checkpoint:
    row = await pool.fetchrow(_CHECKPOINT_AT, head.shard, commits)
    assert row is not None, "a commit that was verified a moment ago"
    return Checkpoint(
        log_id=head.log_id, shard=head.shard, commits=commits, events=row["events"], hash=row["hash"].hex()
    )


def _of(checkpoints: Sequence[Checkpoint], head: Checkpoint) -> list[Checkpoint]:
    return [c for c in checkpoints if c.shard == head.shard]
