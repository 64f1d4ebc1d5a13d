"""Brings a database to the state that this program expects: state is migrated, code is replaced.

One transaction, and one at a time (``migration_turn``): the schemas, the revisions of ``alembic/``, the log's identity,
and, if any file of ``sql/`` that is not a read model has changed, all of those files. It happens completely or not at
all. Read tables are not created here: they are disposable and belong to their projections
(``foldbook.eventstore.readers``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from psycopg import sql

from foldbook.errors import FoldbookError, LogMismatch, StoreUnavailable
from foldbook.postgres.blocking import Connection, connect
from foldbook.postgres.code import UPCASTERS, code_schemas, in_order_of_need, needs_of, object_of, read_code
from foldbook.postgres.holders import holders
from foldbook.postgres.migration_turn import OVERTAKEN, clearing_the_way, take_turn
from foldbook.postgres.program import VERSION
from foldbook.postgres.sqlstates import UNREACHABLE_CLASSES
from foldbook.resources import ROOT, alembic_folder, projection_files

OLDEST_SERVER = 150000
EARLIER_SHAPES = ("0001", "0002")

FIRST_ATTEMPTS_MAX = 3

# The body of a query names read tables, which its projection creates later.
_BEGIN = """
set local check_function_bodies = off;
set local search_path = pg_catalog, pg_temp;
create schema if not exists read
"""

# Drops everything that is created from files, because a changed signature or result, or a removed file, must leave
# nothing behind. Tables do not depend on code, except for their triggers, which are code. Upcasters stay, because old
# events are read for ever. The views through which projections read the log are dropped first, and created again
# afterwards. The cascade would also drop somebody else's view that reads one of ours, so its owner has to drop it.
_NAME_CODE_SCHEMAS = "select set_config('foldbook.code_schemas', %s::text[]::text, true)"
_DROP_CODE = """
do $$
declare
    v_schemas regnamespace[] := current_setting('foldbook.code_schemas')::regnamespace[];
    v_others text;
    v_statement text;
begin
    for v_statement in
        select format('drop view if exists %I.log cascade', n.nspname)
        from eventstore.projections p
        cross join unnest('{input,rebuild,verify}'::text[]) as s (copy)
        join pg_namespace n on n.nspname = s.copy || '_' || p.name
    loop
        execute v_statement;
    end loop;

    select string_agg(distinct pg_describe_object(d.classid, d.objid, 0), ', ')
    into v_others
    from pg_depend d
    left join pg_class c on d.refclassid = 'pg_class'::regclass and c.oid = d.refobjid and c.relkind = 'v'
    left join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
    left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    left join pg_class v on v.oid = r.ev_class
    left join pg_proc f on d.classid = 'pg_proc'::regclass and f.oid = d.objid
    left join pg_trigger t on d.classid = 'pg_trigger'::regclass and t.oid = d.objid
    left join pg_class w on w.oid = t.tgrelid
    where coalesce(c.relnamespace, p.pronamespace) = any (v_schemas)
        and d.deptype in ('n', 'a')
        and coalesce(v.relnamespace, f.pronamespace, w.relnamespace, 0)
            <> all (v_schemas);
    if v_others is not null then
        raise exception 'these objects depend on views or functions that the migration replaces: %', v_others
            using errcode = 'FB005', hint = 'drop them, migrate, and create them again';
    end if;

    for v_statement in
        select unnest(array(
            select format('drop view if exists %s cascade', c.oid::regclass)
            from pg_class c
            where c.relnamespace = any (v_schemas)
                and c.relkind = 'v'
            union all
            select format('drop routine if exists %s cascade', p.oid::regprocedure)
            from pg_proc p
            where p.pronamespace = any (v_schemas)
        ))
    loop
        execute v_statement;
    end loop;
end
$$
"""


_LOCKED = "55P03"


class MigrationError(FoldbookError, code="migration", title="The database refused the migration"):
    """The database refused a statement; nothing was changed."""


def migrate(dsn: str, shard_count: int, *, is_forced: bool = False) -> bool:
    """Migrate the database at ``dsn`` and, if its log is new, give it ``shard_count`` shards.

    ``is_forced``: the code is created again, and the rights granted again, even if no file has changed.
    True: engine and auditors have their own roles. False: the login at ``dsn`` may not create them (``roles.py``).

    Raises :class:`LogMismatch` if the log has another number of shards or was migrated by a newer program,
    :class:`StoreUnavailable` if the database can't be reached, and :class:`MigrationError` if it refuses.
    """
    for attempt in range(1, FIRST_ATTEMPTS_MAX + 1):
        try:
            return _migrate(dsn, shard_count, is_forced)
        except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
            refusal = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
            sqlstate = getattr(refusal, "sqlstate", None) or "08"
            if sqlstate in OVERTAKEN and attempt < FIRST_ATTEMPTS_MAX:
                continue
            raise _refused(dsn, sqlstate, str(refusal).strip()) from error
    raise AssertionError


def _refused(dsn: str, sqlstate: str, why: str) -> FoldbookError:
    if sqlstate[:2] in UNREACHABLE_CLASSES:
        return StoreUnavailable(f"the database can't be reached: {why}")
    if sqlstate == _LOCKED and (told := "; ".join(map(str, holders(dsn)))):
        return MigrationError(f"the migration waited in vain for {told}: end what stands in its way, and migrate again")
    return MigrationError(f"the database refused the migration: {why}")


def _migrate(dsn: str, shard_count: int, is_forced: bool) -> bool:
    connection: Connection = connect(dsn, application_name="foldbook migrate")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=sqlalchemy.NullPool
    )
    with engine.begin() as session, clearing_the_way(dsn, connection):
        if connection.info.server_version < OLDEST_SERVER:
            raise LogMismatch(f"the server is PostgreSQL {connection.info.server_version // 10000}: use 15 or newer")
        take_turn(connection)
        connection.execute(_BEGIN)
        _refuse_earlier_shapes(connection)
        for schema in code_schemas():
            connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
        _upgrade_tables(session)
        _name_projections(connection)
        is_replaced = _replace_code(connection, is_forced)
        if is_replaced:
            connection.execute("select eventstore.open_rows(%s)", [code_schemas()])
            connection.execute("select eventstore.revoke_access(%s)", [code_schemas()])
        separated = connection.execute("select eventstore.grant_access(%s)", [code_schemas()]).fetchone()
        connection.execute("select eventstore.projection_retire(%s)", [[path.stem for path in projection_files()]])
        _identify_log(connection, shard_count)
        if is_replaced:
            connection.execute("update eventstore.log_info set program = %s", [VERSION])
    assert separated is not None
    return bool(separated[0])


def _refuse_earlier_shapes(connection: Connection) -> None:
    """A log from before aggregates had types has different tables and hashes, and cannot be migrated."""
    row = connection.execute("select to_regclass('eventstore.alembic_version') is not null").fetchone()
    if row is None or not row[0]:
        return
    found = connection.execute("select version_num from eventstore.alembic_version").fetchone()
    if found is not None and found[0] in EARLIER_SHAPES:
        raise LogMismatch(
            "this log was created by an earlier Foldbook, before aggregates had types, and cannot be migrated: use the "
            "program that created it, or start over with an empty database (docs/operate.md, Start over)"
        )


def _upgrade_tables(session: sqlalchemy.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(alembic_folder()).replace("%", "%%"))
    config.attributes["connection"] = session
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LogMismatch(f"the database was migrated by a newer Foldbook: {error}") from error


def _replace_code(connection: Connection, is_forced: bool) -> bool:
    """Create everything again if any file is new, changed or gone, because files depend on each other. False: none
    is."""
    files = read_code()
    wanted = _digests(files)
    applied = _applied(connection, "select path, sha256 from eventstore.code where object is not null")
    if applied == wanted and not is_forced:
        return False
    connection.execute(_NAME_CODE_SCHEMAS, [[schema for schema in code_schemas() if schema != UPCASTERS]])
    connection.execute(_DROP_CODE)
    for path in in_order_of_need(files):
        try:
            connection.execute(files[path])
        except psycopg.Error as error:
            raise MigrationError(f"the database refused {path}: {str(error).strip()}") from error
    connection.execute("delete from eventstore.code where object is not null")
    needs = needs_of(files)
    connection.cursor().executemany(
        "insert into eventstore.code (path, sha256, object, needs) values (%s, %s, %s, %s)",
        [(path, wanted[path], object_of(ROOT / path), needs[ROOT / path]) for path in wanted],
    )
    connection.execute("select eventstore.projection_make_inputs()")
    return True


def _name_projections(connection: Connection) -> None:
    """Record which projections there are, because the engine may make schemas for no others."""
    wanted = _digests({path: path.read_bytes() for path in projection_files()})
    if _applied(connection, "select path, sha256 from eventstore.code where object is null") != wanted:
        connection.execute("delete from eventstore.code where object is null")
        connection.cursor().executemany(
            "insert into eventstore.code (path, sha256, needs) values (%s, %s, '{}')", list(wanted.items())
        )


def _digests(files: Mapping[Path, bytes]) -> dict[str, str]:
    """The SHA-256 of each file, by its path in the project."""
    return {str(path.relative_to(ROOT)): hashlib.sha256(text).hexdigest() for path, text in files.items()}


def _applied(connection: Connection, question: LiteralString) -> dict[str, str]:
    return dict(connection.execute(question).fetchall())


def _identify_log(connection: Connection, shard_count: int) -> None:
    connection.execute(
        "insert into eventstore.log_info (shard_count) values (%s) on conflict (singleton) do nothing", [shard_count]
    )
    found = connection.execute("select shard_count from eventstore.log_info").fetchone()
    assert found is not None
    if found[0] != shard_count:
        raise LogMismatch.of_shards(found[0], shard_count)
    connection.execute(
        "insert into eventstore.shards (shard) select generate_series(0, %s - 1) on conflict do nothing", [shard_count]
    )
