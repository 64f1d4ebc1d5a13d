"""Commands about an account as a whole: open it, define what it trades, limit what it may do."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.checks import check_amount, check_positive, invalid
from foldbook.trading.clock import comparable
from foldbook.trading.commands import DefineInstrument, OpenAccount, RecordPrice, SetRiskLimits, SetTradingState
from foldbook.trading.events import (
    InstrumentDefined,
    OrderBookCreated,
    OrderCancelRequested,
    PriceRecorded,
    RiskLimitsSet,
    TradingStateChanged,
)
from foldbook.trading.instrument import defined_instrument
from foldbook.trading.order_events import event_about
from foldbook.trading.risk import ACCOUNT_SCOPE, is_outdated
from foldbook.trading.risk_limits import check_limits
from foldbook.trading.state import SYMBOLS_MAX, Book
from foldbook.trading.values import PendingRequest, RiskLimits, is_account


def open_account(command: OpenAccount, book: Book) -> Sequence[Event]:
    if book.account is not None:
        raise Refusal("already-exists", f"the order book of account {command.account} is already open")
    if not is_account(command.account):
        raise invalid("account", "must be user/exchange/broker, with broker live, simulated or backtest")
    user, exchange, broker = command.account.split("/")
    return (OrderBookCreated(user=user, exchange=exchange, broker=broker),)


def define_instrument(command: DefineInstrument, book: Book) -> Sequence[Event]:
    for name in ("tick_size", "lot_size", "multiplier"):
        amount = getattr(command, name)
        if amount is not None:
            check_positive(name, amount)
    if command.base_currency is not None and command.base_currency == command.quote_currency:
        raise invalid("quote_currency", "must differ from the base currency")
    event = InstrumentDefined(
        symbol=command.symbol,
        kind=command.kind,
        tick_size=command.tick_size,
        lot_size=command.lot_size,
        multiplier=command.multiplier,
        base_currency=command.base_currency,
        quote_currency=command.quote_currency,
        expiry=command.expiry,
        allows_negative_prices=command.allows_negative_prices,
    )
    new, old = defined_instrument(event), book.instrument(command.symbol)
    if new == book.instruments.get(command.symbol):
        return ()
    check_room(command.symbol in book.instruments, len(book.instruments))
    is_booked = command.symbol in book.positions
    # What is in the books under an unknown currency is booked over into the one that it turns out to be.
    put_right = tuple(
        name
        for name in ("base_currency", "quote_currency")
        if is_booked and getattr(old, name) is None and getattr(new, name) is not None
    )
    for name in ("kind", "multiplier", "base_currency", "quote_currency"):
        has_changed = getattr(new, name) != getattr(old, name) and name not in put_right
        if has_changed and _is_used(command.symbol, book):
            raise Refusal(
                "instrument-in-use",
                f"{name} of {command.symbol} cannot change while the account has a position or an open order in it",
                field=name,
            )
    return (msgspec.structs.replace(event, put_right=put_right),)


def _is_used(symbol: str, book: Book) -> bool:
    return bool(book.position_qty(symbol)) or any(o.created.symbol == symbol for o in book.orders.values())


def set_risk_limits(command: SetRiskLimits, book: Book) -> Sequence[Event]:
    wrong = check_limits(command.limits, command.symbol)
    if wrong is not None:
        raise invalid(*wrong)
    scope = command.symbol or ACCOUNT_SCOPE
    if command.limits == book.risk.limits.get(scope, RiskLimits()):
        return ()
    check_room(scope in book.risk.limits, len(book.risk.limits))
    return (RiskLimitsSet(symbol=command.symbol, limits=command.limits),)


def set_trading_state(command: SetTradingState, book: Book) -> Sequence[Event]:
    """The kill switch requests a cancel for every open order that does not have one pending."""
    events: list[Event] = []
    if command.state is not book.risk.state:
        events.append(TradingStateChanged(state=command.state, reason=command.reason))
    if command.cancel_open_orders:
        request_id = str(command.command_id)
        events += (
            event_about(order, OrderCancelRequested, request_id=request_id, transact_time=command.received_at)
            for _, order in sorted(book.orders.items())
            if order.pending_request is not PendingRequest.CANCEL
        )
    return events


def record_price(command: RecordPrice, book: Book) -> Sequence[Event]:
    check_amount("price", command.price)
    known = book.risk.prices.get(command.symbol)
    counted_at = command.counted_at
    if known is not None:
        told = comparable(command.transact_time, counted_at)
        is_same = told is not None and told == known.told and command.price == known.price
        if is_same or is_outdated(known, told):
            return ()
    check_room(known is not None, len(book.risk.prices))
    return (
        PriceRecorded(
            symbol=command.symbol, price=command.price, transact_time=command.transact_time, counted_at=counted_at
        ),
    )


def check_room(is_known: bool, count: int) -> None:
    if not is_known and count >= SYMBOLS_MAX:
        raise Refusal("too-many-symbols", f"an account may have at most {SYMBOLS_MAX} symbols")
