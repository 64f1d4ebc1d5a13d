"""What a backtest hands back: everything that the statistics, the report and ``--json`` are made from.

Times are in UTC. Amounts are exact decimals in the money of the account. The money of a fill is
``quantity * price * multiplier``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from foldbook.trading.values import Side


class Direction(StrEnum):
    """Which way a position faces."""

    LONG = "LONG"
    SHORT = "SHORT"


class DataInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One file of market data. ``rows``: the good ones; ``bad_rows``: those left out. ``sha256``: of the file's bytes,
    hexadecimal. ``first`` and ``last``: the times of the first and last row, None if there is none. ``notes``: what is
    odd about the data, in plain words."""

    path: str
    symbol: str
    rows: int
    sha256: str
    bad_rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    notes: Sequence[str] = ()


class FillRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution. ``quantity`` is positive. ``fee`` is positive when it was paid, negative when it was received."""

    time: datetime
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    order_id: str


class RoundTrip(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A quantity that was opened by one fill and closed by another. ``fees``: its part of the fees of both; ``pnl``:
    what it earned after these fees."""

    symbol: str
    side: Direction
    quantity: Decimal
    entry_time: datetime
    entry_price: Decimal
    exit_time: datetime
    exit_price: Decimal
    pnl: Decimal
    fees: Decimal


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One backtest.

    ``data_hash`` covers the bytes of all data files, ``stream_hash`` the events; both are hexadecimal. ``store``: where
    the events are, ``memory`` or ``postgres``. ``orders`` counts the orders that the strategy placed, ``denied`` those
    of them that risk denied. ``fills`` and ``round_trips`` are in the order in which they happened. ``fees`` is the sum
    over all fills. ``error`` tells why the strategy was stopped; None: it ran to the end of the data.

    ``equity``: points ``(time, value)`` in time order, the value after everything that happened at that time. The
    returns of the Sharpe and Sortino ratios are those from one point to the next, so the points should be evenly
    spaced: one for each bar, at its close.

    ``bars`` counts the data points (bars, or quotes and trades) of the run; ``exposed_bars`` those of them that began
    with a position, or in which something was filled.

    ``multipliers``: of the instruments that have one other than 1.
    """

    strategy: str
    account: str
    store: str
    parameters: dict[str, str]
    data: Sequence[DataInfo]
    data_hash: str
    stream_hash: str
    orders: int
    start_cash: Decimal
    cash: Decimal
    final_equity: Decimal
    fees: Decimal
    fills: Sequence[FillRow] = ()
    round_trips: Sequence[RoundTrip] = ()
    equity: Sequence[tuple[datetime, Decimal]] = ()
    bars: int = 0
    exposed_bars: int = 0
    denied: int = 0
    multipliers: dict[str, Decimal] = msgspec.field(default_factory=dict)
    error: str | None = None
