"""Market data as JSON: what a venue is told, and the frames of its stream.

Amounts are strings. Times are RFC 3339 in UTC, to the microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from foldbook.eventstore.times import parse_time
from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.told import Lost, Opened, Told
from foldbook.market.records import Bar, Datum, Quote, Trade, ns_of, time_of
from foldbook.trading.values import Side

_NS_PER_S = 1_000_000_000

PATHS: dict[type[Datum], str] = {Quote: "/quotes", Trade: "/trades", Bar: "/bars"}
"""Where a venue takes each kind of datum."""


_KINDS: dict[type[Datum], str] = {Quote: "QUOTE", Trade: "TRADE", Bar: "BAR"}


def encode(data: list[Datum]) -> bytes:
    """The body of a request that tells data of one kind."""
    return msgspec.json.encode([_document(datum) for datum in data])


def frame_of(told: Told, now: datetime) -> bytes:
    """The frame of a stream that tells it; ``decode`` reads it. ``now``: when a loss is told."""
    match told:
        case Lost():
            count = {} if told.count is None else {"count": told.count}
            return msgspec.json.encode({"kind": "LOST", "time": _utc(now), **count})
        case Opened():
            time = _utc(time_of(told.time_ns))
            return msgspec.json.encode(
                {"kind": "OPEN", "time": time, "symbol": told.symbol, "price": f"{told.price:f}"}
            )
        case _:
            return msgspec.json.encode({"kind": _KINDS[type(told)], **_document(told), "time": _utc(told.time)})


def hello_frame(now: datetime) -> bytes:
    """The first frame of a stream: from then on, what is lost is told."""
    return msgspec.json.encode({"kind": "HELLO", "time": _utc(now)})


def decode(frame: str | bytes) -> Told | None:
    """What a frame of the stream tells; None: nothing about the market. Raises :class:`MarketDataError`."""
    try:
        document = msgspec.json.decode(frame)
        read = _READERS.get(document["kind"])
        return None if read is None else read(document)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise MarketDataError(f"the venue sent a frame that cannot be read: {frame!r:.200}: {error}") from error


def _document(datum: Datum) -> dict[str, str | int]:
    told: dict[str, object]
    if isinstance(datum, Quote):
        told = {"bid": datum.bid, "ask": datum.ask, "bid_size": datum.bid_size, "ask_size": datum.ask_size}
    elif isinstance(datum, Trade):
        told = {"price": datum.price, "size": datum.size, "aggressor": datum.aggressor}
    else:
        told = {
            "open": datum.open,
            "high": datum.high,
            "low": datum.low,
            "close": datum.close,
            "volume": datum.volume,
        }
    known = {name: _text(value) for name, value in told.items() if value is not None}
    length = {"interval_s": datum.interval_ns // _NS_PER_S} if isinstance(datum, Bar) else {}
    return {"symbol": datum.symbol, "time": datum.time.isoformat(), **known, **length}


def _utc(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _quote(document: dict[str, Any]) -> Quote:
    return Quote(
        document["symbol"],
        _time(document),
        document["bid"],
        document["ask"],
        document.get("bid_size"),
        document.get("ask_size"),
    )


def _trade(document: dict[str, Any]) -> Trade:
    aggressor = document.get("aggressor")
    return Trade(
        document["symbol"],
        _time(document),
        document["price"],
        document.get("size"),
        None if aggressor is None else Side(aggressor),
    )


def _bar(document: dict[str, Any]) -> Bar:
    return Bar(
        document["symbol"],
        _time(document),
        document["open"],
        document["high"],
        document["low"],
        document["close"],
        document.get("volume"),
        int(Decimal(str(document.get("interval_s") or 0)) * _NS_PER_S),
    )


def _opened(document: dict[str, Any]) -> Opened:
    return Opened(document["symbol"], _time(document), Decimal(document["price"]))


def _lost(document: dict[str, Any]) -> Lost:
    if "count" not in document:
        return Lost(None, "the source of the stream was away")
    return Lost(int(document["count"]), "the venue skipped data because it was not read fast enough")


def _time(document: dict[str, Any]) -> int:
    return ns_of(parse_time(document["time"]))


_READERS: dict[str, Callable[[dict[str, Any]], Told]] = {
    "QUOTE": _quote,
    "TRADE": _trade,
    "BAR": _bar,
    "OPEN": _opened,
    "LOST": _lost,
}
