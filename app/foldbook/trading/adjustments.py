"""What changes an account without a trade: what it held before, transfers, splits, funding, dividends, fees, cash.

Each is a fact with the reference of the document that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.checks import check_amount, invalid
from foldbook.trading.commands import AdjustAccount
from foldbook.trading.events import AccountAdjusted
from foldbook.trading.position import Position, share
from foldbook.trading.state import SYMBOLS_MAX, Book
from foldbook.trading.values import (
    EXACT,
    FRACTION_DIGITS_MAX,
    ONE,
    ZERO,
    AdjustmentKind,
    canonical,
    subtract,
    unit_cost,
)

_OF_POSITION_OR_CASH = (AdjustmentKind.OPENING, AdjustmentKind.TRANSFER)
_SPLIT = ("split_to", "split_from")
_POSITION = ("quantity", "price")
_MONEY = ("currency", "amount")


def adjust_account(command: AdjustAccount, book: Book) -> Sequence[Event]:
    for name in (*_POSITION, "amount"):
        if (amount := getattr(command, name)) is not None:
            check_amount(name, amount)
    if command.kind is AdjustmentKind.SPLIT:
        _check_fields(command, needed=("symbol", *_SPLIT), unknown=(*_POSITION, *_MONEY))
        return (_split(command, book),)
    if command.kind in _OF_POSITION_OR_CASH and command.quantity is not None:
        _check_fields(command, needed=("symbol", "quantity"), unknown=(*_SPLIT, *_MONEY))
        return (_moved(command, book),)
    symbol = ("symbol",) if command.kind in (*_OF_POSITION_OR_CASH, AdjustmentKind.CASH) else ()
    _check_fields(command, needed=_MONEY, unknown=(*_SPLIT, *_POSITION, *symbol))
    if not command.amount:
        raise invalid("amount", "must not be 0")
    return (_event(command, symbol=command.symbol, currency=command.currency, amount=command.amount),)


def _check_fields(command: AdjustAccount, needed: Sequence[str], unknown: Sequence[str]) -> None:
    for name in needed:
        if getattr(command, name) is None:
            raise invalid(name, f"is required for {command.kind}")
    for name in unknown:
        if getattr(command, name) is not None:
            raise invalid(name, f"is not allowed for {command.kind} with {' and '.join(needed)}")


def _split(command: AdjustAccount, book: Book) -> AccountAdjusted:
    split_to, split_from = command.split_to, command.split_from
    if not split_to:
        raise invalid("split_to", "must be at least 1")
    if not split_from:
        raise invalid("split_from", "must be at least 1")
    position = _held(command, book)
    up, down = Decimal(FRACTION_DIGITS_MAX), Decimal(-FRACTION_DIGITS_MAX)
    scaled = EXACT.scaleb(EXACT.multiply(position.quantity, Decimal(split_to)), up)
    quantity = canonical(EXACT.scaleb(EXACT.divide_int(scaled, Decimal(split_from)), down))
    return _of_position(
        command,
        book,
        quantity=subtract(quantity, position.quantity),
        value=ZERO,
        split_to=split_to,
        split_from=split_from,
    )


def _moved(command: AdjustAccount, book: Book) -> AccountAdjusted:
    quantity, symbol = command.quantity, command.symbol
    assert quantity is not None and symbol is not None
    if not quantity:
        raise invalid("quantity", "must not be 0")
    position = book.positions.get(symbol)
    if position is None:
        if len(book.positions) >= SYMBOLS_MAX:
            raise Refusal("too-many-symbols", f"an account may have at most {SYMBOLS_MAX} symbols")
        position = Position()
    held = position.quantity
    is_reducing = bool(held) and held.is_signed() is not quantity.is_signed()
    if command.price is not None:
        if is_reducing:
            raise invalid("price", "is not allowed for what leaves a position: it leaves at its average cost")
        instrument = book.instrument(symbol)
        unit = unit_cost(command.price, instrument.multiplier, instrument.kind)
        value = EXACT.multiply(quantity, unit)
    elif not is_reducing:
        raise invalid("price", "is required for what is added to a position")
    elif quantity.copy_abs() > held.copy_abs():
        raise invalid("quantity", "must not be more than the account holds")
    elif quantity.copy_abs() == held.copy_abs():
        value = position.cost.copy_negate()
    else:
        value = share(position.cost, quantity, held)
    return _of_position(command, book, quantity=quantity, price=command.price, value=value)


def _held(command: AdjustAccount, book: Book) -> Position:
    position = book.positions.get(command.symbol or "")
    if position is None or not position.quantity:
        raise Refusal("no-position", f"the account has no position in {command.symbol}")
    return position


def _of_position(command: AdjustAccount, book: Book, **facts: Any) -> AccountAdjusted:
    assert command.symbol is not None
    instrument = book.instrument(command.symbol)
    return _event(
        command,
        symbol=command.symbol,
        instrument_kind=instrument.kind,
        multiplier=instrument.multiplier if instrument.multiplier != ONE else None,
        base_currency=instrument.base_currency,
        quote_currency=instrument.quote_currency,
        **facts,
    )


def _event(command: AdjustAccount, **facts: Any) -> AccountAdjusted:
    return AccountAdjusted(
        kind=command.kind,
        reference=command.reference,
        text=command.reason,
        transact_time=command.transact_time,
        counted_at=command.counted_at,
        **facts,
    )
