"""Runs one strategy in an account of the log, step by step: a datum, an event, a timer.

One thing at a time, in one event loop. Each step ends when the commands that the callback gave are committed and the
account has been read up to them; so the next callback sees what came of the one before. ``service`` makes the steps as
things happen. A test may make them itself, and knows after each what there is.

A strategy that raises is stopped: what the failed callback sent is thrown away, cancels of the strategy's open orders
are requested, and both are in the log (``_end``).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from foldbook.errors import Refusal, SequenceConflict
from foldbook.eventstore.events import Event, Metadata
from foldbook.market.feeds.told import Opened
from foldbook.market.records import Bar, Datum, Quote, Trade, time_of
from foldbook.messaging.answers import CommandFailed
from foldbook.messaging.transport import Commands
from foldbook.services.strategy.account import Account, Starts
from foldbook.services.strategy.outbox import patiently, send
from foldbook.services.strategy.world import Settings, World
from foldbook.strategies.binding import CASCADE_MAX, Binding
from foldbook.strategies.errors import StrategyError
from foldbook.strategies.strategy import Strategy
from foldbook.trading.commands import BookCommand, PlaceOrder, RequestCancel, RequestReplace, SetTradingState
from foldbook.trading.events import (
    OrderCancelRejected,
    OrderCreated,
    OrderDenied,
    OrderEvent,
    OrderReplaceRejected,
)
from foldbook.trading.order import names_of, state_of
from foldbook.trading.values import OrdStatus, PendingRequest, as_reason

EVENTS_MAX = 1_000
"""Events that are read at once."""
ANSWERS_MAX = 10_000
"""How often a strategy may answer events of its orders while neither data nor a timer comes. More has no end."""
CORRELATION_MAX = 128
"""Characters."""
CONFLICTS_MAX = 20
"""How often a command that must find the account unchanged is tried."""

logger = logging.getLogger(__name__)


class Runner:
    """``now_ns`` is the clock of the strategy; None: the data are, and ``tell`` moves it.

    ``on_event`` is told each event of the account as it is read, before the strategy is.
    """

    def __init__(
        self,
        strategy: Strategy,
        bus: Commands,
        account: Account,
        settings: Settings,
        *,
        now_ns: Callable[[], int] | None,
        new_id: Callable[[], UUID] = uuid7,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._strategy = strategy
        self._bus = bus
        self._clock = now_ns
        self._on_event = on_event
        self._told: deque[OrderEvent] = deque()
        self._metadata = Metadata(actor=f"strategy:{settings.strategy_id}")
        self.account = account
        self.world = World(account, settings, new_id)
        self._binding = Binding(strategy, self.world)
        self._answers = 0
        self._timers_at_once = 0
        self.is_running = False
        self.error: str | None = None
        """Why it was stopped, if it raised."""

    # -- steps -------------------------------------------------------------------------------------------------------

    async def start(self, starts: Starts, now_ns: int = 0) -> None:
        """Read the account, and start the strategy, which knows its position and its open orders by then.

        ``now_ns``: the time, if the data are the clock. Raises ``StrategyError`` if the account is not open.
        """
        await patiently(lambda: self.account.open(starts))
        if self.account.book.account is None:
            raise StrategyError(f"no order book is open for account {self.account.name}")
        self.world.begin()
        self.is_running = True
        self._set_now(now_ns)
        await self._call(self._binding.start)

    async def stop(self) -> None:
        """The strategy is told that it stops, if it has not been stopped already."""
        if self.is_running:
            self._set_now(0)
            await self._call(self._binding.stop)
            self.is_running = False

    async def advance(self, time_ns: int = 0) -> None:
        """Fire the timers that are due before ``time_ns``, each at its time; then that is the time.

        With a clock of its own the runner asks that instead, once: what is due later is for the next call.
        """
        until_ns = time_ns if self._clock is None else self._clock() + 1
        while await self.fire_next(until_ns):
            pass
        self._set_now(time_ns)

    async def fire_next(self, until_ns: int) -> bool:
        """Fire the next of those timers. False: there is none."""
        next_ns = self.world.timers.next_ns
        if not self.is_running or next_ns is None or next_ns >= until_ns:
            return False
        self._timers_at_once = self._timers_at_once + 1 if next_ns == self.world.now_ns else 1
        self._set_now(next_ns)
        name, at_ns = next(self.world.timers.due(next_ns))
        self._answers = 0
        await self._call(self._tell_timer, name, time_of(at_ns))
        return True

    async def show(self, told: Datum | Opened) -> None:
        """It is the time of this datum, and its price is the last one; the strategy is not told yet."""
        if self.world.is_watched(told.symbol):
            await self.advance(told.time_ns)
            self.world.show(told)

    async def tell(self, told: Datum | Opened) -> None:
        """Tell the strategy a datum. When this returns, what it sent is committed."""
        if not self.is_running or not self.world.is_watched(told.symbol):
            return
        await self.show(told)
        if isinstance(told, Bar):
            self.world.remember(told)
        if self.is_running:
            self._answers = 0
            await self._call(self._tell, told)

    async def read(self, position: int) -> None:
        """Read the account's events up to a position of the log, at least; the strategy is not told yet."""
        while self.account.position < position and await self.read_page():
            pass

    async def read_page(self) -> bool:
        """Read what is new, but not all of it if that is very much. True: there may be more."""
        more = await patiently(lambda: self.account.read(self._read_event, EVENTS_MAX))
        self.world.catch_up()
        return more

    async def tell_next(self) -> bool:
        """Tell the strategy the next event of its orders that was read. False: there is none."""
        if not self._told or not self.is_running:
            self._told.clear()
            return False
        self._set_now(0)
        await self._call(self._answer, self._told.popleft())
        return True

    async def catch_up(self, position: int) -> None:
        """Tell the strategy everything that happened to its orders up to a position of the log."""
        await self.read(position)
        while await self.tell_next():
            pass

    @property
    def is_data_clock(self) -> bool:
        """The data are the clock."""
        return self._clock is None

    def timer_due_s(self) -> float | None:
        """How long until the next timer; None: there is none, or only the data tell."""
        next_ns = self.world.timers.next_ns
        if self._clock is None or next_ns is None:
            return None
        return max(next_ns - self._clock(), 0) / 1e9

    @property
    def untold(self) -> int:
        """Events that were read and not told yet."""
        return len(self._told)

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _set_now(self, time_ns: int) -> None:
        self.world.now_ns = max(self.world.now_ns, time_ns if self._clock is None else self._clock())

    def _tell(self, told: Datum | Opened) -> None:
        binding = self._binding
        if isinstance(told, Quote):
            binding.quote(told)
        elif isinstance(told, Trade):
            binding.trade(told)
        elif isinstance(told, Bar):
            binding.bar(told)
        else:
            binding.open(told.symbol, told.price, time_of(told.time_ns))

    def _tell_timer(self, name: str, time: datetime) -> None:
        if self._timers_at_once > CASCADE_MAX:
            raise StrategyError(f"{type(self._strategy).__name__} sets timers without end: {CASCADE_MAX} at {time}")
        self._binding.timer(name, time)

    def _answer(self, event: OrderEvent) -> None:
        self._binding.order_event(event)
        self._answers += self.world.has_sent
        if self._answers > ANSWERS_MAX:
            name = type(self._strategy).__name__
            raise StrategyError(f"{name} answers its own events without end: {ANSWERS_MAX} times")

    def _read_event(self, event: Event) -> None:
        self._on_event(event)
        is_own = isinstance(event, OrderEvent) and event.strategy_id == self.world.strategy_id
        if is_own and self._binding.hears_order_events and type(event) is not OrderCreated:
            assert isinstance(event, OrderEvent)
            self._told.append(event)

    async def _call(self, tell: Callable[..., None], *about: Any) -> None:
        try:
            tell(*about)
        except Exception as error:
            await self._end(error)
        else:
            await self._commit()

    async def _commit(self) -> None:
        commands = self.world.take_sent()
        if not commands:
            return
        sent = await send(self._bus, commands, self._metadata)
        await self.read(sent.position)
        if sent.refused:
            await self.read_page()  # why it was refused has come meanwhile
        self.world.catch_up()
        for command, refusal in sent.refused:
            self._tell_refused(command, refusal)

    def _tell_refused(self, command: BookCommand, refusal: Refusal) -> None:
        """Something else happened to the account before the command was there. No event of the log says so, but the
        strategy relies on an answer."""
        logger.warning("%s of %s was refused: %s", type(command).__name__, command.subject, refusal)
        event = _as_event(command, refusal, self.account)
        if event is not None and self._binding.hears_order_events:
            self._told.append(event)

    # -- the end of a strategy that raised ---------------------------------------------------------------------------

    async def _end(self, error: Exception) -> None:
        """Cancel what is open, and say in the log that the strategy is at its end, and why.

        The account is not halted, as it would be in a backtest: others may trade in it. So the requests of the cancels
        carry the reason as what they belong to, and as the message that they were made from; and a command that changes
        nothing, which sets the trading state that is in force, has the reason in its actor: it is there even if no
        order was open. Over a transport the actor is the key's name, and the first of these is what remains.
        """
        self.is_running = False
        self.world.take_sent()
        self.error = f"{type(error).__name__}: {error}"
        name = type(self._strategy).__name__
        reason = as_reason(f"{name} was stopped: {self.error}")
        logger.error("strategy %s: %s", self.world.strategy_id, reason, exc_info=error)
        await self.read_page()
        actor = self._metadata.actor
        cancels = [
            RequestCancel(**self.world.request(), order_id=order.created.order_id)
            for order in self.world.own_orders()
            if order.pending_request is not PendingRequest.CANCEL
        ]
        why = None if reason is None else reason[:CORRELATION_MAX]
        sent = await send(self._bus, cancels, Metadata(actor=actor, correlation_id=why, raw_message=reason))
        await self.read(sent.position)
        await self._say_ended(Metadata(actor=f"{actor} ({reason})", correlation_id=why))
        self._told.clear()

    async def _say_ended(self, metadata: Metadata) -> None:
        for _ in range(CONFLICTS_MAX):
            command = SetTradingState(**self.world.request(), state=self.account.book.risk.state)
            sequence = self.account.sequence
            try:
                await patiently(
                    lambda command=command, sequence=sequence: self._bus.execute(  # type: ignore[misc]
                        command, metadata=metadata, expected_sequence=sequence
                    )
                )
            except SequenceConflict as conflict:
                await self.read_page()
                logger.debug("the account has changed meanwhile: %s", conflict)
            except CommandFailed as failed:
                logger.warning("the log could not be told that the strategy was stopped: %s", failed)
                return
            else:
                return
        logger.error("the log could not be told that strategy %s was stopped", self.world.strategy_id)


def _as_event(command: BookCommand, refusal: Refusal, account: Account) -> OrderEvent | None:
    """What a strategy is told of a command that was refused; None: the end of the order says it all."""
    if isinstance(command, PlaceOrder):
        assert command.order_id is not None and command.quantity is not None
        return OrderDenied(
            order_id=command.order_id,
            strategy_id=command.strategy_id,
            symbol=command.symbol,
            side=command.side,
            quantity=command.quantity,
            limit_price=command.limit_price,
            stop_price=command.stop_price,
            working_state=OrdStatus.DENIED,
            reason=refusal.code,
            limit="",
            observed=refusal.detail,
        )
    if not isinstance(command, RequestCancel | RequestReplace):
        return None
    order = account.book.orders.get(command.order_id)
    if order is None:
        return None
    kind = OrderCancelRejected if isinstance(command, RequestCancel) else OrderReplaceRejected
    event: OrderCancelRejected | OrderReplaceRejected = kind(
        **names_of(order), request_id=str(command.command_id), text=as_reason(refusal.detail)
    )
    return msgspec.structs.replace(event, **state_of(order))
