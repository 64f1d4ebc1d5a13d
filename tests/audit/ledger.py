"""A small log whose every position is known, and how to break it.

====== ========================================= ============
commit commands                                  positions
====== ========================================= ============
1      both accounts are opened                  1, 2
2..10  an order on each account, a report of     3..6, 7..10,
       two events on alice's, and a refusal      ... 35..38
11     a refusal alone                           none
12     an order on bob's account                 39
====== ========================================= ============
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from foldbook.eventstore.events import Command, Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Proposal
from tests.builders import accepted, book_created, cancel, created, filled, open_account, place, trade

ALICE, BOB = "alice/binance/simulated", "bob/binance/simulated"
EVENTS, COMMITS = 39, 12

HASH_EVENTS = """
update eventstore.events e
set hash = eventstore.event_hash(
    e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.type, e.schema_version, e.subject, e.command_id,
    e.payload, e.metadata, e.occurred_at
)
where e.position = any (%s)
"""
# Commit after commit, as each follows the one before.
HASH_COMMITS = """
do $$
declare
    v_number bigint;
begin
    for v_number in
        select c.number from eventstore.commits c where c.number between {first} and {last} order by c.number
    loop
        update eventstore.commits c
        set previous_hash = coalesce(
            (select p.hash from eventstore.commits p where p.number = v_number - 1), sha256('')
        )
        where c.number = v_number;
        update eventstore.commits c
        set hash = eventstore.commit_hash(
            c.previous_hash, 0, c.number, c.first_position, c.last_position, c.recorded_at,
            (
                select string_agg(r.hash, '' order by r.position, r.command_id)
                from (
                    select k.first_position as position, k.command_id, k.hash
                    from eventstore.commands k
                    where k."commit" = c.number
                    union all
                    select e.position, null, e.hash
                    from eventstore.events e
                    where e.position between c.first_position and c.last_position
                ) r
            )
        )
        where c.number = v_number;
    end loop;
end
$$
"""


async def write_ledger(dsn: str) -> None:
    store = PostgresStore(dsn)
    opened = [_accept(open_account(account), book_created(account)) for account in (ALICE, BOB)]
    await store.append(0, opened)
    for n in range(9):
        first, second = f"a-{n}", f"b-{n}"
        report = trade("e-1", "1.50", px="100.10", order_id=first, account=ALICE, broker_order_id="żółw-☂")
        await store.append(
            0,
            [
                _accept(place(first, ALICE), created(first)),
                _accept(place(second, BOB), created(second)),
                _accept(
                    report,
                    accepted(first, broker_order_id="żółw-☂"),
                    filled("e-1", "1.50", cum="1.50", leaves="0.50", px="100.10", order_id=first),
                ),
                _refuse(cancel("nothing", BOB)),
            ],
        )
    await store.append(0, [_refuse(cancel("nothing", ALICE))])
    await store.append(0, [_accept(place("b-9", BOB), created("b-9"))])
    await store.close()


def _accept(command: Command, *events: Event) -> Proposal:
    return Proposal(command, command.fingerprint(), None, None, "zoë", '{"actor":"zoë"}'.encode(), events)


def _refuse(command: Command) -> Proposal:
    reason = b'{"code":"unknown-order","detail":"there is no order \\"nothing\\"","order_id":"nothing"}'
    return Proposal(command, command.fingerprint(), None, None, "zoë", b"{}", (), reason)


def tamper(
    connection: psycopg.Connection[Any],
    *statements: str,
    rehash_events: Sequence[int] = (),
    rehash_commits: range = range(0),
) -> None:
    """Change the log as a superuser can; then make the hashes of these events and commits fit again, and
    leave the guards as they were."""
    for table in ("events", "commands", "commits"):
        connection.execute(f"alter table eventstore.{table} disable trigger all".encode())
    for statement in statements:
        connection.execute(statement.encode())
    if rehash_events:
        connection.execute(HASH_EVENTS, [list(rehash_events)])
    if rehash_commits:
        connection.execute(HASH_COMMITS.format(first=rehash_commits[0], last=rehash_commits[-1]).encode())
    for table in ("events", "commands", "commits"):
        connection.execute(f"alter table eventstore.{table} enable always trigger refuse_change".encode())
