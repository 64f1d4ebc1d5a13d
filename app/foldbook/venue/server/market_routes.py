"""Market data in, instruments, sessions, faults, health."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from importlib import metadata
from typing import TypeVar

from litestar import get, post, put
from msgspec import UNSET, Struct, UnsetType

from foldbook.trading.values import SYMBOL, ZERO, amount
from foldbook.venue.messages import BarTold, CloseSession, InstrumentTold, OpenSession, OpenTold, QuoteTold, TradeTold
from foldbook.venue.server.bodies import (
    DATA_MAX,
    BarBody,
    Bars,
    InstrumentBody,
    Opens,
    QuoteBody,
    Quotes,
    Trades,
    ns_in,
)
from foldbook.venue.server.documents import (
    InstrumentDocument,
    QuoteDocument,
    instrument_document,
    quote_document,
    time_text,
)
from foldbook.venue.server.faults import FaultBody
from foldbook.venue.server.problems import VenueProblem, problem_responses
from foldbook.venue.server.venue import Venue

T = TypeVar("T")


class Taken(Struct, frozen=True, kw_only=True):
    """How many were taken."""

    count: int


class QuoteList(Struct, frozen=True, kw_only=True):
    quotes: list[QuoteDocument]
    time: str


class InstrumentList(Struct, frozen=True, kw_only=True):
    instruments: list[InstrumentDocument]


class Session(Struct, frozen=True, kw_only=True):
    is_open: bool
    time: str


class Health(Struct, frozen=True, kw_only=True):
    status: str
    version: str
    clock: str
    time: str
    is_open: bool
    deduplicates: bool
    replaces: bool
    accounts: int
    open_orders: int
    report_seq: int


@put("/quotes", responses=problem_responses("malformed", "invalid-request"))
async def put_quotes(data: Quotes, venue: Venue) -> Taken:
    """Tell what is shown at the best bid and ask of a symbol, or of many."""
    told = [_quote(body, venue) for body in _listed(data)]
    await venue.tell_data(told)
    return Taken(count=len(told))


@put("/trades", responses=problem_responses("malformed", "invalid-request"))
async def put_trades(data: Trades, venue: Venue) -> Taken:
    """Tell what somebody else traded."""
    told = [
        TradeTold(_time(body.time, venue), body.symbol, amount(body.price), _size(body.size), body.aggressor)
        for body in _listed(data)
    ]
    await venue.tell_data(told)
    return Taken(count=len(told))


@put("/opens", responses=problem_responses("malformed", "invalid-request"))
async def put_opens(data: Opens, venue: Venue) -> Taken:
    """Tell that a bar opens: what arrives at that time may trade there. Without it, a bar opens when it is told."""
    told = [OpenTold(_time(body.time, venue), body.symbol, amount(body.price)) for body in _listed(data)]
    await venue.tell_data(told)
    return Taken(count=len(told))


@put("/bars", responses=problem_responses("malformed", "invalid-request"))
async def put_bars(data: Bars, venue: Venue) -> Taken:
    """Tell what traded in an interval of time that has ended."""
    told = [_bar(body, venue) for body in _listed(data)]
    await venue.tell_data(told)
    return Taken(count=len(told))


@get("/quotes")
async def get_quotes(venue: Venue) -> QuoteList:
    """The last quote of each symbol that has one."""
    quotes = [quote_document(quote) for quote in venue.exchange.matching.quotes()]
    return QuoteList(quotes=quotes, time=time_text(venue.now_ns()))


@put("/instruments/{symbol:path}", responses=problem_responses("malformed", "invalid-request"))
async def put_instrument(symbol: str, data: InstrumentBody, venue: Venue) -> InstrumentDocument:
    """Say what a symbol is. Orders that are open stay as they are."""
    symbol = symbol.removeprefix("/")
    if re.fullmatch(SYMBOL, symbol) is None:
        raise VenueProblem("invalid-request", f"a symbol must match {SYMBOL}")
    venue.check_symbol(symbol)
    known = venue.exchange.matching.instrument_of(symbol)
    message = InstrumentTold(
        venue.now_ns(),
        symbol,
        _changed(data.tick_size, known.tick_size),
        _changed(data.lot_size, known.lot_size),
        known.multiplier if data.multiplier is UNSET else amount(data.multiplier),
        known.quote_currency if data.quote_currency is UNSET else data.quote_currency,
    )
    for name, value in (("tick_size", message.tick_size), ("lot_size", message.lot_size)):
        if value is not None and value <= ZERO:
            raise VenueProblem("invalid-request", f"{name} must be greater than 0")
    await venue.do(message)
    return instrument_document(venue.exchange.matching.instrument_of(symbol))


@get("/instruments")
async def get_instruments(venue: Venue) -> InstrumentList:
    """The symbols that were named so far, and what each is."""
    known = [instrument_document(each) for each in venue.exchange.matching.instruments()]
    return InstrumentList(instruments=known)


@post("/sessions/close", status_code=200)
async def close_session(venue: Venue) -> Session:
    """Trading ends: orders for the day expire, and nothing is filled until it begins again."""
    await venue.do(CloseSession(venue.now_ns()))
    return Session(is_open=False, time=time_text(venue.now_ns()))


@post("/sessions/open", status_code=200)
async def open_session(venue: Venue) -> Session:
    """Trading begins."""
    await venue.do(OpenSession(venue.now_ns()))
    return Session(is_open=True, time=time_text(venue.now_ns()))


@put("/faults", responses=problem_responses("malformed"))
async def put_faults(data: FaultBody, venue: Venue) -> FaultBody:
    """Set everything that goes wrong from now on; what is absent does not."""
    venue.faults.left = data
    return data


@get("/faults")
async def get_faults(venue: Venue) -> FaultBody:
    """What is still to go wrong."""
    return venue.faults.left


@get("/health")
async def get_health(venue: Venue) -> Health:
    exchange = venue.exchange
    return Health(
        status="ok",
        version=metadata.version("foldbook"),
        clock=venue.options.clock,
        time=time_text(venue.now_ns()),
        is_open=exchange.matching.is_open,
        deduplicates=venue.options.deduplicates,
        replaces=venue.options.replaces,
        accounts=len(exchange.accounts),
        open_orders=len(exchange.orders) - len(exchange.closed),
        report_seq=exchange.report_count,
    )


def _listed(data: T | list[T]) -> list[T]:
    listed = data if isinstance(data, list) else [data]
    if len(listed) > DATA_MAX:
        raise VenueProblem("malformed", f"at most {DATA_MAX:,} in one request, not {len(listed):,}")
    return listed


def _quote(body: QuoteBody, venue: Venue) -> QuoteTold:
    bid, ask = amount(body.bid), amount(body.ask)
    if bid > ask:
        raise VenueProblem("invalid-request", f"{body.symbol}: the bid {bid} is above the ask {ask}")
    return QuoteTold(_time(body.time, venue), body.symbol, bid, ask, _size(body.bid_size), _size(body.ask_size))


def _bar(body: BarBody, venue: Venue) -> BarTold:
    prices = opened, high, low, close = tuple(amount(text) for text in (body.open, body.high, body.low, body.close))
    if high != max(prices) or low != min(prices):
        raise VenueProblem("invalid-request", f"{body.symbol}: the bar goes beyond its high or low")
    return BarTold(
        _time(body.time, venue), body.symbol, opened, high, low, close, _size(body.volume), body.interval_s * 10**9
    )


def _size(text: str | None) -> Decimal | None:
    size = None if text is None else amount(text)
    if size is not None and size < ZERO:
        raise VenueProblem("invalid-request", f"a size cannot be {size}")
    return size


def _changed(text: str | UnsetType | None, known: Decimal | None) -> Decimal | None:
    if text is UNSET:
        return known
    return None if text is None else amount(text)


def _time(time: datetime | None, venue: Venue) -> int:
    return venue.now_ns() if time is None else ns_in(time)


ROUTES = (
    put_quotes,
    put_trades,
    put_opens,
    put_bars,
    get_quotes,
    put_instrument,
    get_instruments,
    close_session,
    open_session,
    put_faults,
    get_faults,
    get_health,
)
