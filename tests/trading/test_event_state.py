"""An event about an order carries the order's state after it: what evolve computes, and what follows from its facts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import (
    EVENT_TYPES,
    OrderCancelRequested,
    OrderCreated,
    OrderEvent,
    OrderReplaceRequested,
    OrderUpdate,
)
from foldbook.trading.order import Order, outline_of, state_of
from foldbook.trading.order_events import evolve_order
from foldbook.trading.state import completed
from foldbook.trading.values import ZERO, OrdStatus, PendingRequest
from tests.builders import (
    NOW,
    cancel,
    created,
    open_account,
    place,
    replace_order,
    report,
    trade,
    trading_state,
)
from tests.trading.lives import Life, commands, sums_of

STATE = tuple(name for name in OrderUpdate.__struct_fields__ if name not in OrderEvent.__struct_fields__)

SEVEN = Decimal(7)


def said_by(event: OrderUpdate) -> dict[str, Any]:
    return {name: getattr(event, name) for name in STATE}


@given(asked=commands())
def test_every_event_says_what_evolve_reaches(asked: list[BookCommand]) -> None:
    life = Life()
    for command in asked:
        begin = len(life.events)
        life.try_all([command])
        orders: dict[str, Order] = {}
        for number, event in enumerate(life.events):
            if event.subject is None:
                continue
            after = evolve_order(orders.get(event.subject), event)
            if after is None:
                continue  # a report about an order that nobody knows
            orders[event.subject] = after
            if number >= begin and isinstance(event, OrderUpdate):
                assert said_by(event) == state_of(after)
                assert said_by(event) | sums_of(after) == said_by(event)
        for order_id, remembered in life.book.orders.items():
            assert state_of(remembered) == state_of(orders[order_id])
            assert remembered.exposed_qty == orders[order_id].exposed_qty
        assert set(life.book.orders) == {order_id for order_id, order in orders.items() if order.is_live}
        owed = {k: v for k, v in orders.items() if v.requests and not v.is_live and not v.has_ended}
        assert set(life.book.filled) <= set(owed)
        # Of what was asked elsewhere, after the book had forgotten the order, nobody here waits for the answer.
        ours = {
            event.request_id for event in life.events if isinstance(event, OrderCancelRequested | OrderReplaceRequested)
        }
        assert set(life.book.filled) >= {k for k, v in owed.items() if any(r.request_id in ours for r in v.requests)}
        for order_id, remembered in life.book.filled.items():
            assert state_of(remembered) == state_of(orders[order_id])
            whole = completed(life.book, order_id, life.about(order_id)).filled[order_id]
            assert whole == orders[order_id] == (whole if remembered.is_outline else remembered)
        for order_id in life.book.orders:
            assert completed(life.book, order_id, life.about(order_id)).orders[order_id] == orders[order_id]


@given(asked=commands())
def test_a_row_of_the_log_is_the_event(asked: list[BookCommand]) -> None:
    """A member that the JSON omits has its default value, and a zero is always omitted."""
    for event in Life().try_all(asked).events:
        payload = event.payload()
        again = EVENT_TYPES.decode(type(event).__name__, 1, payload)
        assert again == event
        assert again.payload() == payload
        if isinstance(event, OrderUpdate):
            assert b'_qty":"0"' not in payload
            assert b'"NONE"' not in payload


@given(asked=commands())
def test_an_outline_has_the_state_of_the_event(asked: list[BookCommand]) -> None:
    for event in Life().try_all(asked).events:
        if isinstance(event, OrderUpdate):
            outline = outline_of(event)
            assert state_of(outline) == said_by(event)
            assert not outline.executions
            assert (outline.leaves_qty > 0) == outline.is_open


def test_an_order_that_was_just_created_says_so_by_saying_nothing() -> None:
    order = evolve_order(None, created())
    assert order is not None
    assert state_of(order) == {
        **dict.fromkeys(STATE),
        "quantity": Decimal(2),
        "limit_price": Decimal(100),
        "working_state": OrdStatus.CREATED,
        "pending_request": PendingRequest.NONE,
        "cum_qty": ZERO,
        "cum_cost": ZERO,
        "leaves_qty": Decimal(2),
        "leaves_cash": ZERO,
        "overfill_qty": ZERO,
        "fees": {},
        "doubts": (),
    }
    assert not isinstance(created(), OrderUpdate)
    assert isinstance(created(), OrderCreated)


@pytest.mark.parametrize(
    ("command", "requested", "pending"),
    [
        (report("REPLACED", quantity=Decimal(12)), Decimal(14), "REPLACE"),
        (report("REPLACE_REJECTED"), Decimal(14), "REPLACE"),
        (report("REPLACED", quantity=Decimal(14)), None, "NONE"),
        (cancel(), Decimal(14), "CANCEL"),
        (trade("e-1", "3"), Decimal(14), "REPLACE"),
        (report("EXPIRED"), None, "NONE"),
    ],
    ids=lambda value: getattr(value, "exec_type", None),
)
def test_the_requested_terms_are_those_of_the_latest_pending_replace(
    command: BookCommand, requested: Decimal | None, pending: str
) -> None:
    life = Life().try_all(
        (open_account(), place(quantity="10"), replace_order(quantity=Decimal(12)), replace_order(quantity=Decimal(14)))
    )
    (event,) = life.execute(command)
    assert isinstance(event, OrderUpdate)
    assert (event.requested_quantity, event.pending_request) == (requested, pending)


def test_the_reason_why_an_order_ended_stays_with_it() -> None:
    life = Life().try_all((open_account(), place(quantity="10"), trade("e-1", "3"), report("CANCELED", reason="venue")))
    (fill,) = life.execute(trade("e-2", "1", broker_order_id="b-1"))
    (bust,) = life.execute(report("TRADE_CANCEL", exec_id="e-3", exec_ref_id="e-1", reason="erroneous"))
    assert isinstance(fill, OrderUpdate)
    assert isinstance(bust, OrderUpdate)
    for event in (fill, bust):
        assert (event.reason, event.working_state, event.leaves_qty) == ("venue", OrdStatus.CANCELED, ZERO)
    assert (fill.broker_order_id, bust.broker_order_id) == ("b-1", "b-1")
    assert getattr(bust, "text", None) == "erroneous"


def test_what_traded_before_a_replace_raises_the_quantity_first() -> None:
    """So no event says that the order was filled beyond its quantity."""
    life = Life()
    for command in (
        open_account(),
        place(quantity="10"),
        replace_order(quantity=Decimal(5)),
        report("REPLACED", transact_time=NOW),
    ):
        life.execute(command)
    restated, fill = life.execute(trade("e-1", "7", transact_time=NOW))
    assert isinstance(restated, OrderUpdate)
    assert isinstance(fill, OrderUpdate)
    assert (type(restated).__name__, restated.quantity, restated.leaves_qty) == ("OrderRestated", SEVEN, SEVEN)
    assert (fill.quantity, fill.cum_qty, fill.overfill_qty, fill.working_state) == (
        SEVEN,
        SEVEN,
        ZERO,
        OrdStatus.FILLED,
    )


def test_the_kill_switch_says_of_an_outline_what_its_last_event_said() -> None:
    """Of an order that the book had forgotten and that works again, it knows no more than that."""
    life = Life()
    for command in (
        open_account(),
        place(quantity="10"),
        report("NEW", broker_order_id="b-1"),
        trade("e-1", "4", "99"),
        report("SUSPENDED"),
        trade("e-2", "6", "101", fee=Decimal("0.1"), fee_currency="USDT"),
        report("TRADE_CANCEL", exec_id="e-3", exec_ref_id="e-2"),
    ):
        life.execute(command)
    assert life.book.orders["o-1"].is_outline
    halt = trading_state("HALTED", cancel_open_orders=True)
    _, asked = life.execute(halt)
    assert isinstance(asked, OrderUpdate)
    assert (asked.working_state, asked.pending_request) == (OrdStatus.SUSPENDED, PendingRequest.CANCEL)
    assert (asked.cum_qty, asked.cum_cost, asked.leaves_qty) == (Decimal(4), Decimal(396), Decimal(6))
    assert (asked.fees, asked.broker_order_id) == ({"USDT": ZERO}, "b-1")
    assert ORDER_BOOK.recall is not None
    recalled = ORDER_BOOK.recall(life.book, life.about("o-1")).recalled
    assert recalled is not None
    assert said_by(asked) == state_of(recalled)
