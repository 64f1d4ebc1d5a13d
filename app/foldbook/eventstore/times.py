"""Times in requests: RFC 3339, with the leap seconds that FIX allows too."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_SECOND = len("2026-01-02T03:04:")
"""Where the seconds begin."""


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time with an offset; the result is in UTC. Raises ``ValueError``.

    Digits after the microseconds are cut off, never rounded up into the next second. Second 60, which RFC 3339 and FIX
    allow for a leap second, is the first second of the next minute: neither Python nor PostgreSQL has leap seconds.
    """
    if (found := _TIME.fullmatch(text)) is None:
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z")
    is_leap = found[1] == "60"
    plain = (f"{text[:_SECOND]}59{text[_SECOND + 2 :]}" if is_leap else text).upper()
    try:
        moment = datetime.fromisoformat(plain)  # cuts off the digits after the microseconds
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
        return moment + timedelta(seconds=1) if is_leap else moment
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
    except ValueError:
        raise ValueError("is not a date of the calendar") from None
