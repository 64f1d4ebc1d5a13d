"""Requests about an order: to place it, to cancel it, to replace its terms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.checks import LIMIT_TYPES, STOP_TYPES, check_positive, check_price, invalid
from foldbook.trading.commands import OrderCommand, PlaceOrder, RequestCancel, RequestReplace
from foldbook.trading.events import (
    OrderCancelRequested,
    OrderCreated,
    OrderDenied,
    OrderReplaceDenied,
    OrderReplaceRequested,
)
from foldbook.trading.order import REQUESTS_MAX, Order
from foldbook.trading.order_events import event_about, evolved
from foldbook.trading.risk import ACCOUNT_SCOPE
from foldbook.trading.risk_checks import check_order, check_replace
from foldbook.trading.risk_denial import Denial
from foldbook.trading.state import Book
from foldbook.trading.values import ZERO, PendingRequest, TimeInForce


def place_order(command: PlaceOrder, book: Book) -> Sequence[Event]:
    created = OrderCreated(
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
        transact_time=command.received_at,
    )
    known = book.find(command.order_id)
    if known is not None:
        if known.created == msgspec.structs.replace(created, transact_time=known.created.transact_time):
            return ()
        raise Refusal("duplicate-order", f"order id {command.order_id} was used for another order")
    check_positive("quantity", command.quantity)
    order_type = command.order_type
    check_price("limit_price", command.limit_price, order_type, is_needed=order_type in LIMIT_TYPES)
    check_price("stop_price", command.stop_price, order_type, is_needed=order_type in STOP_TYPES)
    if (command.expire_at is not None) != (command.time_in_force is TimeInForce.GTD):
        raise invalid("expire_at", "is required for time in force GTD and not allowed for any other")
    denial = _check_order(command, book)
    if denial is None:
        return (created,)
    order = evolved(None, created)
    return created, event_about(order, OrderDenied, reason=denial.code, limit=denial.limit, observed=denial.observed)


def _check_order(command: PlaceOrder, book: Book) -> Denial | None:
    return check_order(
        book.risk,
        command,
        book.instrument(command.symbol),
        **_situation(command.symbol, command.received_at, book),
        open_orders=len(book.orders),
    )


def _situation(symbol: str, now: datetime, book: Book) -> dict[str, Any]:
    """What the risk checks must know in addition to what they remember."""
    # Summing up the losses reads every position.
    limits = book.risk.limits.get(ACCOUNT_SCOPE)
    is_loss_limited = limits is not None and limits.max_daily_loss is not None
    currency = book.instrument(symbol).quote_currency
    return {
        "position_qty": book.position_qty(symbol),
        "realized_today": book.realized_today(currency, now) if is_loss_limited else ZERO,
        "symbol_realized_today": book.symbol_realized_today(symbol, now),
        "now": now,
    }


def request_cancel(command: RequestCancel, book: Book) -> Sequence[Event]:
    order = _known_order(command, book)
    if not order.is_open:
        raise _closed(order)
    if order.pending_request is PendingRequest.CANCEL:
        return ()
    _check_room(order)
    return (event_about(order, OrderCancelRequested, transact_time=command.received_at),)


def request_replace(command: RequestReplace, book: Book) -> Sequence[Event]:
    order = _known_order(command, book)
    order_type = order.created.order_type
    if command.quantity is None and command.limit_price is None and command.stop_price is None:
        raise invalid("quantity", "or a price is required: a replace must request something")
    if command.quantity is not None:
        check_positive("quantity", command.quantity)
    for name, price, types in (
        ("limit_price", command.limit_price, LIMIT_TYPES),
        ("stop_price", command.stop_price, STOP_TYPES),
    ):
        if price is not None:
            check_price(name, price, order_type, is_needed=order_type in types)
    # In a chain of replaces, each changes what the one before requested.
    asked = [request for request in order.requests if request.kind is PendingRequest.REPLACE]
    latest = asked[-1] if asked and asked[-1].quantity is not None else None
    old_quantity = order.quantity if latest is None or latest.quantity is None else latest.quantity
    old_limit_price = order.limit_price if latest is None else latest.limit_price
    old_stop_price = order.stop_price if latest is None else latest.stop_price
    quantity = old_quantity if command.quantity is None else command.quantity
    limit_price = command.limit_price or old_limit_price
    stop_price = command.stop_price or old_stop_price
    # A replace may raise the quantity of a filled order (FIX 4.4 volume 4, appendix D), but not of one that has ended.
    if order.final is not None or (not order.is_open and quantity <= order.cum_qty):
        raise _closed(order)
    if (quantity, limit_price, stop_price) == (old_quantity, old_limit_price, old_stop_price):
        return ()
    _check_room(order)
    new = msgspec.structs.replace(order.created, quantity=quantity, limit_price=limit_price, stop_price=stop_price)
    denial = _check_replace(command, order, new, book)
    if denial is not None:
        return (
            event_about(
                order,
                OrderReplaceDenied,
                denied_quantity=quantity,
                denied_limit_price=limit_price,
                denied_stop_price=stop_price,
                denied_reason=denial.code,
                limit=denial.limit,
                observed=denial.observed,
            ),
        )
    return (
        event_about(
            order,
            OrderReplaceRequested,
            requested_quantity=quantity,
            requested_limit_price=limit_price,
            requested_stop_price=stop_price,
            transact_time=command.received_at,
        ),
    )


def _check_replace(command: RequestReplace, order: Order, new: OrderCreated, book: Book) -> Denial | None:
    symbol = order.created.symbol
    return check_replace(
        book.risk,
        new,
        order.terms,
        book.instrument(symbol),
        cum_qty=order.cum_qty,
        leaves_qty=order.exposed_qty,
        **_situation(symbol, command.received_at, book),
    )


def _check_room(order: Order) -> None:
    if len(order.requests) >= REQUESTS_MAX:
        raise Refusal(
            "too-many-requests",
            f"{REQUESTS_MAX} requests about order {order.created.order_id} are waiting for the broker's answer",
        )


def _known_order(command: OrderCommand, book: Book) -> Order:
    order = book.find(command.order_id)
    if order is None:
        raise Refusal("unknown-order", f"account {command.account} has no order {command.order_id}")
    return order


def _closed(order: Order) -> Refusal:
    return Refusal(
        "order-closed",
        f"order {order.created.order_id} is {order.working_state}",
        order_status=order.working_state.value,
    )
