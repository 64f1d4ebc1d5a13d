"""An instrument defines a symbol: the steps of its prices and quantities, the value of one unit, and its currencies."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import immutables
import msgspec

from foldbook.trading.events import InstrumentDefined
from foldbook.trading.values import ONE


class Instrument(msgspec.Struct, frozen=True, gc=False):
    """What is absent is unknown: any price and any quantity are valid, and there is no currency."""

    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    multiplier: Decimal = ONE
    base_currency: str | None = None
    quote_currency: str | None = None


UNKNOWN = Instrument()


def defined_instrument(event: InstrumentDefined) -> Instrument:
    return Instrument(event.tick_size, event.lot_size, event.multiplier, event.base_currency, event.quote_currency)


def instrument_of(instruments: immutables.Map[str, Instrument], symbol: str) -> Instrument:
    """The defined instrument; else, for a symbol written BASE-QUOTE with one dash, one with those currencies; else
    ``UNKNOWN``."""
    defined = instruments.get(symbol)
    if defined is not None:
        return defined
    return _written_in(symbol)


@lru_cache(maxsize=1_000)
def _written_in(symbol: str) -> Instrument:
    base, _dash, quote = symbol.partition("-")
    if base and quote and "-" not in quote:
        return Instrument(base_currency=base, quote_currency=quote)
    return UNKNOWN
