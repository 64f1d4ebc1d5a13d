"""What an order is made of: the facts that reports and requests tell of it, each of which may come at any time."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from foldbook.trading.values import ZERO, ExecType, InstrumentKind, OrdStatus, PendingRequest, RequestKind


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
    """When it counts."""
    multiplier: Decimal | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    gross_amount: Decimal | None = None
    instrument_kind: InstrumentKind = InstrumentKind.SPOT
    comparable_time: datetime | None = None
    """With which those of other reports are compared."""
    number: int = 0
    """How many executions were told before it."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """What the broker was asked and has not answered: a cancel, or a replace with its terms. Once the order has ended,
    nothing is pending; but a replace may undo that end, if it was that of an old leg."""

    kind: PendingRequest
    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    asked: tuple[str, ...] = ()
    """The terms that it changes; the others are as they were."""
    is_acknowledged: bool = False
    """The broker said that it has the request."""
    request_id: str | None = None
    """The id of the command that made it; None: it was made elsewhere."""
    number: int = 0
    """Which of the order's requests it is."""
    attempts: int = 0
    """How many times it was sent, or would have been."""
    leg: int | None = None
    """The new leg that was sent for it."""

    @property
    def request(self) -> RequestKind:
        """What attempts and doubts call it."""
        return RequestKind(self.kind)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The broker's latest answer to a kind of request: an acknowledgement that comes after it says nothing."""

    time: datetime | None = None
    was_acknowledged: bool = False


class End(msgspec.Struct, frozen=True, gc=False):
    """A report that ended the order, or a leg of it. ``leg_id`` is as it was named; None: it named none."""

    leg_id: str | None
    state: OrdStatus
    reason: str | None = None


class Source(msgspec.Struct, frozen=True, gc=False):
    """The report that a term, or the leg, is from."""

    time: datetime | None = None
    """By the venue's clock. None: it told no time that can be compared."""
    number: int = 0
    """Of the request that it answered. 0: of none, or of one that it did not name."""
    quantity: Decimal = ZERO
    """What it stated as the order's quantity."""
    executions: int = 0
    """How many executions were told before it."""


class Rest(msgspec.Struct, frozen=True, gc=False):
    """A report that the order, or a leg of it, was suspended or done for the day. ``leg_id``: as in ``End``."""

    leg_id: str | None
    time: datetime | None = None
    """By the venue's clock."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """The reports that an order's state is from."""

    quantity: Source | None = None
    """None: it is as the order was placed; likewise the prices."""
    limit_price: Source | None = None
    stop_price: Source | None = None
    leg: Source | None = None
    """The replace that gave the order its present leg."""
    suspended: Rest | None = None
    done_for_day: Rest | None = None
    resumed: datetime | None = None
    """When the venue's clock says that the order worked again."""
    ends: tuple[End, ...] = ()
    """What ended it, or a leg that was or may become the present one."""
