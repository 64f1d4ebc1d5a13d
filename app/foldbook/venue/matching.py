"""The matching engine of the simulated venue.

It is pure: orders and market data go in with their times, execution reports come out. Whoever calls it decides in which
order things come; it reads no clock. How bars fill orders is told in ``bars``, how quotes and trades do in ``ticks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

import msgspec

from foldbook.market.records import Bar, Quote, Trade
from foldbook.trading.values import ZERO, ExecType, TimeInForce, add, canonical
from foldbook.venue.bars import after_open, at_open, look_at_open
from foldbook.venue.book import Book
from foldbook.venue.checks import why_rejected, why_replace_rejected
from foldbook.venue.desk import Desk, Reports
from foldbook.venue.ladder import Ladder
from foldbook.venue.meeting import market_bound, meet
from foldbook.venue.orders import Costs, Path, VenueInstrument, VenueOrder, VenueReport
from foldbook.venue.ticks import match_quote, match_trade
from foldbook.venue.working import Working, working

_OPENING = TimeInForce.AT_THE_OPENING


class Matching:
    """The open orders, by symbol.

    ``is_shared``: they are of many accounts, and those of different accounts trade with each other.

    ``instruments``: a symbol that is not among them has any tick and lot, multiplier 1 and quote currency USD.
    ``expects``: the symbols of which there will be market data, so that a market order waits for it; for any other
    symbol of which no price is known it is rejected.

    All times are nanoseconds since the epoch. What is filled within a bar has the time of its open: a bar does not say
    when.
    """

    def __init__(
        self,
        costs: Costs,
        path: Path = Path.ADVERSE,
        instruments: Iterable[VenueInstrument] = (),
        expects: Iterable[str] = (),
        *,
        is_shared: bool = False,
    ) -> None:
        self.desk = Desk(costs)
        self.path = path
        self.is_open = True
        """Is there a session?"""
        self._is_shared = is_shared
        self.books: dict[str, Book] = {}
        for each in instruments:
            self.define(each)
        for symbol in expects:
            self._book_of(symbol).is_expected = True
        self.accepted = 0
        self.arrived = 0

    def _book_of(self, symbol: str) -> Book:
        book = self.books.get(symbol)
        if book is None:
            book = self.books[symbol] = Book(
                instrument=VenueInstrument(symbol=symbol), ladder=Ladder() if self._is_shared else None
            )
        return book

    def price_of(self, symbol: str) -> Decimal | None:
        """The last price that was told: of a bar its open or close, of a quote the middle. None: none was."""
        book = self.books.get(symbol)
        return None if book is None else book.last_price

    def instrument_of(self, symbol: str) -> VenueInstrument:
        """What the symbol is; that of one that nobody has named yet is not remembered."""
        book = self.books.get(symbol)
        return VenueInstrument(symbol=symbol) if book is None else book.instrument

    def position_of(self, account: str, symbol: str) -> Decimal:
        """The sum of the account's fills."""
        book = self.books.get(symbol)
        holding = None if book is None else book.holdings.get(account)
        return ZERO if holding is None else holding.quantity

    def positions_of(self, account: str) -> dict[str, Decimal]:
        """What the account holds, by symbol."""
        held = ((symbol, book.holdings.get(account)) for symbol, book in self.books.items())
        return {symbol: holding.quantity for symbol, holding in held if holding is not None and holding.quantity}

    def quotes(self) -> Iterator[Quote]:
        """The last quote of each symbol that has one."""
        return (book.quote for book in self.books.values() if book.quote is not None)

    def instruments(self) -> Iterator[VenueInstrument]:
        return (book.instrument for book in self.books.values())

    # -- the operator --------------------------------------------------------------------------------------------

    def configure(self, costs: Costs, path: Path) -> None:
        """What trading costs from now on, and how bars are walked."""
        self.desk.charge(costs)
        self.path = path

    def define(self, instrument: VenueInstrument) -> None:
        """What the symbol is from now on. Orders that are open stay as they are."""
        self._book_of(instrument.symbol).instrument = instrument

    def move(self, account: str, symbol: str, quantity: Decimal) -> None:
        """Change what the account holds, without a trade of an order."""
        holding = self._book_of(symbol).holding_of(account)
        holding.quantity = add(holding.quantity, quantity)

    def amend(self, order_id: str, quantity: Decimal) -> None:
        """The open order has traded so much more; negative: less."""
        of = self.desk.places[order_id].orders[order_id]
        of.cum_qty = add(of.cum_qty, quantity)

    # -- orders --------------------------------------------------------------------------------------------------

    def submit(self, order: VenueOrder, time_ns: int) -> list[VenueReport]:
        """An order arrives: NEW, and what it trades at once; or REJECTED, with a reason.

        It trades at once at the open of a bar of which no more is known yet, or with a quote that is not older than it.
        """
        book = self._book_of(order.symbol)
        if order.order_id in self.desk.places:
            reason: str | None = f"order id {order.order_id} is that of an open order"
        else:
            reason = why_rejected(order, book, time_ns, is_open=self.is_open)
        if reason is not None:
            return [_answer(ExecType.REJECTED, order.order_id, time_ns, reason)]
        self.accepted += 1
        of = working(order, f"v{self.accepted}", self._next_number(), book.holding_of(order.account), time_ns)
        out: Reports = [
            VenueReport(
                exec_type=ExecType.NEW, order_id=order.order_id, time_ns=time_ns, venue_order_id=of.venue_order_id
            )
        ]
        self.desk.add(book, of)
        self._reduce(book, of, time_ns, out)
        self._arrive(book, of, time_ns, out)
        return out

    def cancel(self, order_id: str, time_ns: int, request_id: str | None = None) -> list[VenueReport]:
        """CANCELED; or CANCEL_REJECTED, if no such order is open."""
        book = self.desk.places.get(order_id)
        if book is None:
            return [_answer(ExecType.CANCEL_REJECTED, order_id, time_ns, _NOT_OPEN, request_id)]
        out: Reports = []
        self.desk.end(book, book.orders[order_id], ExecType.CANCELED, time_ns, out, request_id=request_id)
        return out

    def replace(
        self,
        order_id: str,
        time_ns: int,
        quantity: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        request_id: str | None = None,
    ) -> list[VenueReport]:
        """REPLACED with the terms after it, and what it trades at once; or REPLACE_REJECTED, with a reason.

        What is None does not change. ``quantity`` is that of the whole order, with what has traded. An order whose
        quantity only becomes less keeps its place; any other goes behind those that are open.
        """
        book = self.desk.places.get(order_id)
        if book is None:
            return [_answer(ExecType.REPLACE_REJECTED, order_id, time_ns, _NOT_OPEN, request_id)]
        of = book.orders[order_id]
        then = msgspec.structs.replace(
            of,
            quantity=of.quantity if quantity is None else canonical(quantity),
            limit_price=of.limit_price if limit_price is None else canonical(limit_price),
            stop_price=of.stop_price if stop_price is None else canonical(stop_price),
        )
        reason = why_replace_rejected(of, then, stop_price is not None, book)
        if reason is not None:
            return [_answer(ExecType.REPLACE_REJECTED, order_id, time_ns, reason, request_id)]
        keeps_place = (
            then.quantity <= of.quantity and then.limit_price == of.limit_price and then.stop_price == of.stop_price
        )
        if keeps_place:
            of.quantity = then.quantity
            then = of
        out: Reports = [
            VenueReport(
                exec_type=ExecType.REPLACED,
                order_id=order_id,
                time_ns=time_ns,
                quantity=then.quantity,
                limit_price=then.limit_price,
                stop_price=then.stop_price,
                venue_order_id=then.venue_order_id,
                request_id=request_id,
            )
        ]
        if not keeps_place:
            self.desk.remove(book, of)
            then.number = self._next_number()
            then.arrived_ns = time_ns
            then.rungs = then.rung = None
            self.desk.add(book, then)
            self._reduce(book, then, time_ns, out)
            self._arrive(book, then, time_ns, out)
        return out

    def _next_number(self) -> int:
        self.arrived += 1
        return self.arrived

    def _reduce(self, book: Book, of: Working, time_ns: int, out: Reports) -> None:
        """An order that may only reduce is cut to what there is to close."""
        if not of.order.reduce_only:
            return
        closable = of.holding.closable(of.is_buy)
        if closable and closable < of.leaves_qty:
            of.quantity = add(of.cum_qty, closable)
            self.desk.restate(of, time_ns, out, "reduce-only: cut to what closes the position")

    def _arrive(self, book: Book, of: Working, time_ns: int, out: Reports) -> None:
        """The order takes its place, and trades if it can do so now."""
        price = book.price_for(of.is_buy)
        of.takes = price is None or of.reaches(price)
        of.ahead = ZERO if of.limit_price is None else book.shown_at(of.is_buy, of.limit_price)
        if price is not None and of.is_waiting and not of.is_triggered_by(price):
            of.follow(price)
        if book.opened is not None:
            of.is_late = book.is_answered or time_ns > book.opened_ns
        if book.ladder is None:
            self._trade_now(book, of, time_ns, out)
            return
        if self.is_open:
            meet(book, self.desk, of, market_bound(book, of), time_ns, out)
            if book.holds(of):
                self._trade_now(book, of, time_ns, out)
        if book.holds(of):
            book.ladder.place(of)

    def _trade_now(self, book: Book, of: Working, time_ns: int, out: Reports) -> None:
        """Trade with what the market shows, if that is not older than the order."""
        if book.opened is not None:
            if of.order.time_in_force is not _OPENING and not of.is_late:
                look_at_open(book, self.desk, of, book.opened, time_ns, out)
        elif book.quote is not None and book.quote.time_ns >= time_ns:
            match_quote(book, self.desk, (of,), time_ns, out)

    def close_at(self, symbol: str, price: Decimal, time_ns: int) -> list[VenueReport]:
        """The orders of the symbol trade at the open of a bar that is over, although they came after it."""
        book = self._book_of(symbol)
        out: Reports = []
        for of in list(book.orders.values()):
            look_at_open(book, self.desk, of, price, time_ns, out)
        return out

    # -- market data ---------------------------------------------------------------------------------------------

    def on_open(self, symbol: str, price: Decimal, time_ns: int) -> list[VenueReport]:
        """A bar opens."""
        return [report for step in self.open_steps(symbol, price, time_ns) for report in step]

    def on_bar(self, bar: Bar) -> list[VenueReport]:
        """The rest of the bar that opened; one that was not told to open opens now."""
        return [report for step in self.bar_steps(bar) for report in step]

    def open_steps(self, symbol: str, price: Decimal, time_ns: int) -> Iterator[list[VenueReport]]:
        """``on_open`` order by order, for whoever has an answer to what happens to one before the next is looked at:
        between two steps orders may arrive, be replaced and be canceled."""
        book = self._book_of(symbol)
        book.last = price
        if not self.is_open:
            return
        book.opened, book.opened_ns = price, time_ns
        if not book.orders:
            return
        yield from self._expired(book, time_ns)
        yield from at_open(book, self.desk, price, time_ns)
        if book.ladder is not None:
            book.ladder.place_again(book.orders, book.orders.values())

    def bar_steps(self, bar: Bar) -> Iterator[list[VenueReport]]:
        """``on_bar`` likewise. An order that arrives between two steps waits for the next bar."""
        book = self._book_of(bar.symbol)
        if book.has_been_told(bar):
            book.last = bar
            if self.is_open:
                yield from self._expired(book, bar.time_ns)
            return
        if book.opened is None:
            yield from self.open_steps(bar.symbol, bar.open, bar.open_time_ns)
        opened, book.opened, book.last = book.opened, None, bar
        if not book.orders or opened is None or not self.is_open:
            return
        present = [of for of in book.orders.values() if of.arrived_ns <= bar.time_ns]
        # What expires within the bar gets nothing of it: nobody knows what came before.
        yield from self._expired(book, bar.time_ns - 1)
        yield from after_open(book, self.desk, present, bar, opened, self.path)
        yield from self._expired(book, bar.time_ns)
        if book.ladder is not None:
            book.ladder.place_again(book.orders, book.orders.values())

    def on_quote(self, quote: Quote) -> list[VenueReport]:
        """What is shown at the best bid and ask."""
        book = self.books.get(quote.symbol) or self._book_of(quote.symbol)
        book.last = book.quote = quote
        book.taken_bid = book.taken_ask = ZERO
        if not book.orders or not self.is_open:
            return []
        out: Reports = []
        self.desk.expire(book, quote.time_ns, out)
        if book.ladder is None:
            match_quote(book, self.desk, list(book.orders.values()), quote.time_ns, out)
        elif found := book.ladder.reached(quote.ask, quote.bid):
            match_quote(book, self.desk, found, quote.time_ns, out)
            book.ladder.place_again(book.orders, found)
        return out

    def on_trade(self, trade: Trade) -> list[VenueReport]:
        """What somebody else traded."""
        book = self.books.get(trade.symbol) or self._book_of(trade.symbol)
        book.last = trade
        if not book.orders or not self.is_open:
            return []
        out: Reports = []
        self.desk.expire(book, trade.time_ns, out)
        if book.ladder is None:
            match_trade(book, self.desk, list(book.orders.values()), trade, out)
        elif found := book.ladder.reached(trade.price, trade.price):
            match_trade(book, self.desk, found, trade, out)
            book.ladder.place_again(book.orders, found)
        return out

    def end_session(self, time_ns: int, symbol: str | None = None) -> list[VenueReport]:
        """Orders that are good for a day, and arrived before, expire. ``symbol``: of this one only."""
        return self._expire_day(
            time_ns,
            lambda book, of: of.arrived_ns < time_ns and (symbol is None or symbol == book.instrument.symbol),
        )

    def _expire_day(self, time_ns: int, is_over: Callable[[Book, Working], bool]) -> Reports:
        out: Reports = []
        for order_id, book in list(self.desk.places.items()):
            of = book.orders[order_id]
            if of.order.time_in_force is TimeInForce.DAY and is_over(book, of):
                self.desk.end(book, of, ExecType.EXPIRED, time_ns, out, "the session has ended")
        return out

    def expire(self, time_ns: int) -> list[VenueReport]:
        """The time has come to this: what was good till then expires."""
        out: Reports = []
        for book in self.books.values():
            self.desk.expire(book, time_ns, out)
        return out

    def next_expiry_ns(self) -> int | None:
        """No order expires before; None: none does."""
        expiries = (book.next_expiry_ns for book in self.books.values() if book.next_expiry_ns is not None)
        return min(expiries, default=None)

    def close_session(self, time_ns: int) -> list[VenueReport]:
        """Nothing trades until it opens again; orders that are good for a day expire."""
        self.is_open = False
        return self._expire_day(time_ns, lambda book, of: True)

    def open_session(self, time_ns: int) -> list[VenueReport]:
        """Trading begins: orders of different accounts meet, as if they arrived one after the other."""
        self.is_open = True
        out: Reports = []
        for book in self.books.values():
            for of in list(book.orders.values()):
                meet(book, self.desk, of, market_bound(book, of), time_ns, out, earlier=True)
        return out

    def _expired(self, book: Book, until_ns: int) -> Iterator[Reports]:
        out: Reports = []
        self.desk.expire(book, until_ns, out)
        if out:
            yield out


_NOT_OPEN = "no open order has this id"


def _answer(
    exec_type: ExecType, order_id: str, time_ns: int, reason: str, request_id: str | None = None
) -> VenueReport:
    return VenueReport(exec_type=exec_type, order_id=order_id, time_ns=time_ns, reason=reason, request_id=request_id)
