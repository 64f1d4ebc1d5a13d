"""Executions without an order of ours: a liquidation, an assignment, an order placed by hand at the broker.

Each is a subject of its own, known by its exec_id, and is busted or corrected like a fill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import immutables
import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.checks import invalid
from foldbook.trading.clock import comparable
from foldbook.trading.commands import RecordExecution
from foldbook.trading.events import (
    BookedExecution,
    ExecutionBooked,
    ExecutionBusted,
    ExecutionCorrected,
    FillConflictDetected,
    ReportedExecution,
    UnmatchedExecutionRecorded,
)
from foldbook.trading.executions import (
    beyond_split,
    booked_as,
    corrected_fill,
    is_older,
    is_same_change,
    is_same_fill,
    recorded,
    revision_id,
)
from foldbook.trading.state import Book
from foldbook.trading.values import ONE, ZERO, ExecType, ExecutionKind


class ForeignExecution(msgspec.Struct, frozen=True, gc=False):
    """An execution without an order of ours, as the fold of its events."""

    booked: ExecutionBooked
    revisions: immutables.Map[str, ExecutionBusted | ExecutionCorrected] = immutables.Map()
    latest: ExecutionBusted | ExecutionCorrected | None = None

    @property
    def standing(self) -> ExecutionBooked | ExecutionCorrected | None:
        """As it stands now; None: it was busted."""
        if self.latest is None:
            return self.booked
        return self.latest if isinstance(self.latest, ExecutionCorrected) else None


def evolve_foreign(known: ForeignExecution | None, event: BookedExecution) -> ForeignExecution:
    if isinstance(event, ExecutionBooked):
        return ForeignExecution(event)
    assert known is not None
    assert isinstance(event, ExecutionBusted | ExecutionCorrected)
    return ForeignExecution(known.booked, known.revisions.set(event.exec_id, event), event)


def record_foreign(command: RecordExecution, book: Book) -> Sequence[Event]:
    _check(command)
    known: ForeignExecution | None = None
    for event in book.foreign:
        known = evolve_foreign(known, event)
    if command.exec_type is ExecType.TRADE:
        return _book(command, known, book)
    report = recorded(UnmatchedExecutionRecorded, command, revision_id(command))
    if known is None:
        same = msgspec.structs.replace(report, counted_at=None)
        is_waiting = any(msgspec.structs.replace(one, counted_at=None) == same for one in book.waiting)
        return () if is_waiting else (report,)
    revised = known.revisions.get(report.exec_id or "")
    if revised is not None:
        return () if _is_same(command, revised) else (recorded(FillConflictDetected, command, report.exec_id),)
    return _revise(report, known, book)


def _check(command: RecordExecution) -> None:
    if command.exec_type not in (ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
        raise invalid("order_id", f"is required for exec_type {command.exec_type}")
    if command.exec_type is ExecType.TRADE:
        for name in ("symbol", "side"):
            if getattr(command, name) is None:
                raise invalid(name, "is required without an order_id")


def _is_same(command: RecordExecution, revised: ExecutionBusted | ExecutionCorrected) -> bool:
    exec_type = ExecType.TRADE_CANCEL if isinstance(revised, ExecutionBusted) else ExecType.TRADE_CORRECT
    told = UnmatchedExecutionRecorded(
        exec_type=exec_type, last_qty=revised.last_qty, last_px=revised.last_px, fee=revised.fee
    )
    return is_same_change(command, told)


def _book(command: RecordExecution, known: ForeignExecution | None, book: Book) -> Sequence[Event]:
    assert command.exec_id is not None and command.last_qty is not None
    assert command.symbol is not None and command.side is not None
    if known is not None:
        booked = known.booked
        is_same = (booked.symbol, booked.side) == (command.symbol, command.side) and is_same_fill(command, booked)
        return () if is_same else (recorded(FillConflictDetected, command),)
    instrument = book.instrument(command.symbol)
    event = ExecutionBooked(
        kind=command.kind or ExecutionKind.FOREIGN_ORDER,
        symbol=command.symbol,
        side=command.side,
        exec_id=command.exec_id,
        last_qty=command.last_qty,
        last_px=ZERO if command.last_px is None else command.last_px,
        gross_amount=command.gross_amount,
        fee=command.fee,
        fee_currency=command.fee_currency,
        instrument_kind=instrument.kind,
        multiplier=instrument.multiplier if instrument.multiplier != ONE else None,
        base_currency=instrument.base_currency,
        quote_currency=instrument.quote_currency,
        broker_order_id=command.broker_order_id,
        text=command.reason,
        transact_time=command.transact_time,
        counted_at=command.counted_at,
    )
    events: list[Event] = [event]
    known, book = ForeignExecution(event), book.with_execution(event)
    for report in book.waiting:
        for revision in _revise(report, known, book):
            events.append(revision)
            if isinstance(revision, BookedExecution):
                known, book = evolve_foreign(known, revision), book.with_execution(revision)
    return events


def _revise(report: ReportedExecution, known: ForeignExecution, book: Book) -> Sequence[Event]:
    standing = known.standing
    if standing is None:
        return ()  # It was busted: nothing brings it back.
    booked = known.booked
    exec_id = report.exec_id or ""
    time = standing.counted_at or standing.transact_time
    if book.is_before_split(booked.symbol, booked.order_id, booked.exec_id, time):
        is_known = any(waiting.exec_id == exec_id and waiting.reason for waiting in book.waiting)
        return () if is_known else (beyond_split(report, exec_id),)
    shared: dict[str, Any] = {
        **booked_as(standing, book.instrument(booked.symbol)),
        "kind": booked.kind,
        "symbol": booked.symbol,
        "side": booked.side,
        "exec_id": exec_id,
        "exec_ref_id": booked.exec_id,
        "broker_order_id": report.broker_order_id or booked.broker_order_id,
        "text": report.reason,
        "transact_time": report.transact_time,
        "counted_at": report.counted_at,
        "is_reversal": not book.holds(booked.symbol, booked.order_id, booked.exec_id),
    }
    if report.exec_type is ExecType.TRADE_CANCEL:
        return (
            ExecutionBusted(
                **shared,
                last_qty=standing.last_qty,
                last_px=standing.last_px,
                gross_amount=standing.gross_amount,
                fee=standing.fee,
                fee_currency=standing.fee_currency,
            ),
        )
    latest = known.latest
    if latest is not None and is_older(report, comparable(latest.transact_time, latest.counted_at)):
        return ()  # A later correction was heard of first.
    return (ExecutionCorrected(**shared, **corrected_fill(report, standing)),)
