"""Rebuilds of every projection at once, while the bus is kept as busy as it can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import cancel, open_account, place, report, trade
from tests.readside.projecting import NAMES, administering, assert_equal_to_fresh_folds, caught_up, projecting

CALLERS = 64
ACCOUNTS = [f"user-{n}/binance/simulated" for n in range(10)]


@asynccontextmanager
async def full_write_load(dsn: str) -> AsyncIterator[CommandBus]:
    """Callers that send their next command as soon as the last one was answered. The log must be empty."""
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    for account in ACCOUNTS:
        await bus.execute(open_account(account))
    is_over = asyncio.Event()

    async def call(caller: int) -> None:
        account = ACCOUNTS[caller % len(ACCOUNTS)]
        for n in count():
            order_id = f"o-{caller}-{n}"
            await bus.execute(place(order_id, account))
            await bus.execute(report("NEW", order_id, account))
            await bus.execute(trade("e-1", "0.5", order_id=order_id, account=account))
            if n % 2:
                await bus.execute(trade("e-2", "1.5", order_id=order_id, account=account))
            elif n % 4:
                await bus.execute(cancel(order_id, account))
                await bus.execute(report("CANCELED", order_id, account))
            if is_over.is_set():
                return

    async with asyncio.TaskGroup() as group:
        for caller in range(CALLERS):
            group.create_task(call(caller))
        try:
            yield bus
        finally:
            is_over.set()
    await bus.stop()
    await store.close()


async def rebuild_under_load(dsn: str, is_another_wanted: Callable[[], bool]) -> None:
    """Rebuild and verify, then ask whether to do it again."""
    async with projecting(dsn), administering(dsn) as admin:
        async with full_write_load(dsn) as bus:
            is_wanted = True
            while is_wanted:
                before = bus.commands_total
                await asyncio.gather(*map(admin.rebuild, NAMES))
                assert bus.commands_total > before
                for verified in await asyncio.gather(*map(admin.verify, NAMES)):
                    assert verified.equal, bytes(verified.differences).decode()
                is_wanted = is_another_wanted()
        await caught_up(dsn)
    await assert_equal_to_fresh_folds(dsn)
