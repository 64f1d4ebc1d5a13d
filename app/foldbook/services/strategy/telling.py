"""What a strategy does, in lines for a person."""

from __future__ import annotations

from foldbook.eventstore.events import Event
from foldbook.services.strategy.account import Account
from foldbook.trading.events import (
    OrderCanceled,
    OrderCancelRejected,
    OrderCreated,
    OrderDenied,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
)

_PLAIN = {
    OrderRejected: "rejected",
    OrderCanceled: "canceled",
    OrderExpired: "expired",
    OrderCancelRejected: "not canceled",
    OrderReplaceRejected: "not replaced",
}


def line_of(event: Event, account: Account, strategy_id: str) -> str | None:
    """The line about an event that the account has folded; None: it is about nothing that a person waits for."""
    if not isinstance(event, OrderEvent) or event.strategy_id != strategy_id:
        return None
    if isinstance(event, OrderCreated):
        prices = [f"{price:f}" for price in (event.limit_price, event.stop_price) if price is not None]
        terms = [event.side.value, f"{event.quantity:f}", event.symbol, event.order_type.value, *prices]
        return f"{event.order_id}: {' '.join(terms)} {event.time_in_force.value}"
    if isinstance(event, OrderFilled):
        position = account.book.position_qty(event.symbol)
        traded = f"{event.cum_qty:f} of {event.quantity:f}"
        return (
            f"{event.order_id}: traded {event.last_qty:f} at {event.last_px:f}, {traded};"
            f" position {position:f} {event.symbol}"
        )
    if isinstance(event, OrderDenied):
        return f"{event.order_id}: denied, {event.reason}: {event.observed}, the limit is {event.limit}"
    if isinstance(event, OrderReplaced):
        prices = [f"{price:f}" for price in (event.limit_price, event.stop_price) if price is not None]
        return f"{event.order_id}: now {' '.join([f'{event.quantity:f}', *prices])}"
    word = _PLAIN.get(type(event))
    if word is None:
        return None
    reason = getattr(event, "reason", None) or getattr(event, "text", None)
    return f"{event.order_id}: {word}" + (f", {reason}" if reason else "")
