"""What a strategy asks of the world that it runs in, be it a backtest, the simulated venue or a live account."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import msgspec

from foldbook.market.records import Bar
from foldbook.trading.order import Order
from foldbook.trading.values import OrderGroup, OrderType, OrdStatus, Side, TimeInForce


class OrderIntent(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a strategy wants it. Its amounts are canonical and have no more digits than the log can hold; the
    quantity is greater than 0; ``expire_at`` is given for GTD and for nothing else."""

    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: datetime | None = None
    post_only: bool = False
    reduce_only: bool = False
    group: OrderGroup | None = None


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An open order as a strategy sees it.

    ``quantity`` and the prices are the terms in force, not what a pending replace asks for. ``leaves_qty`` may still
    trade. ``status`` is FIX OrdStatus: while a request is not answered, ``PENDING_CANCEL`` or ``PENDING_REPLACE``.
    """

    order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    quantity: Decimal
    cum_qty: Decimal
    leaves_qty: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    status: OrdStatus

    @classmethod
    def of(cls, order: Order) -> OrderView:
        created = order.created
        return cls(
            order_id=created.order_id,
            symbol=created.symbol,
            side=created.side,
            order_type=created.order_type,
            quantity=order.quantity,
            cum_qty=order.cum_qty,
            leaves_qty=order.leaves_qty,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            status=order.status,
        )


class Context(Protocol):
    """The world of one strategy. A runner implements it; no method waits, and each sees the moment of ``now``."""

    @property
    def account(self) -> str:
        """``user/exchange/broker``."""
        ...

    @property
    def strategy_id(self) -> str: ...

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols whose data the strategy is told, in the order in which they were given."""
        ...

    @property
    def now(self) -> datetime:
        """The clock of this world, in UTC: in a backtest, the time of the data."""
        ...

    @property
    def cash(self) -> Decimal:
        """In the currency that the account is kept in, after fees."""
        ...

    @property
    def equity(self) -> Decimal:
        """The cash, and what the positions are worth at the last prices."""
        ...

    def position(self, symbol: str) -> Decimal:
        """Positive: long; negative: short; 0: none."""
        ...

    def orders(self, symbol: str | None) -> tuple[OrderView, ...]:
        """The strategy's open orders in the symbol (None: in every symbol), the oldest first."""
        ...

    def last_price(self, symbol: str) -> Decimal | None:
        """The last price that the world has shown so far; None: none yet."""
        ...

    def history(self, symbol: str, n: int) -> tuple[Bar, ...]:
        """The last ``n`` closed bars, the latest last; fewer, if there are no more."""
        ...

    def place(self, intent: OrderIntent) -> str:
        """Send an order; the answer is its id. What happens to it is told by events, and a denial is one.

        Raises ``Refusal`` if the book refuses the command itself.
        """
        ...

    def cancel(self, order_id: str) -> None:
        """Request a cancel. Of an order that is closed already it does nothing. An id that is not one of this
        strategy's orders raises ``Refusal``."""
        ...

    def replace(
        self, order_id: str, quantity: Decimal | None, limit_price: Decimal | None, stop_price: Decimal | None
    ) -> None:
        """Request other terms; None: that one stays. What it does of a closed or an unknown order is what ``cancel``
        does."""
        ...

    def set_timer(self, name: str, at: datetime | None, every: timedelta | None) -> None:
        """Fire at ``at``, or after ``every`` if that is None, and from then on every ``every``, if that is given.

        A timer of the same name is replaced. One whose time is over fires as soon as the strategy returns.
        """
        ...

    def cancel_timer(self, name: str) -> None:
        """A timer that does not exist is none the less gone."""
        ...
