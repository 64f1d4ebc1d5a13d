"""One account at its broker: what its events ask for is sent, and what the broker says is recorded.

Events come in from the log, in order. What is to be sent goes through ``gateway.react``, so that the attempt is in the
log first; it is sent when the attempt comes back from there, if it was this process that made it. Requests about one
order follow each other. Nothing new is sent while the account is not reconciled with the broker; a cancel always is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from foldbook.brokers.asking import Asking
from foldbook.brokers.client_ids import ClientIds
from foldbook.brokers.desk import Desk, Recording
from foldbook.brokers.ends import Ends
from foldbook.brokers.gateway import Action, Ask, Attempt, Cancel, Replace, Submit, Withdraw, react, recover
from foldbook.brokers.legs import Legs
from foldbook.brokers.port import (
    Acknowledged,
    BrokerUnavailable,
    Capabilities,
    InDoubt,
    NewOrder,
    OrderRef,
    Outcome,
    Report,
    ReportKind,
    Terms,
)
from foldbook.brokers.reconciling import Reconciling
from foldbook.brokers.reports import command_of, identity_of
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Event
from foldbook.trading.commands import BookCommand, RecordAttempt, RecordDoubt, RecordExecution
from foldbook.trading.doubts import record_attempt
from foldbook.trading.order import Order
from foldbook.trading.state import Book, completed, evolve
from foldbook.trading.values import ExecType, RequestKind, as_reason

SEEN_MAX = 2_000
"""Reports of one account that are remembered, so that what is told twice is not recorded twice."""

CLOSED_MAX = 1_000
"""Closed orders of one account of which it is known when they closed."""

LATE_FILLS_S = 60.0
"""For so long after an order has closed, the broker is asked for fills in the rhythm: they may lag behind the end. When
the work begins, one may have closed just before."""

Sending: TypeAlias = Submit | Cancel | Replace

_KINDS = {Submit: RequestKind.SUBMIT, Cancel: RequestKind.CANCEL, Replace: RequestKind.REPLACE}


class AccountWork:
    """``book`` and ``sequence``: as the log has them when the work begins. ``poll`` asks the broker for the account's
    fills, and returns when they are recorded."""

    def __init__(
        self, account: str, book: Book, sequence: int, desk: Desk, poll: Callable[[], Awaitable[None]]
    ) -> None:
        self.account = account
        self.book = book
        self.sequence = sequence
        self.desk = desk
        self.ids = ClientIds(account, desk.broker.capabilities)
        self.is_ready = False
        """It is reconciled, and new orders may be sent."""
        self.problem: str | None = None
        """Why it is not."""
        self.changed_at: dict[str, datetime] = {}
        """When each order was last told something about, by our clock."""
        self.closed_at: OrderedDict[str, datetime] = OrderedDict()
        """When the orders that closed last did so."""
        self._began_at = desk.now()
        self._held: list[Action] = []
        """What is new, and waits until the account is reconciled."""
        self._attempts: dict[UUID, None] = {}
        """The command ids of this process's own attempts that have not come back from the log."""
        self._lines: dict[str, deque[Sending]] = {}
        self._seen: OrderedDict[Hashable, Recording | None] = OrderedDict()
        """By identity; None: it is recorded."""
        self._recorded = 0
        """The sequence of the latest command that is recorded."""
        self._changed = asyncio.Event()
        self.asking = Asking(self)
        self.legs = Legs(self)
        self.ends = Ends(self)
        self.reconciling = Reconciling(self, poll)
        self.gateway, self._recovered = recover(book)
        for order in self.orders:
            self.ids.open(order)

    @property
    def capabilities(self) -> Capabilities:
        return self.desk.broker.capabilities

    @property
    def orders(self) -> list[Order]:
        """The open ones, and those that have filled before what was asked of them was answered."""
        return [*self.book.orders.values(), *self.book.filled.values()]

    @property
    def is_active(self) -> bool:
        """Does it have, or ask for, anything that may trade or has traded, here or at the broker?"""
        book = self.book
        if book.orders or book.filled or book.risk.mismatches:
            return True
        return any(position.quantity for position in book.positions.values())

    @property
    def may_be_filled(self) -> bool:
        """Is an order open, or was it a moment ago?"""
        if self.book.orders or self.book.filled:
            return True
        latest = next(reversed(self.closed_at.values()), self._began_at)
        return (self.desk.now() - latest).total_seconds() < LATE_FILLS_S

    @property
    def doubts(self) -> int:
        return sum(len(order.doubts) for order in self.orders)

    @property
    def is_idle(self) -> bool:
        """Is nothing under way?"""
        return not (self._lines or self._attempts or self.asking.is_busy or self._held)

    def is_busy_with(self, order_id: str) -> bool:
        """Is a request about the order on its way?"""
        return order_id in self._lines

    def begin(self) -> None:
        """Do what the book leaves to do; what is new waits until the account is reconciled."""
        recovered, self._recovered = self._recovered, ()
        for action in recovered:
            self._do(action, None)

    def make_ready(self) -> None:
        """It is reconciled: what has waited is done."""
        self.is_ready, self.problem = True, None
        held, self._held = self._held, []
        for action in held:
            self._do(action, None)

    def make_unready(self, problem: str) -> None:
        """Nothing new is sent until it is reconciled."""
        self.is_ready, self.problem = False, problem

    # -- the log -------------------------------------------------------------------------------------------------

    def hear(self, sequence: int, command_id: UUID, events: Sequence[Event]) -> None:
        """The events of one command; ``sequence``: of the last of them.

        Raises ``BrokerUnavailable`` if they do not follow those that were heard before.
        """
        if sequence <= self.sequence:
            return
        if sequence - len(events) != self.sequence:
            raise BrokerUnavailable(f"of {self.account}, event {sequence} came after event {self.sequence}")
        for event in events:
            self.book = evolve(self.book, event)
        now = self.desk.now()
        for order_id in {event.subject for event in events if event.subject is not None}:
            order = self.order(order_id)
            if order is not None:
                self.changed_at[order_id] = now
                self.ids.open(order)
            else:
                self.changed_at.pop(order_id, None)
                self.ids.close(order_id)
                self.closed_at[order_id] = now
                self.closed_at.move_to_end(order_id)
                if len(self.closed_at) > CLOSED_MAX:
                    self.closed_at.popitem(last=False)
        self.sequence = sequence
        self.gateway, actions = react(self.gateway, events)
        for action in actions:
            self._do(action, command_id)
        self._attempts.pop(command_id, None)
        self._changed.set()
        self._changed = asyncio.Event()

    def complete(self, order_id: str, past: Sequence[tuple[int, Event]]) -> None:
        """Know an order whole that the book knows in outline. ``past``: all events about it, with their sequences."""
        self.book = completed(self.book, order_id, [event for sequence, event in past if sequence <= self.sequence])

    def order(self, order_id: str) -> Order | None:
        """An open order, or one that has filled before what was asked of it was answered."""
        return self.book.orders.get(order_id) or self.book.filled.get(order_id)

    async def caught_up(self, *recordings: Recording | None) -> None:
        """Wait until these commands are recorded, and were heard of from the log."""
        for recording in recordings:
            if recording is not None:
                await recording.done
        recorded = self._recorded
        while self.sequence < recorded:
            await self._changed.wait()

    async def wait_while(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Wait until what is heard from the log has changed that, but not for longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while holds():
                    await self._changed.wait()

    # -- what the events ask for -----------------------------------------------------------------------------------

    def _do(self, action: Action, command_id: UUID | None) -> None:
        if isinstance(action, Attempt):
            self._attempt(action)
        elif isinstance(action, Submit | Cancel | Replace):
            if command_id in self._attempts:
                self._enqueue(action)
            else:
                self.doubt(action.order_id, _KINDS[type(action)], _request_id(action), action.attempt, _NOT_OURS)
        elif isinstance(action, Withdraw):
            self.record(
                RecordExecution(
                    **self.request(),
                    order_id=action.order_id,
                    exec_type=ExecType.CANCELED,
                    request_id=action.request_id,
                    reason="it was never sent",
                )
            )
        elif isinstance(action, Ask):
            self.asking.begin(action.order_id, action.doubt)
        else:
            self.doubt(action.order_id, action.request, action.request_id, action.attempt, _UNANSWERED)

    def _attempt(self, action: Attempt) -> None:
        if not self.is_ready and action.request is not RequestKind.CANCEL:
            self._held.append(action)
            return
        client_id = leg = None
        if action.request is RequestKind.REPLACE:
            leg = self.legs.sent_for(action)
            client_id = None if leg is None else self.ids.of(action.order_id, leg)
        if action.request is RequestKind.SUBMIT:
            order = self.gateway.unsent.get(action.order_id)
            if order is not None and (reason := self.capabilities.why_unsupported(order)) is not None:
                self.told(action.order_id, ExecType.REJECTED, reason=reason)
                return
            client_id = self.ids.of(action.order_id, 1)
        self.attempt(
            action.order_id, action.request, action.request_id, action.attempt, leg=leg, client_order_id=client_id
        )

    def attempt(
        self, order_id: str, request: RequestKind, request_id: str | None, attempt: int, **facts: Any
    ) -> Recording:
        """Record that something is about to be sent; it is sent when that comes back from the log."""
        return self._record_attempt(self._attempt_of(order_id, request, request_id, attempt, **facts))

    async def attempt_again(
        self, order_id: str, request: RequestKind, request_id: str | None, leg: int | None = None
    ) -> bool:
        """Attempt once more what was attempted before, or the new leg that is to follow; return when that was heard of
        from the log. False: not now, and nothing was recorded, for the book would drop it."""
        order = self.order(order_id)
        if order is None or not self.is_ready:
            return False
        attempts, sent_as = order.attempts, 1 if request is RequestKind.SUBMIT else leg
        if request is not RequestKind.SUBMIT:
            attempts = next((known.attempts for known in order.requests if known.request_id == request_id), 0)
        client_id = None if sent_as is None else self.ids.of(order_id, sent_as)
        command = self._attempt_of(order_id, request, request_id, attempts + 1, leg=leg, client_order_id=client_id)
        if not record_attempt(command, msgspec.structs.replace(self.book, recalled=order)):
            return False
        await self.caught_up(self._record_attempt(command))
        return True

    def _attempt_of(
        self, order_id: str, request: RequestKind, request_id: str | None, attempt: int, **facts: Any
    ) -> RecordAttempt:
        return RecordAttempt(
            **self.request(), order_id=order_id, request=request, request_id=request_id, attempt=attempt, **facts
        )

    def _record_attempt(self, command: RecordAttempt) -> Recording:
        self._attempts[command.command_id] = None
        recording = self.record(command)
        recording.done.add_done_callback(lambda done: self._attempted(command.command_id, done))
        return recording

    def _attempted(self, command_id: UUID, done: asyncio.Future[CommandResult | None]) -> None:
        """What changed nothing is not wanted any more: nothing of it will come back."""
        if done.cancelled():
            return
        result = done.result()
        if result is None or result.command_id != command_id:
            self._attempts.pop(command_id, None)

    # -- sending -------------------------------------------------------------------------------------------------

    def _enqueue(self, action: Sending) -> None:
        line = self._lines.get(action.order_id)
        if line is not None:
            line.append(action)
            return
        self._lines[action.order_id] = deque((action,))
        self.desk.run(self._work_off(action.order_id), f"send {action.order_id}")

    async def _work_off(self, order_id: str) -> None:
        line = self._lines[order_id]
        while line:
            await self._send(line[0])
            line.popleft()
        del self._lines[order_id]

    async def _send(self, action: Sending) -> None:
        order = self.book.orders.get(action.order_id)
        if order is None:
            self.too_late(action, "the order had ended before it was sent")
            return
        broker = self.desk.broker
        if isinstance(action, Submit):
            new = self.new_order(order, 1, action)
            outcome = await self.desk.request(lambda: broker.submit(new))
        elif isinstance(action, Cancel):
            ref = self.ref(order)
            outcome = await self.desk.request(lambda: broker.cancel(ref, action.request_id or action.order_id))
        elif self.capabilities.replaces:
            ref = self.ref(order)
            terms = Terms(quantity=action.quantity, limit_price=action.limit_price, stop_price=action.stop_price)
            outcome = await self.desk.request(lambda: broker.replace(ref, terms, action.request_id or action.order_id))
        else:
            await self.legs.replace(action, order)
            return
        await self._take(action, outcome)

    async def _take(self, action: Sending, outcome: Outcome) -> None:
        """What the broker says at once."""
        if isinstance(outcome, InDoubt):
            self.doubt(action.order_id, _KINDS[type(action)], _request_id(action), action.attempt, outcome.reason)
        elif isinstance(outcome, Acknowledged):
            if isinstance(action, Submit) and not outcome.reports:
                self.told(action.order_id, ExecType.NEW, broker_order_id=outcome.broker_order_id, raw=outcome.raw)
            for report in outcome.reports:
                self.report(report)
        else:
            self.desk.counts.refused += 1
            if isinstance(action, Submit):
                self.told(action.order_id, ExecType.REJECTED, reason=outcome.reason, raw=outcome.raw)
            else:
                await self.asking.after_refusal(action, outcome)

    def too_late(self, action: Sending, reason: str) -> None:
        """The order can trade no more. If it has filled, nobody else answers what was asked of it."""
        if isinstance(action, Submit):
            return
        exec_type = ExecType.CANCEL_REJECTED if isinstance(action, Cancel) else ExecType.REPLACE_REJECTED
        self.told(action.order_id, exec_type, request_id=action.request_id, reason=reason)

    def new_order(self, order: Order, leg: int, terms: Submit | Replace) -> NewOrder:
        """The order as the broker is to have it: of a later leg, what is left."""
        created = order.created
        quantity, limit_price, stop_price = created.quantity, created.limit_price, created.stop_price
        if isinstance(terms, Replace):
            quantity, limit_price, stop_price = terms.quantity - order.cum_qty, terms.limit_price, terms.stop_price
        return NewOrder(
            account=self.account,
            client_order_id=self.ids.of(created.order_id, leg),
            symbol=created.symbol,
            side=created.side,
            order_type=created.order_type,
            quantity=quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            time_in_force=created.time_in_force,
            expire_at=created.expire_at,
            post_only=created.post_only,
            reduce_only=created.reduce_only,
            trailing_offset=created.trailing_offset,
            display_quantity=created.display_quantity,
            cash_quantity=created.cash_quantity,
        )

    def replace_of(self, order: Order, request_id: str | None) -> Replace | None:
        """What a replace asks of the order."""
        asked = self.gateway.replaces.get(order.created.order_id, ())
        return next((replace for replace in asked if replace.request_id == request_id), None)

    def ref(self, order: Order, leg: int | None = None) -> OrderRef:
        """The order's present leg, as the broker knows it, or another one of them."""
        is_new = any(request.leg == order.leg for request in order.requests)
        return OrderRef(
            account=self.account,
            symbol=order.created.symbol,
            client_order_id=self.ids.of(order.created.order_id, order.leg if leg is None else leg),
            broker_order_id=None if is_new or leg is not None else order.broker_order_id,
        )

    # -- recording -----------------------------------------------------------------------------------------------

    def request(self) -> dict[str, Any]:
        return {"command_id": self.desk.new_id(), "received_at": self.desk.now(), "account": self.account}

    def record(self, command: BookCommand, raw: str | None = None) -> Recording:
        recording = self.desk.record(command, raw)
        recording.done.add_done_callback(self._keep_sequence)
        return recording

    def _keep_sequence(self, done: asyncio.Future[CommandResult | None]) -> None:
        result = None if done.cancelled() else done.result()
        if result is not None:
            self._recorded = max(self._recorded, result.sequence)

    def doubt(
        self, order_id: str, request: RequestKind, request_id: str | None, attempt: int, reason: str
    ) -> Recording:
        """Record that nobody knows what became of an attempt."""
        self.desk.counts.in_doubt += 1
        return self.record(
            RecordDoubt(
                **self.request(),
                order_id=order_id,
                request=request,
                request_id=request_id,
                attempt=attempt,
                reason=as_reason(reason) or "no answer",
            )
        )

    def told(self, order_id: str, exec_type: ExecType, *, raw: str | None = None, **facts: Any) -> Recording | None:
        """Record what follows from an answer of the broker."""
        report = Report(kind=ReportKind.ORDER, account=self.account, exec_type=exec_type, raw=raw, **facts)
        return self._report(report, order_id)

    def report_about(
        self, order: Order, exec_type: ExecType, request_id: str | None, reason: str | None, raw: str | None = None
    ) -> Report:
        """A report about the order's present leg."""
        return Report(
            kind=ReportKind.ORDER,
            account=self.account,
            exec_type=exec_type,
            client_order_id=self.ids.of(order.created.order_id, order.leg),
            request_id=request_id,
            reason=reason,
            raw=raw,
        )

    def report(self, report: Report) -> Recording | None:
        """Record what the broker reports. None: it is recorded, or not of importance here."""
        client_id = report.client_order_id
        order_id = None if client_id is None else self.ids[client_id]
        if client_id is not None and order_id is None:
            return self.desk.record_later(self._report_of_unknown(report, client_id), "look up a client order id")
        return self._report(report, order_id)

    async def _report_of_unknown(self, report: Report, client_id: str) -> CommandResult | None:
        """It is about an order that has long been closed, or about somebody else's."""
        recording = self._report(report, await self.desk.order_of(self.account, client_id))
        return None if recording is None else await recording.done

    def _report(self, report: Report, order_id: str | None) -> Recording | None:
        identity = identity_of(report, order_id)
        if identity in self._seen:
            return self._seen[identity]
        if order_id is None and self._is_in_opening(report):
            return None
        if order_id is not None and self.legs.expects(report, order_id):
            return None
        if order_id is not None and self.ends.is_early(report, order_id):
            recording = self.desk.record_later(
                self.ends.record_after_fills(report, order_id), f"wait for the fills of {order_id}"
            )
            self._remember(identity, recording)
            return recording
        command = command_of(report, order_id, self.desk.now())
        if command is None:
            return None
        recording = self.record(command, report.raw)
        self._remember(identity, recording)
        return recording

    def _remember(self, identity: Hashable, recording: Recording) -> None:
        self._seen[identity] = recording
        recording.done.add_done_callback(
            lambda _: self._seen.update({identity: None} if identity in self._seen else {})
        )
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        self.desk.counts.reports += 1

    def _is_in_opening(self, report: Report) -> bool:
        """Had it traded when an OPENING adjustment said what is held? Where positions are compared, that tells."""
        position = self.book.positions.get(report.symbol or "")
        if report.exec_type is not ExecType.TRADE or position is None or position.opening_at is None:
            return False
        return not self.capabilities.reports_positions and report.time is not None and report.time < position.opening_at


_NOT_OURS = "another process recorded the attempt"
_UNANSWERED = "the gateway that attempted it ended before the answer"


def _request_id(action: Sending) -> str | None:
    return None if isinstance(action, Submit) else action.request_id
