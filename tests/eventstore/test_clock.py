"""A commit is never recorded before the one that precedes it, whatever the server's clock does."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from foldbook.audit.verify import verify
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Proposal
from tests.builders import ACCOUNT
from tests.eventstore.test_store_contract import BOB, opened, placed

AHEAD = """
insert into eventstore.commits
select
    0, h.number + 1, h.last_position + 1, h.last_position, now() + interval '1 hour', h.hash,
    eventstore.commit_hash(
        h.hash, 0, h.number + 1, h.last_position + 1, h.last_position, now() + interval '1 hour', null
    )
from eventstore.head(0) h
"""
"""A commit of a server whose clock was an hour ahead."""


@pytest.mark.parametrize(
    "proposals",
    [pytest.param([placed("o-1")], id="alone"), pytest.param([placed("o-1"), opened(BOB)], id="of many")],
)
async def test_a_clock_that_was_set_back_moves_no_commit_back(database: str, proposals: Sequence[Proposal]) -> None:
    store = PostgresStore(database)
    await store.append(0, [opened(ACCOUNT)])
    with psycopg.connect(database) as connection:
        connection.execute(AHEAD.encode())
    await store.append(0, proposals)
    await store.close()
    with psycopg.connect(database) as connection:
        recorded = connection.execute("select recorded_at from eventstore.commits order by number").fetchall()
        row = connection.execute("select count(*) from eventstore.events e where recorded_at > now()").fetchone()
    assert len(recorded) == 3
    assert recorded[1] <= recorded[2]
    assert row == (len(proposals),)
    assert (await verify(database)).ok
