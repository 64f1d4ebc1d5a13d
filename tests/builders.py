"""Commands and events with everything filled in that a test does not care about."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from uuid_utils.compat import uuid7

from foldbook.eventstore.events import AggregateKey
from foldbook.trading.commands import OpenAccount, PlaceOrder, RecordExecution, RequestCancel, RequestReplace
from foldbook.trading.events import (
    OrderAccepted,
    OrderBookCreated,
    OrderCanceled,
    OrderCancelRequested,
    OrderCreated,
    OrderFilled,
    OrderRejected,
)
from foldbook.trading.values import ExecType, OrderType, Side, TimeInForce

ACCOUNT = "alice/binance/simulated"
KEY = AggregateKey("order_book", ACCOUNT)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def key(account: str) -> AggregateKey:
    return AggregateKey("order_book", account)


def _request(account: str) -> dict[str, Any]:
    return {"command_id": uuid7(), "received_at": NOW, "account": account}


def open_account(account: str = ACCOUNT, **fields: Any) -> OpenAccount:
    return OpenAccount(**{**_request(account), **fields})


def place(order_id: str = "o-1", account: str = ACCOUNT, quantity: str = "2", **fields: Any) -> PlaceOrder:
    """A limit order to buy at 100."""
    order = {
        "order_id": order_id,
        "strategy_id": "trend",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(quantity),
        "limit_price": Decimal(100),
        "time_in_force": TimeInForce.GTC,
    }
    return PlaceOrder(**{**_request(account), **order, **fields})


def cancel(order_id: str = "o-1", account: str = ACCOUNT, **fields: Any) -> RequestCancel:
    return RequestCancel(**{**_request(account), "order_id": order_id, **fields})


def replace_order(order_id: str = "o-1", account: str = ACCOUNT, **fields: Any) -> RequestReplace:
    return RequestReplace(**{**_request(account), "order_id": order_id, **fields})


def report(exec_type: str, order_id: str = "o-1", account: str = ACCOUNT, **fields: Any) -> RecordExecution:
    return RecordExecution(**{**_request(account), "order_id": order_id, "exec_type": ExecType(exec_type), **fields})


def trade(exec_id: str, qty: str, px: str = "100", order_id: str = "o-1", **fields: Any) -> RecordExecution:
    return report("TRADE", order_id, exec_id=exec_id, last_qty=Decimal(qty), last_px=Decimal(px), **fields)


def _names(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "strategy_id": "trend", "symbol": "BTCUSDT", "side": Side.BUY}


def book_created(account: str = ACCOUNT) -> OrderBookCreated:
    user, exchange, broker = account.split("/")
    return OrderBookCreated(user=user, exchange=exchange, broker=broker)


def created(order_id: str = "o-1", quantity: str = "2", **fields: Any) -> OrderCreated:
    """What ``place`` leads to."""
    order = {
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(quantity),
        "limit_price": Decimal(100),
        "time_in_force": TimeInForce.GTC,
        "transact_time": NOW,
    }
    return OrderCreated(**{**_names(order_id), **order, **fields})


def accepted(order_id: str = "o-1", **fields: Any) -> OrderAccepted:
    return OrderAccepted(**_names(order_id), **fields)


def filled(
    exec_id: str, qty: str, cum: str, leaves: str, px: str = "100", order_id: str = "o-1", **fields: Any
) -> OrderFilled:
    return OrderFilled(
        **_names(order_id),
        exec_id=exec_id,
        last_qty=Decimal(qty),
        last_px=Decimal(px),
        cum_qty=Decimal(cum),
        leaves_qty=Decimal(leaves),
        **{"transact_time": NOW, **fields},
    )


def cancel_requested(order_id: str = "o-1") -> OrderCancelRequested:
    return OrderCancelRequested(**_names(order_id), transact_time=NOW)


def canceled(cum: str = "0", order_id: str = "o-1", **fields: Any) -> OrderCanceled:
    return OrderCanceled(**_names(order_id), cum_qty=Decimal(cum), **fields)


def rejected(order_id: str = "o-1", **fields: Any) -> OrderRejected:
    return OrderRejected(**_names(order_id), **fields)
