"""Auditors' logins that nothing bounds."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.postgres.calls import call
from foldbook.postgres.embedded import PREPARE

_BOUNDS = call("audit.auditor_bounds", 0)
_UNBOUNDED = {
    "connections": ("may open any number of connections", "it can take all that the engine needs"),
    "temp_files": ("may fill the disk with temporary files", "a full disk stops all trading"),
    "objects": (
        "may make temporary tables, large objects, or tables in schema public",
        "they fill the disk, and can keep a migration waiting",
    ),
}


def check(patient: Patient) -> Iterator[Finding]:
    """Logins that can only read the log, and of these what they may take."""
    for login, lacking in patient.connection.execute(_BOUNDS.encode()):
        problem, why = _UNBOUNDED[lacking]
        yield Finding(f"{login} {problem}", why, f'as a superuser: psql --dbname=<this database> --file="{PREPARE}"')
