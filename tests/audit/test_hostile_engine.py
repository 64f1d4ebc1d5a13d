"""Whoever has the engine's rights may plant anything in its schemas; nobody with more rights executes it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from foldbook.cli.exits import Exit
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from tests.conftest import Postgres
from tests.machinery.cli import foldbook

PLANT = """
create table read.caught (who name);
grant insert on read.caught to public;
create function read.trap() returns boolean language plpgsql as
    $$ begin insert into read.caught values (current_user); return true; end $$;
create table read.mine (x integer default 1 check (read.trap()));
create index on read.mine (x);
create view read.hostile as select read.trap() as is_caught;
alter table read.orders rename to orders_before;
create view read.orders as select o.*, read.trap() as is_caught from read.orders_before o;
create function read.count(text) returns bigint language sql as 'select read.trap()::integer::bigint';
create function read.to_regclass(text) returns regclass language sql as
    $$ select case when read.trap() then pg_catalog.to_regclass($1) end $$;
create function read.head(integer) returns bigint language sql as 'select read.trap()::integer::bigint';
"""
OPERATOR = """
create function read.trap_{type}({type}, {type}) returns boolean language plpgsql as
    $$ begin insert into read.caught values (current_user); return $1 operator(pg_catalog.=) $2; end $$;
create operator read.= (leftarg = {type}, rightarg = {type}, function = read.trap_{type});
create operator read.<> (leftarg = {type}, rightarg = {type}, function = read.trap_{type});
"""
TYPES = ("text", "integer", "bigint", "oid", "name", "uuid")


def caught(database: str) -> set[str]:
    with psycopg.connect(database) as connection:
        return {who for (who,) in connection.execute("select who from read.caught")}


@pytest.fixture
def planted(database: str) -> str:
    with psycopg.connect(as_role(database, ENGINE)) as engine:
        engine.execute(PLANT)
        for name in TYPES:
            engine.execute(OPERATOR.format(type=name).encode())
    return database


def test_what_the_engine_plants_is_executed_by_nobody_with_more_rights(planted: str, tmp_path: Path) -> None:
    with psycopg.connect(planted) as owner:
        owner.execute("delete from eventstore.code")  # so that the migration replaces everything
    assert foldbook("migrate", DATABASE_URL=planted).returncode == Exit.DIFFERENT, "it names what it does not drop"
    for arguments in (
        ["doctor"],
        ["audit", "verify"],
        ["audit", "verify", "--orders"],
        ["pg_dump", f"--file={tmp_path / 'dump'}"],
        ["psql", "--owner", "-c", "select count(*) from eventstore.events where type = 'OrderCreated' and shard = 0"],
    ):
        foldbook(*arguments, DATABASE_URL=planted)
    assert caught(planted) == set()


@pytest.mark.parametrize("question", ["select * from read.hostile", "select * from read.orders", "select read.trap()"])
def test_psql_as_documented_lends_it_an_auditor_s_rights(planted: str, question: str) -> None:
    done = foldbook("psql", "-v", "ON_ERROR_STOP=1", "-c", question, DATABASE_URL=planted)
    assert done.returncode == 0, done.stderr
    assert caught(planted) <= {AUDITOR}
    if "orders" not in question:
        assert caught(planted) == {AUDITOR}, "the trap works"


def test_psql_is_the_owner_only_when_told_so(database: str) -> None:
    who = ["-A", "-t", "-c", "select current_user"]
    assert foldbook("psql", *who, DATABASE_URL=database).stdout == f"{AUDITOR}\n"
    with psycopg.connect(database) as connection:
        (owner,) = connection.execute("select current_user::text").fetchone() or ("",)
    assert foldbook("psql", "--owner", *who, DATABASE_URL=database).stdout == f"{owner}\n"
    path = foldbook("psql", "--owner", "-A", "-t", "-c", "show search_path", DATABASE_URL=database)
    assert path.stdout == "pg_catalog\n"


def test_doctor_asks_as_an_auditor(database: str, postgres: Postgres) -> None:
    """What only the owner may read is refused, and nothing of it is asked."""
    with psycopg.connect(database) as owner:
        owner.execute("revoke select on all tables in schema eventstore from foldbook_auditor")
    done = foldbook("doctor", DATABASE_URL=database)
    assert "no log of this version" in done.stdout
    assert "foldbook migrate" in done.stdout
