"""A rebuild of ``orders`` from a long log of mixed events, and the same projection row by row in Python, in turns.

The rebuild is the product's own, from its start until the new tables have taken the place of the old, indexes and all,
while nothing is written. The other (``row_by_row.py``) gets a smaller piece of the same log, for it takes its time; it
starts with an empty table, which is to its advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import uvloop

from app.eventstore.projections import Definition, install_projections
from app.eventstore.rebuild import ProjectionAdmin
from app.postgres.connection import connect
from app.resources import sql_files
from bench.clock import Stopwatch
from bench.growth import ACCOUNTS, fill_log
from bench.rounds import Stage, tell
from bench.row_by_row import project_row_by_row
from bench.table import Row, Slice, ratio

PROJECTION = "orders"
ROUNDS_MAX = 3


def measure_rebuild(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    tell(f"filling a log of {sizes.rebuild_events:,} events")
    dsn = fill_log(stage.place, sizes.rebuild_events)
    ours, theirs = f"rebuild of {PROJECTION}", f"{PROJECTION}, row by row in Python"
    by_row = RowByRow(dsn, min(ACCOUNTS, sizes.rebuild_events // 5), sizes.row_by_row_events)
    turns = stage.take_turns(
        {ours: Rebuild(dsn, sizes.rebuild_events), theirs: by_row}, rounds=min(ROUNDS_MAX, sizes.rounds)
    )
    stage.place.drop_database(dsn)
    rates, their_rates = [turn.rate for turn in turns[ours]], [turn.rate for turn in turns[theirs]]
    value, low, high = ratio(rates, their_rates)
    return [
        Row(
            what=f"rebuild of {PROJECTION} from {sizes.rebuild_events:,} mixed events",
            value=median(rates),
            low=min(rates),
            high=max(rates),
            unit="events/s",
            must=150_000,
            aim=400_000,
            detail="from its start until the new tables serve",
        ),
        Row(
            what="rebuild ÷ row by row in Python",
            value=value,
            low=low,
            high=high,
            must=15,
            detail=f"{median(rates):,.0f}/s ÷ {median(their_rates):,.0f}/s",
        ),
    ]


@dataclass
class Rebuild:
    """The product's rebuild, once a turn, whatever its length."""

    dsn: str
    events: int

    def run(self, seconds: float) -> Slice:
        return uvloop.run(self._rebuild())

    async def _rebuild(self) -> Slice:
        definitions = [Definition.read(path) for path in sql_files("projections")]
        connection = await connect(self.dsn)
        await install_projections(connection, definitions)
        await connection.close()
        admin = ProjectionAdmin(self.dsn, definitions)
        stopwatch = Stopwatch()
        await admin.rebuild(PROJECTION)
        return stopwatch.slice(self.events)


@dataclass
class RowByRow:
    """The same in Python, on the events after position ``first``."""

    dsn: str
    first: int
    events: int

    def run(self, seconds: float) -> Slice:
        return project_row_by_row(self.dsn, self.first, self.events)
