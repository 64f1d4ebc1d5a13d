"""Books what happens to orders, and tells it in reports."""

from __future__ import annotations

from decimal import Decimal

from foldbook.trading.values import (
    EXACT,
    FRACTION_DIGITS_MAX,
    ONE,
    ZERO,
    ExecType,
    TimeInForce,
    add,
    canonical,
    quotient,
    subtract,
)
from foldbook.venue.book import Book
from foldbook.venue.orders import Costs, VenueReport
from foldbook.venue.working import Working

_TRADE, _CANCELED, _EXPIRED, _RESTATED = ExecType.TRADE, ExecType.CANCELED, ExecType.EXPIRED, ExecType.RESTATED
_OPENING = TimeInForce.AT_THE_OPENING

_multiply = EXACT.multiply
_SMALLEST = ONE.scaleb(-FRACTION_DIGITS_MAX)

Reports = list[VenueReport]


class Desk:
    """``places`` has the book of each open order, by the order's id."""

    def __init__(self, costs: Costs) -> None:
        self.places: dict[str, Book] = {}
        self.executions = 0
        self.charge(costs)

    def charge(self, costs: Costs) -> None:
        """What trading costs from now on."""
        self.costs = costs
        self._cost_of_price = add(costs.spread, costs.slippage)

    def add(self, book: Book, of: Working) -> None:
        """The order is open, behind those that are."""
        order = of.order
        book.orders[order.order_id] = of
        self.places[order.order_id] = book
        expiry = order.expire_at_ns
        if expiry is not None and (book.next_expiry_ns is None or expiry < book.next_expiry_ns):
            book.next_expiry_ns = expiry

    def remove(self, book: Book, of: Working) -> None:
        """The order is not open any more."""
        del book.orders[of.order.order_id]
        del self.places[of.order.order_id]
        if book.ladder is not None:
            book.ladder.lift(of)

    # -- prices --------------------------------------------------------------------------------------------------

    def taken(self, book: Book, of: Working, price: Decimal) -> Decimal:
        """What an order pays or gets that takes at the price of a bar or trade: worse by spread and slippage."""
        return self._worse(book, of, price, self._cost_of_price)

    def taken_of_quote(self, book: Book, of: Working, price: Decimal) -> Decimal:
        """What it pays or gets that takes at the price that a quote shows: worse by the slippage."""
        return self._worse(book, of, price, self.costs.slippage)

    def _worse(self, book: Book, of: Working, price: Decimal, cost: Decimal) -> Decimal:
        """Worse by a fraction of the price, on the next tick, but never beyond the limit."""
        if not cost:
            return price
        distance = _multiply(price.copy_abs(), cost)
        if of.is_buy:
            worse = _on_tick(add(price, distance), book.instrument.tick_size, is_up=True)
            return worse if of.limit_price is None else min(worse, of.limit_price)
        worse = _on_tick(subtract(price, distance), book.instrument.tick_size, is_up=False)
        return worse if of.limit_price is None else max(worse, of.limit_price)

    # -- what happens --------------------------------------------------------------------------------------------

    def fill(
        self, book: Book, of: Working, shown: Decimal | None, price: Decimal, time_ns: int, out: Reports
    ) -> Decimal:
        """Fill the order at the price, with at most what is shown. Returns how much that was.

        An order that may only reduce gets no more than closes the position; what it does not need then is canceled.
        """
        if of.takes and of.order.post_only:
            self.end(book, of, _CANCELED, time_ns, out, "post-only: it would take")
            return ZERO
        quantity = of.leaves_qty
        if shown is not None and shown < quantity:
            quantity = shown
        closable = None
        if of.order.reduce_only:
            closable = of.holding.closable(of.is_buy)
            quantity = min(quantity, closable)
        if quantity > ZERO:
            self._book_fill(book, of, quantity, price, time_ns, out)
        if closable is not None and closable == quantity and book.holds(of):
            self.end(book, of, _CANCELED, time_ns, out, "reduce-only: there is no position left to reduce")
        return quantity

    def _book_fill(
        self, book: Book, of: Working, quantity: Decimal, price: Decimal, time_ns: int, out: Reports
    ) -> None:
        of.cum_qty = add(of.cum_qty, quantity)
        holding = of.holding
        holding.quantity = add(holding.quantity, quantity) if of.is_buy else subtract(holding.quantity, quantity)
        rate = self.costs.taker if of.takes else self.costs.maker
        fee = _amount(_multiply(_multiply(_multiply(quantity, price), book.instrument.multiplier), rate))
        self.executions += 1
        out.append(
            VenueReport(
                exec_type=_TRADE,
                order_id=of.order.order_id,
                time_ns=time_ns,
                exec_id=f"x{self.executions}",
                last_qty=quantity,
                last_px=price,
                fee=fee or None,
                fee_currency=book.instrument.quote_currency if fee else None,
                venue_order_id=of.venue_order_id,
            )
        )
        if of.cum_qty == of.quantity:
            self.remove(book, of)

    def trigger(self, of: Working, time_ns: int, out: Reports) -> None:
        """The stop has been reached: from now on it is a market or limit order. Where a trailing stop was is told."""
        of.is_waiting = False
        of.takes = True
        if of.order.trailing_offset is not None:
            self.restate(of, time_ns, out, "triggered")

    def restate(self, of: Working, time_ns: int, out: Reports, reason: str) -> None:
        """Tell terms that the venue has changed."""
        out.append(
            VenueReport(
                exec_type=_RESTATED,
                order_id=of.order.order_id,
                time_ns=time_ns,
                quantity=of.quantity,
                limit_price=of.limit_price,
                stop_price=of.stop_price,
                reason=reason,
                venue_order_id=of.venue_order_id,
            )
        )

    def end(
        self,
        book: Book,
        of: Working,
        exec_type: ExecType,
        time_ns: int,
        out: Reports,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """The order ends with what it has."""
        self.remove(book, of)
        out.append(
            VenueReport(
                exec_type=exec_type,
                order_id=of.order.order_id,
                time_ns=time_ns,
                reason=reason,
                venue_order_id=of.venue_order_id,
                request_id=request_id,
            )
        )

    def settle(self, book: Book, of: Working, time_ns: int, out: Reports) -> None:
        """A price has been told: what is left of an order that is for at once is canceled, a limit order rests."""
        if not book.holds(of) or of.is_waiting:
            return
        if of.takes and of.limit_price is not None:
            of.takes = False
            of.ahead = book.shown_at(of.is_buy, of.limit_price)
        if of.is_immediate:
            self.end(book, of, _CANCELED, time_ns, out, f"{of.order.time_in_force}: no more could be had at once")
        elif of.order.time_in_force is _OPENING:
            self.end(book, of, _EXPIRED, time_ns, out, "the opening did not reach it")

    def expire(self, book: Book, until_ns: int, out: Reports) -> None:
        """Orders that are good till a time, up to ``until_ns``, expire at their time."""
        if book.next_expiry_ns is None or book.next_expiry_ns > until_ns:
            return
        book.next_expiry_ns = None
        for of in list(book.orders.values()):
            expiry = of.order.expire_at_ns
            if expiry is None:
                continue
            if expiry <= until_ns:
                self.end(book, of, _EXPIRED, expiry, out)
            elif book.next_expiry_ns is None or expiry < book.next_expiry_ns:
                book.next_expiry_ns = expiry


def _on_tick(price: Decimal, tick: Decimal | None, *, is_up: bool) -> Decimal:
    """The price, or the next tick in that direction."""
    if tick is None or not EXACT.remainder(price, tick):
        return _amount(price)
    ticks = EXACT.divide_int(price, tick)  # cut towards 0
    if is_up is (price > ZERO):
        ticks = add(ticks, ONE if is_up else -ONE)
    return _amount(_multiply(ticks, tick))


def _amount(value: Decimal) -> Decimal:
    """The exact value; one with more digits after the point than an amount may have is rounded, half to even."""
    return quotient(value, ONE, FRACTION_DIGITS_MAX) if EXACT.remainder(value, _SMALLEST) else canonical(value)
