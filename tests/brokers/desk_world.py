"""Gateways' work on one account, one after the other: a book, a bus that is quick, and a broker in memory.

Everything is real but the log, the lease and the broker: what a process knows only by itself goes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from foldbook.brokers.desk import Desk
from foldbook.brokers.port import (
    Acknowledged,
    Answer,
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
from foldbook.brokers.session import Session
from foldbook.brokers.work import AccountWork
from foldbook.errors import Refusal
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Metadata
from foldbook.trading.commands import BookCommand
from foldbook.trading.order import Order
from foldbook.trading.state import completed, outlines_in
from foldbook.trading.values import ExecType, OrderType, OrdStatus, TimeInForce
from tests.brokers.gateway_world import now
from tests.builders import ACCOUNT, open_account
from tests.trading.lives import Life

_OPEN = (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED)
RETRY_S = 0.01
_ANOTHER = uuid7()
"""Of the command that had done it before."""

replace = msgspec.structs.replace


class Broker:
    """``wrong``: by request, what goes wrong with the next one: ``lose_request``, ``lose_ack``, or ``lose_rejection``:
    it is taken, and rejected by a report that is lost."""

    def __init__(self, **capabilities: Any) -> None:
        usual: dict[str, Any] = {
            "order_types": frozenset(OrderType),
            "times_in_force": frozenset(TimeInForce),
            "replaces": True,
            "id_alphabet": "abcdefghijklmnopqrstuvwxyz0123456789:-",
            "id_length_max": 64,
            "settle_s": 0.1,
            "send_s": 2.0,
            "dedup_s": 3600.0,
            "polls_s": 0.05,
            "serves_many": True,
            "reports_positions": False,
        }
        self.capabilities = Capabilities(**{**usual, **capabilities})
        self.orders: dict[str, OrderState] = {}
        self.fills: list[Report] = []
        self.sent: list[tuple[str, str, Decimal | None]] = []
        """What was asked: the request, the client order id, the price."""
        self.wrong: dict[str, str] = {}
        self.before_cancel: Callable[[], object] = lambda: None
        self.is_silent = False
        """It answers no questions about orders by their ids, and lists none."""
        self.refuses: str | None = None
        """Why it takes no order."""
        self.held: tuple[Holding, ...] = ()
        """What it says that the account holds, if it ``reports_positions``."""
        self.says_traded = True
        """The report of an end says how much had traded."""
        self.untold = 0
        """So many of the latest fills are not in the list yet."""

    def report(self, client_id: str, exec_type: ExecType, **said: Any) -> Report:
        state = self.orders[client_id]
        about = {"client_order_id": client_id, "broker_order_id": state.broker_order_id, "symbol": state.symbol}
        told = {"kind": ReportKind.ORDER, "account": ACCOUNT, "side": state.side, "time": state.time}
        traded: dict[str, Any] = {}
        if exec_type is ExecType.CANCELED and self.says_traded:
            traded = {"order_qty": state.quantity, "cum_qty": state.cum_qty}
        return Report(exec_type=exec_type, **{**about, **told, **traded, **said})

    def fill(self, client_id: str, quantity: str) -> Report:
        """It trades; the report goes nowhere by itself."""
        state = self.orders[client_id]
        cum_qty = state.cum_qty + Decimal(quantity)
        status = OrdStatus.FILLED if cum_qty >= state.quantity else OrdStatus.PARTIALLY_FILLED
        self.orders[client_id] = replace(state, cum_qty=cum_qty, status=status, time=now())
        amounts: dict[str, Any] = {"last_qty": Decimal(quantity), "last_px": Decimal(100)}
        exec_id = f"e-{len(self.fills) + 1}"
        fill = self.report(client_id, ExecType.TRADE, kind=ReportKind.TRADE, exec_id=exec_id, **amounts)
        self.fills.append(fill)
        return fill

    # -- requests ------------------------------------------------------------------------------------------------

    async def submit(self, order: NewOrder) -> Outcome:
        client_id = order.client_order_id
        self.sent.append(("submit", client_id, order.limit_price))
        if self.refuses is not None:
            return Refused(reason=self.refuses)
        wrong = self.wrong.pop("submit", None)
        if wrong == "lose_request":
            return InDoubt(reason="lost")
        if client_id not in self.orders:
            self.orders[client_id] = OrderState(
                client_order_id=client_id,
                broker_order_id=f"b-{len(self.orders) + 1}",
                symbol=order.symbol,
                side=order.side,
                status=OrdStatus.NEW,
                quantity=order.quantity,
                limit_price=order.limit_price,
                stop_price=order.stop_price,
                time=now(),
            )
        if wrong == "lose_ack":
            return InDoubt(reason="lost")
        told = self.report(client_id, ExecType.NEW)
        return Acknowledged(broker_order_id=told.broker_order_id, reports=(told,))

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome:
        self.before_cancel()
        return self._change("cancel", order, {"status": OrdStatus.CANCELED}, ExecType.CANCELED, request_id)

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        change = {"quantity": terms.quantity, "limit_price": terms.limit_price, "stop_price": terms.stop_price}
        return self._change("replace", order, change, ExecType.REPLACED, request_id)

    def _change(
        self, what: str, order: OrderRef, change: dict[str, Any], exec_type: ExecType, request_id: str
    ) -> Outcome:
        client_id = order.client_order_id
        self.sent.append((what, client_id, change.get("limit_price")))
        wrong = self.wrong.pop(what, None)
        if wrong == "lose_request":
            return InDoubt(reason="lost")
        state = self.orders.get(client_id)
        if state is None or state.status not in _OPEN:
            return Refused(reason="it is not open")
        if change.get("quantity", state.quantity) <= state.cum_qty:
            return Refused(reason="so much has traded")
        self.orders[client_id] = replace(state, time=now(), **change)
        if wrong == "lose_ack":
            return InDoubt(reason="lost")
        if wrong == "lose_rejection":
            self.orders[client_id] = state
            return Acknowledged(broker_order_id=state.broker_order_id)
        terms = change if exec_type is ExecType.REPLACED else {}
        return Acknowledged(
            broker_order_id=state.broker_order_id,
            reports=(self.report(client_id, exec_type, request_id=request_id, **terms),),
        )

    # -- questions -----------------------------------------------------------------------------------------------

    async def order_by_client_id(self, order: OrderRef) -> Answer[OrderState]:
        if self.is_silent:
            raise BrokerUnavailable("not now")
        state = self.orders.get(order.client_order_id)
        found = () if state is None else (state,)
        return Answer(completeness=Completeness.COMPLETE, began_at=now(), items=found)

    async def open_orders(self, account: str) -> Answer[OrderState]:
        if self.is_silent:
            raise BrokerUnavailable("not now")
        found = tuple(state for state in self.orders.values() if state.status in _OPEN)
        return Answer(completeness=Completeness.COMPLETE, began_at=now(), items=found)

    async def fills_since(self, account: str | None, cursor: str | None) -> Fills:
        told = self.fills[: len(self.fills) - self.untold]
        reports = tuple(told[int(cursor or 0) :])
        return Fills(completeness=Completeness.COMPLETE, began_at=now(), reports=reports, cursor=str(len(told)))

    async def positions(self, account: str) -> Answer[Holding]:
        return Answer(completeness=Completeness.COMPLETE, began_at=now(), items=self.held)


class Log:
    """The account's book, and the gateways that hear of it."""

    def __init__(self) -> None:
        self.life = Life()
        self.life.execute(open_account())
        self.gateways: list[Gateway] = []
        self._results: dict[UUID, CommandResult] = {}
        self.dropped: list[BookCommand] = []
        """What changed nothing."""

    def execute(self, *commands: BookCommand) -> None:
        """As a user does, or a gateway. Raises ``Refusal``."""
        for command in commands:
            self.result_of(command)

    def result_of(self, command: BookCommand) -> CommandResult:
        known = self._results.get(command.command_id)
        if known is not None:
            return replace(known, replayed=True)
        events = self.life.execute(command)
        sequence = len(self.life.events)
        names = tuple(type(event).__name__ for event in events)
        result = CommandResult(
            aggregate_id=ACCOUNT,
            shard=0,
            position=sequence,
            sequence=sequence,
            events=names,
            command_id=command.command_id if events else _ANOTHER,
        )
        if not events:
            self.dropped.append(command)
        if events:
            self._results[command.command_id] = result
            for gateway in self.gateways:
                gateway.work.hear(sequence, command.command_id, events)
                gateway.complete()
        return result

    @property
    def types(self) -> list[str]:
        return [type(event).__name__ for event in self.life.events]


class Gateway:
    """One process. ``holds``: the log takes these commands later, or, if it is killed before, never."""

    def __init__(self, log: Log, broker: Broker, cursors: dict[str, str] | None = None) -> None:
        self.log = log
        self.broker = broker
        self.holds: Callable[[BookCommand], bool] = lambda _: False
        self.moved: dict[str, str] = {}
        self._is_killed = False
        self.lost: list[BaseException] = []
        self.desk = Desk(
            cast(Any, broker),
            cast(Any, self),
            cast(Any, self),
            now=now,
            new_id=uuid7,
            order_of=self._order_of,
            lost=self.lost.append,
        )
        self.session = Session("simulated", self.desk, dict(cursors or {}), self.moved.__setitem__)
        book, sequence = log.life.book, len(log.life.events)
        for order_id in outlines_in(book):
            book = completed(book, order_id, log.life.about(order_id))
        self.work = AccountWork(ACCOUNT, book, sequence, self.desk, lambda: self.session.poll(ACCOUNT))
        log.gateways = [self]
        self.session.add(self.work)

    def complete(self) -> None:
        """As the term does with orders that the book had forgotten."""
        for order_id in outlines_in(self.work.book):
            events = enumerate(self.log.life.events, 1)
            self.work.complete(order_id, [(n, event) for n, event in events if event.subject == order_id])

    # as the bus

    def submit(self, command: BookCommand, *, metadata: Metadata) -> asyncio.Future[CommandResult]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[CommandResult] = loop.create_future()

        def commit() -> None:
            if self._is_killed:
                return
            if self.holds(command):
                loop.call_later(RETRY_S, commit)
                return
            try:
                future.set_result(self.log.result_of(command))
            except Refusal as refusal:
                future.set_exception(refusal)

        loop.call_soon(commit)
        return future

    # as the lease

    async def wait_for(self, _seconds: float) -> None:
        return

    async def _order_of(self, _account: str, client_id: str) -> str | None:
        sent = (event for event in self.log.life.events if getattr(event, "client_order_id", None) == client_id)
        return next((event.subject for event in sent), None)

    # its course

    async def connect(self) -> None:
        """Connected, and reconciled."""
        self.begin_to_connect()
        await self.session._make_ready(self.work, self.session._connection)

    def begin_to_connect(self) -> None:
        self.desk.knows_broker = self.session.is_connected = True
        self.session._connection += 1

    async def reconcile(self) -> Sequence[str]:
        """Returns the orphans."""
        return (await self.session.reconcile(self.work)).orphans

    async def kill(self) -> None:
        """What it had not recorded is gone."""
        self._is_killed = True
        await self.desk.stop()

    @property
    def order(self) -> Order | None:
        return self.work.order("o-1")


async def connected(log: Log, broker: Broker, cursors: dict[str, str] | None = None) -> Gateway:
    gateway = Gateway(log, broker, cursors)
    await gateway.connect()
    return gateway
