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
    ExecutionEvent,
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    OrderFilled,
    OrderRestated,
    ReportedExecution,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.order import Execution, Order, evolve_order, leaves_of
from foldbook.trading.state import Book, names_of
from foldbook.trading.values import ONE, ExecType, add, subtract


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
    cum_qty = add(order.cum_qty, last_qty)
    time = command.transact_time or command.received_at
    # What traded before a replace took effect, told late, was not too much: the replace would have left it in.
    is_before_terms = order.terms_time is not None and time <= order.terms_time
    quantity = max(order.quantity, cum_qty) if is_before_terms else order.quantity
    created = order.created
    instrument = book.instrument(created.symbol)
    filled = OrderFilled(
        order_id=created.order_id,
        strategy_id=created.strategy_id,
        symbol=created.symbol,
        side=created.side,
        exec_id=exec_id,
        last_qty=last_qty,
        last_px=last_px,
        fee=command.fee,
        fee_currency=command.fee_currency,
        cum_qty=cum_qty,
        leaves_qty=leaves_of(quantity, cum_qty, has_ended=order.has_ended),
        overfill_qty=_overfill(quantity, cum_qty) if cum_qty > quantity else None,
        multiplier=instrument.multiplier if instrument.multiplier != ONE else None,
        base_currency=instrument.base_currency,
        quote_currency=instrument.quote_currency,
        transact_time=time,
        broker_order_id=command.broker_order_id,
    )
    events: list[Event] = [filled]
    if quantity is not order.quantity:
        events.append(restated(order, quantity, cum_qty, time, "traded before the order was replaced"))
    if order.held:
        events += _apply_held(exec_id, order, events, book)
    return events


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
    events = list(_revision(command, exec_id, root, order, book))
    if order.held:
        events += _apply_held(exec_id, order, events, book)
    return events


def _is_same_revision(command: RecordExecution, known: Execution | UnmatchedExecutionRecorded, order: Order) -> bool:
    if isinstance(known, UnmatchedExecutionRecorded):
        refers_alike = command.exec_ref_id == known.exec_ref_id
    else:
        refers_alike = order.root_of(command.exec_ref_id or "") == known.exec_ref_id
    if command.exec_type is not known.exec_type or not refers_alike:
        return False
    told = ((command.last_qty, known.last_qty), (command.last_px, known.last_px), (command.fee, known.fee))
    return command.exec_type is ExecType.TRADE_CANCEL or all(new is None or new == old for new, old in told)


def _revision(
    report: RecordExecution | UnmatchedExecutionRecorded, exec_id: str, root: str, order: Order, book: Book
) -> Sequence[Event]:
    standing = order.standing(root)
    if standing is None:
        return ()  # It was busted: nothing brings it back.
    created, time = order.created, report.transact_time
    told: dict[str, Any] = {
        **names_of(order),
        # What the fill was booked with, whatever the symbol is today.
        "multiplier": standing.multiplier,
        "base_currency": standing.base_currency,
        "quote_currency": standing.quote_currency,
        "exec_id": exec_id,
        "exec_ref_id": root,
        "transact_time": time or getattr(report, "received_at", None),
        "reason": report.reason,
        "is_reversal": not book.holds(created.symbol, created.order_id, root),
    }
    if report.exec_type is ExecType.TRADE_CANCEL:
        return (
            FillBusted(
                **told,
                **_quantities(order, subtract(order.cum_qty, standing.last_qty)),
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
    has_fee = report.fee is not None
    return (
        FillCorrected(
            **told,
            **_quantities(order, add(subtract(order.cum_qty, standing.last_qty), last_qty)),
            last_qty=last_qty,
            last_px=standing.last_px if report.last_px is None else report.last_px,
            fee=report.fee if has_fee else standing.fee,
            fee_currency=report.fee_currency if has_fee else standing.fee_currency,
            previous_qty=standing.last_qty,
            previous_px=standing.last_px,
            previous_fee=standing.fee,
            previous_fee_currency=standing.fee_currency,
        ),
    )


def _apply_held(exec_id: str, order: Order, events: Sequence[Event], book: Book) -> list[Event]:
    """What was waiting for ``exec_id``, and for what that brings, applied after ``events``."""
    after: Order = order
    for event in events:
        after = _after(after, event)
        if isinstance(event, ExecutionEvent):
            book = book.with_execution(event)
    applied: list[Event] = []
    arrived = [exec_id]
    while arrived:
        target = arrived.pop()
        for held_id, report in sorted(after.held.items(), key=lambda item: (_time_of(item[1]), item[0])):
            if report.exec_ref_id != target:
                continue
            root = after.root_of(target)
            assert root is not None
            for event in _revision(report, held_id, root, after, book):
                applied.append(event)
                after = _after(after, event)
                if isinstance(event, ExecutionEvent):
                    book = book.with_execution(event)
            arrived.append(held_id)
    return applied


def _after(order: Order, event: Event) -> Order:
    after = evolve_order(order, event)
    assert after is not None
    return after


def _time_of(report: UnmatchedExecutionRecorded) -> float:
    return report.transact_time.timestamp() if report.transact_time is not None else 0.0


def _quantities(order: Order, cum_qty: Decimal) -> dict[str, Any]:
    return {
        "cum_qty": cum_qty,
        "leaves_qty": leaves_of(order.quantity, cum_qty, has_ended=order.has_ended),
        "overfill_qty": _overfill(order.quantity, cum_qty),
    }


def _overfill(quantity: Decimal, cum_qty: Decimal) -> Decimal | None:
    return subtract(cum_qty, quantity) if cum_qty > quantity else None


def restated(
    order: Order,
    quantity: Decimal,
    cum_qty: Decimal,
    time: datetime | None,
    reason: str | None,
    *,
    limit_price: Decimal | None = None,
    resumes: bool = False,
) -> OrderRestated:
    return OrderRestated(
        **names_of(order),
        quantity=quantity,
        limit_price=limit_price or order.limit_price,
        stop_price=order.stop_price,
        cum_qty=cum_qty,
        leaves_qty=leaves_of(quantity, cum_qty, has_ended=order.has_ended and (order.final is not None or not resumes)),
        resumes=resumes,
        reason=reason,
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
