"""The order book of one account: the decider.

The book remembers its open orders only. A closed order lives on in the log; a command about one is decided on a book
into which that order was recalled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

import immutables
import msgspec

from app.eventstore.decider import Decider
from app.eventstore.errors import Refusal
from app.eventstore.events import Command, Event
from app.trading.commands import BookCommand, OpenAccount, OrderCommand, PlaceOrder, RecordExecution, RequestCancel
from app.trading.events import (
    EVENT_TYPES,
    OrderAccepted,
    OrderBookCreated,
    OrderCanceled,
    OrderCancelRequested,
    OrderCreated,
    OrderEvent,
    OrderFilled,
    OrderRejected,
)
from app.trading.order import Order, evolve_order
from app.trading.values import (
    FRACTION_DIGITS_MAX,
    INTEGER_DIGITS_MAX,
    ZERO,
    ExecType,
    OrderType,
    OrdStatus,
    PendingRequest,
    TimeInForce,
    add,
    is_account,
    subtract,
)


class Book(msgspec.Struct, frozen=True, gc=False):
    """``orders``: the open ones, by order id. ``recalled``: one that was closed, for the decision at hand."""

    account: str | None = None
    orders: immutables.Map[str, Order] = immutables.Map()
    recalled: Order | None = None

    def find(self, order_id: str) -> Order | None:
        order = self.orders.get(order_id)
        if order is None and self.recalled is not None and self.recalled.created.order_id == order_id:
            return self.recalled
        return order


# -- evolve ------------------------------------------------------------------------------------------------------


def evolve(book: Book, event: Event) -> Book:
    """The book after ``event``."""
    # By exact type: isinstance on a struct walks through ABCMeta, which costs more than all the rest.
    event_type = type(event)
    if event_type is OrderCreated:
        return Book(book.account, book.orders.set(event.order_id, Order(event)))  # type: ignore[attr-defined, arg-type]
    if event_type is OrderBookCreated:
        return Book(f"{event.user}/{event.exchange}/{event.broker}")  # type: ignore[attr-defined]
    return _evolve_known_order(book, cast(OrderEvent, event))


def _evolve_known_order(book: Book, event: OrderEvent) -> Book:
    known = book.orders.get(event.order_id)
    if known is None:
        return book
    order = evolve_order(known, event)
    orders = book.orders.set(event.order_id, order) if order.is_open else book.orders.delete(event.order_id)
    return Book(book.account, orders)


def forgotten(command: Command, book: Book) -> bool:
    return command.subject is not None and book.account is not None and command.subject not in book.orders


def recall(book: Book, events: Iterable[Event]) -> Book:
    order: Order | None = None
    for event in events:
        order = evolve_order(order, cast(OrderEvent, event))
    return Book(book.account, book.orders, order)


# -- decide ------------------------------------------------------------------------------------------------------


def decide(command: BookCommand, book: Book) -> Sequence[Event]:
    """The events that ``command`` leads to; none if it was done before. Raises ``Refusal``."""
    rule = _RULES.get(type(command))
    if rule is None:
        raise TypeError(f"{type(command).__name__} is no command of an order book")
    if book.account is None and type(command) is not OpenAccount:
        raise Refusal("unknown-account", f"no order book is open for account {command.account}")
    return rule(command, book)


def _open_account(command: OpenAccount, book: Book) -> Sequence[Event]:
    if book.account is not None:
        raise Refusal("already-exists", f"the order book of account {command.account} is open already")
    if not is_account(command.account):
        raise _invalid("account", "is user/exchange/broker, the broker one of live, simulated, backtest")
    user, exchange, broker = command.account.split("/")
    return (OrderBookCreated(user=user, exchange=exchange, broker=broker),)


def _place_order(command: PlaceOrder, book: Book) -> Sequence[Event]:
    event = OrderCreated(
        order_id=command.order_id,
        strategy_id=command.strategy_id,
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        quantity=command.quantity,
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        time_in_force=command.time_in_force,
        expire_at=command.expire_at,
    )
    order = book.find(command.order_id)
    if order is not None:
        if order.created == event:
            return ()
        raise Refusal("duplicate-order", f"order id {command.order_id} was used for another order")
    _check_order(command)
    return (event,)


def _check_order(command: PlaceOrder) -> None:
    _check_positive("quantity", command.quantity)
    has_limit = command.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    has_stop = command.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    _check_price("limit_price", command.limit_price, command.order_type, is_needed=has_limit)
    _check_price("stop_price", command.stop_price, command.order_type, is_needed=has_stop)
    if (command.expire_at is not None) != (command.time_in_force is TimeInForce.GTD):
        raise _invalid("expire_at", "belongs to time in force GTD, and to no other")


def _check_price(name: str, price: Decimal | None, order_type: OrderType, *, is_needed: bool) -> None:
    if price is None:
        if is_needed:
            raise _invalid(name, f"is needed by a {order_type} order")
    elif not is_needed:
        raise _invalid(name, f"does not belong to a {order_type} order")
    else:
        _check_positive(name, price)


def _request_cancel(command: RequestCancel, book: Book) -> Sequence[Event]:
    order = _open_order(command, book)
    if order.pending_request is PendingRequest.CANCEL:
        return ()
    return (OrderCancelRequested(**_names(order)),)


def _record_execution(command: RecordExecution, book: Book) -> Sequence[Event]:
    if command.exec_type is ExecType.TRADE:
        return _record_trade(command, book)
    order = _open_order(command, book)
    if command.last_qty is not None or command.last_px is not None:
        raise _invalid("last_qty" if command.last_qty is not None else "last_px", "belongs to exec_type TRADE")
    if command.exec_type is ExecType.NEW:
        if order.working_state is not OrdStatus.CREATED:
            return ()
        return (OrderAccepted(**_names(order), broker_order_id=command.broker_order_id),)
    if command.exec_type is ExecType.CANCELED:
        return (OrderCanceled(**_names(order), cum_qty=order.cum_qty, reason=command.reason),)
    if order.cum_qty > ZERO:
        raise _invalid("exec_type", "REJECTED cannot follow a fill")
    return (OrderRejected(**_names(order), reason=command.reason),)


def _record_trade(command: RecordExecution, book: Book) -> Sequence[Event]:
    if command.exec_id is None:
        raise _invalid("exec_id", "is needed by exec_type TRADE")
    if command.last_qty is None:
        raise _invalid("last_qty", "is needed by exec_type TRADE")
    if command.last_px is None:
        raise _invalid("last_px", "is needed by exec_type TRADE")
    _check_positive("last_qty", command.last_qty)
    _check_positive("last_px", command.last_px)
    if command.fee is not None:
        _check_amount("fee", command.fee)
    if (command.fee is None) != (command.fee_currency is None):
        raise _invalid("fee_currency", "comes with a fee, and a fee with it")
    known = _known_order(command, book).executions.get(command.exec_id)
    if known is not None:
        if _is_same_fill(command, known):
            return ()
        raise Refusal("duplicate-execution", f"exec id {command.exec_id} was reported before with other content")
    order = _open_order(command, book)
    cum_qty = add(order.cum_qty, command.last_qty)
    leaves_qty = subtract(order.created.quantity, cum_qty)
    is_overfill = leaves_qty < ZERO
    return (
        OrderFilled(
            **_names(order),
            exec_id=command.exec_id,
            last_qty=command.last_qty,
            last_px=command.last_px,
            cum_qty=cum_qty,
            leaves_qty=ZERO if is_overfill else leaves_qty,
            overfill_qty=-leaves_qty if is_overfill else None,
            fee=command.fee,
            fee_currency=command.fee_currency,
            broker_order_id=command.broker_order_id,
        ),
    )


def _is_same_fill(command: RecordExecution, fill: OrderFilled) -> bool:
    return (
        command.last_qty == fill.last_qty
        and command.last_px == fill.last_px
        and command.fee == fill.fee
        and command.fee_currency == fill.fee_currency
    )


def _known_order(command: OrderCommand, book: Book) -> Order:
    order = book.find(command.order_id)
    if order is None:
        raise Refusal("unknown-order", f"account {command.account} has no order {command.order_id}")
    return order


def _open_order(command: OrderCommand, book: Book) -> Order:
    order = _known_order(command, book)
    if not order.is_open:
        raise Refusal(
            "order-closed",
            f"order {command.order_id} is {order.working_state}",
            order_status=order.working_state.value,
        )
    return order


def _names(order: Order) -> dict[str, Any]:
    created = order.created
    return {
        "order_id": created.order_id,
        "strategy_id": created.strategy_id,
        "symbol": created.symbol,
        "side": created.side,
    }


def _check_positive(name: str, amount: Decimal) -> None:
    _check_amount(name, amount)
    if amount <= ZERO:
        raise _invalid(name, "must be greater than 0")


def _check_amount(name: str, amount: Decimal) -> None:
    if not amount.is_finite():
        raise _invalid(name, "must be a finite number")
    if amount.adjusted() >= INTEGER_DIGITS_MAX or -int(amount.as_tuple().exponent) > FRACTION_DIGITS_MAX:
        raise _invalid(
            name, f"has at most {INTEGER_DIGITS_MAX} digits before the point and {FRACTION_DIGITS_MAX} after it"
        )


def _invalid(name: str, what: str) -> Refusal:
    return Refusal("invalid-command", f"{name} {what}", field=name)


_RULES: dict[type[BookCommand], Callable[[Any, Book], Sequence[Event]]] = {
    OpenAccount: _open_account,
    PlaceOrder: _place_order,
    RequestCancel: _request_cancel,
    RecordExecution: _record_execution,
}

ORDER_BOOK: Decider[Book] = Decider(
    name="order_book",
    state_type=Book,
    initial=Book(),
    event_types=EVENT_TYPES,
    decide=decide,
    evolve=evolve,
    forgotten=forgotten,
    recall=recall,
)
