"""Executions without an order of ours."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.errors import Refusal
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    ExecutionBooked,
    ExecutionBusted,
    ExecutionCorrected,
    FillConflictDetected,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.values import ExecType, ExecutionKind, Side
from tests.builders import ACCOUNT, NOW, amounts, open_account
from tests.trading.lives import Life


def told(exec_type: str = "TRADE", **fields: Any) -> RecordExecution:
    said: dict[str, Any] = {"exec_id": "x-1", "symbol": "BTC-USDT", "side": Side.SELL}
    if exec_type == "TRADE":
        said |= {"last_qty": Decimal(4), "last_px": Decimal(100)}
    return RecordExecution(
        **{
            "command_id": uuid7(),
            "received_at": NOW,
            "account": ACCOUNT,
            "exec_type": ExecType(exec_type),
            **said,
            **fields,
        }
    )


def bust(**fields: Any) -> RecordExecution:
    return told("TRADE_CANCEL", **{"exec_id": None, "exec_ref_id": "x-1", "symbol": None, "side": None, **fields})


def correct(exec_id: str, qty: str, **fields: Any) -> RecordExecution:
    return told("TRADE_CORRECT", exec_id=exec_id, exec_ref_id="x-1", last_qty=Decimal(qty), **fields)


@pytest.fixture
def life() -> Life:
    life = Life()
    life.execute(open_account())
    return life


def test_a_liquidation_is_a_fact_with_a_fill_in_the_position(life: Life) -> None:
    (event,) = life.execute(told(kind=ExecutionKind.LIQUIDATION))
    assert isinstance(event, ExecutionBooked)
    assert (event.kind, event.base_currency, event.subject) == ("LIQUIDATION", "BTC", "~x-1")
    position = life.book.positions["BTC-USDT"]
    assert (position.quantity, position.cost) == amounts(-4, -400)
    assert life.execute(told(kind=ExecutionKind.LIQUIDATION)) == ()
    (conflict,) = life.execute(told(last_qty=Decimal(5)))
    assert isinstance(conflict, FillConflictDetected)
    assert life.book.positions["BTC-USDT"].quantity == -4


def test_it_is_corrected_and_busted_like_a_fill(life: Life) -> None:
    life.execute(told())
    (corrected,) = life.execute(correct("x-2", "3"))
    assert isinstance(corrected, ExecutionCorrected)
    assert (corrected.previous_qty, corrected.last_qty, corrected.last_px) == amounts(4, 3, 100)
    assert life.book.positions["BTC-USDT"].quantity == -3
    assert life.execute(correct("x-2", "3")) == ()
    (busted,) = life.execute(bust())
    assert isinstance(busted, ExecutionBusted)
    assert busted.last_qty == 3
    assert life.book.positions["BTC-USDT"].quantity == 0
    assert life.execute(bust()) == ()
    assert life.execute(correct("x-3", "9")) == ()


def test_a_bust_before_it_waits_for_it(life: Life) -> None:
    (waiting,) = life.execute(bust())
    assert isinstance(waiting, UnmatchedExecutionRecorded)
    assert life.execute(bust()) == ()
    booked, busted = life.execute(told())
    assert (type(booked), type(busted)) == (ExecutionBooked, ExecutionBusted)
    assert life.book.positions["BTC-USDT"].quantity == 0


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (told(symbol=None), "symbol"),
        (told(side=None), "side"),
        (told(exec_id=None), "exec_id"),
        (told("NEW"), "order_id"),
        (told(order_id="o-1", kind=ExecutionKind.LIQUIDATION), "kind"),
    ],
)
def test_what_it_must_say(life: Life, command: RecordExecution, field: str) -> None:
    with pytest.raises(Refusal) as refused:
        life.execute(command)
    assert refused.value.details == {"field": field}


def test_a_price_of_zero_or_below_and_a_fee_without_a_quantity_are_facts(life: Life) -> None:
    life.execute(told(last_px=Decimal(-37)))
    assert life.book.positions["BTC-USDT"].cost == 148
    life.execute(told(exec_id="x-2", last_px=Decimal(0)))
    assert life.book.positions["BTC-USDT"].cost == 148
    life.execute(told(exec_id="x-3", last_qty=Decimal(0), last_px=Decimal(0), fee=Decimal(3), fee_currency="USDT"))
    position = life.book.positions["BTC-USDT"]
    assert (position.quantity, dict(position.fees)) == (Decimal(-8), {"USDT": Decimal(3)})


def test_the_money_is_what_the_broker_rounded_it_to(life: Life) -> None:
    life.execute(told(side=Side.BUY, last_qty=Decimal(3), last_px=Decimal("33.333"), gross_amount=Decimal(100)))
    position = life.book.positions["BTC-USDT"]
    assert (position.quantity, position.cost) == amounts(3, 100)
