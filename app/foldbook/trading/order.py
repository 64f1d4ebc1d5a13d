"""One order: its state on two axes.

What works at the broker (``working_state``) and what was asked of it (``pending_request``) are two things: a fill
while a cancel is pending changes the first and leaves the second (FIX 4.4 volume 4, appendix D).

An order is made of facts that may arrive in any order: what traded, which of its legs have ended, which report stated
its terms, what was answered. Its state is derived from them, so that it does not depend on which came first.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import immutables
import msgspec

from foldbook.trading.events import Doubt, OrderCreated, OrderUpdate, UnmatchedExecutionRecorded
from foldbook.trading.facts import Answer, End, Execution, Request, Rest, Source, Told
from foldbook.trading.values import (
    EXACT,
    ZERO,
    ExecType,
    OrderType,
    OrdStatus,
    PendingRequest,
    RequestKind,
    TimeInForce,
    add,
    canonical,
    subtract,
)

FINAL_STATES = (OrdStatus.DENIED, OrdStatus.CANCELED, OrdStatus.EXPIRED, OrdStatus.REJECTED)
"""What ends an order for good, whatever trades afterwards. Of several ends the one named first here stands."""

REQUESTS_MAX = 16
"""Replaces of one order that wait for the broker's answer. A cancel always has a place."""

REMEMBERED_MAX = 32
"""Ids of old legs, and of answered requests, that an order remembers."""


NO_EXECUTIONS: immutables.Map[str, Execution] = immutables.Map()
NO_REPORTS: immutables.Map[str, UnmatchedExecutionRecorded] = immutables.Map()
NOTHING_TOLD = Told()


class Order(msgspec.Struct, frozen=True, gc=False):
    """An order as the fold of its events."""

    created: OrderCreated
    quantity: Decimal
    limit_price: Decimal | None
    stop_price: Decimal | None
    cum_qty: Decimal = ZERO
    cum_cost: Decimal = ZERO
    """Exact sum of last_qty * last_px of the fills as they stand."""
    fees: dict[str, Decimal] = msgspec.field(default_factory=dict)
    """Sum of the fees of the fills as they stand, by currency."""
    broker_order_id: str | None = None
    """The latest id that the broker gave: ``leg_id``, if that is known."""
    stage: OrdStatus = OrdStatus.CREATED
    """How far it came on its way to the broker: CREATED, PENDING_NEW, NEW."""
    final: OrdStatus | None = None
    """What ended it: the first of the ends that count (``as_told``)."""
    reason: str | None = None
    """Why it ended."""
    is_suspended: bool = False
    is_done_for_day: bool = False
    requests: tuple[Request, ...] = ()
    """Outstanding, the oldest first."""
    executions: immutables.Map[str, Execution] = NO_EXECUTIONS
    """All that were applied, by exec_id."""
    revised: immutables.Map[str, Execution] = NO_EXECUTIONS
    """What busted or corrected a fill last, by the fill's exec_id."""
    held: immutables.Map[str, UnmatchedExecutionRecorded] = NO_REPORTS
    """Reports that came before what they are about (``waiting_key``): a fill, or a leg of the order."""
    cancel_answer: Answer | None = None
    replace_answer: Answer | None = None
    request_count: int = 0
    """How many requests there have been."""
    answered: tuple[str, ...] = ()
    """The ids of the latest requests that were answered by id."""
    superseded: tuple[str, ...] = ()
    """The latest ids at the broker that the order had before a replace: its old legs."""
    leg_id: str | None = None
    """The id at the broker of its present leg, as its acceptance or a replace told it."""
    has_legs: bool = False
    """A replace has changed that id."""
    told: Told = NOTHING_TOLD
    outline: OrderUpdate | None = None
    """The state that the order's latest event carries, if that is all that is known of it."""
    attempts: int = 0
    """How many times it was sent, or would have been."""
    leg: int = 1
    """Which of the orders that were sent for it is the present one."""
    doubts: tuple[Doubt, ...] = ()

    @property
    def is_outline(self) -> bool:
        return self.outline is not None

    @property
    def placed(self) -> tuple[float, str]:
        """By this, orders are sorted as they were placed."""
        time = self.created.transact_time
        return (0.0 if time is None else time.timestamp(), self.created.order_id)

    @property
    def terms(self) -> OrderCreated:
        """The order as it would be placed today."""
        return msgspec.structs.replace(
            self.created, quantity=self.quantity, limit_price=self.limit_price, stop_price=self.stop_price
        )

    @property
    def has_ended(self) -> bool:
        """A report ended it; or its day is over, and it was for that day only (appendix D, A.1.b)."""
        if self.final is not None:
            return True
        return self.is_done_for_day and self.created.time_in_force is TimeInForce.DAY

    @property
    def is_filled(self) -> bool:
        return is_filled(self, self.cum_qty, self.cum_cost)

    @property
    def is_open(self) -> bool:
        """May it trade?"""
        if self.outline is not None:
            return bool(self.outline.leaves_qty or self.outline.leaves_cash)
        return not self.has_ended and not self.is_filled

    @property
    def is_live(self) -> bool:
        """Is it open, or may an answer make it so? A filled order works on if a replace for more is accepted."""
        return self.is_open or bool(self.exposed_qty)

    @property
    def working_state(self) -> OrdStatus:
        if self.outline is not None:
            return self.outline.working_state
        return working_state_of(self, self.cum_qty, has_filled=self.is_filled)

    @property
    def pending_request(self) -> PendingRequest:
        """What is asked of the broker; a cancel takes precedence over a replace."""
        requests = self.requests
        if not requests or self.final is not None:
            return _NONE
        return _CANCEL if any(request.kind is _CANCEL for request in requests) else PendingRequest.REPLACE

    def pending_replaces(self) -> list[Request]:
        return [request for request in self.requests if request.kind is PendingRequest.REPLACE]

    @property
    def requested(self) -> Request | None:
        """The latest pending replace whose terms are known."""
        if self.final is not None:
            return None
        for request in reversed(self.requests):
            if request.quantity is not None:
                return request
        return None

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
        if self.outline is not None:
            return self.outline.leaves_qty
        return subtract(self.quantity, self.cum_qty) if self.quantity and self.is_open else ZERO

    @property
    def leaves_cash(self) -> Decimal:
        """The money left of an order for money while it may trade and its quantity is unknown, else 0."""
        if self.outline is not None:
            return self.outline.leaves_cash
        cash_quantity = self.created.cash_quantity
        if cash_quantity is None or self.quantity or not self.is_open:
            return ZERO
        return subtract(cash_quantity, self.cum_cost) if self.cum_cost < cash_quantity else ZERO

    @property
    def exposed_qty(self) -> Decimal:
        """What may still trade: LeavesQty, or more if a replace that asks for more is pending, even of a filled order.
        An estimate for an order for money whose quantity is unknown. Not canonical."""
        if self.outline is not None:
            return _exposed(self.outline)
        if self.has_ended:
            return ZERO
        quantity = self.quantity
        if not quantity and self.created.estimated_quantity is not None and self.is_open:
            quantity = self.created.estimated_quantity
        for request in self.requests:
            if request.quantity is not None and request.quantity > quantity:
                quantity = request.quantity
        return EXACT.subtract(quantity, self.cum_qty) if self.cum_qty < quantity else ZERO

    @property
    def overfill_qty(self) -> Decimal:
        return subtract(self.cum_qty, self.quantity) if self.quantity and self.cum_qty > self.quantity else ZERO

    def is_superseded(self, request: Request) -> bool:
        """Was a replace done that was asked for after this one? Its terms, all of them, are in force then."""
        told = self.told
        sources = (told.quantity, told.limit_price, told.stop_price, told.leg)
        return any(source is not None and source.number > request.number for source in sources)

    def is_in_doubt(self, request: RequestKind, request_id: str | None) -> bool:
        """Is it not known what became of that request?"""
        return any((doubt.request, doubt.request_id) == (request, request_id) for doubt in self.doubts)

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


# -- the state that an event carries ------------------------------------------------------------------------------

# Looked up on its class, a member costs as much as an addition.
_FILLED, _DENIED = OrdStatus.FILLED, OrdStatus.DENIED
_NONE, _CANCEL = PendingRequest.NONE, PendingRequest.CANCEL


def is_filled(order: Order, cum_qty: Decimal, cum_cost: Decimal) -> bool:
    """Has all of the order traded once so much has? An order for money whose quantity is unknown, when its money is
    spent."""
    if order.quantity or order.created.cash_quantity is None:
        return cum_qty >= order.quantity
    return cum_qty > ZERO and cum_cost >= order.created.cash_quantity


def as_told(order: Order, told: Told) -> Order:
    """The order of which that was told. What ended a leg, suspended it or ended its day counts until a replace moves
    the order to another one."""

    def counts(report: End | Rest) -> bool:
        return not order.has_legs or report.leg_id in (None, order.leg_id)

    ends = [end for end in told.ends if counts(end)]
    end = min(ends, key=lambda end: FINAL_STATES.index(end.state), default=None)
    return msgspec.structs.replace(
        order,
        told=told,
        final=None if end is None else end.state,
        reason=None if end is None else end.reason,
        is_suspended=told.suspended is not None and counts(told.suspended),
        is_done_for_day=told.done_for_day is not None and counts(told.done_for_day),
    )


def quantity_of(order: Order) -> Decimal:
    """The quantity that was stated last; if more had traded by then, that (appendix D, C.3.c)."""
    source = order.told.quantity
    if source is None:
        return order.quantity
    return max(source.quantity, traded_before(order, source)) if order.cum_qty > source.quantity else source.quantity


def traded_before(order: Order, source: Source) -> Decimal:
    """What traded before the quantity was stated, as it stands now."""
    traded = ZERO
    for exec_id, execution in order.executions.items():
        if execution.exec_type is ExecType.TRADE and _is_before(execution, source):
            standing = order.standing(exec_id)
            if standing is not None:
                traded = add(traded, standing.last_qty)
    return traded


def _is_before(execution: Execution, source: Source) -> bool:
    """By the venue's clock, or else in the order in which we heard of the two."""
    if execution.comparable_time is not None and source.time is not None:
        return execution.comparable_time <= source.time
    return execution.number < source.executions


def working_state_of(order: Order, cum_qty: Decimal, *, has_filled: bool) -> OrdStatus:
    """The order's working state once so much has traded."""
    if order.final is not None:
        # FIX 4.4: FILLED takes precedence over CANCELED, EXPIRED and REJECTED.
        return _FILLED if has_filled and cum_qty and order.final is not _DENIED else order.final
    if order.is_done_for_day:
        return OrdStatus.DONE_FOR_DAY
    if has_filled:
        return _FILLED
    if order.is_suspended:
        return OrdStatus.SUSPENDED
    return OrdStatus.PARTIALLY_FILLED if cum_qty > ZERO else order.stage


def names_of(order: Order) -> dict[str, Any]:
    """What all events about an order say first."""
    created = order.created
    return {
        "order_id": created.order_id,
        "strategy_id": created.strategy_id,
        "symbol": created.symbol,
        "side": created.side,
    }


def state_of(order: Order) -> dict[str, Any]:
    """What an ``OrderUpdate`` says of the order after it. A zero is ``ZERO`` itself: so it is left out of the JSON."""
    quantity, cum_qty = order.quantity, order.cum_qty
    if order.outline is None:
        # What the properties say, worked out once: most events about an order that trades are made here.
        has_filled = order.is_filled
        working_state = working_state_of(order, cum_qty, has_filled=has_filled)
        leaves_qty = subtract(quantity, cum_qty) if quantity and not has_filled and not order.has_ended else ZERO
    else:
        working_state, leaves_qty = order.working_state, order.leaves_qty
    pending_request, requested = _NONE, None
    if order.requests:
        pending_request, requested = order.pending_request, order.requested
    state: dict[str, Any] = {
        "quantity": quantity,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "working_state": working_state,
        "pending_request": pending_request,
        "requested_quantity": None if requested is None else requested.quantity,
        "requested_limit_price": None if requested is None else requested.limit_price,
        "requested_stop_price": None if requested is None else requested.stop_price,
        "cum_qty": cum_qty or ZERO,
        "cum_cost": order.cum_cost or ZERO,
        "leaves_qty": leaves_qty,
        "leaves_cash": ZERO,
        "exposed_qty": None,
        "overfill_qty": order.overfill_qty,
        "fees": order.fees,
        "broker_order_id": order.broker_order_id,
        "reason": order.reason,
        "doubts": order.doubts,
    }
    if order.requests or order.outline is not None or not quantity:
        # Only then does more count as open than what is left.
        state |= exposure_of(order)
    return state


def exposure_of(order: Order) -> dict[str, Any]:
    """What of it counts as open in addition to ``leaves_qty``."""
    exposed_qty = order.exposed_qty
    return {
        "leaves_cash": order.leaves_cash,
        "exposed_qty": None if exposed_qty == order.leaves_qty else canonical(exposed_qty),
    }


def _exposed(event: OrderUpdate) -> Decimal:
    return event.leaves_qty if event.exposed_qty is None else event.exposed_qty


def outline_of(event: OrderUpdate) -> Order:
    """What an event says of an order of which nothing else is known. Its state is that of the event: nothing that
    counts is guessed."""
    pending = event.pending_request
    requests: tuple[Request, ...] = ()
    if event.requested_quantity is not None or pending is PendingRequest.REPLACE:
        terms = event.requested_quantity, event.requested_limit_price, event.requested_stop_price
        requests = (Request(PendingRequest.REPLACE, *terms),)
    if pending is PendingRequest.CANCEL:
        requests = (*requests, Request(PendingRequest.CANCEL))
    return Order(
        OrderCreated(
            order_id=event.order_id,
            strategy_id=event.strategy_id,
            symbol=event.symbol,
            side=event.side,
            order_type=_order_type(event),
            quantity=event.quantity,
            limit_price=event.limit_price,
            stop_price=event.stop_price,
            time_in_force=TimeInForce.GTC,
        ),
        event.quantity,
        event.limit_price,
        event.stop_price,
        event.cum_qty,
        event.cum_cost,
        event.fees,
        event.broker_order_id,
        reason=event.reason,
        requests=requests,
        outline=OrderUpdate(**{name: getattr(event, name) for name in OrderUpdate.__struct_fields__}),
        doubts=event.doubts,
    )


def _order_type(event: OrderUpdate) -> OrderType:
    if event.stop_price is None:
        return OrderType.MARKET if event.limit_price is None else OrderType.LIMIT
    return OrderType.STOP if event.limit_price is None else OrderType.STOP_LIMIT


def waiting_key(report: UnmatchedExecutionRecorded) -> str:
    """By what an order keeps a report that waits: the execution, or, of the end of an unknown leg, what and which."""
    return report.exec_id or f"{report.exec_type}:{report.broker_order_id}"
