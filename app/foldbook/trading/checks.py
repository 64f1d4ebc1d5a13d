"""Checks of the values in a command. Each raises an ``invalid-command`` that names the field."""

from __future__ import annotations

from decimal import Decimal

from foldbook.errors import Refusal
from foldbook.trading.values import EXACT, FRACTION_DIGITS_MAX, INTEGER_DIGITS_MAX, ZERO, OrderType

LIMIT_TYPES = (OrderType.LIMIT, OrderType.STOP_LIMIT)
STOP_TYPES = (OrderType.STOP, OrderType.STOP_LIMIT)


def invalid(name: str, what: str) -> Refusal:
    return Refusal("invalid-command", f"{name} {what}", field=name)


def check_positive(name: str, amount: Decimal) -> None:
    if is_amount(amount) and amount > ZERO:
        return
    check_amount(name, amount)
    raise invalid(name, "must be greater than 0")


def check_not_negative(name: str, amount: Decimal) -> None:
    check_amount(name, amount)
    if amount < ZERO:
        raise invalid(name, "must not be negative")


def check_amount(name: str, amount: Decimal) -> None:
    if is_amount(amount):
        return
    if not amount.is_finite():
        raise invalid(name, "must be a finite number")
    digits = f"{INTEGER_DIGITS_MAX} digits before the point and {FRACTION_DIGITS_MAX} after it"
    raise invalid(name, f"must have at most {digits}")


def is_amount(amount: Decimal) -> bool:
    """Is it finite, with no more digits than an amount may have? as_tuple() would be slower: it builds the digits."""
    if not amount.is_finite() or amount.adjusted() >= INTEGER_DIGITS_MAX:
        return False
    return not EXACT.remainder(amount, _SMALLEST)


_SMALLEST = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)


def check_price(
    name: str, price: Decimal | None, order_type: OrderType, *, is_needed: bool, is_allowed: bool, is_signed: bool
) -> None:
    """The price of an order. ``is_needed``: it must have one; ``is_allowed``: it may; ``is_signed``: zero and below are
    prices, too."""
    if price is None:
        if is_needed:
            raise invalid(name, f"is required for a {order_type} order")
    elif not is_allowed:
        raise invalid(name, f"is not allowed for a {order_type} order")
    elif is_signed:
        check_amount(name, price)
    else:
        check_positive(name, price)
