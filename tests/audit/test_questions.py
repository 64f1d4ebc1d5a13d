"""Every query of docs/audit.md is asked of a log of four shards in which it has an answer, and of one with read tables
that somebody doctored."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from foldbook.errors import Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import shard_of
from foldbook.postgres.roles import AUDITOR, as_role
from foldbook.resources import projection_files
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import SetRiskLimits
from foldbook.trading.values import RiskLimits, Side
from tests.audit.conftest import as_superuser
from tests.builders import NOW, cancel, open_account, place, replace_order, report, trade
from tests.conftest import Postgres, prepare
from tests.eventstore.counter.counter import COUNTER, Add

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
NO_ROW = "-- no row: all is well"

SHARDS = 4
ALICE = "alice/binance/simulated"
BOB = "bob/binance/simulated"

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Query:
    heading: str
    sql: str

    @property
    def is_check(self) -> bool:
        """It has no row unless something is wrong."""
        return NO_ROW in self.sql


def queries() -> list[Query]:
    sections = re.split(r"^#+ (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return [
        Query(heading, sql)
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
        for sql in re.findall(r"^```sql\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


QUERIES = queries()
CHECKS = [query for query in QUERIES if query.is_check]
FROM_THE_LOG = [q for q in QUERIES if not q.is_check and not re.search("subscriptions|ledger_as_of", q.sql)]
"""Their answers do not depend on any read table."""


def checks_by_function(*names: str) -> list[Query]:
    found = [query for query in CHECKS if any(f"audit.{name}()" in query.sql for name in names)]
    assert len(found) == len(names)
    return found


def shown(query: Query) -> str:
    source = re.search(r"\bfrom\s+((?:audit|eventstore)\.\w+)", query.sql)
    return f"{query.heading.split('.')[0]}: {source.group(1) if source else ''}"


async def trade_a_little(dsn: str) -> None:
    """Alice and Bob, on two shards, do the same with different ids. Both have a busted fill, a corrected fill, and an
    execution that refers to nothing known. A counter has the id of each account."""
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK, COUNTER, shard_count=SHARDS)
    await bus.start()
    for account in (ALICE, BOB):
        await bus.execute(open_account(account))
        placed = place(account=account)
        await bus.execute(placed, metadata=Metadata(actor="trader-7", correlation_id="c-1"))
        caused = Metadata(causation_id=str(placed.command_id))
        await bus.execute(trade("e-1", "0.5", account=account), metadata=caused)
        await bus.execute(trade("e-2", "1.5", account=account), metadata=caused)
        await bus.execute(trade("e-3", "1", order_id="o-9", account=account), metadata=Metadata(raw_message="35=8"))
        with pytest.raises(Refusal):
            await bus.execute(cancel("unknown", account=account))

        await bus.execute(place("o-2", account, "4", symbol="BTC-USDT", side=Side.SELL))
        for command in (
            report("NEW", "o-2", account),
            trade("e-4", "1", "110", "o-2", account=account, fee=Decimal("0.01"), fee_currency="BTC"),
            trade("e-5", "1", "90", "o-2", account=account, fee=Decimal("0.2"), fee_currency="USDT"),
            report("TRADE_CANCEL", "o-2", account, exec_id="e-6", exec_ref_id="e-4"),
            report(
                "TRADE_CORRECT", "o-2", account, exec_id="e-7", exec_ref_id="e-5",
                last_qty=Decimal(3), last_px=Decimal(91),
            ),
            replace_order("o-2", account, quantity=Decimal(5)),
            report("REPLACED", "o-2", account, quantity=Decimal(5)),
            place("o-3", account, "2", symbol="BTC-USDT"),
            trade("e-8", "1", "95", "o-3", account=account, fee=Decimal("0.1"), fee_currency="BNB"),
            cancel("o-2", account),
            report("CANCELED", "o-2", account),
            SetRiskLimits(
                command_id=cancel().command_id, received_at=NOW, account=account,
                limits=RiskLimits(max_quantity=Decimal(10)),
            ),
            place("o-4", account, "11"),
        ):  # fmt: skip
            await bus.execute(command)
        await bus.execute(Add(command_id=cancel().command_id, received_at=NOW, counter_id=account, amount=1))
    await bus.stop()
    await store.close()


def project(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for path in projection_files():
            for shard in range(SHARDS):
                connection.execute(
                    "select eventstore.projection_round('live', %s, %s, 1000000)", [path.stem, shard]
                ).fetchall()


@pytest.fixture(scope="module")
def traded(postgres: Postgres) -> Iterator[str]:
    dsn = postgres.create_database()
    prepare(dsn, SHARDS)
    asyncio.run(trade_a_little(dsn))
    project(dsn)
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def superuser(postgres: Postgres, traded: str) -> Iterator[psycopg.Connection[Any]]:
    """In a transaction that leaves nothing behind."""
    with psycopg.connect(as_superuser(postgres, traded)) as connection:
        yield connection
        connection.rollback()


def ask(connection: psycopg.Connection[Any], query: Query) -> Rows:
    return connection.execute(query.sql.encode()).fetchall()


def as_auditor(connection: psycopg.Connection[Any], asked: list[Query]) -> list[Rows]:
    connection.execute(f"set local role {AUDITOR}".encode())
    answers = [ask(connection, query) for query in asked]
    connection.execute("reset role")
    return answers


def rows(dsn: str, query: str) -> Rows:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


# -- the page ----------------------------------------------------------------------------------------------------


def test_there_are_as_many_questions_as_the_title_says() -> None:
    numbers = re.findall(r"^### (\d+)\. .*\?$", PAGE, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 12)]
    assert "## Eleven questions\n" in PAGE
    assert {query.heading.split(".")[0] for query in QUERIES} > set(numbers)


def test_the_accounts_are_on_different_shards() -> None:
    assert shard_of(ALICE, SHARDS) != shard_of(BOB, SHARDS)
    assert 0 not in (shard_of(ALICE, SHARDS), shard_of(BOB, SHARDS))


@pytest.mark.parametrize("query", QUERIES, ids=shown)
def test_an_auditor_gets_an_answer(traded: str, query: Query) -> None:
    with psycopg.connect(as_role(traded, AUDITOR)) as connection:
        assert bool(ask(connection, query)) != query.is_check


@pytest.mark.parametrize("query", [query for query in QUERIES if ALICE in query.sql], ids=shown)
def test_an_account_that_does_not_exist_has_no_rows(traded: str, query: Query) -> None:
    assert rows(traded, query.sql.replace(ALICE, "nobody/binance/simulated")) == []
    assert rows(traded, query.sql.replace(f"'{ALICE}'", "null")) == []


@pytest.mark.parametrize("query", [query for query in QUERIES if "now()" in query.sql], ids=shown)
@pytest.mark.parametrize("time", ["timestamptz '2000-01-01'", "timestamptz '-infinity'", "null::timestamptz"])
def test_before_the_first_event_there_is_nothing(traded: str, query: Query, time: str) -> None:
    assert rows(traded, query.sql.replace("now()", time)) == []


# -- read tables that somebody doctored --------------------------------------------------------------------------

ORDERS, FILLS, POSITIONS = ("order_differences",), ("fill_differences",), ("position_differences",)
LEDGER, BALANCES, LOTS = ("ledger_differences", "ledger_imbalance"), ("ledger_imbalance",), ("lot_differences",)

ENTRIES_AND_THEIR_SUMS = """
update read.ledger_entries
set cash = cash + 1, fees = fees - 1
where currency = 'USDT';
update read.ledger_balances b
set (cash, fees) = (
    select sum(e.cash), sum(e.fees)
    from read.ledger_entries e
    where e.account = b.account and e.currency = b.currency
)
"""
A_LOT_OF_NOTHING = """copy read.lots set
opened_position = opened_position + 1000, opened_to = opened_to + 1000, remaining = 0, quantity = 0, realized_pnl = 1
"""


@pytest.mark.parametrize(
    ("doctoring", "says_so"),
    [
        (f"delete from read.orders where order_id = 'o-2' and account = '{BOB}'", ORDERS),
        ("delete from read.orders", ORDERS),
        ("update read.orders set cum_qty = 9 where order_id = 'o-2'", ORDERS),
        ("update read.orders set limit_price = null where order_id = 'o-1'", ORDERS),
        ("update read.orders set stop_price = 1 where order_id = 'o-1'", ORDERS),
        ("update read.orders set working_state = 'NEW' where order_id = 'o-2'", ORDERS),
        ("update read.orders set pending_request = 'CANCEL' where order_id = 'o-3'", ORDERS),
        ("update read.orders set post_only = true where order_id = 'o-1'", ORDERS),
        ("update read.orders set group_kind = 'OCO', group_id = 'g-1' where order_id = 'o-1'", ORDERS),
        ("update read.orders set leaves_cash = 1 where order_id = 'o-1'", ORDERS),
        ("update read.orders set denied_observed = '10.5' where order_id = 'o-4'", ORDERS),
        ("update read.orders set reason = null where order_id = 'o-4'", ORDERS),
        (f"update read.orders set shard = 0 where account = '{BOB}'", ORDERS),
        ("update read.orders set order_id = 'o-7' where order_id = 'o-1'", ORDERS),
        ("copy read.orders set order_id = 'o-7' where order_id = 'o-1'", ORDERS),
        ("update eventstore.subscriptions set checkpoint = 0 where name = 'orders'", ORDERS),
        ("delete from eventstore.subscriptions where name = 'orders'", ORDERS),
        (f"delete from read.fills where account = '{BOB}' and exec_id = 'e-1'", FILLS),
        ("delete from read.fills where is_busted", FILLS),
        ("update read.fills set is_busted = false", FILLS),
        ("update read.fills set last_px = 90, last_qty = 1 where exec_id = 'e-5'", FILLS),
        ("update read.fills set fee = null, fee_currency = null where exec_id = 'e-5'", FILLS),
        ("update read.fills set money = money + 1 where exec_id = 'e-1'", FILLS),
        ("update read.fills set currency = 'EUR' where exec_id = 'e-5'", FILLS),
        ("update read.fills set kind = 'LIQUIDATION', order_id = null where exec_id = 'e-1'", FILLS),
        ("update read.fills set original_px = 91 where exec_id = 'e-5'", FILLS),
        ("update read.fills set changed_position = null", FILLS),
        ("copy read.fills set position = position + 1000 where exec_id = 'e-1'", FILLS),
        (f"delete from read.execution_exceptions where account = '{BOB}'", FILLS),
        ("update read.execution_exceptions set last_qty = 2", FILLS),
        ("update read.execution_exceptions set problem = 'time-ahead'", FILLS),
        ("update read.execution_exceptions set counted_at = now()", FILLS),
        ("copy read.execution_exceptions set position = position + 1000", FILLS),
        (f"delete from read.positions where account = '{BOB}' and symbol = 'BTCUSDT'", POSITIONS),
        ("update read.positions set quantity = quantity + 1 where symbol = 'BTCUSDT'", POSITIONS),
        ("update read.positions set fees = '{}' where symbol = 'BTC-USDT'", POSITIONS),
        ("update read.positions set kind = 'INVERSE' where symbol = 'BTC-USDT'", POSITIONS),
        ("update read.positions set quote_currency = 'USD' where symbol = 'BTC-USDT'", POSITIONS),
        ("copy read.positions set symbol = 'X' where symbol = 'BTCUSDT'", POSITIONS),
        (
            "copy read.positions set account = 'nobody/binance/live' where account = 'alice/binance/simulated'",
            POSITIONS,
        ),
        (f"delete from read.position_entries where account = '{BOB}' and type = 'FillBusted'", POSITIONS),
        (f"copy read.position_entries set position = position + 1000 where account = '{BOB}'", POSITIONS),
        (f"delete from read.ledger_entries where account = '{BOB}'", LEDGER),
        ("delete from read.ledger_entries where entry = 3", LEDGER),
        ("update read.ledger_entries set position = position + 1, exchange = exchange - 1", LEDGER),
        ("update read.ledger_entries set currency = 'EUR' where currency = 'USDT'", LEDGER),
        ("copy read.ledger_entries set log_position = log_position + 1000 where entry = 1", LEDGER),
        (ENTRIES_AND_THEIR_SUMS, ("ledger_differences",)),
        (f"delete from read.ledger_balances where account = '{BOB}' and currency = 'BTC'", BALANCES),
        ("update read.ledger_balances set cash = cash + 1, fees = fees - 1 where currency = 'USDT'", BALANCES),
        ("copy read.ledger_balances set currency = 'EUR' where currency = 'BTC'", BALANCES),
        (f"delete from read.lots where account = '{BOB}' and symbol = 'BTCUSDT'", LOTS),
        (f"delete from read.lot_closings where account = '{BOB}'", LOTS),
        (f"delete from read.lot_positions where account = '{BOB}' and symbol = 'BTCUSDT'", LOTS),
        ("update read.lots set remaining = remaining + 1, quantity = quantity + 1 where symbol = 'BTCUSDT'", LOTS),
        ("update read.lots set realized_pnl = realized_pnl + 1 where symbol = 'BTC-USDT'", LOTS),
        ("update read.lot_closings set realized_pnl = realized_pnl + 1", LOTS),
        ("update read.lot_positions set opened_quantity = opened_quantity + 1", LOTS),
        (A_LOT_OF_NOTHING, LOTS),
        ("copy read.lot_closings set opened_position = opened_position + 1000", LOTS),
        ("copy read.lot_positions set symbol = 'X' where symbol = 'BTCUSDT'", LOTS),
    ],
)
def test_a_doctored_read_table_is_found_by_its_checks_and_by_no_others(
    superuser: psycopg.Connection[Any], doctoring: str, says_so: tuple[str, ...]
) -> None:
    before = as_auditor(superuser, FROM_THE_LOG)
    doctor(superuser, doctoring)

    told = [query for query, found in zip(CHECKS, as_auditor(superuser, CHECKS), strict=True) if found]
    assert told == checks_by_function(*says_so)
    assert as_auditor(superuser, FROM_THE_LOG) == before


def doctor(superuser: psycopg.Connection[Any], doctoring: str) -> None:
    """``copy <table> set ... where ...`` adds rows like those that it finds, changed as it says."""
    if not doctoring.startswith("copy "):
        superuser.execute(doctoring.encode())
        return
    table = doctoring.split()[1]
    superuser.execute(f"create temporary table added on commit drop as select * from {table}".encode())
    _, _, condition = doctoring.partition(" where ")
    if condition:
        superuser.execute(f"delete from added where not ({condition})".encode())
    superuser.execute(doctoring.partition(" where ")[0].replace(f"copy {table}", "update added").encode())
    superuser.execute(f"insert into {table} select * from added".encode())


A_COMMIT_BEFORE_THE_FIRST = """
insert into eventstore.commits
select shard, -1, 1, 0, recorded_at, previous_hash, hash
from eventstore.commits
limit 1
"""


@pytest.mark.parametrize(
    ("doctoring", "problem"),
    [
        ("update eventstore.events set payload = '{}' where type = 'OrderFilled'", "event-changed"),
        ("delete from eventstore.commands where type = 'RecordExecution'", "event-command"),
        (A_COMMIT_BEFORE_THE_FIRST, "commit-stray"),
        ("update eventstore.subscriptions set checkpoint = 1000 where name = 'orders'", "tail-missing"),
        (
            "alter table eventstore.commits disable trigger refuse_change",
            "table commits has no trigger that refuses changes",
        ),
    ],
)
def test_a_doctored_log_is_found(superuser: psycopg.Connection[Any], doctoring: str, problem: str) -> None:
    for table in ("events", "commands", "commits"):
        superuser.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
    superuser.execute(doctoring.encode())
    if "disable trigger" not in doctoring:
        for table in ("events", "commands", "commits"):
            superuser.execute(f"alter table eventstore.{table} enable always trigger refuse_change".encode())
    asked = [query for query in CHECKS if query.heading.startswith("10.")]
    assert problem in [value for found in as_auditor(superuser, asked) for row in found for value in row]


def test_what_is_not_projected_yet_is_not_missing(postgres: Postgres) -> None:
    dsn = postgres.create_database()
    prepare(dsn, SHARDS)
    asyncio.run(trade_a_little(dsn))
    for step in range(20):
        with psycopg.connect(dsn, autocommit=True) as connection:
            for path in projection_files():
                for shard in range(SHARDS):
                    asked = [path.stem, shard, step % 3 + 1]
                    connection.execute("select eventstore.projection_round('live', %s, %s, %s)", asked).fetchall()
        assert [query for query in CHECKS if rows(dsn, query.sql)] == []
    assert rows(dsn, "select * from audit.subscription_reach('orders') where checkpoint < head") == []
    postgres.drop_database(dsn)


# -- the answers -------------------------------------------------------------------------------------------------


def test_an_order_s_history(traded: str) -> None:
    history = "select type, actor, command_type, causation_id is null from audit.order_history({}, {})"
    assert rows(traded, history.format(f"'{ALICE}'", "'o-1'")) == [
        ("OrderCreated", "trader-7", "PlaceOrder", True),
        ("OrderFilled", None, "RecordExecution", False),
        ("OrderFilled", None, "RecordExecution", False),
    ]
    assert rows(traded, history.format("'bob/binance/live'", "'o-1'")) == []


def test_an_order_as_of_each_of_its_events(traded: str) -> None:
    states = f"""
        select
            s.last_event, s.status, s.quantity::text, s.cum_qty::text, s.leaves_qty::text, trim_scale(s.avg_px)::text,
            s.fees, s.last_log_position = h.log_position
        from audit.order_history('{BOB}', 'o-2') h
        cross join lateral audit.order_as_of('{BOB}', 'o-2', h.log_position) s
        order by h.log_position
    """
    assert rows(traded, states) == [
        ("OrderCreated", "CREATED", "4", "0", "4", "0", {}, True),
        ("OrderAccepted", "NEW", "4", "0", "4", "0", {}, True),
        ("OrderFilled", "PARTIALLY_FILLED", "4", "1", "3", "110", {"BTC": "0.01"}, True),
        ("OrderFilled", "PARTIALLY_FILLED", "4", "2", "2", "100", {"BTC": "0.01", "USDT": "0.2"}, True),
        ("FillBusted", "PARTIALLY_FILLED", "4", "1", "3", "90", {"BTC": "0", "USDT": "0.2"}, True),
        ("FillCorrected", "PARTIALLY_FILLED", "4", "3", "1", "91", {"BTC": "0", "USDT": "0.2"}, True),
        ("OrderReplaceRequested", "PENDING_REPLACE", "4", "3", "1", "91", {"BTC": "0", "USDT": "0.2"}, True),
        ("OrderReplaced", "PARTIALLY_FILLED", "5", "3", "2", "91", {"BTC": "0", "USDT": "0.2"}, True),
        ("OrderCancelRequested", "PENDING_CANCEL", "5", "3", "2", "91", {"BTC": "0", "USDT": "0.2"}, True),
        ("OrderCanceled", "CANCELED", "5", "3", "0", "91", {"BTC": "0", "USDT": "0.2"}, True),
    ]
    before = f"(select min(log_position) - 1 from audit.order_history('{BOB}', 'o-2'))"
    assert rows(traded, f"select * from audit.order_as_of('{BOB}', 'o-2', {before})") == []


def test_what_led_to_what(traded: str) -> None:
    fills = rows(traded, "select command_id from audit.command_log where type = 'RecordExecution' order by commit")
    tree = f"select depth, type, is_asked from audit.causation_tree('{fills[1][0]}')"
    assert sorted(rows(traded, tree)) == [
        (0, "PlaceOrder", False),
        (1, "RecordExecution", False),
        (1, "RecordExecution", True),
    ]
    for unknown in ("gen_random_uuid()", "null"):
        assert rows(traded, f"select * from audit.causation_tree({unknown})") == []


def test_what_a_position_is_made_of(traded: str) -> None:
    fills = f"select booked_quantity::text, quantity::text, order_id from audit.position_history('{ALICE}', {{}})"
    assert rows(traded, fills.format("'BTCUSDT'")) == [("0.5", "0.5", "o-1"), ("1.5", "2.0", "o-1")]
    assert rows(traded, fills.format("'BTC-USDT'")) == [("-3", "-3", "o-2"), ("1", "-2", "o-3")]
    assert rows(traded, fills.format("'ETHUSDT'")) == []
    told = "log_position, order_id, exec_id, booked_quantity, price, fee, command_id, actor"
    asked = f"('{ALICE}', 'BTCUSDT')"
    of_position = rows(traded, f"select {told} from audit.fills_of_position{asked}")
    assert of_position == rows(traded, f"select {told} from audit.position_history{asked}")
    assert [str(fill[3]) for fill in of_position] == ["0.5", "1.5"]


def test_what_was_denied(traded: str) -> None:
    (query,) = (query for query in QUERIES if "OrderDenied" in query.sql)
    assert sorted(row[3:] for row in rows(traded, query.sql)) == [
        (account, "o-4", "OrderDenied", "max-quantity", "10", "11") for account in (ALICE, BOB)
    ]


def test_what_was_not_applied(traded: str) -> None:
    told = "account, type, problem, order_id, exec_id, is_applied, raw_message"
    assert sorted(rows(traded, f"select {told} from audit.execution_exceptions")) == [
        (account, "UnmatchedExecutionRecorded", "unmatched", "o-9", "e-3", False, "35=8") for account in (ALICE, BOB)
    ]


def test_commands_and_what_became_of_them(traded: str) -> None:
    log = rows(
        traded,
        "select type, outcome, reason, first_position, last_position, events from audit.command_log"
        f" where aggregate_id = '{ALICE}' order by \"commit\"",
    )
    assert log[1] == ("PlaceOrder", "accepted", None, 2, 2, ["OrderCreated"])
    assert log[5] == ("RequestCancel", "refused", "unknown-order", None, None, None)


def test_between_two_times(traded: str) -> None:
    shard = shard_of(ALICE, SHARDS)
    between = f"select array_agg(position) filter (where shard = {shard}) from audit.events_between({{}}, {{}})"
    at = f"(select recorded_at from eventstore.commits where shard = {shard} and number = {{}})"
    assert rows(traded, between.format(at.format(2), at.format(4))) == [([2, 3],)]
    head = f"select array_agg(n) from generate_series(1, (eventstore.head({shard})).last_position) n"
    assert rows(traded, between.format("'-infinity'", "'infinity'")) == rows(traded, head)
    everything = "select count(*) from audit.events_between('-infinity', 'infinity')"
    assert rows(traded, everything) == rows(traded, "select count(*) from eventstore.events")
    assert rows(traded, between.format("'infinity'", "'infinity'")) == [(None,)]


def test_everything_explains_itself(traded: str) -> None:
    undocumented = """
        select p.proname
        from pg_proc p
        where p.pronamespace = 'audit'::regnamespace
            and obj_description(p.oid, 'pg_proc') is null
        union all
        select c.relname
        from pg_class c
        where c.relnamespace = 'audit'::regnamespace
            and obj_description(c.oid, 'pg_class') is null
    """
    assert rows(traded, undocumented) == []
