"""Who keeps a migration waiting: sessions with an open transaction that has used something of Foldbook's.

A reader, too, keeps a table from being changed until its transaction ends. What bounds an auditor's transaction are
settings that the auditor may change, so the owner can end it.
"""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from foldbook.postgres.blocking import connect

# Constants, because the functions of the database are what is being replaced.
_HOLDERS = """
select distinct
    a.pid,
    a.usename::text,
    coalesce(nullif(a.application_name, ''), 'unnamed'),
    date_trunc('second', clock_timestamp() - a.xact_start)::text
from pg_locks l
join pg_database d on d.oid = l.database and d.datname = current_database()
join pg_class c on c.oid = l.relation
join pg_namespace n on n.oid = c.relnamespace and n.nspname !~ '^(pg_|information_schema$)'
join pg_stat_activity a on a.pid = l.pid
where l.granted
    and l.pid <> pg_backend_pid()
order by a.pid
"""


class Holder(NamedTuple):
    """A session. ``age``: of its transaction, if this login may know it."""

    pid: int
    login: str
    program: str
    age: str | None

    def __str__(self) -> str:
        since = "" if self.age is None else f", in a transaction for {self.age}"
        return f"process {self.pid} of {self.login} ({self.program}{since})"


def holders(dsn: str) -> list[Holder]:
    """Those of this moment; none, if the database does not say."""
    try:
        with connect(dsn) as connection:
            return [Holder(*row) for row in connection.execute(_HOLDERS)]
    except psycopg.Error:
        return []
