"""A world for a strategy in which nothing happens but what a test says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from foldbook.market.records import Bar
from foldbook.strategies import (
    OrderCanceled,
    OrderDenied,
    OrderFilled,
    OrderRejected,
    OrderUpdate,
    OrderView,
    OrdStatus,
    Side,
    Strategy,
)
from foldbook.strategies.binding import Binding
from foldbook.strategies.context import OrderIntent
from foldbook.trading.values import ZERO, TimeInForce

SYMBOL = "BTC-USDT"
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


class World:
    """The context of one strategy, and what a runner does, as methods for a test to call.

    ``sent`` says what the strategy has sent, in order, as texts: ``BUY 2 MARKET``, ``cancel o2``.
    """

    def __init__(self, strategy: Strategy, symbols: tuple[str, ...] = (SYMBOL,), cash: str = "10000") -> None:
        self.account = "alice/binance/backtest"
        self.strategy_id = "trend"
        self.symbols = symbols
        self.now = START
        self.cash = Decimal(cash)
        self.held: dict[str, Decimal] = {}
        self.prices: dict[str, Decimal] = {}
        self.bars: dict[str, list[Bar]] = {}
        self.open_orders: dict[str, OrderView] = {}
        self.intents: dict[str, OrderIntent] = {}
        self.timers: dict[str, tuple[datetime | None, timedelta | None]] = {}
        self.sent: list[str] = []
        self.binding = Binding(strategy, self)

    # -- what a strategy sees and does -------------------------------------------------------------------------------

    @property
    def equity(self) -> Decimal:
        return sum((held * self.prices[symbol] for symbol, held in self.held.items()), self.cash)

    def position(self, symbol: str) -> Decimal:
        return self.held.get(symbol, ZERO)

    def orders(self, symbol: str | None) -> tuple[OrderView, ...]:
        return tuple(order for order in self.open_orders.values() if symbol in (None, order.symbol))

    def last_price(self, symbol: str) -> Decimal | None:
        return self.prices.get(symbol)

    def history(self, symbol: str, n: int) -> tuple[Bar, ...]:
        return tuple(self.bars.get(symbol, [])[-n:])

    def place(self, intent: OrderIntent) -> str:
        order_id = f"o{len(self.intents) + 1}"
        self.intents[order_id] = intent
        self.open_orders[order_id] = OrderView(
            order_id=order_id,
            symbol=intent.symbol,
            side=intent.side,
            order_type=intent.order_type,
            quantity=intent.quantity,
            cum_qty=ZERO,
            leaves_qty=intent.quantity,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            status=OrdStatus.NEW,
        )
        self.sent.append(told(intent))
        return order_id

    def cancel(self, order_id: str) -> None:
        self.sent.append(f"cancel {order_id}")
        self._change(order_id, status=OrdStatus.PENDING_CANCEL)

    def replace(
        self, order_id: str, quantity: Decimal | None, limit_price: Decimal | None, stop_price: Decimal | None
    ) -> None:
        self.sent.append(f"replace {order_id} {quantity} {limit_price} {stop_price}")
        self._change(order_id, status=OrdStatus.PENDING_REPLACE)

    def set_timer(self, name: str, at: datetime | None, every: timedelta | None) -> None:
        self.timers[name] = (at, every)

    def cancel_timer(self, name: str) -> None:
        self.timers.pop(name, None)

    # -- what happens ------------------------------------------------------------------------------------------------

    def start(self) -> World:
        self.binding.start()
        return self

    def bar(self, open: str, high: str, low: str, close: str, symbol: str = SYMBOL) -> None:  # noqa: A002
        """A bar of a day: it opens, and closes."""
        self.prices[symbol] = Decimal(open)
        self.binding.open(symbol, Decimal(open), self.now)
        self.now += DAY
        bar = Bar(symbol, self.now, open, high, low, close, interval=DAY)
        self.prices[symbol] = bar.close
        self.bars.setdefault(symbol, []).append(bar)
        self.binding.bar(bar)

    def closes(self, *prices: str | int, symbol: str = SYMBOL) -> None:
        """Bars of one price each."""
        for price in map(str, prices):
            self.bar(price, price, price, price, symbol)

    def fill(self, order_id: str, price: str | Decimal, quantity: str | None = None, fee: Decimal = ZERO) -> None:
        """The order trades; quantity None: all that is left."""
        order = self.open_orders[order_id]
        px, qty = Decimal(price), order.leaves_qty if quantity is None else Decimal(quantity)
        signed = qty if order.side is Side.BUY else -qty
        self.held[order.symbol] = self.position(order.symbol) + signed
        self.cash -= signed * px + fee
        after = msgspec.structs.replace(order, cum_qty=order.cum_qty + qty, leaves_qty=order.leaves_qty - qty)
        if after.leaves_qty:
            self.open_orders[order_id] = after
        else:
            del self.open_orders[order_id]
        self._tell(
            OrderFilled, after, exec_id=f"x-{order_id}-{after.cum_qty}", last_qty=qty, last_px=px, counted_at=self.now
        )

    def end(self, order_id: str, kind: type[OrderCanceled | OrderRejected] = OrderCanceled) -> None:
        self._tell(kind, msgspec.structs.replace(self.open_orders.pop(order_id), leaves_qty=ZERO))

    def deny(self, order_id: str) -> None:
        order = msgspec.structs.replace(self.open_orders.pop(order_id), leaves_qty=ZERO)
        self._tell(OrderDenied, order, reason="max-quantity", limit="1", observed="2")

    def answer(self, order_id: str, **terms: Decimal) -> None:
        """A replace is accepted: the order works on, with these terms."""
        order = self.open_orders[order_id]
        quantity = terms.get("quantity", order.quantity)
        self._change(order_id, status=OrdStatus.NEW, leaves_qty=quantity - order.cum_qty, **terms)

    def _change(self, order_id: str, **changes: Any) -> None:
        self.open_orders[order_id] = msgspec.structs.replace(self.open_orders[order_id], **changes)

    def _tell(self, kind: type[OrderUpdate], order: OrderView, **said: Any) -> None:
        self.binding.order_event(
            kind(
                order_id=order.order_id,
                strategy_id=self.strategy_id,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                cum_qty=order.cum_qty,
                leaves_qty=order.leaves_qty,
                **said,
            )
        )


def told(intent: OrderIntent) -> str:
    """``BUY 2 MARKET``, ``SELL 1 LIMIT 101 reduce-only``."""
    prices = [str(price) for price in (intent.limit_price, intent.stop_price) if price is not None]
    flags = ["post-only"] * intent.post_only + ["reduce-only"] * intent.reduce_only
    tif = [] if intent.time_in_force is TimeInForce.GTC else [intent.time_in_force.value]
    return " ".join([intent.side.value, str(intent.quantity), intent.order_type.value, *prices, *tif, *flags])
