"""A rebuild of each projection from a long log of mixed events, in turns with ``orders`` row by row in Python.

The rebuild is the product's own, from its start until the new tables have taken the place of the old, indexes and all,
while nothing is written. The other (``row_by_row.py``) gets a smaller piece of the same log because it is slow. It
starts with an empty table, which favours it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import uvloop

from bench.arena import ACCOUNTS
from bench.clock import Stopwatch
from bench.rounds import Stage
from bench.row_by_row import project_row_by_row
from bench.table import Row, Slice
from bench.targets import BY_ROW_BY_ROW, REBUILD, REBUILD_OF_ORDERS
from foldbook.eventstore.readers.administration import ProjectionAdmin
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.runner import install_projections
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.resources import projection_files

BY_ROW = "orders"
"""The projection that is made row by row too."""
ROUNDS_MAX = 2


def measure_rebuild(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    dsn = stage.place.filled_log(sizes.rebuild_events)
    definitions = [Definition.read(path) for path in projection_files()]
    rebuilds = {f"rebuild of {d.name}": Rebuild(dsn, sizes.rebuild_events, d.name, definitions) for d in definitions}
    theirs = f"{BY_ROW}, row by row in Python"
    by_row = RowByRow(dsn, min(ACCOUNTS, sizes.rebuild_events // 5), sizes.row_by_row_events)
    turns = stage.take_turns({**rebuilds, theirs: by_row}, rounds=min(ROUNDS_MAX, sizes.rounds))
    stage.place.drop_database(dsn)
    rates = {rebuild.name: [turn.rate for turn in turns[what]] for what, rebuild in rebuilds.items()}
    their_rates = [turn.rate for turn in turns[theirs]]
    detail = f"{median(rates[BY_ROW]):,.0f}/s ÷ {median(their_rates):,.0f}/s"
    return [
        *(
            (REBUILD_OF_ORDERS if name == BY_ROW else REBUILD).row(
                f"rebuild of {name} from {sizes.rebuild_events:,} mixed events",
                found,
                "from its start until the new tables serve",
            )
            for name, found in rates.items()
        ),
        BY_ROW_BY_ROW.quotient(f"rebuild of {BY_ROW} ÷ row by row in Python", rates[BY_ROW], their_rates, detail),
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
