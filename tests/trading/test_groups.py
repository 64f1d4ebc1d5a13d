"""Groups of orders: what a report about one leg asks of the others."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from foldbook.errors import Refusal
from foldbook.trading.commands import PlaceOrder
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.values import GroupKind, OrderGroup, OrderType, Side
from tests.builders import open_account, place, report, trade, trading_state
from tests.trading.lives import Life

OCO = OrderGroup(kind=GroupKind.OCO, id="g-1")
BRACKET = OrderGroup(kind=GroupKind.BRACKET, id="g-2")


def leg(order_id: str, group: OrderGroup, **fields: Any) -> PlaceOrder:
    return place(order_id, quantity="10", group=group, **fields)


def exit_leg(order_id: str, **fields: Any) -> PlaceOrder:
    return leg(order_id, BRACKET, side=Side.SELL, reduce_only=True, **fields)


def stop_leg(order_id: str) -> PlaceOrder:
    return exit_leg(order_id, order_type=OrderType.STOP, limit_price=None, stop_price=Decimal(90))


def life_of(*commands: Any) -> Life:
    life = Life()
    for command in (open_account(), *commands):
        life.execute(command)
    return life


def order(life: Life, order_id: str) -> Order:
    made: Order | None = None
    for event in life.about(order_id):
        made = evolve_order(made, event)
    assert made is not None
    return made


def asked(life: Life, order_id: str) -> tuple[str, Decimal | None]:
    """What is pending, and the quantity that is asked for."""
    of = order(life, order_id)
    return of.pending_request.value, of.requested.quantity if of.requested is not None else None


def test_one_cancels_the_other_even_if_it_trades_in_part() -> None:
    life = life_of(leg("a", OCO), leg("b", OCO), leg("c", OCO), place("x"))
    fill, *others = life.execute(trade("e-1", "4", order_id="a"))
    assert [type(event).__name__ for event in (fill, *others)] == [
        "OrderFilled",
        "OrderCancelRequested",
        "OrderCancelRequested",
    ]
    assert [asked(life, of)[0] for of in "abcx"] == ["NONE", "CANCEL", "CANCEL", "NONE"]
    assert [type(event).__name__ for event in life.execute(trade("e-2", "6", order_id="a"))] == ["OrderFilled"]


@pytest.mark.parametrize("exec_type", ["NEW", "CANCELED", "REJECTED", "EXPIRED"])
def test_what_does_not_trade_cancels_nothing(exec_type: str) -> None:
    life = life_of(leg("a", OCO), leg("b", OCO), report(exec_type, "a"))
    assert asked(life, "b")[0] == "NONE"


def test_what_trades_of_an_exit_is_taken_off_the_other_exits() -> None:
    life = life_of(leg("entry", BRACKET), trade("e-1", "10", order_id="entry"), exit_leg("target"), stop_leg("stop"))
    life.execute(trade("e-2", "4", order_id="target"))
    assert asked(life, "stop") == ("REPLACE", Decimal(6))
    life.execute(trade("e-3", "1", order_id="target"))
    assert asked(life, "stop") == ("REPLACE", Decimal(5))
    life.execute(trade("e-4", "5", order_id="target"))
    assert asked(life, "stop")[0] == "CANCEL"


def test_the_exits_may_be_placed_before_the_entry_trades_and_reduce_what_it_will_open() -> None:
    life = life_of(leg("entry", BRACKET), exit_leg("target"), stop_leg("stop"))
    assert order(life, "target").working_state == "CREATED"
    life.execute(trade("e-1", "10", order_id="entry"))
    assert asked(life, "target")[0] == asked(life, "stop")[0] == "NONE"


@pytest.mark.parametrize("exec_type", ["CANCELED", "REJECTED", "EXPIRED"])
def test_if_the_entry_ends_untraded_the_exits_are_canceled(exec_type: str) -> None:
    life = life_of(leg("entry", BRACKET), exit_leg("target"), stop_leg("stop"), report(exec_type, "entry"))
    assert asked(life, "target")[0] == asked(life, "stop")[0] == "CANCEL"


def test_if_the_entry_ends_early_the_exits_close_what_it_opened() -> None:
    life = life_of(leg("entry", BRACKET), exit_leg("target"), stop_leg("stop"))
    life.execute(trade("e-1", "3", order_id="entry"))
    life.execute(report("CANCELED", "entry"))
    assert asked(life, "target") == asked(life, "stop") == ("REPLACE", Decimal(3))


def test_a_group_has_one_kind_and_a_bounded_number_of_legs() -> None:
    life = life_of(leg("a", OCO))
    with pytest.raises(Refusal, match="is of kind OCO"):
        life.execute(leg("b", OrderGroup(kind=GroupKind.BRACKET, id=OCO.id)))
    for n in range(15):
        life.execute(leg(f"more-{n}", OCO))
    with pytest.raises(Refusal, match="16 open orders"):
        life.execute(leg("z", OCO))


def test_a_bust_asks_nothing() -> None:
    life = life_of(leg("a", OCO), trade("e-1", "4", order_id="a"), leg("b", OCO))
    life.execute(report("TRADE_CANCEL", "a", exec_ref_id="e-1"))
    assert asked(life, "b")[0] == "NONE"


@pytest.mark.parametrize("ended", [report("REJECTED", "entry"), report("CANCELED", "entry")])
def test_an_exit_of_a_bracket_whose_entry_ended_untraded_is_denied(ended: Any) -> None:
    life = life_of(leg("entry", BRACKET), ended)
    _, denied = life.execute(exit_leg("target"))
    assert (type(denied).__name__, denied.reason) == ("OrderDenied", "bracket-over")  # type: ignore[attr-defined]
    assert not life.book.orders


def test_an_exit_of_a_bracket_whose_entry_was_denied_is_denied() -> None:
    """Else it would be the first order of the bracket that leaves, and the next would wait for it."""
    life = life_of()
    for state in ("HALTED", "ACTIVE"):
        life.execute(trading_state(state))
        if state == "HALTED":
            assert type(life.execute(leg("entry", BRACKET))[-1]).__name__ == "OrderDenied"
    for order_id in ("stop", "target"):
        assert type(life.execute(leg(order_id, BRACKET, side=Side.SELL))[-1]).__name__ == "OrderDenied"


def test_exits_of_an_entry_that_traded_and_ended_are_taken() -> None:
    life = life_of(leg("entry", BRACKET), trade("e-1", "4", order_id="entry"), report("CANCELED", "entry"))
    assert [type(event).__name__ for event in life.execute(exit_leg("target"))] == ["OrderCreated"]
