"""Adjustments: each is a fact, and changes the position or the cash as its document says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foldbook.errors import Refusal
from foldbook.trading.commands import AdjustAccount
from foldbook.trading.events import AccountAdjusted, UnmatchedExecutionRecorded
from foldbook.trading.values import Side
from tests.builders import adjust, amounts, open_account, place, trade
from tests.trading.lives import Life
from tests.trading.test_reports import bust

SYMBOL = "BTCUSDT"


@pytest.fixture
def life() -> Life:
    life = Life()
    life.execute(open_account())
    return life


def held(life: Life) -> tuple[Decimal, Decimal, Decimal]:
    """quantity, cost, realised"""
    position = life.book.positions[SYMBOL]
    return position.quantity, position.cost, position.realized_pnl


def test_an_opening_position_and_what_follows(life: Life) -> None:
    (event,) = life.execute(adjust("OPENING", symbol=SYMBOL, quantity="3", price="100"))
    assert isinstance(event, AccountAdjusted)
    assert (event.reference, event.value) == ("doc-1", Decimal(300))
    life.execute(place(quantity="1", side=Side.SELL))
    life.execute(trade("e-1", "1", "130"))
    assert held(life) == amounts(2, 200, 30)


@pytest.mark.parametrize("side", ["", "-"])
def test_what_is_transferred_out_leaves_at_its_average_cost(life: Life, side: str) -> None:
    sign = -1 if side else 1
    other = "" if side else "-"
    life.execute(adjust("TRANSFER", symbol=SYMBOL, quantity=f"{side}3", price="100"))
    life.execute(adjust("TRANSFER", symbol=SYMBOL, quantity=f"{other}1"))
    assert held(life) == amounts(sign * 2, sign * 200, 0)
    life.execute(adjust("TRANSFER", symbol=SYMBOL, quantity=f"{other}2"))
    assert held(life) == amounts(0, 0, 0)


@pytest.mark.parametrize(
    ("split_to", "split_from", "quantity"), [(2, 1, "20"), (1, 4, "2.5"), (1, 3, "3.333333333333333333")]
)
def test_a_split_changes_the_quantity_and_not_the_cost(
    life: Life, split_to: int, split_from: int, quantity: str
) -> None:
    life.execute(adjust("OPENING", symbol=SYMBOL, quantity="10", price="100"))
    life.execute(adjust("SPLIT", symbol=SYMBOL, split_to=split_to, split_from=split_from))
    assert held(life) == amounts(quantity, 1000, 0)
    assert life.book.positions[SYMBOL].cycle == 1


def test_a_bust_of_a_fill_from_before_a_split_is_an_exception(life: Life) -> None:
    """Its quantity is in units of then: somebody has to adjust the position."""
    for command in (place(quantity="10"), trade("e-1", "10"), adjust("SPLIT", symbol=SYMBOL, split_to=2, split_from=1)):
        life.execute(command)
    (event,) = life.execute(bust("b-1", "e-1"))
    assert isinstance(event, UnmatchedExecutionRecorded)
    assert event.reason == "the fill is from before the symbol was split"
    assert held(life) == amounts(20, 1000, 0)
    life.execute(place("o-2", quantity="1"))
    life.execute(trade("e-2", "1", order_id="o-2"))
    life.execute(bust("b-2", "e-2", order_id="o-2"))
    assert held(life) == amounts(20, 1000, 0)


@pytest.mark.parametrize("kind", ["FUNDING", "DIVIDEND", "FEE", "CASH", "OPENING", "TRANSFER"])
def test_money(life: Life, kind: str) -> None:
    (event,) = life.execute(adjust(kind, currency="USDT", amount="-12.5"))
    assert isinstance(event, AccountAdjusted)
    assert (event.currency, event.amount, event.symbol) == ("USDT", Decimal("-12.5"), None)
    assert not life.book.positions


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (adjust("OPENING"), "currency"),
        (adjust("OPENING", quantity="1"), "symbol"),
        (adjust("OPENING", symbol=SYMBOL, quantity="0", price="1"), "quantity"),
        (adjust("OPENING", symbol=SYMBOL, quantity="1"), "price"),
        (adjust("OPENING", symbol=SYMBOL, quantity="1", price="1", currency="USD", amount="1"), "currency"),
        (adjust("TRANSFER", symbol=SYMBOL, quantity="-4"), "quantity"),
        (adjust("TRANSFER", symbol=SYMBOL, quantity="-1", price="1"), "price"),
        (adjust("SPLIT", symbol=SYMBOL, split_to=2), "split_from"),
        (adjust("SPLIT", symbol=SYMBOL, split_to=0, split_from=1), "split_to"),
        (adjust("SPLIT", symbol=SYMBOL, split_to=2, split_from=1, amount="1"), "amount"),
        (adjust("FEE", currency="USD"), "amount"),
        (adjust("FEE", currency="USD", amount="0"), "amount"),
        (adjust("FEE", currency="USD", amount="NaN"), "amount"),
        (adjust("CASH", currency="USD", amount="1", quantity="1"), "quantity"),
        (adjust("CASH", currency="USD", amount="1", symbol=SYMBOL), "symbol"),
    ],
)
def test_what_it_must_say(life: Life, command: AdjustAccount, field: str) -> None:
    life.execute(adjust("OPENING", symbol=SYMBOL, quantity="3", price="100"))
    with pytest.raises(Refusal) as refused:
        life.execute(command)
    assert refused.value.details == {"field": field}


def test_a_split_needs_a_position(life: Life) -> None:
    with pytest.raises(Refusal, match="no position in"):
        life.execute(adjust("SPLIT", symbol=SYMBOL, split_to=2, split_from=1))
