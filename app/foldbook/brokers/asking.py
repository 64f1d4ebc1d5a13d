"""Asking the broker what became of a request, until that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from foldbook.brokers.doubts import CLOSED, Asked, Step, end_of, judge
from foldbook.brokers.gateway import Cancel, Replace
from foldbook.brokers.port import Answer, BrokerUnavailable, OrderState, Refused, Report
from foldbook.eventstore.backoff import Backoff
from foldbook.trading.commands import ResolveDoubt
from foldbook.trading.events import Doubt
from foldbook.trading.order import Order
from foldbook.trading.values import DoubtOutcome, ExecType, OrdStatus, RequestKind, TradingState

if TYPE_CHECKING:
    from foldbook.brokers.work import AccountWork

PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 5.0
STAY_PAUSE_S = 15.0
"""How often the broker is asked about what a person has to decide: it may turn up after all."""


class Asking:
    """The doubts of one account."""

    def __init__(self, work: AccountWork) -> None:
        self._work = work
        self._running: set[str] = set()
        self._staying: set[str] = set()

    @property
    def is_busy(self) -> bool:
        """Is there a doubt that may end without a person?"""
        return bool(self._running - self._staying)

    def begin(self, order_id: str, doubt: Doubt) -> None:
        """Ask from now on until the doubt has ended."""
        if doubt.doubt_id not in self._running:
            self._running.add(doubt.doubt_id)
            self._work.desk.run(self._find_out(order_id, doubt), f"ask about {order_id}")

    async def _find_out(self, order_id: str, doubt: Doubt) -> None:
        backoff = Backoff(PAUSE_S_MIN, PAUSE_S_MAX)
        clock = asyncio.get_running_loop().time
        began_s = clock()
        try:
            while (order := self._order_in_doubt(order_id, doubt)) is not None:
                try:
                    step = await self._ask(order, doubt, clock() - began_s)
                except BrokerUnavailable:
                    step = Step.WAIT
                if step is Step.STAY:
                    self._staying.add(doubt.doubt_id)
                    await self._pause(order_id, doubt, STAY_PAUSE_S)
                else:
                    self._staying.discard(doubt.doubt_id)
                    await self._pause(order_id, doubt, backoff.next_s())
        finally:
            self._running.discard(doubt.doubt_id)
            self._staying.discard(doubt.doubt_id)

    def _order_in_doubt(self, order_id: str, doubt: Doubt) -> Order | None:
        order = self._work.order(order_id)
        if order is None or all(known.doubt_id != doubt.doubt_id for known in order.doubts):
            return None
        return order

    async def _pause(self, order_id: str, doubt: Doubt, pause_s: float) -> None:
        """Not beyond the end of the doubt."""
        await self._work.wait_while(lambda: self._order_in_doubt(order_id, doubt) is not None, pause_s)

    async def _ask(self, order: Order, doubt: Doubt, waited_s: float) -> Step:
        work = self._work
        if not work.desk.knows_broker:
            return Step.WAIT
        if doubt.request is RequestKind.REPLACE and not work.capabilities.replaces:
            return await work.legs.settle(order, doubt, waited_s)
        answer = await work.desk.broker.order_by_client_id(work.ref(order))
        asked = self.asked(order, doubt, waited_s)
        if doubt.request is RequestKind.STATUS and answer.items and answer.items[-1].status not in CLOSED:
            await work.caught_up(work.record(self._found(order, doubt)))
            return Step.WAIT
        told = judge(asked, order, work.replace_of(order, doubt.request_id), answer, work.capabilities)
        if isinstance(told, Step):
            if told is Step.RESEND:
                # The attempt ends the doubt.
                is_sent = await work.attempt_again(order.created.order_id, doubt.request, doubt.request_id)
                return Step.RESEND if is_sent else Step.WAIT
            return told
        await self.adopt(told)
        return Step.WAIT

    def _found(self, order: Order, doubt: Doubt) -> ResolveDoubt:
        """The broker has the order after all."""
        return ResolveDoubt(
            **self._work.request(),
            order_id=order.created.order_id,
            doubt_id=doubt.doubt_id,
            outcome=DoubtOutcome.ACCEPTED,
            reason="the broker has the order",
        )

    def asked(self, order: Order, doubt: Doubt, waited_s: float) -> Asked:
        placed_at = order.created.transact_time
        age_s = 0.0 if placed_at is None else (self._work.desk.now() - placed_at).total_seconds()
        is_halted = self._work.book.risk.state is TradingState.HALTED
        return Asked(account=self._work.account, doubt=doubt, waited_s=waited_s, age_s=age_s, is_halted=is_halted)

    async def adopt(self, reports: Iterable[Report]) -> None:
        """Record what the broker has, its fills first. Raises ``BrokerUnavailable``."""
        await self._work.reconciling.poll()
        await self._work.caught_up(*[self._work.report(report) for report in reports])

    # -- refusals ------------------------------------------------------------------------------------------------

    async def after_refusal(self, action: Cancel | Replace, refused: Refused) -> None:
        """The broker will not cancel, or replace: why not? It may have ended the order, or not know it yet."""
        work = self._work
        kind = RequestKind.CANCEL if isinstance(action, Cancel) else RequestKind.REPLACE
        order = work.book.orders.get(action.order_id)
        if order is None:
            work.too_late(action, refused.reason)
            return
        try:
            answer = await work.desk.broker.order_by_client_id(work.ref(order))
            reports = self._after_refusal(order, action, refused, answer)
            if reports is not None:
                await self.adopt(reports)
                return
        except BrokerUnavailable:
            reports = None
        work.doubt(action.order_id, kind, action.request_id, action.attempt, f"refused: {refused.reason}")

    def _after_refusal(
        self, order: Order, action: Cancel | Replace, refused: Refused, answer: Answer[OrderState]
    ) -> Sequence[Report] | None:
        work = self._work
        rejected = ExecType.CANCEL_REJECTED if isinstance(action, Cancel) else ExecType.REPLACE_REJECTED
        state = answer.items[-1] if answer.items else None
        if state is None:
            return None
        if isinstance(action, Cancel) and state.status is OrdStatus.CANCELED:
            return end_of(work.account, order, state, action.request_id)
        ends = end_of(work.account, order, state) if state.status in CLOSED else ()
        return (*ends, work.report_about(order, rejected, action.request_id, refused.reason, raw=refused.raw))
