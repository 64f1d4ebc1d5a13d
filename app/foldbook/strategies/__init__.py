"""What the author of a strategy needs. This room is the public interface of strategies."""

from __future__ import annotations

from foldbook.market.records import Bar, Quote, Trade
from foldbook.strategies.context import OrderView
from foldbook.strategies.errors import StrategyError
from foldbook.strategies.strategy import Strategy
from foldbook.trading.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderEnd,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReplaced,
    OrderReplaceDenied,
    OrderReplaceRejected,
    OrderUpdate,
)
from foldbook.trading.values import GroupKind, OrderGroup, OrderType, OrdStatus, Side, TimeInForce

__all__ = [
    "Bar",
    "GroupKind",
    "OrdStatus",
    "OrderAccepted",
    "OrderCancelRejected",
    "OrderCanceled",
    "OrderDenied",
    "OrderEnd",
    "OrderEvent",
    "OrderExpired",
    "OrderFilled",
    "OrderGroup",
    "OrderRejected",
    "OrderReplaceDenied",
    "OrderReplaceRejected",
    "OrderReplaced",
    "OrderType",
    "OrderUpdate",
    "OrderView",
    "Quote",
    "Side",
    "Strategy",
    "StrategyError",
    "TimeInForce",
    "Trade",
]
