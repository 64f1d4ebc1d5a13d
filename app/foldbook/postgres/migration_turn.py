"""One migration at a time, and what it does about sessions that stand in its way.

A migration locks a table that nobody but the owner may lock. It replaces views that auditors read, and waits for those
who read them: a session of an auditor that does not let go is ended after a while, because any reader could otherwise
keep a database from ever being migrated. Whoever else stands in the way is named.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from foldbook.postgres.blocking import connect
from foldbook.postgres.roles import AUDITOR, ENGINE

AUDITORS_PATIENCE_S = 10.0
LOOK_INTERVAL_S = 0.5

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

# Found first and ended then: the order of conditions is the server's choice.
_END_AUDITORS = """
with auditor as materialized (
    select distinct a.pid, a.usename
    from pg_locks l
    cross join unnest(pg_blocking_pids(l.pid)) as b (pid)
    join pg_stat_activity a on a.pid = b.pid
    where l.pid = %s
        and not l.granted
        and l.waitstart < clock_timestamp() - %s * interval '1 s'
        and pg_has_role(a.usesysid, to_regrole(%s), 'member')
        and not pg_has_role(a.usesysid, to_regrole(%s), 'member')
        and pg_has_role(a.usesysid, 'usage')
)
select pid, usename
from auditor
where pg_terminate_backend(pid)
"""

logger = logging.getLogger(__name__)


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
    if is_done.wait(LOOK_INTERVAL_S):  # As most are: nobody was in the way.
        return
    with suppress(psycopg.Error), connect(dsn, application_name="foldbook migrate") as connection:
        connection.autocommit = True
        while not is_done.wait(LOOK_INTERVAL_S):
            for ended in connection.execute(_END_AUDITORS, [pid, AUDITORS_PATIENCE_S, AUDITOR, ENGINE]):
                logger.warning("ended process %s of %s, an auditor's, which kept the migration waiting", *ended)
