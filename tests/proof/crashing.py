"""A burst of appends from many connections, and the server crashes in the middle of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import suppress
from uuid import UUID

import psutil
import psycopg

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import EmbeddedPostgres
from tests.eventstore.test_store_contract import placed
from tests.proof.soundness import Outcome, assert_gapless, assert_recorded, assert_sealed, head_of, recorded
from tests.readside.projecting import connected
from tests.waiting import until

WAYS = ("the server is killed", "a backend is killed", "the server drops everything")
WRITERS = 8
ANSWERS_BEFORE = 100


async def crash_in_a_burst(server: EmbeddedPostgres, way: str) -> None:
    """The account that ``placed`` places orders for must be open."""
    with connected(server.dsn) as connection:
        first_commit = head_of(connection)[0] + 1
    acknowledged: dict[UUID, Outcome | None] = {}
    batches: list[set[UUID]] = []

    async def write(store: PostgresStore) -> None:
        with suppress(StoreUnavailable):
            while True:
                proposals = [placed(os.urandom(8).hex(), expected=None) for _ in range(random.randint(1, 5))]
                batches.append({p.command.command_id for p in proposals})
                for proposal, verdict in zip(proposals, await store.append(0, proposals), strict=True):
                    assert verdict.position is not None
                    acknowledged[proposal.command.command_id] = (verdict.position, verdict.sequence)

    async def is_under_way() -> bool:
        return len(acknowledged) > ANSWERS_BEFORE

    stores = [PostgresStore(server.dsn) for _ in range(WRITERS)]
    writing = asyncio.gather(*map(write, stores))
    await until(is_under_way)
    _crash(server, way)
    await writing
    if way != "a backend is killed":  # after that the server begins anew by itself
        await asyncio.to_thread(server.start)
    await until(lambda: _answers(server.dsn))

    with connected(server.dsn) as connection:
        assert_gapless(connection)
        assert_sealed(connection, first_commit)
        found = recorded(connection, first_commit)
        position = head_of(connection)[1]
    assert_recorded(acknowledged, found)
    assert set().union(*(batch for batch in batches if batch & found.keys())) == found.keys(), "a batch is one commit"
    (verdict,) = await stores[0].append(0, [placed(os.urandom(8).hex(), expected=None)])
    assert verdict.position == position + 1
    for store in stores:
        await store.close()


def _crash(server: EmbeddedPostgres, way: str) -> None:
    assert server.pid is not None
    match way:
        case "the server is killed":
            os.kill(server.pid, signal.SIGKILL)
        case "a backend is killed":
            backends = [p for p in psutil.Process(server.pid).children() if "foldbook" in p.cmdline()[0]]
            random.choice(backends).kill()
        case "the server drops everything":
            os.kill(server.pid, signal.SIGQUIT)


async def _answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True
