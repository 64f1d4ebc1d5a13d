"""Is every snapshot what the log folds to? Each is folded anew from the first event, and compared.

A snapshot is what an engine's process says that the state was: its seal shows that nobody has changed it since, and
that the log is the one it was folded from, but not that the state is right. Of the log, a page is in memory at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import asyncpg
import msgspec

from foldbook.audit.report import Finding, SnapshotReport, one_line
from foldbook.audit.verify import RANGE_TIMEOUT_S, checkpoints
from foldbook.errors import UnknownEvent, UnreadableEvent
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import replay
from foldbook.eventstore.states.codec import StateCodec, codec_of
from foldbook.postgres.calls import call
from foldbook.postgres.connection import Connection, connect

FINDINGS_MAX = 100
"""Reported; there may be more."""

_NEXT = call("audit.next_snapshot", 3)


class _Snapshot(msgspec.Struct, frozen=True):
    aggregate_type: str
    aggregate_id: str
    sequence: int
    position: int
    commit: int
    fingerprint: str
    is_sealed: bool
    state: bytes


class _Unused(Exception):
    """No process of this program would use the snapshot."""


async def verify_snapshots(dsn: str, deciders: Iterable[Decider[Any]]) -> SnapshotReport:
    """Verify the snapshots of all shards; writers go on meanwhile.

    Raises :class:`AuditError`, and ``StoreUnavailable`` if the events cannot be read now.
    """
    folding = {decider.name: (decider, codec_of(decider)) for decider in deciders}
    connection = await connect(dsn)
    store = PostgresStore(dsn, read_connections_max=1, reads_only=True)
    same, ignored, findings = 0, 0, list[Finding]()
    try:
        for head in await checkpoints(connection):
            async for snapshot in _snapshots(connection, head.shard):
                try:
                    problem = await _problem(store, head.shard, snapshot, folding)
                except _Unused:
                    ignored += 1
                    continue
                same += problem is None
                if problem is not None and len(findings) < FINDINGS_MAX:
                    findings.append(Finding(head.shard, snapshot.position, snapshot.commit, *problem))
    finally:
        await store.close()
        await connection.close()
    return SnapshotReport(same=same, ignored=ignored, findings=findings)


async def _snapshots(connection: Connection, shard: int) -> AsyncIterator[_Snapshot]:
    """One after the other, since each may be large."""
    after = ("", "")
    while (row := await connection.fetchrow(_NEXT, shard, *after, timeout=RANGE_TIMEOUT_S)) is not None:
        snapshot = _Snapshot(*row)
        yield snapshot
        after = (snapshot.aggregate_id, snapshot.aggregate_type)


async def _problem(
    store: PostgresStore, shard: int, snapshot: _Snapshot, folding: Mapping[str, tuple[Decider[Any], StateCodec[Any]]]
) -> tuple[str, str] | None:
    """What is wrong with a snapshot, and the detail."""
    account = snapshot.aggregate_id
    if not snapshot.is_sealed:
        return "snapshot-seal", f"that of {account} was changed, or the log has lost commit {snapshot.commit}"
    if snapshot.aggregate_type not in folding:
        raise _Unused
    decider, codec = folding[snapshot.aggregate_type]
    if codec.fingerprint != snapshot.fingerprint:
        raise _Unused
    try:
        folded = await replay(store, decider, shard, account, to_position=snapshot.position)
    except (UnknownEvent, UnreadableEvent, asyncpg.PostgresError) as error:  # The last: an upcaster refuses it.
        return "snapshot-unread", one_line(f"the events of {account} cannot be folded: {error}")
    if folded.sequence == snapshot.sequence and _is_same(snapshot.state, folded.state_json):
        return None
    return "snapshot-state", f"that of {account} at sequence {snapshot.sequence} is not what its events fold to"


def _is_same(kept: bytes, folded: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(kept) == msgspec.json.decode(folded))
    except (msgspec.DecodeError, RecursionError):  # Only what is kept can be anything.
        return False
