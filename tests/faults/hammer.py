"""A separate engine process that hammers one account with orders and prints the answers.

``python -m tests.faults.hammer DSN NAME COUNT`` prints one line per acknowledged order: its id, position, sequence.
"""

from __future__ import annotations

import asyncio
import sys

from foldbook.errors import Refusal
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place

CALLERS = 16


async def main(dsn: str, name: str, count: int) -> None:
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    try:
        await bus.execute(open_account())
    except Refusal as refusal:
        if refusal.code != "already-exists":
            raise

    async def call(caller: int) -> None:
        for n in range(count // CALLERS):
            order_id = f"{name}-{caller}-{n}"
            result = await bus.execute(place(order_id))
            print(order_id, result.position, result.sequence, flush=True)

    await asyncio.gather(*(call(caller) for caller in range(CALLERS)))
    await bus.stop()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
