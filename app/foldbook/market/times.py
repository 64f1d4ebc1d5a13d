"""Columns of times, as text, to nanoseconds since 1970-01-01T00:00:00Z.

Each function takes a whole column and raises ``ValueError`` if it cannot read one of its cells, with a text that
continues "the time '…'".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from foldbook.eventstore.times import parse_time
from foldbook.market.records import ns_of

Times: TypeAlias = Callable[[Sequence[str]], list[int]]

_END_NS = 253_402_300_800 * 10**9
"""The year 10000, where ``datetime`` ends."""

_MS, _US, _S = 10**6, 10**3, 10**9
_MICROSECONDS_FROM = 10**14
"""Binance writes milliseconds until 2024 and microseconds since. As milliseconds this is the year 5138, as microseconds
it is 1973."""

_SECOND = len("2026-01-02T03:04:05")
_FRACTION_DIGITS = 9

_PLAIN = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?:(:\d\d)(?:[.,](\d+))?)?[ ]?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_DATE = re.compile(r"[12]\d{3}[01]\d[0-3]\d", re.ASCII)
"""20260102: as a number of seconds it is in the year 1970."""


def nanoseconds(texts: Sequence[str]) -> list[int]:
    """Integers: nanoseconds. Anything else: RFC 3339."""
    return _in_range(_integers(texts)) if _are_integers(texts) else rfc3339(texts)


def microseconds(texts: Sequence[str]) -> list[int]:
    """Integers: microseconds."""
    return _in_range([time * _US for time in _integers(texts)])


def binance(texts: Sequence[str]) -> list[int]:
    """Integers: milliseconds, or the microseconds of 2025 and later."""
    return _in_range([time * _binance_unit(time) for time in _integers(texts)])


def binance_ends(texts: Sequence[str]) -> list[int]:
    """The same for the last millisecond or microsecond of something: when it is over."""
    return _in_range([(time + 1) * _binance_unit(time) for time in _integers(texts)])


def plain(texts: Sequence[str]) -> list[int]:
    """What spreadsheets and data frames write: a date, a date and a time (in UTC unless there is an offset), or an
    integer, whose size tells whether it is seconds, milliseconds, microseconds or nanoseconds."""
    return _in_range([_plain(text) for text in texts])


def rfc3339(texts: Sequence[str]) -> list[int]:
    """RFC 3339 with an offset; what is below a nanosecond is cut off."""
    times = []
    for text in texts:
        fraction = text[_SECOND + 1 : -1]
        if text[-1:] == "Z" and text[_SECOND : _SECOND + 1] == "." and fraction.isdigit() and fraction.isascii():
            times.append(_whole_seconds(text[:_SECOND], "Z") + _fraction(fraction))
        else:
            times.append(_rfc3339(text))
    return times


def _rfc3339(text: str) -> int:
    whole, rest = text[:_SECOND], text[_SECOND:]
    if rest.startswith("."):
        digits = re.match(r"\.([0-9]+)", rest)
        if digits is not None:
            return _whole_seconds(whole, rest[digits.end() :]) + _fraction(digits[1])
    return _whole_seconds(whole, rest)


@lru_cache(maxsize=4096)
def _whole_seconds(text: str, offset: str) -> int:
    return ns_of(parse_time(text + offset))


def _fraction(digits: str) -> int:
    """In nanoseconds."""
    return int(digits[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, "0"))


def _plain(text: str) -> int:
    if (found := _PLAIN.fullmatch(text)) is not None:
        date, minutes, seconds, fraction, offset = found.groups()
        offset = "Z" if offset is None else offset
        offset = offset if len(offset) in (1, 6) else f"{offset[:3]}:{offset[3:]}"
        whole = _whole_seconds(f"{date}T{minutes or '00:00'}{seconds or ':00'}", offset)
        return whole + _fraction(fraction) if fraction else whole
    if _DATE.fullmatch(text):
        return _whole_seconds(f"{text[:4]}-{text[4:6]}-{text[6:]}T00:00:00", "Z")
    if not _are_integers([text]):
        raise ValueError("must be written as 2026-01-02 or 2026-01-02 03:04:05, or be an integer")
    time = int(text)
    for end, unit in ((10**11, _S), (10**14, _MS), (10**17, _US)):
        if time < end:
            return time * unit
    return time


def _binance_unit(time: int) -> int:
    return _US if time >= _MICROSECONDS_FROM else _MS


def _are_integers(texts: Sequence[str]) -> bool:
    joined = "".join(texts)
    return joined.isdigit() and joined.isascii()


def _integers(texts: Sequence[str]) -> list[int]:
    if not _are_integers(texts):
        raise ValueError("must be an integer")
    try:
        return list(map(int, texts))
    except ValueError:
        raise ValueError("must be an integer") from None


def _in_range(times: list[int]) -> list[int]:
    if max(times) >= _END_NS:
        raise ValueError("is after the year 9999")
    return times
