"""What the gateway does because of the events of an account."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from foldbook.brokers.gateway import GROUPS_MAX, Action, Attempt, Cancel, Gateway, Replace, Submit, Withdraw, react
from foldbook.trading.commands import BookCommand
from foldbook.trading.values import GroupKind, OrderGroup, Side
from tests.builders import cancel, open_account, place, replace_order, report, trade
from tests.trading.lives import Life

BRACKET = OrderGroup(kind=GroupKind.BRACKET, id="g-1")


class Worked:
    """An account, and the gateway that works it, but for the sending."""

    def __init__(self) -> None:
        self._life = Life()
        self.gateway = Gateway()
        self.does(open_account())

    def does(self, command: BookCommand) -> list[Action]:
        """What the gateway does because of a command. Attempts are committed."""
        self.gateway, actions = react(self.gateway, self._life.execute(command))
        done = []
        for action in actions:
            done.append(action)
            if isinstance(action, Attempt):
                done += self.does(report("PENDING_NEW", action.order_id))
            elif isinstance(action, Withdraw):
                done += self.does(report("CANCELED", action.order_id, request_id=action.request_id))
        return done


def sent(actions: list[Action]) -> list[str]:
    return [action.order.order_id for action in actions if isinstance(action, Submit)]


def exit_leg(order_id: str, **fields: Any) -> BookCommand:
    return place(order_id, quantity="10", side=Side.SELL, reduce_only=True, group=BRACKET, **fields)


def test_the_attempt_is_a_fact_before_the_order_is_sent() -> None:
    attempt, submit = Worked().does(place())
    assert attempt == Attempt("o-1")
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
    assert worked.does(replace) == [Replace("o-1", str(replace.command_id), Decimal(8), Decimal(100), None)]
    assert worked.does(kill) == [Cancel("o-1", str(kill.command_id))]


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
    attempt, submit, replaced = worked.does(trade("e-1", "10", order_id="entry"))
    assert isinstance(submit, Submit)
    assert (attempt, submit.order.quantity) == (Attempt("target"), Decimal(10))
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
