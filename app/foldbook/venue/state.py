"""The whole state of the exchange as a value, to be written down and read back.

What is made of it is the exchange that it was taken of: the same messages have the same effect on both.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from msgspec import Struct

from foldbook.venue.book import Book
from foldbook.venue.data import last_of, last_told, quote_of, quote_told
from foldbook.venue.exchange import Exchange
from foldbook.venue.ladder import Ladder
from foldbook.venue.matching import Matching
from foldbook.venue.messages import BarTold, QuoteTold, TradeTold
from foldbook.venue.orders import Costs, Path, VenueInstrument, VenueOrder
from foldbook.venue.records import Order, Report
from foldbook.venue.working import Holding, Working


class WorkingState(Struct, frozen=True, kw_only=True, gc=False):
    """An open order in its book."""

    order: VenueOrder
    venue_order_id: str
    number: int
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    arrived_ns: int
    cum_qty: Decimal
    is_buy: bool
    is_waiting: bool
    takes: bool
    is_late: bool
    ahead: Decimal


class BookState(Struct, frozen=True, kw_only=True):
    instrument: VenueInstrument
    holdings: dict[str, Decimal]
    last: QuoteTold | TradeTold | BarTold | Decimal | None
    opened: Decimal | None
    opened_ns: int
    quote: QuoteTold | None
    taken_bid: Decimal
    taken_ask: Decimal
    next_expiry_ns: int | None
    orders: list[WorkingState]


class MatchingState(Struct, frozen=True, kw_only=True):
    costs: Costs
    path: Path
    is_open: bool
    accepted: int
    arrived: int
    executions: int
    books: list[BookState]


class ExchangeState(Struct, frozen=True, kw_only=True):
    """``orders`` are those that are remembered, by number; ``closed`` the numbers of those that are over, in the order
    in which they ended. The fills are kept apart, because there are so many."""

    matching: MatchingState
    cash: dict[str, dict[str, Decimal]]
    """By account and currency."""
    orders: list[Order]
    closed: list[int]
    order_count: int
    report_count: int
    data_ns: int
    fills_dropped_seq: int


# -- taken -------------------------------------------------------------------------------------------------------------


def state_of(exchange: Exchange) -> ExchangeState:
    return ExchangeState(
        matching=_matching_state(exchange.matching),
        cash={account.name: dict(account.cash) for account in exchange.accounts.values()},
        orders=list(exchange.orders.values()),
        closed=list(exchange.closed),
        order_count=exchange.order_count,
        report_count=exchange.report_count,
        data_ns=exchange.data_ns,
        fills_dropped_seq=exchange.fills_dropped_seq,
    )


def _matching_state(matching: Matching) -> MatchingState:
    return MatchingState(
        costs=matching.desk.costs,
        path=matching.path,
        is_open=matching.is_open,
        accepted=matching.accepted,
        arrived=matching.arrived,
        executions=matching.desk.executions,
        books=[_book_state(book) for book in matching.books.values()],
    )


def _book_state(book: Book) -> BookState:
    return BookState(
        instrument=book.instrument,
        holdings={account: holding.quantity for account, holding in book.holdings.items()},
        last=last_told(book.last),
        opened=book.opened,
        opened_ns=book.opened_ns,
        quote=None if book.quote is None else quote_told(book.quote),
        taken_bid=book.taken_bid,
        taken_ask=book.taken_ask,
        next_expiry_ns=book.next_expiry_ns,
        orders=[_working_state(of) for of in book.orders.values()],
    )


def _working_state(of: Working) -> WorkingState:
    return WorkingState(**{name: getattr(of, name) for name in WorkingState.__struct_fields__})


# -- and made again ----------------------------------------------------------------------------------------------------


def exchange_of(state: ExchangeState, fills: list[Report]) -> Exchange:
    exchange = Exchange()
    _restore_matching(exchange.matching, state.matching)
    for name, cash in state.cash.items():
        exchange.account_of(name).cash = cash
    for order in state.orders:
        _restore_order(exchange, order)
    exchange.closed = deque(state.closed)
    exchange.order_count, exchange.report_count = state.order_count, state.report_count
    exchange.data_ns, exchange.fills_dropped_seq = state.data_ns, state.fills_dropped_seq
    exchange.fills = fills
    for fill in fills:
        exchange.accounts[fill.account].fills.append(fill)
    return exchange


def _restore_order(exchange: Exchange, order: Order) -> None:
    account = exchange.account_of(order.account)
    exchange.orders[order.number] = account.orders[order.number] = order
    account.by_client_id.setdefault(order.client_order_id, []).append(order)
    exchange.by_key[order.key] = order
    if order.is_open:
        account.open_orders[order.number] = order


def _restore_matching(matching: Matching, state: MatchingState) -> None:
    matching.configure(state.costs, state.path)
    matching.is_open = state.is_open
    matching.accepted, matching.arrived = state.accepted, state.arrived
    matching.desk.executions = state.executions
    found: list[tuple[Working, Book]] = []
    for each in state.books:
        book, ladder = _restore_book(each)
        matching.books[each.instrument.symbol] = book
        for working_state in each.orders:
            of = _restore_working(book, working_state)
            ladder.place(of)
            found.append((of, book))
    # The places of all open orders are in order of arrival.
    for of, book in sorted(found, key=lambda pair: pair[0].number):
        matching.desk.places[of.order.order_id] = book


def _restore_book(state: BookState) -> tuple[Book, Ladder]:
    quote = None if state.quote is None else quote_of(state.quote)
    ladder = Ladder()
    book = Book(
        instrument=state.instrument,
        holdings={account: Holding(quantity=quantity) for account, quantity in state.holdings.items()},
        last=last_of(state.last),
        opened=state.opened,
        opened_ns=state.opened_ns,
        quote=quote,
        taken_bid=state.taken_bid,
        taken_ask=state.taken_ask,
        next_expiry_ns=state.next_expiry_ns,
        ladder=ladder,
    )
    return book, ladder


def _restore_working(book: Book, state: WorkingState) -> Working:
    fields = {name: getattr(state, name) for name in WorkingState.__struct_fields__}
    of = Working(holding=book.holding_of(state.order.account), **fields)
    book.orders[of.order.order_id] = of
    return of
