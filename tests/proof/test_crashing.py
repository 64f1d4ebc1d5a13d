"""A server crash in the middle of a burst of appends leaves no hole in positions or commit numbers."""

from __future__ import annotations

from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import EmbeddedPostgres
from tests.eventstore.test_store_contract import opened
from tests.proof.crashing import WAYS, crash_in_a_burst


async def test_a_crash_in_the_middle_of_a_burst_leaves_no_hole(own_postgres: EmbeddedPostgres) -> None:
    store = PostgresStore(own_postgres.dsn)
    await store.append(0, [opened()])
    await store.close()
    for way in WAYS:
        await crash_in_a_burst(own_postgres, way)
