"""Events are a permanent contract: every event ever written can be read today; one of a newer program is refused."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import asyncpg
import msgspec
import psycopg
import pytest

from foldbook.errors import UnreadableEvent
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.migrations import MigrationError, migrate
from foldbook.resources import ROOT
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.events import EVENT_TYPES, OrderFilled
from tests.builders import ACCOUNT, KEY, open_account, place, trade
from tests.readside.projecting import projecting, status_of
from tests.waiting import until

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))

BEFORE = {
    "OrderBookCreated": (),
    "OrderCreated": (),
    "FillBusted": ("OrderCreated", "OrderFilled"),
    "FillCorrected": ("OrderCreated", "OrderFilled"),
    "ExecutionBooked": (),
    "ExecutionBusted": ("ExecutionBooked",),
    "ExecutionCorrected": ("ExecutionBooked",),
    "AccountAdjusted": ("ExecutionBooked",),
}
"""What an event that cannot come first comes after; an order, if nothing is said."""

RENAMED_1 = """
create function upcast."OrderFilled_1"(payload jsonb) returns jsonb language sql immutable parallel safe
return payload - 'exec_id' || jsonb_build_object('execution', payload -> 'exec_id')
"""
RENAMED_2 = """
create function upcast."OrderFilled_2"(payload jsonb) returns jsonb language sql immutable parallel safe
return payload - 'execution' || jsonb_build_object('exec', payload -> 'execution')
"""


def test_there_is_a_golden_file_of_every_version_of_every_event() -> None:
    wanted = {
        f"{event_type.__name__}_{version}"
        for event_type in EVENT_TYPES.types
        for version in range(1, event_type.schema_version + 1)
    }
    assert {path.stem for path in GOLDEN} == wanted


def test_there_is_an_upcaster_from_every_version_but_the_last() -> None:
    wanted = {
        f"{event_type.__name__}_{version}"
        for event_type in EVENT_TYPES.types
        for version in range(1, event_type.schema_version)
    }
    assert {path.stem for path in (ROOT / "sql" / "upcasters").glob("*.sql")} == wanted


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_every_version_ever_released_is_read_and_folds(database: str, path: Path) -> None:
    name, version = re.fullmatch(r"(\w+)_(\d+)", path.stem).groups()  # type: ignore[union-attr]
    payload = json.loads(path.read_text())
    connection = await asyncpg.connect(database)
    await connection.execute(
        "insert into eventstore.events"
        " values (0, 1, 'order_book', $1, 1, $2, $3, $4, gen_random_uuid(), $5, '{}', now(), now(), '')",
        ACCOUNT,
        name,
        int(version),
        payload.get("order_id"),
        json.dumps(payload),
    )
    await connection.close()
    store = PostgresStore(database)
    (event,) = await store.read_aggregates(0, [(KEY, 0)])
    fact = EVENT_TYPES.decode(event.type, event.schema_version, event.payload)
    await store.close()
    assert type(fact).__name__ == name
    before = [EVENT_TYPES.decode(earlier, 1, _golden(earlier)) for earlier in BEFORE.get(name, ("OrderCreated",))]
    assert ORDER_BOOK.fold((*before, fact)) is not None
    if int(version) == type(fact).schema_version:
        assert json.loads(fact.payload()) == payload


def _golden(name: str) -> bytes:
    newest = max((path for path in GOLDEN if path.stem.startswith(f"{name}_")), key=lambda path: path.stem)
    return newest.read_bytes()


async def test_upcasters_run_on_read_for_every_reader_and_leave_the_row_alone(database: str) -> None:
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    for command in (open_account(), place(), trade("e-1", "1")):
        await bus.execute(command)
    await bus.stop()
    with psycopg.connect(database) as connection:
        connection.execute(RENAMED_1)
        connection.execute(RENAMED_2)
        connection.execute("update eventstore.code set sha256 = 'changed'")
    migrate(database, shard_count=1)

    recorded = (await store.read_log(0, 2, 1))[0]
    (by_subject,) = (e for e in await store.read_subjects(0, [(KEY, "o-1")]) if e.type == "OrderFilled")
    by_aggregate = (await store.read_aggregates(0, [(KEY, 2)]))[0]
    for event in (recorded, by_subject, by_aggregate):
        assert event.schema_version == 3
        assert json.loads(bytes(event.payload or b""))["exec"] == "e-1"
    await store.close()
    with psycopg.connect(database) as connection:
        assert connection.execute("select schema_version from eventstore.log order by position").fetchall() == [
            (1,),
            (1,),
            (3,),
        ]
        stored = connection.execute(
            "select schema_version, payload ->> 'exec_id' from eventstore.events where position = 3"
        )
        assert stored.fetchone() == (1, "e-1")


NOTHING_LEFT = """
create function upcast."OrderFilled_1"(payload jsonb) returns jsonb language sql immutable parallel safe
return case when payload ->> 'exec_id' <> 'e-bad' then payload end
"""


async def test_what_an_upcaster_returns_nothing_for_stops_whoever_needs_it_and_nobody_else(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = "bob/binance/simulated"
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    for command in (open_account(), place(), trade("e-bad", "1"), open_account(bob), place(account=bob)):
        await bus.execute(command)
    await bus.execute(msgspec.structs.replace(trade("e-good", "1"), account=bob))
    await bus.stop()
    with psycopg.connect(database) as connection:
        connection.execute(NOTHING_LEFT)
    migrate(database, shard_count=1, is_forced=True)
    monkeypatch.setattr(OrderFilled, "schema_version", 2)

    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    answers = await asyncio.gather(
        bus.execute(place("o-2")), bus.execute(place("o-2", account=bob)), return_exceptions=True
    )
    await bus.stop()
    assert isinstance(answers[0], UnreadableEvent)
    assert not isinstance(answers[1], BaseException)
    (event,) = await store.read_log(0, 2, 1)
    assert (event.type, bytes(event.payload)) == ("OrderFilled", b"null")
    await store.close()

    async with projecting(database):
        await until(lambda: stopped(database, "fills"))
    status = await status_of(database, "fills")
    assert status.error is not None
    assert (status.error.position, status.error.sqlstate) == (3, "FB031")


async def stopped(dsn: str, name: str) -> bool:
    return (await status_of(dsn, name)).error is not None


def test_a_missing_upcaster_is_reported_at_once(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(RENAMED_2)
        connection.execute("update eventstore.code set sha256 = 'changed'")
    with pytest.raises(MigrationError, match="an upcaster is missing") as missing:
        migrate(database, shard_count=1)
    cause = missing.value.__cause__
    assert isinstance(cause, psycopg.Error)
    assert cause.sqlstate == "FB002"
