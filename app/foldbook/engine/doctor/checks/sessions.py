"""What the server does to every session, and no session can change."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.postgres.roles import AUDITOR, GRANT, may_take_on

_WEAK = "select name from pg_settings where name = any ('{fsync,full_page_writes}') and setting = 'off'"
_READ_ONLY = "select current_setting('default_transaction_read_only') = 'on', quote_ident(current_database())"


def check(patient: Patient) -> Iterator[Finding]:
    """A server that loses what it has acknowledged, a database that takes nothing, roles that are not separated."""
    for (name,) in patient.connection.execute(_WEAK):
        yield Finding(
            f"the server runs with {name} = off",
            "when its machine crashes, commands that were acknowledged can be lost, and the database can be damaged",
            f'as a superuser: psql -c "alter system set {name} = on" -c "select pg_reload_conf()"',
        )
    for is_read_only, database in patient.connection.execute(_READ_ONLY):
        if is_read_only:
            yield Finding(
                "the database is set to read-only (default_transaction_read_only)",
                "every command is answered with 503; hosters do this when a disk is full, operators to fence a server",
                f'when the cause is gone: foldbook psql --owner -c "alter database {database} '
                'reset default_transaction_read_only", or as whoever set it',
            )
    if not may_take_on(patient.connection, AUDITOR):
        yield Finding(
            "the roles are not separated: engine and auditors run as the login that owns the log",
            "only triggers and hashes protect the log from the engine and from an auditor",
            GRANT,
        )
