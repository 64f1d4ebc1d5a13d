"""The messages of Binance spot, and what they say in the words of the port. Amounts are text there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from foldbook.brokers.port import OrderState, Report, ReportKind
from foldbook.market.records import exact, time_of
from foldbook.trading.values import ExecType, OrdStatus, Side

_STATUSES = {
    "NEW": OrdStatus.NEW,
    "PENDING_NEW": OrdStatus.NEW,
    "PARTIALLY_FILLED": OrdStatus.PARTIALLY_FILLED,
    "FILLED": OrdStatus.FILLED,
    "CANCELED": OrdStatus.CANCELED,
    "PENDING_CANCEL": OrdStatus.NEW,
    "REJECTED": OrdStatus.REJECTED,
    "EXPIRED": OrdStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrdStatus.EXPIRED,
}

_EXEC_TYPES = {
    "NEW": ExecType.NEW,
    "CANCELED": ExecType.CANCELED,
    "REPLACED": ExecType.REPLACED,
    "REJECTED": ExecType.REJECTED,
    "TRADE": ExecType.TRADE,
    "EXPIRED": ExecType.EXPIRED,
    "TRADE_PREVENTION": ExecType.EXPIRED,
}

_ENDS = {
    "REJECTED": ExecType.REJECTED,
    "EXPIRED": ExecType.EXPIRED,
    "EXPIRED_IN_MATCH": ExecType.EXPIRED,
}
"""How an order can have ended by the time at which its submission is answered, but for being filled."""


class Time(msgspec.Struct, rename="camel"):
    server_time: int


class Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    filters: list[dict[str, Any]] = []


class ExchangeInfo(msgspec.Struct):
    symbols: list[Symbol]


class Fill(msgspec.Struct, rename="camel"):
    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int


class Taken(msgspec.Struct, rename="camel"):
    """The answer to an order (``newOrderRespType`` FULL)."""

    symbol: str
    order_id: int
    client_order_id: str
    transact_time: int
    status: str
    side: Side
    orig_qty: str
    executed_qty: str
    fills: list[Fill] = []


class Canceled(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    orig_client_order_id: str
    status: str
    side: Side
    orig_qty: str
    executed_qty: str
    transact_time: int | None = None


class Order(msgspec.Struct, rename="camel"):
    """The answer to a question about an order."""

    symbol: str
    order_id: int
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    status: str
    side: Side
    stop_price: str = "0"
    update_time: int = 0


class Trade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    price: str
    qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool


class AssetBalance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class Account(msgspec.Struct):
    balances: list[AssetBalance]


class Event(msgspec.Struct):
    """An ``executionReport``. Its members have one letter."""

    symbol: str = msgspec.field(name="s")
    client_order_id: str = msgspec.field(name="c")
    original_client_order_id: str = msgspec.field(name="C")
    side: Side = msgspec.field(name="S")
    quantity: str = msgspec.field(name="q")
    price: str = msgspec.field(name="p")
    stop_price: str = msgspec.field(name="P")
    exec_type: str = msgspec.field(name="x")
    status: str = msgspec.field(name="X")
    order_id: int = msgspec.field(name="i")
    last_qty: str = msgspec.field(name="l")
    last_price: str = msgspec.field(name="L")
    cum_qty: str = msgspec.field(name="z")
    commission: str | None = msgspec.field(name="n")
    commission_asset: str | None = msgspec.field(name="N")
    transaction_time: int = msgspec.field(name="T")
    trade_id: int = msgspec.field(name="t")


def dumped(message: Any) -> str:
    return msgspec.json.encode(message).decode()


def time_of_ms(time_ms: int) -> datetime:
    return time_of(time_ms * 1_000_000)


def state_of(order: Order, raw: str) -> OrderState:
    status = _STATUSES.get(order.status)
    if status is None:
        raise ValueError(f"the status {order.status!r} of order {order.order_id} is none that is known")
    return OrderState(
        client_order_id=order.client_order_id,
        broker_order_id=str(order.order_id),
        symbol=order.symbol,
        side=order.side,
        status=status,
        quantity=exact(order.orig_qty),
        cum_qty=exact(order.executed_qty),
        limit_price=_price(order.price),
        stop_price=_price(order.stop_price),
        time=time_of_ms(order.update_time) if order.update_time else None,
        raw=raw,
    )


def reports_of_taken(account: str, taken: Taken, raw: str) -> tuple[Report, ...]:
    """NEW, what it traded at once, and that it has ended, if so."""
    if taken.status not in _STATUSES:
        raise ValueError(f"the status {taken.status!r} of order {taken.order_id} is none that is known")
    about: dict[str, Any] = {
        "account": account,
        "client_order_id": taken.client_order_id,
        "broker_order_id": str(taken.order_id),
        "symbol": taken.symbol,
        "side": taken.side,
        "time": time_of_ms(taken.transact_time),
        "raw": raw,
    }
    reports = [Report(kind=ReportKind.ORDER, exec_type=ExecType.NEW, **about)]
    reports += (
        Report(
            kind=ReportKind.TRADE,
            exec_type=ExecType.TRADE,
            exec_id=exec_id(taken.symbol, fill.trade_id),
            last_qty=exact(fill.qty),
            last_px=exact(fill.price),
            **_fee(fill.commission, fill.commission_asset),
            **about,
        )
        for fill in taken.fills
    )
    end = _ENDS.get(taken.status)
    if end is not None:
        reports.append(
            Report(
                kind=ReportKind.ORDER,
                exec_type=end,
                reason=taken.status,
                order_qty=exact(taken.orig_qty),
                cum_qty=exact(taken.executed_qty),
                **about,
            )
        )
    return tuple(reports)


def report_of_trade(account: str, trade: Trade, raw: str) -> Report:
    """Its order's client id is not said."""
    return Report(
        kind=ReportKind.TRADE,
        account=account,
        exec_type=ExecType.TRADE,
        broker_order_id=str(trade.order_id),
        exec_id=exec_id(trade.symbol, trade.id),
        symbol=trade.symbol,
        side=Side.BUY if trade.is_buyer else Side.SELL,
        last_qty=exact(trade.qty),
        last_px=exact(trade.price),
        **_fee(trade.commission, trade.commission_asset),
        time=time_of_ms(trade.time),
        raw=raw,
    )


def report_of_event(account: str, event: Event, raw: str, is_ours: Callable[[str], bool]) -> Report | None:
    """With a cancel the client id of the order is in ``C``, and ``c`` has the id of the request.

    A report of self-trade prevention that does not end its order changes nothing that is known here.
    """
    exec_type = _EXEC_TYPES.get(event.exec_type)
    if exec_type is None:
        raise ValueError(f"the execution type {event.exec_type!r} is none that is known")
    if event.exec_type == "TRADE_PREVENTION" and _STATUSES.get(event.status) is not OrdStatus.EXPIRED:
        return None
    is_trade = exec_type is ExecType.TRADE
    is_replaced = exec_type is ExecType.REPLACED
    has_ended = exec_type is ExecType.CANCELED or exec_type in _ENDS.values()
    original = event.original_client_order_id
    return Report(
        kind=ReportKind.TRADE if is_trade else ReportKind.ORDER,
        account=account,
        exec_type=exec_type,
        client_order_id=original or event.client_order_id,
        broker_order_id=str(event.order_id),
        exec_id=exec_id(event.symbol, event.trade_id) if is_trade else None,
        symbol=event.symbol,
        side=event.side,
        last_qty=exact(event.last_qty) if is_trade else None,
        last_px=exact(event.last_price) if is_trade else None,
        **(_fee(event.commission, event.commission_asset) if is_trade else {}),
        quantity=exact(event.quantity) if is_replaced else None,
        limit_price=_price(event.price) if is_replaced else None,
        stop_price=_price(event.stop_price) if is_replaced else None,
        order_qty=exact(event.quantity) if has_ended else None,
        cum_qty=exact(event.cum_qty) if has_ended else None,
        request_id=event.client_order_id if original and is_ours(event.client_order_id) else None,
        reason=event.status if exec_type in _ENDS.values() else None,
        time=time_of_ms(event.transaction_time),
        raw=raw,
    )


def exec_id(symbol: str, trade_id: int) -> str:
    """Unique in the account: trade ids count within a symbol."""
    return f"{symbol}-{trade_id}"


def _price(text: str) -> Decimal | None:
    """0 stands for none."""
    return exact(text) or None


def _fee(commission: str | None, asset: str | None) -> dict[str, Any]:
    """In the asset that was taken; None if nothing was."""
    fee = exact(commission) if commission else None
    return {"fee": fee, "fee_currency": asset} if fee else {"fee": None, "fee_currency": None}
