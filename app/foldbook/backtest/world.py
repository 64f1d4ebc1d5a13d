"""The world of a backtest: one account at the venue, on a virtual clock.

Everything that decides is real: the decider of the account, the gateway's decisions, the venue's matching. Without
latency an order reaches the venue in the same moment, and so do the venue's reports.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from foldbook.backtest.account import Account, Sink
from foldbook.backtest.result import FillRow
from foldbook.brokers import venue_calls
from foldbook.brokers.gateway import Action, Attempt, Cancel, Gateway, Replace, Submit, Withdraw, react
from foldbook.brokers.reports import execution_of
from foldbook.eventstore.events import Event
from foldbook.market.feeds.told import price_of
from foldbook.market.records import Bar, Quote, Trade, time_of
from foldbook.strategies.context import OrderIntent, OrderView
from foldbook.trading.commands import (
    AdjustAccount,
    BookCommand,
    DefineInstrument,
    OpenAccount,
    PlaceOrder,
    RecordAttempt,
    RecordExecution,
)
from foldbook.trading.events import OrderCreated, OrderDenied, OrderEvent, OrderFilled
from foldbook.trading.values import EXACT, ONE, ZERO, AdjustmentKind, ExecType, Side, canonical, unit_cost
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, Path, VenueInstrument, VenueReport

_BUY = Side.BUY
_add, _subtract, _multiply = EXACT.add, EXACT.subtract, EXACT.multiply


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """``cash`` is in ``currency``, in which every symbol settles. ``latency_ns``: to the venue, and back."""

    account: str
    strategy_id: str
    symbols: tuple[str, ...]
    cash: Decimal
    currency: str
    costs: Costs = Costs()
    path: Path = Path.ADVERSE
    latency_ns: int = 0
    closes_at_end: bool = False


class World:
    """The account, the gateway, the venue and the clock; and what the account is worth."""

    def __init__(self, settings: Settings, sink: Sink) -> None:
        self._settings = settings
        self._book = Account(sink)
        self._gateway = Gateway()
        instruments = [VenueInstrument(symbol=symbol, quote_currency=settings.currency) for symbol in settings.symbols]
        self._venue = Matching(settings.costs, settings.path, instruments, expects=set(settings.symbols))
        self._ids = int.from_bytes(hashlib.blake2b(settings.account.encode(), digest_size=8).digest()) << 64
        self._orders = 0
        self._commands = 0
        self._now_ns = 0
        self._now: datetime | None = None
        self._out: deque[Sequence[Event]] = deque()
        """Events that the gateway has not seen."""
        self._is_told = False
        self._told: deque[OrderEvent] = deque()
        """Events about orders that the strategy has not been told, if it is."""
        self._later: list[tuple[int, int, Action | VenueReport]] = []
        """What is under way to the venue, or back, by the time of its arrival."""
        self._under_way = 0
        self._last: dict[str, Bar | Quote | Trade | Decimal] = {}
        self._has_traded = False
        self._is_exposed = False
        self.cash = settings.cash
        self.fees = ZERO
        self.fills: list[FillRow] = []
        self.denied = 0

    # -- the clock ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        if self._now is None:
            self._now = time_of(self._now_ns)
        return self._now

    def _set_now(self, time_ns: int) -> None:
        if time_ns > self._now_ns:
            self._now_ns = time_ns
            self._now = None

    # -- the account -------------------------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        return self._settings.account

    @property
    def strategy_id(self) -> str:
        return self._settings.strategy_id

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._settings.symbols

    @property
    def orders_placed(self) -> int:
        return self._orders

    @property
    def equity(self) -> Decimal:
        """The cash, and what the positions are worth at the last prices."""
        equity = self.cash
        for symbol, position in self._book.book.positions.items():
            if position.quantity:
                price = self.last_price(symbol)
                if price is not None:
                    unit = unit_cost(price, None if position.multiplier == ONE else position.multiplier, position.kind)
                    equity = _add(equity, _multiply(position.quantity, unit))
        return canonical(equity)

    def position(self, symbol: str) -> Decimal:
        return self._book.book.position_qty(symbol)

    def orders(self, symbol: str | None) -> tuple[OrderView, ...]:
        return tuple(view for view in self._open_orders() if symbol is None or view.symbol == symbol)

    def _open_orders(self) -> list[OrderView]:
        known = sorted(self._book.book.orders.values(), key=lambda order: number_of(order.created.order_id))
        return [OrderView.of(order) for order in known]

    def last_price(self, symbol: str) -> Decimal | None:
        """The open of the bar that has opened, or what the last datum tells."""
        last = self._last.get(symbol)
        return last if last is None or isinstance(last, Decimal) else price_of(last)

    def _open_account(self) -> None:
        settings = self._settings
        self._execute(OpenAccount(**self._request()))
        for symbol in settings.symbols:
            if self._book.book.instrument(symbol).quote_currency != settings.currency:
                self._execute(DefineInstrument(**self._request(), symbol=symbol, quote_currency=settings.currency))
        self._execute(
            AdjustAccount(
                **self._request(),
                kind=AdjustmentKind.OPENING,
                reference="backtest",
                currency=settings.currency,
                amount=settings.cash,
            )
        )
        self._out.clear()

    def _place(self, intent: OrderIntent) -> str:
        self._orders += 1
        order_id = f"{self._settings.strategy_id}-{self._orders}"
        self._execute(
            PlaceOrder(
                **self._request(),
                order_id=order_id,
                strategy_id=self._settings.strategy_id,
                **msgspec.structs.asdict(intent),
            )
        )
        return order_id

    def _execute(self, command: BookCommand) -> Sequence[Event]:
        events = self._book.execute(command)
        if events:
            self._out.append(events)
            for event in events:
                if type(event) is OrderFilled:
                    self._book_fill(event)
                elif type(event) is OrderDenied:
                    self.denied += 1
                if self._is_told and isinstance(event, OrderEvent) and type(event) is not OrderCreated:
                    self._told.append(event)
        return events

    def _book_fill(self, event: OrderFilled) -> None:
        money = _multiply(event.last_qty, unit_cost(event.last_px, event.multiplier, event.instrument_kind))
        fee = ZERO if event.fee is None else event.fee
        self.cash = _subtract(_subtract(self.cash, money) if event.side is _BUY else _add(self.cash, money), fee)
        self.fees = _add(self.fees, fee)
        self._has_traded = True
        self._is_exposed = any(position.quantity for position in self._book.book.positions.values())
        time = event.transact_time or self.now
        self.fills.append(
            FillRow(
                time=time,
                symbol=event.symbol,
                side=event.side,
                quantity=event.last_qty,
                price=event.last_px,
                fee=canonical(fee),
                order_id=event.order_id,
            )
        )

    def _request(self) -> dict[str, Any]:
        return {"command_id": self._command_id(), "received_at": self.now, "account": self._settings.account}

    def _command_id(self) -> UUID:
        self._commands += 1
        return UUID(int=self._ids + self._commands)

    # -- the gateway and the venue -----------------------------------------------------------------------------------

    def _go_out(self) -> None:
        """The gateway does what the events ask for, and what comes of that."""
        while self._out:
            self._gateway, actions = react(self._gateway, self._out.popleft())
            for action in actions:
                self._perform(action)

    def _perform(self, action: Action) -> None:
        # By exact type: isinstance on a struct of another type walks through ABCMeta.
        if type(action) is Attempt:
            self._execute(
                RecordAttempt(
                    **self._request(),
                    order_id=action.order_id,
                    request=action.request,
                    request_id=action.request_id,
                )
            )
        elif type(action) is Withdraw:
            self._record_execution(action.order_id, ExecType.CANCELED, request_id=action.request_id)
        elif self._settings.latency_ns:
            self._send(action)
        else:
            self._answer(action)

    def _answer(self, action: Action) -> None:
        """The venue has it."""
        venue, now_ns = self._venue, self._now_ns
        if type(action) is Submit:
            reports = venue_calls.submit(venue, action.order, action.order.order_id, now_ns)
        elif type(action) is Cancel:
            reports = venue_calls.cancel(venue, action.order_id, now_ns, action.request_id)
        else:
            assert type(action) is Replace
            reports = venue_calls.replace(
                venue,
                action.order_id,
                now_ns,
                action.request_id,
                action.quantity,
                action.limit_price,
                action.stop_price,
            )
        for report in reports:
            self._receive(report)

    def _receive(self, report: VenueReport) -> None:
        if self._settings.latency_ns:
            self._send(report)
        else:
            self._record(report)

    def _send(self, what: Action | VenueReport) -> None:
        self._under_way += 1
        heapq.heappush(self._later, (self._now_ns + self._settings.latency_ns, self._under_way, what))

    def _record(self, report: VenueReport) -> None:
        self._execute(execution_of(report, self._settings.account, self._command_id(), self.now, self._now_ns))

    def _record_execution(self, order_id: str, exec_type: ExecType, request_id: str | None = None) -> None:
        request = self._request()
        self._execute(RecordExecution(**request, order_id=order_id, exec_type=exec_type, request_id=request_id))


def number_of(order_id: str) -> int:
    """Which of the strategy's orders it is; 0: none that the loop has named."""
    number = order_id.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0
