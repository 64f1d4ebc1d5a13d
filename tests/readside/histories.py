"""Histories of order books: how to write one into a log, draw a random one, and fold one in plain Python."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import psycopg
from hypothesis import strategies as st

from foldbook.trading.values import EXACT, canonical

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OPEN = ("CREATED", "NEW", "PARTIALLY_FILLED")

WRITE = """
with lock as materialized (
    select from eventstore.shards s where s.shard = 0 for no key update
),
head as materialized (
    select h.* from lock, eventstore.head(0) h
),
event as (
    select
        h.last_position + e.ordinal as position,
        e.aggregate_type,
        e.account,
        coalesce((
            select max(o.sequence)
            from eventstore.events o
            where o.aggregate_id = e.account and o.aggregate_type = e.aggregate_type
        ), 0) + row_number() over (partition by e.aggregate_type, e.account order by e.ordinal) as sequence,
        e.type,
        e.order_id,
        e.payload,
        e.occurred_at
    from head h, unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[], %s::timestamptz[])
        with ordinality e (aggregate_type, account, order_id, type, payload, occurred_at, ordinal)
),
new_event as (
    insert into eventstore.events
    select
        0, position, aggregate_type, account, sequence, type, 1, order_id, gen_random_uuid(), payload, '{}',
        occurred_at, now(), ''
    from event
)
insert into eventstore.commits
select 0, h.number + 1, h.last_position + 1, h.last_position + (select count(*) from event), now(), h.hash, h.hash
from head h
returning last_position, pg_notify('foldbook_log', '0:' || last_position)
"""


WITHOUT_AN_ORDER = (
    "ExecutionBooked",
    "ExecutionBusted",
    "ExecutionCorrected",
    "FillConflictDetected",
    "UnmatchedExecutionRecorded",
)


@dataclass(frozen=True)
class Happening:
    """An event before it has its place in the log."""

    account: str
    type: str
    payload: dict[str, Any]
    occurred_at: datetime = BEGIN
    aggregate_type: str = "order_book"

    @property
    def order_id(self) -> str | None:
        order_id: str | None = self.payload.get("order_id")
        return order_id

    @property
    def subject(self) -> str | None:
        """The order; else, of what is told about an execution without one, the name of that execution."""
        if self.order_id is not None or self.type not in WITHOUT_AN_ORDER:
            return self.order_id
        return f"~{self.payload.get('exec_ref_id') or self.payload.get('exec_id') or ''}"


def write(connection: psycopg.Connection[Any], history: Iterable[Happening]) -> int:
    """One commit with these events; the log's new head. Does to the tables what ``append`` does, and judges nothing."""
    events = list(history)
    row = connection.execute(
        WRITE,
        [
            [e.aggregate_type for e in events],
            [e.account for e in events],
            [e.subject for e in events],
            [e.type for e in events],
            [json.dumps(e.payload) for e in events],
            [e.occurred_at for e in events],
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])


def write_many(connection: psycopg.Connection[Any], orders: int, accounts: int = 20) -> int:
    """``orders`` orders, most of them accepted, filled in two parts and canceled between; the log's new head."""
    history: list[Happening] = []
    for number in range(orders):
        account = f"user-{number % accounts}/binance/simulated"
        if number < accounts:
            history += [book_created(account), price(account, "100")]
        order = {
            "order_id": f"order-{number}",
            "strategy_id": f"strategy-{number % 3}",
            "symbol": "BTCUSDT",
            "side": "BUY",
        }
        history.append(Happening(account, "OrderCreated", order | ORDER))
        if number % 4:
            history.append(Happening(account, "OrderAccepted", order | {"broker_order_id": f"b-{number}"}))
        if number % 3:
            history.append(Happening(account, "OrderFilled", order | fill(f"x-{number}", "1")))
        if number % 2:
            history.append(Happening(account, "OrderCanceled", order))
    return write(connection, stated(history))


_books = count()


def write_book(connection: psycopg.Connection[Any], orders: int = 5) -> int:
    """One commit: a book of its own with some half filled orders; the log's new head."""
    number = next(_books)
    account = f"trader-{number}/binance/simulated"
    history = [book_created(account), price(account, str(number + 1))]
    for order_id in (f"t-{number}-{n}" for n in range(orders)):
        order = {"order_id": order_id, "strategy_id": "s", "symbol": "ETHUSDT", "side": "SELL"}
        history.append(Happening(account, "OrderCreated", order | ORDER))
        history.append(Happening(account, "OrderFilled", order | fill("x", "1")))
    return write(connection, stated(history))


ORDER = {"order_type": "LIMIT", "quantity": "2", "limit_price": "100", "time_in_force": "GTC"}


def book_created(account: str) -> Happening:
    user, exchange, broker = account.split("/")
    return Happening(account, "OrderBookCreated", {"user": user, "exchange": exchange, "broker": broker})


def price(account: str, px: str) -> Happening:
    return Happening(account, "PriceRecorded", {"symbol": "BTCUSDT", "price": px, "transact_time": BEGIN.isoformat()})


def fill(exec_id: str, qty: str, px: str = "100") -> dict[str, str]:
    return {"exec_id": exec_id, "last_qty": qty, "last_px": px, "fee": "0.1", "fee_currency": "USDT"}


def plain(amount: Decimal) -> str:
    return f"{canonical(amount):f}"


def stated(history: Iterable[Happening]) -> list[Happening]:
    """The same, and every event about an order carries the order's state after it. Begins with the books."""
    fold = Fold()
    return [fold.add(happening) for happening in history]


amounts = st.decimals("0.001", "20", places=3).map(lambda d: d.normalize())
times = st.integers(0, 10_000).map(lambda ms: BEGIN + timedelta(milliseconds=ms))


@st.composite
def histories(draw: st.DrawFn) -> list[Happening]:
    """Books, and orders that live through what can happen to them, late fills and overfills included."""
    fold = Fold()
    accounts = ["alice/binance/simulated", "bob/kraken/backtest"][: draw(st.integers(1, 2))]
    history = [fold.add(book_created(account)) for account in accounts]
    for number in range(draw(st.integers(0, 40))):
        account = draw(st.sampled_from(accounts))
        order_id = draw(st.sampled_from(["o-1", "o-2", "o-3"]))
        happening = draw(_next(account, order_id, fold.orders.get((account, order_id)), number))
        if happening is not None:
            history.append(fold.add(happening))
    return history


@st.composite
def _next(draw: st.DrawFn, account: str, order_id: str, order: dict[str, Any] | None, number: int) -> Happening | None:
    names = {"order_id": order_id, "strategy_id": f"s-{order_id}", "symbol": "BTCUSDT", "side": "SELL"}
    at = draw(times)
    if order is None:
        payload = {"order_type": "STOP_LIMIT", "quantity": plain(draw(amounts)), "time_in_force": "GTD"}
        payload |= {"limit_price": plain(draw(amounts)), "stop_price": plain(draw(amounts))}
        return Happening(account, "OrderCreated", names | payload | {"expire_at": "2026-12-31T23:59:59.5Z"}, at)
    if order["working_state"] == "REJECTED":
        return None
    choices = ["OrderFilled", "OrderAccepted"]
    if order["working_state"] in OPEN:
        choices += ["OrderCancelRequested", "OrderCanceled", "OrderFilled"]
        choices += ["OrderRejected"] if order["cum_qty"] == 0 else []
    match draw(st.sampled_from(choices)):
        case "OrderFilled":
            qty = draw(amounts)
            payload = fill(f"x-{number}", plain(qty), plain(draw(amounts)))
            if draw(st.booleans()):
                payload |= {"fee": plain(draw(amounts)), "fee_currency": draw(st.sampled_from(["USDT", "BNB"]))}
            else:
                del payload["fee"], payload["fee_currency"]
            if draw(st.booleans()):
                payload["broker_order_id"] = draw(st.sampled_from(["b-1", "b-2"]))
            return Happening(account, "OrderFilled", names | payload, at)
        case "OrderAccepted":
            broker = {"broker_order_id": draw(st.sampled_from(["b-1", "b-2"]))} if draw(st.booleans()) else {}
            return Happening(account, "OrderAccepted", names | broker, at)
        case "OrderCanceled":
            return Happening(account, "OrderCanceled", names | draw(st.sampled_from([{}, {"reason": "venue"}])), at)
        case other:
            return Happening(account, other, names, at)


AMOUNTS = ("quantity", "limit_price", "stop_price", "cum_qty", "cum_cost", "leaves_qty", "overfill_qty")
WORDS: dict[str, Any] = {
    "working_state": "CREATED", "pending_request": "NONE", "broker_order_id": None, "reason": None, "fees": {},
}  # fmt: skip
"""With what each is when it is left out."""


def _state(order: dict[str, Any]) -> dict[str, Any]:
    """What an event says of the order after it."""
    amounts = {name: plain(order[name]) for name in AMOUNTS if order[name]}
    return amounts | {name: order[name] for name, absent in WORDS.items() if order[name] != absent}


_less = EXACT.subtract


class Fold:
    """The read tables as plain dictionaries, one event after the other."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], dict[str, Any]] = {}
        self.books: dict[str, dict[str, Any]] = {}
        self.fills: list[dict[str, Any]] = []
        self._position = 0

    def add_all(self, history: Iterable[Happening]) -> Fold:
        for happening in history:
            self.add(happening)
        return self

    def add(self, e: Happening) -> Happening:
        """The happening as it goes into the log, with the state of its order after it."""
        self._position += 1
        if e.type == "OrderBookCreated":
            self.books[e.account] = {
                "shard": 0, "account": e.account, "user_name": e.payload["user"], "exchange": e.payload["exchange"],
                "broker": e.payload["broker"], "opened_at": e.occurred_at, "sequence": 0,
            }  # fmt: skip
        book = self.books[e.account]
        book["last_position"] = self._position
        book["sequence"] += 1
        if e.order_id is None:
            return e
        key = (e.account, e.order_id)
        if e.type == "OrderCreated":
            self.orders[key] = self._created(e)
        order = self.orders[key]
        self._evolve(order, e)
        order["is_open"] = order["working_state"] in OPEN
        if order["working_state"] in ("CANCELED", "REJECTED"):
            order["pending_request"] = "NONE"  # FIX: a full fill leaves a request pending
        order["leaves_qty"] = _less(order["quantity"], order["cum_qty"]) if order["is_open"] else Decimal(0)
        order["overfill_qty"] = max(_less(order["cum_qty"], order["quantity"]), Decimal(0))
        order["updated_at"] = max(order["updated_at"], e.occurred_at)
        order["last_position"] = self._position
        order["sequence"] = book["sequence"]
        return e if e.type == "OrderCreated" else replace(e, payload=e.payload | _state(order))

    def _created(self, e: Happening) -> dict[str, Any]:
        p = e.payload
        return {
            "shard": 0, "account": e.account, "order_id": p["order_id"], "strategy_id": p["strategy_id"],
            "symbol": p["symbol"], "side": p["side"],
            "order_type": p["order_type"], "time_in_force": p["time_in_force"],
            "expire_at": datetime.fromisoformat(p["expire_at"]) if "expire_at" in p else None,
            "quantity": Decimal(p["quantity"]),
            "limit_price": Decimal(p["limit_price"]) if "limit_price" in p else None,
            "stop_price": Decimal(p["stop_price"]) if "stop_price" in p else None,
            "working_state": "CREATED", "pending_request": "NONE", "cum_qty": Decimal(0), "cum_cost": Decimal(0),
            "fees": {}, "broker_order_id": None, "reason": None, "created_position": self._position,
            "created_at": e.occurred_at, "updated_at": e.occurred_at,
        }  # fmt: skip

    def _evolve(self, order: dict[str, Any], e: Happening) -> None:
        p = e.payload
        order["broker_order_id"] = p.get("broker_order_id", order["broker_order_id"])
        match e.type:
            case "OrderAccepted" if order["working_state"] == "CREATED":
                order["working_state"] = "NEW"
            case "OrderCancelRequested":
                order["pending_request"] = "CANCEL"
            case "OrderCanceled":
                order |= {"working_state": "CANCELED", "reason": p.get("reason")}
            case "OrderRejected":
                order |= {"working_state": "REJECTED", "reason": p.get("reason")}
            case "OrderFilled":
                self._fill(order, e)

    def _fill(self, order: dict[str, Any], e: Happening) -> None:
        p = e.payload
        last_qty, last_px = Decimal(p["last_qty"]), Decimal(p["last_px"])
        order["cum_qty"] = EXACT.add(order["cum_qty"], last_qty)
        order["cum_cost"] = EXACT.add(order["cum_cost"], EXACT.multiply(last_qty, last_px))
        if order["working_state"] not in ("CANCELED", "REJECTED"):
            order["working_state"] = "FILLED" if order["cum_qty"] >= order["quantity"] else "PARTIALLY_FILLED"
        if "fee" in p:
            fee = EXACT.add(Decimal(order["fees"].get(p["fee_currency"], "0")), Decimal(p["fee"]))
            order["fees"] = order["fees"] | {p["fee_currency"]: plain(fee)}
        self.fills.append(
            {"shard": 0, "position": self._position, "account": e.account, "occurred_at": e.occurred_at}
            | {name: p[name] for name in ("order_id", "strategy_id", "symbol", "side", "exec_id")}
            | {name: Decimal(p[name]) for name in ("last_qty", "last_px")}
            | {"fee": Decimal(p["fee"]) if "fee" in p else None, "fee_currency": p.get("fee_currency")}
            | {"kind": None, "instrument_kind": "SPOT", "multiplier": Decimal(1), "currency": None}
            | {"gross_amount": None, "money": EXACT.multiply(last_qty, last_px)}
            | {"is_busted": False, "changed_position": None}
            | dict.fromkeys(("original_qty", "original_px", "original_gross_amount"))
            | dict.fromkeys(("original_fee", "original_fee_currency"))
        )
