"""Given these limits and what happened before, when this order or replace, then it passes or it is denied."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import immutables
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldbook.eventstore.states.codec import StateCodec
from foldbook.trading import risk_checks
from foldbook.trading.commands import PlaceOrder
from foldbook.trading.events import OrderCreated
from foldbook.trading.instrument import UNKNOWN, Instrument, instrument_of
from foldbook.trading.requests import created_by
from foldbook.trading.risk import (
    ACCOUNT_SCOPE,
    RECENT_ORDERS_MAX,
    Mismatch,
    Risk,
    content_of,
    with_exposure,
    with_limits,
    with_message,
    with_mismatch,
    with_order,
    with_order_denied,
    with_price,
    with_state,
)
from foldbook.trading.risk_checks import Losses, check_order, check_replace
from foldbook.trading.risk_denial import Denial
from foldbook.trading.risk_limits import check_limits
from foldbook.trading.values import CollarSide, OrderType, Rate, RiskLimits, Side, TimeInForce, TradingState
from tests.builders import NOW, created, place

SYMBOL = "BTCUSDT"
SCOPES = (None, SYMBOL)
OTHER = "ETHUSDT"
ZERO = Decimal(0)

Step = Callable[[Risk], Risk]


def at(seconds: str | float) -> Any:
    """So many seconds after ``NOW``."""
    return NOW + timedelta(seconds=float(seconds))


def limits(symbol: str | None = None, **values: Any) -> Step:
    return lambda risk: with_limits(risk, symbol, RiskLimits(**values))


def price(value: str, seconds: float = 0, symbol: str = SYMBOL) -> Step:
    return lambda risk: with_price(risk, symbol, Decimal(value), at(seconds), at(seconds))


def state(value: str) -> Step:
    return lambda risk: with_state(risk, TradingState(value))


def is_open(side: Side, leaves: str, symbol: str = SYMBOL) -> Step:
    return lambda risk: with_exposure(risk, symbol, side, ZERO, Decimal(leaves), 1)


def sent(seconds: float = 0, **fields: Any) -> Step:
    return lambda risk: with_order(risk, created(transact_time=at(seconds), **fields))


def canceled(seconds: float = 0, symbol: str = SYMBOL) -> Step:
    return lambda risk: with_message(risk, symbol, at(seconds))


def risk_of(*steps: Step) -> Risk:
    risk = Risk()
    for step in steps:
        risk = step(risk)
    return risk


def when(
    risk: Risk,
    command: PlaceOrder,
    instrument: Instrument = UNKNOWN,
    *,
    position: str = "0",
    realized: str = "0",
    symbol_realized: str = "0",
    unrealized: str = "0",
    open_orders: int = 0,
    seconds: float = 0,
) -> Denial | None:
    return check_order(
        risk,
        created_by(command),
        instrument,
        position_qty=Decimal(position),
        losses={
            ACCOUNT_SCOPE: Losses(lost(realized), lost(unrealized)),
            command.symbol: Losses(lost(symbol_realized), lost(unrealized)),
        },
        open_orders=open_orders,
        now=at(seconds),
    )


def lost(realized: str) -> Decimal:
    return Decimal(realized).copy_negate()


def order(side: str = "BUY", quantity: str = "2", limit: str | None = "100", stop: str | None = None) -> PlaceOrder:
    order_type = {
        (True, False): OrderType.LIMIT,
        (True, True): OrderType.STOP_LIMIT,
        (False, True): OrderType.STOP,
        (False, False): OrderType.MARKET,
    }[limit is not None, stop is not None]
    return place(
        side=Side(side),
        quantity=quantity,
        order_type=order_type,
        limit_price=None if limit is None else Decimal(limit),
        stop_price=None if stop is None else Decimal(stop),
    )


def market(side: str = "BUY", quantity: str = "2") -> PlaceOrder:
    return order(side, quantity, None)


# -- orders ------------------------------------------------------------------------------------------------------

TINY = "10000000000000000000.00000000000000000{}"
"""More digits than Python's arithmetic keeps unless it is told to."""


def test_limits_are_exact_to_the_last_digit_of_the_largest_amounts() -> None:
    smallest = "0.000000000000000001"
    short = risk_of(limits(max_position=Decimal(TINY.format(1))))
    denied = when(short, order("SELL", smallest), position="-" + TINY.format(1))
    assert denied == Denial("max-position", TINY.format(1), TINY.format(2))

    losing = risk_of(limits(max_daily_loss=Decimal(TINY.format(1))))
    assert when(losing, order(), realized="-" + TINY.format(1)) is None
    denied = when(losing, order(), realized="-" + TINY.format(2))
    assert denied == Denial("daily-loss", TINY.format(1), TINY.format(2))

    reducing = risk_of(state("REDUCING"))
    assert when(reducing, order("BUY", TINY.format(1)), position="-" + TINY.format(1)) is None
    denied = when(reducing, order("BUY", TINY.format(2)), position="-" + TINY.format(1))
    assert denied == Denial("reducing", TINY.format(1), TINY.format(2))


def test_without_limits_everything_passes() -> None:
    assert when(Risk(), market(quantity="1000000"), position="1000000", realized="-1000000", open_orders=10**6) is None


@pytest.mark.parametrize(
    ("steps", "command", "situation", "denial"),
    [
        ((state("ACTIVE"),), order(), {}, None),
        ((state("HALTED"),), order(), {}, ("halted", "ACTIVE", "HALTED")),
        ((state("HALTED"), state("ACTIVE")), order(), {}, None),
        ((state("REDUCING"),), order("SELL", "2"), {"position": "2"}, None),
        ((state("REDUCING"),), order("SELL", "2.1"), {"position": "2"}, ("reducing", "2", "2.1")),
        ((state("REDUCING"),), order("BUY", "2"), {"position": "-2"}, None),
        ((state("REDUCING"),), order("BUY", "2.1"), {"position": "-2"}, ("reducing", "2", "2.1")),
        ((state("REDUCING"),), order("BUY", "0.1"), {"position": "2"}, ("reducing", "0", "0.1")),
        ((state("REDUCING"),), order("SELL", "0.1"), {"position": "0"}, ("reducing", "0", "0.1")),
        ((state("REDUCING"), is_open(Side.SELL, "1.5")), order("SELL", "0.5"), {"position": "2"}, None),
        (
            (state("REDUCING"), is_open(Side.SELL, "1.5")),
            order("SELL", "0.6"),
            {"position": "2"},
            ("reducing", "0.5", "0.6"),
        ),
        ((state("REDUCING"), is_open(Side.BUY, "9")), order("SELL", "2"), {"position": "2"}, None),
        ((state("REDUCING"), is_open(Side.SELL, "9", OTHER)), order("SELL", "2"), {"position": "2"}, None),
    ],
)
def test_the_trading_state(
    steps: tuple[Step, ...], command: PlaceOrder, situation: dict[str, Any], denial: tuple[str, str, str] | None
) -> None:
    assert when(risk_of(*steps), command, **situation) == (denial and Denial(*denial))


@pytest.mark.parametrize(
    ("command", "denial"),
    [
        (order(quantity="2.25", limit="100.5"), None),
        (order(limit="100.25"), ("tick-size", "0.5", "100.25")),
        (order(limit=None, stop="100.25"), ("tick-size", "0.5", "100.25")),
        (order(limit="100", stop="99.7"), ("tick-size", "0.5", "99.7")),
        (order(quantity="2.3"), ("lot-size", "0.25", "2.3")),
        (order(quantity="0.1"), ("lot-size", "0.25", "0.1")),
        (market(quantity="99999999999999999999.75"), None),
    ],
)
def test_tick_and_lot(command: PlaceOrder, denial: tuple[str, str, str] | None) -> None:
    instrument = Instrument(tick_size=Decimal("0.5"), lot_size=Decimal("0.25"))
    assert when(Risk(), command, instrument) == (denial and Denial(*denial))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("values", "steps", "command", "situation", "denial"),
    [
        ({"reduce_only": True}, (), order("SELL"), {"position": "2"}, None),
        ({"reduce_only": True}, (), order("SELL"), {"position": "1.9"}, ("reduce-only", "1.9", "2")),
        ({"reduce_only": True}, (), order("BUY"), {"position": "-1.9"}, ("reduce-only", "1.9", "2")),
        ({"reduce_only": True}, (is_open(Side.SELL, "1"),), order("SELL"), {"position": "3"}, None),
        (
            {"reduce_only": True},
            (is_open(Side.SELL, "1.1"),),
            order("SELL"),
            {"position": "3"},
            ("reduce-only", "1.9", "2"),
        ),
        ({"max_quantity": Decimal(2)}, (), order(quantity="2"), {}, None),
        ({"max_quantity": Decimal(2)}, (), order(quantity="2.01"), {}, ("max-quantity", "2", "2.01")),
        ({"max_notional": Decimal(200)}, (), order(quantity="2", limit="100"), {}, None),
        (
            {"max_notional": Decimal(200)},
            (),
            order(quantity="2", limit="100.01"),
            {},
            ("max-notional", "200", "200.02"),
        ),
        ({"max_notional": Decimal(200)}, (price("500"),), order(limit="100"), {}, None),
        ({"max_notional": Decimal(200)}, (), order(limit=None, stop="100"), {}, None),
        (
            {"max_notional": Decimal(200)},
            (price("1"),),
            order(limit=None, stop="101"),
            {},
            ("max-notional", "200", "202"),
        ),
        ({"max_notional": Decimal(200)}, (), order(limit="100", stop="500"), {}, None),
        ({"max_notional": Decimal(200)}, (price("100"),), market(), {}, None),
        ({"max_notional": Decimal(200)}, (price("101"),), market(), {}, ("max-notional", "200", "202")),
        ({"max_notional": Decimal(200)}, (price("1", symbol=OTHER),), market(), {}, ("no-price", "200", "none")),
        ({"max_notional": Decimal(200)}, (), order(), {"instrument": Instrument(multiplier=Decimal(1))}, None),
        (
            {"max_notional": Decimal(200)},
            (),
            order(),
            {"instrument": Instrument(multiplier=Decimal("1.5"))},
            ("max-notional", "200", "300"),
        ),
        ({"price_collar": Decimal("0.05")}, (price("100"),), order(limit="105"), {}, None),
        ({"price_collar": Decimal("0.05")}, (price("100"),), order(limit="95"), {}, None),
        (
            {"price_collar": Decimal("0.05")},
            (price("100"),),
            order(limit="105.01"),
            {},
            ("price-collar", "105", "105.01"),
        ),
        (
            {"price_collar": Decimal("0.05")},
            (price("100"),),
            order("SELL", limit="94.99"),
            {},
            ("price-collar", "95", "94.99"),
        ),
        ({"price_collar": Decimal("0.05")}, (price("100"),), order(limit="94.99"), {}, None),
        ({"price_collar": Decimal("0.05")}, (price("100"),), order("SELL", limit="105.01"), {}, None),
        (
            {"price_collar": Decimal("0.05"), "price_collar_side": CollarSide.BOTH},
            (price("100"),),
            order(limit="94.99"),
            {},
            ("price-collar", "95", "94.99"),
        ),
        (
            {"price_collar": Decimal("0.05")},
            (price("-100"),),
            order("SELL", limit="-106"),
            {},
            ("price-collar", "-105", "-106"),
        ),
        (
            {"price_collar": Decimal("0.05")},
            (price("-100"),),
            order(limit="-94"),
            {},
            ("price-collar", "-95", "-94"),
        ),
        ({"max_unrealized_loss": Decimal(5)}, (), order(), {"unrealized": "-5"}, None),
        ({"max_unrealized_loss": Decimal(5)}, (), order(), {"unrealized": "-6"}, ("unrealized-loss", "5", "6")),
        ({"max_unrealized_loss": Decimal(5)}, (), order("SELL"), {"unrealized": "-6", "position": "2"}, None),
        (
            {"price_collar": Decimal("0.05")},
            (price("100"),),
            order(limit=None, stop="106"),
            {},
            ("price-collar", "105", "106"),
        ),
        (
            {"price_collar": Decimal("0.05")},
            (price("100"),),
            order("SELL", limit="100", stop="94"),
            {},
            ("price-collar", "95", "94"),
        ),
        (
            {"price_collar": Decimal("0.05")},
            (price("100"),),
            order(limit="106", stop="104"),
            {},
            ("price-collar", "105", "106"),
        ),
        ({"price_collar": Decimal("0.05")}, (), order(), {}, ("no-price", "0.05", "none")),
        ({"price_collar": Decimal("0.05")}, (), market(), {}, None),
        ({"price_collar": Decimal("1.5")}, (price("100"),), order(limit="0.01"), {}, None),
        ({"max_position": Decimal(5)}, (), order("BUY"), {"position": "3"}, None),
        ({"max_position": Decimal(5)}, (), order("BUY"), {"position": "3.1"}, ("max-position", "5", "5.1")),
        ({"max_position": Decimal(5)}, (), order("SELL"), {"position": "-3"}, None),
        ({"max_position": Decimal(5)}, (), order("SELL"), {"position": "-3.1"}, ("max-position", "5", "5.1")),
        ({"max_position": Decimal(5)}, (is_open(Side.BUY, "3"),), order("BUY"), {}, None),
        (
            {"max_position": Decimal(5)},
            (is_open(Side.BUY, "1"), is_open(Side.BUY, "1")),
            order("BUY"),
            {"position": "1.1"},
            ("max-position", "5", "5.1"),
        ),
        ({"max_position": Decimal(5)}, (is_open(Side.SELL, "100"),), order("BUY"), {"position": "3"}, None),
        ({"max_position": Decimal(5)}, (is_open(Side.BUY, "100", OTHER),), order("BUY"), {"position": "3"}, None),
        ({"max_position": Decimal(5)}, (), order("SELL"), {"position": "100"}, None),
        ({"max_position": Decimal(5)}, (), order("SELL", "7"), {"position": "2"}, None),
        ({"max_position": Decimal(5)}, (), order("SELL", "7.1"), {"position": "2"}, ("max-position", "5", "5.1")),
        ({"price_age_max_s": 60}, (price("100"),), market(), {"seconds": 60}, None),
        ({"price_age_max_s": 60}, (price("100"),), market(), {"seconds": 60.001}, ("stale-price", "60", "60.001")),
        ({"price_age_max_s": 60}, (price("100"),), order(), {"seconds": 61}, None),
        ({"price_age_max_s": 60}, (price("100"),), order(limit=None, stop="100"), {"seconds": 61}, None),
        ({"price_age_max_s": 60}, (), market(), {}, ("stale-price", "60", "none")),
        ({"price_age_max_s": 60}, (price("100"), price("90", -9)), market(), {"seconds": 60}, None),
        ({"price_age_max_s": 60}, (price("100"), price("90", 9)), market(), {"seconds": 69}, None),
        (
            {"max_order_rate": Rate(count=2, interval_s=10)},
            (sent(0), sent(1)),
            order(),
            {"seconds": 9.999999},
            ("order-rate", "2", "3"),
        ),
        ({"max_order_rate": Rate(count=2, interval_s=10)}, (sent(0), sent(1)), order(), {"seconds": 10}, None),
        ({"max_order_rate": Rate(count=2, interval_s=10)}, (sent(0),), order(), {}, None),
        (
            {"max_order_rate": Rate(count=2, interval_s=10)},
            (sent(0), canceled(0), canceled(0), canceled(0)),
            order(),
            {},
            None,
        ),
        (
            {"max_order_rate": Rate(count=2, interval_s=10)},
            (sent(0), sent(1), *[canceled(1)] * 50),
            order(),
            {"seconds": 2},
            ("order-rate", "2", "3"),
        ),
        (
            {"max_message_rate": Rate(count=2, interval_s=10)},
            (sent(0), canceled(0)),
            order(),
            {"seconds": 9},
            ("message-rate", "2", "3"),
        ),
        ({"max_message_rate": Rate(count=2, interval_s=10)}, (sent(0), canceled(0)), order(), {"seconds": 10}, None),
        ({"duplicate_window_s": 10}, (sent(0),), order(), {"seconds": 9.5}, ("duplicate-order", "10", "9.5")),
        ({"duplicate_window_s": 10}, (sent(0),), order(), {"seconds": 10}, None),
        ({"duplicate_window_s": 10}, (sent(0), sent(5)), order(), {"seconds": 10}, ("duplicate-order", "10", "5")),
        ({"duplicate_window_s": 10}, (sent(0),), order(quantity="2.1"), {}, None),
        ({"duplicate_window_s": 10}, (sent(0),), order(limit="101"), {}, None),
        ({"duplicate_window_s": 10}, (sent(0),), order("SELL"), {}, None),
        ({"duplicate_window_s": 10}, (sent(0, strategy_id="another"),), order(), {}, None),
        ({"duplicate_window_s": 10}, (sent(0),), order(limit=None, stop="100"), {}, None),
        ({"duplicate_window_s": 10}, (sent(0, time_in_force=TimeInForce.DAY),), order(), {}, None),
        ({"duplicate_window_s": 10}, (sent(0, symbol=OTHER),), order(), {}, None),
        (
            {"duplicate_window_s": 10},
            (sent(0, order_id="o-9"),),
            order(),
            {"seconds": 9},
            ("duplicate-order", "10", "9"),
        ),
    ],
)
def test_the_limits_of_an_account_and_of_a_symbol(
    scope: str | None,
    values: dict[str, Any],
    steps: tuple[Step, ...],
    command: PlaceOrder,
    situation: dict[str, Any],
    denial: tuple[str, str, str] | None,
) -> None:
    assert when(risk_of(limits(scope, **values), *steps), command, **situation) == (denial and Denial(*denial))
    of_another_symbol = risk_of(limits(OTHER, **values), *steps)
    assert when(of_another_symbol, command, **situation) is None


@pytest.mark.parametrize(
    ("scope", "values", "situation", "denial"),
    [
        (None, {"max_open_orders": 3}, {"open_orders": 2}, None),
        (None, {"max_open_orders": 3}, {"open_orders": 3}, ("max-open-orders", "3", "4")),
        (SYMBOL, {"max_open_orders": 3}, {"open_orders": 9}, None),
        (SYMBOL, {"max_open_orders": 2}, {"open_orders": 9}, ("max-open-orders", "2", "3")),
        (None, {"max_daily_loss": Decimal(50)}, {"realized": "-50"}, None),
        (None, {"max_daily_loss": Decimal(50)}, {"realized": "-50.1"}, ("daily-loss", "50", "50.1")),
        (None, {"max_daily_loss": Decimal(50)}, {"realized": "500"}, None),
        (None, {"max_daily_loss": Decimal(50)}, {"symbol_realized": "-51"}, None),
        (SYMBOL, {"max_daily_loss": Decimal(50)}, {"realized": "-51"}, None),
        (SYMBOL, {"max_daily_loss": Decimal(50)}, {"symbol_realized": "-50.1"}, ("daily-loss", "50", "50.1")),
        (None, {"max_daily_loss": Decimal(50)}, {"realized": "-51", "position": "-4"}, None),
        (None, {"max_daily_loss": Decimal(50)}, {"realized": "-51", "position": "-3.9"}, ("daily-loss", "50", "51")),
        (None, {"allowed_symbols": (OTHER, SYMBOL)}, {}, None),
        (None, {"allowed_symbols": (OTHER, "SOLUSDT")}, {}, ("symbol-not-allowed", "ETHUSDT,SOLUSDT", SYMBOL)),
        (None, {"allowed_symbols": ()}, {}, ("symbol-not-allowed", "", SYMBOL)),
        (
            None,
            {"allowed_symbols": tuple("abcdefghijk")},
            {},
            ("symbol-not-allowed", "a,b,c,d,e,f,g,h,i,j,...", SYMBOL),
        ),
    ],
)
def test_the_limits_that_tell_account_and_symbol_apart(
    scope: str | None, values: dict[str, Any], situation: dict[str, Any], denial: tuple[str, str, str] | None
) -> None:
    risk = risk_of(limits(scope, **values), is_open(Side.BUY, "1"), is_open(Side.BUY, "1"))
    assert when(risk, order(), **situation) == (denial and Denial(*denial))


def test_a_rate_of_the_account_counts_all_symbols_and_one_of_a_symbol_its_own() -> None:
    rate = Rate(count=2, interval_s=10)
    steps = (sent(0), sent(0, symbol=OTHER))
    assert when(risk_of(limits(max_order_rate=rate), *steps), order()) == Denial("order-rate", "2", "3")
    assert when(risk_of(limits(SYMBOL, max_order_rate=rate), *steps), order()) is None


def test_both_limits_hold_and_the_account_is_asked_first() -> None:
    risk = risk_of(limits(max_quantity=Decimal(3)), limits(SYMBOL, max_quantity=Decimal(2)))
    assert when(risk, order(quantity="2")) is None
    assert when(risk, order(quantity="3")) == Denial("max-quantity", "2", "3")
    assert when(risk, order(quantity="4")) == Denial("max-quantity", "3", "4")


def test_the_first_denial_wins() -> None:
    """Each limit denies the order; they are lifted one after the other, in the order they are documented in."""
    everything: dict[str, Any] = {
        "allowed_symbols": (),
        "reduce_only": True,
        "max_quantity": Decimal(1),
        "price_age_max_s": 1,
        "max_notional": Decimal(1),
        "max_position": Decimal(1),
        "max_open_orders": 1,
        "max_order_rate": Rate(count=1, interval_s=10),
        "max_message_rate": Rate(count=1, interval_s=10),
        "max_daily_loss": Decimal(1),
        "duplicate_window_s": 10,
    }
    instrument = Instrument(lot_size=Decimal(3))
    before = (sent(0, order_type=OrderType.MARKET, limit_price=None), price("100", -5))
    codes = []
    for name in ("state", "lot", *everything):
        risk = risk_of(limits(**everything), *before, state("HALTED" if name == "state" else "ACTIVE"))
        denial = when(
            risk, market(), UNKNOWN if name not in ("state", "lot") else instrument, open_orders=1, realized="-2"
        )
        assert denial is not None
        codes.append(denial.code)
        everything.pop(name, None)
    assert when(risk_of(limits(**everything), *before), market()) is None
    assert codes == [
        "halted",
        "lot-size",
        "symbol-not-allowed",
        "reduce-only",
        "max-quantity",
        "stale-price",
        "max-notional",
        "max-position",
        "max-open-orders",
        "order-rate",
        "message-rate",
        "daily-loss",
        "duplicate-order",
    ]


# -- replaces ----------------------------------------------------------------------------------------------------

INSTRUMENT = Instrument(tick_size=Decimal("0.5"), lot_size=Decimal("0.25"))


def replace(risk: Risk, to: dict[str, Any], cum: str = "0", position: str = "0", **situation: Any) -> Denial | None:
    """An order to buy 10 at 100, all of what is left of it open, is to become one ``to``."""
    old = created(quantity="10", limit_price=Decimal(100))
    leaves = Decimal(10) - Decimal(cum)
    return check_replace(
        risk_of(lambda _: risk, is_open(Side.BUY, str(leaves))),
        msgspec.structs.replace(old, **{name: Decimal(value) for name, value in to.items()}),
        old,
        situation.get("instrument", UNKNOWN),
        cum_qty=Decimal(cum),
        leaves_qty=leaves,
        position_qty=Decimal(position),
        losses={ACCOUNT_SCOPE: Losses(lost(situation.get("realized", "0")))},
        open_orders=situation.get("open_orders", 0),
        now=at(situation.get("seconds", 0)),
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("values", "to", "denial"),
    [
        ({"max_quantity": Decimal(12)}, {"quantity": "12"}, None),
        ({"max_quantity": Decimal(12)}, {"quantity": "12.5"}, ("max-quantity", "12", "12.5")),
        ({"max_quantity": Decimal(5)}, {"quantity": "9"}, None),
        ({"max_quantity": Decimal(5)}, {"limit_price": "99"}, None),
        ({"max_notional": Decimal(1000)}, {"limit_price": "101"}, ("max-notional", "1000", "1010")),
        ({"max_notional": Decimal(500)}, {"limit_price": "99"}, None),
        ({"max_notional": Decimal(500)}, {"quantity": "9"}, None),
        ({"max_notional": Decimal(500)}, {"quantity": "9", "limit_price": "110"}, None),
        ({"max_notional": Decimal(1100)}, {"quantity": "12", "limit_price": "90"}, None),
        ({"max_position": Decimal(12)}, {"quantity": "12"}, None),
        ({"max_position": Decimal(12)}, {"quantity": "12.5"}, ("max-position", "12", "12.5")),
        ({"max_position": Decimal(5)}, {"quantity": "9"}, None),
        ({"max_position": Decimal(5)}, {"limit_price": "110"}, None),
        ({"reduce_only": True}, {"quantity": "9"}, None),
        ({"reduce_only": True}, {"limit_price": "101"}, ("reduce-only", "0", "10")),
        ({"reduce_only": True}, {}, None),
        ({"price_collar": Decimal("0.05")}, {"limit_price": "85.4"}, None),
        ({"price_collar": Decimal("0.05")}, {"quantity": "12"}, None),
        ({"max_message_rate": Rate(count=1, interval_s=1)}, {"quantity": "9"}, ("message-rate", "1", "2")),
        ({"max_order_rate": Rate(count=1, interval_s=1)}, {"quantity": "12"}, None),
        ({"max_open_orders": 1}, {"quantity": "12"}, None),
        ({"duplicate_window_s": 10}, {"quantity": "10"}, None),
    ],
)
def test_a_replace_is_checked_for_what_it_makes_worse(
    scope: str | None, values: dict[str, Any], to: dict[str, Any], denial: tuple[str, str, str] | None
) -> None:
    risk = risk_of(limits(scope, **values), price("90"), sent(0))
    assert replace(risk, to) == (denial and Denial(*denial))


@pytest.mark.parametrize(
    ("steps", "to", "situation", "denial"),
    [
        ((state("HALTED"),), {"quantity": "9"}, {}, ("halted", "ACTIVE", "HALTED")),
        ((state("REDUCING"),), {"quantity": "9"}, {}, None),
        ((state("REDUCING"),), {"limit_price": "101"}, {"position": "-10"}, None),
        ((state("REDUCING"),), {"quantity": "11"}, {"position": "-10"}, ("reducing", "10", "11")),
        ((state("REDUCING"),), {"quantity": "11"}, {"position": "-10", "cum": "1"}, None),
        ((limits(allowed_symbols=()),), {"quantity": "9"}, {}, None),
        ((limits(allowed_symbols=()),), {"quantity": "11"}, {}, ("symbol-not-allowed", "", SYMBOL)),
        ((limits(max_daily_loss=Decimal(1)),), {"quantity": "9"}, {"realized": "-2"}, None),
        ((limits(max_daily_loss=Decimal(1)),), {"quantity": "11"}, {"realized": "-2"}, ("daily-loss", "1", "2")),
        ((), {"quantity": "9.25"}, {"instrument": INSTRUMENT}, None),
        ((), {"quantity": "9.1"}, {"instrument": INSTRUMENT}, ("lot-size", "0.25", "9.1")),
        ((), {"limit_price": "99.7"}, {"instrument": INSTRUMENT}, ("tick-size", "0.5", "99.7")),
        ((), {"quantity": "11"}, {"instrument": Instrument(tick_size=Decimal(7))}, None),
        ((), {"limit_price": "99"}, {"instrument": Instrument(lot_size=Decimal(7))}, None),
        ((limits(max_position=Decimal(12)),), {"quantity": "13"}, {"cum": "4", "position": "3"}, None),
        (
            (limits(max_position=Decimal(12)),),
            {"quantity": "13"},
            {"cum": "4", "position": "4"},
            ("max-position", "12", "13"),
        ),
        ((limits(max_position=Decimal(1)),), {"quantity": "3"}, {"cum": "4", "position": "4"}, None),
    ],
)
def test_a_replace_in_its_situation(
    steps: tuple[Step, ...], to: dict[str, Any], situation: dict[str, Any], denial: tuple[str, str, str] | None
) -> None:
    assert replace(risk_of(*steps), to, **situation) == (denial and Denial(*denial))


@pytest.mark.parametrize(("quantity", "denial"), [("9", None), ("10", None), ("11", Denial("stale-price", "60", "61"))])
def test_a_market_order_asks_for_more_only_at_a_fresh_price(quantity: str, denial: Denial | None) -> None:
    old = created(quantity="10", order_type=OrderType.MARKET, limit_price=None)
    seen = check_replace(
        risk_of(limits(price_age_max_s=60), price("100"), is_open(Side.BUY, "10")),
        msgspec.structs.replace(old, quantity=Decimal(quantity)),
        old,
        UNKNOWN,
        cum_qty=ZERO,
        leaves_qty=Decimal(10),
        position_qty=ZERO,
        losses={},
        open_orders=0,
        now=at(61),
    )
    assert seen == denial


# -- the order of the checks -------------------------------------------------------------------------------------

LIMIT_OF = {
    "symbol-not-allowed": "allowed_symbols",
    "reduce-only": "reduce_only",
    "max-quantity": "max_quantity",
    "stale-price": "price_age_max_s",
    "max-notional": "max_notional",
    "price-collar": "price_collar",
    "max-position": "max_position",
    "max-open-orders": "max_open_orders",
    "order-rate": "max_order_rate",
    "message-rate": "max_message_rate",
    "daily-loss": "max_daily_loss",
    "unrealized-loss": "max_unrealized_loss",
    "duplicate-order": "duplicate_window_s",
}

TOO_TIGHT: dict[str, Any] = {
    "allowed_symbols": (OTHER,),
    "reduce_only": True,
    "max_quantity": Decimal(1),
    "price_age_max_s": 1,
    "max_notional": Decimal(1),
    "price_collar": Decimal("0.01"),
    "max_position": Decimal(1),
    "max_open_orders": 1,
    "max_order_rate": Rate(count=1, interval_s=60),
    "max_message_rate": Rate(count=1, interval_s=60),
    "max_daily_loss": Decimal(1),
    "max_unrealized_loss": Decimal(1),
    "duplicate_window_s": 60,
}


def documented_codes() -> tuple[list[str], list[str]]:
    """The checks of the state and the instrument, and those of the limits, as the docstring lists them."""
    _, _, listed = (risk_checks.__doc__ or "").partition("in this order:")
    listed, _, _ = listed.partition("\n\nA check is")
    general, _, of_limits = listed.partition("3. ")
    return re.findall("``([a-z-]+)``", general), re.findall("``([a-z-]+)``", of_limits)


def denials_one_after_the_other(command: PlaceOrder) -> list[str]:
    """The codes that deny the order when all is wrong at once, each put right when it has denied."""
    trading_states = ["HALTED", "REDUCING", "ACTIVE"]
    mismatches = [Mismatch(Decimal(2), Decimal(1))]
    steps = {"tick-size": "tick_size", "lot-size": "lot_size"}
    instrument: dict[str, Any] = {"tick_size": Decimal("0.3"), "lot_size": Decimal("0.3")}
    scopes = {None: dict(TOO_TIGHT), SYMBOL: dict(TOO_TIGHT)}
    codes: list[str] = []
    while True:
        like_it = {"quantity": str(command.quantity), "order_type": command.order_type}
        risk = risk_of(
            *(limits(scope, **values) for scope, values in scopes.items()),
            price("50"),
            is_open(Side.BUY, "1"),
            sent(0, limit_price=command.limit_price, **like_it),
            state(trading_states[0]),
            *(partial(with_mismatch, symbol=SYMBOL, mismatch=mismatch) for mismatch in mismatches),
        )
        denial = when(
            risk,
            command,
            Instrument(**instrument),
            realized="-2",
            symbol_realized="-2",
            unrealized="-2",
            open_orders=1,
            seconds=2,
        )
        if denial is None:
            return codes
        codes.append(denial.code)
        if denial.code in ("halted", "reducing"):
            del trading_states[0]
        elif denial.code == "position-mismatch":
            del mismatches[0]
        elif denial.code in steps:
            del instrument[steps[denial.code]]
        else:
            del next(values for values in scopes.values() if LIMIT_OF[denial.code] in values)[LIMIT_OF[denial.code]]


@pytest.mark.parametrize(
    ("command", "not_asked"), [(order(), {"stale-price"}), (market(), {"tick-size", "price-collar"})]
)
def test_the_first_denial_wins_in_the_order_that_is_documented(command: PlaceOrder, not_asked: set[str]) -> None:
    general, of_limits = documented_codes()
    in_order = [code for code in general + of_limits + of_limits if code not in not_asked]
    assert denials_one_after_the_other(command) == in_order


def test_every_limit_is_documented_and_checked() -> None:
    _, of_limits = documented_codes()
    assert of_limits == list(LIMIT_OF)
    assert set(LIMIT_OF.values()) == set(TOO_TIGHT) == set(RiskLimits.__struct_fields__) - {"price_collar_side"}


# -- what is remembered ------------------------------------------------------------------------------------------

ALL_LIMITS = RiskLimits(
    max_quantity=Decimal(1000),
    max_notional=Decimal(10**9),
    price_collar=Decimal("0.5"),
    max_position=Decimal(10**6),
    max_open_orders=1000,
    max_order_rate=Rate(count=1000, interval_s=60),
    max_message_rate=Rate(count=1000, interval_s=60),
    max_daily_loss=Decimal(10**6),
    allowed_symbols=(SYMBOL,),
    duplicate_window_s=1,
    price_age_max_s=60,
)


def test_an_older_price_does_not_replace_the_last_one() -> None:
    assert risk_of(price("100"), price("90", -1)) == risk_of(price("100"))
    assert risk_of(price("100"), price("90", 0)) == risk_of(price("90"))


def test_the_exposure_of_a_symbol_whose_orders_are_closed_is_forgotten() -> None:
    risk = risk_of(is_open(Side.BUY, "2"), lambda risk: with_exposure(risk, SYMBOL, Side.BUY, Decimal(2), Decimal(1)))
    assert risk.exposures[SYMBOL].buy_qty == 1
    assert with_exposure(risk, SYMBOL, Side.BUY, Decimal(1), ZERO, -1) == Risk()


def test_without_a_limit_that_needs_them_no_messages_are_remembered() -> None:
    assert risk_of(sent(0), canceled(1)) == Risk()
    limited = risk_of(limits(max_quantity=Decimal(1)))
    assert risk_of(limits(max_quantity=Decimal(1)), sent(0), canceled(1)) == limited


def test_lifting_a_limit_forgets_what_it_needed() -> None:
    rate = Rate(count=5, interval_s=10)
    risk = risk_of(limits(max_order_rate=rate, duplicate_window_s=9), limits(SYMBOL, max_message_rate=rate), sent(0))
    assert risk_of(lambda _: risk, limits(), limits(SYMBOL)) == Risk()


@pytest.mark.parametrize("before", [(), (sent(0),), (sent(0), canceled(1), sent(2, order_id="o-2"))])
def test_a_denied_order_leaves_no_trace(before: tuple[Step, ...]) -> None:
    rate = Rate(count=2, interval_s=10)
    values: dict[str, Any] = {"max_order_rate": rate, "max_message_rate": rate, "duplicate_window_s": 9}
    risk = risk_of(limits(**values), limits(SYMBOL, **values), *before)
    order = created(transact_time=at(3))
    denied = with_order_denied(with_order(risk, order), order)
    for seconds in (3, 9, 10, 11, 12):
        assert when(denied, place(), seconds=seconds) == when(risk, place(), seconds=seconds)


def test_what_is_remembered_is_bounded() -> None:
    rate = Rate(count=3, interval_s=86_400)
    risk = risk_of(limits(max_order_rate=rate, max_message_rate=rate, duplicate_window_s=86_400))
    for n in range(1, 2 * RECENT_ORDERS_MAX + 500):
        risk = with_order(risk, created(quantity=str(n), transact_time=at(n)))
        assert len(risk.recent) <= 2 * RECENT_ORDERS_MAX
    assert len(risk.windows[""].orders) == len(risk.windows[""].messages) == rate.count + 1
    latest = [content_of(created(quantity=str(quantity))) for quantity in range(n - RECENT_ORDERS_MAX + 1, n + 1)]
    assert all(content in risk.recent for content in latest)


def test_a_clock_that_goes_back_lets_no_more_through() -> None:
    risk = risk_of(limits(max_order_rate=Rate(count=2, interval_s=10)), sent(100), sent(0))
    assert when(risk, order(), seconds=50) == Denial("order-rate", "2", "3")
    assert when(risk, order(), seconds=110) is None


def test_a_snapshot_gives_the_same_risk_back() -> None:
    codec = StateCodec(Risk)
    risk = risk_of(
        limits(**{name: getattr(ALL_LIMITS, name) for name in ALL_LIMITS.__struct_fields__}),
        limits(SYMBOL, max_order_rate=Rate(count=2, interval_s=9), price_collar=Decimal("0.0000001")),
        price("100"),
        is_open(Side.SELL, "0.5"),
        sent(0),
        canceled(1),
        state("REDUCING"),
    )
    assert codec.decode(codec.encode(risk)) == risk


# -- properties --------------------------------------------------------------------------------------------------

quantities = st.decimals(min_value="0.001", max_value="20", places=3)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["place", "fill", "cancel"]), st.sampled_from(Side), quantities, st.integers(0, 9)),
        max_size=40,
    )
)
def test_what_passes_never_makes_the_worst_position_larger_than_it_may_be(
    steps: list[tuple[str, Side, Decimal, int]],
) -> None:
    position_max = Decimal(25)
    risk = risk_of(limits(max_position=position_max))
    position = ZERO
    orders: list[tuple[Side, Decimal]] = []
    for what, side, quantity, index in steps:
        if what == "place":
            command = place(side=side, quantity=str(quantity))
            if when(risk, command, position=str(position)) is None:
                orders.append((side, quantity))
                risk = with_exposure(risk, SYMBOL, side, ZERO, quantity, 1)
        elif orders:
            open_side, leaves = orders.pop(index % len(orders))
            traded = min(leaves, quantity) if what == "fill" else ZERO
            position += traded if open_side is Side.BUY else -traded
            rest = leaves - traded if what == "fill" else ZERO
            risk = with_exposure(risk, SYMBOL, open_side, leaves, rest, 0 if rest else -1)
            if rest:
                orders.append((open_side, rest))
        bought = sum((leaves for side, leaves in orders if side is Side.BUY), ZERO)
        sold = sum((leaves for side, leaves in orders if side is Side.SELL), ZERO)
        assert position + bought <= position_max
        assert position - sold >= -position_max


@settings(deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(["order", "order", "cancel"]), st.integers(0, 3_000)), max_size=40),
)
def test_never_more_than_the_count_passes_in_any_interval_and_never_less(
    count: int, interval_s: int, steps: list[tuple[str, int]]
) -> None:
    risk = risk_of(limits(max_order_rate=Rate(count=count, interval_s=interval_s)))
    passed: list[int] = []
    clock_ms = 0
    for what, pause_ms in steps:
        clock_ms += pause_ms
        now = NOW + timedelta(milliseconds=clock_ms)
        if what == "cancel":
            risk = with_message(risk, SYMBOL, now)
            continue
        denial = when(risk, place(), seconds=clock_ms / 1000)
        recent = [time for time in passed if time > clock_ms - interval_s * 1000]
        assert (denial is None) == (len(recent) < count)
        order = created(transact_time=now)
        risk = with_order(risk, order)
        if denial is None:
            passed.append(clock_ms)
        else:
            risk = with_order_denied(risk, order)


# -- the limits themselves, and instruments -----------------------------------------------------------------------


def test_good_limits() -> None:
    assert check_limits(RiskLimits()) is None
    assert check_limits(ALL_LIMITS) is None
    assert check_limits(RiskLimits(max_quantity=Decimal(1)), SYMBOL) is None


@pytest.mark.parametrize(
    ("values", "symbol"),
    [
        *[
            ({name: Decimal(amount)}, None)
            for name in ("max_quantity", "max_notional", "price_collar", "max_position", "max_daily_loss")
            for amount in ("0", "-1", "NaN", "Infinity", "1e20", "1e-19")
        ],
        *[
            ({name: Rate(count=count, interval_s=interval_s)}, None)
            for name in ("max_order_rate", "max_message_rate")
            for count, interval_s in ((0, 1), (1001, 1), (1, 0), (1, 86_401))
        ],
        ({"max_open_orders": 0}, None),
        ({"max_open_orders": 1_000_001}, None),
        ({"duplicate_window_s": 0}, None),
        ({"duplicate_window_s": 86_401}, None),
        ({"price_age_max_s": 0}, None),
        ({"price_age_max_s": 86_401}, None),
        ({"allowed_symbols": (SYMBOL,) * 1_001}, None),
        ({"allowed_symbols": (SYMBOL,)}, SYMBOL),
    ],
)
def test_wrong_limits(values: dict[str, Any], symbol: str | None) -> None:
    wrong = check_limits(RiskLimits(**values), symbol)
    assert wrong is not None
    assert [wrong[0]] == list(values)


@pytest.mark.parametrize(
    ("symbol", "instrument"),
    [
        ("BTC-USDT", Instrument(base_currency="BTC", quote_currency="USDT")),
        ("BTCUSDT", UNKNOWN),
        ("BTC-USDT-PERP", UNKNOWN),
        ("BTC-", UNKNOWN),
        ("-USDT", UNKNOWN),
        ("ES", Instrument(multiplier=Decimal(50), quote_currency="USD")),
    ],
)
def test_what_a_symbol_is(symbol: str, instrument: Instrument) -> None:
    known = immutables.Map({"ES": Instrument(multiplier=Decimal(50), quote_currency="USD")})
    assert instrument_of(known, symbol) == instrument


def test_orders_from_before_these_checks_have_no_time_and_do_not_count() -> None:
    risk = risk_of(limits(max_order_rate=Rate(count=1, interval_s=10), duplicate_window_s=10))
    old: OrderCreated = created(transact_time=None)
    assert with_order_denied(with_order(risk, old), old) == with_order(risk, old) == risk
