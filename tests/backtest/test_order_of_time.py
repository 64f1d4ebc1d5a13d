"""Whatever order a file has: nothing comes before its time, and nothing is filled by what was over."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldbook.market.files import open_data
from foldbook.market.timeline import KNOWN, OPENS, timeline
from tests.backtest.data import bars, minutes, timed_bars
from tests.backtest.running import backtest

# -- several symbols in one file ---------------------------------------------------------------------------------


def _flat(price: int) -> str:
    return f"{price},{price},{price},{price}"


def _rows(*lengths: int, until: int = 30) -> list[tuple[int, str, str]]:
    """Bars of so many minutes of A, B and so on, by the time of their close; each price is one of its own."""
    return [
        (minute, "ABC"[place], _flat(100 * (place + 1) + minute))
        for minute in range(1, until + 1)
        for place, length in enumerate(lengths)
        if minute % length == 0
    ]


@pytest.mark.parametrize("lengths", [(1, 1), (1, 5), (5, 1), (2, 3), (1, 1, 10), (10, 5, 1)])
def test_one_file_of_several_symbols_is_the_same_run_as_a_file_for_each(
    tmp_path: Path, lengths: tuple[int, ...]
) -> None:
    rows = _rows(*lengths)
    together = backtest("Following", minutes(tmp_path, rows))
    apart = backtest("Following", *(minutes(tmp_path, rows, name) for name in "ABC"[: len(lengths)]))
    assert together.error is None
    assert together.fills
    assert together.stream_hash == apart.stream_hash
    assert (together.equity, together.exposed_bars) == (apart.equity, apart.exposed_bars)


def test_a_decision_about_another_symbol_is_filled_at_its_next_open(tmp_path: Path) -> None:
    rows = [
        (1, "A", _flat(100)), (1, "B", _flat(10)),
        (2, "A", _flat(100)), (2, "B", "10,20,10,20"),
        (3, "A", _flat(100)), (3, "B", _flat(20)),
    ]  # fmt: skip
    result = backtest("Following", minutes(tmp_path, rows))
    # B is bought at the closes of A at 09:01 and 09:02, when it opens at 10 and 20.
    assert [(f"{f.time:%M}", str(f.price)) for f in result.fills if f.symbol == "B"] == [("01", "10"), ("02", "20")]


def test_a_symbol_with_long_bars_is_known_although_others_have_many_more(tmp_path: Path) -> None:
    rows = _rows(1, 600, until=2_400)
    path = tmp_path / "several.csv"
    lines = [f"{minute * 60_000_000_000},{prices},{symbol}" for minute, symbol, prices in rows]
    path.write_text("time,open,high,low,close,symbol\n" + "\n".join(lines) + "\n")
    long = [datum for datum in open_data(path) if datum.symbol == "B"]
    assert {getattr(datum, "interval_ns", 0) for datum in long} == {600 * 60_000_000_000}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    left_out=st.sets(st.integers(0, 60)),
    twice=st.sets(st.integers(0, 60)),
)
def test_moments_are_in_the_order_of_time(
    tmp_path: Path, lengths: list[int], left_out: set[int], twice: set[int]
) -> None:
    rows = [row for place, row in enumerate(_rows(*lengths)) if place not in left_out]
    rows = [row for place, row in enumerate(rows) for _ in range(1 + (place in twice))]
    if not rows:
        return
    path = minutes(tmp_path, rows).removesuffix(":")
    moments = list(timeline([open_data(path)]))
    # A bar of which nobody knows how long it lasted opens when it closes: it is known after it opened all the same.
    places = [(time_ns, kind if getattr(datum, "interval_ns", 0) else OPENS) for time_ns, kind, datum in moments]
    assert all(before <= after for before, after in pairwise(places))
    assert [datum for _, kind, datum in moments if kind == KNOWN] == list(open_data(path))
    opened = [(time_ns, datum.symbol) for time_ns, kind, datum in moments if kind == OPENS]
    assert len(set(opened)) == len(opened)


# -- bars that come twice, or overlap ----------------------------------------------------------------------------

RISE = ("100", "150", "90", "150")
FLAT = ("150", "150", "150", "150")


def _with_a_row_twice(folder: Path) -> str:
    path, _, name = bars(folder, [("100", "100", "100", "100"), RISE, FLAT, FLAT]).rpartition(":")
    lines = Path(path).read_text().splitlines(keepends=True)
    Path(path).write_text("".join([*lines[:3], lines[2], *lines[3:]]))
    return f"{path}:{name}"


@pytest.mark.parametrize("at", ["market", "low", "close"])
def test_a_row_that_comes_twice_changes_nothing_but_what_is_told(tmp_path: Path, at: str) -> None:
    (tmp_path / "twice").mkdir()
    once = backtest(
        "BuyingRises", bars(tmp_path, [("100", "100", "100", "100"), RISE, FLAT, FLAT]), parameters={"at": at}
    )
    twice = backtest("BuyingRises", _with_a_row_twice(tmp_path / "twice"), parameters={"at": at})
    assert twice.data[0].notes == ("duplicate times: 1, the first in line 4",)
    assert (twice.stream_hash, twice.fills, twice.equity) == (once.stream_hash, once.fills, once.equity)
    assert (once.bars, twice.bars) == (4, 5)


def test_the_same_file_twice_is_no_second_chance(tmp_path: Path) -> None:
    data = bars(tmp_path, [("100", "100", "100", "100"), RISE, FLAT, FLAT])
    for at in ("market", "low", "close"):
        once = backtest("BuyingRises", data, parameters={"at": at})
        twice = backtest("BuyingRises", data, data, parameters={"at": at})
        assert twice.fills == once.fills


@pytest.mark.parametrize("is_long_first", [True, False])
def test_a_longer_bar_over_shorter_ones_fills_nothing_that_came_after_its_open(
    tmp_path: Path, is_long_first: bool
) -> None:
    hours = [(f"05 {hour:02}:00", "100,100,100,100") for hour in range(23)]
    short = timed_bars(tmp_path, [*hours, ("05 23:00", "100,150,100,150"), ("06 00:00", "150,150,150,150")])
    (tmp_path / "long").mkdir()
    long = bars(tmp_path / "long", [FLAT, FLAT, FLAT, FLAT, ("100", "150", "50", "150"), FLAT])
    both = (long, short) if is_long_first else (short, long)
    result = backtest("BuyingRises", *both, parameters={"at": "low"})
    # The hour has risen from 100: the limit is there, and the day's low of 50 was before. So is the day's, at 50.
    assert result.fills == []


def test_a_bar_that_opens_before_the_last_one_closed_fills_nothing_that_came_after_its_open(tmp_path: Path) -> None:
    path = tmp_path / "X.csv"
    minute_ms = 60_000
    kline = "{},{},{},{},{},1,{},1,1,1,1,0\n"
    start = 1_767_600_000_000
    rows = [(0, 1, "100", "150", "100", "150"), (0.5, 2, "100", "150", "90", "140"), (2, 3, "140", "140", "140", "140")]
    path.write_text(
        "".join(
            kline.format(int(start + opens * minute_ms), *prices, start + closes * minute_ms - 1)
            for opens, closes, *prices in rows
        )
    )
    for at, price in (("market", ["140"]), ("low", [])):
        result = backtest("BuyingRises", f"{path}:X", parameters={"at": at})
        assert [str(fill.price) for fill in result.fills] == price
