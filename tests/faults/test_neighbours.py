"""What a hostile auditor with a login of its own can hold, flood or forge: trading, migrations and rebuilds go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import psycopg
import pytest

import foldbook.eventstore.readers.copies
import foldbook.postgres.migration_turn
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.migrations import MigrationError, migrate
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.conftest import prepare
from tests.machinery.servers import MAJORS, Server, servers
from tests.readside.projecting import administering
from tests.waiting import until

RELATIONS = """
select format('%I.%I', n.nspname, c.relname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'v')
    and has_schema_privilege(n.oid, 'usage')
    and has_table_privilege(c.oid, 'select')
    and n.nspname !~ '^pg_|^information_schema$'
"""


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with servers(request.param) as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        primary.execute(f"alter role {AUDITOR} login")
        yield primary


@pytest.fixture
def auditor(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with closing(psycopg.connect(server.dsn_of(AUDITOR))) as connection:
        yield connection


@asynccontextmanager
async def trading(server: Server, outage_max_s: float = 10.0) -> AsyncIterator[CommandBus]:
    store = PostgresStore(as_role(server.dsn, ENGINE))
    bus = CommandBus(store, ORDER_BOOK, limits=BusLimits(outage_max_s=outage_max_s))
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()
        await store.close()


async def test_it_holds_every_lock_that_it_may_take(
    server: Server, auditor: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foldbook.eventstore.readers.copies, "READERS_PATIENCE_S", 0.0)
    monkeypatch.setattr(foldbook.postgres.migration_turn, "AUDITORS_PATIENCE_S", 0.0)
    for number in (1178553162, 1178553164):
        auditor.execute("select pg_advisory_lock(%s), pg_advisory_lock(%s, hashtext('orders'))", [number, number])
    relations = [relation for (relation,) in auditor.execute(RELATIONS).fetchall()]
    assert {"eventstore.events", "read.orders", "audit.command_log"} <= {*relations}
    for relation in relations:
        auditor.execute(f"lock table {relation} in access share mode".encode())

    async with trading(server) as bus, administering(as_role(server.dsn, ENGINE)) as admin:
        await bus.execute(open_account("neighbours/binance/simulated"))
        await admin.rebuild("fills")  # Its reader is ended, and its locks are gone.
        with pytest.raises(psycopg.OperationalError):
            auditor.execute("select 1")
        await bus.execute(place("o-1", account="neighbours/binance/simulated"))
        with closing(psycopg.connect(server.dsn_of(AUDITOR))) as another:
            another.execute("select * from audit.command_log limit 1").fetchall()
            server.execute("update eventstore.code set sha256 = 'old'", "foldbook")
            migrate(server.dsn, 1)
            with pytest.raises(psycopg.OperationalError):
                another.execute("select 1")
        await bus.execute(place("o-2", account="neighbours/binance/simulated"))


def test_a_migration_names_whom_it_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        foldbook.postgres.migration_turn,
        "_TAKE_TURN",
        foldbook.postgres.migration_turn._TAKE_TURN.replace("'60s'", "'300ms'"),
    )
    with closing(psycopg.connect(server.dsn_of("postgres", "foldbook"), application_name="a dump")) as other:
        other.execute("lock table audit.command_log in access share mode")
        server.execute("update eventstore.code set sha256 = 'old'", "foldbook")
        with pytest.raises(MigrationError, match=f"process {other.info.backend_pid} of postgres .a dump."):
            migrate(server.dsn, 1)
        other.rollback()
        other.execute("lock table eventstore.code in exclusive mode")
        with pytest.raises(MigrationError, match=f"process {other.info.backend_pid} of postgres .a dump."):
            migrate(server.dsn, 1)
    migrate(server.dsn, 1)


async def test_it_floods_the_table_of_locks(server: Server, auditor: psycopg.Connection[Any]) -> None:
    """Nobody can be kept from that. Commands are answered with a clear error, and go on when it is over."""
    async with trading(server, outage_max_s=0.3) as bus:
        await bus.execute(open_account("flood/binance/simulated"))
        with pytest.raises(psycopg.errors.OutOfMemory), auditor.transaction():
            auditor.execute("select count(pg_advisory_lock(n)) from generate_series(1::bigint, 10000000) n")
        with pytest.raises(StoreUnavailable):
            await bus.execute(place("o-1", account="flood/binance/simulated"))
        auditor.close()

        async def is_answered() -> bool:
            try:
                await bus.execute(place("o-2", account="flood/binance/simulated"))
            except StoreUnavailable:
                return False
            return True

        await until(is_answered)
