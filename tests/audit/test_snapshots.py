"""A snapshot that is not what the log folds to is found, whoever wrote it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from foldbook.audit import snapshots
from foldbook.audit.report import SnapshotReport
from foldbook.audit.snapshots import verify_snapshots
from foldbook.errors import StoreUnavailable
from foldbook.eventstore import replay
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import Replay
from foldbook.eventstore.states.codec import codec_of
from foldbook.eventstore.store import Snapshot
from foldbook.postgres.connection import UNREACHABLE
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK
from tests.builders import key, open_account, place

ACCOUNTS = ("a/x/live", "b/x/live", "c/x/live")
CODEC = codec_of(ORDER_BOOK)


async def take_snapshots(dsn: str) -> None:
    """One of each account."""
    store = PostgresStore(as_role(dsn, ENGINE))
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(snapshot_every=3))
    await bus.start()
    for account in ACCOUNTS:
        await bus.execute(open_account(account))
        for n in range(4):
            await bus.execute(place(f"o-{n}", account=account))
    await bus.stop()
    await store.close()


@pytest.fixture
async def snapped(database: str) -> str:
    """A database with a snapshot of each account."""
    await take_snapshots(database)
    return database


async def verified(dsn: str) -> SnapshotReport:
    return await verify_snapshots(as_role(dsn, AUDITOR), [ORDER_BOOK])


async def test_every_snapshot_is_what_the_log_folds_to(snapped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PAGE_EVENTS", 2)
    assert await verified(snapped) == SnapshotReport(same=3, ignored=0, findings=[])


async def test_one_that_an_engine_wrote_falsely_is_found(snapped: str) -> None:
    store = PostgresStore(as_role(snapped, ENGINE))
    (found,) = await store.read_snapshots(0, [(key(ACCOUNTS[1]), CODEC.fingerprint)])
    false = CODEC.encode(ORDER_BOOK.fold([]))
    await store.write_snapshot(0, Snapshot(key(ACCOUNTS[1]), found.sequence + 1, CODEC.fingerprint, false))
    await store.close()
    report = await verified(snapped)
    assert (report.same, report.ignored) == (2, 0)
    assert [(f.problem, ACCOUNTS[1] in f.detail) for f in report.findings] == [("snapshot-state", True)]


async def test_one_that_was_edited_is_found(snapped: str) -> None:
    with psycopg.connect(snapped) as owner:
        owner.execute(
            "update eventstore.snapshots set state = state || '{\"a\": 1}' where aggregate_id = %s", ACCOUNTS[:1]
        )
    report = await verified(snapped)
    assert [f.problem for f in report.findings] == ["snapshot-seal"]


async def test_one_that_nothing_would_use_is_counted(snapped: str) -> None:
    store = PostgresStore(as_role(snapped, ENGINE))
    await store.write_snapshot(0, Snapshot(key(ACCOUNTS[0]), 5, "of an earlier program", b"{}"))
    await store.close()
    assert await verified(snapped) == SnapshotReport(same=2, ignored=1, findings=[])
    assert await verify_snapshots(snapped, []) == SnapshotReport(same=0, ignored=3, findings=[])


async def test_what_is_reported_is_bounded(snapped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "FINDINGS_MAX", 2)
    with psycopg.connect(snapped) as owner:
        owner.execute("update eventstore.snapshots set hash = sha256('')")
    assert len((await verified(snapped)).findings) == 2


@pytest.mark.parametrize("is_started_again", [False, True])
async def test_a_server_that_goes_away_meanwhile_is_no_finding(
    own_postgres: EmbeddedPostgres, is_started_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take_snapshots(own_postgres.dsn)
    folded: list[Replay[Any]] = []

    async def interrupted(*arguments: Any, **options: Any) -> Replay[Any]:
        if folded:
            await asyncio.to_thread(own_postgres.stop)
            if is_started_again:
                await asyncio.to_thread(own_postgres.start)
        folded.append(await replay.replay(*arguments, **options))
        return folded[-1]

    monkeypatch.setattr(snapshots, "replay", interrupted)
    with pytest.raises((StoreUnavailable, *UNREACHABLE)):
        await verified(own_postgres.dsn)
    assert folded


@pytest.mark.parametrize("what", ["revoke select on eventstore.log from foldbook_auditor", "drop function read_log"])
async def test_a_database_that_cannot_be_read_is_no_finding(snapped: str, what: str) -> None:
    """Not one for each snapshot: the comparison of its code tells of it."""
    with psycopg.connect(snapped) as owner:
        owner.execute("set search_path to eventstore")
        owner.execute(what.encode())
    with pytest.raises(StoreUnavailable, match="doctor"):
        await verified(snapped)
