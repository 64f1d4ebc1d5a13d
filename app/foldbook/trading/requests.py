"""Requests about an order: to place it, to cancel it, to replace its terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
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
    UnmatchedExecutionRecorded,
)
from foldbook.trading.instrument import Instrument
from foldbook.trading.order import REQUESTS_MAX, Order, waiting_key
from foldbook.trading.order_events import event_about, evolved, requested_terms
from foldbook.trading.reports import apply_report, told_again
from foldbook.trading.risk import ACCOUNT_SCOPE
from foldbook.trading.risk_checks import Losses, check_order, check_replace, check_validity, is_unlimited
from foldbook.trading.risk_denial import Denial
from foldbook.trading.state import Book, evolve
from foldbook.trading.values import (
    EXACT,
    FRACTION_DIGITS_MAX,
    ONE,
    ZERO,
    GroupKind,
    InstrumentKind,
    OrderGroup,
    OrderType,
    PendingRequest,
    TimeInForce,
    canonical,
)

LEGS_MAX = 16
"""Open orders of one group."""

_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


def place_order(command: PlaceOrder, book: Book) -> Sequence[Event]:
    instrument = book.instrument(command.symbol)
    created = created_by(command)
    known = book.find(created.order_id)
    if known is not None:
        then = known.created
        same = msgspec.structs.replace(
            created, transact_time=then.transact_time, estimated_quantity=then.estimated_quantity
        )
        if then == same:
            return ()
        raise Refusal("duplicate-order", f"order id {created.order_id} was used for another order")
    _check_quantity(command, instrument)
    _check_prices(command, instrument)
    _check_instructions(command)
    if command.group is not None:
        _check_group(command.group, book)
    if command.cash_quantity is not None:
        estimate = _estimated_quantity(command, command.cash_quantity, book)
        created = msgspec.structs.replace(created, estimated_quantity=estimate)
    events: list[Event] = [created]
    denial = _check_order(created, command.received_at, instrument, book)
    order = evolved(None, created)
    if denial is not None:
        facts = {"reason": denial.code, "limit": denial.limit, "observed": denial.observed}
        events.append(event_about(order, OrderDenied, **facts))
    if book.waiting:
        events += settle(command, order, events, book)
    return events


def created_by(command: PlaceOrder) -> OrderCreated:
    """The order as the command places it."""
    assert command.order_id is not None
    return OrderCreated(
        order_id=command.order_id,
        strategy_id=command.strategy_id,
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        quantity=ZERO if command.quantity is None else command.quantity,
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        time_in_force=command.time_in_force,
        expire_at=command.expire_at,
        post_only=command.post_only,
        reduce_only=command.reduce_only,
        trailing_offset=command.trailing_offset,
        display_quantity=command.display_quantity,
        cash_quantity=command.cash_quantity,
        group=command.group,
        transact_time=command.received_at,
    )


def _check_quantity(command: PlaceOrder, instrument: Instrument) -> None:
    if command.quantity is not None:
        if command.cash_quantity is not None:
            raise invalid("cash_quantity", "and quantity exclude each other")
        check_positive("quantity", command.quantity)
    elif command.cash_quantity is None:
        raise invalid("quantity", "is required")
    else:
        check_positive("cash_quantity", command.cash_quantity)
        if command.order_type not in (OrderType.MARKET, OrderType.LIMIT):
            raise invalid("cash_quantity", f"is not allowed for a {command.order_type} order")
        if instrument.kind is not InstrumentKind.SPOT or instrument.multiplier != ONE:
            raise invalid("cash_quantity", "is only allowed for a SPOT instrument with multiplier 1")
    if command.display_quantity is not None:
        check_positive("display_quantity", command.display_quantity)
        if command.quantity is None or command.display_quantity > command.quantity:
            raise invalid("display_quantity", "must not be more than quantity")


def _check_prices(command: PlaceOrder, instrument: Instrument) -> None:
    order_type, is_signed = command.order_type, instrument.allows_negative_prices
    is_limit, is_stop = order_type in LIMIT_TYPES, order_type in STOP_TYPES
    if is_limit or command.limit_price is not None:
        check_price(
            "limit_price", command.limit_price, order_type, is_needed=is_limit, is_allowed=is_limit, is_signed=is_signed
        )
    if is_stop or command.stop_price is not None:
        check_price(
            "stop_price",
            command.stop_price,
            order_type,
            is_needed=is_stop and command.trailing_offset is None,
            is_allowed=is_stop,
            is_signed=is_signed,
        )
    if command.trailing_offset is not None:
        if not is_stop:
            raise invalid("trailing_offset", f"is not allowed for a {order_type} order")
        check_positive("trailing_offset", command.trailing_offset)


def _check_instructions(command: PlaceOrder) -> None:
    if (command.expire_at is not None) != (command.time_in_force is TimeInForce.GTD):
        raise invalid("expire_at", "is required for time in force GTD and not allowed for any other")
    if command.post_only and (command.order_type not in LIMIT_TYPES or command.time_in_force in _IMMEDIATE):
        raise invalid("post_only", "is only allowed for an order with a limit price that may rest")


def _check_group(group: OrderGroup, book: Book) -> None:
    known = book.groups.get(group.id)
    if known is None:
        return
    if known.kind is not group.kind:
        raise invalid("group", f"{group.id} is of kind {known.kind}")
    if len(known.legs) >= LEGS_MAX:
        raise invalid("group", f"{group.id} has {LEGS_MAX} open orders, and must not have more")


def _estimated_quantity(command: PlaceOrder, cash_quantity: Decimal, book: Book) -> Decimal | None:
    """What the money trades at the limit price, else at the last price, cut; None: there is no price."""
    last = book.risk.prices.get(command.symbol)
    price = command.limit_price if command.limit_price is not None else None if last is None else last.price
    if price is None or price <= ZERO:
        return None
    up, down = Decimal(FRACTION_DIGITS_MAX), Decimal(-FRACTION_DIGITS_MAX)
    return canonical(EXACT.scaleb(EXACT.divide_int(EXACT.scaleb(cash_quantity, up), price), down))


def _check_order(created: OrderCreated, now: datetime, instrument: Instrument, book: Book) -> Denial | None:
    if created.expire_at is not None or instrument.expiry is not None:
        denial = check_validity(created, instrument, now)
        if denial is not None:
            return denial
    group = book.group_of(created)
    if group is not None and group.kind is GroupKind.BRACKET and group.is_over:
        return Denial("bracket-over", "an entry that has traded or may trade", group.entry_id)
    if is_unlimited(book.risk, instrument) and not created.reduce_only:
        return None
    return check_order(
        book.risk,
        created,
        instrument,
        **_situation(created.symbol, now, book),
        open_orders=len(book.orders),
        # The exits of a bracket reduce what its entry will have opened.
        is_exit=group is not None and group.kind is GroupKind.BRACKET,
    )


def _situation(symbol: str, now: datetime, book: Book) -> dict[str, Any]:
    """What the risk checks must know in addition to what they remember. Summing up losses reads every position."""
    of_account, of_symbol = book.risk.limits.get(ACCOUNT_SCOPE), book.risk.limits.get(symbol)
    losses: dict[str, Losses] = {}
    for scope, limits in ((ACCOUNT_SCOPE, of_account), (symbol, of_symbol)):
        if limits is not None:
            is_of_account = scope == ACCOUNT_SCOPE
            losses[scope] = Losses(
                ZERO if limits.max_daily_loss is None else book.lost_today(symbol, now, is_of_account=is_of_account),
                ZERO
                if limits.max_unrealized_loss is None
                else book.unrealized_loss(symbol, is_of_account=is_of_account),
            )
    return {"position_qty": book.position_qty(symbol), "losses": losses, "now": now}


def settle(command: PlaceOrder, order: Order, events: Iterable[Event], book: Book) -> list[Event]:
    """What the reports do to the order that were told before it, in the order in which they were told.

    A bust whose fill is not among them waits on, and is recorded again, so that the order keeps it.
    """
    settled: list[Event] = []
    waiting: Sequence[UnmatchedExecutionRecorded] = book.waiting
    for event in events:
        order, book = evolved(order, event), evolve(book, event)
    while waiting:
        left = []
        for report in waiting:
            told = told_again(report, command)
            if told.exec_ref_id is not None and order.root_of(told.exec_ref_id) is None:
                left.append(report)
                continue
            for event in apply_report(told, order, book):
                settled.append(event)
                book = evolve(book, event)
                if event.subject == command.order_id:
                    order = evolved(order, event)
        if len(left) == len(waiting):
            return settled + [report for report in left if waiting_key(report) not in order.held]
        waiting = left
    return settled


def request_cancel(command: RequestCancel, book: Book) -> Sequence[Event]:
    order = known_order(command, book)
    if not order.is_live:
        raise _closed(order)
    if order.pending_request is PendingRequest.CANCEL:
        return ()
    request_id = str(command.command_id)
    return (event_about(order, OrderCancelRequested, request_id=request_id, transact_time=command.received_at),)


def request_replace(command: RequestReplace, book: Book) -> Sequence[Event]:
    order = known_order(command, book)
    if command.quantity is None and command.limit_price is None and command.stop_price is None:
        raise invalid("quantity", "or a price is required: a replace must request something")
    if command.quantity is not None:
        check_positive("quantity", command.quantity)
    old_quantity, old_limit_price, old_stop_price = requested_terms(order)
    _check_new_prices(command, order, book.instrument(order.created.symbol))
    quantity = old_quantity if command.quantity is None else command.quantity
    limit_price = old_limit_price if command.limit_price is None else command.limit_price
    stop_price = old_stop_price if command.stop_price is None else command.stop_price
    # A replace may raise the quantity of a filled order (FIX 4.4 volume 4, appendix D), but not of one that has ended.
    if order.has_ended or (not order.is_open and quantity <= order.cum_qty):
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
            request_id=str(command.command_id),
            requested_quantity=quantity,
            requested_limit_price=limit_price,
            requested_stop_price=stop_price,
            transact_time=command.received_at,
        ),
    )


def _check_new_prices(command: RequestReplace, order: Order, instrument: Instrument) -> None:
    """An order may change the prices that its type has, or that the broker gave it."""
    order_type, is_signed = order.created.order_type, instrument.allows_negative_prices
    for name, price, present, types in (
        ("limit_price", command.limit_price, order.limit_price, (*LIMIT_TYPES, OrderType.MARKET_TO_LIMIT)),
        ("stop_price", command.stop_price, order.stop_price, STOP_TYPES),
    ):
        is_allowed = order_type in types or present is not None
        check_price(name, price, order_type, is_needed=False, is_allowed=is_allowed, is_signed=is_signed)


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
        open_orders=len(book.orders),
    )


def _check_room(order: Order) -> None:
    if len(order.pending_replaces()) >= REQUESTS_MAX:
        raise Refusal(
            "too-many-requests",
            f"{REQUESTS_MAX} replaces of order {order.created.order_id} are waiting for the broker's answer",
        )


def known_order(command: OrderCommand, book: Book) -> Order:
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
