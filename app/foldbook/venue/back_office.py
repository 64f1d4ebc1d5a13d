"""What the venue does to accounts without an order of theirs: liquidations, fundings, fees, busts and corrections."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from foldbook.trading.values import EXACT, ZERO, ExecType, OrdStatus, Side, add, canonical, subtract
from foldbook.venue import messages
from foldbook.venue.records import Account, Answer, Kind, Order, Report

if TYPE_CHECKING:
    from foldbook.venue.exchange import Exchange

_Message: TypeAlias = messages.Liquidate | messages.Fund | messages.Charge | messages.Bust | messages.Correct


class BackOffice:
    """Works on the exchange that it belongs to. The ids of what it does are made of the report's ``seq``."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def liquidate(self, message: messages.Liquidate) -> Answer:
        """Close so much of the position at the last price, free of charge."""
        matching = self._exchange.matching
        account = self._exchange.accounts.get(message.account)
        held = matching.position_of(message.account, message.symbol)
        if account is None or not held:
            return Answer([], refusal="no-position", reason=f"{message.account} holds no {message.symbol}")
        price = matching.price_of(message.symbol)
        if price is None:
            return Answer([], refusal="no-price", reason=f"no price of {message.symbol} is known")
        quantity = held.copy_abs() if message.quantity is None else message.quantity
        if not ZERO < quantity <= held.copy_abs():
            reason = f"{message.account} holds {held} {message.symbol}: {quantity} of it cannot be closed"
            return Answer([], refusal="no-position", reason=reason)
        side = Side.SELL if held > ZERO else Side.BUY
        self._trade(account, message.symbol, side, quantity, price)
        report = self._report(
            Kind.LIQUIDATION,
            message,
            exec_type=ExecType.TRADE,
            symbol=message.symbol,
            side=side,
            last_qty=quantity,
            last_px=price,
        )
        return self._kept(account, report)

    def fund(self, message: messages.Fund) -> Answer:
        if (full := self._exchange.no_room_for(message.account)) is not None:
            return full
        account = self._exchange.account_of(message.account)
        account.book_cash(message.currency, message.amount)
        report = self._report(
            Kind.FUNDING, message, symbol=message.symbol, amount=message.amount, currency=message.currency
        )
        return self._kept(account, report)

    def charge(self, message: messages.Charge) -> Answer:
        if (full := self._exchange.no_room_for(message.account)) is not None:
            return full
        account = self._exchange.account_of(message.account)
        account.book_cash(message.currency, message.amount.copy_negate())
        report = self._report(
            Kind.FEE, message, amount=message.amount, currency=message.currency, reason=message.reason
        )
        return self._kept(account, report)

    def bust(self, message: messages.Bust) -> Answer:
        """The trade never was: position and cash are as without it. If its order is open, what it took of it is worked
        again."""
        found = self._standing(message.account, message.exec_id)
        if isinstance(found, Answer):
            return found
        account, trade, quantity, price = found
        self._undo(account, trade, quantity, price)
        order = self._change_order(trade, (quantity, price), (ZERO, ZERO), message.time_ns)
        report = self._report_of_trade(
            Kind.BUST, message, trade, exec_type=ExecType.TRADE_CANCEL, last_qty=quantity, last_px=price
        )
        return self._kept(account, report, order)

    def correct(self, message: messages.Correct) -> Answer:
        """The trade was of another quantity or price. Its fee stays."""
        found = self._standing(message.account, message.exec_id)
        if isinstance(found, Answer):
            return found
        account, trade, quantity, price = found
        assert trade.symbol is not None and trade.side is not None
        new_quantity = quantity if message.last_qty is None else message.last_qty
        new_price = price if message.last_px is None else message.last_px
        if new_quantity <= ZERO:
            return Answer([], refusal="invalid-request", reason="last_qty must be greater than 0")
        order = self._exchange.order_of(trade.venue_order_id or "")
        if (
            order is not None
            and order.is_open
            and add(order.cum_qty, subtract(new_quantity, quantity)) >= order.quantity
        ):
            return Answer([], refusal="invalid-request", reason="the order is open: less than all of it has traded")
        self._trade(account, trade.symbol, _other(trade.side), quantity, price)
        self._trade(account, trade.symbol, trade.side, new_quantity, new_price)
        order = self._change_order(trade, (quantity, price), (new_quantity, new_price), message.time_ns)
        report = self._report_of_trade(
            Kind.CORRECTION,
            message,
            trade,
            exec_type=ExecType.TRADE_CORRECT,
            last_qty=new_quantity,
            last_px=new_price,
            fee=trade.fee,
            fee_currency=trade.fee_currency,
        )
        return self._kept(account, report, order)

    def _report_of_trade(
        self, kind: Kind, message: messages.Bust | messages.Correct, trade: Report, **told: Any
    ) -> Report:
        """What has become of the trade."""
        return self._report(
            kind,
            message,
            client_order_id=trade.client_order_id,
            venue_order_id=trade.venue_order_id,
            exec_ref_id=message.exec_id,
            symbol=trade.symbol,
            side=trade.side,
            **told,
        )

    def _report(self, kind: Kind, message: _Message, **told: Any) -> Report:
        seq = self._exchange.next_seq()
        return Report(seq=seq, kind=kind, account=message.account, time_ns=message.time_ns, exec_id=f"y{seq}", **told)

    def _kept(self, account: Account, report: Report, order: Order | None = None) -> Answer:
        self._exchange.keep_fill(account, report)
        return Answer([report], order)

    def _standing(self, account_name: str, exec_id: str) -> tuple[Account, Report, Decimal, Decimal] | Answer:
        """The trade with this id, with its quantity and price as they were corrected last; or why there is none."""
        account = self._exchange.accounts.get(account_name)
        trade: Report | None = None
        last: Report | None = None
        for fill in () if account is None else account.fills:
            if fill.exec_id == exec_id and fill.kind in (Kind.TRADE, Kind.LIQUIDATION):
                trade = last = fill
            elif trade is not None and fill.exec_ref_id == exec_id:
                last = fill
        if account is None or trade is None or last is None:
            return Answer([], refusal="unknown-execution", reason=f"{account_name} has no trade {exec_id}")
        if last.kind is Kind.BUST:
            return Answer([], refusal="already-busted", reason=f"the trade {exec_id} was busted before")
        assert last.last_qty is not None and last.last_px is not None
        return account, trade, last.last_qty, last.last_px

    def _undo(self, account: Account, trade: Report, quantity: Decimal, price: Decimal) -> None:
        assert trade.symbol is not None and trade.side is not None
        self._trade(account, trade.symbol, _other(trade.side), quantity, price)
        if trade.fee is not None and trade.fee_currency is not None:
            account.book_cash(trade.fee_currency, trade.fee)

    def _trade(self, account: Account, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Book position and cash."""
        signed = quantity if side is Side.BUY else quantity.copy_negate()
        self._exchange.matching.move(account.name, symbol, signed)
        instrument = self._exchange.matching.instrument_of(symbol)
        money = EXACT.multiply(EXACT.multiply(signed, price), instrument.multiplier)
        account.book_cash(instrument.quote_currency, canonical(money).copy_negate())

    def _change_order(
        self, trade: Report, old: tuple[Decimal, Decimal], new: tuple[Decimal, Decimal], time_ns: int
    ) -> Order | None:
        """The order has traded a new quantity and price instead of the old ones."""
        order = self._exchange.order_of(trade.venue_order_id or "")
        if order is None:
            return None
        quantity = subtract(new[0], old[0])
        order.cum_qty = add(order.cum_qty, quantity)
        order.cost = add(order.cost, canonical(EXACT.subtract(EXACT.multiply(*new), EXACT.multiply(*old))))
        order.updated_ns = time_ns
        if order.is_open:
            self._exchange.matching.amend(order.key, quantity)
            order.status = OrdStatus.PARTIALLY_FILLED if order.cum_qty else OrdStatus.NEW
        return order


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY
