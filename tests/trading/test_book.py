"""Given these events, when this command, then these events or this refusal."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from foldbook.eventstore.events import Event
from foldbook.eventstore.specification import Specification
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand
from foldbook.trading.values import OrderType, OrdStatus, PendingRequest, TimeInForce
from tests.builders import (
    NOW,
    accepted,
    book_created,
    cancel,
    cancel_requested,
    canceled,
    created,
    filled,
    open_account,
    place,
    rejected,
    report,
    trade,
)

OPEN = (book_created(),)
PLACED = (*OPEN, created())
WORKING = (*PLACED, accepted())
PARTLY = (*WORKING, filled("e-1", "0.5", "0.5", "1.5"))
REBATE = Decimal("-0.01")
CANCEL = cancel()
CANCEL_PENDING = (*WORKING, cancel_requested(CANCEL))
DONE = (*WORKING, filled("e-1", "2", "2", "0"))


BOOKS = Specification(ORDER_BOOK)


@pytest.mark.parametrize(
    ("events", "command", "expected"),
    [
        pytest.param((), open_account(), (book_created(),), id="open an account"),
        pytest.param(OPEN, place(), (created(),), id="place an order"),
        pytest.param(PLACED, place(), (), id="place the same order again"),
        pytest.param(DONE, place(), (), id="place the same order again after it was filled"),
        pytest.param(PLACED, report("NEW"), (accepted(),), id="accepted"),
        pytest.param(PLACED, report("NEW", broker_order_id="b-1"), (accepted(broker_order_id="b-1"),), id="named"),
        pytest.param(WORKING, report("NEW"), (), id="accepted again"),
        pytest.param(PARTLY, report("NEW"), (), id="accepted late"),
        pytest.param(WORKING, trade("e-1", "0.5"), (filled("e-1", "0.5", "0.5", "1.5"),), id="part fill"),
        pytest.param(
            PARTLY,
            trade("e-2", "1.5", "99"),
            (filled("e-2", "1.5", "2", "0", "99", cum_cost=Decimal("198.5")),),
            id="filled",
        ),
        pytest.param(PLACED, trade("e-1", "2"), (filled("e-1", "2", "2", "0"),), id="fill before the acceptance"),
        pytest.param(PARTLY, trade("e-1", "0.5"), (), id="the same fill again"),
        pytest.param(DONE, trade("e-1", "2"), (), id="the same fill again on a closed order"),
        pytest.param(
            PARTLY,
            trade("e-2", "2"),
            (filled("e-2", "2", "2.5", "0", overfill_qty=Decimal("0.5")),),
            id="an overfill is a fact",
        ),
        pytest.param(
            WORKING,
            trade("e-1", "1", fee=Decimal("-0.01"), fee_currency="USDT"),
            (filled("e-1", "1", "1", "1", fee=REBATE, fee_currency="USDT", fees={"USDT": REBATE}),),
            id="a fee may be a rebate",
        ),
        pytest.param(WORKING, CANCEL, (cancel_requested(CANCEL),), id="ask for a cancel"),
        pytest.param(CANCEL_PENDING, cancel(), (), id="ask for a cancel again"),
        pytest.param(CANCEL_PENDING, report("CANCELED"), (canceled(),), id="canceled"),
        pytest.param(PARTLY, report("CANCELED", reason="venue"), (canceled("0.5", reason="venue"),), id="unsolicited"),
        pytest.param(PLACED, report("REJECTED", reason="funds"), (rejected(reason="funds"),), id="rejected"),
        pytest.param(
            CANCEL_PENDING,
            trade("e-1", "0.5"),
            (filled("e-1", "0.5", "0.5", "1.5", pending_request=PendingRequest.CANCEL),),
            id="fill while a cancel is pending",
        ),
    ],
)
def test_accepted(events: Sequence[Event], command: BookCommand, expected: tuple[Event, ...]) -> None:
    BOOKS.given(*events).when(command).then(*expected)


@pytest.mark.parametrize(
    ("events", "command", "code", "details"),
    [
        pytest.param((), place(), "unknown-account", {}, id="place without an account"),
        pytest.param((), trade("e-1", "1"), "unknown-account", {}, id="fill without an account"),
        pytest.param(OPEN, open_account(), "already-exists", {}, id="open twice"),
        pytest.param((), open_account("a/b/paper"), "invalid-command", {"field": "account"}, id="no such broker"),
        pytest.param(PLACED, place(quantity="3"), "duplicate-order", {}, id="the id of an open order"),
        pytest.param(DONE, place(quantity="3"), "duplicate-order", {}, id="the id of a closed order"),
        pytest.param(OPEN, cancel(), "unknown-order", {}, id="cancel what is not there"),
        pytest.param(DONE, cancel(), "order-closed", {"order_status": "FILLED"}, id="cancel a filled order"),
    ],
)
def test_refused(events: Sequence[Event], command: BookCommand, code: str, details: dict[str, Any]) -> None:
    refused = BOOKS.given(*events).when(command).then_refused(code).refusal
    assert refused is not None
    assert refused.details == details


INVALID: list[tuple[str, BookCommand]] = [
    ("quantity", place(quantity="0")),
    ("quantity", place(quantity="-1")),
    ("quantity", place(quantity="NaN")),
    ("quantity", place(quantity="Infinity")),
    ("quantity", place(quantity="1e400")),
    ("quantity", place(quantity="1" + "0" * 20)),
    ("quantity", place(quantity="0." + "0" * 18 + "1")),
    ("limit_price", place(limit_price=Decimal(-100))),
    ("limit_price", place(limit_price=None)),
    ("limit_price", place(order_type=OrderType.MARKET)),
    ("limit_price", place(order_type=OrderType.STOP, stop_price=Decimal(1))),
    ("stop_price", place(stop_price=Decimal(1))),
    ("stop_price", place(order_type=OrderType.STOP_LIMIT)),
    ("stop_price", place(order_type=OrderType.STOP, limit_price=None)),
    ("expire_at", place(time_in_force=TimeInForce.GTD)),
    ("expire_at", place(expire_at=NOW)),
    ("exec_id", report("TRADE", last_qty=Decimal(1), last_px=Decimal(1))),
    ("last_qty", report("TRADE", exec_id="e", last_px=Decimal(1))),
    ("last_px", report("TRADE", exec_id="e", last_qty=Decimal(1))),
    ("last_qty", trade("e", "0")),
    ("gross_amount", trade("e", "1", gross_amount=Decimal("Infinity"))),
    ("fee", trade("e", "1", fee=Decimal("NaN"), fee_currency="USDT")),
    ("fee_currency", trade("e", "1", fee=Decimal(1))),
    ("fee_currency", trade("e", "1", fee_currency="USDT")),
    ("last_qty", report("NEW", last_qty=Decimal(1))),
    ("last_px", report("CANCELED", last_px=Decimal(1))),
]


@pytest.mark.parametrize(("field", "command"), INVALID, ids=[f"{field}-{i}" for i, (field, _) in enumerate(INVALID)])
def test_invalid(field: str, command: BookCommand) -> None:
    events = OPEN if command.creates_subject else PLACED
    refused = BOOKS.given(*events).when(command).then_refused("invalid-command").refusal
    assert refused is not None
    assert refused.details == {"field": field}


def test_the_largest_and_the_smallest_amounts_are_exact() -> None:
    largest, smallest = "9" * 20 + "." + "9" * 18, "0." + "0" * 17 + "1"
    (event,) = BOOKS.given(*OPEN).when(place(quantity=largest, limit_price=Decimal(smallest))).events
    assert b'"quantity":"' + largest.encode() + b'"' in event.payload()
    assert b'"limit_price":"' + smallest.encode() + b'"' in event.payload()
    (fill,) = BOOKS.given(*OPEN, event).when(trade("e-1", smallest, largest)).events
    assert b'"leaves_qty":"' + (("9" * 20) + "." + ("9" * 17) + "8").encode() + b'"' in fill.payload()


@pytest.mark.parametrize(
    ("events", "working_state", "pending_request", "status", "cum_qty"),
    [
        (PLACED, OrdStatus.CREATED, PendingRequest.NONE, OrdStatus.CREATED, "0"),
        (WORKING, OrdStatus.NEW, PendingRequest.NONE, OrdStatus.NEW, "0"),
        (PARTLY, OrdStatus.PARTIALLY_FILLED, PendingRequest.NONE, OrdStatus.PARTIALLY_FILLED, "0.5"),
        (CANCEL_PENDING, OrdStatus.NEW, PendingRequest.CANCEL, OrdStatus.PENDING_CANCEL, "0"),
        (
            (*CANCEL_PENDING, filled("e-1", "0.5", "0.5", "1.5", pending_request=PendingRequest.CANCEL)),
            OrdStatus.PARTIALLY_FILLED,
            PendingRequest.CANCEL,
            OrdStatus.PENDING_CANCEL,
            "0.5",
        ),
    ],
)
def test_an_open_order_has_two_axes(
    events: Sequence[Event], working_state: OrdStatus, pending_request: PendingRequest, status: OrdStatus, cum_qty: str
) -> None:
    order = ORDER_BOOK.fold(events).orders["o-1"]
    assert (order.working_state, order.pending_request) == (working_state, pending_request)
    assert order.status is status
    assert order.cum_qty == Decimal(cum_qty)


@pytest.mark.parametrize("last", [filled("e-1", "2", "2", "0"), canceled(), rejected()])
def test_the_book_forgets_a_closed_order(last: Event) -> None:
    assert not ORDER_BOOK.fold((*PLACED, last)).orders


def test_evolve_leaves_the_state_it_was_given_alone() -> None:
    before = ORDER_BOOK.fold(WORKING)
    ORDER_BOOK.evolve(before, filled("e-1", "2", "2", "0"))
    assert before == ORDER_BOOK.fold(WORKING)
    assert before.orders["o-1"].cum_qty == 0
