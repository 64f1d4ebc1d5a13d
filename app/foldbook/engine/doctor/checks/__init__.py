"""What doctor looks for: one module per topic, each with a ``check`` (:data:`foldbook.engine.doctor.finding.Check`).

They ask a database that can be reached and is migrated.
"""

from __future__ import annotations

from foldbook.engine.doctor.checks import guards, projections
from foldbook.engine.doctor.finding import Check

CHECKS: tuple[Check, ...] = (projections.check, guards.check)
