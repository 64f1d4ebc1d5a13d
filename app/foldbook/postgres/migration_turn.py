"""One migration at a time, and what it does about sessions that stand in its way.

A migration locks a table that nobody but the owner may lock. It replaces views that auditors read, and waits for those
who read them: a session of an auditor that does not let go is ended after a while, because any reader could otherwise
keep a database from ever being migrated. Whoever else stands in the way is named.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from foldbook.postgres.roles import AUDITOR, ENGINE

AUDITORS_PATIENCE_S = 10.0
LOOK_INTERVAL_S = 0.5
CONNECT_TIMEOUT_S = 10

# The lock timeout bounds the wait for whoever holds a lock, another migration included. `code` is created by the first
# migration: two first migrations meet at the schema, where the second waits and then fails, and begins again.
_TAKE_TURN = """
set local lock_timeout = '60s';
create schema if not exists eventstore;
do $$
begin
    if to_regclass('eventstore.code') is not null then
        lock table eventstore.code in exclusive mode;
    end if;
end
$$
"""
OVERTAKEN = ("23505", "42P06", "42P07")  # unique violation, duplicate schema, duplicate table

_END_AUDITORS = """
select pg_terminate_backend(a.pid)
from pg_locks l
cross join unnest(pg_blocking_pids(l.pid)) as b (pid)
join pg_stat_activity a on a.pid = b.pid
where l.pid = %s
    and not l.granted
    and l.waitstart < clock_timestamp() - %s * interval '1 s'
    and pg_has_role(a.usesysid, to_regrole(%s), 'member')
    and not pg_has_role(a.usesysid, to_regrole(%s), 'member')
    and pg_has_role(a.usesysid, 'usage')
"""

_HOLDERS = """
select distinct format('session %%s of %%s (%%s)', a.pid, a.usename, a.application_name)
from pg_locks l
join pg_class c on l.locktype = 'relation' and c.oid = l.relation
join pg_namespace n on n.oid = c.relnamespace
join pg_stat_activity a on a.pid = l.pid
where l.database = (select d.oid from pg_database d where d.datname = current_database())
    and l.granted
    and l.pid <> pg_backend_pid()
    and (n.nspname = any (%s) or n.nspname like 'input\\_%%')
order by 1
limit 10
"""


def take_turn(connection: psycopg.Connection[Any]) -> None:
    """Wait until no other migration is under way, until the end of the transaction. Raises what psycopg raises; with an
    SQLSTATE of ``OVERTAKEN``, another first migration was quicker: begin again."""
    connection.execute(_TAKE_TURN)


@contextmanager
def clearing_the_way(dsn: str, connection: psycopg.Connection[Any]) -> Iterator[None]:
    """End the auditors' sessions that ``connection`` has been waiting for."""
    is_done = threading.Event()
    thread = threading.Thread(target=_clear, args=(dsn, connection.info.backend_pid, is_done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


def _clear(dsn: str, pid: int, is_done: threading.Event) -> None:
    with (
        suppress(psycopg.Error),
        psycopg.connect(
            dsn, connect_timeout=CONNECT_TIMEOUT_S, autocommit=True, application_name="foldbook migrate"
        ) as connection,
    ):
        while not is_done.wait(LOOK_INTERVAL_S):
            connection.execute(_END_AUDITORS, [pid, AUDITORS_PATIENCE_S, AUDITOR, ENGINE])


def holders(dsn: str, schemas: list[str]) -> str:
    """Who holds locks on what is in ``schemas``, for people."""
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            return ", ".join(told for (told,) in connection.execute(_HOLDERS, [[*schemas, "read"]]))
    except psycopg.Error:
        return ""
