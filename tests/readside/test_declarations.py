"""A projection declares what it folds, overlooks no event type, and is given the events of no other aggregate type."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldbook.errors import ProjectionError
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.readers.definitions import Definition
from foldbook.postgres.migrations import migrate
from foldbook.resources import projection_files
from foldbook.trading.book import ORDER_BOOK
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

DECIDERS: dict[str, Decider[object]] = {ORDER_BOOK.name: ORDER_BOOK}  # type: ignore[dict-item]
ALL_TYPES = {name: {t.__name__ for t in decider.event_types.types} for name, decider in DECIDERS.items()}


@pytest.mark.parametrize("path", projection_files(), ids=lambda path: path.stem)
def test_each_event_type_is_either_folded_or_ignored(path: Path) -> None:
    definition = Definition.read(path)
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
-- Ignores:
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
        (HEADER.replace("-- Ignores:\n", ""), "must begin with"),
        (HEADER.replace("order_book, counter", "order_book; counter"), "'order_book; counter' is not a name"),
        (HEADER.replace("Counted,", "Counted"), "is not a name"),
        (HEADER.replace("Counted,", "Counted,,"), "'' is not a name"),
        (HEADER.replace("Counted,", "OrderFilled,"), "twice"),
        (HEADER.replace("order_book, counter", " "), "at least one"),
        (HEADER.replace("-- Ignores:", "-- Ignores: Counted"), "Counted that it folds and that it ignores"),
    ],
)
def test_a_file_that_does_not_declare_what_it_folds_is_refused(header: str, complaint: str) -> None:
    with pytest.raises(ProjectionError, match=complaint) as refused:
        Definition.parse("some", header + "create table t ();")
    assert refused.value.code == "projection-malformed"
    assert "projection some" in str(refused.value)


COUNTERS = Definition.parse(
    "counters",
    """\
-- Aggregate types: counter
-- Folds: Counted
-- Ignores:

create table counters (shard integer not null, counter text not null, count bigint not null, primary key (counter));

create function project_counters(p_shard integer, p_from bigint, p_to bigint) returns void
language sql as $$
    insert into counters as c
    select p_shard, e.aggregate_id, count(*)
    from log e
    where e.shard = p_shard and e.position > p_from and e.position <= p_to
    group by e.aggregate_id
    on conflict (counter) do update set count = c.count + excluded.count
$$;
""",
)


def counted(counter: str) -> Happening:
    return Happening(counter, "Counted", {"side": "BUY", "symbol": "BTCUSDT"}, aggregate_type="counter")


async def test_events_of_another_aggregate_type_are_not_seen(database: str) -> None:
    """Live, after a reset, a rebuild, a migration: also if an aggregate of another type has an account for its id."""
    definitions = [*DEFINITIONS, COUNTERS]
    with connected(database) as connection:
        write_many(connection, 40, accounts=4)
        write(connection, [counted("user-1/binance/simulated"), counted("c"), counted("c")])
        write_book(connection)
        counts = "select counter, count from read.counters order by 1"
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
    wider = Definition.parse("counters", COUNTERS.sql.replace("types: counter\n", "types: counter, order_book\n"))
    with connected(database) as connection:
        write(connection, [counted("c")])
        write_book(connection)
        async with projecting(database, [COUNTERS]):
            await caught_up(database, ["counters"])
        assert connection.execute("select count(*) from read.counters").fetchone() == (1,)
        async with administering(database, [wider]) as admin:
            await admin.rebuild("counters")
            assert (await admin.verify("counters")).equal
        assert connection.execute("select count(*) from read.counters").fetchone() == (2,)
        async with projecting(database, [wider]):
            write_book(connection)
            await caught_up(database, ["counters"])
        assert connection.execute("select count(*) from read.counters").fetchone() == (3,)
    assert (await status_of(database, "counters")).aggregate_types == ["counter", "order_book"]
