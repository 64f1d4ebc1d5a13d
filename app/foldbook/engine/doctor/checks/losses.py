"""What processes saw in the log and the log does not have."""

from __future__ import annotations

from collections.abc import Iterator

from foldbook.engine.doctor.finding import Finding, Patient
from foldbook.engine.losses import open_losses


def check(patient: Patient) -> Iterator[Finding]:
    """A failover, or a restore, that took something away."""
    for loss in open_losses(patient.connection):
        yield Finding(
            f"{loss.what} are not in the log, and {loss.process} saw them (found at {loss.found_at})",
            "orders were answered, and may be at the broker, that the log knows nothing of; and who read it knows more",
            "compare the books with the brokers (docs/operate.md, Failover), then: foldbook audit losses --settle",
        )
