"""Whatever a superuser does to the log is found, in the database and in an export, at the position that was touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg.types.json import set_json_loads

from foldbook.audit.export import command_row, event_row
from foldbook.audit.offline import ShardVerification
from foldbook.audit.report import Checkpoint, Finding
from foldbook.audit.rows import CommitRow
from tests.audit.conftest import as_superuser
from tests.audit.ledger import COMMITS, EVENTS, tamper
from tests.conftest import Postgres

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Tampering:
    name: str
    statements: tuple[str, ...]
    problem: str
    position: int
    rehash_events: tuple[int, ...] = ()
    rehash_commits: range = field(default=range(0))


def edit(column: str, value: str) -> tuple[str, ...]:
    """Of the event at position 17."""
    return (f"update eventstore.events set {column} = {value} where position = 17",)


def edit_command(column: str, value: str) -> tuple[str, ...]:
    """Of the command that led to the events at 17 and 18."""
    return (f'update eventstore.commands set "{column}" = {value} where first_position = 17',)


def edit_refusal(column: str, value: str) -> tuple[str, ...]:
    """Of the refusal in commit 5."""
    return (f'update eventstore.commands set "{column}" = {value} where "commit" = 5 and reason is not null',)


def edit_commit(column: str, value: str) -> tuple[str, ...]:
    """Of commit 5, which has positions 15 to 18."""
    return (f"update eventstore.commits set {column} = {value} where number = 5",)


def delete(table: str, which: str) -> tuple[str, ...]:
    return (f"delete from eventstore.{table} where {which}",)


def insert(position: int, account: str, copied: int) -> str:
    return f"""
        insert into eventstore.events
        select
            shard, {position}, aggregate_type, '{account}', 1, type, schema_version, subject, command_id, payload,
            metadata, occurred_at, recorded_at, hash
        from eventstore.events
        where position = {copied}
    """


HASH_COMMAND = """
    update eventstore.commands
    set hash = eventstore.command_hash(
        command_id, aggregate_type, aggregate_id, type, fingerprint, actor, reason, first_position, event_count
    )
    where first_position = 17
"""
T = Tampering
TAMPERINGS = [
    T("edit the aggregate type", edit("aggregate_type", "'counter'"), "event-changed", 17),
    T("edit account", edit("aggregate_id", "'mallory/binance/live'"), "event-changed", 17),
    T("edit sequence", edit("sequence", "1000"), "event-changed", 17),
    T("edit type", edit("type", "'OrderRejected'"), "event-changed", 17),
    T("edit schema_version", edit("schema_version", "2"), "event-changed", 17),
    T("edit subject", edit("subject", "'another'"), "event-changed", 17),
    T("edit command_id", edit("command_id", "gen_random_uuid()"), "event-changed", 17),
    T("edit payload", edit("payload", 'payload || \'{"broker_order_id": "zolw"}\''), "event-changed", 17),
    T("edit metadata", edit("metadata", '\'{"actor": "zoe"}\''), "event-changed", 17),
    T("edit occurred_at", edit("occurred_at", "occurred_at + interval '1 microsecond'"), "event-changed", 17),
    T("edit recorded_at", edit("recorded_at", "now()"), "event-date", 17),
    T("edit hash", edit("hash", "sha256('')"), "event-changed", 17),
    T("edit, and the event's hash", edit("payload", "'{}'"), "commit-hash", 15, (17,)),
    T("edit, and the hashes of event and commit", edit("payload", "'{}'"), "commit-rewritten", 15, (17,), range(5, 6)),
    T("delete", delete("events", "position = 17"), "event-missing", 17),
    T("delete the last of its commit", delete("events", "position = 18"), "event-missing", 18),
    T("delete all of a commit", delete("events", "position between 15 and 18"), "event-missing", 15),
    T("cut off the tail", delete("events", "position > 30"), "event-missing", 31),
    T(
        "delete and close the gap",
        (
            *delete("events", "position = 17"),
            "update eventstore.events set position = -position where position > 17",
            "update eventstore.events set position = -position - 1 where position < 0",
        ),
        "event-changed",
        17,
    ),
    T("insert at the end", (insert(EVENTS + 1, "x/y/live", 17),), "event-stray", EVENTS + 1, (EVENTS + 1,)),
    T(
        "insert between",
        (
            "update eventstore.events set position = -position where position >= 17",
            "update eventstore.events set position = -position + 1 where position < 0",
            insert(17, "x/y/live", 18),
        ),
        "event-command",
        17,
        (17,),
    ),
    T(
        "reorder",
        (
            "update eventstore.events set position = -17 where position = 17",
            "update eventstore.events set position = 17 where position = 22",
            "update eventstore.events set position = 22 where position = -17",
        ),
        "event-changed",
        17,
    ),
    T(
        "swap two payloads",
        (
            """
            update eventstore.events e
            set payload = o.payload
            from eventstore.events o
            where (e.position, o.position) in ((17, 22), (22, 17))
            """,
        ),
        "event-changed",
        17,
    ),
    T("edit a refusal", edit_refusal("reason", "'{}'"), "command-changed", 15),
    T("accept a refusal", edit_refusal("reason", "null"), "command-changed", 15),
    T("move a refusal", edit_refusal("commit", "6"), "commit-hash", 15),
    T("delete a refusal", delete("commands", '"commit" = 5 and reason is not null'), "commit-hash", 15),
    T("delete a command", delete("commands", "first_position = 17"), "event-command", 17),
    T("edit a command's aggregate type", edit_command("aggregate_type", "'counter'"), "command-changed", 17),
    T("edit a command's account", edit_command("aggregate_id", "'x'"), "command-changed", 17),
    T("edit a command's type", edit_command("type", "'x'"), "command-changed", 17),
    T("edit a command's fingerprint", edit_command("fingerprint", "'x'"), "command-changed", 17),
    T("edit a command's actor", edit_command("actor", "null"), "command-changed", 17),
    T("edit a command's outcome", edit_command("outcome", "'refused'"), "command-changed", 17),
    T("edit a command's id", edit_command("command_id", "gen_random_uuid()"), "command-changed", 17),
    T("edit a command's first position", edit_command("first_position", "16"), "command-changed", 16),
    T("edit a command's count", edit_command("event_count", "1"), "command-changed", 17),
    T("edit a command's date", edit_command("recorded_at", "now()"), "command-changed", 17),
    T("edit a command's hash", edit_command("hash", "sha256('')"), "command-changed", 17),
    T(
        "edit a command's count, and every hash from there on",
        (*edit_command("event_count", "3"), HASH_COMMAND),
        "command-count",
        15,
        (),
        range(5, COMMITS + 1),
    ),
    T("delete a commit", delete("commits", "number = 5"), "commit-missing", 15),
    T("delete the first commit", delete("commits", "number = 1"), "commit-missing", 1),
    T("delete the last commit", delete("commits", f"number = {COMMITS}"), "event-stray", EVENTS),
    T("edit a commit's number", edit_commit("number", "-1"), "commit-missing", 15),
    T("edit a commit's first position", edit_commit("first_position", "16"), "commit-run", 15),
    T("edit a commit's last position", edit_commit("last_position", "1000000000000"), "event-command", 19),
    T("edit a commit's date", edit_commit("recorded_at", "'2000-01-01'"), "commit-order", 15),
    T("edit what a commit follows", edit_commit("previous_hash", "sha256('x')"), "commit-hash", 15),
    T("edit a commit's hash", edit_commit("hash", "sha256('')"), "commit-hash", 15),
]


@pytest.fixture(scope="module")
def superuser(postgres: Postgres, shared_ledger: str) -> Iterator[Connection]:
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        set_json_loads(lambda text: text, connection)
        yield connection


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda t: t.name)
def test_it_is_found(superuser: Connection, tampering: Tampering) -> None:
    tamper(
        superuser,
        *tampering.statements,
        rehash_events=tampering.rehash_events,
        rehash_commits=tampering.rehash_commits,
    )
    try:
        for findings in (found_by_sql(superuser), found_by_python(superuser)):
            first = min(finding.position for finding in findings)
            assert first == tampering.position
            assert tampering.problem in {finding.problem for finding in findings if finding.position == first}
    finally:
        superuser.rollback()


@pytest.mark.parametrize("table", ["events", "commands", "commits"])
def test_rows_of_a_shard_that_does_not_exist_are_found(superuser: Connection, table: str) -> None:
    try:
        tamper(
            superuser,
            f"create temporary table copied as select * from eventstore.{table} limit 1",
            "update copied set shard = 7",
            f"insert into eventstore.{table} select * from copied",
        )
        rows = superuser.execute("select problem, detail from audit.verify_ends(0)").fetchall()
        assert [detail for _, detail in rows] == ["this log has no shard 7"]
    finally:
        superuser.rollback()


def test_nothing_is_found_where_nothing_was_done(superuser: Connection) -> None:
    assert found_by_sql(superuser) == found_by_python(superuser) == []


def found_by_sql(connection: Connection) -> list[Finding]:
    (head,) = connection.execute("select commits from audit.checkpoints()").fetchone() or (0,)
    rows = connection.execute("select * from audit.verify_commits(0, 1, %s)", [head]).fetchall()
    # A range that begins anywhere finds the same, as far as it goes.
    assert (
        connection.execute(
            """
        select f.*
        from generate_series(1, %s) n
        cross join audit.verify_commits(0, n, n) f
        order by 1, 2, 3
        """,
            [head],
        ).fetchall()[:1]
        == rows[:1]
    )
    return [Finding(0, *row) for row in [*rows, *connection.execute("select * from audit.verify_ends(0)")]]


def found_by_python(connection: Connection) -> list[Finding]:
    head = connection.execute("select log_id, commits, events from audit.checkpoints()").fetchone()
    assert head is not None
    checkpoint = Checkpoint(log_id=head[0], shard=0, commits=head[1], events=head[2], hash="")
    report = ShardVerification(checkpoint, 1, []).run(
        [CommitRow(*row) for row in connection.execute("select * from audit.export_commits(0, 0, 10000)")],
        [command_row(*row) for row in connection.execute("select * from audit.export_commands(0, 0, 10000)")],
        [event_row(*row) for row in connection.execute("select * from audit.export_events(0, 0, 10000)")],
        None,
    )
    return list(report.findings)
