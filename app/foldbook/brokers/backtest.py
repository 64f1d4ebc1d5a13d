"""The port over a matching engine in memory: one account, on a clock that is given.

It makes the calls that a backtest makes (``venue_calls``), so that the contract of the port is tried on what a backtest
runs. Nothing here waits: there is no wire on which a request could get lost, and so there is no doubt before ``close``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from itertools import islice

import msgspec

from foldbook.brokers import venue_calls
from foldbook.brokers.port import (
    Acknowledged,
    Answer,
    Balance,
    BrokerUnavailable,
    Capabilities,
    Completeness,
    Fills,
    Holding,
    InDoubt,
    NewOrder,
    OrderRef,
    OrderState,
    Outcome,
    Refused,
    Report,
    ReportKind,
    Terms,
)
from foldbook.brokers.streams import ReportStream
from foldbook.market.records import Quote, Trade, ns_of, time_of
from foldbook.trading.values import (
    EXACT,
    ONE,
    ZERO,
    ExecType,
    OrderType,
    OrdStatus,
    Side,
    TimeInForce,
    add,
    canonical,
    subtract,
)
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, Path, VenueInstrument, VenueReport

ORDERS_MAX = 1_000_000
"""How many orders it takes: it keeps them all, so that a question about an order has an answer as long as it runs."""

FILLS_PAGE = 1_000

CAPABILITIES = Capabilities(
    order_types=frozenset(OrderType),
    times_in_force=frozenset(TimeInForce),
    replaces=True,
    trailing=True,
    dedup_s=float("inf"),
    id_alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-",
    id_length_max=64,
    settle_s=0.0,
    send_s=0.0,
)

_STATUS = {
    ExecType.CANCELED: OrdStatus.CANCELED,
    ExecType.EXPIRED: OrdStatus.EXPIRED,
}
_OPEN = (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)


class BacktestBroker:
    """One account at a venue in memory. ``clock``: what time it is; orders and market data have that time."""

    def __init__(
        self,
        account: str,
        clock: Callable[[], datetime],
        costs: Costs = Costs(),  # noqa: B008 - a value
        path: Path = Path.ADVERSE,
        instruments: Iterable[VenueInstrument] = (),
        expects: Iterable[str] = (),
    ) -> None:
        known = list(instruments)
        self._account = account
        self._clock = clock
        self._venue = Matching(costs, path, known, expects)
        self._instruments = {instrument.symbol: instrument for instrument in known}
        self._orders: dict[str, OrderState] = {}
        self._open: dict[str, None] = {}
        """The client ids of the open orders, in the order of their arrival."""
        self._fills: list[Report] = []
        self._positions: dict[str, Decimal] = {}
        self._cash: dict[str, Decimal] = {}
        self._streams: list[ReportStream] = []
        self._is_closed = False

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    # -- the market --------------------------------------------------------------------------------------------------

    def quote(self, quote: Quote) -> None:
        self._tell(self._venue.on_quote(quote))

    def trade(self, trade: Trade) -> None:
        self._tell(self._venue.on_trade(trade))

    # -- requests ----------------------------------------------------------------------------------------------------

    async def submit(self, order: NewOrder) -> Outcome:
        wrong = self._wrong(order.account)
        if wrong is not None:
            return wrong
        known = self._orders.get(order.client_order_id)
        if known is not None:
            return Acknowledged(broker_order_id=known.broker_order_id)
        refusal = self._why_not(order)
        if refusal is not None:
            return Refused(reason=refusal)
        reports = venue_calls.submit(self._venue, order, order.client_order_id, self._now_ns())
        first = reports[0]
        if first.exec_type is ExecType.REJECTED:
            return Refused(reason=first.reason or "rejected")
        assert first.venue_order_id is not None
        self._orders[order.client_order_id] = OrderState(
            client_order_id=order.client_order_id,
            broker_order_id=first.venue_order_id,
            symbol=order.symbol,
            side=order.side,
            status=OrdStatus.NEW,
            quantity=canonical(order.quantity),
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            time=self._clock(),
        )
        self._open[order.client_order_id] = None
        return Acknowledged(broker_order_id=first.venue_order_id, reports=self._tell(reports))

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome:
        wrong = self._wrong(order.account)
        if wrong is not None:
            return wrong
        reports = venue_calls.cancel(self._venue, order.client_order_id, self._now_ns(), request_id)
        return self._answered(reports, ExecType.CANCEL_REJECTED)

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        wrong = self._wrong(order.account)
        if wrong is not None:
            return wrong
        reports = venue_calls.replace(
            self._venue,
            order.client_order_id,
            self._now_ns(),
            request_id,
            terms.quantity,
            terms.limit_price,
            terms.stop_price,
        )
        return self._answered(reports, ExecType.REPLACE_REJECTED)

    def _wrong(self, account: str) -> Refused | InDoubt | None:
        if self._is_closed:
            return InDoubt(reason=_CLOSED)
        return None if account == self._account else Refused(reason=f"this broker works {self._account} alone")

    def _why_not(self, order: NewOrder) -> str | None:
        if order.display_quantity is not None or order.cash_quantity is not None:
            return "the venue knows no display quantity and no orders for money"
        if len(self._orders) >= ORDERS_MAX:
            return f"it has taken {ORDERS_MAX} orders, and takes no more"
        return None

    def _answered(self, reports: list[VenueReport], rejected: ExecType) -> Outcome:
        first = reports[0]
        if first.exec_type is rejected:
            return Refused(reason=first.reason or "rejected")
        return Acknowledged(broker_order_id=first.venue_order_id, reports=self._tell(reports))

    # -- questions ---------------------------------------------------------------------------------------------------

    async def order_by_client_id(self, order: OrderRef) -> Answer[OrderState]:
        began_at = self._asked(order.account)
        known = self._orders.get(order.client_order_id)
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=() if known is None else (known,))

    async def open_orders(self, account: str) -> Answer[OrderState]:
        began_at = self._asked(account)
        items = tuple(self._orders[client_order_id] for client_order_id in self._open)
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=items)

    async def fills_since(self, account: str | None, cursor: str | None) -> Fills:
        began_at = self._asked(self._account if account is None else account)
        start = 0 if cursor is None else int(cursor)
        page = tuple(islice(self._fills, start, start + FILLS_PAGE))
        then = start + len(page)
        return Fills(
            completeness=Completeness.COMPLETE,
            began_at=began_at,
            reports=page,
            cursor=str(then),
            has_more=then < len(self._fills),
        )

    async def positions(self, account: str) -> Answer[Holding]:
        began_at = self._asked(account)
        items = tuple(Holding(symbol=symbol, quantity=held) for symbol, held in self._positions.items() if held)
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=items)

    async def balances(self, account: str) -> Answer[Balance]:
        """The cash that trading has brought or cost."""
        began_at = self._asked(account)
        items = tuple(Balance(currency=currency, amount=amount) for currency, amount in self._cash.items())
        return Answer(completeness=Completeness.COMPLETE, began_at=began_at, items=items)

    def _asked(self, account: str) -> datetime:
        """When the question is asked. Raises ``BrokerUnavailable`` if nobody answers it."""
        if self._is_closed or account != self._account:
            raise BrokerUnavailable(_CLOSED if self._is_closed else f"this broker works {self._account} alone")
        return self._clock()

    # -- reports -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def reports(self) -> AsyncIterator[AsyncIterator[Report]]:
        if self._is_closed:
            raise BrokerUnavailable(_CLOSED)
        stream = ReportStream()
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self._streams.remove(stream)

    async def close(self) -> None:
        self._is_closed = True
        for stream in self._streams:
            stream.end(_CLOSED)

    def _now_ns(self) -> int:
        return ns_of(self._clock())

    def _tell(self, reports: list[VenueReport]) -> tuple[Report, ...]:
        told = tuple(self._book(report) for report in reports)
        for stream in self._streams:
            for report in told:
                stream.put(report)
        return told

    def _book(self, report: VenueReport) -> Report:
        """What the report changes in the order, the holdings and the cash."""
        order = self._orders[report.order_id]
        exec_type = report.exec_type
        told = Report(
            kind=ReportKind.TRADE if exec_type is ExecType.TRADE else ReportKind.ORDER,
            account=self._account,
            exec_type=exec_type,
            client_order_id=report.order_id,
            broker_order_id=order.broker_order_id,
            exec_id=report.exec_id,
            symbol=order.symbol,
            side=order.side,
            last_qty=report.last_qty,
            last_px=report.last_px,
            fee=report.fee,
            fee_currency=report.fee_currency,
            quantity=report.quantity,
            limit_price=report.limit_price,
            stop_price=report.stop_price,
            order_qty=order.quantity if exec_type in _STATUS else None,
            cum_qty=order.cum_qty if exec_type in _STATUS else None,
            request_id=report.request_id,
            reason=report.reason,
            time=time_of(report.time_ns),
        )
        after = self._trade(order, told) if exec_type is ExecType.TRADE else _after(order, told)
        self._orders[report.order_id] = after
        if after.status not in _OPEN:
            self._open.pop(report.order_id, None)
        return told

    def _trade(self, order: OrderState, told: Report) -> OrderState:
        assert told.last_qty is not None and told.last_px is not None
        self._fills.append(told)
        instrument = self._instruments.get(order.symbol)
        currency = "USD" if instrument is None else instrument.quote_currency
        multiplier = ONE if instrument is None else instrument.multiplier
        money = EXACT.multiply(EXACT.multiply(told.last_qty, told.last_px), multiplier)
        is_buy = order.side is Side.BUY
        signed = told.last_qty if is_buy else told.last_qty.copy_negate()
        self._positions[order.symbol] = add(self._positions.get(order.symbol, ZERO), signed)
        cash = self._cash.get(currency, ZERO)
        cash = subtract(cash, money) if is_buy else add(cash, money)
        self._cash[currency] = subtract(cash, told.fee or ZERO)
        cum_qty = add(order.cum_qty, told.last_qty)
        status = OrdStatus.FILLED if cum_qty == order.quantity else OrdStatus.PARTIALLY_FILLED
        return msgspec.structs.replace(order, cum_qty=cum_qty, status=status)


def _after(order: OrderState, told: Report) -> OrderState:
    """The order after a report that is no trade."""
    if told.quantity is not None:
        return msgspec.structs.replace(
            order, quantity=told.quantity, limit_price=told.limit_price, stop_price=told.stop_price
        )
    assert told.exec_type is not None
    return msgspec.structs.replace(order, status=_STATUS.get(told.exec_type, order.status), reason=told.reason)


_CLOSED = "the broker was closed"
