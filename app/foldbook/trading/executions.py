"""What traded: fills, busts and corrections (FIX ExecType TRADE, TRADE_CANCEL, TRADE_CORRECT).

A fill is known by its exec_id. The same one again is nothing new; with other content it is a conflict, and what was
reported first stands. A bust or a correction that comes before its fill waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from foldbook.eventstore.events import Event
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    OrderFilled,
    OrderRestated,
    ReportedExecution,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.order import Execution, Order, working_state_of
from foldbook.trading.order_events import event_about, evolved
from foldbook.trading.state import Book
from foldbook.trading.values import ONE, ZERO, ExecType, PendingRequest, add, add_product, subtract

_NONE = PendingRequest.NONE  # looked up on its class, a member costs as much as an addition


def trade(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    exec_id, last_qty, last_px = command.exec_id, command.last_qty, command.last_px
    assert exec_id is not None and last_qty is not None and last_px is not None
    known = order.executions.get(exec_id)
    if known is not None:
        is_same = (
            known.exec_type is ExecType.TRADE
            and known.last_qty == last_qty
            and known.last_px == last_px
            and known.fee == command.fee
            and known.fee_currency == command.fee_currency
        )
        return () if is_same else (recorded(FillConflictDetected, command),)
    time = command.transact_time or command.received_at
    cum_qty = add(order.cum_qty, last_qty)
    events: list[Event] = []
    if cum_qty > order.quantity and order.terms_time is not None and time <= order.terms_time:
        # What traded before a replace took effect, reported late, was not too much: the replace would have left it in.
        text = "traded before the order was replaced"
        events.append(restated(order, cum_qty, order.limit_price, time, text, resumes=False))
        order = evolved(order, events[0])
    created, quantity, fee = order.created, order.quantity, command.fee
    instrument = book.instrument(created.symbol)
    pending_request, requested = _NONE, None
    if order.requests:
        pending_request, requested = order.pending_request, order.requested
    is_filled = cum_qty >= quantity
    filled = OrderFilled(
        order_id=created.order_id,
        strategy_id=created.strategy_id,
        symbol=created.symbol,
        side=created.side,
        quantity=quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        working_state=working_state_of(order, cum_qty),
        pending_request=pending_request,
        requested_quantity=None if requested is None else requested.quantity,
        requested_limit_price=None if requested is None else requested.limit_price,
        requested_stop_price=None if requested is None else requested.stop_price,
        cum_qty=cum_qty,
        cum_cost=add_product(order.cum_cost, last_qty, last_px),
        leaves_qty=ZERO if is_filled or order.has_ended else subtract(quantity, cum_qty),
        overfill_qty=subtract(cum_qty, quantity) or ZERO if is_filled else ZERO,
        fees=order.fees if fee is None else charged(order.fees, fee, command.fee_currency),
        broker_order_id=command.broker_order_id or order.broker_order_id,
        reason=order.reason,
        exec_id=exec_id,
        last_qty=last_qty,
        last_px=last_px,
        fee=fee,
        fee_currency=command.fee_currency,
        multiplier=instrument.multiplier if instrument.multiplier != ONE else None,
        base_currency=instrument.base_currency,
        quote_currency=instrument.quote_currency,
        transact_time=time,
    )
    events.append(filled)
    if order.held:
        events += _apply_held(exec_id, evolved(order, filled), book.with_execution(filled))
    return events


def charged(fees: dict[str, Decimal], fee: Decimal, currency: str | None) -> dict[str, Decimal]:
    """The sums by currency with one more fee."""
    if currency is None:
        return fees
    known = fees.get(currency)
    return {**fees, currency: fee if known is None else add(known, fee)}


def revise(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    """A bust or a correction."""
    exec_ref_id = command.exec_ref_id
    assert exec_ref_id is not None
    exec_id = command.exec_id or f"{exec_ref_id}:{command.exec_type}"
    known = order.executions.get(exec_id) or order.held.get(exec_id)
    if known is not None:
        return () if _is_same_revision(command, known, order) else (recorded(FillConflictDetected, command),)
    root = order.root_of(exec_ref_id)
    if root is None:
        return (recorded(UnmatchedExecutionRecorded, command, exec_id),)
    events = _revision(command, exec_id, root, order, book)
    if not order.held:
        return events
    for event in events:
        order, book = evolved(order, event), book.with_execution(event)
    return (*events, *_apply_held(exec_id, order, book))


def _is_same_revision(command: RecordExecution, known: Execution | UnmatchedExecutionRecorded, order: Order) -> bool:
    if isinstance(known, UnmatchedExecutionRecorded):
        refers_alike = command.exec_ref_id == known.exec_ref_id
    else:
        refers_alike = order.root_of(command.exec_ref_id or "") == known.exec_ref_id
    if command.exec_type is not known.exec_type or not refers_alike:
        return False
    pairs = ((command.last_qty, known.last_qty), (command.last_px, known.last_px), (command.fee, known.fee))
    return command.exec_type is ExecType.TRADE_CANCEL or all(new is None or new == old for new, old in pairs)


def _revision(
    report: RecordExecution | UnmatchedExecutionRecorded, exec_id: str, root: str, order: Order, book: Book
) -> Sequence[FillBusted | FillCorrected]:
    standing = order.standing(root)
    if standing is None:
        return ()  # It was busted: nothing brings it back.
    created, time = order.created, report.transact_time
    fees = order.fees
    if standing.fee is not None:
        fees = charged(fees, standing.fee.copy_negate(), standing.fee_currency)
    shared: dict[str, Any] = {
        # What the fill was booked with, whatever the symbol is today.
        "multiplier": standing.multiplier,
        "base_currency": standing.base_currency,
        "quote_currency": standing.quote_currency,
        "exec_id": exec_id,
        "exec_ref_id": root,
        "transact_time": time or getattr(report, "received_at", None),
        "text": report.reason,
        "is_reversal": not book.holds(created.symbol, created.order_id, root),
    }
    cum_qty = subtract(order.cum_qty, standing.last_qty)
    cum_cost = add_product(order.cum_cost, standing.last_qty.copy_negate(), standing.last_px)
    if report.exec_type is ExecType.TRADE_CANCEL:
        return (
            event_about(
                order,
                FillBusted,
                **shared,
                cum_qty=cum_qty,
                cum_cost=cum_cost,
                fees=fees,
                last_qty=standing.last_qty,
                last_px=standing.last_px,
                fee=standing.fee,
                fee_currency=standing.fee_currency,
            ),
        )
    revised = order.revised.get(root)
    if revised is not None and time is not None and revised.time is not None and time < revised.time:
        return ()  # A later correction was heard of first.
    last_qty = standing.last_qty if report.last_qty is None else report.last_qty
    last_px = standing.last_px if report.last_px is None else report.last_px
    fee, fee_currency = standing.fee, standing.fee_currency
    if report.fee is not None:
        fee, fee_currency = report.fee, report.fee_currency
    return (
        event_about(
            order,
            FillCorrected,
            **shared,
            cum_qty=add(cum_qty, last_qty),
            cum_cost=add_product(cum_cost, last_qty, last_px),
            fees=fees if fee is None else charged(fees, fee, fee_currency),
            last_qty=last_qty,
            last_px=last_px,
            fee=fee,
            fee_currency=fee_currency,
            previous_qty=standing.last_qty,
            previous_px=standing.last_px,
            previous_fee=standing.fee,
            previous_fee_currency=standing.fee_currency,
        ),
    )


def _apply_held(exec_id: str, order: Order, book: Book) -> list[Event]:
    """What was waiting for ``exec_id``, which the order has now, and for what that brings."""
    applied: list[Event] = []
    arrived = [exec_id]
    while arrived:
        target = arrived.pop()
        for held_id, report in sorted(order.held.items(), key=lambda item: (_time_of(item[1]), item[0])):
            if report.exec_ref_id != target:
                continue
            root = order.root_of(target)
            assert root is not None
            for event in _revision(report, held_id, root, order, book):
                applied.append(event)
                order, book = evolved(order, event), book.with_execution(event)
            arrived.append(held_id)
    return applied


def _time_of(report: UnmatchedExecutionRecorded) -> float:
    return report.transact_time.timestamp() if report.transact_time is not None else 0.0


def restated(
    order: Order,
    quantity: Decimal,
    limit_price: Decimal | None,
    time: datetime | None,
    text: str | None,
    *,
    resumes: bool,
) -> OrderRestated:
    return event_about(
        order,
        OrderRestated,
        quantity=quantity,
        limit_price=limit_price,
        stop_price=order.stop_price,
        resumes=resumes,
        text=text,
        transact_time=time,
    )


def recorded(
    event_type: type[ReportedExecution], command: RecordExecution, exec_id: str | None = None
) -> ReportedExecution:
    return event_type(
        order_id=command.order_id,
        exec_type=command.exec_type,
        exec_id=exec_id or command.exec_id,
        exec_ref_id=command.exec_ref_id,
        last_qty=command.last_qty,
        last_px=command.last_px,
        fee=command.fee,
        fee_currency=command.fee_currency,
        reason=command.reason,
        broker_order_id=command.broker_order_id,
        transact_time=command.business_time,
    )
