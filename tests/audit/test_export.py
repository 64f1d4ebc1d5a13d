"""An export holds the log, and can be verified with nothing else."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from foldbook.audit.export import export
from foldbook.audit.files import Format, read_rows
from foldbook.audit.offline import verify_export
from foldbook.audit.report import AuditError
from foldbook.audit.rows import EventRow
from foldbook.audit.verify import verify
from tests.audit.ledger import COMMITS, EVENTS
from tests.conftest import prepare


@pytest.fixture
def folder(shared_ledger: str, tmp_path: Path) -> Path:
    asyncio.run(export(shared_ledger, tmp_path / "export", Format.NDJSON))
    return tmp_path / "export"


@pytest.mark.parametrize("rows", Format)
def test_it_says_what_the_log_says(shared_ledger: str, tmp_path: Path, rows: Format) -> None:
    asyncio.run(export(shared_ledger, tmp_path / "export", rows))
    report = verify_export(tmp_path / "export")
    assert report.ok
    assert (report.shards[0].events, report.shards[0].commits) == (EVENTS, COMMITS)
    assert report.shards == asyncio.run(verify(shared_ledger)).shards
    events = list(read_rows(tmp_path / "export", rows, EventRow, 0))
    assert [event.position for event in events] == list(range(1, EVENTS + 1))
    assert json.loads(bytes(events[5].payload))["last_px"] == "100.10"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "export").iterdir()}
    assert (modes, stat.S_IMODE((tmp_path / "export").stat().st_mode)) == ({0o600}, 0o700)


def test_all_shards_are_exported(empty_database: str, tmp_path: Path) -> None:
    prepare(empty_database, shard_count=3)
    asyncio.run(export(empty_database, tmp_path / "export", Format.NDJSON))
    report = verify_export(tmp_path / "export")
    assert [(shard.shard, shard.ok, shard.events) for shard in report.shards] == [
        (0, True, 0),
        (1, True, 0),
        (2, True, 0),
    ]


def test_it_begins_with_an_empty_folder(shared_ledger: str, folder: Path) -> None:
    with pytest.raises(AuditError, match="not empty"):
        asyncio.run(export(shared_ledger, folder, Format.NDJSON))


def test_an_export_without_a_manifest_is_refused(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(AuditError, match="not a complete one"):
        verify_export(folder)


@pytest.mark.parametrize("name", ["commits-0.ndjson", "commands-0.ndjson", "events-0.ndjson"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AuditError, match=name):
        verify_export(folder)


def test_a_line_that_is_none_is_named(folder: Path) -> None:
    lines = (folder / "events-0.ndjson").read_bytes().splitlines(keepends=True)
    (folder / "events-0.ndjson").write_bytes(b"".join([*lines[:7], b'{"shard": 0}\n', *lines[8:]]))
    with pytest.raises(AuditError, match="line 8"):
        verify_export(folder)


def test_json_may_be_written_in_another_way(folder: Path) -> None:
    """Other keys first, other spaces, letters escaped: the same JSON."""
    rewritten = []
    for line in (folder / "events-0.ndjson").read_text().splitlines():
        row = json.loads(line)
        row["payload"] = dict(reversed(row["payload"].items()))
        rewritten.append(json.dumps(row, indent=None, separators=(" , ", " :")) + "\n")
    (folder / "events-0.ndjson").write_text("".join(rewritten))
    assert verify_export(folder).ok


@pytest.mark.parametrize("value", ["1e400", "zz", "", "Infinity"])
@pytest.mark.parametrize("column", ["hash", "payload", "position", "schema_version", "type"])
def test_an_edited_line_is_found(folder: Path, column: str, value: str) -> None:
    """Whatever stands there now: a finding or an error that names the line, and never a failure of the program."""
    path = folder / "events-0.ndjson"
    lines = path.read_text().splitlines()
    row = json.loads(lines[9])
    row[column] = {"a": value} if column == "payload" else value
    lines[9] = json.dumps(row)
    if column in ("position", "schema_version"):
        lines[9] = json.dumps(row | {column: 10**6})
    path.write_text("\n".join(lines) + "\n")
    report = verify_export(folder)
    assert not report.ok
    assert report.shards[0].first_bad_position == 10


@pytest.mark.parametrize(
    ("name", "gone", "position"),
    [("events-0.ndjson", 20, 21), ("commands-0.ndjson", 20, 21), ("commits-0.ndjson", 6, 23)],
)
def test_lines_that_are_gone_are_found(folder: Path, name: str, gone: int, position: int) -> None:
    lines = (folder / name).read_bytes().splitlines(keepends=True)
    (folder / name).write_bytes(b"".join(lines[:gone]))
    report = verify_export(folder)
    first_bad = report.shards[0].first_bad_position
    assert not report.ok
    assert first_bad is not None and first_bad <= position
