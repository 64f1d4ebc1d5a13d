"""Any permutation and repetition of a run's reports ends in the same book.

The runs are the same each time: of several thousand, one ends in other terms (docs/brokers.md, What it does not do)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.trading.commands import BookCommand
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from tests.brokers.runs import Run, runs, shuffled
from tests.trading.lives import Life


def lived(run: Run, told: Iterable[BookCommand]) -> Life:
    life = Life()
    for command in (*run.asked, *told):
        life.execute(command)
    return life


def orders_of(life: Life) -> dict[str, dict[str, Any]]:
    found: dict[str, Order | None] = {}
    for event in life.events:
        if event.subject is not None and event.subject.startswith("o-"):
            found[event.subject] = evolve_order(found.get(event.subject), event)
    return {order_id: facts_of(order) for order_id, order in found.items() if order is not None}


def facts_of(order: Order) -> dict[str, Any]:
    return {
        "status": order.status,
        "cum_qty": order.cum_qty,
        "cum_cost": order.cum_cost,
        "leaves_qty": order.leaves_qty,
        "fees": order.fees,
        "terms": (order.quantity, order.limit_price, order.stop_price),
    }


def positions_of(life: Life) -> dict[str, tuple[Any, ...]]:
    """What was paid is the same in any case. How much of it is realised depends on the order of the fills: of two
    of the same instant the one that was heard first is the first."""
    return {
        symbol: (
            position.quantity,
            round(position.cost - position.realized_pnl, 12),
            dict(position.fees.items()),
        )
        for symbol, position in life.book.positions.items()
    }


@given(st.data())
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_permutation_and_repetition_of_a_runs_reports_ends_in_the_same_book(data: st.DataObject) -> None:
    run = data.draw(runs())
    told = run.commands()
    as_told = lived(run, told)
    otherwise = lived(run, data.draw(shuffled(told)))
    for order_id, facts in orders_of(as_told).items():
        for name, fact in facts.items():
            assert (order_id, name, orders_of(otherwise)[order_id][name]) == (order_id, name, fact)
    assert positions_of(otherwise) == positions_of(as_told)
