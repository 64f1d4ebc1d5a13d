"""The commands that the load is made of.

``orders``: new orders only. ``lives``: orders that live, in the proportions of ``sql/fill_log.sql``: of ten, five are
filled in two parts, two in one, two are canceled (one of them partly filled) and one is rejected; 37 commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from uuid_utils.compat import uuid7

from foldbook.trading.commands import BookCommand, OpenAccount, PlaceOrder, RecordExecution, RequestCancel
from foldbook.trading.values import ExecType, OrderType, Side, TimeInForce

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "XRPUSDT", "LTCUSDT", "DOTUSDT")
STRATEGIES = ("trend", "reversion", "carry")
SIDES = tuple(Side)
PRICES = tuple(Decimal(f"642{cents}.{cents % 10}") for cents in range(10, 60))
QUANTITY, PART, REST = Decimal(2), Decimal("0.5"), Decimal("1.5")
FEE = Decimal("0.012")


def accounts(prefix: str, number: int) -> list[str]:
    """The names of accounts, which ``fill_log`` uses too."""
    return [f"{prefix}-{i}/binance/simulated" for i in range(number)]


def open_account(account: str) -> OpenAccount:
    return OpenAccount(account=account, **_request())


def place_order(account: str, order_id: str, number: int) -> PlaceOrder:
    """A limit order. ``number`` varies its content."""
    return PlaceOrder(
        command_id=uuid7(),
        received_at=datetime.now(UTC),
        account=account,
        order_id=order_id,
        strategy_id=STRATEGIES[number % 3],
        symbol=SYMBOLS[number % 7],
        side=SIDES[number % 2],
        order_type=OrderType.LIMIT,
        quantity=QUANTITY,
        limit_price=PRICES[number % 50],
        time_in_force=TimeInForce.GTC,
    )


def orders(names: Sequence[str], tag: str, first: int) -> Iterator[BookCommand]:
    """New orders without end, on one account after another, ``first`` the first of them."""
    for n in count():
        yield place_order(names[(first + n * 7) % len(names)], f"o-{tag}-{n}", n)


def lives(names: Sequence[str], tag: str, first: int) -> Iterator[BookCommand]:
    """The whole life of one order after another."""
    for n in count():
        yield from _life(names[(first + n * 7) % len(names)], f"o-{tag}-{n}", n)


def crowd(names: Sequence[str], tag: str, open_orders: int) -> Iterator[BookCommand]:
    """Lives side by side: ``open_orders`` of them at any time, each taking a step in turn."""
    waiting: deque[Iterator[BookCommand]] = deque()
    births = count()
    while True:
        while len(waiting) < open_orders:
            n = next(births)
            waiting.append(_life(names[(n * 7919) % len(names)], f"o-{tag}-{n}", n))
        life = waiting.popleft()
        step = next(life, None)
        if step is not None:
            waiting.append(life)
            yield step


def _life(account: str, order_id: str, number: int) -> Iterator[BookCommand]:
    def report(exec_type: ExecType, **fields: Any) -> RecordExecution:
        return RecordExecution(account=account, order_id=order_id, exec_type=exec_type, **_request(), **fields)

    def trade(exec_id: str, quantity: Decimal) -> RecordExecution:
        px = PRICES[number % 50]
        return report(ExecType.TRADE, exec_id=exec_id, last_qty=quantity, last_px=px, fee=FEE, fee_currency="USDT")

    kind = number % 10
    yield place_order(account, order_id, number)
    if kind == 9:
        yield report(ExecType.REJECTED, reason="insufficient margin")
        return
    yield report(ExecType.NEW, broker_order_id=f"b-{order_id}")
    if kind in (5, 6):
        yield trade("e-1", QUANTITY)
        return
    if kind != 7:
        yield trade("e-1", PART)
    if kind in (7, 8):
        yield RequestCancel(account=account, order_id=order_id, **_request())
        yield report(ExecType.CANCELED)
    else:
        yield trade("e-2", REST)


def _request() -> dict[str, Any]:
    return {"command_id": uuid7(), "received_at": datetime.now(UTC)}
