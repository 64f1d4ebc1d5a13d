"""A projector keeps its plans: those made on an empty database must not crawl when the tables have grown."""

from __future__ import annotations

import pytest

from foldbook.eventstore.readers.runner import install_projections
from foldbook.postgres.connection import connect
from tests.readside.histories import write_book, write_many
from tests.readside.projecting import DEFINITIONS, NAMES, connected

ROUND = "select from_position, to_position from eventstore.projection_round('live', $1, 0, $2)"
ROWS_READ = """
select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
from pg_stat_xact_user_tables
where relname in (
    'strategy_positions',
    'events', 'orders', 'order_books', 'fills', 'prices', 'positions', 'position_entries',
    'lots', 'lot_closings', 'lot_positions', 'ledger_entries', 'ledger_balances', 'ledger_renames'
)
"""
READS_PER_EVENT_MAX = 8


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limit", [10, 1_000, 50_000])
async def test_a_round_reads_a_few_rows_per_event_whatever_the_session_saw_first(
    database: str, name: str, limit: int
) -> None:
    with connected(database) as writer:
        session = await connect(database)
        await install_projections(session, DEFINITIONS)
        for _ in range(8):  # more often than the planner tries custom plans
            write_book(writer)
            await session.execute(ROUND, name, 50_000)
        write_many(writer, 4_000, accounts=2)
        for _ in range(3):
            async with session.transaction():
                before = await session.fetchval(ROWS_READ)
                done = await session.fetchrow(ROUND, name, limit)
                read = await session.fetchval(ROWS_READ) - before
                assert done is not None
            events = done["to_position"] - done["from_position"]
            assert read <= READS_PER_EVENT_MAX * events
            if events < limit:
                break
        await session.close()
