"""The hot questions find their rows by index, however large the tables are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from foldbook.eventstore.readers.definitions import Definition
from foldbook.resources import projection_files
from tests.conftest import Postgres

FILL_TABLES = """
insert into eventstore.subscriptions (shard, name) values
    (0, 'orders'), (0, 'fills'), (0, 'settings'), (0, 'positions'), (0, 'strategy_positions'), (0, 'lots'),
    (0, 'ledger')
on conflict do nothing;

insert into read.orders
select
    0, 'u' || n % 50 || '/binance/simulated', 'o-' || n, 'trend', 'BTC-USDT', 'BUY', 'LIMIT', 'GTC', null,
    false, false, null, null, null, null, null,
    2, 100, null, case when n % 100 = 0 then 'NEW' else 'FILLED' end, n % 100 = 0, 'NONE',
    null, null, null, 0, 0, 2, 0, 0, '{}', null, null,
    case when n % 1000 = 0 then jsonb_build_array(jsonb_build_object('doubt_id', 'd-' || n, 'request', 'SUBMIT')) end,
    null, null, now(), now(), n, n, n
from generate_series(1, 20000) n;

insert into read.fills
select
    0, n, 'u' || n % 50 || '/binance/simulated', 'o-' || n, 's-' || n % 40, null, 'S-' || n % 30, 'BUY', 'e',
    'SPOT', 1, null, 1, 1, null, 1, null, null, now(), now()
from generate_series(1, 20000) n;

insert into read.execution_exceptions
select
    0, n, 'u' || n % 50 || '/binance/simulated', 'UnmatchedExecutionRecorded', 'unmatched', 'o-' || n, 'TRADE',
    null, null, null, 'e', null, 1, 1, null, null, null, null, null, null, null, null, null, null, null, now(), now()
from generate_series(1, 20000) n;

insert into read.instruments
select 0, 'u' || n % 50 || '/binance/simulated', 'S-' || n, 'SPOT', null, null, 1, null, null, null, false, now(), n
from generate_series(1, 20000) n;

insert into read.risk_limits
select 0, 'u' || n || '/binance/simulated', 'S-' || n, '{}', now(), n
from generate_series(1, 20000) n;

insert into read.prices
select 0, 'u' || n % 50 || '/binance/simulated', 'S-' || n, 1, now(), now(), now(), n
from generate_series(1, 20000) n;

insert into read.positions
select
    0, 'u' || n % 50 || '/binance/simulated', 'S-' || n, 1, 1, 0, 1, '{}', 1, 'SPOT', null, null, now(), 20000
from generate_series(1, 20000) n;

insert into read.strategy_positions
select
    0, 'u' || n % 50 || '/binance/simulated', 's-' || n % 40, 'S-' || n, 1, 1, 0, 1, '{}', 1, 'SPOT', null, null, now(),
    20000
from generate_series(1, 20000) n;

-- 40 lots of each of 10 symbols, half of them open.
insert into read.lots
select
    0, 'u' || n % 50 || '/binance/simulated', 'S-' || n / 50 % 10, n, 0, 'o-' || n, 'e', 1, 1, 1,
    case when n > 10000 then 1 else 0 end, 0, now(), case when n <= 10000 then n end, null, n / 500 + 1
from generate_series(0, 19999) n;

insert into read.lot_positions
select 0, 'u' || n % 50 || '/binance/simulated', 'S-' || n / 50, 20, 40
from generate_series(0, 499) n;

insert into read.ledger_entries
select 0, n, 1, 'u' || n % 50 || '/binance/simulated', 'C-' || n / 50 % 4, 1, 0, -1, 0, 0, 0
from generate_series(1, 20000) n;

insert into read.ledger_balances
select 0, 'u' || n % 50 || '/binance/simulated', 'C-' || n, 1, 0, -1, 0, 0, 0
from generate_series(1, 20000) n;

-- 400 executions in each of 50 positions.
insert into read.position_entries
select
    0, 'u' || n % 50 || '/binance/simulated', 'S-' || (n % 50 + 50), n, 'OrderFilled', 'o-' || n, 's', 'e', null, 1, 1,
    null, null, null, 1, 1, 0, 1, '{}', 1, 'SPOT', null, null
from generate_series(1, 20000) n;

insert into eventstore.events
select
    0, n, 'order_book', 'u' || n % 50 || '/binance/simulated', (n + 49) / 50,
    case when n % 7000 = 0 then 'Rare' else 'OrderCreated' end, 1, 'o-' || n, gen_random_uuid(), '{}',
    '{}', now(), now(), ''
from generate_series(1, 20000) n;

insert into eventstore.commits values (0, 1, 1, 20000, now(), '', '');

analyze read.orders, read.fills, eventstore.events;
"""

VERY_MANY_EVENTS = """
insert into eventstore.events
select
    0, 20000 + n, 'order_book', 'v' || n % 3 || '/binance/simulated', (n + 2) / 3,
    case when n % 1999 = 0 then 'Rare' else 'OrderFilled' end, 1, '1', gen_random_uuid(), '{}', '{}', now(), now(), ''
from generate_series(1, 4000) n;

insert into eventstore.commits values (0, 2, 20001, 24000, now(), '', '');
"""
"""Of one subject, which several aggregates have."""


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with filled(database) as connection:
        yield connection


@pytest.fixture(scope="module")
def shared_connection(postgres: Postgres, template_database: str) -> Iterator[psycopg.Connection[Any]]:
    """For questions alone."""
    dsn = postgres.create_database(template_database)
    with filled(dsn) as connection:
        yield connection
    postgres.drop_database(dsn)


@contextmanager
def filled(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database) as connection:
        for definition in map(Definition.read, projection_files()):
            connection.execute(
                "select eventstore.projection_install(%s, %s, %s)",
                [definition.name, definition.sql, list(definition.aggregate_types)],
            )
        connection.execute(FILL_TABLES)
        connection.commit()
        yield connection


@pytest.mark.parametrize(
    ("question", "rows_max"),
    [
        ("trading.query_order(0, 'u1/binance/simulated', 'o-101')", 1),
        ("trading.query_order(0, 'u1/binance/simulated', 'o-nothing')", 1),
        ("trading.query_orders(0, 'u1/binance/simulated', null, null, null, 0, 10)", 11),
        ("trading.query_orders(0, 'u0/binance/simulated', '{NEW,CREATED}', null, null, 0, 5)", 6),
        # The 400 events of the account, each once more by its position.
        ("trading.query_orders_as_of(0, 'u1/binance/simulated', 10000, null, null, null, 0, 10)", 600),
        ("trading.query_history(0, 'u1/binance/simulated', 'o-101', 0, 10)", 2),
        ("trading.query_fills(0, null, null, null, null, 0, 0, 10)", 11),
        ("trading.query_fills(0, 'u1/binance/simulated', null, null, null, 0, 0, 10)", 11),
        ("trading.query_fills(0, null, 's-1', null, null, 0, 0, 10)", 11),
        ("trading.query_fills(0, null, null, 'S-1', null, 0, 0, 10)", 11),
        ("eventstore.query_events(0, 10000, 10)", 11),
        ("eventstore.query_events(0, 10000, 10, 'OrderCreated')", 11),
        ("eventstore.query_events(0, 10000, 10, 'NoSuchEvent', p_search_max => 50)", 50),
        ("eventstore.query_events(0, 10000, 10, p_patterns => '{nobody/*/*}', p_search_max => 50)", 50),
        ("eventstore.query_events(0, 0, 10, 'OrderCreated', p_subject => 'o-101')", 1),
        # The event, and the commit that wrote it, which is looked for.
        ("eventstore.query_events(0, 0, 10, null, null, 'u1/binance/simulated', 'o-101')", 5),
        ("eventstore.query_events(0, 0, 10, 'None', null, 'u1/binance/simulated', 'o-101', null, 50)", 5),
        ("eventstore.query_events(0, 10000, 10, p_aggregate_id => 'u1/binance/simulated')", 20),
        ("eventstore.query_events(0, 10000, 10, p_aggregate_type => 'nothing', p_search_max => 50)", 50),
        ("eventstore.query_events(0, 5000, 10, 'None', null, 'u1/binance/simulated', null, null, 50)", 50),
        # Each with its last price.
        ("trading.query_positions(0, 'u1/binance/simulated', null, '', 10)", 22),
        ("trading.query_position(0, 'u1/binance/simulated', 'S-51', null)", 2),
        ("trading.query_strategy_positions(0, 'u1/binance/simulated', 's-1', 'S-51', 10)", 22),
        # With the entry and its event.
        ("trading.query_position(0, 'u1/binance/simulated', 'S-51', 10000)", 3),
        ("trading.query_position_history(0, 'u1/binance/simulated', 'S-51', 10000, 10)", 22),
        # The totals of each symbol, and up to 11 lots of each.
        ("trading.query_lots(0, 'u1/binance/simulated', null, null, '', 0, 0, 10)", 120),
        ("trading.query_lots(0, 'u1/binance/simulated', 'S-1', null, '', 0, 0, 10)", 12),
        ("trading.query_lots(0, 'u1/binance/simulated', 'S-1', true, 'S-1', 10051, 0, 10)", 13),
        # Each with its event.
        ("trading.query_ledger(0, 'u1/binance/simulated', null, 0, 0, 10)", 22),
        ("trading.query_ledger(0, 'u1/binance/simulated', null, 10000, 1, 10)", 22),
        ("trading.query_balances(0, 'u1/binance/simulated', '', 10)", 11),
        # Each with its event, and what was told of its order later.
        ("trading.query_execution_exceptions(0, 'u1/binance/simulated', 0, 10)", 33),
        ("trading.query_instruments(0, 'u1/binance/simulated', '', 10)", 11),
        ("trading.query_instrument(0, 'u1/binance/simulated', 'S-1')", 1),
        ("trading.query_prices(0, 'u1/binance/simulated', '', 10)", 11),
        ("trading.query_risk(0, 'u1/binance/simulated')", 1),
        # The orders in doubt, of all accounts.
        ("brokers.query_doubts(null, 10)", 20),
        ("brokers.query_doubts('u0/binance/simulated', 10)", 20),
        ("brokers.query_doubt('d-1000')", 20),
        ("brokers.doubt_counts()", 20),
        # The events of the order that it names; none, if it can be none of ours; a search that ends.
        ("brokers.order_of_client_id('u1/binance/simulated', 'o-101:1')", 1),
        ("brokers.order_of_client_id('u1/binance/simulated', 'o-nothing:1')", 0),
        ("brokers.order_of_client_id('u1/binance/simulated', 'web_1')", 0),
        ("brokers.order_of_client_id('u1/binance/simulated', 'nbyoudtvrbzv6hsoksyfc30dg7', 50)", 50),
        # So many of the account's latest events.
        ("brokers.symbols_of('u1/binance/simulated', 50)", 50),
        # The orders of the strategy, and the currencies of the account.
        ("trading.query_strategy_start(0, 'u1/binance/simulated', 'trend')", 800),
    ],
)
def test_a_question_touches_only_the_rows_of_its_answer(
    shared_connection: psycopg.Connection[Any], question: str, rows_max: int
) -> None:
    connection = shared_connection
    before = _rows_read(connection)
    row = connection.execute(f"select * from {question}").fetchone()
    assert row is not None
    connection.commit()
    after = _rows_read(connection)
    assert after["by_scan"] == before["by_scan"], "a table was scanned"
    assert after["by_index"] - before["by_index"] <= 3 * rows_max


def test_a_search_for_a_rare_type_is_bounded(connection: psycopg.Connection[Any]) -> None:
    """A page may be short or empty; ``next`` leads through all of the log, and every event is found once."""
    found: list[int] = []
    pages = []
    after: int | None = 0
    while after is not None:
        before = _rows_read(connection)
        # Often enough for PostgreSQL to keep a plan for any argument.
        row = connection.execute(
            "select document from eventstore.query_events(0, %s, 10, 'Rare', p_search_max => 1000)", [after]
        ).fetchone()
        connection.commit()
        assert _rows_read(connection)["by_index"] - before["by_index"] <= 1100
        assert row is not None
        (page,) = row
        pages.append(len(page["events"]))
        found += [event["position"] for event in page["events"]]
        after = page.get("next")
    assert found == [7000, 14000]
    assert pages == [1 if n in (6, 13) else 0 for n in range(20)]


@pytest.mark.parametrize(
    ("filters", "size", "found_in_all"),
    [
        ("p_subject => '1'", 1000, 4000),
        ("p_subject => '1', p_type => 'Rare'", 1000, 2),
        ("p_subject => '1', p_aggregate_type => 'order_book'", 1000, 4000),
        ("p_subject => '1', p_patterns => '{v1/*/*}'", 1000, 1334),
        ("p_subject => '1', p_patterns => '{nobody/*/*}'", 1000, 0),
        ("p_subject => '1', p_aggregate_id => 'v1/binance/simulated'", 10, 1334),
        ("p_subject => '1', p_aggregate_id => 'v1/binance/simulated', p_type => 'Rare'", 1000, 1),
        ("p_subject => 'o-101', p_type => 'Rare'", 10, 0),
        ("p_aggregate_id => 'v1/binance/simulated', p_type => 'Rare'", 1000, 1),
    ],
)
def test_a_page_of_what_has_very_many_events_is_bounded(
    connection: psycopg.Connection[Any], filters: str, size: int, found_in_all: int
) -> None:
    """``size``: the events that a page examines. ``next`` leads to every event once."""
    connection.execute(VERY_MANY_EVENTS)
    connection.commit()
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        before = _rows_read(connection)
        row = connection.execute(
            f"select document from eventstore.query_events(0, %s, 1000, {filters}, p_search_max => 1000)", [after]
        ).fetchone()
        connection.commit()
        read = _rows_read(connection)
        assert row is not None
        (page,) = row
        assert read["by_scan"] == before["by_scan"]
        # Whether there are very many is looked up, too; where the page begins, by bisection; one event is too many.
        assert read["by_index"] - before["by_index"] <= max(size, len(page["events"])) + 1001 + 100
        found += [event["position"] for event in page["events"]]
        after = page.get("next")
    assert found == sorted(set(found))
    assert len(found) == found_in_all


def _rows_read(connection: psycopg.Connection[Any]) -> dict[str, int]:
    connection.execute("select pg_stat_force_next_flush()")
    connection.commit()
    row = connection.execute(
        """
        select coalesce(sum(seq_tup_read), 0), coalesce(sum(idx_tup_fetch), 0)
        from pg_stat_user_tables
        where relname in (
            'orders', 'fills', 'events', 'execution_exceptions', 'instruments', 'prices', 'risk_limits',
            'account_settings', 'positions', 'position_entries', 'strategy_positions', 'lots', 'lot_positions',
            'ledger_entries', 'ledger_balances'
        )
        """
    ).fetchone()
    connection.commit()
    assert row is not None
    return {"by_scan": int(row[0]), "by_index": int(row[1])}
