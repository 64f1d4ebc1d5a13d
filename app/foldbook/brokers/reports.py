"""What a venue reports, as the command that records it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from foldbook.market.records import time_of
from foldbook.trading.commands import RecordExecution
from foldbook.venue.orders import VenueReport


def execution_of(
    report: VenueReport, account: str, command_id: UUID, received_at: datetime, received_ns: int
) -> RecordExecution:
    """``received_ns``: the time of receipt in nanoseconds; most reports are of that very time."""
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
