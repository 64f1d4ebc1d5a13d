"""Times in requests."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from foldbook.api.times import parse_time


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05+05:30", "2026-01-01T21:34:05"),
        ("2026-12-31T23:04:05-01:00", "2027-01-01T00:04:05"),
        ("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100000"),
        # Cut, not rounded into the next day.
        ("2026-01-02T23:59:59.999999999Z", "2026-01-02T23:59:59.999999"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000"),
        ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00"),
    ],
)
def test_a_time_is_read(text: str, moment: str) -> None:
    assert parse_time(text) == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05 01:00",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+01:60",
        "2026-01-02T03:04:61Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-14:00",
        "+2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-W01-1T03:04:05Z",
    ],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|second|offset|month|day|hour|minute|year|Invalid"):
        parse_time(text)
