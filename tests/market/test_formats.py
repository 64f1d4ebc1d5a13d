"""Every format that the documentation shows is read, and means what the documentation says."""

from __future__ import annotations

import gzip
import hashlib
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foldbook.market.errors import MarketDataError
from foldbook.market.files import DataFile, open_data
from foldbook.market.records import Bar, Datum, Quote, Trade, ns_of
from foldbook.trading.values import Side

PAGE = Path(__file__).parents[2] / "docs" / "market-data.md"
EXAMPLES = dict(re.findall(r"^\*(.+)\*\n\n```csv\n((?:.*\n)*?)^```$", PAGE.read_text(), re.MULTILINE))

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def written(folder: Path, text: str, name: str = "ACME.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(path: Path, symbol: str | None = None) -> tuple[DataFile, list[Datum]]:
    file = open_data(path, symbol)
    return file, list(file)


MEANT: dict[str, list[Datum]] = {
    "foldbook bars": [
        Bar("ACME", at(2026, 1, 2, 9, 1), "100", "101.5", "99.5", "101", "1200", MINUTE),
        Bar("ACME", at(2026, 1, 2, 9, 2), "101", "101.25", "100.75", "101", "300", MINUTE),
    ],
    "foldbook quotes": [
        Quote("ACME", at(2026, 1, 2, 9), "99.98", "100.02", "500", "200"),
        Quote("ACME", at(2026, 1, 2, 9, 0, 0, 250_000), "99.99", "100.02", "100", "200"),
    ],
    "foldbook trades": [
        Trade("ACME", ns_of(at(2026, 1, 2, 9)) + 1, "100.02", "50", Side.BUY),
        Trade("ACME", at(2026, 1, 2, 9, 0, 0, 500_000), "99.98", "10"),
    ],
    "plain bars": [
        Bar("ACME", at(2026, 1, 6), "100.5", "104.25", "99.75", "103", "1250000", DAY),
        Bar("ACME", at(2026, 1, 7), "103.25", "103.5", "101", "101.5", "980000", DAY),
    ],
    "Binance klines": [
        Bar("ACME", at(2025, 1, 1, 0, 1), "93576", "93610.93", "93537.5", "93610.93", "8.21827", MINUTE),
        Bar("ACME", at(2025, 1, 1, 0, 2), "93610.93", "93652", "93606.2", "93652", "12.4255", MINUTE),
    ],
    "Binance aggTrades": [Trade("ACME", at(2025, 1, 1, 0, 0, 0, 15_000), "93576", "0.001", Side.BUY)],
    "Binance trades": [Trade("ACME", at(2025, 1, 1, 0, 0, 0, 15_000), "93576", "0.001", Side.SELL)],
    "Tardis trades": [Trade("BTC-PERPETUAL", 1_585_699_200_250_123_000, "6425.5", "20", Side.BUY)],
    "Tardis quotes": [Quote("BTC-PERPETUAL", 1_585_699_200_250_123_000, "6425", "6425.5", "300", "1000")],
    "Databento trades": [Trade("ESH1", 1_609_160_400_000_704_060, "3720.25", "5", Side.SELL)],
    "Databento ohlcv": [
        Bar("ESH1", at(2020, 12, 28, 13, 1), "3720.25", "3721.5", "3720.25", "3721", "353", MINUTE),
        Bar("ESH1", at(2020, 12, 28, 13, 2), "3721.25", "3721.25", "3720.5", "3721", "233", MINUTE),
    ],
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documented_example_means_this(name: str, tmp_path: Path) -> None:
    file, records = read(written(tmp_path, EXAMPLES[name]))
    assert file.format == name
    assert records == MEANT[name]
    assert (file.rows, file.bad_rows, file.notes) == (len(records), 0, ())
    assert (file.first, file.last) == (records[0].time, records[-1].time)


def test_no_example_is_missing() -> None:
    assert EXAMPLES.keys() == MEANT.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_compressed_file_is_read_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ACME.csv.gz"
    path.write_bytes(gzip.compress(EXAMPLES[name].encode()))
    file, records = read(path)
    assert records == MEANT[name]
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.progress == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_line_ends_a_mark_and_empty_lines_change_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ACME.csv"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + EXAMPLES[name].replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert read(path)[1] == MEANT[name]


# -- variants ----------------------------------------------------------------------------------------------------

BAR = "10,12,9,11,5"


def bar(time: datetime, volume: str | None = "5", interval: timedelta = timedelta(0)) -> Bar:
    return Bar("ACME", time, "10", "12", "9", "11", volume, interval)


FUTURES_TIME = at(2024, 1, 1, 0, 0, 0, 5000)
BARS_OF_FUTURES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
    "1704067200000,42314.0,42437.2,42289.6,42335.7,853.2,1704067259999,36134000.1,8000,400.1,16940000.2,0\n"
)
AGG_TRADES_OF_FUTURES = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
TRADES_OF_FUTURES = "id,price,qty,quote_qty,time,is_buyer_maker\n"
MBP_1 = (
    "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,flags,ts_in_delta,sequence,"
    "bid_px_00,ask_px_00,bid_sz_00,ask_sz_00,bid_ct_00,ask_ct_00,symbol\n"
    "1609160400006136329,1609160400006001487,1,1,5482,A,A,0,3720500000000,1,128,17214,1170362,"
    "3720250000000,3720500000000,24,11,15,9,ESH1\n"
    "1609160400006246513,1609160400006146661,1,1,5482,A,A,0,3720500000000,1,128,18858,1170364,"
    "9223372036854775807,3720500000000,0,12,0,10,ESH1\n"
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (f"Date,Open,High,Low,Close,Volume\n2026-01-05,{BAR}\n", bar(at(2026, 1, 6), interval=DAY)),
        (f",Open,High,Low,Close,Volume\n2026-01-05,{BAR}\n", bar(at(2026, 1, 6), interval=DAY)),
        (f"date,OPEN,high,Low,close,vol\n20260105,{BAR}\n", bar(at(2026, 1, 6), None, DAY)),
        (
            f"Datetime,Open,High,Low,Close,Volume\n2026-01-05 09:30:00-05:00,{BAR}\n",
            bar(at(2026, 1, 5, 14, 30)),
        ),
        (f"time,open,high,low,close,Volume\n1767344400,{BAR}\n", bar(at(2026, 1, 2, 9))),
        (f"Timestamp,Open,High,Low,Close,V\n1767344400000,{BAR}\n", bar(at(2026, 1, 2, 9), None)),
        (BARS_OF_FUTURES, Bar("ACME", at(2024, 1, 1, 0, 1), "42314", "42437.2", "42289.6", "42335.7", "853.2", MINUTE)),
        (
            f"{AGG_TRADES_OF_FUTURES}1,42313.9,0.5,7,8,1704067200005,true\n",
            Trade("ACME", FUTURES_TIME, "42313.9", "0.5", Side.SELL),
        ),
        ("1,42313.9,0.5,7,8,1704067200005,false\n", Trade("ACME", FUTURES_TIME, "42313.9", "0.5", Side.BUY)),
        (f"{TRADES_OF_FUTURES}1,2.5,4,10,1704067200005,true\n", Trade("ACME", FUTURES_TIME, "2.5", "4", Side.SELL)),
        ("time,bid,ask\n5,1,2\n", Quote("ACME", 5, "1", "2")),
        ("time,price\n5,1.5\n", Trade("ACME", 5, "1.5")),
        ("symbol,price,time,aggressor\nX/Y,-1.5,5,SELL\n", Trade("X/Y", 5, "-1.5", None, Side.SELL)),
        ("time,price,size\n1969-12-31T23:59:59.999999999Z,1,\n", Trade("ACME", -1, "1")),
        ("time,price,size\n2026-01-02T10:00:00.25+01:00,1,\n", Trade("ACME", at(2026, 1, 2, 9, 0, 0, 250_000), "1")),
        (MBP_1, Quote("ESH1", 1_609_160_400_006_136_329, "3720.25", "3720.5", "24", "11")),
    ],
)
def test_a_variant_is_read(text: str, meant: Datum, tmp_path: Path) -> None:
    assert read(written(tmp_path, text))[1] == [meant]


def test_a_quote_with_one_side_is_left_out_and_told(tmp_path: Path) -> None:
    file, records = read(written(tmp_path, MBP_1))
    assert len(records) == file.rows == 1
    assert file.notes == ("quotes without a bid or without an ask, left out: 1, the first in line 3",)


def test_a_bar_in_a_short_month_closes_when_the_next_one_opens(tmp_path: Path) -> None:
    months = [f"2026-{month:02}-01,{BAR}" for month in (1, 2, 3, 4)]
    _, records = read(written(tmp_path, "Date,Open,High,Low,Close,Volume\n" + "\n".join(months)))
    assert [record.time for record in records] == [at(2026, 2, 1), at(2026, 3, 1), at(2026, 4, 1), at(2026, 5, 2)]
    assert [record.open_time.month for record in records if isinstance(record, Bar)] == [1, 2, 3, 4]


def test_the_interval_is_the_most_frequent_distance(tmp_path: Path) -> None:
    days = (2, 5, 6, 7, 8, 9, 12)  # Friday, a week, Monday
    text = "Date,Open,High,Low,Close,Volume\n" + "".join(f"2026-01-{day:02},{BAR}\n" for day in days)
    file, records = read(written(tmp_path, text))
    assert file.interval_ns == 86_400 * 10**9
    assert [record.time.day for record in records] == [day + 1 for day in days]
    assert file.notes == ()


def test_of_a_short_month_that_comes_twice_both_bars_close_when_the_next_one_opens(tmp_path: Path) -> None:
    months = [f"2026-{month:02}-01,{BAR}" for month in (1, 2, 2, 3, 4)]
    _, records = read(written(tmp_path, "Date,Open,High,Low,Close,Volume\n" + "\n".join(months)))
    march = at(2026, 3, 1)
    assert [record.time for record in records] == [at(2026, 2, 1), march, march, at(2026, 4, 1), at(2026, 5, 2)]


def test_the_interval_of_each_symbol_is_that_of_its_own_bars(tmp_path: Path) -> None:
    rows = [
        f"{minute},1,1,1,1,{symbol}" for minute in range(1, 11) for symbol, n in (("A", 1), ("B", 5)) if minute % n == 0
    ]
    file, records = read(written(tmp_path, "time,open,high,low,close,symbol\n" + "\n".join([*rows, "11,1,1,1,1,C"])))
    lengths = {(record.symbol, record.interval_ns) for record in records if isinstance(record, Bar)}
    # C has but one bar: it is taken to be as long as most bars of the file.
    assert lengths == {("A", 1), ("B", 5), ("C", 1)}
    assert (file.interval_ns, file.reach_ns, file.notes) == (1, 5, ())


# -- symbols -----------------------------------------------------------------------------------------------------

TWO_SYMBOLS = "time,price,symbol\n1,10,A\n1,20,B\n2,11,A\n"


def test_the_symbol_is_given_or_in_a_column_or_the_name_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "time,price\n1,10\n", "BTC-USDT.csv")
    assert [record.symbol for record in read(path)[1]] == ["BTC-USDT"]
    assert [record.symbol for record in read(path, "BTC/USDT")[1]] == ["BTC/USDT"]
    file, records = read(written(tmp_path, TWO_SYMBOLS))
    assert [record.symbol for record in records] == ["A", "B", "A"]
    assert (file.symbol, file.symbols, file.notes) == (None, ("A", "B"), ())


def test_two_symbols_are_not_renamed_to_one(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="has rows of A and of B, which cannot all be X"):
        read(written(tmp_path, TWO_SYMBOLS), "X")
    renamed = read(written(tmp_path, "time,price,symbol\n1,10,A\n2,10,A\n"), "X")[1]
    assert [record.symbol for record in renamed] == ["X", "X"]


def test_a_name_that_is_no_symbol_asks_for_one(tmp_path: Path) -> None:
    path = written(tmp_path, "time,price\n1,10\n", "prices (1).csv")
    with pytest.raises(MarketDataError, match="needs the name of its symbol"):
        open_data(path)
    assert len(read(path, "ACME")[1]) == 1


# -- parquet -----------------------------------------------------------------------------------------------------

NANOSECONDS = [1_767_344_400_000_000_001, 1_767_344_400_500_000_000]


@pytest.mark.parametrize(
    "times",
    [
        pa.array(NANOSECONDS),
        pa.array(NANOSECONDS, pa.timestamp("ns")),
        pa.array(NANOSECONDS, pa.timestamp("ns", "Europe/Berlin")),
        pa.array(["2026-01-02T09:00:00.000000001Z", "2026-01-02T09:00:00.5Z"]),
    ],
    ids=["integers", "timestamps", "timestamps with a zone", "text"],
)
@pytest.mark.parametrize(
    "prices",
    [
        pa.array(["100.02", "99.98"]),
        pa.array([100.02, 99.98]),
        pa.array([Decimal("100.02"), Decimal("99.98")], pa.decimal128(20, 8)),
        pa.array(["100.02", "99.98"]).dictionary_encode(),
    ],
    ids=["text", "floats", "decimals", "dictionary"],
)
def test_parquet_means_the_same(times: Any, prices: Any, tmp_path: Path) -> None:
    path = tmp_path / "ACME.parquet"
    table = {"time": times, "price": prices, "size": pa.array([50, 10]), "aggressor": pa.array(["BUY", None])}
    pq.write_table(pa.table(table), path)
    file, records = read(path)
    assert records == MEANT["foldbook trades"]
    assert (file.rows, file.notes, file.progress) == (2, (), 1)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_parquet_of_many_batches(tmp_path: Path) -> None:
    path = tmp_path / "ACME.parquet"
    count = 5000
    pq.write_table(pa.table({"time": range(count), "bid": [1] * count, "ask": [2] * count}), path)
    assert [record.time_ns for record in open_data(path)] == list(range(count))


def test_a_bad_row_of_parquet_is_told_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "ACME.parquet"
    pq.write_table(pa.table({"time": [1, 2], "price": [1.5, None]}), path)
    with pytest.raises(MarketDataError, match=r"ACME\.parquet, row 2: the price '' is not a number"):
        read(path)


def test_a_column_of_parquet_that_is_no_number_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ACME.parquet"
    pq.write_table(pa.table({"time": [1], "price": [[1, 2]]}), path)
    with pytest.raises(MarketDataError, match="has a column 'price' of type list"):
        open_data(path)


def test_parquet_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ACME.parquet"
    pq.write_table(pa.table({"Date": ["2026-01-02"], "Open": [1], "High": [1], "Low": [1], "Close": [1]}), path)
    with pytest.raises(MarketDataError, match="known are those of foldbook"):
        open_data(path)


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ACME.parquet"
    pq.write_table(pa.table({"time": [1], "price": ["1"]}), path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MarketDataError, match=r"pip install 'foldbook\[parquet\]'"):
        open_data(path)


def test_a_broken_parquet_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ACME.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(MarketDataError, match="is no whole Parquet file"):
        open_data(path)
