"""What an order, or a replace of one, would change: the input of the risk checks."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from foldbook.trading.events import OrderCreated
from foldbook.trading.instrument import Instrument
from foldbook.trading.risk import NO_EXPOSURE, Risk
from foldbook.trading.values import EXACT, ZERO, Side

_BUY = Side.BUY  # a member looked up on its class costs as much as a check

# Not the operators: they round to the context of the thread.
_negate = EXACT.minus
_subtract = EXACT.subtract


class Change(msgspec.Struct, frozen=True, gc=False):
    """An order or a replace that is to leave at ``now``: what it requests, and what would be new or worse.

    A market order has no price, a stop order only its stop price. Built by ``order_change`` and ``replace_change``.
    """

    risk: Risk
    instrument: Instrument
    new: OrderCreated
    old: OrderCreated | None
    """The current terms of the order; None: it is a new order."""
    now: datetime
    position_qty: Decimal
    """Held in the symbol; negative while short."""
    leaves_qty: Decimal
    """What it would leave open."""
    counted_qty: Decimal
    """The part of ``leaves_qty`` that the exposure already counts."""
    others_qty: Decimal
    """What else is open in the symbol on its side."""
    is_more: bool
    """It requests a larger quantity."""
    new_limit_price: Decimal | None
    """None: it has no limit price, or an unchanged one."""
    new_stop_price: Decimal | None
    is_worse: bool
    """It does more than reduce the quantity."""

    @property
    def is_quantity_unknown(self) -> bool:
        """It is for money, and there is no price to say how much that is."""
        new = self.new
        return new.cash_quantity is not None and not new.quantity and new.estimated_quantity is None

    @property
    def quantity(self) -> Decimal:
        """OrderQty, or an estimate of it."""
        return self.new.quantity or self.new.estimated_quantity or ZERO

    @property
    def room_to_flat(self) -> Decimal:
        """The largest ``leaves_qty`` that, with what else is open on its side, at most closes the position. Negative
        if what else is open does more than that."""
        to_flat = _negate(self.position_qty) if self.new.side is _BUY else self.position_qty
        return _subtract(to_flat, self.others_qty)

    @property
    def is_reducing(self) -> bool:
        """It at most closes the position, or makes nothing worse."""
        return not self.is_worse or self.leaves_qty <= self.room_to_flat


def order_change(
    risk: Risk, created: OrderCreated, instrument: Instrument, position_qty: Decimal, now: datetime
) -> Change:
    """A new order changes everything."""
    quantity = created.quantity if created.cash_quantity is None else created.estimated_quantity or ZERO
    return Change(
        risk,
        instrument,
        created,
        None,
        now,
        position_qty,
        quantity,
        ZERO,
        _open_qty(risk, created),
        True,
        created.limit_price,
        created.stop_price,
        True,
    )


def replace_change(
    risk: Risk,
    new: OrderCreated,
    old: OrderCreated,
    instrument: Instrument,
    position_qty: Decimal,
    now: datetime,
    *,
    leaves_qty: Decimal,
    counted_qty: Decimal,
) -> Change:
    is_more = leaves_qty > counted_qty or new.quantity > old.quantity
    new_limit_price = new.limit_price if new.limit_price != old.limit_price else None
    new_stop_price = new.stop_price if new.stop_price != old.stop_price else None
    return Change(
        risk,
        instrument,
        new,
        old,
        now,
        position_qty,
        leaves_qty,
        counted_qty,
        _subtract(_open_qty(risk, new), counted_qty),
        is_more,
        new_limit_price,
        new_stop_price,
        is_more or new_limit_price is not None or new_stop_price is not None,
    )


def _open_qty(risk: Risk, new: OrderCreated) -> Decimal:
    exposure = risk.exposures.get(new.symbol, NO_EXPOSURE)
    return exposure.buy_qty if new.side is _BUY else exposure.sell_qty
