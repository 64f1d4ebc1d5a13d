"""One pass over a file: rows of text become records, and what is odd about them is noticed.

Rows come in batches. A batch in which every cell is plain is read column by column, which is several times as fast; any
other is read row by row, which knows what is wrong with a row and tells it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from itertools import pairwise
from operator import ge, gt, le
from pathlib import Path

import msgspec

from foldbook.market.errors import MarketDataError
from foldbook.market.layouts import UNDEFINED_PRICE, Layout
from foldbook.market.records import Bar, Datum, Quote, Trade, exact
from foldbook.market.times import nanoseconds
from foldbook.trading.values import FRACTION_DIGITS_MAX, INTEGER_DIGITS_MAX, SYMBOL, Side

Row = Sequence[str]

_NS_PER_S = 10**9
DAY_NS = 86_400 * _NS_PER_S
_NS_OF_1970 = 365 * DAY_NS
_WEEKDAY_OF_1970_01_01 = 3
_SATURDAY = 5
_WEEKEND = 2

_NOT_PLAIN = re.compile(r"[^0-9.-]")
_PLAIN_LENGTH_MAX = 19
"""A plain number this long has at most 18 digits after the point."""
_FLOAT_LENGTH_MAX = 16
"""Decimals of at most 15 digits are ordered as the floats nearest to them are."""

_BEFORE_ALL = -(10**30)

_LARGEST = Decimal(10) ** INTEGER_DIGITS_MAX
_SMALLEST_STEP = Decimal(1).scaleb(-FRACTION_DIGITS_MAX)
_ROUNDING = Context(prec=INTEGER_DIGITS_MAX + FRACTION_DIGITS_MAX)

DUPLICATES = "duplicate times"
GAPS = "gaps, longer than a bar"
BACK = "times that go back"
CROSSED = "quotes with the bid above the ask"
ONE_SIDED = "quotes without a bid or without an ask, left out"
ROUNDED = f"numbers rounded to {FRACTION_DIGITS_MAX} digits after the point"
IN_1970 = "times in 1970, when read as nanoseconds"
BAD = "bad rows, left out"


class _Noticed(msgspec.Struct):
    """How often, and the first line; ``reason``: what is wrong with that one."""

    count: int
    line: int
    reason: str = ""


class Reading:
    """One pass over the rows of a file.

    ``symbol``: what all rows are about, whatever their own column says; None if that column says it. ``interval_ns``:
    of the bars of a file that does not say when each of them opens and closes; ``intervals_ns``: of the symbols that
    have their own. ``is_fixed_point``: prices are multiples of 1e-9. ``unit``: what a row is called, ``line`` or
    ``row``.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        symbol: str | None,
        *,
        interval_ns: int = 0,
        intervals_ns: Mapping[str, int] = {},
        is_fixed_point: bool = False,
        skip_bad_rows: bool = False,
        unit: str = "line",
    ) -> None:
        self.rows = 0
        self.bad_rows = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._path = path
        self._layout = layout
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._intervals_ns = intervals_ns
        self._is_fixed_point = is_fixed_point
        self._skip_bad_rows = skip_bad_rows
        self._unit = unit
        self._symbols: dict[str, str] = {}
        self._last_of: dict[str, int] = {}
        self._noticed: dict[str, _Noticed] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd, in the order in which it was noticed: how often, and where first."""
        return tuple(
            f"{what}: {found.count}, the first in {self._unit} {found.line}{found.reason and f' ({found.reason})'}"
            for what, found in self._noticed.items()
        )

    def read(self, rows: Sequence[Row], line: int) -> Sequence[Datum]:
        """The records of a batch of at least one row; ``line`` is that of the first. Raises :class:`MarketDataError`
        for a bad row, unless bad rows are skipped."""
        try:
            records = self._columns(rows, line)
        except ValueError:
            records = self._each(rows, line)
        is_start = not self.rows and bool(records) and self._layout.times is nanoseconds
        if is_start and _NS_PER_S <= records[0].time_ns < _NS_OF_1970:
            self._notice(IN_1970, line)
        self.rows += len(records)
        return records

    def error(self, line: int, reason: str) -> MarketDataError:
        """The error that a row causes."""
        return MarketDataError(f"{self._path}, {self._unit} {line}: {reason}", path=str(self._path), line=line)

    # -- column by column ----------------------------------------------------------------------------------------

    def _columns(self, rows: Sequence[Row], line: int) -> Sequence[Datum]:
        """Raises ``ValueError``, and has noticed nothing yet, if the batch must be read row by row."""
        layout = self._layout
        columns = list(zip(*rows, strict=True))
        if len(columns) != layout.width:
            raise ValueError
        symbols = self._symbols_of(columns, len(rows))
        opens = layout.times(columns[layout.time])
        times = self._closes(opens, None if layout.end is None else columns[layout.end])
        if times[0] < self._latest or sorted(times) != times:
            raise ValueError
        values = [
            None if column is None else self._texts(columns[column], i) for i, column in enumerate(layout.numbers)
        ]
        floats = [_floats(texts) for texts in values[: layout.prices] if texts is not None]
        sizes: list[Sequence[str | None]] = [_sizes(texts, len(rows)) for texts in values[layout.prices :]]
        prices = [texts for texts in values[: layout.prices] if texts is not None]
        if layout.kind is Bar:
            return self._bars(symbols, times, opens, (prices, floats, sizes), line)
        if layout.kind is Quote:
            self._notice_duplicates(symbols, times, line)
            self._notice_crossed(*floats, line=line)
            made: Sequence[Datum] = list(map(Quote, symbols, times, *prices, *sizes))
        else:
            sides = self._sides_of(columns, len(rows))
            self._notice_duplicates(symbols, times, line)
            made = list(map(Trade, symbols, times, *prices, *sizes, sides))
        self._passed(times)
        return made

    def _bars(
        self,
        symbols: Sequence[str],
        times: list[int],
        opens: list[int],
        values: tuple[Sequence[Sequence[str]], Sequence[list[float]], Sequence[Sequence[str | None]]],
        line: int,
    ) -> Sequence[Datum]:
        prices, (open_, high, low, close), volume = values
        if max(len(text) for texts in prices for text in texts) > _FLOAT_LENGTH_MAX:
            raise ValueError
        if not all(all(map(le, a, b)) for a, b in ((low, open_), (open_, high), (low, close), (close, high))):
            raise ValueError
        intervals = [
            self._interval(symbol, time, opened, at)
            for at, (symbol, time, opened) in enumerate(zip(symbols, times, opens, strict=True), line)
        ]
        self._passed(times)
        return list(map(Bar, symbols, times, *prices, *volume, intervals))

    def _symbols_of(self, columns: Sequence[Row], count: int) -> Sequence[str]:
        if self._layout.symbol is None:
            return [self._symbol or ""] * count
        column = columns[self._layout.symbol]
        for text in sorted(set(column) - self._symbols.keys()):
            self._symbol_of(text)
        return list(map(self._symbols.__getitem__, column))

    def _sides_of(self, columns: Sequence[Row], count: int) -> Sequence[Side | None]:
        layout = self._layout
        if layout.side is None:
            return [None] * count
        column = columns[layout.side]
        if set(column) - layout.sides.keys():
            raise ValueError
        return list(map(layout.sides.__getitem__, column))

    def _closes(self, times: list[int], ends: Row | None) -> list[int]:
        """When what the times are about is known: a bar at its close."""
        if ends is not None:
            closes = self._layout.ends(ends)
            if any(map(ge, times, closes)):
                raise ValueError("is not after the open of the bar")
            return closes
        return [time + self._interval_ns for time in times] if self._layout.is_open else times

    def _texts(self, column: Row, number: int) -> Row:
        is_price = number < self._layout.prices
        return list(map(_from_fixed_point, column)) if is_price and self._is_fixed_point else column

    # -- row by row ----------------------------------------------------------------------------------------------

    def _each(self, rows: Sequence[Row], line: int) -> Sequence[Datum]:
        records = []
        for at, row in enumerate(rows, line):
            if not row:
                continue  # an empty line
            try:
                record = self._record(row, at)
            except ValueError as error:
                self._bad(at, str(error))
                continue
            if record is not None:
                records.append(record)
                self._passed([record.time_ns])
        return records

    def _record(self, row: Row, line: int) -> Datum | None:
        """None if it is left out without being bad. Raises ``ValueError`` with what is wrong."""
        layout = self._layout
        if len(row) != layout.width:
            raise ValueError(f"has {len(row)} columns, but the file has {layout.width}")
        symbol = self._symbols_of([(cell,) for cell in row], 1)[0]
        opened, time = self._time(row)
        if time < self._latest:
            self._notice(BACK, line)
            raise ValueError("the time goes back, to before that of an earlier row; sort the file by time")
        texts = [
            "" if column is None else self._texts((row[column],), number)[0]
            for number, column in enumerate(layout.numbers)
        ]
        if layout.kind is Quote and "" in texts[:2]:
            self._notice(ONE_SIDED, line)
            return None
        prices = [self._number(text, layout.names[i], line) for i, text in enumerate(texts[: layout.prices])]
        sizes = [
            self._size(text, name, line) for text, name in zip(texts[layout.prices :], self._size_names, strict=True)
        ]
        if layout.kind is Bar:
            open_, high, low, close = prices
            _check_bar(open_, high, low, close)
            interval = self._interval(symbol, time, opened, line)
            return Bar(symbol, time, open_, high, low, close, sizes[0], interval)
        if layout.kind is Quote:
            self._notice_duplicates([symbol], [time], line)
            self._notice_crossed([float(prices[0])], [float(prices[1])], line=line)
            return Quote(symbol, time, prices[0], prices[1], sizes[0], sizes[1])
        side = self._side(row)
        self._notice_duplicates([symbol], [time], line)
        return Trade(symbol, time, prices[0], sizes[0], side)

    @property
    def _size_names(self) -> tuple[str, ...]:
        return self._layout.names[self._layout.prices :]

    def _time(self, row: Row) -> tuple[int, int]:
        """The time in the row, and the one at which the record is known."""
        layout = self._layout
        text = row[layout.time]
        try:
            (time,) = layout.times((text,))
            ends = None
            if layout.end is not None:
                text = row[layout.end]
                ends = (text,)
            (close,) = self._closes([time], ends)
        except ValueError as error:
            raise ValueError(f"the time {text!r} {error}") from None
        return time, close

    def _side(self, row: Row) -> Side | None:
        layout = self._layout
        if layout.side is None:
            return None
        text = row[layout.side]
        if text not in layout.sides:
            known = ", ".join(repr(side) for side in layout.sides)
            raise ValueError(f"the side {text!r} is none of {known}")
        return layout.sides[text]

    def _number(self, text: str, name: str, line: int) -> Decimal:
        try:
            value = exact(text)
        except ValueError as error:
            raise ValueError(f"the {name} {error}") from None
        if abs(value) >= _LARGEST:
            raise ValueError(f"the {name} {text!r} has more than {INTEGER_DIGITS_MAX} digits before the point")
        rounded = value.quantize(_SMALLEST_STEP, context=_ROUNDING)
        if rounded == value:
            return value
        self._notice(ROUNDED, line)
        return rounded

    def _size(self, text: str, name: str, line: int) -> Decimal | None:
        if not text:
            return None
        value = self._number(text, name, line)
        if value < 0:
            raise ValueError(f"the {name} {text!r} is negative")
        return value

    def _bad(self, line: int, reason: str) -> None:
        if not self._skip_bad_rows:
            raise self.error(line, f"{reason} (put the row right, or leave bad rows out with --skip-bad-rows)")
        self.bad_rows += 1
        self._notice(BAD, line, reason)

    # -- common --------------------------------------------------------------------------------------------------

    @property
    def _latest(self) -> int:
        return _BEFORE_ALL if self.last_ns is None else self.last_ns

    def _passed(self, times: Sequence[int]) -> None:
        if self.first_ns is None:
            self.first_ns = times[0]
        self.last_ns = times[-1]

    def _symbol_of(self, text: str) -> str:
        """Learn a symbol. Raises ``ValueError`` if it is none."""
        if self._symbol is not None and self._symbols:
            (other,) = self._symbols
            raise MarketDataError(
                f"{self._path} has rows of {other} and of {text}, which cannot all be {self._symbol}: give the file no "
                "symbol, or split it",
                path=str(self._path),
            )
        if not re.fullmatch(SYMBOL, text):
            raise ValueError(f"the symbol {text!r} must match {SYMBOL}")
        return self._symbols.setdefault(text, self._symbol or text)

    def _interval(self, symbol: str, time: int, opened: int, line: int) -> int:
        """How long a bar lasted, in nanoseconds; notices what is between it and the one before."""
        layout = self._layout
        interval = time - opened if layout.is_open else self._intervals_ns.get(symbol, self._interval_ns)
        before = self._last_of.get(symbol)
        self._last_of[symbol] = time
        if before is None:
            return interval
        if time == before:
            self._notice(DUPLICATES, line)
        elif not layout.is_open and time - before < interval:
            return time - before  # it cannot have opened before the last one closed
        elif interval and _is_gap(before, time - interval, interval):
            self._notice(GAPS, line)
        return interval

    def _notice_duplicates(self, symbols: Sequence[str], times: Sequence[int], line: int) -> None:
        last_of = self._last_of
        if self._layout.symbol is None:
            symbol = symbols[0]
            is_first_new = last_of.get(symbol) != times[0]
            last_of[symbol] = times[-1]
            if is_first_new and len(set(times)) == len(times):
                return
            same = [not is_first_new, *(a == b for a, b in pairwise(times))]
        else:
            same = []
            for symbol, time in zip(symbols, times, strict=True):
                same.append(last_of.get(symbol) == time)
                last_of[symbol] = time
        if count := sum(same):
            self._notice(DUPLICATES, line + same.index(True), count=count)

    def _notice_crossed(self, bids: Sequence[float], asks: Sequence[float], *, line: int) -> None:
        if any(map(gt, bids, asks)):
            crossed = list(map(gt, bids, asks))
            self._notice(CROSSED, line + crossed.index(True), count=sum(crossed))

    def _notice(self, what: str, line: int, reason: str = "", count: int = 1) -> None:
        found = self._noticed.setdefault(what, _Noticed(0, line, reason))
        found.count += count


def _floats(texts: Row) -> list[float]:
    """To compare with. Raises ``ValueError`` unless all are plain numbers of a length that is within all limits."""
    if _NOT_PLAIN.search("".join(texts)) or max(map(len, texts)) > _PLAIN_LENGTH_MAX:
        raise ValueError
    return list(map(float, texts))


def _sizes(texts: Row | None, count: int) -> Sequence[str | None]:
    """Raises ``ValueError`` unless all are plain and none is negative, or all are unknown."""
    if texts is None or not any(texts):
        return [None] * count
    if min(_floats(texts)) < 0:
        raise ValueError
    return texts


def _from_fixed_point(text: str) -> str:
    """A multiple of 1e-9 as a number; empty if there is none. What is no integer stays as it is."""
    if text == UNDEFINED_PRICE:
        return ""
    digits = text.removeprefix("-")
    if not (digits.isdigit() and digits.isascii()):
        return text
    sign, padded = text[: -len(digits)], digits.zfill(10)
    return f"{sign}{padded[:-9]}.{padded[-9:]}"


def _check_bar(open_: Decimal, high: Decimal, low: Decimal, close: Decimal) -> None:
    if high < low:
        raise ValueError(f"the high {high} is below the low {low}")
    for name, price in (("open", open_), ("close", close)):
        if not low <= price <= high:
            raise ValueError(f"the {name} {price} is not between the low {low} and the high {high}")


def _is_gap(closed: int, opened: int, interval: int) -> bool:
    """If bars are missing between the close of one and the open of the next. Daily bars may lack a weekend."""
    missing = (opened - closed) // interval
    if missing < 1:
        return False
    days = range(closed // DAY_NS, closed // DAY_NS + missing)
    is_weekend = interval == DAY_NS and missing <= _WEEKEND and all(_is_on_weekend(day) for day in days)
    return not is_weekend


def _is_on_weekend(day: int) -> bool:
    return (day + _WEEKDAY_OF_1970_01_01) % 7 >= _SATURDAY
