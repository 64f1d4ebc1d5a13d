"""What must be true of a log whatever happened to it, checked in the database itself.

The counting here knows nothing about how the log is written; ``audit.verify_commits`` computes the hashes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import psycopg

_FLAWS = """
with event as (
    select
        e.position,
        e.aggregate_id,
        e.sequence,
        e.recorded_at,
        row_number() over (order by e.position) as expected_position,
        row_number() over (partition by e.aggregate_type, e.aggregate_id order by e.position) as expected_sequence,
        c.number,
        k.command_id as known_command_id
    from eventstore.events e
    left join eventstore.commits c
        on c.shard = e.shard
        and e.position between c.first_position and c.last_position
        and c.recorded_at = e.recorded_at
    left join eventstore.commands k
        on k.shard = e.shard
        and k.command_id = e.command_id
        and k.aggregate_id = e.aggregate_id
        and k.aggregate_type = e.aggregate_type
        and k."commit" = c.number
        and e.position between k.first_position and k.first_position + k.event_count - 1
    where e.shard = 0
),
commit as (
    select
        c.number,
        c.first_position,
        c.last_position,
        c.recorded_at,
        row_number() over by_number as expected_number,
        coalesce(lag(c.last_position) over by_number, 0) + 1 as expected_first_position,
        lag(c.recorded_at) over by_number as previously_recorded_at,
        k.commands,
        k.event_count
    from eventstore.commits c
    left join lateral (
        select
            count(*) as commands,
            sum(k.event_count) as event_count
        from eventstore.commands k
        where k.shard = c.shard
            and k."commit" = c.number
    ) k on true
    where c.shard = 0
    window by_number as (order by c.number)
),
flaw (what, at) as (
    select 'a hole in the positions before', position from event where position <> expected_position
    union all
    select 'a hole in the sequences of ' || aggregate_id || ' before', sequence
    from event
    where sequence <> expected_sequence
    union all
    select 'an event that no commit sealed', position from event where number is null
    union all
    select 'an event that no command led to', position from event where known_command_id is null
    union all
    select 'a hole in the commit numbers before', number from commit where number <> expected_number
    union all
    select 'a commit that does not follow the one before', number
    from commit
    where first_position <> expected_first_position or recorded_at < previously_recorded_at
    union all
    select 'a commit whose commands do not make its events', number
    from commit
    where commands = 0 or event_count <> last_position - first_position + 1
    union all
    select 'a command of no commit', k."commit"
    from eventstore.commands k
    where not exists (select from commit c where c.number = k."commit")
    union all
    select 'a position beyond the last commit', max(position)
    from event
    having max(position) <> (select max(last_position) from commit)
)
select what, at from flaw limit 20
"""

_BAD_HASHES = """
select problem || ': ' || detail, position from audit.verify_commits(0, %s, (eventstore.head(0)).number)
union all
select problem || ': ' || detail, position from audit.verify_ends(0)
"""

_RECORDED = """
select k.command_id, k.outcome, k.reason ->> 'code', k.first_position + k.event_count - 1, e.sequence
from eventstore.commands k
left join eventstore.events e on e.shard = k.shard and e.position = k.first_position + k.event_count - 1
where k.shard = 0
    and k."commit" >= %s
"""

Connection = psycopg.Connection[Any]
Outcome = str | tuple[int, int]
"""Why a command was refused, or position and sequence of its last event."""


def assert_gapless(connection: Connection) -> None:
    """Positions, sequences and commit numbers without a hole; every event of one command, every command of one commit.

    That each command is there once is the primary key's care.
    """
    assert connection.execute(_FLAWS).fetchall() == []


def assert_sealed(connection: Connection, first_commit: int = 1) -> None:
    """From this commit on, every row matches its hash, and every commit follows the one before it."""
    head = head_of(connection)
    if head[0] >= first_commit:
        assert connection.execute(_BAD_HASHES, [first_commit]).fetchall() == []


def assert_sound(connection: Connection) -> None:
    assert_gapless(connection)
    assert_sealed(connection)


def head_of(connection: Connection) -> tuple[int, int]:
    """The number of the last commit, and the last position."""
    row = connection.execute("select number, last_position from eventstore.head(0)").fetchone()
    assert row is not None
    return row[0], row[1]


def recorded(connection: Connection, first_commit: int = 1) -> dict[UUID, Outcome | None]:
    """What the log says of each command; None: accepted, and there was nothing left to do."""
    found: dict[UUID, Outcome | None] = {}
    for command_id, outcome, code, position, sequence in connection.execute(_RECORDED, [first_commit]):
        found[command_id] = code if outcome == "refused" else None if position is None else (position, sequence)
    return found


def assert_recorded(acknowledged: Mapping[UUID, Outcome | None], found: Mapping[UUID, Outcome | None]) -> None:
    """The log contains every answer as it was given."""
    wrong = {id_: (answer, found.get(id_, "is not there")) for id_, answer in acknowledged.items()
             if id_ not in found or found[id_] != answer}  # fmt: skip
    assert wrong == {}
