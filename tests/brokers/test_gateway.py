"""What the gateway does because of the events of an account."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given

from foldbook.brokers.gateway import (
    GROUPS_MAX,
    Action,
    Ask,
    Attempt,
    Cancel,
    Gateway,
    Replace,
    Submit,
    Unanswered,
    Withdraw,
    react,
    recover,
)
from foldbook.trading.commands import BookCommand
from foldbook.trading.state import Book
from foldbook.trading.values import DoubtOutcome, GroupKind, OrderGroup, RequestKind, Side
from tests.builders import attempt, cancel, in_doubt, open_account, place, replace_order, report, resolve, trade
from tests.trading.lives import Life, commands

BRACKET = OrderGroup(kind=GroupKind.BRACKET, id="g-1")


class Worked:
    """An account, and the gateway that works it, but for the sending."""

    def __init__(self) -> None:
        self._life = Life()
        self.gateway = Gateway()
        self.does(open_account())

    @property
    def book(self) -> Book:
        return self._life.book

    def does(self, command: BookCommand) -> list[Action]:
        """What the gateway does because of a command. Attempts are committed."""
        self.gateway, actions = react(self.gateway, self._life.execute(command))
        done = []
        for action in actions:
            done.append(action)
            if isinstance(action, Attempt):
                about: dict[str, Any] = {"request_id": action.request_id, "attempt": action.attempt}
                done += self.does(attempt(action.order_id, action.request, **about))
            elif isinstance(action, Withdraw):
                done += self.does(report("CANCELED", action.order_id, request_id=action.request_id))
        return done


def sent(actions: list[Action]) -> list[str]:
    return [action.order.order_id for action in actions if isinstance(action, Submit)]


def exit_leg(order_id: str, **fields: Any) -> BookCommand:
    return place(order_id, quantity="10", side=Side.SELL, reduce_only=True, group=BRACKET, **fields)


def test_the_attempt_is_a_fact_before_the_order_is_sent() -> None:
    first, submit = Worked().does(place())
    assert first == Attempt("o-1")
    assert isinstance(submit, Submit)
    assert submit.order.order_id == "o-1"


def test_a_denied_order_is_not_sent() -> None:
    assert Worked().does(place(reduce_only=True)) == []


def test_an_order_is_sent_once() -> None:
    worked = Worked()
    worked.does(place())
    assert worked.does(report("PENDING_NEW")) == []
    assert worked.does(report("NEW")) == []


def test_requests_are_sent_with_their_id() -> None:
    worked = Worked()
    worked.does(place(quantity="10"))
    replace, kill = replace_order(quantity=Decimal(8)), cancel()
    assert worked.does(replace) == [
        Attempt("o-1", RequestKind.REPLACE, str(replace.command_id)),
        Replace("o-1", str(replace.command_id), Decimal(8), Decimal(100), None),
    ]
    assert worked.does(kill) == [
        Attempt("o-1", RequestKind.CANCEL, str(kill.command_id)),
        Cancel("o-1", str(kill.command_id)),
    ]


def test_the_exits_of_a_bracket_wait_for_its_entry() -> None:
    worked = Worked()
    assert sent(worked.does(place("entry", quantity="10", group=BRACKET))) == ["entry"]
    assert worked.does(exit_leg("target")) == []
    assert worked.does(exit_leg("stop")) == []
    assert sent(worked.does(trade("e-1", "4", order_id="entry"))) == ["target", "stop"]
    assert sent(worked.does(trade("e-2", "6", order_id="entry"))) == []
    assert sent(worked.does(exit_leg("late"))) == ["late"]


def test_a_replace_of_a_held_exit_is_sent_after_it_and_a_cancel_is_answered_here() -> None:
    worked = Worked()
    worked.does(place("entry", quantity="10", group=BRACKET))
    worked.does(exit_leg("target"))
    worked.does(exit_leg("stop"))
    replace, kill = replace_order("target", quantity=Decimal(8)), cancel("stop")
    assert worked.does(replace) == []
    assert worked.does(kill) == [Withdraw("stop", str(kill.command_id))]
    first, submit, second, replaced = worked.does(trade("e-1", "10", order_id="entry"))
    assert isinstance(submit, Submit)
    assert (first, submit.order.quantity) == (Attempt("target"), Decimal(10))
    assert second == Attempt("target", RequestKind.REPLACE, str(replace.command_id))
    assert replaced == Replace("target", str(replace.command_id), Decimal(8), Decimal(100), None)


def test_if_the_entry_ends_untraded_its_exits_are_never_sent() -> None:
    worked = Worked()
    worked.does(place("entry", quantity="10", group=BRACKET))
    worked.does(exit_leg("target"))
    assert [type(action) for action in worked.does(report("CANCELED", "entry"))] == [Withdraw]
    assert not worked.gateway.unsent
    assert not worked.gateway.brackets


def test_what_is_remembered_of_brackets_is_bounded() -> None:
    worked = Worked()
    for n in range(2 * GROUPS_MAX + 1):
        group = OrderGroup(kind=GroupKind.BRACKET, id=f"g-{n}")
        worked.does(place(f"o-{n}", group=group))
        worked.does(trade(f"e-{n}", "2", order_id=f"o-{n}"))
    assert len(worked.gateway.released) == GROUPS_MAX
    assert f"g-{2 * GROUPS_MAX}" in worked.gateway.released


# -- doubts ------------------------------------------------------------------------------------------------------


def test_the_broker_is_asked_about_a_doubt_and_a_person_may_have_it_sent_again() -> None:
    worked = Worked()
    worked.does(place())
    doubt = in_doubt()
    (ask,) = worked.does(doubt)
    assert isinstance(ask, Ask)
    assert ask.doubt.doubt_id == str(doubt.command_id)
    again, submit = worked.does(resolve(doubt.command_id, DoubtOutcome.RESEND))
    assert again == Attempt("o-1", attempt=2)
    assert isinstance(submit, Submit)
    assert (submit.order_id, submit.attempt) == ("o-1", 2)


def test_what_the_broker_has_is_not_sent_again() -> None:
    worked = Worked()
    worked.does(place())
    worked.does(report("NEW"))
    assert not worked.gateway.sent


# -- recovery ----------------------------------------------------------------------------------------------------


def test_who_begins_in_the_middle_does_not_know_what_became_of_an_attempt() -> None:
    worked = Worked()
    for order_id in ("o-1", "o-2", "o-3"):
        worked.does(place(order_id))
    worked.does(report("NEW", "o-1"))
    kill, change = cancel("o-1"), replace_order("o-1", quantity=Decimal(8))
    worked.does(change)
    worked.does(kill)
    worked.does(in_doubt("o-2"))
    _, actions = recover(worked.book)
    assert actions == [
        Unanswered("o-1", RequestKind.REPLACE, str(change.command_id), 1),
        Unanswered("o-1", RequestKind.CANCEL, str(kill.command_id), 1),
        Ask("o-2", worked.book.orders["o-2"].doubts[0]),
        Unanswered("o-3", RequestKind.SUBMIT, None, 1),
    ]


@given(asked=commands())
def test_the_book_says_what_is_left_to_do(asked: list[BookCommand]) -> None:
    """Who recovers remembers what who was there from the start does, as far as there is an open order."""
    life = Life().try_all(asked)
    gateway = Gateway()
    for event in life.events:
        gateway, _ = react(gateway, (event,))
    recovered, _ = recover(life.book)
    orders = {order_id: order for order_id, order in life.book.orders.items() if not order.is_outline}
    assert {k: v for k, v in gateway.sent.items() if k in orders} == dict(recovered.sent)
    assert {k: v for k, v in gateway.unsent.items() if k in orders} == dict(recovered.unsent)
