"""Times in requests: RFC 3339, as FIX writes them too."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<minute>(?:[01]\d|2[0-3]):\d\d):(?P<second>[0-5]\d|60)(?:\.(?P<fraction>\d+))?"
    r"(?P<offset>[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 time with an offset from UTC names, in UTC. Raises ``ValueError``.

    Digits after the microseconds are cut off, never rounded up into the next second. Second 60, which RFC 3339 and FIX
    allow for a leap second, is the first second of the next minute: neither Python nor PostgreSQL has leap seconds.
    """
    if (found := _TIME.fullmatch(text)) is None:
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z")
    date, minute, second, fraction, offset = found.groups()
    is_leap = second == "60"
    plain = f"{date}T{minute}:{'59' if is_leap else second}.{(fraction or '0')[:6]:0<6}{offset.upper()}"
    try:
        moment = datetime.fromisoformat(plain).astimezone(UTC)
        return moment + timedelta(seconds=1) if is_leap else moment
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
    except ValueError:
        raise ValueError("is not a day of the calendar, or not a time of day") from None
