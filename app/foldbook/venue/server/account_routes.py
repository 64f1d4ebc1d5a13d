"""Accounts: fills, positions, balances, and what the operator does to them."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated

from litestar import get, post
from litestar.params import Parameter
from msgspec import Struct

from foldbook.trading.values import amount
from foldbook.venue.messages import AnyMessage, Bust, Charge, Correct, Fund, Liquidate
from foldbook.venue.server.bodies import BustBody, CorrectionBody, FeeBody, FundingBody, LiquidationBody
from foldbook.venue.server.documents import ReportDocument, plain, report_document, time_text
from foldbook.venue.server.problems import VenueProblem, problem_responses
from foldbook.venue.server.venue import Venue

PAGE_MAX = 1_000
Limit = Annotated[int, Parameter(ge=1, le=PAGE_MAX)]


class Fills(Struct, frozen=True, kw_only=True):
    """``next``: what to ask for next, as ``after``. ``has_more``: is there more now?"""

    fills: list[ReportDocument]
    next: int
    has_more: bool


class Position(Struct, frozen=True, kw_only=True):
    symbol: str
    quantity: str


class Positions(Struct, frozen=True, kw_only=True):
    positions: list[Position]
    time: str


class Balance(Struct, frozen=True, kw_only=True):
    currency: str
    amount: str


class Balances(Struct, frozen=True, kw_only=True):
    """What came in less what went out since the account's first use: it may be negative."""

    balances: list[Balance]
    time: str


@get("/fills", responses=problem_responses("fills-gone", "fills-to-come"))
async def get_fills(
    venue: Venue, after: Annotated[int, Parameter(ge=0)] = 0, account: str | None = None, limit: Limit = PAGE_MAX
) -> Fills:
    """Trades, busts, corrections, liquidations, fundings and fees after a ``seq``."""
    exchange = venue.exchange
    if after < exchange.fills_dropped_seq:
        raise VenueProblem("fills-gone", f"fills up to {exchange.fills_dropped_seq} are not remembered any more")
    if after > exchange.report_count:
        raise VenueProblem("fills-to-come", f"there have been {exchange.report_count} reports: is it another venue?")
    if account is None:
        fills = exchange.fills
    else:
        known = exchange.accounts.get(account)
        fills = [] if known is None else known.fills
    first = bisect_right(fills, after, key=lambda fill: fill.seq)
    page = fills[first : first + limit]
    has_more = first + limit < len(fills)
    # Without more, later questions need not look at what other accounts did until now.
    answer = Fills(
        fills=[report_document(fill) for fill in page],
        next=page[-1].seq if has_more else exchange.report_count,
        has_more=has_more,
    )
    await venue.durable()
    return answer


@get("/positions")
async def get_positions(venue: Venue, account: str) -> Positions:
    """What the account holds; a symbol that is absent is flat."""
    held = venue.exchange.matching.positions_of(account)
    answer = Positions(
        positions=[Position(symbol=symbol, quantity=plain(held[symbol])) for symbol in sorted(held)],
        time=time_text(venue.now_ns()),
    )
    await venue.durable()
    return answer


@get("/balances")
async def get_balances(venue: Venue, account: str) -> Balances:
    """The account's cash flow, by currency."""
    known = venue.exchange.accounts.get(account)
    cash = {} if known is None else known.cash
    answer = Balances(
        balances=[Balance(currency=currency, amount=plain(cash[currency])) for currency in sorted(cash)],
        time=time_text(venue.now_ns()),
    )
    await venue.durable()
    return answer


@post("/liquidations", status_code=201, responses=problem_responses("no-position", "no-price"))
async def liquidate(data: LiquidationBody, venue: Venue) -> ReportDocument:
    """Close a position, or so much of it, at the last price, without an order."""
    quantity = None if data.quantity is None else amount(data.quantity)
    return await _done(venue, Liquidate(venue.now_ns(), data.account, data.symbol, quantity))


@post("/fundings", status_code=201)
async def fund(data: FundingBody, venue: Venue) -> ReportDocument:
    """Pay or take funding."""
    return await _done(venue, Fund(venue.now_ns(), data.account, data.symbol, data.currency, amount(data.amount)))


@post("/fees", status_code=201)
async def charge(data: FeeBody, venue: Venue) -> ReportDocument:
    """Charge a fee that belongs to no trade."""
    return await _done(venue, Charge(venue.now_ns(), data.account, data.currency, amount(data.amount), data.reason))


@post("/busts", status_code=201, responses=problem_responses("unknown-execution", "already-busted"))
async def bust(data: BustBody, venue: Venue) -> ReportDocument:
    """Take a trade back."""
    return await _done(venue, Bust(venue.now_ns(), data.account, data.exec_id))


@post(
    "/corrections",
    status_code=201,
    responses=problem_responses("unknown-execution", "already-busted", "invalid-request"),
)
async def correct(data: CorrectionBody, venue: Venue) -> ReportDocument:
    """Correct a trade's quantity or price."""
    last_qty = None if data.last_qty is None else amount(data.last_qty)
    last_px = None if data.last_px is None else amount(data.last_px)
    return await _done(venue, Correct(venue.now_ns(), data.account, data.exec_id, last_qty, last_px))


async def _done(venue: Venue, message: AnyMessage) -> ReportDocument:
    answer = await venue.do(message)
    if answer.refusal is not None:
        raise VenueProblem(answer.refusal, answer.reason or answer.refusal)
    return report_document(answer.reports[0])


ROUTES = (get_fills, get_positions, get_balances, liquidate, fund, charge, bust, correct)
