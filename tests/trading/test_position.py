"""Given these executions, the position is this."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from foldbook.eventstore.states.codec import StateCodec
from foldbook.trading import position as position_module
from foldbook.trading.events import ExecutionEvent, OrderFilled
from foldbook.trading.position import NOTHING, POSITION_WINDOW, Position, evolve_position
from foldbook.trading.values import Side
from tests.trading.executions import NOON, busted, corrected, executions, filled

TODAY = NOON.date()
TOMORROW = TODAY + timedelta(days=1)

BASE_FEE: dict[str, Any] = {"fee": "0.001", "fee_currency": "BTC"}
QUOTE_FEE: dict[str, Any] = {"fee": "2.5", "fee_currency": "USDT"}


def position_of(*events: ExecutionEvent) -> Position:
    position: Position | None = None
    for event in events:
        position = evolve_position(position, event)
    assert position is not None
    return position


def bought(qty: str, px: str, exec_id: str, **fields: Any) -> OrderFilled:
    return filled(qty, px, exec_id, **fields)


def sold(qty: str, px: str, exec_id: str, **fields: Any) -> OrderFilled:
    return filled(f"-{qty}", px, exec_id, **fields)


@pytest.mark.parametrize(
    ("events", "quantity", "cost", "realized_pnl", "cycle"),
    [
        pytest.param([bought("1", "100", "1")], "1", "100", "0", 1, id="open long"),
        pytest.param([sold("1", "100", "1")], "-1", "-100", "0", 1, id="open short"),
        pytest.param([bought("1", "100", "1"), bought("3", "104", "2")], "4", "412", "0", 1, id="increase"),
        pytest.param([sold("1", "100", "1"), sold("3", "104", "2")], "-4", "-412", "0", 1, id="increase a short"),
        pytest.param([bought("4", "103", "1"), sold("1", "110", "2")], "3", "309", "7", 1, id="reduce"),
        pytest.param([sold("4", "103", "1"), bought("1", "110", "2")], "-3", "-309", "-7", 1, id="reduce a short"),
        pytest.param(
            [bought("1", "100", "1"), bought("2", "101", "2"), sold("1", "100", "3")],
            "2",
            "201.333333333333333333333333333333333334",
            "-0.666666666666666666666666666666666666",
            1,
            id="what is released is cut, what is cut stays",
        ),
        pytest.param([bought("2", "100", "1"), sold("2", "90", "2")], "0", "0", "-20", 1, id="flat"),
        pytest.param(
            [bought("2", "100", "1"), sold("2", "90", "2"), bought("1", "80", "3")], "1", "80", "-20", 2, id="again"
        ),
        pytest.param([bought("2", "100", "1"), sold("5", "110", "2")], "-3", "-330", "20", 2, id="flip"),
        pytest.param([sold("2", "100", "1"), bought("5", "110", "2")], "3", "330", "-20", 2, id="flip a short"),
        pytest.param([bought("1", "100", "1", **BASE_FEE)], "0.999", "99.9", "0", 1, id="a base fee of a purchase"),
        pytest.param([sold("1", "100", "1", **BASE_FEE)], "-1.001", "-100.1", "0", 1, id="a base fee of a sale"),
        pytest.param([bought("1", "100", "1", **QUOTE_FEE)], "1", "100", "0", 1, id="any other fee changes nothing"),
        pytest.param([bought("0.001", "100", "1", **BASE_FEE)], "0", "0", "0", 0, id="a fee that takes all"),
        pytest.param(
            [bought("1", "100", "1", base_currency=None, **BASE_FEE)], "1", "100", "0", 1, id="no base currency known"
        ),
        pytest.param(
            [bought("2", "5000", "1", multiplier="50"), sold("1", "5001", "2", multiplier="50")],
            "1",
            "250000",
            "50",
            1,
            id="a multiplier",
        ),
    ],
)
def test_fills(events: list[ExecutionEvent], quantity: str, cost: str, realized_pnl: str, cycle: int) -> None:
    position = position_of(*events)
    assert position.quantity == Decimal(quantity)
    assert position.cost == Decimal(cost)
    assert position.realized_pnl == Decimal(realized_pnl)
    assert position.cycle == cycle


def test_the_average_price_is_rounded_half_even_and_stated_per_unit_of_quantity() -> None:
    assert position_of(bought("1", "100", "1"), bought("2", "101", "2")).avg_px == Decimal("100.666666666666666667")
    assert position_of(sold("1", "100", "1"), sold("2", "101", "2")).avg_px == Decimal("100.666666666666666667")
    assert position_of(bought("2", "5000", "1", multiplier="50")).avg_px == 5000
    assert position_of(bought("2", "5000", "1"), sold("2", "5000", "2")).avg_px == 0
    tiny = "0.000000000000000001"
    assert position_of(bought("1", "1", "1"), bought("1", f"1{tiny[1:]}", "2")).avg_px == 1
    three = "1.000000000000000003"
    assert position_of(bought("1", "1", "1"), bought("1", three, "2")).avg_px == Decimal("1.000000000000000002")


def test_fees_are_summed_by_currency() -> None:
    position = position_of(
        bought("1", "100", "1", fee="0.001", fee_currency="BTC"),
        bought("1", "100", "2", fee="1.25", fee_currency="USDT"),
        sold("1", "100", "3", fee="-0.25", fee_currency="USDT"),
        sold("1", "100", "4", fee="0.3", fee_currency="BNB"),
    )
    assert dict(position.fees) == {"BTC": Decimal("0.001"), "USDT": Decimal(1), "BNB": Decimal("0.3")}


# -- busts and corrections ---------------------------------------------------------------------------------------

FIRST, SECOND, CLOSING = bought("2", "100", "1"), bought("2", "110", "2"), sold("3", "120", "3")
FLIP = sold("5", "130", "4")


@pytest.mark.parametrize(
    ("given", "bust", "same_as"),
    [
        pytest.param([FIRST, SECOND], busted("2", "110", "2"), [FIRST], id="the last"),
        pytest.param([FIRST, SECOND, CLOSING], busted("2", "100", "1"), [SECOND, CLOSING], id="an older increase"),
        pytest.param([FIRST, SECOND, CLOSING], busted("-3", "120", "3"), [FIRST, SECOND], id="a closing fill"),
        pytest.param([FIRST, FLIP, SECOND], busted("-5", "130", "4"), [FIRST, SECOND], id="a flip"),
        pytest.param([FIRST, FLIP, SECOND], busted("2", "100", "1"), [FLIP, SECOND], id="what a flip flipped"),
    ],
)
def test_a_bust_in_the_window_leaves_the_position_as_if_the_fill_had_never_been(
    given: list[ExecutionEvent], bust: ExecutionEvent, same_as: list[ExecutionEvent]
) -> None:
    assert position_of(*given, bust) == position_of(*same_as)


def test_the_bust_of_the_only_fill_leaves_nothing_but_the_currency_of_its_fee() -> None:
    position = position_of(bought("1", "100", "1", **BASE_FEE), busted("1", "100", "1", **BASE_FEE))
    assert (position.quantity, position.cost, position.realized_pnl, position.cycle) == NOTHING
    assert dict(position.fees) == {"BTC": Decimal(0)}
    assert position.window == ()


def test_a_correction_replaces_the_fill_in_its_place() -> None:
    fill = bought("2", "100", "1", **QUOTE_FEE)
    instead = corrected(fill, "1", "90", fee="0.002", fee_currency="BTC")
    replaced = bought("1", "90", "1", fee="0.002", fee_currency="BTC")
    position = position_of(fill, CLOSING, instead)
    same = position_of(replaced, CLOSING)
    assert (position.quantity, position.cost, position.realized_pnl) == (same.quantity, same.cost, same.realized_pnl)
    assert position.window == same.window
    assert dict(position.fees) == {"USDT": Decimal(0), "BTC": Decimal("0.002")}


def test_the_last_correction_stands_and_can_be_busted() -> None:
    fill = bought("2", "100", "1")
    once = corrected(fill, "1", "90")
    twice = corrected(bought("1", "90", "1"), "3", "95")
    position = position_of(fill, SECOND, once, twice)
    assert position == position_of(bought("3", "95", "1"), SECOND)
    assert evolve_position(position, busted("3", "95", "1")) == position_of(SECOND)


# -- the window --------------------------------------------------------------------------------------------------

MANY = [bought("1", str(100 + n), f"m-{n}") for n in range(POSITION_WINDOW)]


def test_the_window_holds_the_last_128_fills() -> None:
    position = position_of(FIRST, *MANY[1:])
    assert position.holds("o-1", "1")
    assert not position.holds("o-2", "1")
    later = evolve_position(position, SECOND)
    assert not later.holds("o-1", "1")
    assert later.holds("o-1", "m-1")
    assert later.holds("o-1", "2")
    assert len(later.window) == POSITION_WINDOW


def test_what_is_not_in_the_window_cannot_be_taken_out_of_it() -> None:
    with pytest.raises(ValueError, match="not in the position's window"):
        position_of(FIRST, *MANY, busted("2", "100", "1"))


def test_a_reversal_is_booked_now_at_the_original_price() -> None:
    fill = bought("2", "100", "1", **BASE_FEE)
    position = position_of(fill, *MANY)
    reversed_now = evolve_position(position, busted("2", "100", "1", is_reversal=True, **BASE_FEE))
    same = evolve_position(position, sold("1.999", "100", "x"))
    assert (reversed_now.quantity, reversed_now.cost) == (same.quantity, same.cost)
    assert reversed_now.realized_pnl == same.realized_pnl < 0
    assert dict(reversed_now.fees) == {"BTC": Decimal(0)}


def test_a_reversal_takes_a_place_in_the_window_that_nothing_can_be_about() -> None:
    position = position_of(FIRST, *MANY, busted("2", "100", "1", is_reversal=True))
    assert not position.holds("o-1", "1")
    assert not position.holds("o-1", "m-0")
    assert position.holds("o-1", "m-1")


def test_a_correction_beyond_the_window_is_a_reversal_and_a_fill_that_can_be_corrected_again() -> None:
    given = position_of(FIRST, *MANY)
    fixed = evolve_position(given, corrected(FIRST, "1", "90", is_reversal=True))
    same = evolve_position(evolve_position(given, sold("2", "100", "x")), bought("1", "90", "1"))
    assert (fixed.quantity, fixed.cost, fixed.realized_pnl) == (same.quantity, same.cost, same.realized_pnl)
    assert fixed.holds("o-1", "1")
    again = evolve_position(fixed, corrected(bought("1", "90", "1"), "1", "95"))
    same = evolve_position(evolve_position(given, sold("2", "100", "x")), bought("1", "95", "1"))
    assert (again.quantity, again.cost, again.realized_pnl) == (same.quantity, same.cost, same.realized_pnl)


# -- a day's loss ------------------------------------------------------------------------------------------------


def test_a_day_has_what_it_realised_and_its_fees_by_currency() -> None:
    at_midnight = NOON.replace(hour=23, minute=59, second=59)
    position = position_of(
        bought("4", "100", "1", **QUOTE_FEE, transact_time=at_midnight),
        sold("1", "90", "2", fee="0.3", fee_currency="BNB", transact_time=at_midnight),
    )
    assert (position.realized_on(TODAY), position.fees_on(TODAY)) == (
        Decimal(-10),
        {"USDT": Decimal("2.5"), "BNB": Decimal("0.3")},
    )
    assert (position.realized_on(TOMORROW), position.fees_on(TOMORROW)) == (Decimal(0), {})

    later = evolve_position(position, sold("1", "130", "3", transact_time=NOON + timedelta(days=1), **QUOTE_FEE))
    assert (later.realized_on(TOMORROW), later.fees_on(TOMORROW)) == (Decimal(30), {"USDT": Decimal("2.5")})
    assert later.realized_on(TODAY + timedelta(days=2)) == 0


def test_a_bust_counts_on_the_day_of_its_fill() -> None:
    given = [bought("3", "100", "1"), sold("1", "150", "2", **QUOTE_FEE)]
    today = {"transact_time": NOON + timedelta(days=1)}
    bust = busted("-1", "150", "2", **today, **QUOTE_FEE)
    position = position_of(*given, sold("1", "90", "3", **today, **QUOTE_FEE), bust)
    assert position.realized_pnl == -10
    assert (position.realized_on(TOMORROW), position.fees_on(TOMORROW)) == (Decimal(-10), {"USDT": Decimal("2.5")})
    of_today = position_of(*given, sold("1", "90", "3", **today), busted("-1", "90", "3", **today))
    assert of_today.realized_on(TOMORROW) == 0


def test_a_late_report_of_yesterday_counts_today() -> None:
    today = NOON + timedelta(days=1)
    position = position_of(bought("2", "100", "1", transact_time=today), sold("1", "90", "2", transact_time=NOON))
    assert position.realized_on(TOMORROW) == -10


def test_the_day_is_that_of_utc() -> None:
    late = filled("1", "100", transact_time="2026-01-02T23:30:00-05:00")
    assert position_of(late).day == date(2026, 1, 3).toordinal()


# -- whatever happens --------------------------------------------------------------------------------------------


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a history that Hypothesis makes is longer than the window."""
    monkeypatch.setattr(position_module, "POSITION_WINDOW", 5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(executions(length_max=60))
@pytest.mark.usefixtures("short_window")
def test_not_a_digit_of_cash_is_lost(history: list[tuple[str, ExecutionEvent]]) -> None:
    """Cash in: what all fills that stand brought. Cash out: what is held cost, less what was realised."""
    fills: dict[tuple[str, str], dict[tuple[str, str], Decimal]] = {}
    folded: dict[tuple[str, str], Position] = {}
    with localcontext(prec=400):
        for account, event in history:
            key = (account, event.symbol)
            folded[key] = evolve_position(folded.get(key), event)
            signed = event.last_qty if event.side is Side.BUY else -event.last_qty
            if event.fee is not None and event.fee_currency == event.base_currency:
                signed -= event.fee
            cash = -signed * event.last_px * (event.multiplier or 1)
            brought = fills.setdefault(key, {})
            match type(event).__name__:
                case "OrderFilled":
                    brought[event.order_id, event.exec_id] = cash
                case "FillBusted":
                    del brought[event.order_id, event.exec_ref_id]  # type: ignore[attr-defined]
                case "FillCorrected":
                    brought[event.order_id, event.exec_ref_id] = cash  # type: ignore[attr-defined]
            # a reversal brings back the price that was paid, so that it leaves the sum as if the fill had never been
            assert folded[key].realized_pnl - folded[key].cost == sum(brought.values())
            assert bool(folded[key].quantity) == bool(folded[key].cost)


@given(executions())
def test_a_snapshot_tells_all(history: list[tuple[str, ExecutionEvent]]) -> None:
    codec = StateCodec(Position)
    position: Position | None = None
    first_account, first = history[0]
    for account, event in history:
        if (account, event.symbol) == (first_account, first.symbol):
            position = evolve_position(position, event)
    assert position is not None
    assert codec.decode(codec.encode(position)) == position
