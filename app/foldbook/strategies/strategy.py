"""What every strategy derives from: what it is told, and what it may do."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, TypeAlias

from foldbook.market.records import Bar, Quote, Trade
from foldbook.strategies import parameters
from foldbook.strategies.context import Context, OrderIntent, OrderView
from foldbook.strategies.errors import StrategyError
from foldbook.strategies.parameters import Parameter, ParameterValue
from foldbook.trading.checks import is_amount
from foldbook.trading.events import OrderEvent
from foldbook.trading.values import (
    FRACTION_DIGITS_MAX,
    INTEGER_DIGITS_MAX,
    ZERO,
    OrderGroup,
    OrderType,
    Side,
    TimeInForce,
    canonical,
)

Number: TypeAlias = int | str | Decimal
"""How a strategy may write an amount. A float is not exact and is refused."""


class Strategy:
    """A strategy is a class derived from this one. Its annotated class attributes are its parameters; what it must
    remember it creates in ``on_start``, for it has no ``__init__`` of its own.

    It is told one thing at a time: what is caused by its own orders is told when the callback that sent them is over.
    Only then, in a callback, it may look at its world and act; at any other time that raises ``StrategyError``. If a
    callback raises, the strategy is stopped and its open orders are canceled.
    """

    history_max: ClassVar[int] = 1000
    """How many closed bars of each symbol are kept for ``history``."""

    _context: Context | None = None
    """The world, while the strategy is told something."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__init__" in cls.__dict__:
            raise StrategyError(f"{cls.__name__} has an __init__; what it does belongs into on_start")

    def __init__(self, **given: ParameterValue) -> None:
        """``given``: the parameters that shall differ from their defaults. Raises ``StrategyError``."""
        cls = type(self)
        parameters.check(cls, cls.parameters(), given)
        for name, value in given.items():
            setattr(self, name, value)

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """What can be set, by name. Raises ``StrategyError`` if the class declares something that cannot be one."""
        return parameters.declared(cls, Strategy)

    def parameter_values(self) -> dict[str, str]:
        """The value of every parameter, as ``--param`` would write it."""
        return {name: parameters.shown(getattr(self, name)) for name in self.parameters()}

    # -- what it is told ---------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Once, before anything else."""

    def on_stop(self) -> None:
        """Once, after everything else."""

    def on_open(self, symbol: str, price: Decimal, time: datetime) -> None:
        """A bar opens at ``price``. A market order that is sent now is filled there."""

    def on_bar(self, bar: Bar) -> None:
        """A bar has closed; ``history`` ends with it. A market order that is sent now is filled at the next open."""

    def on_quote(self, quote: Quote) -> None:
        """The best bid and ask have changed."""

    def on_trade(self, trade: Trade) -> None:
        """Something was traded in the market."""

    def on_order_event(self, event: OrderEvent) -> None:
        """Something happened to an order of this strategy: the event as it is in the log."""

    def on_timer(self, name: str, time: datetime) -> None:
        """A timer has fired; ``time`` is when it was due."""

    # -- what it sees ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The clock of the world that it runs in, in UTC."""
        return self._world.now

    @property
    def account(self) -> str:
        """``user/exchange/broker``."""
        return self._world.account

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols whose data it is told."""
        return self._world.symbols

    @property
    def cash(self) -> Decimal:
        """The account's money, after fees."""
        return self._world.cash

    @property
    def equity(self) -> Decimal:
        """The cash, and what the positions are worth at the last prices."""
        return self._world.equity

    def position(self, symbol: str) -> Decimal:
        """Positive: long; negative: short; 0: none."""
        return self._world.position(symbol)

    def orders(self, symbol: str | None = None) -> tuple[OrderView, ...]:
        """Its open orders in the symbol (None: in every symbol), the oldest first."""
        return self._world.orders(symbol)

    def last_price(self, symbol: str) -> Decimal | None:
        """The last price of the symbol that is known now; None: none yet."""
        return self._world.last_price(symbol)

    def history(self, symbol: str, n: int) -> tuple[Bar, ...]:
        """The last ``n`` closed bars of the symbol, the latest last; fewer, if there are no more yet.

        Raises ``ValueError`` for an ``n`` below 1 or above ``history_max``.
        """
        if not 1 <= n <= self.history_max:
            raise ValueError(f"history of {n} bars: from 1 to {self.history_max} are possible; see history_max")
        return self._world.history(symbol, n)

    # -- what it does ------------------------------------------------------------------------------------------------

    def buy(
        self,
        symbol: str,
        quantity: Number,
        *,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
        time_in_force: TimeInForce | str = TimeInForce.GTC,
        expire_at: datetime | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        group: OrderGroup | None = None,
    ) -> str:
        """Place an order to buy; the answer is its id.

        Without a price it is a market order, with a limit price a limit order, with a stop price a stop order, with
        both a stop-limit order. ``expire_at`` is for GTD. What happens to it, a denial by risk too, is told by
        ``on_order_event``. Raises ``TypeError`` for a float, ``ValueError`` for what cannot be an order.
        """
        return self._place(
            Side.BUY,
            symbol,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            expire_at=expire_at,
            post_only=post_only,
            reduce_only=reduce_only,
            group=group,
        )

    def sell(
        self,
        symbol: str,
        quantity: Number,
        *,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
        time_in_force: TimeInForce | str = TimeInForce.GTC,
        expire_at: datetime | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        group: OrderGroup | None = None,
    ) -> str:
        """Place an order to sell, as ``buy`` does one to buy."""
        return self._place(
            Side.SELL,
            symbol,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            expire_at=expire_at,
            post_only=post_only,
            reduce_only=reduce_only,
            group=group,
        )

    def close(self, symbol: str) -> str | None:
        """Place a market order that closes the position; None if there is none. Open orders stay."""
        held = self._world.position(symbol)
        if not held:
            return None
        return self.sell(symbol, held) if held > ZERO else self.buy(symbol, held.copy_negate())

    def cancel(self, order_id: str) -> None:
        """Request a cancel of one of its orders."""
        self._world.cancel(order_id)

    def replace(
        self,
        order_id: str,
        *,
        quantity: Number | None = None,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
    ) -> None:
        """Request other terms for one of its orders; what is absent does not change.

        Raises ``ValueError`` if everything is absent.
        """
        if quantity is None and limit_price is None and stop_price is None:
            raise ValueError(f"a replace of {order_id} needs quantity=, limit_price= or stop_price=")
        self._world.replace(
            order_id,
            None if quantity is None else _positive("quantity", quantity),
            None if limit_price is None else _amount("limit_price", limit_price),
            None if stop_price is None else _amount("stop_price", stop_price),
        )

    def set_timer(self, name: str, *, at: datetime | None = None, every: timedelta | None = None) -> None:
        """Have ``on_timer`` called at ``at``, or ``every`` so often, or from ``at`` on every ``every``.

        It replaces a timer of the same name. Raises ``ValueError`` if there is neither, if ``at`` has no time zone, or
        if ``every`` is not greater than 0.
        """
        if at is None and every is None:
            raise ValueError(f"timer {name!r} needs at=, every=, or both")
        if at is not None:
            _check_zone("at", at)
        if every is not None and every <= timedelta(0):
            raise ValueError(f"every must be greater than 0, not {every}")
        self._world.set_timer(name, at, every)

    def cancel_timer(self, name: str) -> None:
        """Forget a timer, if there is one of this name."""
        self._world.cancel_timer(name)

    # -- how it is done ----------------------------------------------------------------------------------------------

    @property
    def _world(self) -> Context:
        if self._context is None:
            raise StrategyError(
                f"{type(self).__name__} is not being told anything: a strategy sees its world and acts only in its"
                " callbacks, such as on_bar"
            )
        return self._context

    def _place(
        self,
        side: Side,
        symbol: str,
        quantity: Number,
        *,
        limit_price: Number | None,
        stop_price: Number | None,
        time_in_force: TimeInForce | str,
        expire_at: datetime | None,
        post_only: bool,
        reduce_only: bool,
        group: OrderGroup | None,
    ) -> str:
        intent = OrderIntent(
            symbol=symbol,
            side=side,
            order_type=_ORDER_TYPES[limit_price is not None, stop_price is not None],
            quantity=_positive("quantity", quantity),
            limit_price=None if limit_price is None else _amount("limit_price", limit_price),
            stop_price=None if stop_price is None else _amount("stop_price", stop_price),
            time_in_force=TimeInForce(time_in_force),
            expire_at=expire_at,
            post_only=post_only,
            reduce_only=reduce_only,
            group=group,
        )
        if (expire_at is not None) != (intent.time_in_force is TimeInForce.GTD):
            raise ValueError("an order with time_in_force GTD needs expire_at, and no other has one")
        if expire_at is not None:
            _check_zone("expire_at", expire_at)
        return self._world.place(intent)


_ORDER_TYPES = {
    (False, False): OrderType.MARKET,
    (True, False): OrderType.LIMIT,
    (False, True): OrderType.STOP,
    (True, True): OrderType.STOP_LIMIT,
}


def _amount(name: str, value: Number) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise TypeError(
            f"{name} is {value!r}, of type {type(value).__name__}; it must be an int, str or Decimal, which are exact"
        )
    try:
        amount = Decimal(value)
    except ArithmeticError:
        raise ValueError(f"{name} is {value!r}, which is not a number") from None
    if not is_amount(amount):
        digits = f"{INTEGER_DIGITS_MAX} digits before the point and {FRACTION_DIGITS_MAX} after it"
        raise ValueError(f"{name} is {value}; it must be finite, with at most {digits}: round it")
    return canonical(amount)


def _positive(name: str, value: Number) -> Decimal:
    amount = _amount(name, value)
    if amount <= ZERO:
        raise ValueError(f"{name} is {value}; it must be greater than 0: the side is in buy and sell")
    return amount


def _check_zone(name: str, time: datetime) -> None:
    if time.utcoffset() is None:
        raise ValueError(f"{name} is {time}, without a time zone: add tzinfo=UTC")
