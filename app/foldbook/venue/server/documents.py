"""What the venue answers and tells, as JSON: amounts are text in plain notation, times RFC 3339 in UTC."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from foldbook.market.records import Quote, time_of
from foldbook.trading.values import ZERO, average, subtract
from foldbook.venue.messages import Datum, OpenTold, QuoteTold, TradeTold
from foldbook.venue.orders import VenueInstrument
from foldbook.venue.records import Order, Report


class OrderDocument(Struct, frozen=True, kw_only=True):
    """An order as the venue has it. ``status``: FIX OrdStatus (39)."""

    account: str
    client_order_id: str
    venue_order_id: str
    symbol: str
    side: str
    order_type: str
    time_in_force: str
    status: str
    quantity: str
    cum_qty: str
    leaves_qty: str
    avg_px: str
    limit_price: str | None
    stop_price: str | None
    reason: str | None
    created_at: str
    updated_at: str
    duplicate: bool = False


class ReportDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A report, or a fill; what is absent is not told."""

    seq: int
    kind: str
    account: str
    client_order_id: str | None = None
    venue_order_id: str | None = None
    exec_type: str | None = None
    exec_id: str | None = None
    exec_ref_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    last_qty: str | None = None
    last_px: str | None = None
    fee: str | None = None
    fee_currency: str | None = None
    quantity: str | None = None
    limit_price: str | None = None
    stop_price: str | None = None
    order_qty: str | None = None
    cum_qty: str | None = None
    request_id: str | None = None
    reason: str | None = None
    amount: str | None = None
    currency: str | None = None
    time: str


class QuoteDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    symbol: str
    bid: str
    ask: str
    bid_size: str | None = None
    ask_size: str | None = None
    time: str


class MarketFrame(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A datum as the market stream tells it."""

    kind: str
    time: str
    symbol: str | None = None
    bid: str | None = None
    ask: str | None = None
    bid_size: str | None = None
    ask_size: str | None = None
    price: str | None = None
    size: str | None = None
    aggressor: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str | None = None
    interval_s: float | None = None
    count: int | None = None


class InstrumentDocument(Struct, frozen=True, kw_only=True):
    symbol: str
    tick_size: str | None
    lot_size: str | None
    multiplier: str
    quote_currency: str


def time_text(time_ns: int) -> str:
    return time_of(time_ns).isoformat().replace("+00:00", "Z")


def plain(value: Decimal) -> str:
    return format(value, "f")


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def order_document(order: Order, *, is_duplicate: bool = False) -> OrderDocument:
    leaves = subtract(order.quantity, order.cum_qty) if order.is_open else ZERO
    return OrderDocument(
        account=order.account,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        symbol=order.symbol,
        side=order.side.value,
        order_type=order.order_type.value,
        time_in_force=order.time_in_force.value,
        status=order.status.value,
        quantity=plain(order.quantity),
        cum_qty=plain(order.cum_qty),
        leaves_qty=plain(leaves),
        avg_px=plain(average(order.cost, order.cum_qty)),
        limit_price=_plain(order.limit_price),
        stop_price=_plain(order.stop_price),
        reason=order.reason,
        created_at=time_text(order.created_ns),
        updated_at=time_text(order.updated_ns),
        duplicate=is_duplicate,
    )


def report_document(report: Report) -> ReportDocument:
    return ReportDocument(
        seq=report.seq,
        kind=report.kind.value,
        account=report.account,
        client_order_id=report.client_order_id,
        venue_order_id=report.venue_order_id,
        exec_type=None if report.exec_type is None else report.exec_type.value,
        exec_id=report.exec_id,
        exec_ref_id=report.exec_ref_id,
        symbol=report.symbol,
        side=None if report.side is None else report.side.value,
        last_qty=_plain(report.last_qty),
        last_px=_plain(report.last_px),
        fee=_plain(report.fee),
        fee_currency=report.fee_currency,
        quantity=_plain(report.quantity),
        limit_price=_plain(report.limit_price),
        stop_price=_plain(report.stop_price),
        order_qty=_plain(report.order_qty),
        cum_qty=_plain(report.cum_qty),
        request_id=report.request_id,
        reason=report.reason,
        amount=_plain(report.amount),
        currency=report.currency,
        time=time_text(report.time_ns),
    )


def quote_document(quote: Quote) -> QuoteDocument:
    return QuoteDocument(
        symbol=quote.symbol,
        bid=plain(quote.bid),
        ask=plain(quote.ask),
        bid_size=_plain(quote.bid_size),
        ask_size=_plain(quote.ask_size),
        time=time_text(quote.time_ns),
    )


def market_frame(message: Datum) -> MarketFrame:
    time = time_text(message.time_ns)
    match message:
        case QuoteTold():
            return MarketFrame(
                kind="QUOTE",
                time=time,
                symbol=message.symbol,
                bid=plain(message.bid),
                ask=plain(message.ask),
                bid_size=_plain(message.bid_size),
                ask_size=_plain(message.ask_size),
            )
        case TradeTold():
            return MarketFrame(
                kind="TRADE",
                time=time,
                symbol=message.symbol,
                price=plain(message.price),
                size=_plain(message.size),
                aggressor=None if message.aggressor is None else message.aggressor.value,
            )
        case OpenTold():
            return MarketFrame(kind="OPEN", time=time, symbol=message.symbol, price=plain(message.price))
    return MarketFrame(
        kind="BAR",
        time=time,
        symbol=message.symbol,
        open=plain(message.open),
        high=plain(message.high),
        low=plain(message.low),
        close=plain(message.close),
        volume=_plain(message.volume),
        interval_s=message.interval_ns / 1e9,
    )


def instrument_document(instrument: VenueInstrument) -> InstrumentDocument:
    return InstrumentDocument(
        symbol=instrument.symbol,
        tick_size=_plain(instrument.tick_size),
        lot_size=_plain(instrument.lot_size),
        multiplier=plain(instrument.multiplier),
        quote_currency=instrument.quote_currency,
    )
