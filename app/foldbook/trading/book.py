"""The order book of one account: the decider.

Its state is in ``state``; its rules are in ``account``, ``requests`` and ``reports``, one function per command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foldbook.errors import Refusal
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import Event
from foldbook.trading.account import define_instrument, open_account, record_price, set_risk_limits, set_trading_state
from foldbook.trading.adjustments import adjust_account
from foldbook.trading.commands import (
    COMMANDS,
    AdjustAccount,
    BookCommand,
    DefineInstrument,
    OpenAccount,
    PlaceOrder,
    RecordAttempt,
    RecordDoubt,
    RecordExecution,
    RecordHolding,
    RecordPrice,
    RequestCancel,
    RequestReplace,
    ResolveDoubt,
    SetRiskLimits,
    SetTradingState,
)
from foldbook.trading.doubts import answered_doubts, record_attempt, record_doubt, record_holding, resolve_doubt
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.reports import record_execution
from foldbook.trading.requests import place_order, request_cancel, request_replace
from foldbook.trading.state import Book, evolve, forgotten, recall

__all__ = ["ORDER_BOOK", "Book"]


def decide(command: BookCommand, book: Book) -> Sequence[Event]:
    """The events of ``command``; none if it was done before. Raises ``Refusal``."""
    rule = _RULES.get(type(command))
    if rule is None:
        raise TypeError(f"{type(command).__name__} is not a command of an order book")
    if book.account is None and type(command) is not OpenAccount:
        raise Refusal("unknown-account", f"no order book is open for account {command.account}")
    return rule(command, book)


def record_report(command: RecordExecution, book: Book) -> Sequence[Event]:
    """What a report tells, and the doubts that it ends."""
    events = record_execution(command, book)
    if command.order_id is not None and events:
        order = book.find(command.order_id)
        if order is not None and order.doubts:
            return (*events, *answered_doubts(order, events))
    return events


_RULES: dict[type[BookCommand], Callable[[Any, Book], Sequence[Event]]] = {
    OpenAccount: open_account,
    DefineInstrument: define_instrument,
    SetRiskLimits: set_risk_limits,
    SetTradingState: set_trading_state,
    RecordPrice: record_price,
    PlaceOrder: place_order,
    RequestCancel: request_cancel,
    RequestReplace: request_replace,
    RecordExecution: record_report,
    RecordAttempt: record_attempt,
    RecordDoubt: record_doubt,
    ResolveDoubt: resolve_doubt,
    RecordHolding: record_holding,
    AdjustAccount: adjust_account,
}

ORDER_BOOK: Decider[Book] = Decider(
    name=BookCommand.aggregate_type,
    state_type=Book,
    initial=Book(),
    command_types=COMMANDS,
    event_types=EVENT_TYPES,
    decide=decide,
    evolve=evolve,
    forgotten=forgotten,
    recall=recall,
)
