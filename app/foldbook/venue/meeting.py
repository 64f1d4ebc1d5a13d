"""How the orders of different accounts trade with each other.

An order that comes to others takes: it trades with those that rest, the best price first and then the earliest, at
their prices. It does so only at prices that are as good as what the market shows, because it would trade there, too:
at the quote, and for a market order without one, at the last price. What it cannot have there waits for the market.
Orders of one account never trade with each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from foldbook.trading.values import ZERO, ExecType, TimeInForce
from foldbook.venue.book import Book
from foldbook.venue.desk import Desk, Reports
from foldbook.venue.ladder import available
from foldbook.venue.working import Working


def market_bound(book: Book, of: Working) -> Decimal | None:
    """The worst price at which it may trade with others; None: there is none."""
    if book.quote is not None:
        return book.quote.ask if of.is_buy else book.quote.bid
    return book.last_price if of.limit_price is None else None


def meet(
    book: Book,
    desk: Desk,
    of: Working,
    bound: Decimal | None,
    time_ns: int,
    out: Reports,
    *,
    earlier: bool = False,
    is_enough: bool = False,
) -> None:
    """Trade with what rests of other accounts. ``earlier``: only with orders that came before it. ``is_enough``: if it
    must have all, it gets all."""
    ladder = book.ladder
    if ladder is None or not ladder.is_crossed_by(of) or of.is_waiting or of.is_for_auction:
        return
    if of.order.time_in_force is TimeInForce.FOK and not is_enough and available(ladder, of, bound) < of.leaves_qty:
        return
    takes, of.takes = of.takes, True
    while book.holds(of):
        others: Iterator[Working] = ladder.against(of, bound)
        other = next((each for each in others if not earlier or each.number < of.number), None)
        if other is None:
            break
        if of.order.post_only:
            desk.end(book, of, ExecType.CANCELED, time_ns, out, "post-only: it would take")
            break
        _trade(book, desk, of, other, time_ns, out)
    of.takes = takes


def _trade(book: Book, desk: Desk, of: Working, other: Working, time_ns: int, out: Reports) -> None:
    """One trade, at the price of the one that rests. One that may only reduce, and cannot, is canceled by it."""
    price = other.limit_price
    assert price is not None
    wanted = of.leaves_qty
    if of.order.reduce_only:
        wanted = min(wanted, of.holding.closable(of.is_buy))
    if not wanted:
        desk.fill(book, of, ZERO, price, time_ns, out)
        return
    if other.takes:
        # No price has been told since it came: it rests here all the same.
        other.takes = False
        other.ahead = ZERO
        assert book.ladder is not None
        book.ladder.place_again(book.orders, (other,))
    filled = desk.fill(book, other, wanted, price, time_ns, out)
    if filled > ZERO:
        desk.fill(book, of, filled, price, time_ns, out)
