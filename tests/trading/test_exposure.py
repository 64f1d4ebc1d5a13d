"""What the risk checks count as open is what the orders say, whatever happened to them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import immutables
from hypothesis import example, given, settings
from uuid_utils.compat import uuid7

from foldbook.trading.commands import BookCommand, SetRiskLimits
from foldbook.trading.events import OrderDenied, OrderUpdate
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.risk import Exposure, with_exposure, with_state
from foldbook.trading.values import ZERO, RiskLimits, Side, TimeInForce, TradingState
from tests.builders import ACCOUNT, NOW, cancel, open_account, place, replace_order, report, trade
from tests.trading.lives import ORDER_IDS, Life, commands
from tests.trading.test_reports import after, figures


def order_in(life: Life, order_id: str) -> Order | None:
    """The order as all of its events make it, not as the book remembers it."""
    order: Order | None = None
    for event in life.about(order_id):
        order = evolve_order(order, event)
    return order


def exposures_of(orders: Sequence[Order]) -> immutables.Map[str, Exposure]:
    risk = with_state(Life().book.risk, TradingState.REDUCING)
    for order in orders:
        if order.exposed_qty or order.leaves_cash:
            created = order.created
            risk = with_exposure(risk, created.symbol, created.side, ZERO, order.exposed_qty, 1)
    return risk.exposures


LIMITED = SetRiskLimits(command_id=uuid7(), received_at=NOW, account=ACCOUNT, limits=RiskLimits(max_open_orders=1000))


@settings(deadline=None, max_examples=300)
@given(commands())
@example(
    [
        open_account(),
        place("o-2", quantity="10", time_in_force=TimeInForce.DAY),
        trade("e-1", "4", order_id="o-2"),
        report("DONE_FOR_DAY", "o-2"),
        replace_order("o-2", quantity=Decimal(12)),
        report("REPLACE_REJECTED", "o-2"),
    ]
)
def test_the_exposures_are_those_of_the_orders(told: list[BookCommand]) -> None:
    life = Life().try_all(told[:1])
    life.execute(LIMITED)
    for command in told[1:]:
        life.try_all([command])
        orders = [order for order_id in ORDER_IDS if (order := order_in(life, order_id)) is not None]
        assert life.book.risk.exposures == exposures_of(orders)
        assert set(life.book.orders) == {o.created.order_id for o in orders if o.exposed_qty}
        for order in orders:
            said = life.about(order.created.order_id)[-1]
            if isinstance(said, OrderUpdate):
                exposed = said.leaves_qty if said.exposed_qty is None else said.exposed_qty
                assert exposed == order.exposed_qty


def test_an_order_whose_day_is_over_cannot_be_replaced() -> None:
    life = Life()
    for command in (open_account(), LIMITED, place(quantity="10", time_in_force=TimeInForce.DAY), trade("e-1", "4")):
        life.execute(command)
    life.execute(report("DONE_FOR_DAY"))
    before = life.book
    life.try_all([replace_order(quantity=Decimal(12)), report("REPLACE_REJECTED")])
    assert life.book.orders == before.orders == immutables.Map()
    assert life.book.risk.exposures == immutables.Map()


def test_what_can_trade_no_more_counts_for_nothing() -> None:
    limited = SetRiskLimits(command_id=uuid7(), received_at=NOW, account=ACCOUNT, limits=RiskLimits(max_open_orders=1))
    life = after(limited, cancel(), trade("e-1", "10"))
    assert figures(life)[0] == "PENDING_CANCEL"
    assert len(life.execute(place("o-2"))) == 1
    _, denied = life.execute(place("o-3"))
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.limit, denied.observed) == ("max-open-orders", "1", "2")


def test_a_replace_that_would_reopen_a_filled_order_counts_as_an_order() -> None:
    limited = SetRiskLimits(command_id=uuid7(), received_at=NOW, account=ACCOUNT, limits=RiskLimits(max_open_orders=1))
    life = after(limited, trade("e-1", "10"), place("o-2", side=Side.SELL))
    (denied,) = life.execute(replace_order(quantity=Decimal(12)))
    assert type(denied).__name__ == "OrderReplaceDenied"
