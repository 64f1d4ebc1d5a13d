"""A gateway process whose broker notes the time: ``python -m bench.brokers_gateway <GatewayTask as JSON>``.

It works until standard input closes, and then prints Stamps.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import uvloop
from uuid_utils.compat import uuid7

from foldbook.brokers.port import NewOrder, Outcome, Report, ReportKind
from foldbook.brokers.process import GatewayProcess
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.engine.gateways import now


class GatewayTask(msgspec.Struct, frozen=True, kw_only=True):
    dsn: str
    venue_url: str


class Stamps(msgspec.Struct, kw_only=True):
    """By client order id: when the order was given to the connection to the venue, and when its trade came from it."""

    sent: dict[str, float] = {}
    traded: dict[str, float] = {}


class StampingBroker(SimulatedBroker):
    """Notes when orders go out, and when trades come in."""

    stamps: Stamps

    async def submit(self, order: NewOrder) -> Outcome:
        self.stamps.sent.setdefault(order.client_order_id, time.time())
        return await super().submit(order)

    @asynccontextmanager
    async def _reports(self) -> AsyncIterator[AsyncIterator[Report]]:
        async with super()._reports() as reports:
            yield self._stamped(reports)

    async def _stamped(self, reports: AsyncIterator[Report]) -> AsyncIterator[Report]:
        async for report in reports:
            if report.kind is ReportKind.TRADE and report.client_order_id is not None:
                self.stamps.traded.setdefault(report.client_order_id, time.time())
            yield report


async def work(task: GatewayTask) -> Stamps:
    broker = StampingBroker(task.venue_url, now)
    broker.stamps = Stamps()
    gateway = GatewayProcess(task.dsn, "simulated", 1, lambda _: broker, "bench", now=now, new_id=uuid7)
    working = asyncio.create_task(gateway.run())
    try:
        await asyncio.to_thread(sys.stdin.read)
        gateway.stop()
        await working
    finally:
        await broker.close()
    return broker.stamps


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=GatewayTask)
    print(msgspec.json.encode(uvloop.run(work(task))).decode())
