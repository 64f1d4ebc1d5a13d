"""The gateway's decisions: which events ask for something to be sent to the broker, and what.

A pure function of the account's events, so that the live gateway and the backtest decide alike. Before anything is
sent, the attempt is a fact: an order is sent because of its ``OrderSubmitted``, which the gateway's own report made,
and a cancel or a replace because of its request. The exits of a bracket are held until its entry trades.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import immutables
import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.events import (
    OrderCancelRequested,
    OrderCreated,
    OrderDenied,
    OrderEnd,
    OrderFilled,
    OrderReplaceRequested,
    OrderSubmitted,
)
from foldbook.trading.values import GroupKind

GROUPS_MAX = 1_000
"""Brackets that are remembered after their entry has traded. Up to twice as many are."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """Commit that the order is about to be sent: report it as PENDING_NEW."""

    order_id: str


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Send the order."""

    order: OrderCreated


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Send a cancel."""

    order_id: str
    request_id: str | None


class Replace(msgspec.Struct, frozen=True, gc=False):
    """Send a replace. The terms are complete."""

    order_id: str
    request_id: str | None
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None


class Withdraw(msgspec.Struct, frozen=True, gc=False):
    """Report an order as CANCELED that was never sent: nobody else can answer its cancel."""

    order_id: str
    request_id: str | None


Action: TypeAlias = Attempt | Submit | Cancel | Replace | Withdraw


class Bracket(msgspec.Struct, frozen=True, gc=False):
    """A bracket whose entry has not traded. ``held``: its exits, in the order in which they were placed."""

    entry_id: str
    held: tuple[str, ...] = ()


class Gateway(msgspec.Struct, frozen=True, gc=False):
    """What the decisions need of the past: the orders that were not sent yet, and the brackets that wait."""

    unsent: immutables.Map[str, OrderCreated] = immutables.Map()
    brackets: immutables.Map[str, Bracket] = immutables.Map()
    """By group id, until the entry trades or ends."""
    released: immutables.Map[str, int] = immutables.Map()
    """The brackets whose entry has traded, numbered: exits that are placed later are sent at once."""
    released_count: int = 0
    replaces: immutables.Map[str, tuple[Replace, ...]] = immutables.Map()
    """What is asked of unsent orders: it is sent after them."""


def react(gateway: Gateway, events: Iterable[Event]) -> tuple[Gateway, Sequence[Action]]:
    """The gateway after the events of one commit, and what it does because of them, in order."""
    told: tuple[Any, ...] = tuple(events)
    actions: list[Action] = []
    denied = {event.order_id for event in told if type(event) is OrderDenied}
    for event in told:
        event_type = type(event)
        if event_type is OrderFilled:
            if gateway.brackets:
                gateway = _traded(gateway, event, actions)
        elif event_type is OrderCreated:
            if event.order_id not in denied:
                gateway = _created(gateway, event, actions)
        elif event_type is OrderSubmitted:
            order = gateway.unsent.get(event.order_id)
            if order is not None:
                actions += (Submit(order), *gateway.replaces.get(event.order_id, ()))
                gateway = _without(gateway, event.order_id)
        elif event_type is OrderCancelRequested:
            gateway = _cancel(gateway, event, actions)
        elif event_type is OrderReplaceRequested:
            gateway = _replace(gateway, event, actions)
        elif isinstance(event, OrderEnd):
            gateway = _ended(gateway, event)
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
        return _without(gateway, event.order_id)
    actions.append(Cancel(event.order_id, event.request_id))
    return gateway


def _replace(gateway: Gateway, event: OrderReplaceRequested, actions: list[Action]) -> Gateway:
    quantity = event.requested_quantity
    assert quantity is not None
    order_id = event.order_id
    action = Replace(order_id, event.request_id, quantity, event.requested_limit_price, event.requested_stop_price)
    if order_id not in gateway.unsent:
        actions.append(action)
        return gateway
    replaces = gateway.replaces.set(order_id, (*gateway.replaces.get(order_id, ()), action))
    return msgspec.structs.replace(gateway, replaces=replaces)


def _ended(gateway: Gateway, event: OrderEnd) -> Gateway:
    gateway = _without(gateway, event.order_id)
    for group_id, bracket in gateway.brackets.items():
        if bracket.entry_id == event.order_id:
            return msgspec.structs.replace(gateway, brackets=gateway.brackets.delete(group_id))
    return gateway


def _without(gateway: Gateway, order_id: str) -> Gateway:
    if order_id not in gateway.unsent:
        return gateway
    replaces = gateway.replaces.delete(order_id) if order_id in gateway.replaces else gateway.replaces
    return msgspec.structs.replace(gateway, unsent=gateway.unsent.delete(order_id), replaces=replaces)
