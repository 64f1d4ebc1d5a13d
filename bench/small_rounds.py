"""What one round of each projection costs when it has only a few events to fold, as under a moderate load.

The projections are brought to within a few thousand events of the head of a log. From there each folds the rest in
rounds of a fixed number of events: the round of the live projector (``eventstore.projection_round``) on one connection,
while nothing is written. It commits asynchronously, so that the figure is the round's and not the disk's. The
projections take turns, round by round.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import asyncpg
import uvloop

from bench.clock import Stopwatch
from bench.rounds import Stage
from bench.table import Row
from bench.targets import SMALL_ROUND
from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.runner import install_projections
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.resources import projection_files

EVENTS = (8, 50)

_ROUND = "select to_position from eventstore.projection_round('live', $1, 0, $2)"


def measure_small_rounds(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    dsn = stage.place.filled_log(sizes.small_rounds_log)
    names = sorted(path.stem for path in projection_files())
    # One more of each size goes first, unmeasured: it plans.
    left = (sizes.small_rounds + 1) * sum(EVENTS)
    uvloop.run(_bring_near_the_head(as_role(dsn, ENGINE), sizes.small_rounds_log - left))
    stage.place.settle(dsn)
    times_ms = uvloop.run(_fold_in_small_rounds(as_role(dsn, ENGINE), names, sizes.small_rounds))
    stage.place.drop_database(dsn)
    return [
        SMALL_ROUND.row(f"a round of {name} over {events} events", times_ms[name, events])
        for name, events in product(names, EVENTS)
    ]


async def _bring_near_the_head(dsn: str, position: int) -> None:
    connection = await connect(dsn)
    definitions = [Definition.read(path) for path in projection_files()]
    await install_projections(connection, definitions)
    for definition in definitions:
        await _fold(connection, definition.name, position)
    await connection.close()


async def _fold_in_small_rounds(dsn: str, names: list[str], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Milliseconds of each round, by projection and number of events."""
    connection = await connect(dsn)
    await connection.execute("set synchronous_commit = off")
    times_ms: dict[tuple[str, int], list[float]] = {}
    for events in EVENTS:
        times_ms |= {(name, events): [] for name in names}
        for number in range(rounds + 1):
            for name in names:
                stopwatch = Stopwatch()
                await _fold(connection, name, events)
                if number > 0:
                    times_ms[name, events].append(stopwatch.seconds * 1e3)
    await connection.close()
    return times_ms


async def _fold(connection: asyncpg.Connection[Any], name: str, events: int) -> None:
    if await connection.fetchval(_ROUND, name, events) is None:
        raise RuntimeError(f"{name} made no progress")
