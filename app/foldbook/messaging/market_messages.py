"""Market data as messages: runs of data of one kind and symbol, with the place of the first among all of its key.

Prices and sizes are exact decimals as text, times nanoseconds since 1970-01-01T00:00:00Z. A publisher counts the data
of each routing key from 1, within an ``epoch`` of its own: the time at which it began. So whoever consumes a key sees
how many data were lost, wherever they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from foldbook.market.errors import MarketDataError
from foldbook.market.feeds.told import Opened
from foldbook.market.records import Bar, Datum, Quote, Trade, exact
from foldbook.trading.values import Side


class QuoteTick(Struct, frozen=True, omit_defaults=True, gc=False):
    time_ns: int
    bid: str
    ask: str
    bid_size: str | None = None
    ask_size: str | None = None


class TradeTick(Struct, frozen=True, omit_defaults=True, gc=False):
    time_ns: int
    price: str
    size: str | None = None
    aggressor: Side | None = None


class BarTick(Struct, frozen=True, omit_defaults=True, gc=False):
    """``time_ns`` is its close, ``interval_ns`` its length, 0 if that is unknown."""

    time_ns: int
    open: str
    high: str
    low: str
    close: str
    volume: str | None = None
    interval_ns: int = 0


class OpenTick(Struct, frozen=True, omit_defaults=True, gc=False):
    """A bar has opened at this price."""

    time_ns: int
    price: str


class Run(Struct, frozen=True, tag_field="kind", kw_only=True):
    """``epoch``: of the publisher. ``sequence``: of the first datum; if there is none, of the next one that will be.

    Every few seconds the last quote of each symbol comes again, with the sequence that it had: whoever has it ignores
    it, and whoever missed it, or has just come, has it now.
    """

    symbol: str
    epoch: int
    sequence: int


class Quotes(Run, frozen=True, tag="quote", kw_only=True):
    data: list[QuoteTick]


class Trades(Run, frozen=True, tag="trade", kw_only=True):
    data: list[TradeTick]


class Bars(Run, frozen=True, tag="bar", kw_only=True):
    data: list[BarTick]


class Opens(Run, frozen=True, tag="open", kw_only=True):
    data: list[OpenTick]


MarketMessage: TypeAlias = Quotes | Trades | Bars | Opens

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[MarketMessage] = msgspec.json.Decoder(MarketMessage)


def kind_of(datum: Datum | Opened) -> str:
    """The first word of its routing key."""
    return _FORMS[type(datum)][0]


def encode(symbol: str, epoch: int, sequence: int, like: Datum | Opened, data: Sequence[Datum | Opened]) -> bytes:
    """``data`` are of that symbol, and of the kind of ``like``; there may be none."""
    _, message_type, tick = _FORMS[type(like)]
    return _ENCODER.encode(message_type(symbol=symbol, epoch=epoch, sequence=sequence, data=list(map(tick, data))))


def _quote_tick(quote: Quote) -> QuoteTick:
    return QuoteTick(quote.time_ns, *quote.texts())


def _trade_tick(trade: Trade) -> TradeTick:
    return TradeTick(trade.time_ns, *trade.texts(), trade.aggressor)


def _bar_tick(bar: Bar) -> BarTick:
    return BarTick(bar.time_ns, *bar.texts(), bar.interval_ns)


def _open_tick(opened: Opened) -> OpenTick:
    return OpenTick(opened.time_ns, f"{opened.price:f}")


_FORMS: dict[type[Datum | Opened], tuple[str, Any, Callable[[Any], Struct]]] = {
    Quote: ("quote", Quotes, _quote_tick),
    Trade: ("trade", Trades, _trade_tick),
    Bar: ("bar", Bars, _bar_tick),
    Opened: ("open", Opens, _open_tick),
}


def decode(body: bytes) -> MarketMessage:
    """Raises ``MarketDataError``."""
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MarketDataError(f"market data that cannot be read: {body[:200]!r}: {error}") from error


def data_of(message: MarketMessage, skip: int = 0) -> Sequence[Datum | Opened]:
    """The data, but for the first ``skip``."""
    symbol = message.symbol
    if isinstance(message, Quotes):
        return [Quote(symbol, t.time_ns, t.bid, t.ask, t.bid_size, t.ask_size) for t in message.data[skip:]]
    if isinstance(message, Trades):
        return [Trade(symbol, t.time_ns, t.price, t.size, t.aggressor) for t in message.data[skip:]]
    if isinstance(message, Bars):
        return [
            Bar(symbol, t.time_ns, t.open, t.high, t.low, t.close, t.volume, t.interval_ns) for t in message.data[skip:]
        ]
    return [Opened(symbol, t.time_ns, exact(t.price)) for t in message.data[skip:]]
