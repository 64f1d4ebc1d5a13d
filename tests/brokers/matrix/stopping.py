"""A cell with two gateways: the first is stopped at the step for longer than its lease, and goes on too late.

Nothing that it then does reaches the venue, or the log.
"""

from __future__ import annotations

import asyncio
import signal

from tests.brokers.gateway_world import WAIT_S
from tests.brokers.matrix.cells import (
    CATCH_S,
    Cell,
    NotCaught,
    Result,
    agrees,
    catch,
    finish,
    move_market,
    prepare,
)
from tests.brokers.matrix.stand import CaughtGateway, Stand
from tests.brokers.matrix.traps import Catch, Step, Told


async def try_stop(stand: Stand, cell: Cell) -> Result:
    """Raises what did not hold, as an ``AssertionError``; ``NotCaught``."""
    await prepare(stand, cell)
    stopped = [stand.working]
    stand.working = await catch(stand, cell, Catch.STOP)
    if not await stopped[0].is_stopped(CATCH_S):
        await stopped[0].end()
        await stand.working.works()
        raise NotCaught(str(cell))
    await move_market(stand)
    if cell.step is Step.RECONCILING:
        stopped.append(stand.working)
        assert await stopped[1].is_stopped(CATCH_S), f"{cell}: the second gateway was not stopped"
        stand.working = await stand.gateway()
    await stand.working.works()
    decisions = await finish(stand, cell)
    await _wake(stand, stopped)
    await agrees(stand, cell, decisions)
    return Result(cell, True, (await stand.world.types()).count("OrderInDoubt"), decisions)


async def _wake(stand: Stand, stopped: list[CaughtGateway]) -> None:
    """Let the stopped ones go on, until each has noticed that it is not the one that works."""
    world, venue = stand.world, stand.venue
    requests = await asyncio.to_thread(venue.requests, world.account)
    events = await world.events()
    for gateway in stopped:
        gateway.signal(signal.SIGCONT)
        async with asyncio.timeout(WAIT_S):
            while (await gateway.tell(Told())).is_working:
                await asyncio.sleep(0.02)
        await gateway.end()
    assert await asyncio.to_thread(venue.requests, world.account) == requests, "what woke up has sent something"
    assert await world.events() == events, "what woke up has recorded something"
