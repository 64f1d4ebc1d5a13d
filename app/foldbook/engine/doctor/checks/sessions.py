"""What the server does to every session, and no session can change."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.postgres.roles import AUDITOR, GRANT, may_take_on

_WEAK = "select name from pg_settings where name = any ('{fsync,full_page_writes}') and setting = 'off'"


def check(patient: Patient) -> Iterator[Finding]:
    """A server that loses what it has acknowledged, roles that are not separated."""
    for (name,) in patient.connection.execute(_WEAK):
        yield Finding(
            f"the server runs with {name} = off",
            "when its machine crashes, commands that were acknowledged can be lost, and the database can be damaged",
            f'as a superuser: psql -c "alter system set {name} = on" -c "select pg_reload_conf()"',
        )
    if not may_take_on(patient.connection, AUDITOR):
        yield Finding(
            "the roles are not separated: engine and auditors run as the login that owns the log",
            "only triggers and hashes protect the log from the engine and from an auditor",
            GRANT,
        )
