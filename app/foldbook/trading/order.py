"""One order: its state on two axes, and what each event does to it.

What works at the broker (``working_state``) and what was asked of it (``pending_request``) are two things: a fill
while a cancel is pending changes the first and leaves the second (FIX 4.4 volume 4, appendix D).

An order is made of facts that may arrive in any order: how much traded, whether a report ended it, whether it rests.
Its working state is derived from them, so that it does not depend on which came first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import immutables
import msgspec

from foldbook.trading.events import (
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderCreated,
    OrderDenied,
    OrderDoneForDay,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReopened,
    OrderReplaced,
    OrderReplaceDenied,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReplaceRequested,
    OrderRestated,
    OrderSubmitted,
    OrderSuspended,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.values import (
    EXACT,
    ZERO,
    ExecType,
    OrdStatus,
    PendingRequest,
    TimeInForce,
    add,
    multiply,
    subtract,
)

replace = msgspec.structs.replace

FINAL_STATES = (OrdStatus.CANCELED, OrdStatus.EXPIRED, OrdStatus.REJECTED, OrdStatus.DENIED)
"""What ends an order for good, whatever trades afterwards. Of two such reports the one named first here stands."""

REQUESTS_MAX = 16
"""Requests about one order that wait for the broker's answer."""


class Execution(msgspec.Struct, frozen=True, gc=False):
    """One reported execution, by the broker's exec_id.

    ``exec_ref_id``: the fill that a bust or a correction is about, by the exec_id of its first report.
    """

    exec_type: ExecType
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal | None = None
    fee_currency: str | None = None
    exec_ref_id: str | None = None
    time: datetime | None = None
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None


class Request(msgspec.Struct, frozen=True, gc=False):
    """What the broker was asked and has not answered: a cancel, or a replace with its terms."""

    kind: PendingRequest
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    is_acknowledged: bool = False
    """The broker said that it has the request."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The broker's latest answer to a kind of request: an acknowledgement that comes after it says nothing."""

    time: datetime | None = None
    was_acknowledged: bool = False


_TRADE, _NEW = ExecType.TRADE, OrdStatus.NEW  # looked up on their class they cost as much as an addition

NO_EXECUTIONS: immutables.Map[str, Execution] = immutables.Map()
NO_REPORTS: immutables.Map[str, UnmatchedExecutionRecorded] = immutables.Map()


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as the fold of its events."""

    created: OrderCreated
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    cum_qty: Decimal = ZERO
    stage: OrdStatus = OrdStatus.CREATED
    """How far it came on its way to the broker: CREATED, PENDING_NEW, NEW."""
    final: OrdStatus | None = None
    is_suspended: bool = False
    is_done_for_day: bool = False
    requests: tuple[Request, ...] = ()
    """Outstanding, the oldest first."""
    executions: immutables.Map[str, Execution] = NO_EXECUTIONS
    """All that were applied, by exec_id."""
    revised: immutables.Map[str, Execution] = NO_EXECUTIONS
    """What busted or corrected a fill last, by the fill's exec_id."""
    held: immutables.Map[str, UnmatchedExecutionRecorded] = NO_REPORTS
    """Busts and corrections that came before what they are about, by exec_id."""
    cancel_answer: Answer | None = None
    replace_answer: Answer | None = None
    terms_time: datetime | None = None
    """Of the report that the terms are from; None: they are as created."""
    rest_time: datetime | None = None
    """Of the latest report that suspended the order, or ended its day."""
    resume_time: datetime | None = None
    """Of the latest report that said that it works again."""
    is_outline: bool = False
    """The order was reopened: what it is, without the executions that came before."""

    @property
    def terms(self) -> OrderCreated:
        """The order as it would be placed today."""
        return replace(self.created, quantity=self.quantity, limit_price=self.limit_price, stop_price=self.stop_price)

    @property
    def has_ended(self) -> bool:
        """A report ended it; or its day is over, and it was for that day only (appendix D, A.1.b)."""
        if self.final is not None:
            return True
        return self.is_done_for_day and self.created.time_in_force is TimeInForce.DAY

    @property
    def is_open(self) -> bool:
        """May it trade?"""
        return self.cum_qty < self.quantity and not self.has_ended

    @property
    def is_live(self) -> bool:
        """Is it open, or may an answer make it so? A filled order works on if a replace for more is accepted."""
        return self.is_open or (bool(self.requests) and not self.has_ended)

    @property
    def working_state(self) -> OrdStatus:
        if self.final is not None:
            return self.final
        if self.is_done_for_day:
            return OrdStatus.DONE_FOR_DAY
        if self.cum_qty >= self.quantity:
            return OrdStatus.FILLED
        if self.is_suspended:
            return OrdStatus.SUSPENDED
        return OrdStatus.PARTIALLY_FILLED if self.cum_qty > ZERO else self.stage

    @property
    def pending_request(self) -> PendingRequest:
        return pending_of(self.requests)

    @property
    def status(self) -> OrdStatus:
        """The one status that FIX reports: what is pending takes precedence."""
        pending = self.pending_request
        if pending is PendingRequest.CANCEL:
            return OrdStatus.PENDING_CANCEL
        return OrdStatus.PENDING_REPLACE if pending is PendingRequest.REPLACE else self.working_state

    @property
    def leaves_qty(self) -> Decimal:
        """OrderQty - CumQty while the order may trade, else 0."""
        return leaves_of(self.quantity, self.cum_qty, has_ended=self.has_ended)

    @property
    def exposed_qty(self) -> Decimal:
        """What may still trade: LeavesQty, or more if a replace that asks for more is pending, be the order filled. Not
        canonical."""
        if self.has_ended:
            return ZERO
        leaves_qty = EXACT.subtract(self.quantity, self.cum_qty) if self.cum_qty < self.quantity else ZERO
        for request in self.requests:
            if request.quantity is not None:
                leaves_qty = max(leaves_qty, EXACT.subtract(request.quantity, self.cum_qty))
        return leaves_qty

    @property
    def overfill_qty(self) -> Decimal:
        return max(subtract(self.cum_qty, self.quantity), ZERO)

    @property
    def avg_px(self) -> Decimal | None:
        """The average price of all fills as they stand now, exact to 28 digits; None: nothing has traded."""
        if self.cum_qty == ZERO:
            return None
        costs = ZERO
        for exec_id, execution in self.executions.items():
            if execution.exec_type is ExecType.TRADE:
                fill = self.standing(exec_id)
                costs = add(costs, multiply(fill.last_qty, fill.last_px)) if fill is not None else costs
        return costs / self.cum_qty

    def standing(self, exec_id: str) -> Execution | None:
        """The fill first reported as ``exec_id`` as it stands now; None: it was busted."""
        revised = self.revised.get(exec_id)
        if revised is None:
            return self.executions[exec_id]
        return None if revised.exec_type is ExecType.TRADE_CANCEL else revised

    def root_of(self, exec_id: str) -> str | None:
        """The exec_id of the first report of the fill that ``exec_id``, a fill or a correction, is about."""
        execution = self.executions.get(exec_id)
        if execution is None:
            return None
        return exec_id if execution.exec_type is ExecType.TRADE else execution.exec_ref_id


def leaves_of(quantity: Decimal, cum_qty: Decimal, *, has_ended: bool) -> Decimal:
    return subtract(quantity, cum_qty) if cum_qty < quantity and not has_ended else ZERO


def pending_of(requests: tuple[Request, ...]) -> PendingRequest:
    """A cancel takes precedence over a replace."""
    if not requests:
        return PendingRequest.NONE
    for request in requests:
        if request.kind is PendingRequest.CANCEL:
            return PendingRequest.CANCEL
    return PendingRequest.REPLACE


# -- evolve ------------------------------------------------------------------------------------------------------


def evolve_order(order: Order | None, event: Any) -> Order | None:
    """The order after ``event``. None: there is no order yet, only reports about one."""
    event_type = type(event)
    if event_type is OrderCreated:
        return Order(event, event.quantity, event.limit_price, event.stop_price)
    if event_type is OrderReopened and (order is None or order.is_outline):
        return _outline(event)
    if order is None:
        if event_type is UnmatchedExecutionRecorded:
            return None
        raise ValueError(f"{event_type.__name__} for order {event.order_id!r}, which was never created")
    return _FOLDS[event_type](order, event)


def _outline(event: OrderReopened) -> Order:
    created = OrderCreated(
        order_id=event.order_id,
        strategy_id=event.strategy_id,
        symbol=event.symbol,
        side=event.side,
        order_type=event.order_type,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        time_in_force=event.time_in_force,
        expire_at=event.expire_at,
    )
    return Order(
        created,
        event.quantity,
        event.limit_price,
        event.stop_price,
        cum_qty=event.cum_qty,
        stage=OrdStatus.NEW,
        is_outline=True,
    )


def _submitted(order: Order, event: OrderSubmitted) -> Order:
    return replace(order, stage=OrdStatus.PENDING_NEW) if order.stage is OrdStatus.CREATED else order


def _accepted(order: Order, event: OrderAccepted) -> Order:
    return replace(order, stage=OrdStatus.NEW)


def _filled(order: Order, event: OrderFilled) -> Order:
    execution = Execution(
        _TRADE,
        event.last_qty,
        event.last_px,
        event.fee,
        event.fee_currency,
        None,
        event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
    )
    return Order(
        order.created,
        order.quantity,
        order.limit_price,
        order.stop_price,
        event.cum_qty,
        _NEW,
        order.final,
        order.is_suspended,
        order.is_done_for_day,
        order.requests,
        order.executions.set(event.exec_id, execution),
        order.revised,
        order.held,
        order.cancel_answer,
        order.replace_answer,
        order.terms_time,
        order.rest_time,
        order.resume_time,
        order.is_outline,
    )


def _busted(order: Order, event: FillBusted) -> Order:
    return _revised(order, event, ExecType.TRADE_CANCEL)


def _corrected(order: Order, event: FillCorrected) -> Order:
    return _revised(order, event, ExecType.TRADE_CORRECT)


def _revised(order: Order, event: FillBusted | FillCorrected, exec_type: ExecType) -> Order:
    execution = Execution(
        exec_type,
        event.last_qty,
        event.last_px,
        event.fee,
        event.fee_currency,
        event.exec_ref_id,
        event.transact_time,
        event.multiplier,
        event.base_currency,
        event.quote_currency,
    )
    return replace(
        order,
        cum_qty=event.cum_qty,
        executions=order.executions.set(event.exec_id, execution),
        revised=order.revised.set(event.exec_ref_id, execution),
        held=_without(order.held, event.exec_id),
    )


def _without(
    held: immutables.Map[str, UnmatchedExecutionRecorded], exec_id: str
) -> immutables.Map[str, UnmatchedExecutionRecorded]:
    return held.delete(exec_id) if exec_id in held else held


def _held(order: Order, event: UnmatchedExecutionRecorded) -> Order:
    return replace(order, held=order.held.set(event.exec_id or "", event))


def _conflicting(order: Order, event: FillConflictDetected) -> Order:
    return replace(order, held=_without(order.held, event.exec_id or ""))


def _ended(state: OrdStatus) -> Callable[[Order, Any], Order]:
    def end(order: Order, event: Any) -> Order:
        return replace(order, final=state, requests=())

    return end


def _suspended(order: Order, event: OrderSuspended) -> Order:
    return replace(order, is_suspended=True, rest_time=_later(order.rest_time, event.transact_time))


def _done_for_day(order: Order, event: OrderDoneForDay) -> Order:
    return replace(order, is_done_for_day=True, rest_time=_later(order.rest_time, event.transact_time))


def _later(a: datetime | None, b: datetime | None) -> datetime | None:
    return max(a, b) if a is not None and b is not None else a or b


def _restated(order: Order, event: OrderRestated) -> Order:
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        is_suspended=order.is_suspended and not event.resumes,
        is_done_for_day=order.is_done_for_day and not event.resumes,
        resume_time=_later(order.resume_time, event.transact_time) if event.resumes else order.resume_time,
        terms_time=_later(order.terms_time, event.transact_time),
    )


def _reopened(order: Order, event: OrderReopened) -> Order:
    return order


# -- requests ----------------------------------------------------------------------------------------------------


def _cancel_requested(order: Order, event: OrderCancelRequested) -> Order:
    return replace(order, requests=(*order.requests, Request(PendingRequest.CANCEL)))


def _cancel_pending(order: Order, event: OrderCancelPending) -> Order:
    return _acknowledged(order, PendingRequest.CANCEL)


def _cancel_rejected(order: Order, event: OrderCancelRejected) -> Order:
    requests, answer = _answered(order, PendingRequest.CANCEL, 1, event.transact_time)
    return replace(order, requests=requests, cancel_answer=answer)


def _replace_requested(order: Order, event: OrderReplaceRequested) -> Order:
    request = Request(PendingRequest.REPLACE, event.quantity, event.limit_price, event.stop_price)
    return replace(order, requests=(*order.requests, request))


def _replace_denied(order: Order, event: OrderReplaceDenied) -> Order:
    return order


def _replace_pending(order: Order, event: OrderReplacePending) -> Order:
    return _acknowledged(order, PendingRequest.REPLACE)


def _replaced(order: Order, event: OrderReplaced) -> Order:
    requests, answer = _answered(order, PendingRequest.REPLACE, event.answers, event.transact_time)
    return replace(
        order,
        quantity=event.quantity,
        limit_price=event.limit_price,
        stop_price=event.stop_price,
        stage=OrdStatus.NEW,
        requests=requests,
        replace_answer=answer,
        terms_time=_later(order.terms_time, event.transact_time),
    )


def _replace_rejected(order: Order, event: OrderReplaceRejected) -> Order:
    requests, answer = _answered(order, PendingRequest.REPLACE, 1, event.transact_time)
    return replace(order, requests=requests, replace_answer=answer)


def _acknowledged(order: Order, kind: PendingRequest) -> Order:
    """The oldest request of that kind that was not acknowledged is now; if there is none, one was made elsewhere."""
    for i, request in enumerate(order.requests):
        if request.kind is kind and not request.is_acknowledged:
            acknowledged = replace(request, is_acknowledged=True)
            return replace(order, requests=(*order.requests[:i], acknowledged, *order.requests[i + 1 :]))
    return replace(order, requests=(*order.requests, Request(kind, is_acknowledged=True)))


def _answered(
    order: Order, kind: PendingRequest, count: int, time: datetime | None
) -> tuple[tuple[Request, ...], Answer]:
    """The requests without the oldest ``count`` of that kind, and the answer to them."""
    answered = [request for request in order.requests if request.kind is kind][:count]
    was_acknowledged = bool(answered) and answered[-1].is_acknowledged
    return without_answered(order.requests, kind, count), Answer(time, was_acknowledged)


def without_answered(requests: tuple[Request, ...], kind: PendingRequest, count: int) -> tuple[Request, ...]:
    """What is outstanding once the oldest ``count`` requests of that kind are answered."""
    left = list(requests)
    for request in [request for request in requests if request.kind is kind][:count]:
        left.remove(request)
    return tuple(left)


def answered_by(requests: tuple[Request, ...], quantity: Decimal | None, limit_price: Decimal | None) -> int:
    """How many of the outstanding replaces, the oldest first, a report answers that states these terms.

    A chain of replaces may be answered at once, by the terms of a later one; terms that nobody asked for answer the
    oldest (FIX 4.4 volume 4, appendix D, section D: the broker answers in order).
    """
    replaces = [request for request in requests if request.kind is PendingRequest.REPLACE]
    for i, request in enumerate(replaces):
        is_quantity = quantity is None or request.quantity == quantity
        is_price = limit_price is None or request.limit_price == limit_price
        if is_quantity and is_price:
            return i + 1
    return min(len(replaces), 1)


_FOLDS: dict[type, Callable[[Order, Any], Order]] = {
    OrderDenied: _ended(OrdStatus.DENIED),
    OrderSubmitted: _submitted,
    OrderAccepted: _accepted,
    OrderRejected: _ended(OrdStatus.REJECTED),
    OrderCanceled: _ended(OrdStatus.CANCELED),
    OrderExpired: _ended(OrdStatus.EXPIRED),
    OrderSuspended: _suspended,
    OrderDoneForDay: _done_for_day,
    OrderRestated: _restated,
    OrderReopened: _reopened,
    OrderCancelRequested: _cancel_requested,
    OrderCancelPending: _cancel_pending,
    OrderCancelRejected: _cancel_rejected,
    OrderReplaceRequested: _replace_requested,
    OrderReplaceDenied: _replace_denied,
    OrderReplacePending: _replace_pending,
    OrderReplaced: _replaced,
    OrderReplaceRejected: _replace_rejected,
    OrderFilled: _filled,
    FillBusted: _busted,
    FillCorrected: _corrected,
    FillConflictDetected: _conflicting,
    UnmatchedExecutionRecorded: _held,
}
