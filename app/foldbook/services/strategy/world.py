"""The world of a strategy in the log: what it sees of its account and the market, and what it sends.

What a strategy sends is decided here first, by the same decider, on the account as it was read last. So it sees its
own orders at once, and a command that breaks a rule raises in the callback, as in the backtest. The commands then go
to the log, where they are decided for good: in between, something else may have happened to the account.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from foldbook.errors import Refusal
from foldbook.market.feeds.told import Opened, price_of
from foldbook.market.records import Bar, Datum, ns_of, time_of
from foldbook.services.strategy.account import Account, number_of
from foldbook.services.strategy.cash import unit_of
from foldbook.strategies.context import OrderIntent, OrderView
from foldbook.strategies.errors import StrategyError
from foldbook.strategies.timers import Timers
from foldbook.trading.book import ORDER_BOOK, Book
from foldbook.trading.commands import BookCommand, PlaceOrder, RequestCancel, RequestReplace
from foldbook.trading.order import Order
from foldbook.trading.values import EXACT, ONE, ZERO, canonical, unit_cost

CURRENCY = "USD"
"""Of symbols whose currency nobody knows."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``currency``: in which the account is kept; None: in which the symbols settle."""

    strategy_id: str
    symbols: tuple[str, ...]
    history_max: int
    currency: str | None = None


class World:
    """The context of one strategy. ``now_ns`` is moved by the runner; ``sent`` is what it has not sent yet."""

    def __init__(self, account: Account, settings: Settings, new_id: Callable[[], UUID]) -> None:
        self._account = account
        self._settings = settings
        self._new_id = new_id
        self._ahead: Book = account.book
        self._number = 0
        self._currency = CURRENCY
        self._last: dict[str, Decimal] = {}
        self._history: dict[str, deque[Bar]] = {
            symbol: deque(maxlen=settings.history_max) for symbol in settings.symbols
        }
        self.timers = Timers()
        self.now_ns = 0
        self._sent: list[BookCommand] = []

    # -- for the runner ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The account has been read for the first time. Raises ``StrategyError`` if its money is in two currencies."""
        self.catch_up()
        settles = {
            symbol: currency
            for symbol in self.symbols
            if (currency := self._ahead.instrument(symbol).settlement_currency) is not None
        }
        currencies = {*settles.values(), *([self._settings.currency] if self._settings.currency else ())}
        if len(currencies) > 1:
            listed = ", ".join(f"{symbol} in {currency}" for symbol, currency in settles.items())
            wanted = f"; the account is to be kept in {self._settings.currency}" if self._settings.currency else ""
            raise StrategyError(f"a strategy needs one currency, but its symbols settle so: {listed}{wanted}")
        self._currency = currencies.pop() if currencies else CURRENCY

    def catch_up(self) -> None:
        """See the account as it was read last; nothing is under way."""
        self._ahead = self._account.book
        self._number = max(self._number, self._account.last_number)

    def take_sent(self) -> list[BookCommand]:
        sent, self._sent = self._sent, []
        return sent

    @property
    def has_sent(self) -> bool:
        """There is something to be sent."""
        return bool(self._sent)

    def show(self, told: Datum | Opened) -> None:
        """The last price is that of this datum."""
        self._last[told.symbol] = price_of(told)

    def remember(self, bar: Bar) -> None:
        self._history[bar.symbol].append(bar)

    def is_watched(self, symbol: str) -> bool:
        return symbol in self._history

    def own_orders(self) -> list[Order]:
        """The strategy's open orders, the oldest first."""
        own = [
            order for order in self._ahead.orders.values() if order.created.strategy_id == self._settings.strategy_id
        ]
        return sorted(own, key=lambda order: number_of(order.created.order_id, self._settings.strategy_id))

    def request(self) -> dict[str, Any]:
        """The fields that every command has."""
        return {"command_id": self._new_id(), "received_at": self.now, "account": self._account.name}

    # -- what a strategy sees ----------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        return self._account.name

    @property
    def strategy_id(self) -> str:
        return self._settings.strategy_id

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._settings.symbols

    @property
    def now(self) -> datetime:
        return time_of(self.now_ns)

    @property
    def cash(self) -> Decimal:
        """In the currency of the account, and what its symbols have moved in a currency that nobody knows."""
        cash = self._account.cash
        total = ZERO
        for unit in self._units():
            total = EXACT.add(total, cash.get(unit, ZERO))
        return canonical(total)

    @property
    def equity(self) -> Decimal:
        equity, units, book = self.cash, self._units(), self._ahead
        for symbol, position in book.positions.items():
            if not position.quantity or unit_of(symbol, book.instrument(symbol).settlement_currency) not in units:
                continue
            price = self.last_price(symbol)
            if price is not None:
                unit = unit_cost(price, None if position.multiplier == ONE else position.multiplier, position.kind)
                equity = EXACT.add(equity, EXACT.multiply(position.quantity, unit))
        return canonical(equity)

    def _units(self) -> set[str]:
        book = self._ahead
        return {
            self._currency,
            *(unit_of(symbol, book.instrument(symbol).settlement_currency) for symbol in self.symbols),
        }

    def position(self, symbol: str) -> Decimal:
        return self._ahead.position_qty(symbol)

    def orders(self, symbol: str | None) -> tuple[OrderView, ...]:
        return tuple(
            OrderView.of(order) for order in self.own_orders() if symbol is None or order.created.symbol == symbol
        )

    def last_price(self, symbol: str) -> Decimal | None:
        """What the market data said last; before there is any, what the book has recorded."""
        seen = self._last.get(symbol)
        if seen is not None:
            return seen
        recorded = self._ahead.risk.prices.get(symbol)
        return None if recorded is None else recorded.price

    def history(self, symbol: str, n: int) -> tuple[Bar, ...]:
        known = self._history.get(symbol, ())
        return tuple(islice(known, max(len(known) - n, 0), None))

    # -- what a strategy does ----------------------------------------------------------------------------------------

    def place(self, intent: OrderIntent) -> str:
        if intent.symbol not in self._history:
            raise Refusal("invalid-command", f"this strategy is told no data of {intent.symbol}", field="symbol")
        self._number += 1
        order_id = f"{self.strategy_id}-{self._number}"
        self._send(
            PlaceOrder(
                **self.request(),
                order_id=order_id,
                strategy_id=self.strategy_id,
                **msgspec.structs.asdict(intent),
            )
        )
        return order_id

    def cancel(self, order_id: str) -> None:
        if self._is_open(order_id):
            self._send(RequestCancel(**self.request(), order_id=order_id))

    def replace(
        self, order_id: str, quantity: Decimal | None, limit_price: Decimal | None, stop_price: Decimal | None
    ) -> None:
        if self._is_open(order_id):
            self._send(
                RequestReplace(
                    **self.request(),
                    order_id=order_id,
                    quantity=quantity,
                    limit_price=limit_price,
                    stop_price=stop_price,
                )
            )

    def _is_open(self, order_id: str) -> bool:
        """Raises ``Refusal`` if the strategy has no such order."""
        order = self._ahead.orders.get(order_id)
        if order is not None and order.created.strategy_id == self.strategy_id:
            return True
        if not 1 <= number_of(order_id, self.strategy_id) <= self._number:
            raise Refusal("unknown-order", f"{self.strategy_id} has no order {order_id}")
        return False

    def _send(self, command: BookCommand) -> None:
        """Raises ``Refusal``: then nothing is sent."""
        book = self._ahead
        # What the book remembers only in outline is decided by the log alone, which can look it up.
        if command.creates_subject or not ORDER_BOOK.has_forgotten(command, book):
            for event in ORDER_BOOK.decide(command, book):
                book = ORDER_BOOK.evolve(book, event)
            self._ahead = book
        self._sent.append(command)

    def set_timer(self, name: str, at: datetime | None, every: timedelta | None) -> None:
        every_ns = None if every is None else every // timedelta(microseconds=1) * 1000
        self.timers.set(name, self.now_ns, None if at is None else ns_of(at), every_ns)

    def cancel_timer(self, name: str) -> None:
        self.timers.cancel(name)
