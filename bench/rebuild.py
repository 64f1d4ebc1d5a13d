"""A rebuild of each projection from a long log of mixed events; and of ``orders`` row by row in Python, in turns.

The rebuild is the product's own, from its start until the new tables have taken the place of the old, indexes and all,
while nothing is written. The other (``row_by_row.py``) gets a smaller piece of the same log, for it takes its time; it
starts with an empty table, which is to its advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import uvloop

from bench.clock import Stopwatch
from bench.growth import ACCOUNTS, fill_log
from bench.rounds import Stage, tell
from bench.row_by_row import project_row_by_row
from bench.table import Row, Slice, ratio
from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.runner import install_projections
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.resources import projection_files

BY_ROW = "orders"
"""The projection that is also done row by row."""
ROUNDS_MAX = 3
MUST = 100_000
MUST_BY_ROW, AIM_BY_ROW = 150_000, 400_000


def measure_rebuild(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    tell(f"filling a log of {sizes.rebuild_events:,} events")
    dsn = fill_log(stage.place, sizes.rebuild_events)
    definitions = [Definition.read(path) for path in projection_files()]
    rebuilds = {f"rebuild of {d.name}": Rebuild(dsn, sizes.rebuild_events, d.name, definitions) for d in definitions}
    theirs = f"{BY_ROW}, row by row in Python"
    by_row = RowByRow(dsn, min(ACCOUNTS, sizes.rebuild_events // 5), sizes.row_by_row_events)
    turns = stage.take_turns({**rebuilds, theirs: by_row}, rounds=min(ROUNDS_MAX, sizes.rounds))
    stage.place.drop_database(dsn)
    rates = {rebuild.name: [turn.rate for turn in turns[what]] for what, rebuild in rebuilds.items()}
    their_rates = [turn.rate for turn in turns[theirs]]
    value, low, high = ratio(rates[BY_ROW], their_rates)
    return [
        *(
            Row(
                what=f"rebuild of {name} from {sizes.rebuild_events:,} mixed events",
                value=median(found),
                low=min(found),
                high=max(found),
                unit="events/s",
                must=MUST_BY_ROW if name == BY_ROW else MUST,
                aim=AIM_BY_ROW if name == BY_ROW else None,
                detail="from its start until the new tables serve",
            )
            for name, found in rates.items()
        ),
        Row(
            what=f"rebuild of {BY_ROW} ÷ row by row in Python",
            value=value,
            low=low,
            high=high,
            must=15,
            detail=f"{median(rates[BY_ROW]):,.0f}/s ÷ {median(their_rates):,.0f}/s",
        ),
    ]


@dataclass
class Rebuild:
    """The product's rebuild, once a turn, whatever its length."""

    dsn: str
    events: int
    name: str
    definitions: list[Definition]

    def run(self, seconds: float) -> Slice:
        return uvloop.run(self._rebuild())

    async def _rebuild(self) -> Slice:
        engine = as_role(self.dsn, ENGINE)
        connection = await connect(engine)
        await install_projections(connection, self.definitions)
        await connection.close()
        admin = ProjectionAdmin(engine, self.definitions)
        stopwatch = Stopwatch()
        await admin.rebuild(self.name)
        return stopwatch.slice(self.events)


@dataclass
class RowByRow:
    """The same in Python, on the events after position ``first``."""

    dsn: str
    first: int
    events: int

    def run(self, seconds: float) -> Slice:
        return project_row_by_row(self.dsn, self.first, self.events)
