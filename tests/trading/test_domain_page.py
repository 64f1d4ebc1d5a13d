"""The worked example of docs/domain.md, run."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import count
from pathlib import Path

from foldbook.trading.commands import BookCommand
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.values import Side, average
from tests.builders import cancel, open_account, place, replace_order, report, trade
from tests.trading.lives import Life

PAGE = Path(__file__).parents[2] / "docs" / "domain.md"
SYMBOL = "BTC-USDT"

_ids = count(1)


def rows() -> list[list[str]]:
    example = PAGE.read_text().split("## A worked example")[1]
    table = [line for line in example.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def command_of(text: str) -> BookCommand:
    word, order_id, *rest = re.sub(r" @ ", " ", text).split()
    match word, rest:
        case "place", [side, quantity, price]:
            return place(order_id, symbol=SYMBOL, side=Side(side), quantity=quantity, limit_price=Decimal(price))
        case "report", [exec_type]:
            return report(exec_type, order_id)
        case "trade", [exec_id, qty, px]:
            return trade(exec_id, qty, px, order_id=order_id)
        case "replace", [quantity]:
            return replace_order(order_id, quantity=Decimal(quantity))
        case "cancel", []:
            return cancel(order_id)
        case "bust", [exec_id]:
            return report("TRADE_CANCEL", order_id, exec_id=f"bust-{next(_ids)}", exec_ref_id=exec_id)
        case "correct", [exec_id, qty, px]:
            names = {"exec_id": f"fix-{next(_ids)}", "exec_ref_id": exec_id}
            return report("TRADE_CORRECT", order_id, last_qty=Decimal(qty), last_px=Decimal(px), **names)
        case _:
            raise ValueError(text)


def shown(amount: Decimal | None) -> str:
    if amount is None:
        return "-"
    return f"{amount.normalize():f}"


def test_the_worked_example_of_the_domain_page() -> None:
    life = Life()
    life.execute(open_account())
    example = rows()
    assert len(example) == 17
    for text, *expected in example:
        command = command_of(text)
        assert life.execute(command), text
        order: Order | None = None
        for event in life.about(command.subject):
            order = evolve_order(order, event)
        assert order is not None
        position = life.book.positions.get(SYMBOL)
        held = position.quantity if position else Decimal(0)
        assert expected == [
            order.status.value,
            shown(order.cum_qty),
            shown(order.leaves_qty),
            shown(average(order.cum_cost, order.cum_qty) if order.cum_qty else None),
            shown(held),
            shown(position.cost if position else Decimal(0)),
            shown(position.avg_px if position and held else None),
            shown(position.realized_pnl if position else Decimal(0)),
        ], text
