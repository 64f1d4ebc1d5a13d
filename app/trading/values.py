"""The values of trading: accounts, decimals, and the words of FIX."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from enum import StrEnum
from typing import NewType

NAME = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"
"""What a user, exchange, order, strategy or symbol may be called."""

BROKERS = ("live", "simulated", "backtest")

AccountId = NewType("AccountId", str)
"""``user/exchange/broker``: the identity of an order book."""

_ACCOUNT = re.compile(rf"{NAME}/{NAME}/({'|'.join(BROKERS)})\Z")

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow])
"""The arithmetic of money: exact, or an error. 120 digits hold a sum of products of the largest amounts."""

INTEGER_DIGITS_MAX = 20
FRACTION_DIGITS_MAX = 18

ZERO = Decimal(0)


class Side(StrEnum):
    """FIX Side (54)."""

    BUY = "BUY"
    SELL = "SELL"


class OrderType(StrEnum):
    """FIX OrdType (40)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"


class TimeInForce(StrEnum):
    """FIX TimeInForce (59)."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class OrdStatus(StrEnum):
    """FIX OrdStatus (39): the working state of an order."""

    CREATED = "CREATED"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    PENDING_CANCEL = "PENDING_CANCEL"


class PendingRequest(StrEnum):
    """What was asked of the broker and not yet answered: the second axis of an order's state."""

    NONE = "NONE"
    CANCEL = "CANCEL"


class ExecType(StrEnum):
    """FIX ExecType (150): what a broker reports."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"


def is_account(text: str) -> bool:
    return _ACCOUNT.match(text) is not None


def canonical(value: Decimal) -> Decimal:
    """The same finite amount without trailing zeros and without an exponent, so that ``str`` of it is plain."""
    normal = value.normalize(EXACT)
    if normal.is_zero():
        return ZERO
    return normal.quantize(Decimal(1), context=EXACT) if normal.as_tuple().exponent > 0 else normal  # type: ignore[operator]


def add(a: Decimal, b: Decimal) -> Decimal:
    return canonical(EXACT.add(a, b))


def subtract(a: Decimal, b: Decimal) -> Decimal:
    return canonical(EXACT.subtract(a, b))


def multiply(a: Decimal, b: Decimal) -> Decimal:
    return canonical(EXACT.multiply(a, b))
