"""What a record is: exact, a value, and as cheap as its text until somebody looks at it."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldbook.market.records import Bar, Datum, Quote, Trade, exact, ns_of, time_of
from foldbook.trading.values import Side

NINE = datetime(2026, 1, 2, 9, tzinfo=UTC)
NINE_NS = 1_767_344_400 * 10**9
MINUTE = timedelta(minutes=1)
MINUTE_NS = 60 * 10**9

RECORDS: list[Datum] = [
    Bar("ACME", NINE, "100", "101.50", "99.5", "101", "1200", MINUTE),
    Bar("ACME", NINE, "100", "101.50", "99.5", "101"),
    Quote("ACME", NINE, "99.98", "100.02", "500", None),
    Trade("ACME", NINE, "100.02", "50", Side.BUY),
    Trade("ACME", NINE, "100.02"),
]


def test_a_time_may_be_given_either_way() -> None:
    assert ns_of(NINE) == NINE_NS
    quote = Quote("ACME", NINE_NS + 1_999, "1", "2")
    assert quote.time_ns == NINE_NS + 1_999
    assert quote.time == NINE + timedelta(microseconds=1)
    assert Quote("ACME", NINE.astimezone(timezone(timedelta(hours=9))), "1", "2").time_ns == NINE_NS


def test_a_time_before_1970_is_cut_off_downwards_too() -> None:
    assert time_of(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_nanoseconds(time: datetime) -> None:
    assert time_of(ns_of(time)) == time


def test_a_time_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an offset"):
        Trade("ACME", NINE.replace(tzinfo=None), "1")


def test_a_bar_knows_when_it_opened() -> None:
    bar = Bar("ACME", NINE, "1", "1", "1", "1", interval=MINUTE)
    assert (bar.interval_ns, bar.open_time_ns) == (MINUTE_NS, NINE_NS - MINUTE_NS)
    assert (bar.interval, bar.open_time, bar.time) == (MINUTE, NINE - MINUTE, NINE)
    assert bar == Bar("ACME", NINE_NS, "1", "1", "1", "1", interval=MINUTE_NS)


def test_numbers_are_exact_and_canonical() -> None:
    bar = Bar("ACME", NINE, "0.10", "1e2", Decimal("0.100"), "+5.", "1000")
    assert [str(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume)] == [
        "0.1", "100", "0.1", "5", "1000",
    ]  # fmt: skip


def test_what_was_looked_at_is_kept() -> None:
    for record in RECORDS:
        for name in ("open", "high", "low", "close", "volume", "bid", "ask", "bid_size", "price", "size"):
            if hasattr(record, name):
                assert getattr(record, name) is getattr(record, name)


def test_what_is_unknown_is_none() -> None:
    assert Bar("ACME", NINE, "1", "1", "1", "1").volume is None
    assert (RECORDS[2].bid_size, RECORDS[2].ask_size) == (Decimal(500), None)  # type: ignore[union-attr]
    assert (Trade("ACME", NINE, "1").size, Trade("ACME", NINE, "1").aggressor) == (None, None)


@pytest.mark.parametrize("price", [1.5, 1, None, b"1"])
def test_a_float_is_refused(price: Any) -> None:
    for make in (
        lambda: Bar("ACME", NINE, "1", price, "1", "1"),
        lambda: Quote("ACME", NINE, "1", price),
        lambda: Trade("ACME", NINE, price),
    ):
        with pytest.raises(TypeError, match="must be a str or a Decimal, not the"):
            make()


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-Infinity", "1,5", "1 5", "0x10", "1e999999999"])
def test_what_is_no_number_is_told_when_somebody_looks(text: str) -> None:
    trade = Trade("ACME", NINE, text)
    with pytest.raises(ValueError, match="is not a number"):
        _ = trade.price


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=18))
def test_a_number_survives_its_text(value: Decimal) -> None:
    assert exact(str(value)) == value
    assert str(exact(str(value))) == str(exact(f"{value:f}")) == str(exact(f"{value:e}"))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_a_value(record: Datum) -> None:
    copy = pickle.loads(pickle.dumps(record))  # noqa: S301
    assert copy == record
    assert hash(copy) == hash(record)
    assert repr(copy) == repr(record)
    assert [other for other in RECORDS if other == record] == [record]


def test_equal_numbers_are_equal_however_they_are_written() -> None:
    assert Quote("ACME", NINE, "1.50", Decimal(2)) == Quote("ACME", NINE_NS, Decimal("1.5"), "2.000")
    assert Quote("ACME", NINE, "1.50", "2") != Quote("ACME", NINE, "1.51", "2")
    assert Quote("ACME", NINE, "1", "2") != Quote("OTHER", NINE, "1", "2")
    assert Trade("ACME", NINE, "1") != Quote("ACME", NINE, "1", "1")


def test_a_record_shows_its_values() -> None:
    assert (
        repr(Trade("ACME", 5, "1.50", None, Side.SELL)) == "Trade('ACME', 5, price='1.5', size=None, aggressor='SELL')"
    )
    assert repr(Bar("ACME", 5, "1", "2", "1", "2", interval=3)) == (
        "Bar('ACME', 5, open='1', high='2', low='1', close='2', volume=None, interval=3)"
    )


def test_a_record_has_no_dictionary() -> None:
    with pytest.raises(AttributeError):
        RECORDS[0].note = "x"  # type: ignore[union-attr]
