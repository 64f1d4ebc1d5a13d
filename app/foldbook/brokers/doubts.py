"""What follows from the broker's answer about a request that is in doubt.

A doubt is never guessed into a rejection, and never sent again blindly: first the broker is asked by client id. What it
has is adopted. What it does not have after the settle window is sent again under the same id, if the broker takes an id
only once; else it stays in doubt until a person decides. A cancel, and a replace with all its terms, may be sent twice:
the second changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import Enum

import msgspec

from foldbook.brokers.gateway import Replace
from foldbook.brokers.port import Answer, Capabilities, Completeness, OrderState, Report, ReportKind
from foldbook.trading.events import Doubt
from foldbook.trading.order import Order
from foldbook.trading.values import ZERO, ExecType, OrdStatus, PendingRequest, RequestKind, add, subtract

SUPERSEDED = "a later replace was done in its place"
CLOSED = (OrdStatus.FILLED, OrdStatus.CANCELED, OrdStatus.EXPIRED, OrdStatus.REJECTED)

_ENDS = {
    OrdStatus.CANCELED: ExecType.CANCELED,
    OrdStatus.EXPIRED: ExecType.EXPIRED,
    OrdStatus.REJECTED: ExecType.REJECTED,
}


class Step(Enum):
    """What to do about a doubt when there is nothing to report."""

    WAIT = "WAIT"
    """Ask again: the answer may still come."""
    RESEND = "RESEND"
    """Send it again, under the same id."""
    STAY = "STAY"
    """A person has to decide. Meanwhile the broker is asked now and then."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A doubt, and for how long the broker has been asked about it."""

    account: str
    doubt: Doubt
    waited_s: float
    age_s: float
    """Of the order: it was not sent before it was placed."""
    is_halted: bool
    """The account is: what may have left is not sent again."""


def judge(
    asked: Asked, order: Order, request: Replace | None, answer: Answer[OrderState], capabilities: Capabilities
) -> Sequence[Report] | Step:
    """What the answer tells about the request, as reports; or the next step.

    ``request``: of a replace, what it asks for.
    """
    settled = asked.waited_s >= capabilities.settle_s
    if not answer.items:
        return _of_absent(asked, order, answer, capabilities, settled=settled)
    state = answer.items[-1]
    told = _reports_of(asked, order, request, state)
    if told:
        return told
    if is_superseded(order, asked.doubt):
        report = report_of(asked.account, order, state)
        return (_rejected(report, ExecType.REPLACE_REJECTED, asked.doubt, SUPERSEDED),)
    return Step.RESEND if settled else Step.WAIT


def is_superseded(order: Order, doubt: Doubt) -> bool:
    """Is it about a replace in whose place a later one was done? Whether it was done too, does not matter then."""
    return any(
        order.is_superseded(request)
        for request in order.requests
        if (request.request, request.request_id) == (RequestKind.REPLACE, doubt.request_id)
        and doubt.request is RequestKind.REPLACE
    )


def _of_absent(
    asked: Asked, order: Order, answer: Answer[OrderState], capabilities: Capabilities, *, settled: bool
) -> Step:
    if answer.completeness is not Completeness.COMPLETE or not settled:
        return Step.WAIT if not settled else Step.STAY
    is_unwanted = asked.is_halted or order.pending_request is PendingRequest.CANCEL
    if asked.doubt.request is not RequestKind.SUBMIT or is_unwanted:
        return Step.STAY
    dedup_s = capabilities.dedup_s
    return Step.RESEND if dedup_s is not None and asked.age_s < dedup_s else Step.STAY


def _reports_of(asked: Asked, order: Order, request: Replace | None, state: OrderState) -> Sequence[Report]:
    """What the broker has of the order, as far as it answers the doubt."""
    account, doubt = asked.account, asked.doubt
    ended = f"the order is {state.status}"
    report = report_of(account, order, state)
    if doubt.request is RequestKind.SUBMIT or doubt.request is RequestKind.STATUS:
        if state.status in CLOSED:
            return end_of(account, order, state)
        return (msgspec.structs.replace(report, exec_type=ExecType.NEW),)
    if doubt.request is RequestKind.CANCEL:
        if state.status is OrdStatus.CANCELED:
            return end_of(account, order, state, doubt.request_id)
        if state.status in CLOSED:
            return (*end_of(account, order, state), _rejected(report, ExecType.CANCEL_REJECTED, doubt, ended))
        return ()
    if request is None:
        return ()  # It has just been answered: the doubt ends with that.
    ends = end_of(account, order, state) if state.status in CLOSED else ()
    asked_for = (request.quantity, request.limit_price, request.stop_price)
    if (state.quantity, state.limit_price, state.stop_price) == asked_for:
        replaced = msgspec.structs.replace(
            report,
            exec_type=ExecType.REPLACED,
            quantity=state.quantity,
            limit_price=state.limit_price,
            stop_price=state.stop_price,
            request_id=doubt.request_id,
        )
        return (replaced, *ends)
    return (*ends, _rejected(report, ExecType.REPLACE_REJECTED, doubt, ended)) if ends else ()


def lacks_fills(order: Order, order_qty: Decimal, cum_qty: Decimal) -> bool:
    """Has the order's present leg, of ``order_qty``, traded more at the broker than the book knows of?

    A list of fills may lag behind the states of orders, and a report of a fill may be lost. What a bust or a correction
    took back has traded.
    """
    before, revised_from = ZERO, 0
    if order.leg > 1:
        # It was sent for what was left then. Of a fill from before that, nobody knows when it was taken back.
        asked = next((request.quantity for request in order.requests if request.leg == order.leg), None)
        before = subtract(order.quantity if asked is None else asked, order_qty)
        source = order.told.quantity
        revised_from = len(order.executions) if source is None or asked is not None else source.executions
    return subtract(cum_qty, subtract(order.cum_qty, before)) > _taken_back(order, revised_from)


def _taken_back(order: Order, first: int) -> Decimal:
    """Of the fills that were told as this number or later."""
    taken = ZERO
    for exec_id in order.revised:
        fill, standing = order.executions[exec_id], order.standing(exec_id)
        if fill.number >= first:
            taken = add(taken, max(ZERO, subtract(fill.last_qty, ZERO if standing is None else standing.last_qty)))
    return taken


def report_of(account: str, order: Order, state: OrderState) -> Report:
    """A report about the order, which says nothing yet."""
    return Report(
        kind=ReportKind.ORDER,
        account=account,
        client_order_id=state.client_order_id,
        broker_order_id=state.broker_order_id,
        symbol=order.created.symbol,
        side=order.created.side,
        time=state.time,
        raw=state.raw,
    )


def _rejected(report: Report, exec_type: ExecType, doubt: Doubt, reason: str) -> Report:
    return msgspec.structs.replace(report, exec_type=exec_type, request_id=doubt.request_id, reason=reason)


def end_of(account: str, order: Order, state: OrderState, request_id: str | None = None) -> Sequence[Report]:
    """The end of the order at the broker; of a filled one there are only its fills, which are told by themselves."""
    report = report_of(account, order, state)
    exec_type = _ENDS.get(state.status)
    if exec_type is None:
        return (msgspec.structs.replace(report, exec_type=ExecType.NEW),)
    return (
        msgspec.structs.replace(
            report,
            exec_type=exec_type,
            request_id=request_id,
            reason=state.reason,
            order_qty=state.quantity,
            cum_qty=state.cum_qty,
        ),
    )
