"""Comparing an account with its broker: fills, open orders, positions.

What the broker has and the book has not is recorded as the broker tells it, and nothing is invented. A picture that was
begun before the latest news says nothing against it. Done again, it changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from foldbook.brokers.desk import Recording
from foldbook.brokers.doubts import CLOSED, end_of, report_of
from foldbook.brokers.port import Answer, Completeness, OrderState, Report
from foldbook.trading.commands import RecordHolding
from foldbook.trading.order import Order
from foldbook.trading.values import ZERO, ExecType, OrdStatus, PendingRequest, RequestKind

if TYPE_CHECKING:
    from foldbook.brokers.work import AccountWork

LOOKS_MAX = 5
"""How often positions that differ are looked at before that is told: the fill that explains it may be on its way."""

LOOK_PAUSE_S = 0.1

ANSWER_S_MAX = 30.0
"""For so long a broker that has taken a request may leave open what became of it."""

ATTEMPTS_MAX = 3
"""After so many it may take its time."""


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison came to. ``completeness``: of the broker's list of open orders."""

    account: str
    began_at: datetime
    ended_at: datetime
    completeness: Completeness
    positions: Completeness
    open_orders: int
    doubts: int
    mismatches: dict[str, tuple[str, str]]
    """By symbol: the quantity in the book, and at the broker."""
    orphans: tuple[str, ...] = ()
    """Open orders at the broker that are closed in the book, or not known to it, by their client order id."""


class Reconciling:
    """The comparisons of one account, one at a time."""

    def __init__(self, work: AccountWork, poll: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self.poll = poll
        """Ask for the account's fills; returns when they are recorded. Raises ``BrokerUnavailable``."""
        self._turn = asyncio.Lock()
        self.latest: Reconciliation | None = None

    async def run(self) -> Reconciliation:
        """Compare, and record what there is to record. Raises ``BrokerUnavailable``."""
        async with self._turn:
            work = self._work
            began_at = work.desk.now()
            await self.poll()
            listed = await work.desk.broker.open_orders(work.account)
            orphans = await self._orders(listed)
            positions = await self._positions()
            work.desk.counts.reconciliations += 1
            mismatches = work.book.risk.mismatches
            self.latest = Reconciliation(
                account=work.account,
                began_at=began_at,
                ended_at=work.desk.now(),
                completeness=listed.completeness,
                positions=positions,
                open_orders=len(work.book.orders),
                doubts=work.doubts,
                mismatches={s: (f"{m.expected:f}", f"{m.observed:f}") for s, m in sorted(mismatches.items())},
                orphans=orphans,
            )
            return self.latest

    # -- orders --------------------------------------------------------------------------------------------------

    async def _orders(self, listed: Answer[OrderState]) -> tuple[str, ...]:
        work = self._work
        by_client_id = {state.client_order_id: state for state in listed.items if state.client_order_id is not None}
        known: set[str] = set()
        ended: list[Recording | None] = []
        for order in list(work.book.orders.values()):
            client_ids = [work.ids.of(order.created.order_id, leg) for leg in range(1, order.leg + 1)]
            known.update(client_ids)
            state = by_client_id.get(client_ids[-1])
            if not self._is_settled(order, listed.began_at):
                continue
            if state is not None:
                await work.caught_up(*[work.report(report) for report in self._differences(order, state)])
                if self._is_overdue(order, listed.began_at):
                    await self._unanswered(order, "the broker has taken this, and has not said what became of it")
            elif listed.completeness is Completeness.COMPLETE:
                ended += await self._missing(order)
        # Each of them may wait for fills: together, and not one after the other.
        await work.caught_up(*ended)
        for order in list(work.book.filled.values()):
            if self._is_quiet(order, listed.began_at):
                await self._unanswered(order, "the order has filled, and this was not answered")
        return tuple(
            sorted(
                client_id
                for client_id in by_client_id.keys() - known
                # Not known at all: the log has lost it, or somebody else has sent it. It is open all the same.
                if not self._is_known(work.ids[client_id], listed.began_at)
            )
        )

    def _is_known(self, order_id: str | None, began_at: datetime) -> bool:
        """Is it open, or did it close since the picture was begun?"""
        if order_id is None:
            return False
        closed_at = self._work.closed_at.get(order_id)
        return order_id in self._work.book.orders or (closed_at is not None and closed_at >= began_at)

    def _is_settled(self, order: Order, began_at: datetime) -> bool:
        """Was it sent, is nothing about it on its way, and did nothing happen to it since the picture was begun?"""
        if order.is_outline or order.stage is OrdStatus.CREATED:
            return False
        if any(doubt.request is RequestKind.SUBMIT for doubt in order.doubts):
            return False
        if any(
            request.leg is not None or (request.attempts and not self._work.capabilities.replaces)
            for request in order.pending_replaces()
        ):
            return False
        return self._is_quiet(order, began_at)

    def _is_quiet(self, order: Order, began_at: datetime) -> bool:
        order_id = order.created.order_id
        changed_at = self._work.changed_at.get(order_id)
        return not self._work.is_busy_with(order_id) and (changed_at is None or changed_at < began_at)

    def _differences(self, order: Order, state: OrderState) -> list[Report]:
        """What the broker says of an order that is open there."""
        report = report_of(self._work.account, order, state)
        if order.stage is OrdStatus.PENDING_NEW:
            return [msgspec.structs.replace(report, exec_type=ExecType.NEW)]
        if order.has_legs and order.broker_order_id != state.broker_order_id and not self._work.capabilities.replaces:
            return []
        if order.leg > 1:
            return []  # What the broker has is what was left of it.
        terms = (state.quantity, state.limit_price, state.stop_price)
        if terms == (order.quantity, order.limit_price, order.stop_price) or not order.quantity:
            return []
        if order.created.trailing_offset is not None and terms[:2] == (order.quantity, order.limit_price):
            return []  # A stop that follows the market moves by itself.
        stated = msgspec.structs.replace(
            report, quantity=state.quantity, limit_price=state.limit_price, stop_price=state.stop_price
        )
        for request in order.pending_replaces():
            if terms == (request.quantity, request.limit_price, request.stop_price):
                return [msgspec.structs.replace(stated, exec_type=ExecType.REPLACED, request_id=request.request_id)]
        if order.pending_request is PendingRequest.REPLACE:
            return []
        return [msgspec.structs.replace(stated, exec_type=ExecType.RESTATED)]

    async def _missing(self, order: Order) -> Sequence[Recording | None]:
        """It is open in the book, and not at the broker: what became of it?"""
        work = self._work
        order_id = order.created.order_id
        answer = await work.desk.broker.order_by_client_id(work.ref(order))
        now = work.book.orders.get(order_id)
        if now is None or not self._is_settled(now, answer.began_at):
            return ()
        if answer.items:
            state = answer.items[-1]
            if state.status not in CLOSED:
                return ()
            await self.poll()
            return [work.report(report) for report in end_of(work.account, now, state)]
        if answer.completeness is Completeness.COMPLETE:
            is_new = now.stage is OrdStatus.PENDING_NEW
            request, attempt = (RequestKind.SUBMIT, now.attempts) if is_new else (RequestKind.STATUS, 1)
            if all(doubt.request is not request for doubt in now.doubts):
                return [work.doubt(order_id, request, None, attempt, "the broker does not know the order")]
        return ()

    def _is_overdue(self, order: Order, began_at: datetime) -> bool:
        """Was nothing told of it for so long that an answer was lost, if one is owed? A broker that does what was asked
        when it opens, say, is not asked without end."""
        changed_at = self._work.changed_at.get(order.created.order_id)
        if changed_at is None or max((asked.attempts for asked in order.requests), default=0) > ATTEMPTS_MAX:
            return False
        return (began_at - changed_at).total_seconds() > ANSWER_S_MAX

    async def _unanswered(self, order: Order, reason: str) -> None:
        """The answer to what was asked of it did not come."""
        work, order_id = self._work, order.created.order_id
        for asked in order.requests:
            if asked.attempts and not order.is_in_doubt(asked.request, asked.request_id):
                await work.caught_up(work.doubt(order_id, asked.request, asked.request_id, asked.attempts, reason))

    # -- positions -----------------------------------------------------------------------------------------------

    async def _positions(self) -> Completeness:
        work = self._work
        if not work.capabilities.reports_positions:
            return Completeness.UNSUPPORTED
        before: tuple[int, dict[str, Decimal]] | None = None
        for _ in range(LOOKS_MAX):
            sequence = work.sequence
            answer = await work.desk.broker.positions(work.account)
            if answer.completeness is not Completeness.COMPLETE:
                return answer.completeness
            held = {holding.symbol: holding.quantity for holding in answer.items}
            different = self._different(held)
            if not different or before == (sequence, different) == (work.sequence, different):
                await self._tell(different)
                return answer.completeness
            before = (work.sequence, different)
            await asyncio.sleep(LOOK_PAUSE_S)
            await self.poll()
        return Completeness.PARTIAL  # It keeps changing: the next comparison will tell.

    def _different(self, held: dict[str, Decimal]) -> dict[str, Decimal]:
        """The symbols about which something is to be told, and what the broker holds of them."""
        book = self._work.book
        different: dict[str, Decimal] = {}
        for symbol in {*held, *book.positions.keys(), *book.risk.mismatches.keys()}:
            expected, observed = book.position_qty(symbol), held.get(symbol, ZERO)
            known = book.risk.mismatches.get(symbol)
            told = expected if known is None else None if known.expected != expected else known.observed
            if told != observed:
                different[symbol] = observed
        return different

    async def _tell(self, different: dict[str, Decimal]) -> None:
        work = self._work
        await work.caught_up(
            *[
                work.record(RecordHolding(**work.request(), symbol=symbol, quantity=observed))
                for symbol, observed in sorted(different.items())
            ]
        )
