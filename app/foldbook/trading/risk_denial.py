"""The answer of a risk check that denies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec

from foldbook.trading.values import EXACT, canonical

NONE = "none"
"""The observed value if there is nothing to compare with."""

SYMBOLS_SHOWN_MAX = 10


class Denial(msgspec.Struct, frozen=True):
    """The check that denied, its limit, and what it observed: canonical decimals, or words."""

    code: str
    limit: str
    observed: str


def denial_of(code: str, limit: Decimal, observed: Decimal) -> Denial:
    return Denial(code, text(limit), text(observed))


def text(value: Decimal) -> str:
    return f"{canonical(value):f}"


def time_text(time: datetime) -> str:
    """RFC 3339 in UTC, with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds(duration: timedelta) -> str:
    return text(Decimal(duration // timedelta(microseconds=1)).scaleb(-6, EXACT))


def shown(symbols: tuple[str, ...]) -> str:
    rest = ("...",) if len(symbols) > SYMBOLS_SHOWN_MAX else ()
    return ",".join((*symbols[:SYMBOLS_SHOWN_MAX], *rest))
