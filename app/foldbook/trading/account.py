"""Commands about an account as a whole: open it, define what it trades, limit what it may do."""

from __future__ import annotations

from collections.abc import Sequence

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.checks import check_positive, invalid
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
from foldbook.trading.order import REQUESTS_MAX
from foldbook.trading.order_events import event_about
from foldbook.trading.risk import ACCOUNT_SCOPE
from foldbook.trading.risk_limits import check_limits
from foldbook.trading.state import Book
from foldbook.trading.values import PendingRequest, RiskLimits, is_account

SYMBOLS_MAX = 10_000
"""Bounds each of these: instruments, prices, symbols with their own limits."""


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
        tick_size=command.tick_size,
        lot_size=command.lot_size,
        multiplier=command.multiplier,
        base_currency=command.base_currency,
        quote_currency=command.quote_currency,
    )
    new, old = defined_instrument(event), book.instrument(command.symbol)
    if new == book.instruments.get(command.symbol):
        return ()
    _check_room(command.symbol in book.instruments, len(book.instruments))
    for name in ("multiplier", "base_currency", "quote_currency"):
        if getattr(new, name) != getattr(old, name) and _is_used(command.symbol, book):
            raise Refusal(
                "instrument-in-use",
                f"{name} of {command.symbol} cannot change while the account has a position or an open order in it",
                field=name,
            )
    return (event,)


def _is_used(symbol: str, book: Book) -> bool:
    return bool(book.position_qty(symbol)) or any(o.created.symbol == symbol for o in book.orders.values())


def set_risk_limits(command: SetRiskLimits, book: Book) -> Sequence[Event]:
    wrong = check_limits(command.limits, command.symbol)
    if wrong is not None:
        raise invalid(*wrong)
    scope = command.symbol or ACCOUNT_SCOPE
    if command.limits == book.risk.limits.get(scope, RiskLimits()):
        return ()
    _check_room(scope in book.risk.limits, len(book.risk.limits))
    return (RiskLimitsSet(symbol=command.symbol, limits=command.limits),)


def set_trading_state(command: SetTradingState, book: Book) -> Sequence[Event]:
    """The kill switch requests a cancel for every open order that does not have one pending."""
    events: list[Event] = []
    if command.state is not book.risk.state:
        events.append(TradingStateChanged(state=command.state, reason=command.reason))
    if command.cancel_open_orders:
        events += (
            event_about(order, OrderCancelRequested, transact_time=command.received_at)
            for _, order in sorted(book.orders.items())
            if order.pending_request is not PendingRequest.CANCEL and len(order.requests) < REQUESTS_MAX
        )
    return events


def record_price(command: RecordPrice, book: Book) -> Sequence[Event]:
    check_positive("price", command.price)
    known = book.risk.prices.get(command.symbol)
    time = command.business_time
    if known is not None and (time < known.time or (time == known.time and known.price == command.price)):
        return ()
    _check_room(known is not None, len(book.risk.prices))
    return (PriceRecorded(symbol=command.symbol, price=command.price, transact_time=time),)


def _check_room(is_known: bool, count: int) -> None:
    if not is_known and count >= SYMBOLS_MAX:
        raise Refusal("too-many-symbols", f"an account may have at most {SYMBOLS_MAX} symbols")
