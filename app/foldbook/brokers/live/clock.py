"""The exchange's clock against ours. Requests are dated, and one that is dated wrongly is refused or believed late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec


class ClockCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How far the exchange's clock was from ours. ``at``: when, by ours."""

    at: datetime
    difference_s: float
    """Positive: the exchange's is ahead."""
    took_s: float
    """How long the question took: the difference is known to half of it."""
    is_off: bool

    @property
    def text(self) -> str:
        way = "ahead of" if self.difference_s >= 0 else "behind"
        told = f"the exchange's clock is {abs(self.difference_s):.3f} s {way} this machine's"
        return f"{told}: nothing is traded until they agree; see that the time is synchronised" if self.is_off else told


async def compared(
    clock: Callable[[], datetime], theirs: Callable[[], Awaitable[datetime]], difference_max_s: float
) -> ClockCheck:
    """The exchange's time was read somewhere between question and answer: in the middle, as far as anybody knows."""
    asked_at = clock()
    time = await theirs()
    answered_at = clock()
    took: timedelta = answered_at - asked_at
    difference = time - (asked_at + took / 2)
    return ClockCheck(
        at=answered_at,
        difference_s=difference.total_seconds(),
        took_s=took.total_seconds(),
        is_off=abs(difference) > timedelta(seconds=difference_max_s),
    )
