"""What it costs to decide and fold one fill, on an account with many open orders, positions and risk kept.

The figure is CPU time of this process, because nothing here waits. Each turn takes the same fills on the same book.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from uuid_utils.compat import uuid7

from bench.arena import tell
from bench.rounds import Stage
from bench.table import Row
from bench.targets import DECIDING
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.commands import BookCommand, OpenAccount, PlaceOrder, RecordExecution
from foldbook.trading.values import ExecType, OrderType, Side, TimeInForce

ACCOUNT = "bench/venue/simulated"
OPEN_ORDERS = 10_000
FILLS = 2_000
TURNS = 7


def measure_deciding(stage: Stage) -> list[Row]:
    tell(f"{FILLS:,} fills on an account with {OPEN_ORDERS:,} open orders")
    book = _execute(ORDER_BOOK.initial, OpenAccount(**_request()))
    for number in range(OPEN_ORDERS):
        book = _execute(book, _order(number))
    fills = [_fill(number) for number in range(FILLS)]
    costs_us = [_turn(book, fills) for _ in range(TURNS)]
    return [DECIDING.row(f"decide and evolve a fill, {OPEN_ORDERS:,} open orders", costs_us, "CPU time")]


def _turn(book: Book, fills: list[RecordExecution]) -> float:
    began_ns = time.process_time_ns()
    for fill in fills:
        book = _execute(book, fill)
    return (time.process_time_ns() - began_ns) / 1e3 / len(fills)


def _execute(book: Book, command: BookCommand) -> Book:
    for event in ORDER_BOOK.decide(command, book):
        book = ORDER_BOOK.evolve(book, event)
    return book


def _request() -> dict[str, Any]:
    return {"command_id": uuid7(), "received_at": datetime.now(UTC), "account": ACCOUNT}


def _order(number: int) -> PlaceOrder:
    return PlaceOrder(
        **_request(),
        order_id=f"order-{number}",
        strategy_id="bench",
        symbol="BTC-USDT",
        side=Side.BUY if number % 2 else Side.SELL,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1000),
        limit_price=Decimal("64250.1"),
        time_in_force=TimeInForce.GTC,
    )


def _fill(number: int) -> RecordExecution:
    return RecordExecution(
        **_request(),
        order_id=f"order-{number * 7 % OPEN_ORDERS}",
        exec_type=ExecType.TRADE,
        exec_id=f"exec-{number}",
        last_qty=Decimal("0.125"),
        last_px=Decimal(64250) + number % 100,
        fee=Decimal("0.32"),
        fee_currency="USDT",
    )
