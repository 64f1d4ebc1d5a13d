"""What is committed asynchronously, and what never is: seen from inside each transaction, by triggers."""

from __future__ import annotations

import psycopg
import pytest

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.copies import connect_for_maintenance
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.conftest import name_of
from tests.readside.histories import write
from tests.readside.projecting import administering, caught_up, connected, projecting, status_of
from tests.readside.test_skipping import POISON
from tests.waiting import until

# Each row: what was written, and the synchronous_commit of the transaction that wrote it.
WATCH = """
create table public.seen (what text not null, synchronous_commit text not null);
grant insert on public.seen to public;
create function public.see() returns trigger language plpgsql as $$
begin
    insert into public.seen values (tg_argv[0], current_setting('synchronous_commit'));
    return null;
end
$$;
create trigger see after insert on eventstore.events for each statement execute function public.see('events');
create trigger see after insert on eventstore.commands for each statement execute function public.see('commands');
create trigger see after insert on eventstore.dead_letters for each statement execute function public.see('skip');
create trigger see after insert or update on eventstore.projections
    for each statement execute function public.see('swap');
create trigger see after truncate on read.fills for each statement execute function public.see('reset');
create trigger see after insert or update on read.order_books for each statement execute function public.see('round');
"""


def seen(dsn: str, what: str) -> set[str]:
    with connected(dsn) as connection:
        rows = connection.execute("select synchronous_commit from public.seen where what = %s", [what]).fetchall()
    return {row[0] for row in rows}


async def test_only_rounds_are_committed_asynchronously(database: str) -> None:
    """In a database whose own setting is off, too."""
    with connected(database) as connection:
        connection.execute(WATCH)
        connection.execute(
            psycopg.sql.SQL("alter database {} set synchronous_commit = off").format(
                psycopg.sql.Identifier(name_of(database))
            )
        )
    store = PostgresStore(database)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    async with projecting(database), administering(database) as admin:
        await bus.execute(open_account())
        await bus.execute(place("o-1"))
        await caught_up(database)
        assert seen(database, "round") == {"off"}, "the live projector"
        await admin.reset("fills")
        with connected(database) as connection:
            position = write(connection, [POISON])

        async def is_stopped() -> bool:
            return (await status_of(database, "orders")).error is not None

        await until(is_stopped)
        await admin.skip("orders", 0, position, reason="a broker's mistake", actor=None)
        await admin.rebuild("orders")
    await bus.stop()
    await store.close()
    for what in ("commands", "reset", "skip", "swap"):
        assert seen(database, what) == {"on"}, what
    assert "on" in seen(database, "events")


async def test_maintenance_may_take_its_time(database: str) -> None:
    with connected(database) as connection:
        connection.execute(
            psycopg.sql.SQL("alter database {} set statement_timeout = '50ms'").format(
                psycopg.sql.Identifier(name_of(database))
            )
        )
    session = await connect_for_maintenance(database)
    await session.execute("select pg_sleep(0.2)")
    await session.close()
    impatient = await connect(database, command_timeout_s=1)
    with pytest.raises(TimeoutError):
        await impatient.execute("select pg_sleep(60)")
    impatient.terminate()
