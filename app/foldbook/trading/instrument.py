"""An instrument defines a symbol: what it is, the steps of its prices and quantities, the value of one unit, and its
currencies."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache

import immutables
import msgspec

from foldbook.trading.currencies import CURRENCIES
from foldbook.trading.events import InstrumentDefined
from foldbook.trading.values import ONE, InstrumentKind


class Instrument(msgspec.Struct, frozen=True, gc=False):
    """What is absent is unknown: any price and any quantity are valid, and there is no currency."""

    kind: InstrumentKind = InstrumentKind.SPOT
    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal = ONE
    base_currency: str | None = None
    quote_currency: str | None = None
    expiry: datetime | None = None
    allows_negative_prices: bool = False

    @property
    def settlement_currency(self) -> str | None:
        """The currency of its money: of costs, profits and losses."""
        return self.base_currency if self.kind is InstrumentKind.INVERSE else self.quote_currency


UNKNOWN = Instrument()


def defined_instrument(event: InstrumentDefined) -> Instrument:
    return Instrument(
        event.kind,
        event.tick_size,
        event.lot_size,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
        event.expiry,
        event.allows_negative_prices,
    )


def instrument_of(instruments: immutables.Map[str, Instrument], symbol: str) -> Instrument:
    """The defined instrument; else, for a symbol that is plainly a pair of known currencies, that pair; else
    ``UNKNOWN``."""
    defined = instruments.get(symbol)
    if defined is not None:
        return defined
    return _written_in(symbol)


@lru_cache(maxsize=1_000)
def _written_in(symbol: str) -> Instrument:
    """``BASE-QUOTE`` or ``BASE/QUOTE``, both known; nothing else is guessed."""
    base, separator, quote = symbol.partition("-" if "-" in symbol else "/")
    if separator and base != quote and base in CURRENCIES and quote in CURRENCIES:
        return Instrument(base_currency=base, quote_currency=quote)
    return UNKNOWN
