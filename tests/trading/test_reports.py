"""Execution reports in any order, twice, too late, about unknown orders: given / when / then, and as a property."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from foldbook.trading.commands import BookCommand, DefineInstrument, RecordExecution
from foldbook.trading.events import FillBusted, FillConflictDetected, UnmatchedExecutionRecorded
from foldbook.trading.facts import Execution
from foldbook.trading.order import Order
from foldbook.trading.order_events import evolve_order
from foldbook.trading.values import ExecType, OrdStatus, PendingRequest, Side, average
from tests.builders import ACCOUNT, NOW, cancel, open_account, place, replace_order, report, trade
from tests.trading.lives import Life

BEGUN = (open_account(), place(quantity="10"))


def bust(exec_id: str, exec_ref_id: str, **fields: Any) -> RecordExecution:
    return report("TRADE_CANCEL", exec_id=exec_id, exec_ref_id=exec_ref_id, **fields)


def correct(exec_id: str, exec_ref_id: str, qty: str, px: str, **fields: Any) -> RecordExecution:
    fields |= {"exec_id": exec_id, "exec_ref_id": exec_ref_id}
    return report("TRADE_CORRECT", last_qty=Decimal(qty), last_px=Decimal(px), **fields)


def after(*commands: BookCommand) -> Life:
    life = Life()
    for command in (*BEGUN, *commands):
        life.execute(command)
    return life


def order_of(life: Life) -> Order:
    order: Order | None = None
    for event in life.about("o-1"):
        order = evolve_order(order, event)
    assert order is not None
    return order


def figures(life: Life) -> tuple[str, str, str, str, str]:
    """status, OrderQty, CumQty, LeavesQty, AvgPx"""
    order = order_of(life)
    avg_px = f"{average(order.cum_cost, order.cum_qty):f}" if order.cum_qty else "-"
    return order.status.value, str(order.quantity), str(order.cum_qty), str(order.leaves_qty), avg_px


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        pytest.param(
            (trade("e-1", "10"), bust("e-2", "e-1")),
            ("NEW", "10", "0", "10", "-"),
            id="a bust takes a fill back, FILLED or not",
        ),
        pytest.param(
            (trade("e-1", "10"), report("TRADE_CANCEL", exec_ref_id="e-1")),
            ("NEW", "10", "0", "10", "-"),
            id="a bust needs no id of its own",
        ),
        pytest.param(
            (report("TRADE_CANCEL", exec_ref_id="e-1"), trade("e-1", "10")),
            ("NEW", "10", "0", "10", "-"),
            id="even before its fill",
        ),
        pytest.param(
            (trade("e-1", "4"), trade("e-2", "6", "110"), bust("e-3", "e-2")),
            ("PARTIALLY_FILLED", "10", "4", "6", "100"),
            id="of two fills the one that is named",
        ),
        pytest.param(
            (trade("e-1", "10"), correct("e-2", "e-1", "8", "101")),
            ("PARTIALLY_FILLED", "10", "8", "2", "101"),
            id="a correction",
        ),
        pytest.param(
            (trade("e-1", "10"), correct("e-2", "e-1", "8", "101"), correct("e-3", "e-2", "9", "102")),
            ("PARTIALLY_FILLED", "10", "9", "1", "102"),
            id="a correction of the correction",
        ),
        pytest.param(
            (trade("e-1", "10"), correct("e-2", "e-1", "8", "101"), correct("e-3", "e-1", "9", "102")),
            ("PARTIALLY_FILLED", "10", "9", "1", "102"),
            id="another correction of the original",
        ),
        pytest.param(
            (trade("e-1", "10"), correct("e-2", "e-1", "8", "101"), bust("e-3", "e-2")),
            ("NEW", "10", "0", "10", "-"),
            id="a bust of the correction",
        ),
        pytest.param(
            (bust("e-2", "e-1"), trade("e-1", "4")),
            ("NEW", "10", "0", "10", "-"),
            id="a bust before its fill",
        ),
        pytest.param(
            (correct("e-3", "e-2", "3", "99"), correct("e-2", "e-1", "2", "98"), trade("e-1", "4")),
            ("PARTIALLY_FILLED", "10", "3", "7", "99"),
            id="a chain of corrections from its end",
        ),
        pytest.param(
            (trade("e-1", "4"), report("CANCELED"), trade("e-2", "6")),
            ("FILLED", "10", "10", "0", "100"),
            id="a fill after the cancel counts, and FILLED takes precedence",
        ),
        pytest.param(
            (trade("e-1", "4"), report("CANCELED"), trade("e-2", "5")),
            ("CANCELED", "10", "9", "0", "100"),
            id="a fill after the cancel counts, and the order stays canceled",
        ),
        pytest.param(
            (report("REJECTED"), report("NEW")),
            ("REJECTED", "10", "0", "0", "-"),
            id="a late NEW revives nothing",
        ),
        pytest.param(
            (cancel(), trade("e-1", "10")),
            ("PENDING_CANCEL", "10", "10", "0", "100"),
            id="a full fill leaves the request pending",
        ),
        pytest.param(
            (cancel(), trade("e-1", "10"), report("CANCEL_REJECTED")),
            ("FILLED", "10", "10", "0", "100"),
            id="until it is answered",
        ),
        pytest.param(
            (trade("e-1", "7"), replace_order(quantity=Decimal(5)), report("REPLACED")),
            ("FILLED", "7", "7", "0", "100"),
            id="a replace below what traded fills the order",
        ),
        pytest.param(
            (replace_order(quantity=Decimal(12)),),
            ("PENDING_REPLACE", "10", "0", "10", "-"),
            id="terms do not change when they are asked for",
        ),
        pytest.param(
            (trade("e-1", "10"), replace_order(quantity=Decimal(12)), report("REPLACED")),
            ("PARTIALLY_FILLED", "12", "10", "2", "100"),
            id="a filled order may be asked to take more",
        ),
        pytest.param(
            (trade("e-1", "12"),),
            ("FILLED", "10", "12", "0", "100"),
            id="an overfill is a fact",
        ),
        pytest.param(
            (report("DONE_FOR_DAY"), report("RESTATED", quantity=Decimal(9))),
            ("CREATED", "9", "0", "9", "-"),
            id="a new day on other terms",
        ),
        pytest.param((report("SUSPENDED"),), ("SUSPENDED", "10", "0", "10", "-"), id="suspended"),
        pytest.param((report("PENDING_NEW"),), ("PENDING_NEW", "10", "0", "10", "-"), id="on its way"),
        pytest.param(
            (report("EXPIRED"), report("CANCELED")),
            ("CANCELED", "10", "0", "0", "-"),
            id="of two ends one stands, whichever came first",
        ),
    ],
)
def test_then_the_order_is(commands: tuple[BookCommand, ...], expected: tuple[str, ...]) -> None:
    assert figures(after(*commands)) == expected


@pytest.mark.parametrize(
    "again",
    [
        trade("e-1", "4"),
        correct("e-2", "e-1", "3", "99"),
        bust("e-3", "e-1"),
        bust("e-9", "e-8"),
        report("NEW"),
        report("PENDING_CANCEL"),
        report("CANCELED"),
    ],
    ids=lambda command: command.exec_type,
)
def test_the_same_report_again_leads_to_no_event(again: RecordExecution) -> None:
    life = after(trade("e-1", "4")) if again.exec_id != "e-1" else after()
    assert life.execute(again) or again.exec_type is ExecType.NEW
    assert life.execute(again) == ()


@pytest.mark.parametrize(
    "other", [trade("e-1", "5"), trade("e-1", "4", "101"), bust("e-1", "e-2"), correct("e-1", "e-2", "1", "1")]
)
def test_an_exec_id_with_other_content_is_never_silent(other: RecordExecution) -> None:
    life = after(trade("e-1", "4"))
    before = figures(life)
    (event,) = life.execute(other)
    assert isinstance(event, FillConflictDetected)
    assert (event.exec_id, event.exec_type, event.last_qty) == ("e-1", other.exec_type, other.last_qty)
    assert figures(life) == before


def test_a_report_about_an_unknown_order_is_recorded() -> None:
    life = after()
    told = trade("e-1", "4", order_id="o-7", broker_order_id="b-7")
    (event,) = life.execute(told)
    assert isinstance(event, UnmatchedExecutionRecorded)
    assert (event.order_id, event.exec_id, event.last_qty, event.broker_order_id) == ("o-7", "e-1", Decimal(4), "b-7")
    assert not life.book.positions


def test_a_bust_of_a_fill_of_a_closed_order_brings_it_back_into_the_book() -> None:
    life = after(trade("e-1", "10"))
    assert "o-1" not in life.book.orders
    assert [type(e).__name__ for e in life.execute(bust("e-2", "e-1"))] == ["FillBusted"]
    assert life.book.orders["o-1"].leaves_qty == 10
    assert life.book.position_qty("BTCUSDT") == 0
    # The book has only an outline of it: the next commands recall it.
    assert life.execute(trade("e-1", "10")) == ()
    life.execute(trade("e-3", "3"))
    assert life.book.orders["o-1"].leaves_qty == 7
    life.execute(cancel())
    life.execute(report("CANCELED"))
    assert "o-1" not in life.book.orders
    assert figures(life) == ("CANCELED", "10", "3", "0", "100")
    assert not life.book.risk.exposures


def test_a_bust_takes_back_what_the_fill_was_booked_with() -> None:
    """Whatever the symbol is by then."""
    life = after(trade("e-1", "10"))
    life.execute(place("o-2", quantity="10", side=Side.SELL))
    life.execute(trade("e-1", "10", order_id="o-2"))
    life.execute(
        DefineInstrument(
            command_id=uuid7(),
            received_at=NOW,
            account=ACCOUNT,
            symbol="BTCUSDT",
            multiplier=Decimal(5),
            quote_currency="USDT",
        )
    )
    (event,) = life.execute(bust("e-2", "e-1"))
    assert isinstance(event, FillBusted)
    # The currency was unknown then: what was booked in the unknown unit has been booked over.
    assert (event.multiplier, event.quote_currency) == (None, "USDT")
    position = life.book.positions["BTCUSDT"]
    assert (position.quantity, position.cost) == (Decimal(-10), Decimal(-1000))


# -- in any order ------------------------------------------------------------------------------------------------

FACTS: list[tuple[str, dict[str, Any]]] = [
    ("PENDING_NEW", {}),
    ("NEW", {}),
    ("TRADE", {"exec_id": "e-1", "last_qty": Decimal(4), "last_px": Decimal(100)}),
    ("TRADE", {"exec_id": "e-2", "last_qty": Decimal(3), "last_px": Decimal(101)}),
    ("TRADE", {"exec_id": "e-3", "last_qty": Decimal(3), "last_px": Decimal(103)}),
    ("TRADE_CORRECT", {"exec_id": "e-4", "exec_ref_id": "e-1", "last_qty": Decimal(2), "last_px": Decimal(99)}),
    ("TRADE_CORRECT", {"exec_id": "e-5", "exec_ref_id": "e-4", "last_qty": Decimal(5), "last_px": Decimal(98)}),
    ("TRADE_CANCEL", {"exec_id": "e-6", "exec_ref_id": "e-2"}),
    ("PENDING_CANCEL", {}),
    ("CANCEL_REJECTED", {}),
    ("DONE_FOR_DAY", {}),
    ("SUSPENDED", {}),
    ("RESTATED", {"quantity": Decimal(20)}),
    ("REPLACED", {"quantity": Decimal(30), "limit_price": Decimal(97)}),
    ("EXPIRED", {}),
    ("CANCELED", {}),
]


@given(
    chosen=st.lists(st.sampled_from(range(len(FACTS))), unique=True, max_size=12),
    again=st.lists(st.integers(0, 11), max_size=4),
    data=st.data(),
)
def test_reports_in_any_order_and_twice_end_in_the_same_state(
    chosen: list[int], again: list[int], data: st.DataObject
) -> None:
    """Each says when it happened: that, and not when it arrived, is what counts."""
    told = [
        report(FACTS[n][0], **FACTS[n][1], transact_time=NOW - timedelta(seconds=60 - second))
        for second, n in enumerate(sorted(chosen))
    ]
    in_order = Life().try_all((*BEGUN, *told))
    shuffled = data.draw(st.permutations([*told, *(told[n] for n in again if n < len(told))]))
    out_of_order = Life().try_all((*BEGUN, *shuffled))
    assert essence(out_of_order) == essence(in_order)


def essence(life: Life) -> dict[str, Any]:
    order = order_of(life)
    return {
        "figures": figures(life),
        "working_state": order.working_state,
        "pending_request": order.pending_request,
        "limit_price": order.limit_price,
        "fills": {e: _fill(order, e) for e, x in order.executions.items() if x.exec_type is ExecType.TRADE},
        "held": sorted(order.held),
        "is_open": "o-1" in life.book.orders,
        "position": life.book.position_qty("BTCUSDT"),
        "exposure": life.book.risk.exposures.get("BTCUSDT"),
    }


def _fill(order: Order, exec_id: str) -> Execution | None:
    """As it stands, whichever execution it was."""
    standing = order.standing(exec_id)
    return None if standing is None else msgspec.structs.replace(standing, number=0)


def test_what_is_busted_had_not_traded_before_the_replace() -> None:
    """Whether the replace was told before the bust or after it."""
    ago = [NOW - timedelta(seconds=seconds) for seconds in (4, 3, 2, 1)]
    told = (
        trade("e-1", "4", transact_time=ago[0]),
        trade("e-2", "3", transact_time=ago[1]),
        report("REPLACED", quantity=Decimal(5), transact_time=ago[2]),
        bust("e-3", "e-1", transact_time=ago[3]),
    )
    for shuffled in permutations(told):
        life = after(*shuffled)
        assert figures(life) == ("PARTIALLY_FILLED", "5", "3", "2", "100")
        assert all(getattr(event, "overfill_qty", 0) == 0 for event in life.events)


def test_without_times_what_was_told_before_the_replace_traded_before_it() -> None:
    life = after(trade("e-1", "4"), trade("e-2", "3"), report("REPLACED", quantity=Decimal(5)), trade("e-3", "1"))
    assert figures(life) == ("FILLED", "7", "8", "0", "100")
    *_, last = life.execute(bust("e-4", "e-1"))
    assert figures(life) == ("PARTIALLY_FILLED", "5", "4", "1", "100")
    assert type(last).__name__ == "OrderRestated"


def test_a_correction_of_what_traded_before_the_replace_is_not_too_much() -> None:
    life = after(trade("e-1", "4"), report("REPLACED", quantity=Decimal(5)))
    events = life.execute(correct("e-2", "e-1", "6", "100"))
    assert [type(event).__name__ for event in events] == ["OrderRestated", "FillCorrected"]
    assert figures(life) == ("FILLED", "6", "6", "0", "100")


def test_a_suspension_that_was_told_of_later_outlasts_the_next_day() -> None:
    ago = [NOW - timedelta(seconds=seconds) for seconds in (3, 2, 1)]
    told = (
        report("DONE_FOR_DAY", transact_time=ago[0]),
        report("RESTATED", transact_time=ago[1]),
        report("SUSPENDED", transact_time=ago[2]),
    )
    assert {figures(after(*shuffled))[0] for shuffled in permutations(told)} == {"SUSPENDED"}


def test_a_cancel_and_a_replace_at_once() -> None:
    life = after(report("NEW"), replace_order(quantity=Decimal(12)), cancel())
    assert order_of(life).status is OrdStatus.PENDING_CANCEL
    life.execute(report("CANCEL_REJECTED"))
    assert order_of(life).pending_request is PendingRequest.REPLACE
    life.execute(report("REPLACED"))
    assert figures(life) == ("NEW", "12", "0", "12", "-")
