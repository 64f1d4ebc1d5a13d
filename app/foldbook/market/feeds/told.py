"""What a feed tells: data, the open of a bar, and that something was lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from foldbook.market.records import Bar, Datum, Quote
from foldbook.trading.values import EXACT, canonical

_HALF = Decimal("0.5")


class Opened(NamedTuple):
    """A bar has opened; of the rest of it nothing is known yet."""

    symbol: str
    time_ns: int
    price: Decimal


class Lost(msgspec.Struct, frozen=True):
    """Data did not arrive. ``count`` is None if nobody knows how much."""

    count: int | None
    why: str


Told: TypeAlias = Datum | Opened | Lost


class Source(Protocol):
    """Where market data comes from."""

    def stream(self) -> AsyncGenerator[Told, None]: ...


class Sink(Protocol):
    """Where market data goes."""

    def put(self, told: Datum | Opened) -> None:
        """Take a datum, or leave it, without waiting."""
        ...

    async def room(self) -> None:
        """Wait until it can take more without dropping anything."""
        ...


def price_of(datum: Datum | Opened) -> Decimal:
    """The last price that it tells: of a quote the middle, of a bar the close."""
    if isinstance(datum, Quote):
        return canonical(EXACT.multiply(EXACT.add(datum.bid, datum.ask), _HALF))
    return datum.close if isinstance(datum, Bar) else datum.price
