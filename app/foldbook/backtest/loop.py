"""The loop of a backtest: moments of the market in, events out.

What a strategy sends is decided at once; it goes out when the callback that sent it is over.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain, islice
from typing import Any

from foldbook.backtest.account import Sink
from foldbook.backtest.world import Settings, World, number_of
from foldbook.errors import Refusal
from foldbook.market.records import Bar, Quote, Trade, ns_of, time_of
from foldbook.market.timeline import OPENS, Moment
from foldbook.strategies.binding import Binding
from foldbook.strategies.context import OrderIntent
from foldbook.strategies.errors import StrategyError
from foldbook.strategies.strategy import Strategy
from foldbook.strategies.timers import Timers
from foldbook.trading.commands import RecordPrice, RequestCancel, RequestReplace, SetTradingState
from foldbook.trading.values import ZERO, OrderType, Side, TradingState, as_reason
from foldbook.venue.orders import VenueReport

CASCADE_MAX = 100_000
"""How many things may follow from one moment. More than that has no end."""

EQUITY_POINTS_MAX = 20_000
"""Points of the equity curve that are kept for ticks; then every second one is dropped. Bars keep all."""

DAY_NS = 86_400 * 1_000_000_000

NO_SESSION = -(1 << 63)
"""Before any time there is: the next session begins with the data."""

EQUITY_EVERY_NS = 1_000_000_000
"""The distance of the points of the equity curve of ticks, until there are too many."""


class Loop(World):
    """One strategy in its world. It is the strategy's context."""

    def __init__(self, settings: Settings, strategy: Strategy, sink: Sink) -> None:
        super().__init__(settings, sink)
        self._strategy = strategy
        self._binding = Binding(strategy, self)
        self._is_told = self._binding.hears_order_events
        self._timers = Timers()
        self._opened: dict[str, tuple[int, Decimal]] = {}
        self._history: dict[str, deque[Bar]] = {
            symbol: deque(maxlen=strategy.history_max) for symbol in settings.symbols
        }
        self._is_running = True
        self._session_ends_ns = NO_SESSION
        self._equity_every_ns = EQUITY_EVERY_NS
        self._next_point_ns = 0
        self.equity_points: list[tuple[datetime, Decimal]] = []
        self.prices: dict[str, list[tuple[datetime, Decimal]]] = {symbol: [] for symbol in settings.symbols}
        """Of bars, their closes; of ticks, the prices at the points of the equity curve."""
        self.moments = 0
        self.exposed = 0
        self.error: str | None = None

    # -- the run -----------------------------------------------------------------------------------------------------

    def run(self, moments: Iterable[Moment]) -> None:
        """Go through the moments to the end."""
        iterator = iter(moments)
        first = next(iterator, None)
        if first is None:
            return
        self._now_ns = first[0]
        self._open_account()
        self._call(self._binding.start)
        for moment in chain((first,), iterator):
            self._pass(moment)
        self._arrive(None)
        if self._settings.closes_at_end and self._is_running:
            self._close_positions()
        if self._is_running:
            self._call(self._binding.stop)
            self._arrive(None)
        self._end_curve()
        self._finish()

    def _pass(self, moment: Moment) -> None:
        time_ns, kind, datum = moment
        if self._later or self._timers.next_ns is not None or time_ns >= self._session_ends_ns:
            self._arrive(time_ns)
            # A bar that closes at midnight is of the day that ends.
            if time_ns >= self._session_ends_ns and (kind == OPENS or type(datum) is not Bar):
                self._begin_session(time_ns)
        if time_ns > self._now_ns:
            self._now_ns = time_ns
            self._now = None
        if kind == OPENS:
            assert type(datum) is Bar
            self._open(datum, time_ns)
            return
        self.moments += 1
        if isinstance(datum, Bar):
            self._bar(datum)
            return
        self._tick(datum)
        if self._is_exposed or self._has_traded:
            self.exposed += 1
            self._has_traded = False
        if time_ns >= self._next_point_ns:
            self._mark(time_ns)

    def _tick(self, datum: Quote | Trade) -> None:
        symbol = datum.symbol
        reports: Sequence[VenueReport]
        if type(datum) is Quote:
            reports = self._venue.on_quote(datum)
            self._last[symbol] = datum
            if reports:
                self._report(reports)
            if self._binding.hears_quotes and self._is_running:
                self._call(self._binding.quote, datum)
        else:
            assert type(datum) is Trade
            reports = self._venue.on_trade(datum)
            self._last[symbol] = datum
            if reports:
                self._report(reports)
            if self._binding.hears_trades and self._is_running:
                self._call(self._binding.trade, datum)

    def _open(self, bar: Bar, time_ns: int) -> None:
        symbol, price = bar.symbol, bar.open
        self._last[symbol] = price
        self._opened[symbol] = time_ns, price
        for reports in self._venue.open_steps(symbol, price, time_ns):
            self._report(reports)
        if self._binding.hears_opens and self._is_running:
            self._call(self._binding.open, symbol, price, self.now)

    def _bar(self, bar: Bar) -> None:
        was_exposed = self._is_exposed
        for reports in self._venue.bar_steps(bar):
            self._report(reports)
        if self._now_ns == self._session_ends_ns:
            # The day of this symbol is over. What is sent at midnight is for the next.
            self._report(self._venue.end_session(self._now_ns, bar.symbol))
        self._last[bar.symbol] = bar.close
        history = self._history.get(bar.symbol)
        if history is not None:
            history.append(bar)
        if was_exposed or self._has_traded:
            self.exposed += 1
        self._has_traded = False
        if self._is_running:
            self._call(self._binding.bar, bar)
        prices = self.prices.get(bar.symbol)
        if prices is not None:
            prices.append((self.now, bar.close))
        _add_point(self.equity_points, self.now, self.equity)

    def _begin_session(self, time_ns: int) -> None:
        """The first data of a day (UTC) are there: until midnight, orders for the day are good."""
        if self._session_ends_ns != NO_SESSION:
            self._end_session()
        self._session_ends_ns = (time_ns // DAY_NS + 1) * DAY_NS

    def _end_session(self) -> None:
        """It is midnight. What is sent until there are data again is for their day."""
        ended_ns, self._session_ends_ns = self._session_ends_ns, NO_SESSION
        self._set_now(ended_ns)
        self._report(self._venue.end_session(ended_ns))

    def _mark(self, time_ns: int) -> None:
        """A point of the equity curve of ticks."""
        _add_point(self.equity_points, self.now, self.equity)
        for symbol, prices in self.prices.items():
            price = self.last_price(symbol)
            if price is not None:
                _add_point(prices, self.now, price)
        if len(self.equity_points) >= EQUITY_POINTS_MAX:
            self.equity_points = self.equity_points[::2]
            self.prices = {symbol: prices[::2] for symbol, prices in self.prices.items()}
            self._equity_every_ns *= 2
        self._next_point_ns = time_ns + self._equity_every_ns

    def _end_curve(self) -> None:
        """What has happened since the last point: ticks, the end of positions, what was under way."""
        if not self.equity_points or self.equity_points[-1][1] != self.equity:
            if self._next_point_ns:
                self._mark(self._now_ns)
            else:
                _add_point(self.equity_points, self.now, self.equity)

    def _arrive(self, until_ns: int | None) -> None:
        """What was under way, the timers and the end of the day, up to a moment (None: all that is under way)."""
        timers = 0
        while True:
            arrives_ns = self._later[0][0] if self._later else None
            due_ns = self._timers.next_ns if until_ns is not None and self._is_running else None
            ends_ns = self._session_ends_ns if until_ns is not None else NO_SESSION
            # At one time, what is known comes before the end of the day, and that before the timers.
            if (
                NO_SESSION < ends_ns < until_ns  # type: ignore[operator]
                and (arrives_ns is None or ends_ns < arrives_ns)
                and (due_ns is None or ends_ns <= due_ns)
            ):
                self._end_session()
            elif due_ns is not None and due_ns < until_ns and (arrives_ns is None or due_ns < arrives_ns):  # type: ignore[operator]
                timers = timers + 1 if due_ns == self._now_ns else 1
                self._set_now(due_ns)
                self._call(self._tell_timer, timers, *next(self._timers.due(due_ns)))
            elif arrives_ns is not None and (until_ns is None or arrives_ns <= until_ns):
                _, _, arrived = heapq.heappop(self._later)
                self._set_now(arrives_ns)
                if isinstance(arrived, VenueReport):
                    self._record(arrived)
                else:
                    self._answer(arrived)
                self._settle()
            else:
                return

    def _close_positions(self) -> None:
        """At the last open of a bar; of ticks, at the last price."""
        for order in self._open_orders():
            self._execute(RequestCancel(**self._request(), order_id=order.order_id))
        self._settle()
        self._arrive(None)
        for symbol in self._settings.symbols:
            held = self._book.book.position_qty(symbol)
            if not held or not self._is_running:
                continue
            side = Side.SELL if held > ZERO else Side.BUY
            self._place(OrderIntent(symbol=symbol, side=side, order_type=OrderType.MARKET, quantity=abs(held)))
            self._settle()
            self._arrive(None)
            last = self._last[symbol]
            if symbol in self._opened:
                time_ns, price = self._opened[symbol]
                self._report(self._venue.close_at(symbol, price, time_ns))
                self._last[symbol] = price
            elif isinstance(last, Quote):
                self._report(self._venue.on_quote(last))
            elif isinstance(last, Trade):
                self._report(self._venue.on_trade(last))
            self._arrive(None)

    def _finish(self) -> None:
        for symbol in self._settings.symbols:
            price = self.last_price(symbol)
            if price is not None:
                self._execute(RecordPrice(**self._request(), symbol=symbol, price=price))
        if self._is_running:
            reason = "the backtest is over"
            self._execute(SetTradingState(**self._request(), state=TradingState.HALTED, reason=reason))

    # -- the strategy ------------------------------------------------------------------------------------------------

    def _call(self, tell: Any, *about: object) -> None:
        """Tell the strategy something, and do what follows."""
        try:
            tell(*about)
        except Exception as error:
            self._stop(error)
        if self._out or self._told:
            self._settle()

    def _stop(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {error}"
        self._is_running = self._is_told = False
        self._told.clear()
        name = type(self._strategy).__name__
        reason = f"{name} was stopped: {self.error}"
        self._execute(
            SetTradingState(
                **self._request(),
                state=TradingState.HALTED,
                reason=as_reason(reason),
                cancel_open_orders=True,
            )
        )

    def _settle(self) -> None:
        """Everything that follows, until nothing more does."""
        steps = 0
        while True:
            self._go_out()
            if not self._told or not self._is_running:
                return
            steps += 1
            event = self._told.popleft()
            try:
                self._check_cascade(steps)
                self._binding.order_event(event)
            except Exception as error:
                self._stop(error)

    def _tell_timer(self, steps: int, name: str, time_ns: int) -> None:
        self._check_cascade(steps)
        self._binding.timer(name, time_of(time_ns))

    def _check_cascade(self, steps: int) -> None:
        if steps > CASCADE_MAX:
            name = type(self._strategy).__name__
            raise StrategyError(f"{name} answers its own events or timers without end: {CASCADE_MAX} at {self.now}")

    def _report(self, reports: Iterable[VenueReport]) -> None:
        for report in reports:
            self._receive(report)
        self._settle()

    # -- what the strategy does --------------------------------------------------------------------------------------

    def history(self, symbol: str, n: int) -> tuple[Bar, ...]:
        known = self._history.get(symbol, ())
        return tuple(islice(known, max(len(known) - n, 0), None))

    def place(self, intent: OrderIntent) -> str:
        if intent.symbol not in self._history:
            raise Refusal("invalid-command", f"this backtest has no data of {intent.symbol}", field="symbol")
        return self._place(intent)

    def cancel(self, order_id: str) -> None:
        if self._is_open(order_id):
            self._execute(RequestCancel(**self._request(), order_id=order_id))

    def replace(
        self, order_id: str, quantity: Decimal | None, limit_price: Decimal | None, stop_price: Decimal | None
    ) -> None:
        if self._is_open(order_id):
            self._execute(
                RequestReplace(
                    **self._request(),
                    order_id=order_id,
                    quantity=quantity,
                    limit_price=limit_price,
                    stop_price=stop_price,
                )
            )

    def _is_open(self, order_id: str) -> bool:
        """Raises ``Refusal`` if the strategy has no such order."""
        if order_id in self._book.book.orders:
            return True
        if not 1 <= number_of(order_id) <= self._orders:
            raise Refusal("unknown-order", f"{self._settings.strategy_id} has no order {order_id}")
        return False

    def set_timer(self, name: str, at: datetime | None, every: timedelta | None) -> None:
        every_ns = None if every is None else every // timedelta(microseconds=1) * 1000
        self._timers.set(name, self._now_ns, None if at is None else ns_of(at), every_ns)

    def cancel_timer(self, name: str) -> None:
        self._timers.cancel(name)


def _add_point(points: list[tuple[datetime, Decimal]], time: datetime, value: Decimal) -> None:
    """The value after everything that happened at that time."""
    if points and points[-1][0] == time:
        points[-1] = time, value
    else:
        points.append((time, value))
