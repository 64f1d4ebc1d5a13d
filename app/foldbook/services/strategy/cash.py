"""The cash of an account, by currency, as the fold of its events: the ledger's column of that name, event by event.

What is paid and received, fees included; a fee that is taken from what was traded is not paid in cash. Money in a
currency that is unknown is in the unit ``<symbol>|quote``, as in the ledger; when it is put right, so is the cash. A
currency that was put right and is unknown again later is the ledger's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import immutables

from foldbook.eventstore.events import Event
from foldbook.trading.events import (
    AccountAdjusted,
    ExecutionBooked,
    ExecutionBusted,
    ExecutionCorrected,
    FillBusted,
    FillCorrected,
    InstrumentDefined,
    OrderFilled,
)
from foldbook.trading.values import EXACT, ZERO, AdjustmentKind, InstrumentKind, Side, canonical, unit_cost

Cash: TypeAlias = immutables.Map[str, Decimal]
"""By currency."""

_FILLS = (OrderFilled, ExecutionBooked)
_BUSTS = (FillBusted, ExecutionBusted)
_CORRECTIONS = (FillCorrected, ExecutionCorrected)
_INVERSE, _SPOT = InstrumentKind.INVERSE, InstrumentKind.SPOT


def cash_from(known: Mapping[str, str]) -> Cash:
    return immutables.Map({currency: Decimal(amount) for currency, amount in known.items()})


def evolve_cash(cash: Cash, event: Event) -> Cash:
    """The cash after the event."""
    if isinstance(event, _FILLS):
        return _filled(cash, event, is_undone=False)
    if isinstance(event, _BUSTS):
        return _filled(cash, event, is_undone=True)
    if isinstance(event, _CORRECTIONS):
        return _filled(_previous(cash, event), event, is_undone=False)
    if isinstance(event, AccountAdjusted) and event.currency is not None and event.amount is not None:
        amount = event.amount.copy_negate() if event.kind is AdjustmentKind.FEE else event.amount
        return _add(cash, event.currency, amount)
    if isinstance(event, InstrumentDefined) and event.put_right:
        return _renamed(cash, event)
    return cash


def unit_of(symbol: str, currency: str | None) -> str:
    """Where the money of a symbol is: its currency of settlement, or what stands for an unknown one."""
    return f"{symbol}|quote" if currency is None else currency


def _filled(cash: Cash, event: Any, *, is_undone: bool) -> Cash:
    return _moved(
        cash, event, event.last_qty, event.last_px, event.gross_amount, event.fee, event.fee_currency, is_undone
    )


def _previous(cash: Cash, event: Any) -> Cash:
    """Without the fill as it was before its correction."""
    fee = event.previous_fee, event.previous_fee_currency
    return _moved(cash, event, event.previous_qty, event.previous_px, event.previous_gross_amount, *fee, True)


def _moved(
    cash: Cash,
    event: Any,
    quantity: Decimal,
    price: Decimal,
    gross_amount: Decimal | None,
    fee: Decimal | None,
    fee_currency: str | None,
    is_undone: bool,
) -> Cash:
    kind = event.instrument_kind
    if gross_amount is None:
        money = EXACT.multiply(quantity, unit_cost(price, event.multiplier, kind))
    else:
        money = gross_amount.copy_negate() if kind is _INVERSE else gross_amount
    is_paid = (event.side is Side.BUY) is not is_undone
    settlement = event.base_currency if kind is _INVERSE else event.quote_currency
    cash = _add(cash, unit_of(event.symbol, settlement), money.copy_negate() if is_paid else money)
    if fee is None or fee_currency is None or (fee_currency == event.base_currency and kind is _SPOT):
        return cash
    return _add(cash, fee_currency, fee if is_undone else fee.copy_negate())


def _renamed(cash: Cash, event: InstrumentDefined) -> Cash:
    is_inverse = event.kind is _INVERSE
    name, currency = ("base_currency", event.base_currency) if is_inverse else ("quote_currency", event.quote_currency)
    unit = unit_of(event.symbol, None)
    if name not in event.put_right or currency is None or unit not in cash:
        return cash
    return _add(cash.delete(unit), currency, cash[unit])


def _add(cash: Cash, currency: str, amount: Decimal) -> Cash:
    return cash.set(currency, canonical(EXACT.add(cash.get(currency, ZERO), amount)))
