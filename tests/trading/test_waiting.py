"""What is told before what it is about waits for it, and is applied once, in order."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foldbook.trading.commands import BookCommand
from foldbook.trading.events import OrderCreated, OrderDenied, UnmatchedExecutionRecorded
from tests.builders import open_account, place, report, trade
from tests.trading.lives import Life
from tests.trading.test_reports import bust, correct, figures, order_of


def told_before(*reports: BookCommand) -> Life:
    life = Life()
    for command in (open_account(), *reports, place(quantity="10")):
        life.execute(command)
    return life


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        pytest.param((trade("e-1", "4"),), ("PARTIALLY_FILLED", "10", "4", "6", "100"), id="a fill"),
        pytest.param((trade("e-1", "4"), bust("b", "e-1")), ("NEW", "10", "0", "10", "-"), id="a fill and its bust"),
        pytest.param((bust("b", "e-1"), trade("e-1", "4")), ("NEW", "10", "0", "10", "-"), id="a bust and its fill"),
        pytest.param(
            (correct("c", "e-1", "5", "99"), trade("e-2", "1"), trade("e-1", "4")),
            ("PARTIALLY_FILLED", "10", "6", "4", "99.166666666666666667"),
            id="a correction and two fills",
        ),
        pytest.param(
            (report("NEW", broker_order_id="A"), trade("e-1", "4"), report("CANCELED")),
            ("CANCELED", "10", "4", "0", "100"),
            id="a whole life",
        ),
        pytest.param((report("RESTATED", quantity=Decimal(7)),), ("CREATED", "7", "0", "7", "-"), id="other terms"),
        pytest.param((bust("b", "e-1"),), ("CREATED", "10", "0", "10", "-"), id="a bust without its fill"),
    ],
)
def test_what_waited_is_applied_when_the_order_is_placed(
    reports: tuple[BookCommand, ...], expected: tuple[str, ...]
) -> None:
    life = told_before(*reports)
    assert figures(life) == expected
    assert life.book.position_qty("BTCUSDT") == order_of(life).cum_qty
    before = figures(life), life.book
    for command in reports:
        assert life.execute(command) == ()
    assert (figures(life), life.book) == before


def test_a_report_that_waits_and_is_told_again_is_not_recorded_twice() -> None:
    life = Life()
    life.execute(open_account())
    assert len(life.execute(trade("e-1", "4"))) == 1
    assert life.execute(trade("e-1", "4")) == ()
    assert len(life.execute(trade("e-1", "5"))) == 1


def test_a_bust_that_still_waits_is_applied_when_its_fill_comes() -> None:
    life = told_before(bust("b", "e-1"))
    life.execute(trade("e-1", "4"))
    assert figures(life) == ("NEW", "10", "0", "10", "-")


def test_an_order_that_is_denied_has_traded_nevertheless() -> None:
    life = Life()
    for command in (open_account(), trade("e-1", "4")):
        life.execute(command)
    created, denied, *_ = life.execute(place(quantity="10", reduce_only=True))
    assert isinstance(created, OrderCreated)
    assert isinstance(denied, OrderDenied)
    assert figures(life) == ("DENIED", "10", "4", "0", "100")
    assert life.book.position_qty("BTCUSDT") == 4


def test_the_order_that_waits_is_the_one_that_was_told() -> None:
    life = Life()
    for command in (open_account(), trade("e-1", "4", order_id="o-2"), place(quantity="10")):
        life.execute(command)
    assert figures(life) == ("CREATED", "10", "0", "10", "-")
    assert isinstance(life.events[1], UnmatchedExecutionRecorded)
