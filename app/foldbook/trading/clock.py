"""Which time decides: the one that was told, unless it cannot be right.

A report tells when it happened, by somebody else's clock. That time is kept and shown as it was told. What decides
(days, windows, how old a price is, which of two reports is the later one) uses it only if it is not ahead of the time
of receipt: a venue's wrong clock or time zone must not switch a limit off. In a backtest, receipt is virtual time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

AHEAD_MAX = timedelta(seconds=5)
"""How far a venue's clock may be ahead of ours. Never into another day (UTC)."""


def counted_at(told: datetime | None, received_at: datetime) -> datetime | None:
    """When something counts, if that is not the time that was told: none was, or one too far ahead of its receipt."""
    if told is None:
        return received_at
    if told <= received_at:
        return None
    is_next_day = told.astimezone(UTC).date() > received_at.astimezone(UTC).date()
    return received_at if is_next_day or told - received_at > AHEAD_MAX else None


def comparable(told: datetime | None, counted: datetime | None) -> datetime | None:
    """The time with which other reports may be compared. Only what was told by the venue's clock can be: to compare a
    time of receipt with it would compare two clocks."""
    return told if counted is None else None


def latest(a: datetime | None, b: datetime | None) -> datetime | None:
    return max(a, b) if a is not None and b is not None else a or b
