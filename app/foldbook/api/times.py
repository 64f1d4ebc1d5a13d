"""Times in requests: RFC 3339."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt](?P<minute>\d\d:\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>\d\d):(?P<minutes>\d\d))",
    re.ASCII,
)


def parse_time(text: str) -> datetime:
    """The moment that an RFC 3339 time with an offset from UTC names, in UTC. Raises :class:`ValueError`.

    Digits after the microseconds are cut off. Second 60, which RFC 3339 and FIX allow for a leap second, is the first
    second of the next minute, because neither Python nor PostgreSQL has leap seconds.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z")
    second = int(found["second"])
    if second > 60:
        raise ValueError("a minute has no second after 60")
    microsecond = int((found["fraction"] or "")[:6].ljust(6, "0"))
    try:
        local = datetime.fromisoformat(f"{found['date']}T{found['minute']}:00")
        moment = local + timedelta(seconds=second, microseconds=microsecond) - _offset(found)
    except OverflowError:
        raise ValueError("the time is not within the years 1 to 9999, in UTC") from None
    return moment.replace(tzinfo=UTC)


def _offset(found: re.Match[str]) -> timedelta:
    if found["sign"] is None:
        return timedelta(0)
    hours, minutes = int(found["hours"]), int(found["minutes"])
    if hours > 23 or minutes > 59:
        raise ValueError("the offset has at most 23 hours and 59 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if found["sign"] == "-" else offset
