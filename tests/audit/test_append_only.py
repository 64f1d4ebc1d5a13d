"""Nobody changes the log by mistake, its owner included."""

from __future__ import annotations

import psycopg
import pytest

from foldbook.audit.verify import verify
from tests.audit.conftest import as_superuser
from tests.conftest import Postgres

CHANGES = [
    statement
    for table, column in (("events", "payload"), ("commands", "actor"), ("commits", "hash"))
    for statement in (
        f"update eventstore.{table} set {column} = null",
        f"update eventstore.{table} set {column} = {column} where false",
        f"delete from eventstore.{table}",
        f"truncate eventstore.{table}",
    )
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_superuser", [False, True], ids=["owner", "superuser"])
def test_it_is_refused(shared_ledger: str, postgres: Postgres, change: str, is_superuser: bool) -> None:
    dsn = as_superuser(postgres, shared_ledger) if is_superuser else shared_ledger
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error, match="append-only") as refused:
        connection.execute(change.encode())
    assert refused.value.sqlstate == "FB003"


@pytest.mark.parametrize("role", ["replica", "origin", "local"])
def test_replication_does_not_get_around_it(shared_ledger: str, postgres: Postgres, role: str) -> None:
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        connection.execute(f"set session_replication_role = {role}".encode())
        with pytest.raises(psycopg.Error, match="append-only"):
            connection.execute("delete from eventstore.events")


async def test_a_missing_guard_is_reported(ledger: str) -> None:
    assert (await verify(ledger)).missing_guards == []
    with psycopg.connect(ledger) as connection:
        connection.execute("alter table eventstore.events disable trigger refuse_change")
        connection.execute("alter table eventstore.commits enable trigger refuse_change")
        connection.execute("alter table eventstore.commands drop constraint commands_pkey")
        connection.execute("grant insert on eventstore.events to foldbook_engine")
        connection.execute("grant delete on eventstore.commits to public")
    assert (await verify(ledger)).missing_guards == [
        "table events has no trigger that refuses changes",
        "table commits has no trigger that refuses changes",
        "table commands lacks its unique key commands_pkey",
        "role foldbook_engine was given INSERT on table events",
        "role public was given DELETE on table commits",
    ]
