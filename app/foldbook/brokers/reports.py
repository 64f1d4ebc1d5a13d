"""What a broker reports, as the command that records it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from foldbook.brokers.port import Report, ReportKind
from foldbook.eventstore.command_json import RAW_MESSAGE_BYTES_MAX
from foldbook.eventstore.events import Metadata
from foldbook.market.records import time_of
from foldbook.trading.commands import AdjustAccount, BookCommand, RecordExecution
from foldbook.trading.values import AdjustmentKind, ExecType, ExecutionKind, as_reason
from foldbook.venue.orders import VenueReport

ACTOR = "gateway"
"""Who recorded it."""

_METADATA = Metadata(actor=ACTOR)

_FOREIGN = {
    ReportKind.TRADE: ExecutionKind.FOREIGN_ORDER,
    ReportKind.FOREIGN_ORDER: ExecutionKind.FOREIGN_ORDER,
    ReportKind.LIQUIDATION: ExecutionKind.LIQUIDATION,
}
_TRADES = {
    ReportKind.TRADE: ExecType.TRADE,
    ReportKind.FOREIGN_ORDER: ExecType.TRADE,
    ReportKind.LIQUIDATION: ExecType.TRADE,
    ReportKind.BUST: ExecType.TRADE_CANCEL,
    ReportKind.CORRECTION: ExecType.TRADE_CORRECT,
}


def command_of(report: Report, order_id: str | None, received_at: datetime) -> BookCommand | None:
    """The command that records a report. ``order_id``: our order that it is about; None: it is about none of ours.

    The same report makes the same command, with the same id: however often it is heard, it is recorded once. None:
    nothing is to be recorded, as of another's order that has not traded.
    """
    request: dict[str, Any] = {
        "command_id": command_id_of(report, order_id),
        "received_at": received_at,
        "account": report.account,
        "transact_time": report.time,
    }
    if report.kind is ReportKind.FUNDING or report.kind is ReportKind.FEE:
        return _adjustment(report, request)
    exec_type = _TRADES.get(report.kind)
    if exec_type is None:
        return None if order_id is None else _about_order(report, order_id, request)
    request |= {
        "exec_type": exec_type,
        "exec_id": report.exec_id,
        "exec_ref_id": report.exec_ref_id if exec_type is not ExecType.TRADE else None,
        "broker_order_id": report.broker_order_id,
        "reason": as_reason(report.reason),
    }
    if exec_type is not ExecType.TRADE_CANCEL:
        request |= {
            "last_qty": report.last_qty,
            "last_px": report.last_px,
            "gross_amount": report.gross_amount,
            "fee": report.fee,
            "fee_currency": report.fee_currency,
        }
    if order_id is not None:
        return RecordExecution(**request, order_id=order_id)
    return RecordExecution(**request, kind=_FOREIGN.get(report.kind), symbol=report.symbol, side=report.side)


def _about_order(report: Report, order_id: str, request: dict[str, Any]) -> RecordExecution:
    assert report.exec_type is not None
    terms: dict[str, Any] = {}
    if report.exec_type in (ExecType.REPLACED, ExecType.RESTATED):
        terms = {"quantity": report.quantity, "limit_price": report.limit_price, "stop_price": report.stop_price}
    return RecordExecution(
        **request,
        **terms,
        order_id=order_id,
        exec_type=report.exec_type,
        request_id=report.request_id,
        broker_order_id=report.broker_order_id,
        reason=as_reason(report.reason),
    )


def _adjustment(report: Report, request: dict[str, Any]) -> AdjustAccount:
    """A broker's payment is never a trade."""
    assert report.amount is not None and report.exec_id is not None
    is_fee = report.kind is ReportKind.FEE
    return AdjustAccount(
        **request,
        kind=AdjustmentKind.FEE if is_fee else AdjustmentKind.FUNDING,
        reference=report.exec_id,
        symbol=None if is_fee else report.symbol,
        currency=report.currency,
        amount=report.amount.copy_negate() if is_fee else report.amount,
        reason=as_reason(report.reason),
    )


def command_id_of(report: Report, order_id: str | None) -> UUID:
    """A function of what is recorded of the report."""
    recorded = msgspec.structs.replace(report, raw=None, order_qty=None, cum_qty=None)
    content = msgspec.json.encode((order_id, recorded))
    return UUID(bytes=hashlib.sha256(content).digest()[:16], version=5)


def identity_of(report: Report, order_id: str | None) -> Hashable:
    """What two reports have in common if the second one tells nothing new. That an order is accepted is told twice, as
    the answer and in the stream, in other words and at other times."""
    if report.exec_type is ExecType.NEW:
        return order_id, report.broker_order_id
    return command_id_of(report, order_id)


def metadata_of(raw: str | None) -> Metadata:
    """The raw message goes with the events; one that is too long, as its hash."""
    if raw is None:
        return _METADATA
    if len(raw.encode()) > RAW_MESSAGE_BYTES_MAX:
        raw = f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"
    return Metadata(actor=ACTOR, raw_message=raw.replace("\x00", " "))


def execution_of(
    report: VenueReport, account: str, command_id: UUID, received_at: datetime, received_ns: int
) -> RecordExecution:
    """What the matching engine reports. ``received_ns``: the time of receipt in nanoseconds; most reports are of that
    very time."""
    return RecordExecution(
        command_id=command_id,
        received_at=received_at,
        account=account,
        order_id=report.order_id,
        exec_type=report.exec_type,
        exec_id=report.exec_id,
        last_qty=report.last_qty,
        last_px=report.last_px,
        fee=report.fee,
        fee_currency=report.fee_currency,
        quantity=report.quantity,
        limit_price=report.limit_price,
        stop_price=report.stop_price,
        request_id=report.request_id,
        reason=report.reason,
        broker_order_id=report.venue_order_id,
        transact_time=received_at if report.time_ns == received_ns else time_of(report.time_ns),
    )
