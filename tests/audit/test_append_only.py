"""Nobody changes the log by mistake, its owner included."""

from __future__ import annotations

import psycopg
import pytest

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


PSQL_SEES = {
    "alter table eventstore.events disable trigger refuse_change": "table events has no trigger that refuses changes",
    "alter table eventstore.commits enable trigger refuse_change": "table commits has no trigger that refuses changes",
    "create or replace trigger refuse_change before truncate on eventstore.events for each statement"
    " execute function eventstore.refuse_change()": "table events has no trigger that refuses changes",
    "create or replace function eventstore.refuse_change() returns trigger language plpgsql"
    " as 'begin return null; end'": "function refuse_change does not refuse whatever it is called for",
    "create trigger other before insert on eventstore.events execute function eventstore.refuse_change()": (
        "table events has a trigger of somebody else: other"
    ),
    "create rule quiet as on insert to eventstore.commits do instead nothing": "table commits has a rule: quiet",
    "alter table eventstore.events enable row level security": "table events hides rows: it has row security",
    "alter table eventstore.commands set unlogged": "table commands is not logged",
    "create table public.more () inherits (eventstore.events)": "table events shows the rows of public.more, too",
    "alter table eventstore.commands drop constraint commands_pkey": (
        "table commands lacks its unique key commands_pkey"
    ),
    "grant insert on eventstore.events to foldbook_engine": "role foldbook_engine was given INSERT on table events",
    "grant delete on eventstore.commits to public": "role public was given DELETE on table commits",
    "grant update (payload) on eventstore.events to public": "role public was given UPDATE on table events",
    "alter role foldbook_engine bypassrls": "role foldbook_engine may do anything",
}


@pytest.mark.parametrize("change", PSQL_SEES)
def test_psql_sees_a_missing_guard(shared_ledger: str, postgres: Postgres, change: str) -> None:
    with psycopg.connect(as_superuser(postgres, shared_ledger)) as connection:
        assert connection.execute("select guard from audit.missing_guards").fetchall() == []
        connection.execute("set local search_path = pg_catalog, pg_temp")
        connection.execute(change.encode())
        found = connection.execute("select guard from audit.missing_guards").fetchall()
        connection.rollback()
    assert (PSQL_SEES[change],) in found
