"""A replica is verified, exported and asked like its primary; what writes says that it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from foldbook.audit.export import export
from foldbook.audit.files import Format
from foldbook.audit.offline import verify_export
from foldbook.audit.orders import order_differences
from foldbook.audit.report import SnapshotReport
from foldbook.audit.snapshots import verify_snapshots
from foldbook.audit.verify import current_checkpoints, verify
from foldbook.cli.exits import Exit
from foldbook.config import Settings
from foldbook.engine.doctor.examine import examine
from foldbook.errors import ProjectionError, StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK
from tests.audit.ledger import ALICE, write_ledger
from tests.builders import place
from tests.conftest import prepare
from tests.machinery.cli import foldbook
from tests.machinery.servers import MAJORS, Server, servers
from tests.readside.projecting import administering
from tests.waiting import block_until


async def take_a_snapshot(dsn: str) -> None:
    store = PostgresStore(as_role(dsn, ENGINE))
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(snapshot_every=1))
    await bus.start()
    await bus.execute(place("a-snapped", account=ALICE))
    await bus.stop()
    await store.close()


@pytest.fixture(scope="module", params=MAJORS)
def standby(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Of a primary whose log has grown since its commands were summarized."""
    with servers(request.param) as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        asyncio.run(write_ledger(primary.dsn))
        asyncio.run(take_a_snapshot(primary.dsn))
        with psycopg.connect(primary.dsn) as connection:  # a rebuild that goes on elsewhere
            connection.execute("select eventstore.projection_begin('fills', 'rebuild')")
        replica = rack.replica(primary)
        block_until(lambda: replica.has_replayed(primary))
        yield replica


@pytest.fixture(scope="module")
def anchored(standby: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an anchor of the replica's log, and its key."""
    folder = tmp_path_factory.mktemp("anchored")
    done = foldbook("audit", "anchor", str(folder / "anchors"), "--key", str(folder / "key"), DATABASE_URL=standby.dsn)
    assert done.returncode == Exit.DONE, done.stderr
    return folder


async def test_it_is_verified(standby: Server) -> None:
    report = await verify(as_role(standby.dsn, AUDITOR))
    assert report.ok and report.shards[0].events > 0
    assert await verify_snapshots(as_role(standby.dsn, AUDITOR), [ORDER_BOOK]) == SnapshotReport(
        same=1, ignored=0, findings=[]
    )
    assert await order_differences(as_role(standby.dsn, AUDITOR)) == []


async def test_it_is_exported(standby: Server, tmp_path: Path) -> None:
    dsn = as_role(standby.dsn, AUDITOR)
    await export(dsn, tmp_path / "export", Format.NDJSON)
    report = verify_export(tmp_path / "export")
    (head,) = await current_checkpoints(dsn)
    assert report.ok and report.shards[0].head_hash == head.hash


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("audit verify", Exit.DONE, "snapshots: ok; 1 are what the log folds to"),
        ("audit verify --json", Exit.DONE, '"same": 1'),
        ("audit verify --orders", Exit.DONE, "ok"),
        ("audit verify --anchor {primary}/anchors --key {primary}/key.pub", Exit.DONE, "shard 0: ok"),
        ("audit verify --resume {here}/progress", Exit.DONE, "shard 0: ok"),
        ("audit export {here}/export", Exit.DONE, "40 events"),
        ("audit anchor --key {here}/key", Exit.DONE, '"events":40'),
        ("audit losses", Exit.DONE, "nothing is known to be lost"),
        ("replay {alice}", Exit.DONE, "sequence"),
        ("replay {alice} --at 5 --json", Exit.DONE, '"head": 40'),
        ("keys list", Exit.DONE, ""),
        ("projections list", Exit.DONE, "orders"),
        ("doctor", Exit.UNWELL, "the server is a replica"),
    ],
)
def test_the_command_line_reads_it(
    standby: Server, anchored: Path, tmp_path: Path, arguments: str, code: Exit, told: str
) -> None:
    words = [word.format(primary=anchored, here=tmp_path, alice=ALICE) for word in arguments.split()]
    done = foldbook(*words, DATABASE_URL=standby.dsn, FOLDBOOK_DATA_DIR=str(tmp_path))
    assert done.returncode == code, done.stderr
    assert told in done.stdout
    assert not (tmp_path / "progress").exists()


@pytest.mark.parametrize("arguments", ["keys issue bot --role operator", "projections verify orders"])
def test_a_command_that_writes_says_so(standby: Server, tmp_path: Path, arguments: str) -> None:
    done = foldbook(*arguments.split(), DATABASE_URL=standby.dsn, FOLDBOOK_DATA_DIR=str(tmp_path))
    assert done.returncode in (Exit.FAILED, Exit.UNREACHABLE)
    assert "the server is a replica" in done.stderr


async def test_what_writes_says_so(standby: Server) -> None:
    dsn = as_role(standby.dsn, ENGINE)
    async with administering(dsn) as admin:
        assert {status.state for status in await admin.status() if status.name != "fills"} == {"live"}
        (fills,) = await admin.status("fills")
        assert fills.run is not None and fills.run.state == "running"
        for work in (admin.rebuild, admin.reset, admin.verify):
            with pytest.raises(ProjectionError, match="the server is a replica"):
                await work("orders")
    store = PostgresStore(dsn)
    with pytest.raises(StoreUnavailable, match="replica"):
        await store.prove(0)
    await store.close()


def test_doctor_says_what_it_is(standby: Server) -> None:
    report = examine(Settings(database_url=SecretStr(standby.dsn)))
    assert report.is_reachable
    assert "the server is a replica" in [finding.problem for finding in report.findings]
