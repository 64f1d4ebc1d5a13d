"""``python -m tests.brokers.matrix.nursery``: gateways that can be caught, each a process of its own.

Everything is imported once; a line with a ``Start`` on standard input forks a gateway, and its process id is printed.
At the end of the input all of them are killed. The product knows nothing of traps: they are in a broker and a store
that are wrapped around it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import msgspec
from uuid_utils.compat import uuid7

import foldbook.brokers.term
import foldbook.brokers.venue_session
from foldbook.brokers.port import Answer, NewOrder, OrderRef, OrderState, Outcome, Terms
from foldbook.brokers.process import GatewayProcess
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.brokers.venue_session import Connection
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Proposal, Verdict
from tests.brokers.matrix.traps import ATTEMPTS, Request, Said, Start, Step, Told, Trap

T = TypeVar("T")


class Snare:
    """The trap of this process."""

    def __init__(self, trap: Trap | None) -> None:
        self.trap = trap
        self.is_meant = False
        """Is a request under way that the trap is for?"""
        self.is_sent = False

    def set(self, trap: Trap) -> None:
        self.trap, self.is_sent = trap, False

    def spring(self, step: Step) -> None:
        """It is at this step: if the trap is there, this process goes no further."""
        trap = self.trap
        if trap is not None and trap.step is step:
            self.trap = None
            os.kill(os.getpid(), signal.Signals[trap.catch])

    def is_for(self, account: str, request: Request) -> bool:
        return self.trap is not None and (self.trap.account, self.trap.request) == (account, request)


snare = Snare(None)


class CatchingStore(PostgresStore):
    async def append(self, shard: int, proposals: Sequence[Proposal]) -> list[Verdict]:
        trap = snare.trap
        events = [event for p in proposals if trap and p.command.aggregate_key.id == trap.account for event in p.events]
        is_attempt = trap is not None and any(trap.request.is_attempted_by(event) for event in events)
        if is_attempt:
            snare.spring(Step.BEFORE_ATTEMPT)
        if snare.is_sent and any(not isinstance(event, ATTEMPTS) for event in events):
            snare.spring(Step.BEFORE_COMMIT)
        verdicts = await super().append(shard, proposals)
        if is_attempt:
            snare.spring(Step.AFTER_ATTEMPT)
        return verdicts


class CatchingConnection(Connection):
    async def send(self, lines: list[bytes]) -> None:
        await super().send(lines)
        trap = snare.trap
        if trap is not None and snare.is_meant and any(trap.account.encode() in line for line in lines):
            snare.is_sent = True
            snare.spring(Step.DURING_SEND)


class CatchingBroker(SimulatedBroker):
    async def submit(self, order: NewOrder) -> Outcome:
        request = Request.SUBMIT if order.client_order_id.endswith(":1") else Request.NEW_LEG
        return await self._send(order.account, request, partial(super().submit, order))

    async def cancel(self, order: OrderRef, request_id: str) -> Outcome:
        trap = snare.trap
        is_of_leg = trap is not None and trap.request is Request.CANCEL_OF_LEG
        request = Request.CANCEL_OF_LEG if is_of_leg else Request.CANCEL
        return await self._send(order.account, request, partial(super().cancel, order, request_id))

    async def replace(self, order: OrderRef, terms: Terms, request_id: str) -> Outcome:
        return await self._send(order.account, Request.REPLACE, partial(super().replace, order, terms, request_id))

    async def _send(self, account: str, request: Request, send: Callable[[], Awaitable[T]]) -> T:
        if not snare.is_for(account, request):
            return await send()
        snare.is_meant = True
        try:
            return await send()
        finally:  # Also if the answer is that there was none in time.
            snare.is_meant = False
            snare.spring(Step.AFTER_ACK)

    async def open_orders(self, account: str) -> Answer[OrderState]:
        if snare.trap is not None and snare.trap.account == account:
            snare.spring(Step.RECONCILING)
        return await super().open_orders(account)


def now() -> datetime:
    return datetime.now(UTC)


async def serve(start: Start) -> None:
    """One gateway, until it is told to end."""
    if start.trap is not None:
        snare.set(start.trap)
    broker = CatchingBroker(start.venue_url, now, send_s=start.send_s, settle_s=start.settle_s)
    gateway = GatewayProcess(
        start.dsn,
        "simulated",
        1,
        lambda _: broker,
        start.holder,
        now=now,
        new_id=uuid7,
        poll_interval_s=0.2,
        term_s=start.term_s,
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            told = msgspec.json.decode(line, type=Told)
            if told.trap is not None:
                snare.set(told.trap)
            writer.write(msgspec.json.encode(_say(gateway, told.account)) + b"\n")
        gateway.stop()
        writer.close()

    async with await asyncio.start_unix_server(answer, start.control):
        await gateway.run()
    await broker.close()


def _say(gateway: GatewayProcess, account: str | None) -> Said:
    term = gateway.term
    if term is None:
        return Said(is_working=False, is_idle=False, sequence=0)
    sequence = 0 if account is None else term.sequence_of(account)
    return Said(is_working=term.is_working, is_idle=term.is_idle, sequence=sequence)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    vars(foldbook.brokers.term)["PostgresStore"] = CatchingStore
    vars(foldbook.brokers.venue_session)["Connection"] = CatchingConnection
    children: list[int] = []
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asyncio.run(serve(msgspec.json.decode(line, type=Start)))
            os._exit(0)
        children.append(child)
        print(child, flush=True)
    for child in children:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
