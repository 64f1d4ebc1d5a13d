"""How quotes and trades fill orders: by what they show, in size and in order.

What a quote shows, or how much a trade traded, is used up by the orders in order of price and arrival. Nothing is
filled by a quote or trade that is older than the order.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from foldbook.market.records import Trade
from foldbook.trading.values import ZERO, OrderType, TimeInForce, add, subtract
from foldbook.venue.book import Book
from foldbook.venue.desk import Desk, Reports
from foldbook.venue.ladder import available
from foldbook.venue.meeting import market_bound, meet
from foldbook.venue.working import Working

_FOK, _MARKET_TO_LIMIT = TimeInForce.FOK, OrderType.MARKET_TO_LIMIT


# -- quotes ------------------------------------------------------------------------------------------------------


def match_quote(book: Book, desk: Desk, orders: Iterable[Working], time_ns: int, out: Reports) -> None:
    """What the book's quote does to these orders."""
    quote = book.quote
    assert quote is not None
    bid, ask = quote.bid, quote.ask
    buys: list[Working] = []
    sells: list[Working] = []
    unmet: list[Working] = []
    for of in orders:
        if of.arrived_ns > time_ns:
            continue
        price = ask if of.is_buy else bid
        if of.is_for_auction or not _is_triggered(desk, of, price, time_ns, out):
            of.follow(price)
            continue
        (unmet if not of.reaches(price) else buys if of.is_buy else sells).append(of)
    for of in _by_price(buys):
        _take_quote(book, desk, of, ask, time_ns, out)
    for of in _by_price(sells):
        _take_quote(book, desk, of, bid, time_ns, out)
    for of in unmet:
        if of.takes and book.ladder is not None:
            meet(book, desk, of, None, time_ns, out)
        desk.settle(book, of, time_ns, out)


def _is_triggered(desk: Desk, of: Working, price: Decimal, time_ns: int, out: Reports) -> bool:
    """Is it an order that no stop holds back, or none any more?"""
    if not of.is_waiting:
        return True
    if not of.is_triggered_by(price):
        return False
    desk.trigger(of, time_ns, out)
    return True


def _take_quote(book: Book, desk: Desk, of: Working, shown: Decimal, time_ns: int, out: Reports) -> None:
    """Fill an order that the price shown reaches: who takes gets that price, who rests its own."""
    if of.takes and book.ladder is not None:
        _meet_better(book, desk, of, shown, time_ns, out)
        if not book.holds(of):
            return
    left = book.left_for(of.is_buy)
    resting_at = None if of.takes else of.limit_price
    price = desk.taken_of_quote(book, of, shown) if resting_at is None else resting_at
    if _is_enough(of, left):
        filled = desk.fill(book, of, left, price, time_ns, out)
        book.take(of.is_buy, filled)
        if filled and of.order.order_type is _MARKET_TO_LIMIT and of.limit_price is None and book.holds(of):
            _rest_at(desk, of, price, time_ns, out)
    if of.takes and left is not None and book.ladder is not None and book.holds(of):
        meet(book, desk, of, None, time_ns, out)  # What the quote shows is used up.
    desk.settle(book, of, time_ns, out)


def _meet_better(book: Book, desk: Desk, of: Working, shown: Decimal, time_ns: int, out: Reports) -> None:
    """Trade with other accounts at prices that are as good as the quote's; an order that must have all only if it gets
    all, there and of the quote."""
    ladder, left = book.ladder, book.left_for(of.is_buy)
    assert ladder is not None
    if of.order.time_in_force is _FOK and left is not None:
        others = available(ladder, of, shown)
        if others and add(left, others) >= of.leaves_qty:
            meet(book, desk, of, shown, time_ns, out, is_enough=True)
        return
    meet(book, desk, of, shown, time_ns, out, is_enough=True)


def _is_enough(of: Working, left: Decimal | None) -> bool:
    """Is there anything for it, or all of it if it must have all?"""
    return left is None or (left >= of.leaves_qty if of.order.time_in_force is _FOK else left > ZERO)


def _rest_at(desk: Desk, of: Working, price: Decimal, time_ns: int, out: Reports) -> None:
    of.limit_price = price
    desk.restate(of, time_ns, out, "the rest of it rests at the price that it traded at")


def _by_price(orders: list[Working]) -> list[Working]:
    """Market orders, then the better limits, then what arrived earlier."""
    return sorted(orders, key=_priority) if len(orders) > 1 else orders


def _priority(of: Working) -> tuple[bool, Decimal, int]:
    limit = of.limit_price
    if limit is None:
        return False, ZERO, of.number
    return True, limit.copy_negate() if of.is_buy else limit, of.number


# -- trades ------------------------------------------------------------------------------------------------------


def match_trade(book: Book, desk: Desk, orders: Iterable[Working], trade: Trade, out: Reports) -> None:
    """What somebody else's trade does to the orders.

    An order that takes trades at its price, worse by the costs, unless the symbol has quotes: then it waits for one. A
    limit order that rests gets what traded through its price, and of what traded at its price what was left over by
    those who were there before it.
    """
    price, time_ns = trade.price, trade.time_ns
    takers, resting = _who_trades(book, desk, orders, price, time_ns, out)
    left = trade.size
    for of in takers:
        if _is_enough(of, left):
            left = _less(left, _take_trade(book, desk, of, left, price, time_ns, out))
        desk.settle(book, of, time_ns, out)
    for of in _by_price(resting):
        share = _share(of, left, price)
        if share is None or share > ZERO:
            assert of.limit_price is not None
            left = _less(left, desk.fill(book, of, share, of.limit_price, time_ns, out))


def _who_trades(
    book: Book, desk: Desk, orders: Iterable[Working], price: Decimal, time_ns: int, out: Reports
) -> tuple[list[Working], list[Working]]:
    """The orders that take at the price, and those that rest and are reached by it."""
    takers: list[Working] = []
    resting: list[Working] = []
    for of in orders:
        if of.arrived_ns > time_ns:
            continue
        if of.is_for_auction or not _is_triggered(desk, of, price, time_ns, out):
            if book.quote is None:
                of.follow(price)
            continue
        if of.takes and book.ladder is not None:
            meet(book, desk, of, market_bound(book, of), time_ns, out)
            if not book.holds(of):
                continue
        if of.takes and book.quote is not None:
            continue
        if of.reaches(price):
            (takers if of.takes else resting).append(of)
        else:
            desk.settle(book, of, time_ns, out)
    return takers, resting


def _take_trade(
    book: Book, desk: Desk, of: Working, left: Decimal | None, price: Decimal, time_ns: int, out: Reports
) -> Decimal:
    paid = desk.taken(book, of, price)
    filled = desk.fill(book, of, left, paid, time_ns, out)
    if filled and of.order.order_type is _MARKET_TO_LIMIT and of.limit_price is None and book.holds(of):
        _rest_at(desk, of, paid, time_ns, out)
    return filled


def _share(of: Working, left: Decimal | None, price: Decimal) -> Decimal | None:
    """How much of what traded gets to an order that rests; None: as much as it wants. Its queue becomes shorter."""
    ahead = of.ahead
    if price != of.limit_price or not ahead:
        of.ahead = ZERO
        return left
    if left is None:
        return ZERO  # Nobody knows whether it was more than what rested there.
    of.ahead = max(subtract(ahead, left), ZERO)
    return subtract(left, ahead)


def _less(left: Decimal | None, quantity: Decimal) -> Decimal | None:
    return None if left is None else subtract(left, quantity)
