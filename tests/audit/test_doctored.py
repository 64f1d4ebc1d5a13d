"""An event that was doctored so that no program can fold it: a finding, or one line; never a traceback, and never a
report that is lost."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from foldbook.audit import snapshots
from foldbook.audit.snapshots import verify_snapshots
from foldbook.audit.verify import verify
from foldbook.cli.exits import Exit
from foldbook.cli.main import main
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK
from tests.builders import ACCOUNT, open_account, place, trade
from tests.conftest import Postgres

POSITION = 3
"""Of the first fill."""


def with_value(field: str, value: str) -> str:
    """The payload with a field set to this JSON."""
    return f"payload = jsonb_set(payload, '{{{field}}}', '{value}')"


DEEP = "jsonb_build_object('x', (repeat('[', 5000) || repeat(']', 5000))::jsonb)"
DOCTORED = {
    "an exponent that no sum survives": with_value("last_qty", '"1E+999999"'),
    "an exponent below all others": with_value("last_qty", '"1E-999999"'),
    "a signaling NaN": with_value("last_qty", '"sNaN"'),
    "a text": with_value("last_qty", '"x"'),
    "another type": with_value("last_qty", "{}"),
    "a number with 131,072 digits": with_value("last_qty", "1e131071"),
    "a field of text with 131,072 digits": with_value("exec_id", "1e131071"),
    "a value that its field has not": with_value("side", '"SIDEWAYS"'),
    "an escape sequence": with_value("side", '"\\u001b[2J"'),
    "the year 10000": with_value("counted_at", '"10000-01-01T00:00:00Z"'),
    "no field": "payload = payload - 'last_qty'",
    "deep nesting": "payload = payload || " + DEEP,
    "a list": "payload = '[]'",
    "null": "payload = 'null'",
    "a type that nobody knows": "type = 'OrderTeleported'",
    "another type of event": "type = 'OrderBookCreated'",
    "a version that nobody knows": "schema_version = 77",
    "the year 10000 beside the payload": "occurred_at = '10000-01-01'",
    "a time before Christ": "recorded_at = '0044-03-15 BC'",
}

SEAL = """
update eventstore.snapshots
set hash = eventstore.snapshot_hash(
    shard, aggregate_type, aggregate_id, sequence, position, "commit", commit_hash, fingerprint, state
)
"""


async def trade_with_a_snapshot(dsn: str) -> None:
    store = PostgresStore(as_role(dsn, ENGINE))
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(snapshot_every=4))
    await bus.start()
    for command in (open_account(), place(), trade("e-1", "0.5"), trade("e-2", "0.5")):
        await bus.execute(command)
    await bus.stop()
    await store.close()


@pytest.fixture(scope="module")
def traded(postgres: Postgres, template_database: str) -> Iterator[str]:
    """A database with an account that has a sealed snapshot."""
    dsn = postgres.create_database(template_database)
    asyncio.run(trade_with_a_snapshot(dsn))
    yield dsn
    postgres.drop_database(dsn)


@contextmanager
def doctored(dsn: str, change: str) -> Iterator[None]:
    """The fill is another one meanwhile."""
    with psycopg.connect(dsn, autocommit=True) as owner:

        def update(what: str, *values: object) -> None:
            owner.execute("alter table eventstore.events disable trigger refuse_change")
            owner.execute(f"update eventstore.events set {what} where position = {POSITION}".encode(), values)
            owner.execute("alter table eventstore.events enable always trigger refuse_change")

        columns = "type, schema_version, payload::text, occurred_at, recorded_at"
        row = owner.execute(f"select {columns} from eventstore.events where position = {POSITION}".encode()).fetchone()
        assert row is not None
        update(change.replace("%", "%%"))
        try:
            yield
        finally:
            update("type = %s, schema_version = %s, payload = %s::jsonb, occurred_at = %s, recorded_at = %s", *row)


def foldbook(monkeypatch: pytest.MonkeyPatch, dsn: str, *arguments: str) -> int:
    """The exit code of a command, in this process: what it does not expect comes out."""
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setattr(sys, "argv", ["foldbook", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("change", DOCTORED.values(), ids=DOCTORED)
def test_what_cannot_be_folded_is_found(
    traded: str, change: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with doctored(traded, change):
        log = asyncio.run(verify(as_role(traded, AUDITOR), compares_code=False))
        found = asyncio.run(verify_snapshots(as_role(traded, AUDITOR), [ORDER_BOOK]))
        replayed = foldbook(monkeypatch, traded, "replay", ACCOUNT)
        said = capfd.readouterr().err
        exported = foldbook(monkeypatch, traded, "audit", "export", str(tmp_path / "export"))
        assert "Traceback" not in capfd.readouterr().err
    assert not log.ok
    assert [finding.problem for finding in found.findings] == ["snapshot-unread"]
    assert found.findings[0].detail.isprintable()
    assert replayed == Exit.FAILED
    assert said.startswith("foldbook: ") and said.count("\n") == 1 and said.strip().isprintable()
    assert exported == (Exit.FAILED if "_at =" in change else Exit.DONE)


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_what_can_be_folded_is_not_what_the_snapshot_says(traded: str, number: str) -> None:
    with doctored(traded, with_value("last_qty", f'"{number}"')):
        found = asyncio.run(verify_snapshots(as_role(traded, AUDITOR), [ORDER_BOOK]))
    assert [finding.problem for finding in found.findings] == ["snapshot-state"]


@pytest.mark.parametrize("state", ["'1e131071'", "'[]'", "'null'", "state || " + DEEP])
async def test_a_snapshot_that_was_doctored_and_sealed(database: str, state: str) -> None:
    await trade_with_a_snapshot(database)
    with psycopg.connect(database) as owner:
        owner.execute(f"update eventstore.snapshots set state = {state}".encode())
        owner.execute(SEAL)
    found = await verify_snapshots(as_role(database, AUDITOR), [ORDER_BOOK])
    assert [finding.problem for finding in found.findings] == ["snapshot-state"]
    store = PostgresStore(as_role(database, ENGINE))
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    assert (await bus.execute(place("o-2"))).sequence == 5
    await bus.stop()
    await store.close()


@pytest.mark.parametrize("is_json", [False, True])
def test_the_report_on_the_log_is_printed_whatever_becomes_of_the_snapshots(
    traded: str, is_json: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def outage(*_: object) -> None:
        raise StoreUnavailable("the server is gone")

    options = ["--json"] if is_json else []
    with doctored(traded, DOCTORED["a signaling NaN"]):
        assert foldbook(monkeypatch, traded, "audit", "verify", *options) == Exit.DIFFERENT
        told = capfd.readouterr().out
        assert "event-changed" in told and "snapshot-unread" in told
        monkeypatch.setattr(snapshots, "_problem", outage)
        assert foldbook(monkeypatch, traded, "audit", "verify", *options) == Exit.UNREACHABLE
        told, said = capfd.readouterr()
    assert "event-changed" in told
    assert not is_json or json.loads(told)["snapshots"] is None
    assert "the server is gone" in said
