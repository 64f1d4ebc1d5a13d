"""Market data: bars, quotes and trades.

A file of ticks has millions of them, and most are never looked at. So a price that is given as text stays text until
somebody looks at it; then it becomes an exact ``Decimal``, once. Records are values: nothing changes one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import TypeAlias, overload

from foldbook.trading.values import Side, canonical

Given: TypeAlias = str | Decimal
"""An exact number: a decimal, or the text of one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_S = 1_000_000_000


def ns_of(time: datetime) -> int:
    """Nanoseconds since 1970-01-01T00:00:00Z. Raises ``ValueError`` for a time without an offset."""
    if time.tzinfo is None:
        raise ValueError(f"the time {time.isoformat()} needs an offset from UTC: which moment is it?")
    return _length(time - _EPOCH)


def time_of(time_ns: int) -> datetime:
    """The time, in UTC, so many nanoseconds after 1970-01-01T00:00:00Z; what is below a microsecond is cut off."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def exact(text: str) -> Decimal:
    """The number that ``text`` says, in canonical form. Raises ``ValueError`` if it says none, or no finite one."""
    try:
        value = Decimal(text)
        if value.is_finite():
            return canonical(value)
    except DecimalException:
        pass
    raise ValueError(f"{text!r} is not a number")


def _length(delta: timedelta) -> int:
    """In nanoseconds."""
    return (delta.days * 86_400 + delta.seconds) * _NS_PER_S + delta.microseconds * 1000


@overload
def _text(value: Given) -> str: ...
@overload
def _text(value: Given | None) -> str | None: ...
def _text(value: Given | None) -> str | None:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _checked(value: object) -> Decimal:
    """A price or size that was not given as text. Raises ``TypeError`` for a float, which is not what it looks like."""
    if isinstance(value, Decimal):
        return canonical(value)
    raise TypeError(f"a price or size must be a str or a Decimal, not the {type(value).__name__} {value!r}")


class _Record:
    """What all records have.

    ``symbol``; ``time_ns``, when it is known, in nanoseconds since 1970-01-01T00:00:00Z.
    """

    __slots__ = ("symbol", "time_ns")

    symbol: str
    time_ns: int

    @property
    def time(self) -> datetime:
        """``time_ns`` in UTC; what is below a microsecond is cut off."""
        return time_of(self.time_ns)

    def _values(self) -> dict[str, object]:
        """The values besides symbol and time, by name."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Record) or type(other) is not type(self):
            return NotImplemented
        return self.time_ns == other.time_ns and self.symbol == other.symbol and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((self.symbol, self.time_ns))

    def __repr__(self) -> str:
        values = ", ".join(
            f"{name}={str(value) if isinstance(value, Decimal | Side) else value!r}"
            for name, value in self._values().items()
        )
        return f"{type(self).__name__}({self.symbol!r}, {self.time_ns}, {values})"


class Bar(_Record):
    """What traded in an interval of time. ``time`` is its close, when the bar is known as a whole.

    Prices are in the quote currency; ``volume`` is in units of the symbol, None if unknown. ``interval`` is a length of
    time, or nanoseconds; 0 if unknown.
    """

    __slots__ = ("_close", "_high", "_low", "_open", "_volume", "interval_ns")

    interval_ns: int

    def __init__(
        self,
        symbol: str,
        time: datetime | int,
        open: Given,  # noqa: A002
        high: Given,
        low: Given,
        close: Given,
        volume: Given | None = None,
        interval: timedelta | int = 0,
    ) -> None:
        self.symbol = symbol
        self.time_ns = time if isinstance(time, int) else ns_of(time)
        self._open: Given = open if type(open) is str else _checked(open)
        self._high: Given = high if type(high) is str else _checked(high)
        self._low: Given = low if type(low) is str else _checked(low)
        self._close: Given = close if type(close) is str else _checked(close)
        self._volume: Given | None = volume if volume is None or type(volume) is str else _checked(volume)
        self.interval_ns = interval if isinstance(interval, int) else _length(interval)

    @property
    def open_time_ns(self) -> int:
        """When it opened, in nanoseconds since 1970-01-01T00:00:00Z."""
        return self.time_ns - self.interval_ns

    @property
    def open_time(self) -> datetime:
        """``open_time_ns`` in UTC; what is below a microsecond is cut off."""
        return time_of(self.open_time_ns)

    @property
    def interval(self) -> timedelta:
        """How long it lasted; what is below a microsecond is cut off."""
        return timedelta(microseconds=self.interval_ns // 1000)

    @property
    def open(self) -> Decimal:
        value = self._open
        if isinstance(value, str):
            value = self._open = exact(value)
        return value

    @property
    def high(self) -> Decimal:
        value = self._high
        if isinstance(value, str):
            value = self._high = exact(value)
        return value

    @property
    def low(self) -> Decimal:
        value = self._low
        if isinstance(value, str):
            value = self._low = exact(value)
        return value

    @property
    def close(self) -> Decimal:
        value = self._close
        if isinstance(value, str):
            value = self._close = exact(value)
        return value

    @property
    def volume(self) -> Decimal | None:
        value = self._volume
        if isinstance(value, str):
            value = self._volume = exact(value)
        return value

    def texts(self) -> tuple[str, str, str, str, str | None]:
        """Its prices and sizes, in the order in which they are given: as text, so that nothing is computed."""
        return _text(self._open), _text(self._high), _text(self._low), _text(self._close), _text(self._volume)

    def _values(self) -> dict[str, object]:
        return {
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
            "interval": self.interval_ns,
        }


class Quote(_Record):
    """The best bid and ask, and how much is shown there. A size is in units of the symbol, None if unknown."""

    __slots__ = ("_ask", "_ask_size", "_bid", "_bid_size")

    def __init__(
        self,
        symbol: str,
        time: datetime | int,
        bid: Given,
        ask: Given,
        bid_size: Given | None = None,
        ask_size: Given | None = None,
    ) -> None:
        self.symbol = symbol
        self.time_ns = time if isinstance(time, int) else ns_of(time)
        self._bid: Given = bid if type(bid) is str else _checked(bid)
        self._ask: Given = ask if type(ask) is str else _checked(ask)
        self._bid_size: Given | None = bid_size if bid_size is None or type(bid_size) is str else _checked(bid_size)
        self._ask_size: Given | None = ask_size if ask_size is None or type(ask_size) is str else _checked(ask_size)

    @property
    def bid(self) -> Decimal:
        value = self._bid
        if isinstance(value, str):
            value = self._bid = exact(value)
        return value

    @property
    def ask(self) -> Decimal:
        value = self._ask
        if isinstance(value, str):
            value = self._ask = exact(value)
        return value

    @property
    def bid_size(self) -> Decimal | None:
        value = self._bid_size
        if isinstance(value, str):
            value = self._bid_size = exact(value)
        return value

    @property
    def ask_size(self) -> Decimal | None:
        value = self._ask_size
        if isinstance(value, str):
            value = self._ask_size = exact(value)
        return value

    def texts(self) -> tuple[str, str, str | None, str | None]:
        """Its prices and sizes, in the order in which they are given: as text, so that nothing is computed."""
        return _text(self._bid), _text(self._ask), _text(self._bid_size), _text(self._ask_size)

    def _values(self) -> dict[str, object]:
        return {"bid": self.bid, "ask": self.ask, "bid_size": self.bid_size, "ask_size": self.ask_size}


class Trade(_Record):
    """Somebody else's trade. ``size`` is in units of the symbol, None if unknown; ``aggressor`` is the side of the
    order that came to the other one, None if unknown."""

    __slots__ = ("_price", "_size", "aggressor")

    aggressor: Side | None

    def __init__(
        self,
        symbol: str,
        time: datetime | int,
        price: Given,
        size: Given | None = None,
        aggressor: Side | None = None,
    ) -> None:
        self.symbol = symbol
        self.time_ns = time if isinstance(time, int) else ns_of(time)
        self._price: Given = price if type(price) is str else _checked(price)
        self._size: Given | None = size if size is None or type(size) is str else _checked(size)
        self.aggressor = aggressor

    @property
    def price(self) -> Decimal:
        value = self._price
        if isinstance(value, str):
            value = self._price = exact(value)
        return value

    @property
    def size(self) -> Decimal | None:
        value = self._size
        if isinstance(value, str):
            value = self._size = exact(value)
        return value

    def texts(self) -> tuple[str, str | None]:
        """Its prices and sizes, in the order in which they are given: as text, so that nothing is computed."""
        return _text(self._price), _text(self._size)

    def _values(self) -> dict[str, object]:
        return {"price": self.price, "size": self.size, "aggressor": self.aggressor}


Datum: TypeAlias = Bar | Quote | Trade
