"""Parts of the engine that would run as root."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.engine.privileges import why_not


def check(patient: Patient) -> Iterator[Finding]:
    """Root starts the engine, and its parts can't become another user."""
    if (reason := why_not(patient.settings)) is not None:
        yield Finding(
            f"started by root, every part of the engine runs as root: {reason}",
            "who finds a hole in the API has the whole machine",
            "run `foldbook up` as an ordinary user, or install Foldbook where all users can read it",
        )
