"""Lives of orders: random commands, and what the decider makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.commands import BookCommand
from foldbook.trading.order import Order, state_of
from foldbook.trading.order_events import evolve_order
from foldbook.trading.position import Position
from foldbook.trading.values import ZERO, DoubtOutcome, ExecType, OrderType, RequestKind, Side, TimeInForce
from tests.builders import NOW, attempt, cancel, in_doubt, open_account, place, replace_order, report, resolve

ORDER_IDS = ("o-1", "o-2", "o-3")
EXEC_IDS = tuple(f"e-{n}" for n in range(1, 7))

_TERMS = (ExecType.REPLACED, ExecType.RESTATED)
_REVISIONS = (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)
_ANSWERS = (
    ExecType.PENDING_CANCEL,
    ExecType.CANCEL_REJECTED,
    ExecType.PENDING_REPLACE,
    ExecType.REPLACED,
    ExecType.REPLACE_REJECTED,
)
DOUBT_IDS = tuple(str(UUID(int=n)) for n in range(101, 105))
REQUEST_IDS = tuple(str(UUID(int=n)) for n in range(1, 5))


class Life:
    """A book and everything that happened in it, as the bus would have it: what it forgot is recalled."""

    def __init__(self) -> None:
        self.book: Book = ORDER_BOOK.initial
        self.events: list[Event] = []

    def execute(self, command: BookCommand) -> Sequence[Event]:
        """Raises ``Refusal``."""
        book = self.book
        past = self.about(command.subject) if ORDER_BOOK.has_forgotten(command, book) else ()
        events = ORDER_BOOK.decide_recalling(command, book, past)
        self.events += events
        self.book = ORDER_BOOK.fold(events, self.book)
        return events

    def about(self, order_id: str | None) -> list[Event]:
        return [event for event in self.events if event.subject == order_id]

    def try_all(self, commands: Iterable[BookCommand]) -> Life:
        """What is refused changes nothing."""
        for command in commands:
            try:
                self.execute(command)
            except Refusal:
                continue
        return self


def facts_of(life: Life) -> dict[str, Any]:
    """What the book makes of its orders and positions, whichever way it came to that."""
    orders: dict[str, Order | None] = {}
    for event in life.events:
        # An execution without an order has a subject that no order has.
        if event.subject is not None and not event.subject.startswith("~"):
            orders[event.subject] = evolve_order(orders.get(event.subject), event)
    return {
        "orders": {order_id: _facts_of(order, life) for order_id, order in orders.items() if order is not None},
        "positions": {symbol: _holding(position) for symbol, position in life.book.positions.items()},
        "exposures": life.book.risk.exposures,
    }


def _facts_of(order: Order, life: Life) -> dict[str, Any]:
    """All that events say of an order, what is behind that, and what the book has of it."""
    return state_of(order) | {
        "status": order.status,
        "requests": order.requests,
        "fills": [
            e for e, x in sorted(order.executions.items()) if x.exec_type is ExecType.TRADE and order.standing(e)
        ],
        "is_open": order.is_open,
        "is_in_book": order.created.order_id in life.book.orders,
    }


def _holding(position: Position) -> dict[str, Any]:
    """What was paid is the same in any case. How much of it is realised depends on the order of the fills: of two of
    the same instant the one that was heard first is the first."""
    return {
        "quantity": position.quantity,
        "paid": round(position.cost - position.realized_pnl, 12),
        "fees": dict(position.fees.items()),
    }


def sums_of(order: Order) -> dict[str, Any]:
    """From the fills as they stand, every one of them."""
    fees: dict[str, Decimal] = {}
    standing = []
    for exec_id, execution in order.executions.items():
        if execution.fee is not None and execution.fee_currency is not None:
            fees.setdefault(execution.fee_currency, ZERO)
        if execution.exec_type is ExecType.TRADE and (fill := order.standing(exec_id)) is not None:
            standing.append(fill)
    for fill in standing:
        if fill.fee is not None and fill.fee_currency is not None:
            fees[fill.fee_currency] += fill.fee
    return {
        "cum_qty": sum((fill.last_qty for fill in standing), ZERO),
        "cum_cost": sum((fill.last_qty * fill.last_px for fill in standing), ZERO),
        "fees": fees,
    }


quantities = st.sampled_from(["0.5", "1", "2", "3", "4.25"]).map(Decimal)
prices = st.sampled_from(["99", "100", "100.5", "103"]).map(Decimal)
instants = st.none() | st.integers(0, 40).map(lambda s: NOW + timedelta(seconds=s))


@st.composite
def reports(draw: st.DrawFn, order_id: str, exec_types: Sequence[ExecType] = tuple(ExecType)) -> Any:
    exec_type = draw(st.sampled_from(exec_types))
    fields: dict[str, Any] = {"transact_time": draw(instants)}
    if exec_type is ExecType.TRADE or exec_type in _REVISIONS:
        fields["exec_id"] = draw(st.sampled_from(EXEC_IDS))
    if exec_type in _REVISIONS:
        fields["exec_ref_id"] = draw(st.sampled_from(EXEC_IDS).filter(lambda e: e != fields["exec_id"]))
    if exec_type in (ExecType.TRADE, ExecType.TRADE_CORRECT):
        fields |= {"last_qty": draw(quantities), "last_px": draw(prices)}
        if draw(st.booleans()):
            fields |= {"fee": Decimal("0.1"), "fee_currency": draw(st.sampled_from(["USDT", "BTC", "BNB"]))}
        if draw(st.booleans()):
            fields["gross_amount"] = draw(prices)
    if exec_type in _TERMS:
        fields |= {"quantity": draw(st.none() | quantities), "limit_price": draw(st.none() | prices)}
        fields["stop_price"] = draw(st.none() | prices)
    if draw(st.booleans()):
        fields["broker_order_id"] = draw(st.sampled_from("ABC"))
    if exec_type in _ANSWERS and draw(st.booleans()):
        fields["request_id"] = draw(st.sampled_from(REQUEST_IDS))
    return report(exec_type, order_id, received_at=NOW + timedelta(seconds=draw(st.integers(0, 40))), **fields)


@st.composite
def commands(draw: st.DrawFn) -> list[BookCommand]:
    """Orders placed, requests and reports about them in no particular order."""
    return [open_account(), *draw(st.lists(_command(), max_size=40))]


@st.composite
def _command(draw: st.DrawFn) -> BookCommand:
    order_id = draw(st.sampled_from(ORDER_IDS))
    match draw(st.sampled_from(["place", "place", "cancel", "replace", "attempt", "doubt", *["report"] * 4])):
        case "place":
            return place(
                order_id,
                symbol="BTC-USDT" if order_id == "o-1" else "ETHUSDT",
                side=Side.BUY if order_id != "o-3" else Side.SELL,
                quantity=str(draw(quantities)),
                order_type=OrderType.LIMIT,
                time_in_force=TimeInForce.DAY if order_id == "o-2" else TimeInForce.GTC,
            )
        case "cancel":
            return cancel(order_id, command_id=UUID(draw(st.sampled_from(REQUEST_IDS))))
        case "replace":
            return replace_order(
                order_id,
                command_id=UUID(draw(st.sampled_from(REQUEST_IDS))),
                quantity=draw(st.none() | quantities),
                limit_price=draw(prices),
            )
        case "attempt":
            return attempt(order_id, **draw(_requests), leg=draw(st.none() | st.just(2)))
        case "doubt":
            doubt_id = draw(st.sampled_from(DOUBT_IDS))
            if draw(st.booleans()):
                return in_doubt(order_id, **draw(_requests), command_id=UUID(doubt_id))
            outcome = draw(st.sampled_from(DoubtOutcome))
            return resolve(doubt_id, outcome, order_id)
        case _:
            told: BookCommand = draw(reports(order_id))
            return told


_requests = st.fixed_dictionaries(
    {
        "request": st.sampled_from(RequestKind),
        "request_id": st.none() | st.sampled_from(REQUEST_IDS),
        "attempt": st.integers(1, 3),
    }
)
