"""The exchange: accounts, orders and fills around the matching engine.

Messages go in, each with its time; an answer and reports come out. It is pure: no clock, no randomness, no I/O. The
same messages make the same exchange, to the last id, which is how the venue survives a restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from foldbook.trading.values import EXACT, ZERO, ExecType, OrdStatus, Side, add, subtract
from foldbook.venue import messages
from foldbook.venue.back_office import BackOffice
from foldbook.venue.data import bar_of, quote_of, trade_of
from foldbook.venue.desk import Reports
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, VenueInstrument, VenueOrder
from foldbook.venue.records import Account, Answer, Kind, Order, Report

CLOSED_MAX = 100_000
"""Orders that are remembered after they ended, and their client ids with them."""
FILLS_MAX = 1_000_000
"""Fills that are remembered. When there are a tenth more, the oldest go."""
OPEN_MAX = 1_000_000
ACCOUNTS_MAX = 100_000

_BUY = Side.BUY
_TRADE, _NEW, _REPLACED = ExecType.TRADE, ExecType.NEW, ExecType.REPLACED
_CHANGES = (ExecType.REPLACED, ExecType.RESTATED)
_ENDS = {
    ExecType.CANCELED: OrdStatus.CANCELED,
    ExecType.EXPIRED: OrdStatus.EXPIRED,
    ExecType.REJECTED: OrdStatus.REJECTED,
}
_multiply = EXACT.multiply


class Exchange:
    """The whole state of the venue.

    ``orders`` are by number, ``by_key`` by their first venue order id, ``accounts`` by name. ``fills`` are in
    order of their ``seq``.
    """

    def __init__(self, costs: Costs | None = None) -> None:
        self.matching = Matching(costs or Costs(), is_shared=True)
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.by_key: dict[str, Order] = {}
        self.closed: deque[int] = deque()
        self.fills: list[Report] = []
        self.fills_dropped_seq = 0
        """The ``seq`` of the last fill that is not remembered any more."""
        self.order_count = 0
        self.report_count = 0
        self.data_ns = 0
        """The time of the latest datum."""
        office = BackOffice(self)
        self._handlers: dict[type[messages.Message], Callable[[Any], Answer]] = {
            messages.Configure: self._configure,
            messages.Submit: self._submit,
            messages.RefuseLate: self._refuse_late,
            messages.Cancel: self._cancel,
            messages.Replace: self._replace,
            messages.Expire: self._expire,
            messages.QuoteTold: self._quote,
            messages.TradeTold: self._trade,
            messages.OpenTold: self._open,
            messages.BarTold: self._bar,
            messages.InstrumentTold: self._instrument,
            messages.CloseSession: self._close_session,
            messages.OpenSession: self._open_session,
            messages.Liquidate: office.liquidate,
            messages.Fund: office.fund,
            messages.Charge: office.charge,
            messages.Bust: office.bust,
            messages.Correct: office.correct,
        }

    def apply(self, message: messages.AnyMessage) -> Answer:
        """What the message does. It never fails: what cannot be is refused."""
        return self._handlers[type(message)](message)

    def no_room_for(self, name: str) -> Answer | None:
        """The refusal, if the account would be one too many."""
        if len(self.accounts) < ACCOUNTS_MAX or name in self.accounts:
            return None
        return Answer([], refusal="venue-full", reason=f"the venue has {ACCOUNTS_MAX:,} accounts")

    def account_of(self, name: str) -> Account:
        """The account, opened if this is its first use."""
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name=name)
        return account

    def order_of(self, venue_order_id: str) -> Order | None:
        """The order that has this id, or had it before a replace moved it."""
        key, _, suffix = venue_order_id.partition(".")
        order = self.by_key.get(key)
        moves = int(suffix) if suffix.isdecimal() else 0
        if order is None or moves > order.moves or venue_order_id != order.venue_order_id_after(moves):
            return None
        return order

    def keep_fill(self, account: Account, fill: Report) -> None:
        self.fills.append(fill)
        account.fills.append(fill)
        if len(self.fills) > FILLS_MAX + FILLS_MAX // 10:
            self._drop_fills()

    def _drop_fills(self) -> None:
        dropped = self.fills[: len(self.fills) - FILLS_MAX]
        self.fills = self.fills[len(dropped) :]
        last = self.fills_dropped_seq = dropped[-1].seq
        for name in {fill.account for fill in dropped}:
            account = self.accounts[name]
            account.fills = [fill for fill in account.fills if fill.seq > last]

    def next_seq(self) -> int:
        self.report_count += 1
        return self.report_count

    def _configure(self, message: messages.Configure) -> Answer:
        self.matching.configure(message.costs, message.path)
        return Answer([])

    # -- orders --------------------------------------------------------------------------------------------------------

    def _submit(self, message: messages.Submit) -> Answer:
        if (full := self.no_room_for(message.account)) is not None:
            return full
        account = self.account_of(message.account)
        same = account.by_client_id.get(message.client_order_id)
        if same is not None and message.is_deduplicated:
            return Answer([], same[0], is_duplicate=True)
        number = self.order_count = self.order_count + 1
        key = f"v{number}"
        time_ns = message.time_ns
        order = Order(
            number=number,
            key=key,
            account=message.account,
            client_order_id=message.client_order_id,
            venue_order_id=key,
            symbol=message.symbol,
            side=message.side,
            order_type=message.order_type,
            time_in_force=message.time_in_force,
            quantity=message.quantity,
            limit_price=message.limit_price,
            stop_price=message.stop_price,
            created_ns=time_ns,
            updated_ns=time_ns,
        )
        self.orders[number] = account.orders[number] = account.open_orders[number] = self.by_key[key] = order
        if same is None:
            account.by_client_id[message.client_order_id] = [order]
        else:
            same.append(order)
        return self._arrive(message, order)

    def _arrive(self, message: messages.Submit, order: Order) -> Answer:
        time_ns = message.time_ns
        if message.is_refused_late:
            order.is_held = True
            return Answer([self._report(order, _NEW, time_ns)], order)
        if len(self.orders) - len(self.closed) > OPEN_MAX:
            reason = f"the venue has {OPEN_MAX:,} open orders"
            return Answer(
                [self._end(order, ExecType.REJECTED, time_ns, reason)], order, False, "order-rejected", reason
            )
        told = self.matching.submit(
            VenueOrder(
                order_id=order.key,
                symbol=order.symbol,
                side=order.side,
                order_type=order.order_type,
                quantity=order.quantity,
                limit_price=order.limit_price,
                stop_price=order.stop_price,
                time_in_force=order.time_in_force,
                expire_at_ns=message.expire_at_ns,
                post_only=message.post_only,
                reduce_only=message.reduce_only,
                trailing_offset=message.trailing_offset,
                account=order.account,
            ),
            time_ns,
        )
        reports = self._tell(told)
        if order.status is OrdStatus.REJECTED:
            return Answer(reports, order, False, "order-rejected", order.reason)
        return Answer(reports, order)

    def _refuse_late(self, message: messages.RefuseLate) -> Answer:
        order = self.by_key.get(message.venue_order_id)
        if order is None or not order.is_held:
            return Answer([])
        return Answer([self._end(order, ExecType.REJECTED, message.time_ns, "refused late")], order)

    def _cancel(self, message: messages.Cancel) -> Answer:
        order = self._order_named(message.account, message.client_order_id)
        if order is None:
            return _unknown(message)
        if order.is_held:
            return Answer([self._end(order, ExecType.CANCELED, message.time_ns, None, message.request_id)], order)
        if not order.is_open:
            return self._not_open(order, ExecType.CANCEL_REJECTED, message)
        return Answer(self._tell(self.matching.cancel(order.key, message.time_ns, message.request_id)), order)

    def _replace(self, message: messages.Replace) -> Answer:
        order = self._order_named(message.account, message.client_order_id)
        if order is None:
            return _unknown(message)
        if not order.is_open or order.is_held:
            return self._not_open(order, ExecType.REPLACE_REJECTED, message)
        told = self.matching.replace(
            order.key, message.time_ns, message.quantity, message.limit_price, message.stop_price, message.request_id
        )
        if told[0].exec_type is not _REPLACED:
            return Answer(self._tell(told), order, False, "replace-rejected", told[0].reason)
        return Answer(self._tell(told, moves_id=message.moves_id), order)

    def _order_named(self, account_name: str, client_order_id: str) -> Order | None:
        """The order with the client's id: if there are several, the latest that is open, else the latest."""
        account = self.accounts.get(account_name)
        named = None if account is None else account.by_client_id.get(client_order_id)
        if named is None:
            return None
        if len(named) == 1:
            return named[0]
        return next((order for order in reversed(named) if order.is_open), named[-1])

    def _not_open(self, order: Order, exec_type: ExecType, message: messages.Cancel | messages.Replace) -> Answer:
        reason = f"the order is {order.status}"
        report = self._report(order, exec_type, message.time_ns, reason=reason, request_id=message.request_id)
        return Answer([report], order, False, "order-not-open", reason)

    def _expire(self, message: messages.Expire) -> Answer:
        return Answer(self._tell(self.matching.expire(message.time_ns)))

    # -- market data ---------------------------------------------------------------------------------------------------

    def _quote(self, message: messages.QuoteTold) -> Answer:
        self._pass(message)
        told = self.matching.on_quote(quote_of(message))
        return Answer(self._tell(told) if told else [])

    def _trade(self, message: messages.TradeTold) -> Answer:
        self._pass(message)
        told = self.matching.on_trade(trade_of(message))
        return Answer(self._tell(told) if told else [])

    def _open(self, message: messages.OpenTold) -> Answer:
        self._pass(message)
        return Answer(self._tell(self.matching.on_open(message.symbol, message.price, message.time_ns)))

    def _bar(self, message: messages.BarTold) -> Answer:
        self._pass(message)
        return Answer(self._tell(self.matching.on_bar(bar_of(message))))

    def _pass(self, datum: messages.Datum) -> None:
        """The time of the data has come to this."""
        if datum.time_ns > self.data_ns:
            self.data_ns = datum.time_ns

    def _instrument(self, message: messages.InstrumentTold) -> Answer:
        self.matching.define(
            VenueInstrument(
                symbol=message.symbol,
                tick_size=message.tick_size,
                lot_size=message.lot_size,
                multiplier=message.multiplier,
                quote_currency=message.quote_currency,
            )
        )
        return Answer([])

    def _close_session(self, message: messages.CloseSession) -> Answer:
        return Answer(self._tell(self.matching.close_session(message.time_ns)))

    def _open_session(self, message: messages.OpenSession) -> Answer:
        return Answer(self._tell(self.matching.open_session(message.time_ns)))

    # -- what the matching engine reports ------------------------------------------------------------------------------

    def _tell(self, told: Reports, *, moves_id: bool = False) -> list[Report]:
        """Book what the matching engine reports, and report it."""
        out: list[Report] = []
        for report in told:
            order = self.by_key[report.order_id]
            exec_type, time_ns = report.exec_type, report.time_ns
            if exec_type is _TRADE:
                assert report.last_qty is not None and report.last_px is not None
                out.append(
                    self._trade_of(order, report.exec_id, report.last_qty, report.last_px, report.fee,
                                   report.fee_currency, time_ns)
                )  # fmt: skip
            elif exec_type in _ENDS:
                out.append(self._end(order, exec_type, time_ns, report.reason, report.request_id))
            elif exec_type in _CHANGES:
                order.quantity = report.quantity or order.quantity
                order.limit_price, order.stop_price = report.limit_price, report.stop_price
                order.updated_ns = time_ns
                out += self._changed(order, exec_type, time_ns, report.reason, report.request_id, moves_id)
            else:
                out.append(self._report(order, exec_type, time_ns, reason=report.reason, request_id=report.request_id))
        return out

    def _changed(
        self,
        order: Order,
        exec_type: ExecType,
        time_ns: int,
        reason: str | None,
        request_id: str | None,
        moves_id: bool,
    ) -> list[Report]:
        """Report the order's new terms; and if it moves to another id, that the old one is over."""
        former = order.venue_order_id
        is_moved = moves_id and exec_type is _REPLACED
        if is_moved:
            order.moves += 1
            order.venue_order_id = order.venue_order_id_after(order.moves)
        told = [
            self._report(
                order,
                exec_type,
                time_ns,
                quantity=order.quantity,
                limit_price=order.limit_price,
                stop_price=order.stop_price,
                reason=reason,
                request_id=request_id,
            )
        ]
        if is_moved:
            told.append(self._report(order, ExecType.CANCELED, time_ns, venue_order_id=former, reason="replaced"))
        return told

    def _trade_of(
        self,
        order: Order,
        exec_id: str | None,
        quantity: Decimal,
        price: Decimal,
        fee: Decimal | None,
        fee_currency: str | None,
        time_ns: int,
    ) -> Report:
        account = self.accounts[order.account]
        is_buy = order.side is _BUY
        cum_qty = order.cum_qty = add(order.cum_qty, quantity)
        money = _multiply(quantity, price)
        order.cost = add(order.cost, money)
        order.updated_ns = time_ns
        instrument = self.matching.instrument_of(order.symbol)
        cash, currency = account.cash, instrument.quote_currency
        paid = _multiply(money, instrument.multiplier)
        if fee is not None:
            paid = add(paid, fee) if is_buy else subtract(paid, fee)
        held = cash.get(currency, ZERO)
        cash[currency] = subtract(held, paid) if is_buy else add(held, paid)
        if cum_qty == order.quantity:
            self._close(order, OrdStatus.FILLED)
        else:
            order.status = OrdStatus.PARTIALLY_FILLED
        report = Report(
            seq=self.next_seq(),
            kind=Kind.TRADE,
            account=order.account,
            time_ns=time_ns,
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            exec_type=_TRADE,
            exec_id=exec_id,
            symbol=order.symbol,
            side=order.side,
            last_qty=quantity,
            last_px=price,
            fee=fee,
            fee_currency=fee_currency,
        )
        self.keep_fill(account, report)
        return report

    def _end(
        self, order: Order, exec_type: ExecType, time_ns: int, reason: str | None, request_id: str | None = None
    ) -> Report:
        order.reason = reason
        order.updated_ns = time_ns
        self._close(order, _ENDS[exec_type])
        return self._report(
            order,
            exec_type,
            time_ns,
            order_qty=order.quantity,
            cum_qty=order.cum_qty,
            reason=reason,
            request_id=request_id,
        )

    def _close(self, order: Order, status: OrdStatus) -> None:
        """The order is over. The oldest of those that are over is forgotten when there are too many."""
        order.status, order.is_open = status, False
        del self.accounts[order.account].open_orders[order.number]
        order.is_held = False
        self.closed.append(order.number)
        if len(self.closed) > CLOSED_MAX:
            self._forget(self.orders.pop(self.closed.popleft()))

    def _forget(self, order: Order) -> None:
        account = self.accounts[order.account]
        del account.orders[order.number]
        named = account.by_client_id[order.client_order_id]
        named.remove(order)
        if not named:
            del account.by_client_id[order.client_order_id]
        del self.by_key[order.key]

    def _report(
        self,
        order: Order,
        exec_type: ExecType,
        time_ns: int,
        *,
        venue_order_id: str | None = None,
        quantity: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        order_qty: Decimal | None = None,
        cum_qty: Decimal | None = None,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> Report:
        self.report_count += 1
        return Report(
            seq=self.report_count,
            kind=Kind.ORDER,
            account=order.account,
            time_ns=time_ns,
            client_order_id=order.client_order_id,
            venue_order_id=venue_order_id or order.venue_order_id,
            exec_type=exec_type,
            symbol=order.symbol,
            side=order.side,
            quantity=quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            order_qty=order_qty,
            cum_qty=cum_qty,
            request_id=request_id,
            reason=reason,
        )


def _unknown(message: messages.Cancel | messages.Replace) -> Answer:
    return Answer([], refusal="unknown-order", reason=f"{message.account} has no order {message.client_order_id}")
