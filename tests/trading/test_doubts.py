"""What is sent is a fact before it is sent, and what nobody knows is a state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from foldbook.errors import Refusal
from foldbook.eventstore.events import Event
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand
from foldbook.trading.doubts import DOUBTS_MAX
from foldbook.trading.events import (
    Doubt,
    OrderCancelSubmitted,
    OrderDenied,
    OrderDoubtResolved,
    OrderInDoubt,
    OrderReplaceSubmitted,
    OrderSubmitted,
)
from foldbook.trading.state import FILLED_MAX
from foldbook.trading.values import DoubtOutcome, OrderType, OrdStatus, PendingRequest, RequestKind, Side
from tests.builders import (
    NOW,
    attempt,
    cancel,
    holding,
    in_doubt,
    open_account,
    place,
    replace_order,
    report,
    resolve,
    trade,
    trading_state,
)
from tests.trading.lives import Life

SUBMIT, CANCEL, REPLACE, STATUS = RequestKind.SUBMIT, RequestKind.CANCEL, RequestKind.REPLACE, RequestKind.STATUS
ACCEPTED, REJECTED, RESEND = DoubtOutcome.ACCEPTED, DoubtOutcome.REJECTED, DoubtOutcome.RESEND


def life(*commands: BookCommand) -> Life:
    lived = Life()
    for command in (open_account(), place(), *commands):
        lived.execute(command)
    return lived


def types(events: Sequence[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def doubts(lived: Life) -> tuple[Doubt, ...]:
    return lived.book.orders["o-1"].doubts


# -- attempts ----------------------------------------------------------------------------------------------------


def test_an_order_is_submitted_once() -> None:
    lived = life()
    (submitted,) = lived.execute(attempt(client_order_id="o-1:1"))
    assert isinstance(submitted, OrderSubmitted)
    assert (submitted.attempt, submitted.client_order_id) == (1, "o-1:1")
    assert submitted.working_state is OrdStatus.PENDING_NEW
    assert lived.execute(attempt()) == ()
    assert types(lived.execute(attempt(attempt=2))) == ["OrderSubmitted"]
    assert lived.execute(attempt(attempt=2)) == ()
    assert lived.execute(attempt(attempt=4)) == ()


@pytest.mark.parametrize("told", [report("NEW"), trade("e-1", "1"), report("CANCELED"), report("REJECTED")])
def test_what_the_broker_has_answered_is_not_sent(told: BookCommand) -> None:
    assert life(told).execute(attempt()) == ()


def test_an_order_that_is_to_be_canceled_does_not_leave() -> None:
    assert life(cancel()).execute(attempt()) == ()


def test_a_denied_order_does_not_leave() -> None:
    lived = Life()
    lived.execute(open_account())
    assert isinstance(lived.execute(place(reduce_only=True))[1], OrderDenied)
    assert lived.execute(attempt()) == ()


def test_an_account_that_was_halted_sends_nothing_again() -> None:
    lived = life(attempt(), in_doubt())
    lived.execute(trading_state("HALTED"))
    assert lived.execute(attempt(attempt=2)) == ()


def test_an_unknown_order_has_no_attempt() -> None:
    with pytest.raises(Refusal, match="has no order o-9"):
        life().execute(attempt("o-9"))


def test_a_cancel_and_a_replace_are_sent_by_their_request() -> None:
    kill, change = cancel(), replace_order(quantity=Decimal(3))
    lived = life(report("NEW"), change)
    (submitted,) = lived.execute(attempt(request=REPLACE, request_id=str(change.command_id), leg=2))
    assert isinstance(submitted, OrderReplaceSubmitted)
    assert lived.book.orders["o-1"].leg == 2
    lived.execute(kill)
    (submitted,) = lived.execute(attempt(request=CANCEL, request_id=str(kill.command_id)))
    assert isinstance(submitted, OrderCancelSubmitted)
    assert submitted.pending_request is PendingRequest.CANCEL
    assert lived.execute(attempt(request=CANCEL, request_id=str(kill.command_id))) == ()
    assert lived.execute(attempt(request=CANCEL, request_id=str(change.command_id))) == ()
    lived.execute(report("CANCELED"))
    assert lived.execute(attempt(request=CANCEL, request_id=str(kill.command_id), attempt=2)) == ()


def test_a_new_leg_does_not_leave_against_a_cancel_and_not_again_from_a_halted_account() -> None:
    change = replace_order(quantity=Decimal(3))
    leg: dict[str, Any] = {"request": REPLACE, "request_id": str(change.command_id), "leg": 2}
    assert life(report("NEW"), change, cancel()).execute(attempt(**leg)) == ()
    lived = life(report("NEW"), change, attempt(**leg))
    lived.execute(trading_state("HALTED"))
    assert lived.execute(attempt(**leg, attempt=2)) == ()


def test_a_replace_is_not_sent_again_once_a_later_one_has_left() -> None:
    first, second = replace_order(limit_price=Decimal(101)), replace_order(limit_price=Decimal(102))
    of_first: dict[str, Any] = {"request": REPLACE, "request_id": str(first.command_id)}
    of_second: dict[str, Any] = {"request": REPLACE, "request_id": str(second.command_id)}
    lived = life(report("NEW"), first, attempt(**of_first), second)
    assert types(lived.execute(attempt(**of_first, attempt=2))) == ["OrderReplaceSubmitted"]
    lived.execute(attempt(**of_second))
    assert lived.execute(attempt(**of_first, attempt=3)) == ()
    lived.execute(report("REPLACED", request_id=str(second.command_id), limit_price=Decimal(102)))
    assert lived.execute(attempt(**of_first, attempt=3)) == ()
    lived.execute(report("REPLACE_REJECTED", request_id=str(first.command_id)))
    assert lived.book.orders["o-1"].limit_price == 102


def test_a_question_is_no_attempt() -> None:
    with pytest.raises(Refusal, match="needs no attempt"):
        life().execute(attempt(request=STATUS))


# -- doubts ------------------------------------------------------------------------------------------------------


def test_a_doubt_is_a_state_of_the_order() -> None:
    lived = life(attempt())
    asked = in_doubt(reason="no answer within 2 s")
    (event,) = lived.execute(asked)
    assert isinstance(event, OrderInDoubt)
    assert (
        doubts(lived)
        == event.doubts
        == (Doubt(doubt_id=str(asked.command_id), request=SUBMIT, reason="no answer within 2 s", since=NOW),)
    )
    assert event.working_state is OrdStatus.PENDING_NEW
    assert lived.execute(in_doubt()) == ()


def test_only_the_latest_attempt_is_in_doubt() -> None:
    assert life().execute(in_doubt()) == ()
    assert life(attempt(), attempt(attempt=2)).execute(in_doubt()) == ()
    assert life(attempt(), report("NEW")).execute(in_doubt()) == ()


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (report("NEW"), OrdStatus.NEW),
        (trade("e-1", "1"), OrdStatus.PARTIALLY_FILLED),
        (report("REJECTED"), OrdStatus.REJECTED),
        (report("CANCELED"), OrdStatus.CANCELED),
        (report("EXPIRED"), OrdStatus.EXPIRED),
        (trade("e-1", "2"), OrdStatus.FILLED),
    ],
)
def test_a_report_ends_the_doubt_about_an_order(told: BookCommand, state: OrdStatus) -> None:
    lived = life(attempt(), in_doubt())
    *_, event = lived.execute(told)
    assert isinstance(event, OrderDoubtResolved)
    assert (event.outcome, event.doubts, event.working_state) == (DoubtOutcome.ANSWERED, (), state)


def test_a_fill_says_nothing_of_a_cancel_that_is_in_doubt() -> None:
    kill = cancel()
    about: dict[str, Any] = {"request": CANCEL, "request_id": str(kill.command_id)}
    lived = life(report("NEW"), kill, attempt(**about), in_doubt(**about))
    assert types(lived.execute(trade("e-1", "1"))) == ["OrderFilled"]
    assert len(doubts(lived)) == 1
    assert types(lived.execute(report("CANCEL_REJECTED", request_id=str(kill.command_id)))) == [
        "OrderCancelRejected",
        "OrderDoubtResolved",
    ]
    assert doubts(lived) == ()


def test_a_fill_of_all_of_it_leaves_no_doubt_about_whether_it_works() -> None:
    lived = life(report("NEW"), in_doubt(request=STATUS))
    assert types(lived.execute(trade("e-1", "1"))) == ["OrderFilled"]
    assert types(lived.execute(trade("e-2", "1"))) == ["OrderFilled", "OrderDoubtResolved"]


def test_what_is_sent_again_is_in_doubt_no_more() -> None:
    lived = life(attempt(), in_doubt())
    submitted, resolved = lived.execute(attempt(attempt=2))
    assert isinstance(submitted, OrderSubmitted)
    assert isinstance(resolved, OrderDoubtResolved)
    assert resolved.outcome is DoubtOutcome.RESENT
    assert doubts(lived) == ()
    assert types(lived.execute(in_doubt(attempt=2))) == ["OrderInDoubt"]


def test_cancels_work_while_in_doubt() -> None:
    kill = cancel()
    lived = life(attempt(), in_doubt(), kill)
    assert types(lived.execute(attempt(request=CANCEL, request_id=str(kill.command_id)))) == ["OrderCancelSubmitted"]
    assert lived.execute(attempt(attempt=2)) == ()


def test_doubts_are_bounded() -> None:
    lived = life(report("NEW"))
    for _ in range(DOUBTS_MAX + 1):
        kill = cancel()
        lived.execute(kill)
        about: dict[str, Any] = {"request": CANCEL, "request_id": str(kill.command_id)}
        lived.execute(attempt(**about))
        lived.execute(in_doubt(**about))
        assert len(doubts(lived)) == 1
        lived.execute(report("CANCEL_REJECTED", request_id=str(kill.command_id)))


# -- decisions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "follows", "state"),
    [
        (ACCEPTED, ["OrderAccepted"], OrdStatus.NEW),
        (REJECTED, ["OrderRejected"], OrdStatus.REJECTED),
        (RESEND, [], OrdStatus.PENDING_NEW),
    ],
)
def test_a_person_decides_about_an_order(outcome: DoubtOutcome, follows: list[str], state: OrdStatus) -> None:
    doubt = in_doubt()
    lived = life(attempt(), doubt)
    events = lived.execute(resolve(doubt.command_id, outcome, reason="seen on the screen"))
    assert types(events) == ["OrderDoubtResolved", *follows]
    last = events[-1]
    assert isinstance(last, OrderDoubtResolved) or getattr(last, "doubts", None) == ()
    assert getattr(last, "working_state", None) is state
    with pytest.raises(Refusal) as refused:
        lived.execute(resolve(doubt.command_id, outcome))
    assert refused.value.code == "unknown-doubt"


@pytest.mark.parametrize(
    ("outcome", "follows"), [(ACCEPTED, ["OrderCanceled"]), (REJECTED, ["OrderCancelRejected"]), (RESEND, [])]
)
def test_a_person_decides_about_a_cancel(outcome: DoubtOutcome, follows: list[str]) -> None:
    kill = cancel()
    about: dict[str, Any] = {"request": CANCEL, "request_id": str(kill.command_id)}
    doubt = in_doubt(**about)
    lived = life(report("NEW"), kill, attempt(**about), doubt)
    assert types(lived.execute(resolve(doubt.command_id, outcome))) == ["OrderDoubtResolved", *follows]


def test_a_person_decides_about_a_replace() -> None:
    change = replace_order(quantity=Decimal(5))
    about: dict[str, Any] = {"request": REPLACE, "request_id": str(change.command_id)}
    doubt = in_doubt(**about)
    lived = life(report("NEW"), change, attempt(**about), doubt)
    assert types(lived.execute(resolve(doubt.command_id, ACCEPTED))) == ["OrderDoubtResolved", "OrderReplaced"]
    assert lived.book.orders["o-1"].quantity == 5


def test_nothing_is_left_of_an_order_whose_new_leg_never_came_to_be() -> None:
    change = replace_order(quantity=Decimal(3))
    about: dict[str, Any] = {"request": REPLACE, "request_id": str(change.command_id)}
    lived = life(
        report("NEW"), change, attempt(**about), attempt(**about, attempt=2, leg=2), in_doubt(**about, attempt=2)
    )
    (doubt,) = doubts(lived)
    assert types(lived.execute(resolve(doubt.doubt_id, REJECTED, reason="it never came"))) == [
        "OrderDoubtResolved",
        "OrderReplaceRejected",
        "OrderCanceled",
    ]
    assert not lived.book.orders


def test_an_order_that_the_broker_no_longer_knows_is_canceled_by_decision() -> None:
    doubt = in_doubt(request=STATUS)
    lived = life(report("NEW"), doubt)
    assert types(lived.execute(resolve(doubt.command_id, REJECTED))) == ["OrderDoubtResolved", "OrderCanceled"]
    again = in_doubt(request=STATUS)
    lived = life(report("NEW"), again)
    with pytest.raises(Refusal, match="the broker had the order"):
        lived.execute(resolve(again.command_id, RESEND))


CHANGES = [replace_order(limit_price=Decimal(price)) for price in (101, 102)]


@pytest.mark.parametrize(
    ("before", "request_kind", "against", "why"),
    [
        ([attempt()], SUBMIT, [trading_state("HALTED")], "the account is halted"),
        ([attempt()], SUBMIT, [cancel()], "a cancel of the order is pending"),
        (
            [report("NEW"), *CHANGES, attempt(request=REPLACE, request_id=str(CHANGES[0].command_id))],
            REPLACE,
            [attempt(request=REPLACE, request_id=str(CHANGES[1].command_id))],
            "a later replace was sent",
        ),
    ],
)
def test_what_would_not_be_sent_again_stays_in_doubt(
    before: list[Any], request_kind: RequestKind, against: list[Any], why: str
) -> None:
    doubt = in_doubt(request=request_kind, request_id=None if request_kind is SUBMIT else str(CHANGES[0].command_id))
    lived = life(*before, doubt, *against)
    with pytest.raises(Refusal, match=why) as refused:
        lived.execute(resolve(doubt.command_id, RESEND))
    assert refused.value.code == "not-sent-again"
    assert len(doubts(lived)) == 1


def test_a_cancel_is_sent_again_from_a_halted_account() -> None:
    kill = cancel()
    about: dict[str, Any] = {"request": CANCEL, "request_id": str(kill.command_id)}
    doubt = in_doubt(**about)
    lived = life(report("NEW"), kill, attempt(**about), doubt, trading_state("HALTED"))
    assert types(lived.execute(resolve(doubt.command_id, RESEND))) == ["OrderDoubtResolved"]
    assert types(lived.execute(attempt(**about, attempt=2))) == ["OrderCancelSubmitted"]


def test_what_became_of_it_is_not_for_a_person_to_say_by_a_word_of_the_machine() -> None:
    doubt = in_doubt()
    with pytest.raises(Refusal, match="must be one of ACCEPTED, REJECTED, RESEND"):
        life(attempt(), doubt).execute(resolve(doubt.command_id, DoubtOutcome.ANSWERED))


# -- what is held ------------------------------------------------------------------------------------------------


def test_a_mismatch_blocks_what_makes_the_position_larger_until_they_agree() -> None:
    lived = life(report("NEW"), trade("e-1", "2"))
    assert lived.execute(holding("2")) == ()
    assert types(lived.execute(holding("1.5"))) == ["PositionMismatchDetected"]
    assert lived.execute(holding("1.5")) == ()
    *_, denied = lived.execute(place("o-2"))
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.limit, denied.observed) == ("position-mismatch", "2", "1.5")
    assert types(lived.execute(place("o-3", symbol="ETHUSDT"))) == ["OrderCreated"]
    sell = place("o-4", side=Side.SELL, quantity="2", order_type=OrderType.MARKET, limit_price=None)
    assert types(lived.execute(sell)) == ["OrderCreated"]
    assert types(lived.execute(cancel("o-4"))) == ["OrderCancelRequested"]
    lived.execute(trade("e-2", "0.5", order_id="o-4"))
    assert types(lived.execute(holding("1.5"))) == ["PositionMismatchResolved"]
    assert types(lived.execute(place("o-5"))) == ["OrderCreated"]


def test_a_mismatch_that_changes_is_told_again() -> None:
    lived = life()
    assert types(lived.execute(holding("1"))) == ["PositionMismatchDetected"]
    assert types(lived.execute(holding("2"))) == ["PositionMismatchDetected"]
    assert types(lived.execute(holding("0"))) == ["PositionMismatchResolved"]


# -- filled orders -------------------------------------------------------------------------------------------------


def test_an_order_that_has_filled_is_remembered_until_what_was_asked_of_it_is_answered() -> None:
    kill = cancel()
    lived = life(report("NEW"), kill, attempt(request=CANCEL, request_id=str(kill.command_id), attempt=1))
    lived.execute(in_doubt(request=CANCEL, request_id=str(kill.command_id), attempt=1))
    lived.execute(trade("e-1", "2"))
    assert not lived.book.orders
    filled = lived.book.filled["o-1"]
    assert (filled.is_filled, filled.status) == (True, OrdStatus.PENDING_CANCEL)
    assert filled.is_in_doubt(CANCEL, str(kill.command_id))
    lived.execute(report("CANCEL_REJECTED", request_id=str(kill.command_id)))
    assert not lived.book.filled


def test_what_counts_does_not_count_orders_that_have_filled() -> None:
    lived = life(report("NEW"), cancel(), trade("e-1", "2"))
    assert lived.book.filled
    halt = trading_state("HALTED", cancel_open_orders=True)
    assert types(lived.execute(halt)) == ["TradingStateChanged"]


def test_a_filled_order_that_a_bust_opens_again_is_known_with_all_that_was_told_of_it() -> None:
    lived = life(report("NEW"), cancel(), trade("e-1", "2"), trade("e-3", "1"))
    lived.execute(report("TRADE_CANCEL", exec_id="e-2", exec_ref_id="e-1"))
    lived.execute(report("TRADE_CANCEL", exec_id="e-4", exec_ref_id="e-3"))
    working = lived.book.orders["o-1"]
    assert not working.is_outline
    assert not lived.book.filled
    assert set(working.executions) == {"e-1", "e-2", "e-3", "e-4"}


def test_filled_orders_that_nobody_answers_are_bounded() -> None:
    lived = Life()
    lived.execute(open_account())
    for n in range(2 * FILLED_MAX + 1):
        order_id = f"o-{n}"
        placed_at = NOW + timedelta(seconds=n)
        for command in (place(order_id, received_at=placed_at), cancel(order_id), trade("e-1", "2", order_id=order_id)):
            lived.book = ORDER_BOOK.fold(ORDER_BOOK.decide(command, lived.book), lived.book)
    assert set(lived.book.filled) == {f"o-{n}" for n in range(FILLED_MAX + 1, 2 * FILLED_MAX + 1)}
