"""What doctor looks for: one module per topic, each with a ``check`` (:data:`foldbook.engine.doctor.finding.Check`).

They ask a database that can be reached and is migrated.
"""

from __future__ import annotations

from foldbook.engine.doctor.checks import auditors, losses, projections, sessions, shards
from foldbook.engine.doctor.finding import Check

CHECKS: tuple[Check, ...] = (projections.check, losses.check, shards.check, sessions.check, auditors.check)
