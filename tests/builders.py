"""Commands and events with everything filled in that a test does not care about."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from uuid_utils.compat import uuid7

from foldbook.eventstore.events import AggregateKey
from foldbook.trading.commands import (
    AdjustAccount,
    OpenAccount,
    PlaceOrder,
    RecordAttempt,
    RecordDoubt,
    RecordExecution,
    RecordHolding,
    RequestCancel,
    RequestReplace,
    ResolveDoubt,
    SetTradingState,
)
from foldbook.trading.events import (
    OrderAccepted,
    OrderBookCreated,
    OrderCanceled,
    OrderCancelRequested,
    OrderCreated,
    OrderFilled,
    OrderRejected,
)
from foldbook.trading.values import (
    AdjustmentKind,
    DoubtOutcome,
    ExecType,
    OrderType,
    OrdStatus,
    PendingRequest,
    RequestKind,
    Side,
    TimeInForce,
    TradingState,
)

ACCOUNT = "alice/binance/simulated"
KEY = AggregateKey("order_book", ACCOUNT)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def amounts(*numbers: int | str) -> tuple[Decimal, ...]:
    return tuple(Decimal(number) for number in numbers)


def key(account: str) -> AggregateKey:
    return AggregateKey("order_book", account)


def _request(account: str) -> dict[str, Any]:
    return {"command_id": uuid7(), "received_at": NOW, "account": account}


def open_account(account: str = ACCOUNT, **fields: Any) -> OpenAccount:
    return OpenAccount(**{**_request(account), **fields})


def place(order_id: str | None = "o-1", account: str = ACCOUNT, quantity: str = "2", **fields: Any) -> PlaceOrder:
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


def attempt(
    order_id: str = "o-1", request: RequestKind = RequestKind.SUBMIT, account: str = ACCOUNT, **fields: Any
) -> RecordAttempt:
    return RecordAttempt(**{**_request(account), "order_id": order_id, "request": request, **fields})


def in_doubt(
    order_id: str = "o-1", request: RequestKind = RequestKind.SUBMIT, account: str = ACCOUNT, **fields: Any
) -> RecordDoubt:
    doubt = {"order_id": order_id, "request": request, "reason": "no answer"}
    return RecordDoubt(**{**_request(account), **doubt, **fields})


def resolve(
    doubt_id: object, outcome: DoubtOutcome, order_id: str = "o-1", account: str = ACCOUNT, **fields: Any
) -> ResolveDoubt:
    decision = {"order_id": order_id, "doubt_id": str(doubt_id), "outcome": outcome}
    return ResolveDoubt(**{**_request(account), **decision, **fields})


def holding(quantity: str, symbol: str = "BTCUSDT", account: str = ACCOUNT) -> RecordHolding:
    return RecordHolding(**_request(account), symbol=symbol, quantity=Decimal(quantity))


def trading_state(state: str, account: str = ACCOUNT, **fields: Any) -> SetTradingState:
    return SetTradingState(**{**_request(account), "state": TradingState(state), **fields})


def adjust(kind: str, account: str = ACCOUNT, **fields: Any) -> AdjustAccount:
    said = {"kind": AdjustmentKind(kind), "reference": "doc-1"} | fields
    said |= {name: Decimal(said[name]) for name in ("quantity", "price", "amount") if name in said}
    return AdjustAccount(**{**_request(account), **said})


def _names(order_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "strategy_id": "trend", "symbol": "BTCUSDT", "side": Side.BUY}


def book_created(account: str = ACCOUNT) -> OrderBookCreated:
    user, exchange, broker = account.split("/")
    return OrderBookCreated(user=user, exchange=exchange, broker=broker)


def created(order_id: str = "o-1", quantity: str = "2", **fields: Any) -> OrderCreated:
    """The event of ``place``."""
    order = {
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(quantity),
        "limit_price": Decimal(100),
        "time_in_force": TimeInForce.GTC,
        "transact_time": NOW,
    }
    return OrderCreated(**{**_names(order_id), **order, **fields})


def state(cum: str = "0", leaves: str = "2", px: str = "100", **said: Any) -> dict[str, Any]:
    """What an event says of the order after it: that of ``place``, of which ``cum`` has traded at ``px``."""
    cum_qty, leaves_qty = Decimal(cum), Decimal(leaves)
    working_state = OrdStatus.NEW if not cum_qty else OrdStatus.PARTIALLY_FILLED if leaves_qty else OrdStatus.FILLED
    return {
        "quantity": Decimal(2),
        "limit_price": Decimal(100),
        "working_state": working_state,
        "cum_qty": cum_qty,
        "cum_cost": cum_qty * Decimal(px),
        "leaves_qty": leaves_qty,
        **said,
    }


def accepted(order_id: str = "o-1", **said: Any) -> OrderAccepted:
    return OrderAccepted(**_names(order_id), **state(**said))


def filled(
    exec_id: str, qty: str, cum: str, leaves: str, px: str = "100", order_id: str = "o-1", **said: Any
) -> OrderFilled:
    """A fill. Every fill so far was at ``px``, if ``cum_cost`` does not say otherwise."""
    return OrderFilled(
        **_names(order_id),
        exec_id=exec_id,
        last_qty=Decimal(qty),
        last_px=Decimal(px),
        **state(cum, leaves, px, **{"counted_at": NOW, **said}),
    )


def cancel_requested(command: RequestCancel) -> OrderCancelRequested:
    """The event of ``command``."""
    return OrderCancelRequested(
        **_names(command.order_id),
        **state(pending_request=PendingRequest.CANCEL),
        request_id=str(command.command_id),
        transact_time=NOW,
    )


def canceled(cum: str = "0", order_id: str = "o-1", **said: Any) -> OrderCanceled:
    return OrderCanceled(**_names(order_id), **state(cum, "0", working_state=OrdStatus.CANCELED, **said))


def rejected(order_id: str = "o-1", **said: Any) -> OrderRejected:
    return OrderRejected(**_names(order_id), **state(leaves="0", working_state=OrdStatus.REJECTED, **said))
