"""What a risk check answers when it says no."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec

from foldbook.trading.values import EXACT, canonical

NONE = "none"
"""Observed where there is nothing to compare with."""

SYMBOLS_SHOWN_MAX = 10


class Denial(msgspec.Struct, frozen=True):
    """Which check said no, what it allows, and what it saw: canonical decimals, or words."""

    code: str
    limit: str
    observed: str


def denial_of(code: str, limit: Decimal, observed: Decimal) -> Denial:
    return Denial(code, text(limit), text(observed))


def text(value: Decimal) -> str:
    return f"{canonical(value):f}"


def seconds(duration: timedelta) -> str:
    return text(Decimal(duration // timedelta(microseconds=1)).scaleb(-6, EXACT))


def shown(symbols: tuple[str, ...]) -> str:
    rest = ("...",) if len(symbols) > SYMBOLS_SHOWN_MAX else ()
    return ",".join((*symbols[:SYMBOLS_SHOWN_MAX], *rest))
