"""Code, rights and triggers that are not as a migration made them."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.audit.guards import missing_guards_on
from foldbook.engine.doctor.finding import Finding, Patient

FINDINGS_MAX = 20
WHY = "what the log is, what it says, or who may write it, is not what this program says"


def check(patient: Patient) -> Iterator[Finding]:
    """Whatever in the database differs from what this program's files make."""
    found = missing_guards_on(patient.connection)
    for guard, mend in found[:FINDINGS_MAX]:
        yield Finding(guard, WHY, mend)
    if len(found) > FINDINGS_MAX:
        yield Finding("and more that differs", WHY, "foldbook audit verify names it")
