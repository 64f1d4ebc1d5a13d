"""Verifying a log in place: while others write, in pieces, over HTTP and from the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from foldbook.audit import resume
from foldbook.audit import verify as verification
from foldbook.audit.export import export
from foldbook.audit.files import Format
from foldbook.audit.offline import verify_export
from foldbook.audit.report import AuditError, Checkpoint
from foldbook.audit.verify import verify
from foldbook.cli import progress
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Fate
from foldbook.trading.book import ORDER_BOOK
from tests.api.conftest import assert_problem, serving, settings_for
from tests.audit.conftest import as_superuser
from tests.audit.ledger import ALICE, BOB, COMMITS, EVENTS, tamper
from tests.builders import cancel, created, open_account, place
from tests.conftest import Postgres, prepare
from tests.eventstore.test_store_contract import propose
from tests.machinery.cli import foldbook

EDIT = "update eventstore.events set payload = '{}' where position = 17"


def edit(postgres: Postgres, dsn: str) -> None:
    with psycopg.connect(as_superuser(postgres, dsn)) as superuser:
        tamper(superuser, EDIT)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit each, so that the ledger has many."""
    monkeypatch.setattr(verification, "ROWS_PER_RANGE", 1)


async def test_a_log_that_is_well(shared_ledger: str) -> None:
    report = await verify(shared_ledger)
    assert report.ok
    assert [(s.shard, s.events, s.commits, s.first_bad_position) for s in report.shards] == [(0, EVENTS, COMMITS, None)]


async def test_a_log_that_was_edited(ledger: str, postgres: Postgres) -> None:
    edit(postgres, ledger)
    (shard,) = (await verify(ledger)).shards
    assert (shard.ok, shard.first_bad_position) == (False, 17)


async def test_it_reports_its_progress(shared_ledger: str, small_ranges: None) -> None:
    told: list[Checkpoint] = []
    await verify(shared_ledger, on_progress=lambda reached, head: told.append(reached))
    assert [checkpoint.commits for checkpoint in told] == list(range(1, COMMITS + 1))
    assert (told[4].events, told[-1].events) == (18, EVENTS)


async def test_it_stops_where_it_is_bad(ledger: str, postgres: Postgres, small_ranges: None) -> None:
    edit(postgres, ledger)
    told: list[int] = []
    await verify(ledger, on_progress=lambda reached, head: told.append(reached.commits))
    assert told == [1, 2, 3, 4]


async def test_it_goes_on_from_where_it_was(shared_ledger: str, small_ranges: None) -> None:
    told: list[Checkpoint] = []
    await verify(shared_ledger, on_progress=lambda reached, head: told.append(reached))
    again: list[int] = []
    report = await verify(
        shared_ledger, verified=[told[7]], on_progress=lambda reached, head: again.append(reached.commits)
    )
    assert report.ok
    assert again == [9, 10, 11, 12]


async def test_it_does_not_go_on_from_what_was_rewritten(ledger: str, postgres: Postgres, small_ranges: None) -> None:
    told: list[Checkpoint] = []
    await verify(ledger, on_progress=lambda reached, head: told.append(reached))
    with psycopg.connect(as_superuser(postgres, ledger)) as superuser:
        tamper(superuser, EDIT, rehash_events=[17], rehash_commits=range(5, COMMITS + 1))
    (shard,) = (await verify(ledger, verified=[told[7]])).shards
    assert [(f.problem, f.commit) for f in shard.findings] == [("log-rewritten", 8)]


async def test_writers_go_on_meanwhile(database: str, small_ranges: None) -> None:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    await bus.execute(open_account())
    for n in range(20):
        await bus.execute(place(f"o-{n}"))

    async def write() -> None:
        for n in range(20, 60):
            await bus.execute(place(f"o-{n}"))

    writing = asyncio.create_task(write())
    while not writing.done():
        report = await verify(database)
        assert report.ok
        assert report.shards[0].events >= 21
    await writing
    await bus.stop()
    await store.close()
    assert (await verify(database)).shards[0].events == 61


async def test_what_is_under_way_at_once_is_sealed(database: str) -> None:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    accounts = [f"user-{n}/binance/simulated" for n in range(5)]
    await asyncio.gather(*(bus.execute(open_account(account)) for account in accounts))
    commands = [place(f"o-{n // 7}", accounts[n % 5]) for n in range(300)]
    await asyncio.gather(*(bus.execute(command) for command in commands), return_exceptions=True)
    await bus.stop()
    await store.close()
    report = await verify(database)
    assert report.ok
    assert report.shards[0].commits < report.shards[0].events, "some commits have several events"


async def test_every_shard(empty_database: str) -> None:
    prepare(empty_database, shard_count=3)
    store = PostgresStore(empty_database)
    bus = CommandBus(store, ORDER_BOOK, shard_count=3)
    await bus.start()
    for n in range(12):
        await bus.execute(open_account(f"user-{n}/binance/simulated"))
    await bus.stop()
    await store.close()
    report = await verify(empty_database)
    assert report.ok
    assert sum(shard.events for shard in report.shards) == 12
    assert [shard.shard for shard in (await verify(empty_database, shard=2)).shards] == [2]
    with pytest.raises(AuditError, match="no shard 3"):
        await verify(empty_database, shard=3)


async def test_a_database_without_a_log(empty_database: str) -> None:
    with pytest.raises(AuditError, match="foldbook migrate"):
        await verify(empty_database)


async def test_over_http(ledger: str, postgres: Postgres) -> None:
    async with serving(settings_for(ledger)) as engine:
        answer = await engine.get("/admin/log/verify")
        assert (answer["ok"], answer["events"], answer["first_bad_position"]) == (True, EVENTS, None)
        assert answer["head_hash"] == (await verify(ledger)).shards[0].head_hash
        edit(postgres, ledger)
        answer = await engine.get("/admin/log/verify", shard=0)
        assert (answer["ok"], answer["first_bad_position"]) == (False, 17)
        assert_problem(await engine.client.get("/admin/log/verify?shard=1"), 400, "malformed", field="shard")


def test_how_far_it_is_is_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "resume.json"
    log_id = UUID(int=1)
    reached = [Checkpoint(log_id=log_id, shard=n % 2, commits=n, events=n, hash="00") for n in range(4)]
    assert resume.read(path) == []
    for checkpoint in reached:
        resume.write(path, checkpoint)
    assert resume.read(path) == reached[2:]
    path.write_text("none")
    with pytest.raises(AuditError, match="remove it"):
        resume.read(path)


def test_progress_is_plain_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0)
    with progress.ProgressDisplay("verified") as display:
        display.show(0, 18, 39)
        display.show(0, 39, 39)
    assert capsys.readouterr().err == (
        "foldbook: shard 0: 18 of 39 events verified\nfoldbook: shard 0: 39 of 39 events verified\n"
    )


# -- the command line ------------------------------------------------------------------------------------------------


def test_an_auditor_s_evening(ledger: str, postgres: Postgres, tmp_path: Path) -> None:
    def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
        return foldbook("audit", *arguments, DATABASE_URL=ledger, FOLDBOOK_DATA_DIR=str(tmp_path))

    anchors, folder, place_file = (str(tmp_path / name) for name in ("anchors.ndjson", "export", "resume.json"))
    assert audit("anchor", anchors).returncode == 0
    line = json.loads(audit("anchor").stdout)
    assert (line["commits"], line["events"]) == (COMMITS, EVENTS)
    assert audit("export", folder).returncode == 0

    done = audit("verify", "--anchor", anchors, "--resume", place_file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"shard 0: ok; {EVENTS} events, {COMMITS} commits, head {line['hash']}")
    assert not Path(place_file).exists()

    edit(postgres, ledger)
    done = audit("verify", "--json", "--anchor", anchors)
    assert done.returncode == 5
    assert json.loads(done.stdout)["shards"][0]["first_bad_position"] == 17
    done = audit("verify", "--export", folder, "--anchor", anchors)
    assert (done.returncode, done.stdout.split(";")[0]) == (0, "shard 0: ok")


def test_a_wrong_anchor_file(tmp_path: Path) -> None:
    (tmp_path / "anchors").write_text("none")
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere", "FOLDBOOK_DATA_DIR": str(tmp_path)}
    done = foldbook("audit", "verify", "--anchor", str(tmp_path / "anchors"), **nowhere)
    assert done.returncode == 1
    assert "anchor.key.pub is missing" in done.stderr


@pytest.mark.parametrize("turn", [1, -1])
async def test_commands_of_several_accounts_may_have_one_id(ledger: str, tmp_path: Path, turn: int) -> None:
    """With events and without, in one commit, in either order: in place, and in an export."""
    placed, refused = place("same", ALICE), cancel("none", ALICE)
    same_ids = [
        propose(placed, (created("same"),)),
        propose(place("same", BOB, command_id=placed.command_id), (created("same"),)),
        propose(refused, reason=b'{"code":"unknown-order"}'),
        propose(cancel("none", BOB, command_id=refused.command_id), reason=b'{"code":"unknown-order"}'),
    ][::turn]
    store = PostgresStore(ledger)
    verdicts = await store.append(0, same_ids)
    await store.close()
    assert {verdict.fate for verdict in verdicts} == {Fate.APPENDED}
    report = await verify(ledger)
    assert (report.ok, report.shards[0].findings) == (True, [])
    await export(ledger, tmp_path / "export", Format.NDJSON)
    assert verify_export(tmp_path / "export").shards == report.shards
