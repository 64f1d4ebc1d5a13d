"""Histories of fills and of what was told about them, and the rows that they come to, one event after the other."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from foldbook.trading.values import EXACT, InstrumentKind, quotient
from tests.readside.histories import BEGIN, Happening, amounts, plain, times

ACCOUNTS = ("alice/binance/simulated", "bob/kraken/backtest")
"""Both have orders, and executions without an order, of the same ids."""

Row = dict[str, Any]

LATER = "2026-01-02T05:00:00+00:00"
"""Told by somebody whose clock is wrong."""

MAY_BE_AHEAD: dict[str, Row] = {
    "OrderRestated": {"order_id": "o-1", "strategy_id": "s-o-1", "symbol": "BTCUSDT", "side": "SELL", "quantity": "3"},
    "OrderCancelRejected": {"order_id": "o-1", "request_id": "r-1", "text": "too late"},
    "AccountAdjusted": {"kind": "OPENING", "reference": "statement", "symbol": "BTCUSDT", "quantity": "-2"},
    "PriceRecorded": {"symbol": "BTCUSDT", "price": "100"},
}


@st.composite
def histories(draw: st.DrawFn) -> list[Happening]:
    history: list[Happening] = []
    standing: list[Happening] = []
    """The fills that may still be busted or corrected."""
    for number in range(draw(st.integers(1, 40))):
        at, account = draw(times), draw(st.sampled_from(ACCOUNTS))
        match draw(st.sampled_from(["fill", "fill", "foreign", "bust", "correct", "correct", "exception", "told"])):
            case "fill" | "foreign" as what:
                order_id = draw(st.sampled_from(["o-1", "o-2"])) if what == "fill" else None
                # An order's exec ids are its own: another order may have the same.
                taken = {f.payload["exec_id"] for f in history if f.order_id == order_id and is_fill(f)}
                exec_id = next(f"x-{n}" for n in range(100) if f"x-{n}" not in taken)
                of_whom = names(order_id) if order_id else foreign(draw)
                payload = of_whom | execution(draw, exec_id) | draw(st.sampled_from(INSTRUMENTS))
                filled = Happening(account, "OrderFilled" if order_id else "ExecutionBooked", payload, at)
                history.append(filled)
                standing.append(filled)
            case "exception":
                type_name = draw(st.sampled_from(["UnmatchedExecutionRecorded", "FillConflictDetected"]))
                payload = {"exec_type": "TRADE_CANCEL", "exec_id": "b-1", "exec_ref_id": "x-0"} | told(draw)
                payload |= draw(st.sampled_from([{"order_id": "o-1"}, {"kind": "LIQUIDATION", "symbol": "BTCUSDT"}]))
                payload |= draw(st.sampled_from([{}, {"quantity": "5", "limit_price": "99", "request_id": "r-1"}]))
                history.append(Happening(account, type_name, payload, at))
            case "told":
                type_name = draw(st.sampled_from(sorted(MAY_BE_AHEAD)))
                history.append(Happening(account, type_name, MAY_BE_AHEAD[type_name] | told(draw), at))
            case kind if standing:
                filled = draw(st.sampled_from(standing))
                known = {
                    name: filled.payload[name]
                    for name in ("order_id", "strategy_id", "kind", "symbol", "side")
                    if name in filled.payload
                }
                reference = {"exec_ref_id": filled.payload["exec_id"]}
                payload = known | execution(draw, f"change-{number}") | reference
                of_what = "Fill" if filled.order_id else "Execution"
                happened = "Busted" if kind == "bust" else "Corrected"
                history.append(Happening(filled.account, f"{of_what}{happened}", payload, at))
                if kind == "bust":
                    standing.remove(filled)
    return history


def is_fill(happening: Happening) -> bool:
    return happening.type in ("OrderFilled", "ExecutionBooked")


def names(order_id: str) -> Row:
    return {"order_id": order_id, "strategy_id": f"s-{order_id}", "symbol": "BTCUSDT", "side": "SELL"}


def foreign(draw: st.DrawFn) -> Row:
    return {"kind": draw(st.sampled_from(["LIQUIDATION", "FOREIGN_ORDER"])), "symbol": "BTCUSDT", "side": "BUY"}


INSTRUMENTS: tuple[Row, ...] = (
    {},
    {"base_currency": "BTC", "quote_currency": "USDT"},
    {"instrument_kind": "FUTURE", "multiplier": "50", "quote_currency": "USD"},
    {"instrument_kind": "INVERSE", "multiplier": "100", "base_currency": "BTC", "quote_currency": "USD"},
)


def execution(draw: st.DrawFn, exec_id: str) -> Row:
    px = draw(st.sampled_from(["0", "0.3", plain(draw(amounts))]))
    payload = {"exec_id": exec_id, "last_qty": plain(draw(amounts)), "last_px": px} | told(draw)
    if draw(st.booleans()):
        payload |= {"fee": plain(draw(amounts)), "fee_currency": draw(st.sampled_from(["USDT", "BNB"]))}
    return payload | draw(st.sampled_from([{}, {"gross_amount": "12.34"}]))


def told(draw: st.DrawFn) -> Row:
    """When it happened, when it counts, or both."""
    counted, ahead = {"counted_at": BEGIN.isoformat()}, {"transact_time": LATER}
    return draw(st.sampled_from([{}, {"transact_time": BEGIN.isoformat()}, counted, counted | ahead]))


# -- the rows ----------------------------------------------------------------------------------------------------

TERMS = ("last_qty", "last_px", "gross_amount", "fee", "fee_currency")
NUMBERS = ("last_qty", "last_px", "gross_amount", "fee", "quantity", "limit_price", "stop_price")
WORDS = (
    "order_id", "exec_type", "kind", "symbol", "side", "exec_id", "exec_ref_id", "fee_currency", "request_id", "reason",
    "broker_order_id",
)  # fmt: skip
PROBLEMS = {"UnmatchedExecutionRecorded": "unmatched", "FillConflictDetected": "conflict"}


def folded(history: list[Happening]) -> tuple[list[Row], list[Row]]:
    """The fills and the exceptions, one event after the other."""
    fills: dict[tuple[str, str | None, str], Row] = {}
    exceptions = []
    for position, e in enumerate(history, 1):
        p = e.payload
        place = {"shard": 0, "position": position, "account": e.account, "occurred_at": e.occurred_at}
        match e.type:
            case "OrderFilled" | "ExecutionBooked":
                fills[e.account, e.order_id, p["exec_id"]] = place | _fill(p)
            case "FillBusted" | "ExecutionBusted":
                fills[e.account, e.order_id, p["exec_ref_id"]] |= {"is_busted": True, "changed_position": position}
            case "FillCorrected" | "ExecutionCorrected":
                fill = fills[e.account, e.order_id, p["exec_ref_id"]]
                if fill["original_qty"] is None:
                    fill |= {f"original_{name.removeprefix('last_')}": fill[name] for name in TERMS}
                fill |= {name: _value(p, name) for name in TERMS} | {"changed_position": position}
                fill |= {"money": money(fill)}
        if e.type in PROBLEMS or {"transact_time", "counted_at"} <= p.keys():
            exceptions.append(
                place
                | {"type": e.type, "problem": PROBLEMS.get(e.type, "time-ahead")}
                | {name: _value(p, name) for name in (*NUMBERS, *WORDS)}
                | {name: _moment(p.get(name)) for name in ("transact_time", "counted_at")}
            )
    return list(fills.values()), exceptions


def _fill(p: Row) -> Row:
    kind = p.get("instrument_kind", "SPOT")
    fill = (
        {name: p.get(name) for name in ("order_id", "strategy_id", "kind", "symbol", "side", "exec_id")}
        | {"instrument_kind": kind, "multiplier": Decimal(p.get("multiplier", "1"))}
        | {"currency": p.get("base_currency" if kind == "INVERSE" else "quote_currency")}
        | {name: _value(p, name) for name in TERMS}
        | {"is_busted": False, "changed_position": None}
        | {f"original_{name.removeprefix('last_')}": None for name in TERMS}
    )
    return fill | {"money": money(fill)}


def money(fill: Row) -> Decimal:
    quantity, price, multiplier = fill["last_qty"], fill["last_px"], fill["multiplier"]
    if fill["gross_amount"] is not None:
        paid: Decimal = fill["gross_amount"]
    elif fill["instrument_kind"] != InstrumentKind.INVERSE:
        paid = EXACT.multiply(EXACT.multiply(quantity, price), multiplier)
    else:
        paid = EXACT.multiply(quantity, quotient(multiplier, price, 36)) if price else Decimal(0)
    return paid


def _value(p: Row, name: str) -> Any:
    return Decimal(p[name]) if name in p and name in NUMBERS else p.get(name)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
