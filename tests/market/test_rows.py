"""What is wrong with a row or a file is said, with its line; what is odd is counted."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldbook.market.errors import MarketDataError
from foldbook.market.files import merged, open_data
from foldbook.market.layouts import Layout, layout_of
from foldbook.market.reading import Reading
from foldbook.market.records import Bar, Datum, Quote, Trade

Write = Callable[[str], Path]

BARS = "time,open,high,low,close,volume"
QUOTES = "time,bid,ask,bid_size,ask_size"
TRADES = "time,price,size,aggressor"

GOOD = {BARS: "1,10,12,9,11,5", QUOTES: "1,10,11,5,5", TRADES: "1,10,5,BUY"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "ACME.csv"
        path.write_text(text)
        return path

    return write


# -- bad rows ----------------------------------------------------------------------------------------------------

BAD = [
    (BARS, "2,10,12,9,11", "has 5 columns, but the file has 6"),
    (BARS, "2,10,12,9,11,5,6", "has 7 columns, but the file has 6"),
    (BARS, "2,ten,12,9,11,5", "the open 'ten' is not a number"),
    (BARS, "2,10,,9,11,5", "the high '' is not a number"),
    (BARS, "2,10,12,nan,11,5", "the low 'nan' is not a number"),
    (BARS, "2,10,12,9,inf,5", "the close 'inf' is not a number"),
    (BARS, "2,10,12,9,11,null", "the volume 'null' is not a number"),
    (BARS, "2,10,12,9,11,-5", "the volume '-5' is negative"),
    (BARS, "2,10,9,12,11,5", "the high 9 is below the low 12"),
    (BARS, "2,8,12,9,11,5", "the open 8 is not between the low 9 and the high 12"),
    (BARS, "2,10,12,9,13,5", "the close 13 is not between the low 9 and the high 12"),
    (BARS, "2,1.00000000000000002,1.00000000000000001,1,1,5", "the open 1.00000000000000002 is not between"),
    (BARS, "yesterday,10,12,9,11,5", "the time 'yesterday' must be an RFC 3339 time"),
    (BARS, "2026-13-01T00:00:00Z,10,12,9,11,5", "the time '2026-13-01T00:00:00Z' is not a date"),
    (BARS, "2026-01-01T00:00:00.5,10,12,9,11,5", "must be an RFC 3339 time with an offset"),
    (BARS, "999999999999999999999,10,12,9,11,5", "is after the year 9999"),
    (BARS, "0,10,12,9,11,5", "the time goes back"),
    (QUOTES, "2,10,11,-1,5", "the bid size '-1' is negative"),
    (QUOTES, "2,10,11,1,x", "the ask size 'x' is not a number"),
    (QUOTES, "2,1_0_x,11,1,5", "the bid '1_0_x' is not a number"),
    (QUOTES, "0,10,11,1,5", "the time goes back"),
    (TRADES, "2,100000000000000000000,5,BUY", "has more than 20 digits before the point"),
    (TRADES, "2,10,-5,BUY", "the size '-5' is negative"),
    (TRADES, "2,10,5,up", "the side 'up' is none of 'BUY'"),
]


@pytest.mark.parametrize(("header", "row", "reason"), BAD)
def test_a_bad_row_is_told_with_its_line(header: str, row: str, reason: str, write: Write) -> None:
    path = write(f"{header}\n{GOOD[header]}\n\n{row}\n")
    with pytest.raises(MarketDataError) as raised:
        list(open_data(path))
    assert str(raised.value).startswith(f"{path}, line 4: ")
    assert reason in str(raised.value)
    assert "--skip-bad-rows" in str(raised.value)
    assert raised.value.details == {"path": str(path), "line": 4}


@pytest.mark.parametrize(("header", "row", "reason"), BAD)
def test_a_bad_row_can_be_skipped_and_is_counted(header: str, row: str, reason: str, write: Write) -> None:
    path = write(f"{header}\n{GOOD[header]}\n{row}\n{row}\n{GOOD[header].replace('1,', '3,', 1)}\n")
    file = open_data(path, skip_bad_rows=True)
    assert [record.time_ns for record in file] == [1, 3]
    assert (file.rows, file.bad_rows) == (2, 2)
    (bad,) = [note for note in file.notes if note.startswith("bad rows")]
    assert bad.startswith("bad rows, left out: 2, the first in line 3 (")
    assert reason in bad


def test_a_symbol_that_is_none_is_a_bad_row(write: Write) -> None:
    path = write("time,price,symbol\n1,10,\n")
    with pytest.raises(MarketDataError, match="line 2: the symbol '' must match"):
        list(open_data(path))


def test_a_bar_that_closes_before_it_opens_is_a_bad_row(write: Write) -> None:
    path = write("1704067200000,10,12,9,11,5,1704067199998,0,0,0,0,0\n")
    with pytest.raises(MarketDataError, match="line 1: the time '1704067199998' is not after the open of the bar"):
        list(open_data(path))


def test_a_plain_date_that_could_be_two_days_is_refused(write: Write) -> None:
    path = write("Date,Open,High,Low,Close\n01/02/2026,10,12,9,11\n")
    with pytest.raises(MarketDataError, match=r"line 2: the time '01/02/2026' must be written as 2026-01-02"):
        list(open_data(path))


# -- what is odd -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (f"{TRADES}\n1,10,5,\n2,10,5,\n2,10,5,\n2,10,5,\n", "duplicate times: 2, the first in line 4"),
        (f"{BARS}\n1,1,1,1,1,1\n2,1,1,1,1,1\n2,1,1,1,1,1\n", "duplicate times: 1, the first in line 4"),
        (
            BARS + "\n" + "".join(f"{time},1,1,1,1,1\n" for time in (1, 2, 4, 5)),
            "gaps, longer than a bar: 1, the first in line 4",
        ),
        (f"{QUOTES}\n1,10,11,,\n2,11,11,,\n3,12,11,,\n", "quotes with the bid above the ask: 1, the first in line 4"),
        (f"{TRADES}\n1767344400000,10,5,\n", "times in 1970, when read as nanoseconds: 1, the first in line 2"),
        (f"{QUOTES}\n1,10,,1,\n", "quotes without a bid or without an ask, left out: 1, the first in line 2"),
        (
            f"{TRADES}\n1,0.1234567890123456789,5,\n",
            "numbers rounded to 18 digits after the point: 1, the first in line 2",
        ),
        (f"{TRADES},symbol\n1,1,1,,A\n1,1,1,,B\n1,1,1,,A\n", "duplicate times: 1, the first in line 4"),
    ],
)
def test_what_is_odd_is_told(text: str, note: str, write: Write) -> None:
    file = open_data(write(text))
    assert len(list(file)) == file.rows
    assert file.notes == (note,)
    assert file.bad_rows == 0


def test_times_that_go_back_are_told_as_such(write: Write) -> None:
    file = open_data(write(f"{TRADES}\n3,1,1,\n1,1,1,\n2,1,1,\n3,1,1,\n"), skip_bad_rows=True)
    assert [record.time_ns for record in file] == [3, 3]
    assert file.notes[0] == "times that go back: 2, the first in line 3"
    assert file.bad_rows == 2


def test_duplicates_are_found_across_batches(write: Write) -> None:
    times = sorted([*range(5000), 2047, 2048])
    file = open_data(write(f"{TRADES}\n" + "".join(f"{time},1,1,\n" for time in times)))
    assert len(list(file)) == len(times)
    assert file.notes == ("duplicate times: 2, the first in line 2050",)


def test_a_number_that_is_too_long_is_rounded_half_to_even(write: Write) -> None:
    path = write(f"{TRADES}\n1,0.1234567890123456785,1e-18,\n2,1.5e-5,1E2,\n")
    first, second = open_data(path)
    assert (first, second) == (
        Trade("ACME", 1, "0.123456789012345678", "0.000000000000000001"),
        Trade("ACME", 2, "0.000015", "100"),
    )


@pytest.mark.parametrize(("days", "gaps"), [((8, 9, 12, 13), 0), ((7, 8, 12, 13), 1), ((8, 9, 13, 14), 1)])
def test_only_a_weekend_may_be_missing_between_daily_bars(days: tuple[int, ...], gaps: int, write: Write) -> None:
    """January 9, 2026, is a Friday."""
    file = open_data(write("Date,Open,High,Low,Close\n" + "".join(f"2026-01-{day:02},1,1,1,1\n" for day in days)))
    assert len(list(file)) == len(days)
    assert len(file.notes) == gaps


# -- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n\n", "is in no known format"),
        (b"when,what\n1,2\n", "foldbook   bars    time,open,high,low,close"),
        (b"time;bid;ask\n1;2;3\n", "Known, separated by commas"),
        (b"PK\x03\x04....", "is a zip archive; unpack it first"),
        (b"time,price\n\xff\xfe,1\n", "is not text in UTF-8"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "is damaged or cut off"),
        (b'time,price\n"1,10\n2,10\n', "is not CSV"),
        (b'time,price\n"1\n",10\n', "a quoted cell with a line break in it"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "ACME.csv"
    path.write_bytes(content)
    with pytest.raises(MarketDataError) as raised:
        list(open_data(path))
    assert str(raised.value).startswith(str(path))
    assert reason in str(raised.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match=r"none\.csv cannot be read: No such file"):
        open_data(tmp_path / "none.csv")
    with pytest.raises(MarketDataError, match="cannot be read: Is a directory"):
        open_data(tmp_path)


def test_a_header_alone_has_no_rows(write: Write) -> None:
    file = open_data(write(f"{BARS}\n"))
    assert list(file) == []
    assert (file.rows, file.first, file.last, file.notes) == (0, None, None, ())


def test_a_file_can_be_read_twice(write: Write) -> None:
    file = open_data(write(f"{TRADES}\n1,1,1,\n1,1,1,\n"))
    assert list(file) == list(file)
    assert (file.rows, len(file.notes)) == (2, 1)


def test_the_hash_is_that_of_the_bytes_before_and_after_reading(write: Write) -> None:
    path = write(f"{TRADES}\n1,1,1,\n")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    file = open_data(path)
    assert file.sha256 == expected
    again = open_data(path)
    assert len(list(again)) == 1
    path.unlink()
    assert again.sha256 == expected


def test_a_file_is_never_held_as_a_whole(write: Write) -> None:
    rows = 100_000  # as records these are some 40 MB
    path = write(f"{QUOTES}\n" + "".join(f"{time},100.25,100.50,5,5\n" for time in range(rows)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in open_data(path)) == rows
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


# -- merged ------------------------------------------------------------------------------------------------------


def test_records_come_in_the_order_in_which_they_are_known() -> None:
    bars: list[Datum] = [Bar("A", time, "1", "1", "1", "1", interval=10) for time in (10, 20, 30)]
    quotes: list[Datum] = [Quote("B", time, "1", "2") for time in (5, 10, 20, 25)]
    first_bars = [(type(record), record.time_ns) for record in merged([bars, quotes])]
    assert first_bars == [(Quote, 5), (Bar, 10), (Quote, 10), (Bar, 20), (Quote, 20), (Quote, 25), (Bar, 30)]
    first_quotes = [(type(record), record.time_ns) for record in merged([quotes, bars])]
    assert first_quotes == [(Quote, 5), (Quote, 10), (Bar, 10), (Quote, 20), (Bar, 20), (Quote, 25), (Bar, 30)]
    assert list(merged([bars])) == bars
    assert list(merged([])) == []


# -- both ways of reading agree ----------------------------------------------------------------------------------

PRICES = st.sampled_from(["1", "2.5", "3.00", "10", "0", "-1"])
SIZES = st.sampled_from(["", "0", "5", "0.25"])
SYMBOLS = st.sampled_from(["A", "B/C"])
STEPS = st.lists(st.sampled_from([0, 1, 1, 1, 5]), min_size=1, max_size=12)


@st.composite
def files(draw: st.DrawFn) -> tuple[Layout, list[list[str]]]:
    """Rows without a fault, in a layout of foldbook, with what may be odd."""
    header = draw(st.sampled_from([BARS, QUOTES, TRADES]))
    time = 0
    rows = []
    for step in draw(STEPS):
        time += step
        if header == BARS:
            low, open_, close, high = sorted((draw(PRICES) for _ in range(4)), key=float)
            values = [open_, high, low, close, draw(SIZES)]
        elif header == QUOTES:
            values = [draw(PRICES), draw(PRICES), draw(SIZES), draw(SIZES)]
        else:
            values = [draw(PRICES), draw(SIZES), draw(st.sampled_from(["BUY", "SELL", ""]))]
        rows.append([str(time), *values, draw(SYMBOLS)])
    layout = layout_of([*header.split(","), "symbol"], rows[0])
    assert layout is not None
    return layout, rows


@given(files())
def test_columns_and_rows_give_the_same_records_and_notes(file: tuple[Layout, list[list[str]]]) -> None:
    layout, rows = file
    readings = [Reading(Path("x.csv"), layout, None, interval_ns=1) for _ in range(3)]
    by_columns = readings[0].read(rows, 2)
    by_rows = readings[1]._each(rows, 2)
    in_two = [*readings[2].read(rows[:1], 2), *(readings[2].read(rows[1:], 3) if rows[1:] else ())]
    assert by_columns == by_rows == in_two
    assert sorted(readings[0].notes) == sorted(readings[1].notes) == sorted(readings[2].notes)
    assert len({(reading.first_ns, reading.last_ns) for reading in readings}) == 1
