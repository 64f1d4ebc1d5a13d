"""Which time decides: what was told, unless it is too far ahead of its receipt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.trading.clock import AHEAD_MAX, counted_at
from foldbook.trading.commands import RecordPrice, SetRiskLimits
from foldbook.trading.events import OrderDenied, OrderFilled, PriceRecorded
from foldbook.trading.values import OrderType, RiskLimits, Side
from tests.builders import ACCOUNT, NOW, amounts, open_account, place, report, trade
from tests.trading.lives import Life

SECOND = timedelta(seconds=1)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATE = datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC)


def limits(**values: Any) -> SetRiskLimits:
    return SetRiskLimits(command_id=uuid7(), received_at=NOW, account=ACCOUNT, limits=RiskLimits(**values))


def price(value: str, told: datetime | None = None, received: datetime = NOW) -> RecordPrice:
    return RecordPrice(
        command_id=uuid7(),
        received_at=received,
        account=ACCOUNT,
        symbol="BTCUSDT",
        price=Decimal(value),
        transact_time=told,
    )


def life_of(*commands: Any) -> Life:
    life = Life()
    for command in (open_account(), *commands):
        life.execute(command)
    return life


@pytest.mark.parametrize(
    ("told", "received", "counted"),
    [
        (None, NOON, NOON),
        (NOON, NOON, None),
        (NOON - timedelta(days=3), NOON, None),
        (NOON + AHEAD_MAX, NOON, None),
        (NOON + AHEAD_MAX + timedelta(microseconds=1), NOON, NOON),
        (LATE + SECOND, LATE, LATE),
        ((LATE + SECOND / 2).astimezone(UTC), LATE, None),
    ],
)
def test_the_time_that_decides(told: datetime | None, received: datetime, counted: datetime | None) -> None:
    assert counted_at(told, received) == counted


def test_a_fill_that_is_dated_ahead_counts_when_it_was_received() -> None:
    """Otherwise one wrong clock would switch the limit of the day off."""
    life = life_of(
        limits(max_daily_loss=Decimal(10)),
        place("o-1", quantity="10"),
        trade("e-1", "10", transact_time=NOW + timedelta(days=3)),
        place("o-2", quantity="5", side=Side.SELL),
        trade("e-2", "5", "50", order_id="o-2"),
    )
    _, denied = life.execute(place("o-3", quantity="1"))
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.limit, denied.observed) == ("daily-loss", "10", "250")


def test_what_was_told_is_kept_as_told() -> None:
    ahead = NOW + timedelta(days=3)
    life = life_of(place(quantity="10"))
    (fill,) = life.execute(trade("e-1", "10", transact_time=ahead))
    assert isinstance(fill, OrderFilled)
    assert (fill.transact_time, fill.counted_at, fill.occurred_at) == (ahead, NOW, ahead)
    (fill,) = life.execute(trade("e-2", "1", transact_time=NOW - SECOND))
    assert isinstance(fill, OrderFilled)
    assert (fill.transact_time, fill.counted_at) == (NOW - SECOND, None)
    (fill,) = life.execute(trade("e-3", "1"))
    assert isinstance(fill, OrderFilled)
    assert (fill.transact_time, fill.counted_at, fill.occurred_at) == (None, NOW, NOW)


def test_a_price_that_is_dated_ahead_does_not_freeze_the_last_price() -> None:
    life = life_of(limits(price_collar=Decimal("0.05")), price("100", NOW + timedelta(hours=9)))
    (recorded,) = life.execute(price("50", received=NOW + SECOND))
    assert isinstance(recorded, PriceRecorded)
    sell = place("o-1", side=Side.SELL, limit_price=Decimal(50))
    buy = place("o-2", side=Side.BUY, limit_price=Decimal(100))
    assert len(life.execute(sell)) == 1
    _, denied = life.execute(buy)
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.limit, denied.observed) == ("price-collar", "52.5", "100")


def test_a_price_that_is_dated_ahead_is_stale_when_its_receipt_is_old() -> None:
    life = life_of(limits(price_age_max_s=60), price("100", NOW + timedelta(days=1)))
    order = place(order_type=OrderType.MARKET, limit_price=None, received_at=NOW + timedelta(seconds=61))
    _, denied = life.execute(order)
    assert isinstance(denied, OrderDenied)
    assert (denied.reason, denied.observed) == ("stale-price", "61")


def test_of_two_prices_the_later_by_the_same_clock_stands() -> None:
    life = life_of(price("100", NOW - SECOND))
    assert life.execute(price("99", NOW - 2 * SECOND)) == ()
    assert life.execute(price("100", NOW - SECOND)) == ()
    assert len(life.execute(price("98", NOW - SECOND))) == 1
    # Two clocks cannot be compared: what was received later stands.
    assert len(life.execute(price("97"))) == 1
    assert len(life.execute(price("96", NOW - 3 * SECOND))) == 1
    assert life.book.risk.prices["BTCUSDT"].price == 96


@pytest.mark.parametrize("told", [NOW + timedelta(days=1), None])
def test_terms_without_a_time_that_counts_are_not_compared_with_the_time_of_a_fill(told: datetime | None) -> None:
    life = life_of(
        place(quantity="10"),
        report("NEW"),
        report("REPLACED", quantity=Decimal(7), transact_time=told),
    )
    (fill,) = life.execute(trade("e-1", "20", transact_time=NOW - SECOND))
    assert isinstance(fill, OrderFilled)
    assert (fill.quantity, fill.overfill_qty) == amounts(7, 13)


def test_what_traded_before_a_replace_by_the_same_clock_was_not_too_much() -> None:
    life = life_of(
        place(quantity="10"),
        report("NEW"),
        report("REPLACED", quantity=Decimal(7), transact_time=NOW - SECOND),
    )
    *_, fill = life.execute(trade("e-1", "20", transact_time=NOW - 2 * SECOND))
    assert isinstance(fill, OrderFilled)
    assert (fill.quantity, fill.overfill_qty) == amounts(20, 0)
