"""Why the venue rejects an order, or a replace: each answer is a reason for people, None if there is none."""

from __future__ import annotations

from decimal import Decimal

from foldbook.trading.values import EXACT, ZERO, OrderType, Side, TimeInForce
from foldbook.venue.book import Book
from foldbook.venue.orders import VenueInstrument, VenueOrder
from foldbook.venue.working import Working

_LIMITS = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_MARKET = (OrderType.MARKET, OrderType.MARKET_TO_LIMIT)
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_AUCTIONS = (TimeInForce.AT_THE_OPENING, TimeInForce.AT_THE_CLOSE)


def why_rejected(order: VenueOrder, book: Book, time_ns: int, *, is_open: bool = True) -> str | None:
    """Why the venue does not take the order."""
    return (
        _of_terms(order.quantity, order.limit_price, order.stop_price, book.instrument)
        or _of_prices(order)
        or _of_instructions(order, time_ns)
        or (None if is_open else _of_closed_session(order))
        or _of_market(order, book)
    )


def why_replace_rejected(of: Working, then: Working, is_stop_given: bool, book: Book) -> str | None:
    """Why the venue does not change the order ``of`` to ``then``."""
    if then.quantity <= of.cum_qty:
        return f"the quantity must be more than the {of.cum_qty} that have traded"
    if then.limit_price is not None and of.limit_price is None:
        return f"a {of.order.order_type} order has no limit price"
    if is_stop_given and not of.is_waiting:
        return "the order has no stop price, or it has been triggered"
    return _of_terms(then.quantity, then.limit_price, then.stop_price, book.instrument) or _of_post_only(
        then.order, then.limit_price, book
    )


def _of_terms(
    quantity: Decimal, limit_price: Decimal | None, stop_price: Decimal | None, instrument: VenueInstrument
) -> str | None:
    if quantity <= ZERO:
        return f"the quantity {quantity} must be greater than 0"
    lot, tick = instrument.lot_size, instrument.tick_size
    if lot is not None and EXACT.remainder(quantity, lot):
        return f"the quantity {quantity} is not a multiple of the lot size {lot}"
    for name, price in (("limit", limit_price), ("stop", stop_price)):
        if tick is not None and price is not None and EXACT.remainder(price, tick):
            return f"the {name} price {price} is not a multiple of the tick size {tick}"
    return None


def _of_prices(order: VenueOrder) -> str | None:
    order_type = order.order_type
    is_limit, is_stop = order_type in _LIMITS, order_type in _STOPS
    if is_limit is (order.limit_price is None):
        return f"a {order_type} order {'needs a' if is_limit else 'has no'} limit price"
    has_stop = order.stop_price is not None or order.trailing_offset is not None
    if is_stop is not has_stop:
        return (
            f"a {order_type} order {'needs a stop price or' if is_stop else 'has no stop price and no'} trailing offset"
        )
    if order.trailing_offset is not None and order.trailing_offset <= ZERO:
        return f"the trailing offset {order.trailing_offset} must be greater than 0"
    return None


def _of_instructions(order: VenueOrder, time_ns: int) -> str | None:
    tif = order.time_in_force
    if (tif is TimeInForce.GTD) is (order.expire_at_ns is None):
        return f"an expiry is needed for {TimeInForce.GTD} and not allowed for {tif}"
    if order.expire_at_ns is not None and order.expire_at_ns <= time_ns:
        return "the expiry has passed"
    if tif in _AUCTIONS and order.order_type not in (OrderType.MARKET, OrderType.LIMIT):
        return f"a {order.order_type} order cannot be {tif}"
    if order.post_only and (order.order_type not in _LIMITS or tif in _IMMEDIATE or tif in _AUCTIONS):
        return "only an order with a limit price that may rest can be post-only"
    return None


def _of_closed_session(order: VenueOrder) -> str | None:
    """What cannot wait until trading begins."""
    if order.order_type in _MARKET:
        return f"the session is closed: a {order.order_type} order cannot wait"
    if order.time_in_force in _IMMEDIATE:
        return f"the session is closed: an order that is {order.time_in_force} cannot wait"
    return None


def _of_market(order: VenueOrder, book: Book) -> str | None:
    """What cannot be, as the market or the position is."""
    if order.reduce_only and not book.holding_of(order.account).closable(order.side is Side.BUY):
        return "reduce-only: there is no position to reduce"
    if order.order_type in _MARKET and _is_unknown(order, book):
        return f"no price of {order.symbol} is known: nobody quotes it"
    if order.order_type in _STOPS:
        return None
    return _of_post_only(order, order.limit_price, book)


def _is_unknown(order: VenueOrder, book: Book) -> bool:
    """Is there nobody, neither the market nor another account, who tells a price?"""
    if book.last is not None or book.is_expected:
        return False
    return book.ladder is None or book.ladder.best_for(order.side, order.account) is None


def _of_post_only(order: VenueOrder, limit_price: Decimal | None, book: Book) -> str | None:
    """Would it take, at the last price known? A stop is asked when it has been triggered."""
    if not order.post_only or limit_price is None:
        return None
    is_buy = order.side is Side.BUY
    prices = [book.price_for(is_buy)]
    if book.ladder is not None:
        prices.append(book.ladder.best_for(order.side, order.account, limit_price))
    for price in prices:
        if price is not None and (price <= limit_price if is_buy else price >= limit_price):
            return f"post-only: it would take at {price}"
    return None
