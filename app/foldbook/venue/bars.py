"""How bars fill orders.

A bar opens, and later the rest of it is known. Orders that are open when it opens, and those that arrive while its open
is all that is known, are filled at the open or by the rest of the bar. Each step is what happens to one order: whoever
walks through the steps may cancel other orders in between, as the legs of a group do. An order that arrives in between
the steps of the rest of a bar, or gets new prices there, is not looked at before the next bar opens: nobody knows what
was still to come in this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import chain

from foldbook.market.records import Bar
from foldbook.trading.values import EXACT, ExecType, TimeInForce
from foldbook.venue.book import Book
from foldbook.venue.desk import Desk, Reports
from foldbook.venue.orders import Path
from foldbook.venue.working import Working

_OPENING, _CLOSE = TimeInForce.AT_THE_OPENING, TimeInForce.AT_THE_CLOSE


# -- the open ----------------------------------------------------------------------------------------------------


def at_open(book: Book, desk: Desk, price: Decimal, time_ns: int) -> Iterator[Reports]:
    """A bar opens: the orders are looked at in order of arrival."""
    for of in list(book.orders.values()):
        if not book.holds(of):
            continue
        of.is_late = of.arrived_ns > time_ns
        if of.is_late:
            continue
        out: Reports = []
        look_at_open(book, desk, of, price, time_ns, out)
        if out:
            book.is_answered = of.limit_price is not None or of.stop_price is not None
            yield out
            book.is_answered = False


def look_at_open(book: Book, desk: Desk, of: Working, price: Decimal, time_ns: int, out: Reports) -> None:
    """What the open of a bar does to an order."""
    if of.order.time_in_force is _CLOSE:
        return
    if of.is_waiting:
        if not of.is_triggered_by(price):
            of.follow(price)
            return
        desk.trigger(of, time_ns, out)
    if of.reaches(price):
        # What rests gets the open itself: better than its limit, after a gap.
        desk.fill(book, of, None, desk.taken(book, of, price) if of.takes else price, time_ns, out)
    desk.settle(book, of, time_ns, out)


# -- the rest of the bar -----------------------------------------------------------------------------------------


def after_open(
    book: Book, desk: Desk, present: list[Working], bar: Bar, opened: Decimal, path: Path
) -> Iterator[Reports]:
    """The rest of the bar, and its close, for the orders that are present."""
    rest = [of for of in present if not of.is_for_auction and not of.is_late]
    if path is Path.ADVERSE:
        yield from _adverse(book, desk, rest, bar, opened)
    else:
        extremes = (bar.high, bar.low) if path is Path.OHLC else (bar.low, bar.high)
        yield from _along(book, desk, rest, bar.open_time_ns, (opened, *extremes, bar.close))
    for of in present:
        if of.order.time_in_force is _CLOSE and book.holds(of):
            yield _at_close(book, desk, of, bar)


def _at_close(book: Book, desk: Desk, of: Working, bar: Bar) -> Reports:
    out: Reports = []
    if of.reaches(bar.close):
        of.takes = True
        desk.fill(book, of, None, desk.taken(book, of, bar.close), bar.time_ns, out)
    if book.holds(of):
        desk.end(book, of, ExecType.EXPIRED, bar.time_ns, out, "the close did not reach it")
    return out


def _adverse(book: Book, desk: Desk, rest: list[Working], bar: Bar, opened: Decimal) -> Iterator[Reports]:
    """Stops first, then limits; of each the nearer first.

    While its account has a position, the extreme that is bad for it comes first. What only the way from the other
    extreme to the close can reach comes last: a trailing stop that has followed, the limit of a triggered stop.
    """
    time_ns = bar.open_time_ns
    held = {account: holding.quantity for account, holding in book.holdings.items()}

    def place(of: Working) -> tuple[bool, Decimal, int]:
        assert of.level is not None
        position = held[of.order.account]
        is_late = bool(position) and of.goes_up is (position > 0)
        return is_late, EXACT.subtract(of.level, opened).copy_abs(), of.number

    stops = [of for of in rest if of.is_waiting]
    limits = [of for of in rest if not of.is_waiting]
    touched = [sorted((of for of in kind if _is_within(of, bar)), key=place) for kind in (stops, limits)]
    for of in chain(*touched):
        if book.holds(of) and of.level is not None:
            yield _meet(book, desk, of, of.level, time_ns)
    for of in stops:
        of.follow(bar.low if of.is_buy else bar.high)
        is_met = of.is_triggered_by(bar.close) if of.is_waiting else of.reaches(bar.close)
        if is_met and book.holds(of) and of.level is not None:
            yield _meet(book, desk, of, of.level, time_ns)


def _is_within(of: Working, bar: Bar) -> bool:
    """Does the bar touch the order's level?"""
    level = of.level
    return level is not None and (level <= bar.high if of.goes_up else level >= bar.low)


def _along(
    book: Book, desk: Desk, rest: list[Working], time_ns: int, corners: tuple[Decimal, ...]
) -> Iterator[Reports]:
    """The orders in the order in which the path meets them."""
    here = corners[0]
    for corner in corners[1:]:
        while (met := _next(book, rest, here, corner)) is not None:
            assert met.level is not None
            here = met.level
            yield _meet(book, desk, met, here, time_ns)
        here = corner
        for of in rest:
            of.follow(corner)


def _next(book: Book, rest: list[Working], here: Decimal, corner: Decimal) -> Working | None:
    """The first order that the way from here to the corner meets."""
    goes_up = corner > here
    best: Working | None = None
    for of in rest:
        level = of.level
        if level is None or of.goes_up is not goes_up or not book.holds(of):
            continue
        if level > corner if goes_up else level < corner:
            continue
        if best is None or best.level is None or (level < best.level if goes_up else level > best.level):
            best = of
    return best


def _meet(book: Book, desk: Desk, of: Working, price: Decimal, time_ns: int) -> Reports:
    """What happens to an order whose level the price has come to."""
    out: Reports = []
    if not of.is_waiting:
        desk.fill(book, of, None, price, time_ns, out)
        return out
    desk.trigger(of, time_ns, out)
    if of.reaches(price):
        desk.fill(book, of, None, desk.taken(book, of, price), time_ns, out)
    desk.settle(book, of, time_ns, out)
    return out
