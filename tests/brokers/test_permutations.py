"""Any permutation and repetition of a run's reports ends in the same book."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.brokers.port import ReportKind
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
        "requests": [request.request_id for request in order.requests],
    }


def positions_of(life: Life, *, is_whole: bool) -> dict[str, tuple[Any, ...]]:
    """What was paid is the same in any case. How much of it is realised depends on the order of the fills, and of two
    fills of the same instant the one that was heard first is the first."""
    return {
        symbol: (
            position.quantity,
            round(position.cost - position.realized_pnl, 12),
            dict(position.fees.items()),
            (round(position.cost, 12), round(position.realized_pnl, 12)) if is_whole else None,
        )
        for symbol, position in life.book.positions.items()
    }


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_permutation_and_repetition_of_a_runs_reports_ends_in_the_same_book(data: st.DataObject) -> None:
    run = data.draw(runs())
    told = run.commands()
    as_told = lived(run, told)
    otherwise = lived(run, data.draw(shuffled(told)))
    assert orders_of(otherwise) == orders_of(as_told)
    times = [report.time for report in run.reports if report.kind in (ReportKind.TRADE, ReportKind.LIQUIDATION)]
    is_whole = len(set(times)) == len(times)
    assert positions_of(otherwise, is_whole=is_whole) == positions_of(as_told, is_whole=is_whole)
