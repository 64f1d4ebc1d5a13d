"""A replace where the broker knows none: the order is canceled there, and what is left of it is sent as a new one.

In the book it stays one order, which is replaced; at the broker it is another leg. That the old leg ended is no news
then: the order lives on in the new one. If the new one is refused, the order has ended, and the replace was rejected.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from foldbook.brokers.doubts import CLOSED, SUPERSEDED, Step, end_of, lacks_fills
from foldbook.brokers.gateway import Attempt, Replace
from foldbook.brokers.port import (
    Acknowledged,
    Answer,
    BrokerUnavailable,
    Completeness,
    InDoubt,
    OrderState,
    Refused,
    Report,
)
from foldbook.trading.events import Doubt
from foldbook.trading.facts import Request
from foldbook.trading.order import Order
from foldbook.trading.values import ExecType, OrdStatus, PendingRequest, RequestKind, TradingState

if TYPE_CHECKING:
    from foldbook.brokers.work import AccountWork

_REPLACE = RequestKind.REPLACE


class Missing(StrEnum):
    """Why a new leg cannot be sent yet."""

    UNKNOWN = "the broker does not know the order"
    OPEN = "the broker has not canceled the order yet"
    NOT_READY = "the account is not reconciled with the broker"
    FILLS_LAG = "more of it has traded at the broker than it has told"
    LATER = "a later replace of the order was sent"


class Legs:
    """The replaces of one account that are made by new orders."""

    def __init__(self, work: AccountWork) -> None:
        self._work = work

    def expects(self, report: Report, order_id: str) -> bool:
        """Is it the end of a leg that a new one is to follow?"""
        if report.exec_type is not ExecType.CANCELED or self._work.capabilities.replaces:
            return False
        order = self._work.book.orders.get(order_id)
        if order is None or report.client_order_id is None:
            return False
        asked = [request for request in order.pending_replaces() if request.attempts]
        if not asked:
            return False
        # Of the present leg it may be what a cancel of the order came to.
        last = order.leg - (order.pending_request is PendingRequest.CANCEL)
        return report.client_order_id in (self._work.ids.of(order_id, leg) for leg in range(1, last + 1))

    def sent_for(self, action: Attempt) -> int | None:
        """The leg that was sent for a replace before: what is attempted again is that one, not the cancel before it."""
        request = self._request(action.order_id, action.request_id)
        return None if request is None else request.leg

    def _request(self, order_id: str, request_id: str | None) -> Request | None:
        """A replace of an open order that was not answered."""
        order = self._work.book.orders.get(order_id)
        asked = () if order is None else order.pending_replaces()
        return next((request for request in asked if request.request_id == request_id), None)

    async def replace(self, action: Replace, order: Order) -> None:
        """Send the cancel of the present leg, or the new leg."""
        if action.leg is None:
            await self._cancel_leg(action, order)
        else:
            await self._send_leg(action, order, action.leg)

    async def _cancel_leg(self, action: Replace, order: Order) -> None:
        work = self._work
        ref = work.ref(order)
        outcome = await work.desk.request(lambda: work.desk.broker.cancel(ref, action.request_id or action.order_id))
        if isinstance(outcome, InDoubt):
            work.doubt(action.order_id, _REPLACE, action.request_id, action.attempt, outcome.reason)
            return
        reason = outcome.reason if isinstance(outcome, Refused) else None
        missing: str | None
        try:
            answer = await work.desk.broker.order_by_client_id(ref)
            missing = await self._follow(order, action, answer, reason)
        except BrokerUnavailable as error:
            missing = error.detail
        if missing is not None:
            why = str(missing) if reason is None else f"{missing}: {reason}"
            work.doubt(action.order_id, _REPLACE, action.request_id, action.attempt, why)

    async def _follow(
        self, order: Order, action: Replace, answer: Answer[OrderState], refused: str | None
    ) -> Missing | None:
        """Go on from what the broker says of the old leg. Returns what it waits for; None: it was done.

        Raises ``BrokerUnavailable``.
        """
        work = self._work
        state = answer.items[-1] if answer.items else None
        if state is None:
            return Missing.UNKNOWN
        if state.status not in CLOSED:
            if refused is None:
                return Missing.OPEN
            rejected = work.report_about(order, ExecType.REPLACE_REJECTED, action.request_id, refused)
            await work.asking.adopt((rejected,))
            return None
        await work.reconciling.poll()
        now = work.order(action.order_id)
        if now is None:
            return None
        is_open = action.order_id in work.book.orders
        if is_open and state.status is OrdStatus.CANCELED and now.pending_request is not PendingRequest.CANCEL:
            return await self._begin_leg(now, action, state)
        status = state.status if is_open else OrdStatus.FILLED
        rejected = work.report_about(now, ExecType.REPLACE_REJECTED, action.request_id, f"the order is {status}")
        await work.asking.adopt((*(end_of(work.account, now, state) if is_open else ()), rejected))
        return None

    async def _begin_leg(self, order: Order, action: Replace, state: OrderState) -> Missing | None:
        """Attempt the new leg, if it is known how much is left for it. ``state``: of the old one."""
        if not self._work.is_ready:
            return Missing.NOT_READY
        if lacks_fills(order, state.quantity, state.cum_qty):
            return Missing.FILLS_LAG
        await self._work.attempt_again(action.order_id, _REPLACE, action.request_id, order.leg + 1)
        # The book drops it if a later replace is under way: one of the two makes the new leg.
        request = self._request(action.order_id, action.request_id)
        return Missing.LATER if request is not None and request.leg is None else None

    async def _send_leg(self, action: Replace, order: Order, leg: int) -> None:
        work = self._work
        if action.quantity <= order.cum_qty:
            # All that was asked for has traded while the old leg was canceled.
            work.report(self._replaced(order, action, None))
            return
        new = work.new_order(order, leg, action)
        outcome = await work.desk.request(lambda: work.desk.broker.submit(new))
        if isinstance(outcome, InDoubt):
            work.doubt(action.order_id, _REPLACE, action.request_id, action.attempt, outcome.reason)
        elif isinstance(outcome, Acknowledged):
            work.report(self._replaced(order, action, outcome.broker_order_id))
            for report in outcome.reports:
                if report.exec_type is not ExecType.NEW:
                    work.report(report)
        else:
            self._refused(order, action, outcome)

    def _replaced(self, order: Order, action: Replace, broker_order_id: str | None) -> Report:
        report = self._work.report_about(order, ExecType.REPLACED, action.request_id, None)
        return msgspec.structs.replace(
            report,
            broker_order_id=broker_order_id,
            quantity=action.quantity,
            limit_price=action.limit_price,
            stop_price=action.stop_price,
        )

    def _refused(self, order: Order, action: Replace, outcome: Refused) -> None:
        """The old leg is gone, and there is no new one. The end is told first: it is enough to know."""
        work = self._work
        work.told(
            action.order_id,
            ExecType.CANCELED,
            broker_order_id=order.broker_order_id,
            reason=f"canceled to be replaced, and the new order was refused: {outcome.reason}",
            raw=outcome.raw,
        )
        work.told(action.order_id, ExecType.REPLACE_REJECTED, request_id=action.request_id, reason=outcome.reason)

    # -- doubts --------------------------------------------------------------------------------------------------

    async def settle(self, order: Order, doubt: Doubt, waited_s: float) -> Step:
        """A step towards the end of a doubt about a replace. Raises ``BrokerUnavailable``."""
        work = self._work
        action = work.replace_of(order, doubt.request_id)
        request = next((r for r in order.requests if r.request_id == doubt.request_id), None)
        if action is None or request is None:
            return Step.WAIT
        if order.is_superseded(request):
            await work.asking.adopt(
                (work.report_about(order, ExecType.REPLACE_REJECTED, doubt.request_id, SUPERSEDED),)
            )
            return Step.WAIT
        answer = await work.desk.broker.order_by_client_id(work.ref(order, request.leg or order.leg))
        is_settled = waited_s >= work.capabilities.settle_s
        if request.leg is not None:
            return await self._settle_new_leg(order, action, request, answer, is_settled=is_settled)
        missing = await self._follow(order, action, answer, None)
        if missing is Missing.OPEN and is_settled:
            return await self._again(order, request)
        return Step.STAY if missing in (Missing.UNKNOWN, Missing.FILLS_LAG) and is_settled else Step.WAIT

    async def _settle_new_leg(
        self, order: Order, action: Replace, request: Request, answer: Answer[OrderState], *, is_settled: bool
    ) -> Step:
        work = self._work
        if answer.items:
            state = answer.items[-1]
            if state.status is OrdStatus.REJECTED:
                self._refused(order, action, Refused(reason=state.reason or "rejected"))
            else:
                await work.asking.adopt((self._replaced(order, action, state.broker_order_id),))
                if state.status in CLOSED:
                    await work.asking.adopt(end_of(work.account, order, state))
            return Step.WAIT
        if not is_settled:
            return Step.WAIT
        if order.pending_request is PendingRequest.CANCEL or work.book.risk.state is TradingState.HALTED:
            return Step.STAY
        dedup_s = work.capabilities.dedup_s
        age_s = work.asking.asked(order, order.doubts[0], 0.0).age_s if order.doubts else 0.0
        if answer.completeness is Completeness.COMPLETE and dedup_s is not None and age_s < dedup_s:
            return await self._again(order, request)
        return Step.STAY

    async def _again(self, order: Order, request: Request) -> Step:
        """The same once more: a cancel changes nothing the second time, and the new leg has its id."""
        order_id = order.created.order_id
        is_sent = await self._work.attempt_again(order_id, _REPLACE, request.request_id, request.leg)
        return Step.RESEND if is_sent else Step.WAIT
