"""The layouts of files that are known: which column is what, found by the header, or by the shape of the first row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from foldbook.market.records import Bar, Quote, Trade
from foldbook.market.times import Times, binance, binance_ends, microseconds, nanoseconds, plain
from foldbook.trading.values import Side

KNOWN = """\
  foldbook   bars    time,open,high,low,close,volume[,symbol]         time: nanoseconds or RFC 3339
             quotes  time,bid,ask,bid_size,ask_size[,symbol]
             trades  time,price,size,aggressor[,symbol]
  plain      bars    Date,Open,High,Low,Close[,Adj Close][,Volume]    or Datetime, Time, Timestamp
  Binance    klines (12 columns), aggTrades (8 or 7), trades (7 or 6), with or without a header
  Tardis     trades, quotes
  Databento  trades, mbp-1, ohlcv-*"""
"""The list for a person whose file is not known."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Which column is what. Columns are numbered from 0.

    ``numbers``: the columns of prices and then sizes, in the order in which ``kind`` takes them; None for a size that
    the file does not tell.
    """

    name: str
    kind: type[Bar | Quote | Trade]
    width: int
    has_header: bool
    time: int
    times: Times
    numbers: tuple[int | None, ...]
    symbol: int | None = None
    side: int | None = None
    sides: Mapping[str, Side | None] = {}
    end: int | None = None
    """Of bars: the column of the last moment of a bar, which ``ends`` reads."""
    ends: Times = binance_ends
    is_open: bool = False
    """Of bars: the time is that of the open, and the bar closes an interval later."""
    rtype: int | None = None
    """The column that says Databento's type of record, and so the interval."""
    may_be_fixed_point: bool = False
    """Prices without a point anywhere are multiples of 1e-9."""

    @property
    def prices(self) -> int:
        """How many of the numbers are prices; the others are sizes."""
        return _PRICES[self.kind]

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers are called."""
        return _NAMES[self.kind]


_PRICES: dict[type[Bar | Quote | Trade], int] = {Bar: 4, Quote: 2, Trade: 1}
_NAMES: dict[type[Bar | Quote | Trade], tuple[str, ...]] = {
    Bar: ("open", "high", "low", "close", "volume"),
    Quote: ("bid", "ask", "bid size", "ask size"),
    Trade: ("price", "size"),
}


def layout_of(first: Sequence[str], second: Sequence[str]) -> Layout | None:
    """The layout of a file that begins with these two rows; None if it is not known."""
    names = [cell.strip() for cell in first]
    lower = [name.lower() for name in names]
    if _is_binance(lower):
        return _binance(second, has_header=True)
    return _foldbook(names) or _databento(names) or _tardis(names) or _plain(lower) or _binance(first, has_header=False)


# -- foldbook ----------------------------------------------------------------------------------------------------

_FOLDBOOK: tuple[tuple[str, type[Bar | Quote | Trade], tuple[str, ...], tuple[str, ...]], ...] = (
    ("foldbook bars", Bar, ("open", "high", "low", "close"), ("volume",)),
    ("foldbook quotes", Quote, ("bid", "ask"), ("bid_size", "ask_size")),
    ("foldbook trades", Trade, ("price",), ("size",)),
)

_SIDES: dict[str, Side | None] = {
    **dict.fromkeys(("BUY", "buy"), Side.BUY),
    **dict.fromkeys(("SELL", "sell"), Side.SELL),
    **dict.fromkeys(("", "unknown")),
}


def _foldbook(names: Sequence[str]) -> Layout | None:
    at = _places(names)
    for name, kind, prices, sizes in _FOLDBOOK:
        needed = {"time", *prices}
        if needed <= at.keys() <= needed | {*sizes, "symbol"} | ({"aggressor"} if kind is Trade else set()):
            return Layout(
                name=name,
                kind=kind,
                width=len(names),
                has_header=True,
                time=at["time"],
                times=nanoseconds,
                numbers=(*(at[price] for price in prices), *(at.get(size) for size in sizes)),
                symbol=at.get("symbol"),
                side=at.get("aggressor"),
                sides=_SIDES,
            )
    return None


# -- plain -------------------------------------------------------------------------------------------------------

_DATES = ("date", "datetime", "timestamp", "time")


def _plain(names: Sequence[str]) -> Layout | None:
    at = _places(names)
    time = next((at[name] for name in _DATES if name in at), 0 if names[:1] == [""] else None)
    if time is None or not {"open", "high", "low", "close"} <= at.keys():
        return None
    return Layout(
        name="plain bars",
        kind=Bar,
        width=len(names),
        has_header=True,
        time=time,
        times=plain,
        numbers=(at["open"], at["high"], at["low"], at["close"], at.get("volume")),
        is_open=True,
    )


# -- Binance -----------------------------------------------------------------------------------------------------

_IS_BUYER_MAKER: dict[str, Side | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), Side.SELL),
    **dict.fromkeys(("false", "False", "FALSE"), Side.BUY),
}
"""If the buyer was the maker, the seller came to him."""

_INTEGER = re.compile(r"\d+", re.ASCII)
_KLINE_WIDTH = 12


def _is_binance(names: Sequence[str]) -> bool:
    """If this is a header; files of futures have one."""
    return names[:1] in (["open_time"], ["open time"], ["agg_trade_id"]) or names[:3] == ["id", "price", "qty"]


def _binance(row: Sequence[str], *, has_header: bool) -> Layout | None:
    """By the shape of a row of data: a file may have a header or not."""
    if len(row) == _KLINE_WIDTH and _INTEGER.fullmatch(row[0]) and _INTEGER.fullmatch(row[6]):
        return Layout(
            name="Binance klines",
            kind=Bar,
            width=len(row),
            has_header=has_header,
            time=0,
            times=binance,
            numbers=(1, 2, 3, 4, 5),
            end=6,
            is_open=True,
        )
    maker = next((column for column in (5, 6) if len(row) > column and row[column] in _IS_BUYER_MAKER), None)
    if maker is None or len(row) not in (maker + 1, maker + 2) or not _INTEGER.fullmatch(row[maker - 1]):
        return None
    return Layout(
        name="Binance trades" if maker == 5 else "Binance aggTrades",
        kind=Trade,
        width=len(row),
        has_header=has_header,
        time=maker - 1,
        times=binance,
        numbers=(1, 2),
        side=maker,
        sides=_IS_BUYER_MAKER,
    )


# -- Tardis ------------------------------------------------------------------------------------------------------


def _tardis(names: Sequence[str]) -> Layout | None:
    at = _places(names)
    if not {"exchange", "symbol", "timestamp", "local_timestamp"} <= at.keys():
        return None
    if {"side", "price", "amount"} <= at.keys():
        kind: type[Quote | Trade] = Trade
        columns = ["price", "amount"]
    elif {"ask_amount", "ask_price", "bid_price", "bid_amount"} <= at.keys():
        kind = Quote
        columns = ["bid_price", "ask_price", "bid_amount", "ask_amount"]
    else:
        return None
    return Layout(
        name=f"Tardis {kind.__name__.lower()}s",
        kind=kind,
        width=len(names),
        has_header=True,
        time=at["local_timestamp"],
        times=microseconds,
        numbers=tuple(at[column] for column in columns),
        symbol=at["symbol"],
        side=at.get("side"),
        sides=_SIDES,
    )


# -- Databento ---------------------------------------------------------------------------------------------------

_DATABENTO: tuple[tuple[str, type[Bar | Quote | Trade], tuple[str, ...]], ...] = (
    ("Databento mbp-1", Quote, ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")),
    ("Databento ohlcv", Bar, ("open", "high", "low", "close", "volume")),
    ("Databento trades", Trade, ("price", "size")),
)

_DATABENTO_SIDES: dict[str, Side | None] = {"B": Side.BUY, "A": Side.SELL, "N": None, "": None}

DATABENTO_INTERVALS_NS = {"32": 10**9, "33": 60 * 10**9, "34": 3600 * 10**9, "35": 86_400 * 10**9}
"""By ``rtype``: bars of a second, a minute, an hour, a day."""

UNDEFINED_PRICE = "9223372036854775807"
"""A price that there is not, where prices are multiples of 1e-9."""


def _databento(names: Sequence[str]) -> Layout | None:
    at = _places(names)
    if "ts_event" not in at or ("ts_recv" not in at and "open" not in at):
        return None
    for name, kind, columns in _DATABENTO:
        if {*columns} <= at.keys():
            return Layout(
                name=name,
                kind=kind,
                width=len(names),
                has_header=True,
                time=at["ts_event"] if kind is Bar else at["ts_recv"],
                times=nanoseconds,
                numbers=tuple(at[column] for column in columns),
                symbol=at.get("symbol"),
                side=at.get("side") if kind is Trade else None,
                sides=_DATABENTO_SIDES,
                is_open=kind is Bar,
                rtype=at.get("rtype"),
                may_be_fixed_point=True,
            )
    return None


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}
