"""What each figure must reach and what it aims at: the only place for targets.

Each measurement makes its rows from a target, ``latest.json`` keeps the targets that were in force at that run, and
README's table is made from ``latest.json`` (``readme.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from bench.table import Row


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """``is_cost``: less is better. Without a ``must`` the figure is for information only."""

    must: float | None = None
    aim: float | None = None
    unit: str = "x"
    is_cost: bool = False

    def row(self, what: str, values: Sequence[float], detail: str = "") -> Row:
        """A row of the median of ``values`` and their range; a single value has no range."""
        is_range = len(values) > 1
        return self._row(
            what,
            median(values),
            low=min(values) if is_range else None,
            high=max(values) if is_range else None,
            detail=detail,
        )

    def quotient(self, what: str, ours: Sequence[float], base: Sequence[float], detail: str = "") -> Row:
        """A row of the median of ``ours`` ÷ the median of ``base``; its range is that of the ratios within a round."""
        rounds = [mine / its for mine, its in zip(ours, base, strict=True)]
        return self._row(what, median(ours) / median(base), low=min(rounds), high=max(rounds), detail=detail)

    def not_measured(self, what: str, why: str) -> Row:
        """A row that says why it has no figure."""
        return self._row(what, None, detail=f"not measured: {why}")

    def _row(
        self, what: str, value: float | None, *, low: float | None = None, high: float | None = None, detail: str
    ) -> Row:
        return Row(
            what=what,
            value=value,
            low=low,
            high=high,
            unit=self.unit,
            must=self.must,
            aim=self.aim,
            is_cost=self.is_cost,
            detail=detail,
        )


FOR_INFORMATION = Target()

# The write side.
ONE_CALLER_BY_AXON = Target(must=1.0, aim=1.5)
ONE_CALLER_BY_PGBENCH = Target(must=0.5, aim=0.65)
CALLERS_32_BY_PGBENCH = Target(must=0.9, aim=1.2)
CALLERS_256_BY_PGBENCH = Target(must=1.3, aim=1.8)
BY_EVENTSOURCING = Target(must=10, aim=20)
HTTP_BY_PGBENCH = Target(must=0.45, aim=0.6)
KEYS_BY_OPEN = Target(must=0.95, aim=0.98)
NDJSON_BY_PGBENCH = Target(must=0.6, aim=1.0)
UNDER_SNAPSHOT = Target(must=0.95, aim=1.0)
LONG_LOG = Target(must=1.1, aim=1.05, is_cost=True)
DECIDING = Target(must=15, aim=10, unit="us", is_cost=True)
MEMORY = Target(must=150, aim=100, unit="MiB", is_cost=True)
LOADING = Target(must=15, aim=8, unit="ms", is_cost=True)
LOADING_WITHOUT_SNAPSHOT = Target(unit="ms", is_cost=True)

# The read side.
LATENCY_P50 = Target(must=12, aim=5, unit="ms", is_cost=True)
LATENCY_P99 = Target(must=40, aim=20, unit="ms", is_cost=True)
KEEPING_UP = Target(must=8_000, aim=15_000, unit="commands/s")
SMALL_ROUND = Target(unit="ms", is_cost=True)
REBUILD_OF_ORDERS = Target(must=200_000, aim=400_000, unit="events/s")
REBUILD = Target(must=180_000, aim=400_000, unit="events/s")
BY_ROW_BY_ROW = Target(must=15)
PAGE = Target(must=5, unit="ms", is_cost=True)
RARE_TYPE = Target(must=20, unit="ms", is_cost=True)

# The audit: 1,000,000 events in 20 s.
VERIFY = Target(must=50_000, unit="events/s")

# The simulated venue's engine, on one core.
VENUE = Target(must=100_000, aim=200_000, unit="messages/s")

# The gateway, between the log and the simulated venue.
SENT_P50 = Target(must=10, aim=3, unit="ms", is_cost=True)
SENT_P99 = Target(must=50, aim=15, unit="ms", is_cost=True)
READABLE_P50 = Target(must=20, unit="ms", is_cost=True)
READABLE_P99 = Target(unit="ms", is_cost=True)
GATEWAY_ORDERS = Target(must=2_000, unit="orders/s")
GATEWAY_ORDERS_PROJECTED = Target(unit="orders/s")

# Streams of events.
STREAM_P50 = Target(unit="ms", is_cost=True)
STREAM_P99 = Target(must=200, aim=50, unit="ms", is_cost=True)
STREAM_ALL_P99 = Target(must=200, unit="ms", is_cost=True)
STREAM_WRITERS = Target(must=0.9, aim=0.98)
STREAM_WRITERS_FULL = Target()
# The relay, to a RabbitMQ on the same machine.
RELAY = Target(must=5_000, aim=10_000, unit="events/s")

# The intake and market data, over a RabbitMQ on the same machine.
INTAKE = Target(must=5_000, unit="commands/s")
MARKET = Target(must=20_000, unit="ticks/s")

# The backtest.
TICKS = Target(must=200_000, aim=400_000, unit="ticks/s")
TICKS_BY_THE_CLOCK = Target(unit="ticks/s")
BACKTEST_ORDERS = Target(must=8_000, aim=20_000, unit="orders/s")
BACKTEST_ORDERS_BY_THE_CLOCK = Target(unit="orders/s")
BY_BACKTEST_PEER = Target(must=3, aim=10)
BACKTEST_TO_POSTGRES = Target(must=15_000, aim=25_000, unit="commands/s")
SWEEP = Target(must=0.8, aim=0.95)
BACKTEST_MEMORY = Target(must=300, aim=150, unit="MiB", is_cost=True)
