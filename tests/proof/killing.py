"""``foldbook up`` under load, and ``kill -9`` of each of its parts at random moments.

While the callers rest after a lap of kills, the log must hold exactly what was acknowledged to them, once, and the read
tables must equal the fold of the log.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import psutil

from foldbook.postgres.embedded import EmbeddedPostgres
from tests.machinery.engine import Engine, command_line
from tests.proof.callers import Callers
from tests.proof.soundness import Connection, assert_gapless, assert_recorded, assert_sealed, head_of, recorded
from tests.readside.projecting import assert_equal_to_fresh_folds, caught_up, connected
from tests.waiting import until

PARTS = ("PostgreSQL", "a backend", "the API", "the projector")
"""The server; one of its backends, whereupon it begins anew by itself; the children of ``up``."""
EVERYTHING = "everything"
"""``up`` and all below it at once, as when the machine loses its power; it has to be started again."""
ANSWERS_BETWEEN = 40


async def lap(engine: Engine, callers: Callers, parts: Sequence[str]) -> None:
    """Kill each of the parts, one after the other, wherever the callers are; then check everything."""
    dsn = EmbeddedPostgres(engine.data_dir).dsn
    async with callers.at_work():
        for part in parts:
            await _some_answers(callers)
            await asyncio.sleep(random.uniform(0, 0.3))
            await kill(engine, part)
            await until(lambda: is_whole(engine, callers.are_welcome))
        await _some_answers(callers)
    await callers.ask_again()
    await caught_up(dsn)
    with connected(dsn) as connection:
        _check_log(connection, callers)
    await assert_equal_to_fresh_folds(dsn)


def shuffled(parts: Sequence[str]) -> list[str]:
    return random.sample(parts, len(parts))


async def _some_answers(callers: Callers) -> None:
    goal = len(callers.acknowledged) + ANSWERS_BETWEEN

    async def are_there() -> bool:
        return len(callers.acknowledged) >= goal

    await until(are_there)


async def is_whole(engine: Engine, are_welcome: Callable[[], Awaitable[bool]]) -> bool:
    if not await are_welcome():
        return False
    try:
        engine.part("serve"), engine.part("projections", "run"), engine.postgres()
    except (ValueError, psutil.NoSuchProcess):
        return False
    return True


async def kill(engine: Engine, part: str) -> None:
    match part:
        case "PostgreSQL":
            engine.postgres().kill()
        case "a backend":
            backends = [
                p for p in engine.postgres().children() if "foldbook_engine foldbook" in " ".join(command_line(p))
            ]
            random.choice(backends).kill()
        case "the API":
            engine.part("serve").kill()
        case "the projector":
            engine.part("projections", "run").kill()
        case "the gateway":
            engine.part("gateway").kill()
        case "the venue":
            engine.part("venue").kill()
        case "everything":
            for process in engine.processes():
                process.kill()
            assert engine.process is not None
            await asyncio.to_thread(engine.process.wait)
            await asyncio.to_thread(engine.start)


def _check_log(connection: Connection, callers: Callers) -> None:
    """What the callers were told since the last time is what the log has gained since."""
    assert_gapless(connection)
    assert_sealed(connection, callers.first_commit)
    found = recorded(connection, callers.first_commit)
    assert_recorded(callers.acknowledged, found)
    assert found.keys() == callers.acknowledged.keys(), "nothing is there that nobody was told of"
    callers.acknowledged.clear()
    callers.first_commit = head_of(connection)[0] + 1
