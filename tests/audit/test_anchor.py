"""An anchor that is kept elsewhere shows that every hash was rewritten."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import psycopg
import pytest

from foldbook.audit.anchor import encode, public_key, public_key_path, read_anchors, sign, signing_key
from foldbook.audit.export import export
from foldbook.audit.files import Format
from foldbook.audit.offline import verify_export
from foldbook.audit.report import AuditError, Checkpoint, ShardReport
from foldbook.audit.verify import current_checkpoints, verify
from tests.audit.conftest import as_superuser
from tests.audit.ledger import COMMITS, EVENTS, tamper
from tests.conftest import Postgres

CUT_OFF = [
    "delete from eventstore.events where position > 30",
    'delete from eventstore.commands where "commit" > 8',
    "delete from eventstore.commits where number > 8",
]
REWRITE = "update eventstore.events set payload = '{}' where position = 17"


def checkpoint_at(dsn: str, commits: int) -> Checkpoint:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select (select log_id from eventstore.log_info), c.* from audit.checkpoint_at(0, %s) c", [commits]
        ).fetchone()
    assert row is not None
    return Checkpoint(log_id=row[0], shard=0, commits=commits, events=row[1], hash=row[2].hex())


def verified(dsn: str, folder: Path, anchors: list[Checkpoint]) -> ShardReport:
    """In the database and in an export; both say the same."""
    asyncio.run(export(dsn, folder, Format.NDJSON))
    online = asyncio.run(verify(dsn, anchors=anchors)).shards[0]
    assert verify_export(folder, anchors=anchors).shards[0] == online
    return online


def test_a_log_that_is_what_it_was(ledger: str, tmp_path: Path) -> None:
    anchors = [checkpoint_at(ledger, commits) for commits in (1, 5, COMMITS)]
    assert verified(ledger, tmp_path, anchors).ok


def test_a_tail_that_was_cut_off(ledger: str, postgres: Postgres, tmp_path: Path) -> None:
    anchors = asyncio.run(current_checkpoints(ledger))
    with psycopg.connect(as_superuser(postgres, ledger)) as superuser:
        tamper(superuser, *CUT_OFF)
    assert asyncio.run(verify(ledger)).ok, "without an anchor nothing tells"
    report = verified(ledger, tmp_path, anchors)
    assert [(f.problem, f.position) for f in report.findings] == [("tail-missing", 31)]


def test_a_reader_has_seen_the_tail_that_was_cut_off(ledger: str, postgres: Postgres) -> None:
    with psycopg.connect(as_superuser(postgres, ledger)) as superuser:
        superuser.execute("update eventstore.subscriptions set checkpoint = %s where name = 'orders'", [EVENTS])
        tamper(superuser, *CUT_OFF)
    report = asyncio.run(verify(ledger)).shards[0]
    assert [(f.problem, f.position) for f in report.findings] == [("tail-missing", 31)]


@pytest.mark.parametrize(("anchored", "first_bad"), [((COMMITS,), 1), ((3, COMMITS), 11), ((3, 4, 7), 15)])
def test_a_tail_that_was_rewritten(
    ledger: str, postgres: Postgres, tmp_path: Path, anchored: tuple[int, ...], first_bad: int
) -> None:
    """The more anchors, the narrower."""
    anchors = [checkpoint_at(ledger, commits) for commits in anchored]
    with psycopg.connect(as_superuser(postgres, ledger)) as superuser:
        tamper(superuser, REWRITE, rehash_events=[17], rehash_commits=range(5, COMMITS + 1))
    assert asyncio.run(verify(ledger)).ok, "without an anchor nothing tells"
    report = verified(ledger, tmp_path, anchors)
    assert [(f.problem, f.position) for f in report.findings] == [("log-rewritten", first_bad)]


def test_an_anchor_of_another_log(ledger: str, database: str, tmp_path: Path) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("update eventstore.log_info set log_id = gen_random_uuid()")
    other = asyncio.run(current_checkpoints(database))
    with pytest.raises(AuditError, match="of log"):
        asyncio.run(verify(ledger, anchors=other))


def test_an_anchor_of_an_empty_log(database: str, tmp_path: Path) -> None:
    assert verified(database, tmp_path, asyncio.run(current_checkpoints(database))).ok


# -- signatures ------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "anchor.key"
    key = signing_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing_key(path).private_bytes_raw() == key.private_bytes_raw()
    assert public_key(public_key_path(path)).public_bytes_raw() == key.public_key().public_bytes_raw()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["anchor.key", "anchor.key.pub"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    signing_key(tmp_path / "anchor.key")
    (tmp_path / "anchor.key").chmod(0o640)
    with pytest.raises(AuditError, match="chmod 600"):
        signing_key(tmp_path / "anchor.key")


def test_a_file_without_a_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("none")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(AuditError, match="does not contain a key"):
        signing_key(tmp_path / "key")
    with pytest.raises(AuditError, match="does not contain a public key"):
        public_key(tmp_path / "key")
    with pytest.raises(AuditError, match="missing"):
        public_key(tmp_path / "nowhere")


def test_anchors_are_read_back(ledger: str, tmp_path: Path) -> None:
    key = signing_key(tmp_path / "key")
    anchors = [sign(checkpoint_at(ledger, commits), key) for commits in (3, 9)]
    (tmp_path / "anchors").write_bytes(encode(anchors))
    assert read_anchors(tmp_path / "anchors", key.public_key()) == anchors
    assert asyncio.run(verify(ledger, anchors=anchors)).ok


@pytest.mark.parametrize(
    ("was", "forged"),
    [
        ('"commits":9', '"commits":8'),
        ('"events":34', '"events":35'),
        ('"shard":0', '"shard":1'),
        ('"time":"2', '"time":"3'),
        ('"hash":"', '"hash":"00'),
        ('"signature":"', '"signature":"00'),
    ],
)
def test_a_forged_anchor_is_refused(ledger: str, tmp_path: Path, was: str, forged: str) -> None:
    key = signing_key(tmp_path / "key")
    line = encode([sign(checkpoint_at(ledger, 9), key)]).decode()
    assert was in line
    (tmp_path / "anchors").write_text(line.replace(was, forged))
    with pytest.raises(AuditError, match="line 1"):
        read_anchors(tmp_path / "anchors", key.public_key())


def test_an_anchor_of_another_key_is_refused(ledger: str, tmp_path: Path) -> None:
    (tmp_path / "anchors").write_bytes(encode([sign(checkpoint_at(ledger, 9), signing_key(tmp_path / "mallory"))]))
    with pytest.raises(AuditError, match="signed with key"):
        read_anchors(tmp_path / "anchors", signing_key(tmp_path / "key").public_key())


@pytest.mark.parametrize("text", ["", "none\n", "{}\n"])
def test_a_file_without_anchors(tmp_path: Path, text: str) -> None:
    (tmp_path / "anchors").write_text(text)
    with pytest.raises(AuditError, match=r"no anchors|not an anchor"):
        read_anchors(tmp_path / "anchors", signing_key(tmp_path / "key").public_key())
