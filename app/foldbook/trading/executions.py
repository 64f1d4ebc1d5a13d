"""What traded: fills, busts and corrections (FIX ExecType TRADE, TRADE_CANCEL, TRADE_CORRECT).

A fill is known by its exec_id. The same one again is nothing new; with other content it is a conflict, and what was
reported first stands. A bust or a correction that comes before its fill waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.clock import comparable
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    ExecutionBooked,
    ExecutionCorrected,
    FillBusted,
    FillConflictDetected,
    FillCorrected,
    OrderFilled,
    OrderRestated,
    ReportedExecution,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.facts import Execution, Source
from foldbook.trading.instrument import Instrument
from foldbook.trading.order import Order, exposure_of, is_filled, quantity_of, traded_before, working_state_of
from foldbook.trading.order_events import event_about, evolved
from foldbook.trading.state import Book
from foldbook.trading.values import ONE, ZERO, ExecType, PendingRequest, add, add_product, subtract

_NONE = PendingRequest.NONE  # looked up on its class, a member costs as much as an addition


def trade(command: RecordExecution, order: Order, book: Book) -> Sequence[Event]:
    exec_id, last_qty = command.exec_id, command.last_qty
    assert exec_id is not None and last_qty is not None
    last_px = ZERO if command.last_px is None else command.last_px
    known = order.executions.get(exec_id)
    if known is not None:
        return () if is_same_fill(command, known) else (recorded(FillConflictDetected, command),)
    created, quantity, fee = order.created, order.quantity, command.fee
    counted_at = command.received_at if command.transact_time is None else command.counted_at
    cum_qty = add(order.cum_qty, last_qty)
    cum_cost = add_product(order.cum_cost, last_qty, last_px)
    events: list[Event] = []
    source = order.told.quantity
    if cum_qty > quantity and source is not None and counted_at is None and _is_before_terms(command, source):
        # What traded before a replace took effect, reported late, was not too much: the replace would have left it in.
        more = add(traded_before(order, source), last_qty)
        if more > quantity:
            events.append(_requantified(command, order, more))
            order, quantity = evolved(order, events[0]), more
    instrument = book.instrument(created.symbol)
    pending_request, requested = _NONE, None
    if order.requests:
        pending_request, requested = order.pending_request, order.requested
    is_known = bool(quantity)
    has_filled = cum_qty >= quantity if is_known else is_filled(order, cum_qty, cum_cost)
    may_trade = not has_filled and not order.has_ended
    filled = OrderFilled(
        order_id=created.order_id,
        strategy_id=created.strategy_id,
        symbol=created.symbol,
        side=created.side,
        quantity=quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        working_state=working_state_of(order, cum_qty, has_filled=has_filled),
        pending_request=pending_request,
        requested_quantity=None if requested is None else requested.quantity,
        requested_limit_price=None if requested is None else requested.limit_price,
        requested_stop_price=None if requested is None else requested.stop_price,
        cum_qty=cum_qty or ZERO,
        cum_cost=cum_cost or ZERO,
        leaves_qty=subtract(quantity, cum_qty) if may_trade and is_known else ZERO,
        overfill_qty=subtract(cum_qty, quantity) or ZERO if has_filled and is_known else ZERO,
        fees=order.fees if fee is None else charged(order.fees, fee, command.fee_currency),
        broker_order_id=order.leg_id or command.broker_order_id or order.broker_order_id,
        reason=order.reason,
        doubts=order.doubts,
        exec_id=exec_id,
        last_qty=last_qty,
        last_px=last_px,
        gross_amount=command.gross_amount,
        fee=fee,
        fee_currency=command.fee_currency,
        instrument_kind=instrument.kind,
        multiplier=instrument.multiplier if instrument.multiplier != ONE else None,
        base_currency=instrument.base_currency,
        quote_currency=instrument.quote_currency,
        transact_time=command.transact_time,
        counted_at=counted_at,
    )
    if order.requests or not is_known:
        # Only then does more count as open than what is left.
        filled = msgspec.structs.replace(filled, **exposure_of(evolved(order, filled)))
    events.append(filled)
    if order.held:
        events += _apply_held(exec_id, evolved(order, filled), book.with_execution(filled))
    return events


def _is_before_terms(command: RecordExecution, source: Source) -> bool:
    """Does the venue's clock say that it traded before the order had its quantity from there?"""
    time = command.transact_time
    return time is not None and source.time is not None and time <= source.time


def is_same_fill(command: RecordExecution, known: Execution | ExecutionBooked) -> bool:
    """Does the report tell a known fill again?"""
    return (
        (not isinstance(known, Execution) or known.exec_type is ExecType.TRADE)
        and known.last_qty == command.last_qty
        and known.last_px == (command.last_px or ZERO)
        and known.gross_amount == command.gross_amount
        and known.fee == command.fee
        and known.fee_currency == command.fee_currency
    )


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
    exec_id = revision_id(command)
    known = order.executions.get(exec_id) or order.held.get(exec_id)
    if known is not None:
        return () if _is_same_revision(command, known, order) else (recorded(FillConflictDetected, command),)
    root = order.root_of(exec_ref_id)
    if root is None:
        return (recorded(UnmatchedExecutionRecorded, command, exec_id),)
    events = _revision(recorded(UnmatchedExecutionRecorded, command, exec_id), exec_id, root, order, book)
    if not order.held:
        return events
    for event in events:
        order, book = evolved(order, event), book.with_execution(event)
    return (*events, *_apply_held(exec_id, order, book))


def revision_id(command: RecordExecution) -> str:
    """A fill is busted only once, so a bust needs no id of its own."""
    return command.exec_id or f"{command.exec_ref_id}:{command.exec_type}"


def _is_same_revision(command: RecordExecution, known: Execution | UnmatchedExecutionRecorded, order: Order) -> bool:
    if isinstance(known, UnmatchedExecutionRecorded):
        refers_alike = command.exec_ref_id == known.exec_ref_id
    else:
        refers_alike = order.root_of(command.exec_ref_id or "") == known.exec_ref_id
    return refers_alike and is_same_change(command, known)


def is_same_change(command: RecordExecution, known: Execution | UnmatchedExecutionRecorded) -> bool:
    """Does the report say the same of a fill as a known bust or correction of it?"""
    if command.exec_type is not known.exec_type:
        return False
    pairs = ((command.last_qty, known.last_qty), (command.last_px, known.last_px), (command.fee, known.fee))
    return command.exec_type is ExecType.TRADE_CANCEL or all(new is None or new == old for new, old in pairs)


def _revision(report: ReportedExecution, exec_id: str, root: str, order: Order, book: Book) -> Sequence[Event]:
    standing = order.standing(root)
    if standing is None:
        return ()  # It was busted: nothing brings it back.
    created = order.created
    if book.is_before_split(created.symbol, created.order_id, root, standing.time):
        return () if exec_id in order.held else (beyond_split(report, exec_id),)
    fees = order.fees
    if standing.fee is not None:
        fees = charged(fees, standing.fee.copy_negate(), standing.fee_currency)
    shared: dict[str, Any] = {
        **booked_as(standing, book.instrument(created.symbol)),
        "exec_id": exec_id,
        "exec_ref_id": root,
        "transact_time": report.transact_time,
        "counted_at": report.counted_at,
        "text": report.reason,
        "is_reversal": not book.holds(created.symbol, created.order_id, root),
    }
    cum_qty = subtract(order.cum_qty, standing.last_qty)
    cum_cost = add_product(order.cum_cost, standing.last_qty.copy_negate(), standing.last_px)
    if report.exec_type is ExecType.TRADE_CANCEL:
        return _revised(
            report,
            order,
            FillBusted,
            **shared,
            cum_qty=cum_qty,
            cum_cost=cum_cost,
            fees=fees,
            last_qty=standing.last_qty,
            last_px=standing.last_px,
            gross_amount=standing.gross_amount,
            fee=standing.fee,
            fee_currency=standing.fee_currency,
        )
    revised = order.revised.get(root)
    if revised is not None and is_older(report, revised.comparable_time):
        return ()  # A later correction was heard of first.
    corrected = corrected_fill(report, standing)
    fee = corrected["fee"]
    return _revised(
        report,
        order,
        FillCorrected,
        **shared,
        **corrected,
        cum_qty=add(cum_qty, corrected["last_qty"]),
        cum_cost=add_product(cum_cost, corrected["last_qty"], corrected["last_px"]),
        fees=fees if fee is None else charged(fees, fee, corrected["fee_currency"]),
    )


def _revised(
    report: ReportedExecution, order: Order, event_type: type[FillBusted | FillCorrected], **facts: Any
) -> Sequence[Event]:
    """The revision; and the quantity that follows, if what it is about traded before a replace took effect. No event
    says that the order traded too much because of that."""
    revision = event_about(order, event_type, **facts)
    after = evolved(order, revision)
    quantity = quantity_of(after)
    if quantity == order.quantity:
        return (revision,)
    if quantity < order.quantity:
        return revision, _requantified(report, after, quantity)
    more = _requantified(report, order, quantity)
    return more, event_about(evolved(order, more), event_type, **facts)


def beyond_split(report: ReportedExecution, exec_id: str) -> UnmatchedExecutionRecorded:
    """The fill is in units that the symbol no longer has: a person has to adjust the position."""
    fields = {name: getattr(report, name) for name in ReportedExecution.__struct_fields__}
    return UnmatchedExecutionRecorded(
        **{**fields, "exec_id": exec_id, "reason": "the fill is from before the symbol was split"}
    )


def is_older(report: ReportedExecution, time: datetime | None) -> bool:
    """Does the venue's clock say that the report is older than another one?"""
    own = comparable(report.transact_time, report.counted_at)
    return own is not None and time is not None and own < time


def booked_as(standing: Execution | ExecutionBooked | ExecutionCorrected, instrument: Instrument) -> dict[str, Any]:
    """What a fill was booked with, whatever the symbol is today. A currency that was unknown then is in the books today
    if it has been put right."""
    base = standing.base_currency
    if base is None and instrument.base_currency != standing.fee_currency:
        base = instrument.base_currency
    return {
        "instrument_kind": standing.instrument_kind,
        "multiplier": standing.multiplier,
        "base_currency": base,
        "quote_currency": standing.quote_currency or instrument.quote_currency,
    }


def corrected_fill(
    report: ReportedExecution, standing: Execution | ExecutionBooked | ExecutionCorrected
) -> dict[str, Any]:
    """The fill as corrected, and as it was. What the report does not say has not changed, except for the gross amount,
    which belongs to a quantity and a price."""
    last_qty = standing.last_qty if report.last_qty is None else report.last_qty
    last_px = standing.last_px if report.last_px is None else report.last_px
    gross_amount = report.gross_amount
    if gross_amount is None and (last_qty, last_px) == (standing.last_qty, standing.last_px):
        gross_amount = standing.gross_amount
    fee, fee_currency = standing.fee, standing.fee_currency
    if report.fee is not None:
        fee, fee_currency = report.fee, report.fee_currency
    return {
        "last_qty": last_qty,
        "last_px": last_px,
        "gross_amount": gross_amount,
        "fee": fee,
        "fee_currency": fee_currency,
        "previous_qty": standing.last_qty,
        "previous_px": standing.last_px,
        "previous_gross_amount": standing.gross_amount,
        "previous_fee": standing.fee,
        "previous_fee_currency": standing.fee_currency,
    }


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
    time = report.counted_at or report.transact_time
    return time.timestamp() if time is not None else 0.0


def _requantified(report: RecordExecution | ReportedExecution, order: Order, quantity: Decimal) -> OrderRestated:
    """The order has another quantity, because of what had traded when the broker stated it last."""
    return event_about(
        order,
        OrderRestated,
        quantity=quantity,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        resumes=False,
        text="as much had traded before the order was replaced",
        transact_time=report.transact_time,
        counted_at=report.counted_at,
    )


R = TypeVar("R", bound=ReportedExecution)


def recorded(event_type: type[R], command: RecordExecution, exec_id: str | None = None) -> R:
    """The report itself, as it was told."""
    return event_type(
        order_id=command.order_id,
        exec_type=command.exec_type,
        exec_id=exec_id or command.exec_id,
        exec_ref_id=command.exec_ref_id,
        kind=command.kind,
        symbol=command.symbol,
        side=command.side,
        last_qty=command.last_qty,
        last_px=command.last_px,
        gross_amount=command.gross_amount,
        fee=command.fee,
        fee_currency=command.fee_currency,
        quantity=command.quantity,
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        request_id=command.request_id,
        reason=command.reason,
        broker_order_id=command.broker_order_id,
        transact_time=command.transact_time,
        counted_at=command.counted_at,
    )
