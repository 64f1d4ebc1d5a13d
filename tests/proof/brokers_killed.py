"""``foldbook up`` with its gateway and its venue under three strategies, and ``kill -9`` of each part at any moment.

When all is quiet, the book has what the venue has, to the last order, fill and position.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import httpx
import psutil

from foldbook.engine.rabbit import free_port
from foldbook.eventstore.events import AggregateKey, Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.values import ZERO, ExecType, OrdStatus, PendingRequest
from tests.machinery.engine import Engine
from tests.proof.killing import EVERYTHING, PARTS, is_whole, kill
from tests.proof.soundness import assert_sound
from tests.proof.traders import ACCOUNTS, Traders
from tests.readside.projecting import assert_equal_to_fresh_folds, caught_up, connected
from tests.waiting import until

ALL_PARTS = (*PARTS, "the gateway", "the venue", EVERYTHING)

PAUSE_S = 4.0
"""The longest time between two kills. A supervisor gives up on a part that ends too often."""

QUIET_S = 90
DECIDE_AFTER_S = 15
"""How long a doubt has to end by itself."""

NEVER_SENT = (OrdStatus.DENIED, OrdStatus.CANCELED, OrdStatus.REJECTED)

Row = dict[str, Any]


def with_venue(engine: Engine) -> str:
    """Give the engine a venue that nobody else feeds. Returns its URL."""
    port = free_port()
    engine.environment |= {"FOLDBOOK_BROKERS": "simulated", "FOLDBOOK_VENUE_PORT": str(port), "FOLDBOOK_MARKET": "none"}
    return f"http://127.0.0.1:{port}"


async def kill_under_orders(engine: Engine, traders: Traders, parts: Sequence[str]) -> None:
    """Kill each of the parts, one after the other; each begins while the last may still be on its way back."""
    async with traders.at_work():
        for part in parts:
            await asyncio.sleep(random.uniform(0.5, PAUSE_S))
            await until(lambda part=part: _kill(engine, part))  # type: ignore[misc]
            if random.random() < 0.7:
                await until(lambda: _is_back(engine, traders))
        await until(lambda: _is_back(engine, traders))
        await asyncio.sleep(random.uniform(0, 1))


async def _kill(engine: Engine, part: str) -> bool:
    """False: it is still on its way back from the last time."""
    try:
        await kill(engine, part)
    except (ValueError, IndexError, psutil.NoSuchProcess):
        return False
    return True


async def _is_back(engine: Engine, traders: Traders) -> bool:
    return await is_whole(engine, traders.are_welcome) and _has(engine, "gateway") and _has(engine, "venue")


def _has(engine: Engine, word: str) -> bool:
    try:
        engine.part(word)
    except ValueError:
        return False
    return True


async def check(engine: Engine, venue_url: str) -> str:
    """Everything, once it is quiet. Returns what there was."""
    dsn = EmbeddedPostgres(engine.data_dir).dsn
    store = PostgresStore(dsn)
    seen: Row = {}
    try:
        await _agrees(store, engine.url, venue_url, seen)
    finally:
        await store.close()
    await caught_up(dsn)
    await assert_equal_to_fresh_folds(dsn)
    with connected(dsn) as connection:
        assert_sound(connection)
    for command in (("audit", "verify"), ("audit", "verify", "--orders"), ("projections", "verify")):
        await asyncio.to_thread(_run, engine, *command)
    return (
        f"{seen['orders']} orders, {seen['fills']} fills, {seen['doubts']} doubts, {seen['decisions']} decisions, "
        f"{seen['unanswered']} filled before a cancel was answered"
    )


def _run(engine: Engine, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "foldbook.cli", *command], env=engine.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"foldbook {' '.join(command)}: {done.stdout}{done.stderr}"


async def _agrees(store: PostgresStore, url: str, venue_url: str, seen: Row) -> None:
    """Wait until nothing is different, and decide meanwhile what only a person can."""
    problems: list[str] = []
    began_s = time.monotonic()
    seen["decisions"] = 0
    try:
        async with asyncio.timeout(QUIET_S):
            while problems := await _different(store, venue_url, seen):
                await asyncio.sleep(0.5)
                if time.monotonic() > began_s + DECIDE_AFTER_S:
                    seen["decisions"] += await _decide(url, venue_url)
    except TimeoutError:
        told = "\n  ".join(problems[:30])
        raise AssertionError(f"{len(problems)} differences between book and venue:\n  {told}") from None


async def _decide(url: str, venue_url: str) -> int:
    """An order that is not at the venue, and is to be canceled, is not sent again: a person says that it is gone."""
    decisions = 0
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for doubt in (await client.get(f"{url}/admin/doubts")).json()["doubts"]:
            if (doubt["request"], doubt["status"]) != ("SUBMIT", "PENDING_CANCEL"):
                continue
            named = {"account": doubt["account"], "client_order_id": f"{doubt['order_id']}:1", "status": "all"}
            if (await client.get(f"{venue_url}/orders", params=named)).json()["orders"]:
                continue
            decision = {"outcome": "REJECTED", "reason": "it is not at the venue"}
            answer = await client.post(f"{url}/admin/doubts/{doubt['id']}/resolve", json=decision)
            decisions += answer.status_code == 200
    return decisions


async def _different(store: PostgresStore, venue_url: str, seen: Row) -> list[str]:
    wrong: list[str] = []
    seen |= {"orders": 0, "fills": 0, "doubts": 0, "unanswered": 0}
    async with httpx.AsyncClient(base_url=venue_url, trust_env=False, timeout=30) as client:
        for account in ACCOUNTS:
            stored = await store.read_aggregates(0, [(AggregateKey("order_book", account), 0)])
            events = [EVENT_TYPES.decode(event.type, event.schema_version, event.payload) for event in stored]
            orders = _orders_of(events)
            at_venue = await _pages(client, "/orders", "orders", account)
            fills = await _pages(client, "/fills", "fills", account)
            positions = (await client.get("/positions", params={"account": account})).json()["positions"]
            book = ORDER_BOOK.fold(events)
            wrong += (f"{account}: {problem}" for problem in _orders_differ(orders, at_venue))
            wrong += (f"{account}: {problem}" for problem in _fills_differ(orders, fills))
            held = {each["symbol"]: Decimal(each["quantity"]) for each in positions if Decimal(each["quantity"])}
            booked = {symbol: position.quantity for symbol, position in book.positions.items() if position.quantity}
            if held != booked:
                wrong.append(f"{account}: the book holds {booked}, the venue {held}")
            if book.risk.mismatches:
                wrong.append(f"{account}: {book.risk.mismatches}")
            seen["orders"] += len(orders)
            seen["unanswered"] += sum(map(_is_unanswered, orders.values()))
            seen["fills"] += len(fills)
            seen["doubts"] += sum(type(event).__name__ == "OrderInDoubt" for event in events)
    return wrong


def _orders_of(events: Iterable[Event]) -> dict[str, Order]:
    orders: dict[str, Order] = {}
    for event in events:
        if event.subject is not None and (order := evolve_order(orders.get(event.subject), event)) is not None:
            orders[event.subject] = order
    return orders


async def _pages(client: httpx.AsyncClient, path: str, name: str, account: str) -> list[Row]:
    found: list[Row] = []
    after = 0
    while True:
        page = (await client.get(path, params={"account": account, "after": after})).json()
        found += page[name]
        if page.get("next") is None or not page.get("has_more", True):
            return found
        after = page["next"]


def _is_unanswered(order: Order) -> bool:
    """Did it fill, and a gateway die between that and the refusal of a cancel? Nobody asks about it then."""
    return order.is_filled and order.final is None and bool(order.requests) and not order.doubts


def _orders_differ(orders: dict[str, Order], at_venue: list[Row]) -> Iterator[str]:
    by_order: defaultdict[str, list[Row]] = defaultdict(list)
    for each in at_venue:
        by_order[each["client_order_id"].partition(":")[0]].append(each)
    for order_id in by_order.keys() - orders.keys():
        yield f"{order_id} is at the venue, and not in the book"
    for order_id, order in orders.items():
        if order.doubts or (order.pending_request is not PendingRequest.NONE and not _is_unanswered(order)):
            yield f"{order_id}: {order.status}, {order.doubts or order.requests}"
        legs = by_order.get(order_id, [])
        if not legs:
            if order.final not in NEVER_SENT:
                yield f"{order_id} is lost: {order.status}"
        elif len(legs) > 1:
            yield f"{order_id} is {len(legs)} orders at the venue"
        else:
            ours = (
                order.working_state.value if _is_unanswered(order) else order.status.value,
                order.cum_qty,
                order.quantity,
                order.limit_price,
            )
            price = legs[0]["limit_price"]
            theirs = (
                legs[0]["status"],
                Decimal(legs[0]["cum_qty"]),
                Decimal(legs[0]["quantity"]),
                None if price is None else Decimal(price),
            )
            if ours != theirs:
                yield f"{order_id}: {ours} in the book, {theirs} at the venue"


def _fills_differ(orders: dict[str, Order], fills: list[Row]) -> Iterator[str]:
    booked = {
        (order_id, exec_id, told.last_qty, told.last_px, told.fee or ZERO)
        for order_id, order in orders.items()
        for exec_id, told in order.executions.items()
        if told.exec_type is ExecType.TRADE
    }
    traded = {
        (
            fill["client_order_id"].partition(":")[0],
            fill["exec_id"],
            Decimal(fill["last_qty"]),
            Decimal(fill["last_px"]),
            Decimal(fill.get("fee") or "0"),
        )
        for fill in fills
    }
    if booked != traded:
        yield f"fills only in the book: {sorted(booked - traded)[:5]}, only at the venue: {sorted(traded - booked)[:5]}"
