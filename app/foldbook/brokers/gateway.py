"""The gateway's decisions: which events ask for something to be sent to the broker, and what.

A pure function of the account's events, so that the live gateway and the backtest decide alike. Before anything is
sent, the attempt is a fact: what is sent is sent because of its ``OrderSubmitted``, ``OrderCancelSubmitted`` or
``OrderReplaceSubmitted``, which the gateway's own command made. The exits of a bracket are held until its entry trades.

``recover`` gives the same from a book, for who begins in the middle. What was attempted then, and not answered, may
have been sent or not: it is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import immutables
import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.events import (
    Doubt,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRequested,
    OrderCancelSubmitted,
    OrderCreated,
    OrderDenied,
    OrderDoubtResolved,
    OrderEnd,
    OrderExpired,
    OrderFilled,
    OrderInDoubt,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderReplaceSubmitted,
    OrderSubmitted,
)
from foldbook.trading.facts import Request
from foldbook.trading.order import Order
from foldbook.trading.state import Book
from foldbook.trading.values import DoubtOutcome, GroupKind, OrdStatus, PendingRequest, RequestKind

GROUPS_MAX = 1_000
"""Brackets that are remembered after their entry has traded. Up to twice as many are."""

_SUBMIT, _CANCEL, _REPLACE = RequestKind.SUBMIT, RequestKind.CANCEL, RequestKind.REPLACE


# -- actions -----------------------------------------------------------------------------------------------------


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """Commit that something is about to be sent."""

    order_id: str
    request: RequestKind = _SUBMIT
    request_id: str | None = None
    attempt: int = 1


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Send the order."""

    order: OrderCreated
    attempt: int = 1

    @property
    def order_id(self) -> str:
        return self.order.order_id


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Send a cancel."""

    order_id: str
    request_id: str | None
    attempt: int = 1


class Replace(msgspec.Struct, frozen=True, gc=False):
    """Send a replace. The terms are complete."""

    order_id: str
    request_id: str | None
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    attempt: int = 1
    leg: int | None = None
    """The leg that is to be sent as a new order."""


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Report an order as CANCELED that was never sent: nobody else can answer its cancel."""

    order_id: str
    request_id: str | None


class Ask(msgspec.Struct, frozen=True, gc=False):
    """Ask the broker what became of a request."""

    order_id: str
    doubt: Doubt


class Unanswered(msgspec.Struct, frozen=True, gc=False):
    """Record a doubt: an attempt of an earlier process was not answered."""

    order_id: str
    request: RequestKind
    request_id: str | None
    attempt: int


Action: TypeAlias = Attempt | Submit | Cancel | Replace | Withdraw | Ask | Unanswered


# -- what is remembered ------------------------------------------------------------------------------------------


class Bracket(msgspec.Struct, frozen=True, gc=False):
    """A bracket whose entry has not traded. ``held``: its exits, in the order in which they were placed."""

    entry_id: str
    held: tuple[str, ...] = ()


_Orders: TypeAlias = "immutables.Map[str, OrderCreated]"


class Gateway(msgspec.Struct, frozen=True, gc=False):
    """What the decisions need of the past: what was not sent, what may be sent again, the brackets that wait."""

    unsent: _Orders = immutables.Map()
    sent: _Orders = immutables.Map()
    """Of which the broker has said nothing yet."""
    brackets: immutables.Map[str, Bracket] = immutables.Map()
    """By group id, until the entry trades or ends."""
    released: immutables.Map[str, int] = immutables.Map()
    """The brackets whose entry has traded, numbered: exits that are placed later are sent at once."""
    released_count: int = 0
    replaces: immutables.Map[str, tuple[Replace, ...]] = immutables.Map()
    """By order: what is asked of it. Of an unsent order it is sent after that."""


# -- react -------------------------------------------------------------------------------------------------------


def react(gateway: Gateway, events: Iterable[Event]) -> tuple[Gateway, Sequence[Action]]:
    """The gateway after the events of one commit, and what it does because of them, in order."""
    told: tuple[Any, ...] = tuple(events)
    actions: list[Action] = []
    denied = {event.order_id for event in told if type(event) is OrderDenied}
    for event in told:
        event_type = type(event)
        if event_type is OrderCreated and event.order_id in denied:
            continue
        reaction = _REACTIONS.get(event_type)
        if reaction is not None:
            gateway = reaction(gateway, event, actions)
    return gateway, actions


def _created(gateway: Gateway, order: OrderCreated, actions: list[Action]) -> Gateway:
    gateway = msgspec.structs.replace(gateway, unsent=gateway.unsent.set(order.order_id, order))
    group = order.group
    if group is not None and group.kind is GroupKind.BRACKET and group.id not in gateway.released:
        bracket = gateway.brackets.get(group.id)
        if bracket is not None:
            held = msgspec.structs.replace(bracket, held=(*bracket.held, order.order_id))
            return msgspec.structs.replace(gateway, brackets=gateway.brackets.set(group.id, held))
        gateway = msgspec.structs.replace(gateway, brackets=gateway.brackets.set(group.id, Bracket(order.order_id)))
    actions.append(Attempt(order.order_id))
    return gateway


def _submitted(gateway: Gateway, event: OrderSubmitted, actions: list[Action]) -> Gateway:
    order_id = event.order_id
    order = gateway.unsent.get(order_id)
    if order is None:
        order = gateway.sent.get(order_id)
        if order is not None:
            actions.append(Submit(order, event.attempt))
        return gateway
    actions.append(Submit(order, event.attempt))
    actions += (
        Attempt(order_id, _REPLACE, replace.request_id, replace.attempt)
        for replace in gateway.replaces.get(order_id, ())
    )
    return msgspec.structs.replace(
        gateway, unsent=gateway.unsent.delete(order_id), sent=gateway.sent.set(order_id, order)
    )


def _answered(gateway: Gateway, order_id: str) -> Gateway:
    """The broker has the order: it is not sent again."""
    if order_id in gateway.sent:
        return msgspec.structs.replace(gateway, sent=gateway.sent.delete(order_id))
    if order_id in gateway.unsent:
        return msgspec.structs.replace(gateway, unsent=gateway.unsent.delete(order_id))
    return gateway


def _accepted(gateway: Gateway, event: OrderAccepted, actions: list[Action]) -> Gateway:
    return _answered(gateway, event.order_id)


def _filled(gateway: Gateway, event: OrderFilled, actions: list[Action]) -> Gateway:
    if gateway.brackets:
        gateway = _traded(gateway, event, actions)
    return _answered(gateway, event.order_id)


def _traded(gateway: Gateway, event: OrderFilled, actions: list[Action]) -> Gateway:
    for group_id, bracket in gateway.brackets.items():
        if bracket.entry_id == event.order_id:
            actions += (Attempt(order_id) for order_id in bracket.held if order_id in gateway.unsent)
            number = gateway.released_count + 1
            return msgspec.structs.replace(
                gateway,
                brackets=gateway.brackets.delete(group_id),
                released=_latest(gateway.released.set(group_id, number)),
                released_count=number,
            )
    return gateway


def _latest(released: immutables.Map[str, int]) -> immutables.Map[str, int]:
    if len(released) <= 2 * GROUPS_MAX:
        return released
    by_number = sorted(released.items(), key=lambda item: item[1])
    return immutables.Map(by_number[-GROUPS_MAX:])


def _cancel(gateway: Gateway, event: OrderCancelRequested, actions: list[Action]) -> Gateway:
    if event.order_id in gateway.unsent:
        actions.append(Withdraw(event.order_id, event.request_id))
        return gateway
    actions.append(Attempt(event.order_id, _CANCEL, event.request_id))
    return gateway


def _replace(gateway: Gateway, event: OrderReplaceRequested, actions: list[Action]) -> Gateway:
    quantity = event.requested_quantity
    assert quantity is not None
    order_id = event.order_id
    asked = Replace(order_id, event.request_id, quantity, event.requested_limit_price, event.requested_stop_price)
    if order_id not in gateway.unsent:
        actions.append(Attempt(order_id, _REPLACE, event.request_id))
    return msgspec.structs.replace(
        gateway, replaces=gateway.replaces.set(order_id, (*gateway.replaces.get(order_id, ()), asked))
    )


def _cancel_submitted(gateway: Gateway, event: OrderCancelSubmitted, actions: list[Action]) -> Gateway:
    actions.append(Cancel(event.order_id, event.request_id, event.attempt))
    return gateway


def _replace_submitted(gateway: Gateway, event: OrderReplaceSubmitted, actions: list[Action]) -> Gateway:
    actions += (
        msgspec.structs.replace(asked, attempt=event.attempt, leg=event.leg)
        for asked in gateway.replaces.get(event.order_id, ())
        if asked.request_id == event.request_id
    )
    return gateway


def _replace_answered(gateway: Gateway, event: OrderReplaced | OrderReplaceRejected, actions: list[Action]) -> Gateway:
    if type(event) is OrderReplaced:
        gateway = _answered(gateway, event.order_id)
    asked = gateway.replaces.get(event.order_id, ())
    left = tuple(replace for replace in asked if replace.request_id != event.request_id)
    if left and event.pending_request is not PendingRequest.NONE:
        return msgspec.structs.replace(gateway, replaces=gateway.replaces.set(event.order_id, left))
    if event.order_id in gateway.replaces:
        return msgspec.structs.replace(gateway, replaces=gateway.replaces.delete(event.order_id))
    return gateway


def _in_doubt(gateway: Gateway, event: OrderInDoubt, actions: list[Action]) -> Gateway:
    actions.append(Ask(event.order_id, event.doubts[-1]))
    return gateway


def _doubt_resolved(gateway: Gateway, event: OrderDoubtResolved, actions: list[Action]) -> Gateway:
    if event.outcome is DoubtOutcome.RESEND:
        actions.append(Attempt(event.order_id, event.request, event.request_id, event.attempt + 1))
    return gateway


def _ended(gateway: Gateway, event: OrderEnd, actions: list[Action]) -> Gateway:
    gateway = _forgotten(gateway, event.order_id)
    for group_id, bracket in gateway.brackets.items():
        if bracket.entry_id == event.order_id:
            return msgspec.structs.replace(gateway, brackets=gateway.brackets.delete(group_id))
    return gateway


def _forgotten(gateway: Gateway, order_id: str) -> Gateway:
    gateway = _answered(gateway, order_id)
    if order_id in gateway.replaces:
        return msgspec.structs.replace(gateway, replaces=gateway.replaces.delete(order_id))
    return gateway


_REACTIONS: dict[type, Callable[[Gateway, Any, list[Action]], Gateway]] = {
    OrderCreated: _created,
    OrderSubmitted: _submitted,
    OrderAccepted: _accepted,
    OrderFilled: _filled,
    OrderCancelRequested: _cancel,
    OrderCancelSubmitted: _cancel_submitted,
    OrderReplaceRequested: _replace,
    OrderReplaceSubmitted: _replace_submitted,
    OrderReplaced: _replace_answered,
    OrderReplaceRejected: _replace_answered,
    OrderInDoubt: _in_doubt,
    OrderDoubtResolved: _doubt_resolved,
    OrderRejected: _ended,
    OrderCanceled: _ended,
    OrderExpired: _ended,
}


# -- recover -----------------------------------------------------------------------------------------------------


def recover(book: Book) -> tuple[Gateway, Sequence[Action]]:
    """The gateway of an account as its book is, and what there is to do."""
    orders = sorted((*book.orders.values(), *book.filled.values()), key=lambda order: order.placed)
    gateway = _recovered(book, orders)
    held = {order_id for bracket in gateway.brackets.values() for order_id in bracket.held}
    actions: list[Action] = []
    for order in orders:
        order_id = order.created.order_id
        if order_id in gateway.unsent:
            kill = next((request for request in order.requests if request.kind is PendingRequest.CANCEL), None)
            if kill is not None:
                actions.append(Withdraw(order_id, kill.request_id))
            elif order_id not in held:
                actions.append(Attempt(order_id))
            continue
        if order_id in gateway.sent and not order.is_in_doubt(_SUBMIT, None):
            actions.append(Unanswered(order_id, _SUBMIT, None, order.attempts))
        for request in order.requests:
            kind = request.request
            if request.is_acknowledged or request.request_id is None:
                continue  # The broker has it, or it was made elsewhere.
            if not request.attempts:
                actions.append(Attempt(order_id, kind, request.request_id))
            elif not order.is_in_doubt(kind, request.request_id):
                actions.append(Unanswered(order_id, kind, request.request_id, request.attempts))
        actions += (Ask(order_id, doubt) for doubt in order.doubts)
    return gateway, actions


def _recovered(book: Book, orders: Sequence[Order]) -> Gateway:
    unsent = _at_stage(OrdStatus.CREATED, orders)
    sent = _at_stage(OrdStatus.PENDING_NEW, orders)
    brackets: dict[str, Bracket] = {}
    released: dict[str, int] = {}
    for group_id, group in sorted(book.groups.items(), key=lambda item: item[1].number):
        if group.kind is not GroupKind.BRACKET:
            continue
        entry = book.orders.get(group.entry_id)
        if entry is not None and not entry.cum_qty:
            exits = tuple(
                order.created.order_id
                for order in orders
                if order.created.order_id in group.legs and order is not entry and order.created.order_id in unsent
            )
            brackets[group_id] = Bracket(group.entry_id, exits)
        else:
            released[group_id] = len(released) + 1
    replaces = {
        order.created.order_id: tuple(
            _asked(order, request) for request in order.pending_replaces() if request.quantity
        )
        for order in orders
        if order.pending_replaces()
    }
    return Gateway(
        immutables.Map(unsent),
        immutables.Map(sent),
        immutables.Map(brackets),
        _latest(immutables.Map(released)),
        len(released),
        immutables.Map(replaces),
    )


def _at_stage(stage: OrdStatus, orders: Iterable[Order]) -> dict[str, OrderCreated]:
    """Of what the broker has not said anything."""
    return {
        order.created.order_id: order.created
        for order in orders
        if order.stage is stage and order.final is None and not order.is_outline
    }


def _asked(order: Order, request: Request) -> Replace:
    assert request.quantity is not None
    order_id = order.created.order_id
    return Replace(order_id, request.request_id, request.quantity, request.limit_price, request.stop_price)
