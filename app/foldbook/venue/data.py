"""Market data as the exchange is told it, and as the records that the matching engine and strategies know."""

from __future__ import annotations

from decimal import Decimal

from foldbook.market.records import Bar, Datum, Quote, Trade
from foldbook.venue.messages import BarTold, QuoteTold, TradeTold


def quote_of(told: QuoteTold) -> Quote:
    return Quote(told.symbol, told.time_ns, told.bid, told.ask, told.bid_size, told.ask_size)


def trade_of(told: TradeTold) -> Trade:
    return Trade(told.symbol, told.time_ns, told.price, told.size, told.aggressor)


def bar_of(told: BarTold) -> Bar:
    return Bar(told.symbol, told.time_ns, told.open, told.high, told.low, told.close, told.volume, told.interval_ns)


def last_of(told: QuoteTold | TradeTold | BarTold | Decimal | None) -> Datum | Decimal | None:
    """What told the last price: a decimal is the open of a bar."""
    match told:
        case QuoteTold():
            return quote_of(told)
        case TradeTold():
            return trade_of(told)
        case BarTold():
            return bar_of(told)
    return told


def last_told(last: Datum | Decimal | None) -> QuoteTold | TradeTold | BarTold | Decimal | None:
    """The other way round."""
    match last:
        case Quote():
            return quote_told(last)
        case Trade():
            return TradeTold(last.time_ns, last.symbol, last.price, last.size, last.aggressor)
        case Bar():
            path = (last.open, last.high, last.low, last.close)
            return BarTold(last.time_ns, last.symbol, *path, last.volume, last.interval_ns)
    return last


def quote_told(quote: Quote) -> QuoteTold:
    return QuoteTold(quote.time_ns, quote.symbol, quote.bid, quote.ask, quote.bid_size, quote.ask_size)
