"""What doctor looks for: one module per topic, each with a ``check`` (:data:`foldbook.engine.doctor.finding.Check`).

They ask a database that can be reached and is migrated.
"""

from __future__ import annotations

from foldbook.engine.doctor.checks import (
    auditors,
    clocks,
    guards,
    holding,
    losses,
    projections,
    sessions,
    shards,
    writing,
)
from foldbook.engine.doctor.finding import Check

CHECKS: tuple[Check, ...] = (
    writing.check,
    holding.check,
    guards.check,
    projections.check,
    losses.check,
    shards.check,
    sessions.check,
    clocks.check,
    auditors.check,
)
