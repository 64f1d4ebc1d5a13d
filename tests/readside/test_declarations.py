"""A projection declares what it folds, overlooks no event type, and is given the events of no other aggregate type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

import tests.eventstore.counter
from foldbook.errors import ProjectionError
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.readers.definitions import Definition
from foldbook.postgres.migrations import migrate
from foldbook.trading.book import ORDER_BOOK
from tests.eventstore.counter.counter import COUNTER
from tests.readside.histories import Happening, write, write_book, write_many
from tests.readside.projecting import (
    DEFINITIONS,
    NAMES,
    administering,
    assert_equal_to_fresh_folds,
    caught_up,
    connected,
    projecting,
    status_of,
)

DECIDERS: tuple[Decider[Any], ...] = (ORDER_BOOK, COUNTER)
ALL_TYPES = {decider.name: {t.__name__ for t in decider.event_types.types} for decider in DECIDERS}


COUNTERS = Definition.read(Path(tests.eventstore.counter.__path__[0]) / "counters.sql")


@pytest.mark.parametrize("definition", [*DEFINITIONS, COUNTERS], ids=lambda definition: definition.name)
def test_each_event_type_is_either_folded_or_ignored(definition: Definition) -> None:
    assert set(definition.aggregate_types) <= ALL_TYPES.keys()
    known = set().union(*(ALL_TYPES[name] for name in definition.aggregate_types))
    assert definition.folds | definition.ignores == known
    assert not definition.folds & definition.ignores
    in_body = {name for name in known if f"'{name}'" in definition.sql}
    assert in_body == definition.folds, "what is folded is named in the file, and what is ignored is not"


HEADER = """\
-- Aggregate types: order_book, counter
-- Folds: Counted,
--   OrderFilled
-- Ignores: nothing
"""


def test_a_list_may_go_on_and_may_be_empty() -> None:
    definition = Definition.parse("some", HEADER + "select 1")
    assert definition.aggregate_types == ("order_book", "counter")
    assert definition.folds == {"Counted", "OrderFilled"}
    assert definition.ignores == set()


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("", "must begin with"),
        ("-- Something\n" + HEADER, "must begin with"),
        (HEADER.replace("-- Folds: Counted,\n--   OrderFilled\n", ""), "must begin with"),
        (HEADER.replace("-- Ignores: nothing\n", ""), "must begin with"),
        (HEADER.replace("order_book, counter", "order_book; counter"), "'order_book; counter' is not a name"),
        (HEADER.replace("Counted,", "Counted"), "is not a name"),
        (HEADER.replace("Counted,", "Counted,,"), "'' is not a name"),
        (HEADER.replace("Counted,", "OrderFilled,"), "twice"),
        (HEADER.replace("order_book, counter", "nothing"), "at least one"),
        (HEADER.replace("order_book, counter", " "), "'' is not a name"),
        (HEADER.replace("-- Ignores: nothing", "-- Ignores: Counted"), "both folds and ignores Counted"),
    ],
)
def test_a_file_that_does_not_declare_what_it_folds_is_refused(header: str, complaint: str) -> None:
    with pytest.raises(ProjectionError, match=complaint) as refused:
        Definition.parse("some", header + "create table t ();")
    assert refused.value.code == "projection-malformed"
    assert "projection some" in str(refused.value)


def added(counter: str, total: int) -> Happening:
    return Happening(counter, "Added", {"amount": "1", "total": str(total), "side": "BUY"}, aggregate_type="counter")


async def test_events_of_another_aggregate_type_are_not_seen(database: str) -> None:
    """Live, after a reset, a rebuild, a migration: also if an aggregate of another type has an account for its id."""
    definitions = [*DEFINITIONS, COUNTERS]
    with connected(database) as connection:
        write_many(connection, 40, accounts=4)
        write(connection, [added("user-1/binance/simulated", 1), added("c", 1), added("c", 2)])
        write_book(connection)
        counts = "select counter_id, total from read.counters order by 1"
        expected = [("c", 2), ("user-1/binance/simulated", 1)]
        async with projecting(database, definitions), administering(database, definitions) as admin:
            await caught_up(database, [*NAMES, "counters"])
            assert connection.execute(counts).fetchall() == expected
            assert connection.execute("select count(*) from read.order_books").fetchone() == (5,)
            for name in ("orders", "counters"):
                await admin.rebuild(name)
                await admin.reset(name)
                assert (await admin.verify(name)).equal
            assert connection.execute(counts).fetchall() == expected
        assert (await status_of(database, "counters")).aggregate_types == ["counter"]
    await assert_equal_to_fresh_folds(database)


async def test_what_a_projection_reads_is_made_again_by_a_migration(database: str) -> None:
    with connected(database) as connection:
        write_many(connection, 10)
        async with projecting(database):
            await caught_up(database)
        connection.execute("select eventstore.projection_create('rebuild', 'fills', %s, '{order_book}')", [
            next(d.sql for d in DEFINITIONS if d.name == "fills")
        ])  # fmt: skip
        connection.execute("update eventstore.code set sha256 = 'old'")
        migrate(database, shard_count=1)
        inputs = (
            "select schemaname, viewowner from pg_views where viewname = 'log' and schemaname ~ '^input_' order by 1"
        )
        assert connection.execute(inputs).fetchall() == [(f"input_{name}", "foldbook_engine") for name in sorted(NAMES)]
        async with projecting(database), administering(database) as admin:
            write_book(connection)
            await caught_up(database)
            await admin.rebuild("fills")
    await assert_equal_to_fresh_folds(database)


async def test_a_declaration_that_changed_takes_effect_with_the_rebuild(database: str) -> None:
    # Whatever the events are: only their number counts here.
    sql = COUNTERS.sql.replace("(e.payload ->> 'total')::bigint", "e.sequence").replace("and e.type = 'Added'", "")
    narrow = Definition.parse("counters", sql)
    wide = Definition.parse("counters", sql.replace("types: counter\n", "types: counter, order_book\n"))
    count = "select count(*) from read.counters"
    with connected(database) as connection:
        write(connection, [added("c", 1)])
        write_book(connection)
        async with projecting(database, [narrow]):
            await caught_up(database, ["counters"])
        assert connection.execute(count).fetchone() == (1,)
        async with administering(database, [wide]) as admin:
            await admin.rebuild("counters")
            assert (await admin.verify("counters")).equal
        assert connection.execute(count).fetchone() == (2,)
        async with projecting(database, [wide]):
            write_book(connection)
            await caught_up(database, ["counters"])
        assert connection.execute(count).fetchone() == (3,)
    assert (await status_of(database, "counters")).aggregate_types == ["counter", "order_book"]


def test_a_function_that_is_bound_when_it_is_made_is_refused(database: str) -> None:
    """A rebuild's workers would each see the whole log and not their slice."""
    bound = COUNTERS.sql.replace("as $$", "begin atomic").replace("$$;", "end;")
    with connected(database) as connection, pytest.raises(psycopg.Error, match="bound to the schema") as refused:
        connection.execute("select eventstore.projection_create('rebuild', 'counters', %s, '{counter}')", [bound])
    assert refused.value.sqlstate == "FB014"
