"""Files of market data, read as a stream: ``docs/market-data.md`` has the formats."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from foldbook.market.errors import MarketDataError
from foldbook.market.layouts import DATABENTO_INTERVALS_NS, KNOWN, Layout, layout_of
from foldbook.market.reading import DAY_NS, Reading, Row
from foldbook.market.records import Bar, Datum, time_of
from foldbook.trading.values import SYMBOL

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_BATCH = 2048
HEAD_ROWS = 1000
"""How many rows are looked at to find out how long a bar is."""
HEADS_MAX = 100
"""How many times as many are, if that is too few to know it of each symbol."""

_BUFFER_BYTES = 256 * 1024
_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
_SUFFIXES = (".gz", ".csv", ".txt", ".parquet")

Batches = Iterator[tuple[int, list[Row]]]
"""Batches of rows, each with the line of its first row."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the first rows of a file say about it."""

    layout: Layout
    interval_ns: int
    intervals_ns: Mapping[str, int]
    """Of the symbols of which more is known."""
    is_fixed_point: bool
    symbols: tuple[str, ...]


class DataFile:
    """A file of bars, quotes or trades. Iterating over it reads it from the start, in its order, a batch at a time, and
    raises :class:`MarketDataError` for what is wrong; what it tells about its rows is about the last iteration.

    ``symbol``: what the rows are about, None if a column says it; ``symbols``: the ones that are known, at first those
    of the first 1,000 rows. ``interval_ns``: how long most bars are, 0 if unknown or not bars. ``reach_ns``: how long
    before its close a bar opens at most, 0 if bars are of one symbol. ``size``: in bytes.
    """

    def __init__(self, path: Path, symbol: str | None, head: _Head, *, skip_bad_rows: bool, is_parquet: bool) -> None:
        self.path = path
        self.format = head.layout.name
        self.kind = head.layout.kind
        self.symbol = symbol
        self.symbols = head.symbols if symbol is None else (symbol,)
        self.interval_ns = head.interval_ns
        is_of_several = head.layout.symbol is not None and symbol is None
        self.reach_ns = max(head.interval_ns, *head.intervals_ns.values(), 0) if is_of_several else 0
        self.size = path.stat().st_size
        self._head = head
        self._skip_bad_rows = skip_bad_rows
        self._is_parquet = is_parquet
        self._reading = self._new_reading()
        self._sha256: str | None = None
        self._position = 0

    def __iter__(self) -> Iterator[Datum]:
        records = self._records()
        return _capped(records) if self.format == "plain bars" else records

    def __repr__(self) -> str:
        return f"DataFile({str(self.path)!r}, {self.format!r})"

    @property
    def rows(self) -> int:
        """How many records it gave."""
        return self._reading.rows

    @property
    def bad_rows(self) -> int:
        """How many rows were left out because they are bad."""
        return self._reading.bad_rows

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd: times that go back, are twice there, or missing; crossed quotes. How often, and where first."""
        return self._reading.notes

    @property
    def first(self) -> datetime | None:
        """The time of the first record; None if there was none."""
        return None if self._reading.first_ns is None else time_of(self._reading.first_ns)

    @property
    def last(self) -> datetime | None:
        """The time of the last record; None if there was none."""
        return None if self._reading.last_ns is None else time_of(self._reading.last_ns)

    @property
    def progress(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return min(self._position / self.size, 1.0) if self.size else 1.0

    @property
    def sha256(self) -> str:
        """Of the file's bytes, hexadecimal. Known after an iteration to the end; before, the file is read for it."""
        if self._sha256 is None:
            with _errors(self.path), self.path.open("rb") as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return self._sha256

    def _records(self) -> Iterator[Datum]:
        reading = self._reading = self._new_reading()
        self._position = 0
        seen = {*self.symbols}
        for line, rows in self._parquet() if self._is_parquet else self._csv():
            records = reading.read(rows, line)
            if self._head.layout.symbol is not None and self.symbol is None:
                seen.update(record.symbol for record in records)
                self.symbols = tuple(sorted(seen))
            yield from records

    def _new_reading(self) -> Reading:
        return Reading(
            self.path,
            self._head.layout,
            self.symbol,
            interval_ns=self._head.interval_ns,
            intervals_ns=self._head.intervals_ns,
            is_fixed_point=self._head.is_fixed_point,
            skip_bad_rows=self._skip_bad_rows,
            unit="row" if self._is_parquet else "line",
        )

    def _csv(self) -> Batches:
        digest = hashlib.sha256()

        def on_read(data: memoryview) -> None:
            digest.update(data)
            self._position += len(data)

        yield from _csv_batches(self.path, has_header=self._head.layout.has_header, on_read=on_read)
        self._sha256 = digest.hexdigest()

    def _parquet(self) -> Batches:
        for row, rows, count in _parquet_batches(self.path):
            self._position = self.size * (row - 1 + len(rows)) // count
            yield row, rows


def open_data(path: str | Path, symbol: str | None = None, *, skip_bad_rows: bool = False) -> DataFile:
    """Look at the head of a file of market data: CSV or Parquet, the former compressed with gzip or not.

    ``symbol`` names what all its rows are about; None: the file's own column of symbols says it, or else its name
    without its suffixes. ``skip_bad_rows``: leave bad rows out and count them, instead of raising. Raises
    :class:`MarketDataError` if the file cannot be read, or its format is not known.
    """
    path = Path(path)
    with _errors(path):
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise _error(path, "is empty")
        if magic == _ZIP:
            raise _error(path, f"is a zip archive; unpack it first: unzip {path.name}")
        is_parquet = magic == _PARQUET
        head = _parquet_head(path) if is_parquet else _csv_head(path)
    if head.layout.symbol is None and symbol is None:
        symbol = _stem(path)
    if symbol is not None and not re.fullmatch(SYMBOL, symbol):
        raise _error(path, f"needs the name of its symbol, because {symbol!r} does not match {SYMBOL}: {path}:SYMBOL")
    return DataFile(path, symbol, head, skip_bad_rows=skip_bad_rows, is_parquet=is_parquet)


def merged(files: Iterable[Iterable[Datum]]) -> Iterator[Datum]:
    """All records in the order in which they are known, a bar at its close; of those with the same time, in the order
    of the files."""
    sources = list(files)
    return iter(sources[0]) if len(sources) == 1 else merge(*sources, key=attrgetter("time_ns"))


# -- the head of a file ------------------------------------------------------------------------------------------


def _csv_head(path: Path) -> _Head:
    batches = (rows for _, rows in _csv_batches(path, has_header=False, count=HEAD_ROWS + 1))
    return _head(path, next(batches, []), batches)


def _parquet_head(path: Path) -> _Head:
    names = _open_parquet(path).schema_arrow.names
    batches = (rows for _, rows, _ in _parquet_batches(path, count=HEAD_ROWS))
    head = _head(path, [names, *next(batches, [])], batches)
    if not head.layout.name.startswith("foldbook"):
        raise _error(path, f"is Parquet with the columns {', '.join(names)}; known are those of foldbook:\n{KNOWN}")
    return head


def _head(path: Path, rows: Sequence[Row], more: Iterator[Sequence[Row]]) -> _Head:
    rows = [row for row in rows if row]
    layout = layout_of(rows[0], rows[1] if len(rows) > 1 else ()) if rows else None
    if layout is None:
        shown = ",".join(rows[0])[:200] if rows else ""
        raise _error(path, f"is in no known format. It begins with {shown!r}. Known, separated by commas:\n{KNOWN}")
    data = [row for row in rows[layout.has_header :] if len(row) == layout.width][:HEAD_ROWS]
    prices = [column for column in layout.numbers[: layout.prices] if column is not None]
    interval_ns, intervals_ns = _intervals(layout, data, more) if layout.kind is Bar else (0, {})
    return _Head(
        layout=layout,
        interval_ns=interval_ns,
        intervals_ns=intervals_ns,
        is_fixed_point=layout.may_be_fixed_point and not any("." in row[column] for row in data for column in prices),
        symbols=() if layout.symbol is None else tuple(sorted({row[layout.symbol] for row in data})),
    )


def _intervals(layout: Layout, rows: Sequence[Row], more: Iterator[Sequence[Row]]) -> tuple[int, Mapping[str, int]]:
    """How long a bar is, and how long those of each symbol are, as far as that is known: what the file says, else the
    most frequent distance of two, the shorter of two as frequent."""
    if layout.rtype is not None and rows and rows[0][layout.rtype] in DATABENTO_INTERVALS_NS:
        return DATABENTO_INTERVALS_NS[rows[0][layout.rtype]], {}
    distances: dict[str, Counter[int]] = {}
    before: dict[str, int] = {}
    _measure(layout, rows, distances, before)
    counts = sum(distances.values(), Counter[int]())
    is_date = layout.is_open and len(before) == 1 and next(iter(before.values())) % DAY_NS == 0
    interval_ns = _most_frequent(counts) if counts else DAY_NS if is_date else 0
    if layout.symbol is None or layout.is_open:
        return interval_ns, {}
    for batch in islice(more, HEADS_MAX - 1):
        if all(found.total() > 1 for found in distances.values()):
            break
        _measure(layout, batch, distances, before)
    return interval_ns, {symbol: _most_frequent(found) for symbol, found in distances.items() if found}


def _measure(layout: Layout, rows: Sequence[Row], distances: dict[str, Counter[int]], before: dict[str, int]) -> None:
    """Count how far the bars of each symbol are apart."""
    for row in rows:
        if len(row) != layout.width:
            continue  # reading the row will tell
        try:
            (time,) = layout.times((row[layout.time],))
        except ValueError:
            continue
        symbol = "" if layout.symbol is None else row[layout.symbol]
        found = distances.setdefault(symbol, Counter())
        if (distance := time - before.get(symbol, time)) > 0:
            found[distance] += 1
        before[symbol] = time


def _most_frequent(distances: Counter[int]) -> int:
    return max(distances, key=lambda distance: (distances[distance], -distance))


def _stem(path: Path) -> str:
    name = path.name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _capped(bars: Iterator[Datum]) -> Iterator[Datum]:
    """Bars whose close was computed from their open: none closes after the next one opens, as in a short month."""
    waiting: list[Bar] = []
    for bar in bars:
        assert isinstance(bar, Bar)
        if waiting and (opened := waiting[0].open_time_ns) != bar.open_time_ns:
            length_ns = bar.open_time_ns - opened
            for each in waiting:
                if 0 < length_ns < each.interval_ns:
                    each.time_ns, each.interval_ns = bar.open_time_ns, length_ns
            yield from waiting
            waiting.clear()
        waiting.append(bar)
    yield from waiting


# -- CSV ---------------------------------------------------------------------------------------------------------


class _Watched(io.RawIOBase):
    """A file whose bytes are shown to a function as they are read."""

    def __init__(self, raw: io.FileIO, on_read: Callable[[memoryview], None]) -> None:
        self._raw = raw
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._raw.readinto(buffer) or 0
        self._on_read(memoryview(buffer)[:count])
        return count


def _csv_batches(
    path: Path,
    *,
    has_header: bool,
    on_read: Callable[[memoryview], None] = lambda _: None,
    count: int = ROWS_PER_BATCH,
) -> Batches:
    """Raises :class:`MarketDataError` for what is not CSV."""
    line = 1
    with _errors(path, lambda: line), ExitStack() as stack:
        raw = stack.enter_context(path.open("rb", buffering=0))
        watched = io.BufferedReader(_Watched(raw, on_read), _BUFFER_BYTES)
        is_packed = watched.peek(len(_GZIP)).startswith(_GZIP)
        stream = stack.enter_context(gzip.GzipFile(fileobj=watched)) if is_packed else watched
        reader = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", newline=""), strict=True)
        if has_header:
            next(row for row in reader if row)
        while True:
            line = reader.line_num + 1
            rows: list[Row] = list(islice(reader, count))
            if not rows:
                return
            if reader.line_num - line + 1 != len(rows):
                raise _error(path, f"has a quoted cell with a line break in it, in line {line} or later")
            yield line, rows


# -- Parquet -----------------------------------------------------------------------------------------------------


def _open_parquet(path: Path) -> pa.parquet.ParquetFile:
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise _error(path, "is Parquet, which needs pyarrow: pip install 'foldbook[parquet]'") from None
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    except ValueError as error:
        raise _error(path, f"is no whole Parquet file: {error}") from error


def _parquet_batches(path: Path, count: int = ROWS_PER_BATCH) -> Iterator[tuple[int, list[Row], int]]:
    """The number of the first row, rows, and how many there are in the file."""
    with _errors(path), _open_parquet(path) as file:
        row = 1
        for batch in file.iter_batches(batch_size=count):
            columns = [
                _texts(path, name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            yield row, list(zip(*columns, strict=True)), file.metadata.num_rows
            row += batch.num_rows


def _texts(path: Path, name: str, column: pa.Array) -> list[str]:
    """Times become nanoseconds, floats the shortest text that gives them, nulls the empty text."""
    import pyarrow as pa

    try:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
        elif pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        return ["" if text is None else text for text in column.cast(pa.string()).to_pylist()]
    except (ValueError, NotImplementedError) as error:
        raise _error(
            path, f"has a column {name!r} of type {column.type} that is no time, number or text: {error}"
        ) from error


# -- errors ------------------------------------------------------------------------------------------------------


def _error(path: Path, what: str) -> MarketDataError:
    return MarketDataError(f"{path} {what}", path=str(path))


@contextmanager
def _errors(path: Path, line: Callable[[], int] = lambda: 1) -> Iterator[None]:
    """What reading a file raises, as :class:`MarketDataError`."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise _error(path, f"is not text in UTF-8, in line {line()} or later: {error.reason}") from error
    except csv.Error as error:
        raise _error(path, f"is not CSV, in line {line()} or later: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _error(path, f"is damaged or cut off, in line {line()} or later: {error}") from error
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror or error}") from error
