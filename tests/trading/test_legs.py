"""The legs of an order: a replace may give it another id at the broker. And which request a report answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from foldbook.errors import Refusal
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import UnmatchedExecutionRecorded
from foldbook.trading.order import REQUESTS_MAX
from foldbook.trading.values import OrdStatus, PendingRequest
from tests.builders import NOW, amounts, cancel, replace_order, report, trade
from tests.trading.lives import Life
from tests.trading.test_reports import after, figures, order_of

LEG_A = report("NEW", broker_order_id="A")
LEG_B = report("REPLACED", broker_order_id="B")


@pytest.mark.parametrize("exec_type", ["CANCELED", "EXPIRED", "REJECTED", "DONE_FOR_DAY", "SUSPENDED", "RESTATED"])
def test_what_is_told_of_a_superseded_leg_leaves_the_order_alone(exec_type: str) -> None:
    life = after(LEG_A, LEG_B)
    assert life.execute(report(exec_type, broker_order_id="A")) == ()
    assert figures(life) == ("NEW", "10", "0", "10", "-")


def test_a_fill_of_a_superseded_leg_counts_and_does_not_bring_the_leg_back() -> None:
    life = after(LEG_A, LEG_B)
    life.execute(trade("e-1", "4", broker_order_id="A"))
    assert figures(life) == ("PARTIALLY_FILLED", "10", "4", "6", "100")
    assert order_of(life).broker_order_id == "B"
    life.execute(report("CANCELED", broker_order_id="B"))
    assert order_of(life).status is OrdStatus.CANCELED


def test_an_end_without_an_id_ends_the_order() -> None:
    life = after(LEG_A, LEG_B, report("CANCELED"))
    assert figures(life) == ("CANCELED", "10", "0", "0", "-")


def test_without_a_replace_any_id_ends_the_order() -> None:
    assert figures(after(LEG_A, report("CANCELED", broker_order_id="X")))[0] == "CANCELED"


TWO_REPLACES = (
    LEG_A,
    report("REPLACED", broker_order_id="B", transact_time=NOW - timedelta(seconds=9)),
    report("REPLACED", broker_order_id="C", quantity=Decimal(12), transact_time=NOW - timedelta(seconds=8)),
)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param((LEG_A, LEG_B, report("CANCELED", broker_order_id="A")), "NEW", id="the old leg was canceled"),
        pytest.param(
            (LEG_A, LEG_B, report("CANCELED", broker_order_id="B")), "CANCELED", id="the new leg was canceled"
        ),
        pytest.param((LEG_B, report("CANCELED", broker_order_id="A")), "NEW", id="an old leg that nobody told"),
        pytest.param(
            (LEG_A, LEG_B, trade("e", "4", broker_order_id="A"), report("EXPIRED", broker_order_id="A")),
            "PARTIALLY_FILLED",
            id="the old leg traded and expired",
        ),
        pytest.param(
            (*TWO_REPLACES, report("CANCELED", broker_order_id="A"), report("CANCELED", broker_order_id="B")),
            "NEW",
            id="two old legs were canceled",
        ),
        pytest.param((*TWO_REPLACES, report("CANCELED", broker_order_id="C")), "CANCELED", id="the third leg"),
        pytest.param(
            (LEG_A, LEG_B, trade("e", "4", broker_order_id="B"), report("TRADE_CANCEL", exec_ref_id="e")),
            "NEW",
            id="a fill of the new leg was busted",
        ),
        pytest.param((LEG_A, report("SUSPENDED", broker_order_id="A"), LEG_B), "NEW", id="the old leg was suspended"),
        pytest.param(
            (LEG_A, LEG_B, report("DONE_FOR_DAY", broker_order_id="B")),
            "DONE_FOR_DAY",
            id="the day of the new leg is over",
        ),
    ],
)
def test_in_any_order_the_reports_of_the_legs_end_in_one_state(told: tuple[BookCommand, ...], expected: str) -> None:
    states = set()
    for shuffled in permutations(told):
        for again in ((), shuffled[:2]):
            order = order_of(after(*shuffled, *again))
            quantities = order.quantity, order.cum_qty, order.leaves_qty
            states.add((order.working_state.value, *quantities, order.broker_order_id, order.is_open))
    assert len(states) == 1
    assert states.pop()[0] == expected


def test_an_end_of_an_unknown_leg_waits_for_it_and_is_listed() -> None:
    life = after(LEG_A, LEG_B)
    (waiting,) = life.execute(report("CANCELED", broker_order_id="C"))
    assert isinstance(waiting, UnmatchedExecutionRecorded)
    assert life.execute(report("CANCELED", broker_order_id="C")) == ()
    assert figures(life)[0] == "NEW"
    replaced, canceled = life.execute(report("REPLACED", broker_order_id="C"))
    assert (type(replaced).__name__, type(canceled).__name__) == ("OrderReplaced", "OrderCanceled")


def test_an_end_tells_the_id_that_nobody_told() -> None:
    order = order_of(after(report("CANCELED", broker_order_id="A")))
    assert (order.status, order.broker_order_id) == (OrdStatus.CANCELED, "A")


def test_a_late_acceptance_tells_the_id_of_an_order_that_has_ended_and_no_more() -> None:
    life = after(report("CANCELED"))
    (accepted,) = life.execute(LEG_A)
    assert (type(accepted).__name__, order_of(life).broker_order_id) == ("OrderAccepted", "A")
    assert figures(life) == ("CANCELED", "10", "0", "0", "-")
    assert life.execute(LEG_A) == ()


def test_what_ended_stays_ended_whatever_else_is_told_of_its_end() -> None:
    life = after(LEG_A, report("CANCELED"))
    assert life.execute(report("CANCELED", broker_order_id="A")) == ()
    assert life.execute(report("EXPIRED", broker_order_id="A")) == ()


# -- answers that name their request -----------------------------------------------------------------------------


def _asked() -> tuple[Life, list[str]]:
    requests = [replace_order(quantity=Decimal(q)) for q in (8, 9)]
    life = after(report("NEW"), *requests)
    return life, [str(request.command_id) for request in requests]


def test_two_replaces_may_be_answered_out_of_order() -> None:
    life, (first, second) = _asked()
    life.execute(report("REPLACED", request_id=second))
    assert figures(life) == ("PENDING_REPLACE", "9", "0", "9", "-")
    life.execute(report("REPLACED", request_id=first))
    assert figures(life) == ("NEW", "9", "0", "9", "-")


def test_one_of_two_replaces_may_be_refused() -> None:
    life, (first, second) = _asked()
    life.execute(report("REPLACE_REJECTED", request_id=second))
    (request,) = order_of(life).requests
    assert (request.request_id, request.quantity) == (first, Decimal(8))
    life.execute(report("REPLACED", request_id=first))
    assert figures(life) == ("NEW", "8", "0", "8", "-")


@pytest.mark.parametrize("exec_type", ["REPLACED", "REPLACE_REJECTED"])
def test_an_answer_that_is_told_again_changes_nothing(exec_type: str) -> None:
    life, (first, second) = _asked()
    fields: dict[str, Any] = {"quantity": Decimal(8)} if exec_type == "REPLACED" else {}
    life.execute(report(exec_type, request_id=first, **fields))
    life.execute(report("REPLACED", request_id=second, quantity=Decimal(9)))
    before = figures(life)
    assert life.execute(report(exec_type, request_id=first, **fields)) == ()
    assert figures(life) == before == ("NEW", "9", "0", "9", "-")


@pytest.mark.parametrize("exec_type", ["REPLACED", "REPLACE_REJECTED", "CANCEL_REJECTED"])
def test_an_answer_to_a_request_that_is_not_ours_answers_none_of_ours(exec_type: str) -> None:
    life = after(report("NEW"), replace_order(quantity=Decimal(8)), cancel())
    before = order_of(life).requests
    life.execute(report(exec_type, request_id="somebody else's"))
    assert order_of(life).requests == before


def test_terms_that_a_later_replace_did_not_change_are_those_of_the_earlier_one() -> None:
    first, second = replace_order(limit_price=Decimal(99)), replace_order(quantity=Decimal(12))
    answers = [report("REPLACED", request_id=str(request.command_id)) for request in (first, second)]
    for told in permutations(answers):
        order = order_of(after(report("NEW"), first, second, *told))
        assert (order.quantity, order.limit_price, order.requests) == (*amounts(12, 99), ())


def test_of_two_replaces_the_later_request_decides_even_after_the_end() -> None:
    first, second = (replace_order(quantity=Decimal(quantity)) for quantity in (12, 9))
    told = [
        report("REPLACED", request_id=str(first.command_id), quantity=Decimal(12)),
        report("REPLACED", request_id=str(second.command_id), quantity=Decimal(9)),
        report("CANCELED"),
    ]
    for shuffled in permutations(told):
        life = after(report("NEW"), first, second, *shuffled)
        assert figures(life) == ("CANCELED", "9", "0", "0", "-")


def test_a_request_that_outlives_the_end_of_an_old_leg_is_still_pending() -> None:
    first, second = (replace_order(quantity=Decimal(quantity)) for quantity in (12, 9))
    moved = report("REPLACED", broker_order_id="B", request_id=str(first.command_id))
    canceled = report("CANCELED", broker_order_id="A")
    for told in permutations((LEG_A, moved, canceled)):
        life = after(first, second, *told)
        assert figures(life) == ("PENDING_REPLACE", "12", "0", "12", "-")
    assert figures(after(LEG_A, first, second, canceled))[0] == "CANCELED"


def test_a_cancel_that_was_refused_is_not_another_one() -> None:
    asked = cancel()
    life = after(report("NEW"), asked, report("CANCEL_REJECTED", request_id=str(asked.command_id)), cancel())
    assert life.execute(report("CANCEL_REJECTED", request_id=str(asked.command_id))) == ()
    assert order_of(life).pending_request is PendingRequest.CANCEL


def test_terms_are_of_the_report_that_stated_them_field_by_field() -> None:
    at = [NOW - timedelta(seconds=s) for s in (3, 2, 1)]
    told = (
        report("RESTATED", limit_price=Decimal(99), transact_time=at[0]),
        report("RESTATED", quantity=Decimal(12), transact_time=at[1]),
        report("RESTATED", stop_price=Decimal(98), transact_time=at[2]),
    )
    for shuffled in permutations(told):
        order = order_of(after(report("NEW"), *shuffled))
        assert (order.quantity, order.limit_price, order.stop_price) == amounts(12, 99, 98)


# -- a cancel always passes --------------------------------------------------------------------------------------


def test_replaces_do_not_use_up_the_place_of_a_cancel() -> None:
    asked = [replace_order(quantity=Decimal(11 + n)) for n in range(REQUESTS_MAX)]
    life = after(report("NEW"), *asked)
    with pytest.raises(Refusal, match="replaces of order"):
        life.execute(replace_order(quantity=Decimal(99)))
    life.execute(cancel())
    assert order_of(life).status is OrdStatus.PENDING_CANCEL


def test_a_filled_order_that_a_replace_may_reopen_can_be_canceled() -> None:
    life = after(trade("e-1", "10"), replace_order(quantity=Decimal(12)))
    life.execute(cancel())
    assert order_of(life).status is OrdStatus.PENDING_CANCEL
