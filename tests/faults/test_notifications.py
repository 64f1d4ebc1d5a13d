"""Somebody listens, reads nothing, and fills the queue of notifications: commands are answered all the same."""

from __future__ import annotations

import asyncio

import asyncpg

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.conftest import prepare
from tests.eventstore.test_store_contract import fates, opened
from tests.machinery.servers import servers
from tests.readside.projecting import caught_up, projecting
from tests.waiting import until


async def test_a_full_queue_of_notifications_delays_no_command() -> None:
    with servers(18) as rack:
        server = rack.primary(max_notify_queue_pages="64")
        prepare(server.dsn)
        sleeper = await asyncpg.connect(server.dsn_of("postgres"))
        store = PostgresStore(server.dsn)
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        await bus.execute(open_account())
        await sleeper.execute("listen nothing")
        await sleeper.execute("begin")
        await sleeper.execute("select 1")
        await fill(server.dsn_of("postgres"))

        results = await asyncio.gather(*(bus.execute(place(f"o-{n}")) for n in range(50)), bus.execute(place("alone")))
        assert len({result.position for result in results}) == 51
        async with projecting(server.dsn):
            await caught_up(server.dsn)

        # Once it is gone, whoever listens hears again.
        heard: list[str] = []
        listener = await asyncpg.connect(server.dsn_of("postgres"))
        await sleeper.execute("rollback")
        await sleeper.close()
        await listener.add_listener("foldbook_log", lambda *told: heard.append(str(told[3])))
        await bus.execute(place("after"))
        await until(lambda: heard == ["0:53"])
        await listener.close()
        await bus.stop()
        await store.close()


async def test_an_append_that_could_not_be_notified_is_sent_again() -> None:
    """The queue fills up between the moment when append asks, and its commit."""
    with servers(18) as rack:
        server = rack.primary(max_notify_queue_pages="64")
        prepare(server.dsn)
        sleeper = await asyncpg.connect(server.dsn_of("postgres"))
        await sleeper.execute("listen nothing")
        await sleeper.execute("begin")
        await sleeper.execute("select 1")
        store = PostgresStore(server.dsn)
        await fill(server.dsn_of("postgres"))
        # As long as this is there, append believes that there is room, once.
        server.execute(
            "create sequence public.asked; grant all on sequence public.asked to public;"
            " create function public.usage() returns double precision language sql"
            " return case when nextval('public.asked') > 1 then pg_notification_queue_usage() else 0 end",
            "foldbook",
        )
        server.execute(
            "create or replace function eventstore.notify(p_channel text, p_payload text) returns void language plpgsql"
            " as $$ begin if public.usage() < 0.5 then perform pg_notify(p_channel, p_payload); end if; end $$",
            "foldbook",
        )
        assert fates(await store.append(0, [opened()])) == ["appended"]
        assert server.execute("select last_value from public.asked", "foldbook") == [(2,)]
        await sleeper.close()
        await store.close()


async def fill(dsn: str) -> None:
    """Until nothing more fits."""
    filler = await asyncpg.connect(dsn)
    try:
        for payload_bytes in (7_000, 10):
            while True:
                await filler.execute(f"select pg_notify('nothing', repeat('x', {payload_bytes}))")
    except asyncpg.ProgramLimitExceededError:
        pass
    finally:
        await filler.close()
