"""The hashes are the same with and without a database, whatever a row contains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from foldbook.audit.hashes import command_hash, event_hash, jsonb_text
from foldbook.audit.rows import CommandRow, EventRow

Connection = psycopg.Connection[Any]

WITH_ONE_CONNECTION = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?\Z")
TIMES = st.integers(-(10**15), 10**15).map(lambda n: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=n))
BIGINTS = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.one_of(st.none().map(json.dumps), st.booleans().map(json.dumps), NUMBERS, TEXT.map(json.dumps)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda members: f"[{','.join(members)}]"),
        # The same key may come twice.
        st.lists(st.tuples(TEXT, inner), max_size=6).map(
            lambda members: "{" + ",".join(f"{json.dumps(key)} :{value}" for key, value in members) + "}"
        ),
    ),
    max_leaves=12,
)


@pytest.fixture
def connection(shared_ledger: str) -> Iterator[Connection]:
    with psycopg.connect(shared_ledger) as opened:
        yield opened


def one(connection: Connection, query: str, *arguments: object) -> Any:
    row = connection.execute(query.encode(), arguments).fetchone()
    assert row is not None
    return row[0]


@given(JSON)
@WITH_ONE_CONNECTION
def test_json_is_written_as_postgresql_writes_it(connection: Connection, text: str) -> None:
    assert jsonb_text(text.encode()).decode() == one(connection, "select %s::jsonb::text", text)


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b"{", b"", b'{"a": -Infinity}'])
def test_what_is_not_json_has_no_text(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"not JSON|Expecting"):
        jsonb_text(text)


@given(
    BIGINTS,
    BIGINTS,
    st.integers(-(2**15), 2**15 - 1),
    TEXT,
    TEXT,
    TEXT,
    st.none() | TEXT,
    st.uuids(),
    JSON,
    JSON,
    TIMES,
)
@WITH_ONE_CONNECTION
def test_events(
    connection: Connection,
    position: int,
    sequence: int,
    schema_version: int,
    aggregate_type: str,
    account: str,
    kind: str,
    subject: str | None,
    command_id: UUID,
    payload: str,
    metadata: str,
    occurred_at: datetime,
) -> None:
    expected = one(
        connection,
        "select eventstore.event_hash(%s, %s, %s, %s, %s, %s::smallint, %s, %s, %s::jsonb, %s::jsonb, %s)",
        *(position, aggregate_type, account, sequence, kind, schema_version, subject, command_id),
        *(payload, metadata, occurred_at),
    )
    place = (0, position, aggregate_type, account, sequence, kind, schema_version, subject, command_id)
    row = EventRow(*place, msgspec.Raw(), msgspec.Raw(), occurred_at, occurred_at, "")
    assert event_hash(row, jsonb_text(payload.encode()), jsonb_text(metadata.encode())) == expected


@given(st.uuids(), TEXT, TEXT, TEXT, st.binary(max_size=40), st.none() | TEXT, st.none() | JSON, st.none() | BIGINTS)
@WITH_ONE_CONNECTION
def test_commands(
    connection: Connection,
    command_id: UUID,
    aggregate_type: str,
    account: str,
    kind: str,
    fingerprint: bytes,
    actor: str | None,
    reason: str | None,
    first_position: int | None,
) -> None:
    expected = one(
        connection,
        "select eventstore.command_hash(%s, %s, %s, %s, %s, %s, %s::jsonb, %s, 2)",
        *(command_id, aggregate_type, account, kind, fingerprint, actor, reason, first_position),
    )
    said = (
        0,
        command_id,
        aggregate_type,
        account,
        kind,
        fingerprint.hex(),
        actor,
        "accepted",
        msgspec.Raw(),
        first_position,
        2,
    )
    row = CommandRow(*said, 1, datetime.now(UTC), "")
    assert command_hash(row, None if reason is None else jsonb_text(reason.encode())) == expected


def test_a_client_with_another_encoding_sees_the_same_hashes(connection: Connection) -> None:
    """The ledger has letters that LATIN1 has and some that it has not."""
    connection.execute("set client_encoding = 'LATIN1'")
    assert connection.execute("select * from audit.verify_commits(0, 1, 12)").fetchall() == []


def test_fields_cannot_flow_into_each_other(connection: Connection) -> None:
    hashed = "select eventstore.event_hash(1, 'x', %s, 1, %s, 1::smallint, %s, %s, %s, '{}', '2026-01-01')"
    command_id, payload = UUID(int=1), Jsonb({})
    variants = [("ab", "c", "d"), ("a", "bc", "d"), ("ab", "cd", None), ("ab", "cd", ""), ("", "ab", "cd")]
    hashes = {one(connection, hashed, *texts, command_id, payload) for texts in variants}
    assert len(hashes) == len(variants)
