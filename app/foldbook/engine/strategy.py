"""``foldbook strategy run``: builds the account, the transport and the runner of one strategy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from foldbook.config import Settings
from foldbook.engine.transports import Way, transport_of
from foldbook.eventstore.events import Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.services.strategy.account import Account, read_tables
from foldbook.services.strategy.opening import id_in, open_account
from foldbook.services.strategy.runner import Runner
from foldbook.services.strategy.service import StrategyService
from foldbook.services.strategy.telling import line_of
from foldbook.services.strategy.world import Settings as WorldSettings
from foldbook.strategies.loading import load_strategy, with_parameters

GRACE_S = 5.0
"""How long a strategy that is stopped may take to send its last commands."""


class StrategyJob(msgspec.Struct, frozen=True, kw_only=True):
    """``strategy``: FILE.py:CLASS or package.module:CLASS. ``cash``: what the account begins with, if it is not there.
    ``way``: how it is connected. ``is_data_clock``: the market data are the strategy's clock, not the machine."""

    strategy: str
    account: str
    symbols: tuple[str, ...]
    parameters: Mapping[str, str] = {}
    strategy_id: str | None = None
    cash: Decimal
    currency: str | None = None
    way: Way
    venue_url: str
    is_data_clock: bool = False


async def run_strategy(
    settings: Settings, job: StrategyJob, stopped: Coroutine[Any, Any, None], say: Callable[[str], None]
) -> str | None:
    """Until ``stopped`` returns, or the strategy raises; then the answer says why. What it does is said in lines.

    Raises ``StrategyError`` for a strategy that cannot be loaded, and what the database raises at the start.
    """
    cls = load_strategy(job.strategy)
    strategy = with_parameters(cls, job.parameters)
    strategy_id = job.strategy_id or cls.__name__
    account = Account(store := PostgresStore(settings.dsn), job.account, strategy_id, settings.shards)
    transport = transport_of(settings, job.way, job.account, job.venue_url)

    def on_event(event: Event) -> None:
        line = line_of(event, account, strategy_id)
        if line is not None:
            say(line)

    runner = Runner(
        strategy,
        transport.commands,
        account,
        WorldSettings(strategy_id=strategy_id, symbols=job.symbols, history_max=cls.history_max, currency=job.currency),
        now_ns=None if job.is_data_clock else time.time_ns,
        on_event=on_event,
    )
    service = StrategyService(runner, transport.market(job.symbols), poll_interval_s=settings.poll_interval_ms / 1000)
    transport.listen(job.account, service.hint)
    lost: list[str] = []

    async def end_if_lost() -> None:
        """What the strategy rests on is partly gone; a new start reads its account again."""
        if store.losses:
            lost.append(f"the log does not have any more what it saw: {store.losses[-1].describe()}; start it again")
            service.stop()

    store.on_another_run = end_if_lost

    async def work() -> None:
        is_new = await open_account(
            transport.commands,
            job.account,
            job.symbols,
            cash=job.cash,
            currency=job.currency,
            now=datetime.now(UTC),
            id_of=id_in(job.account),
            reference=f"strategy:{strategy_id}",
        )
        say(f"{strategy_id} in {job.account}" + (f", opened with {job.cash:f}" if is_new else ""))
        await service.run(read_tables(settings.dsn))

    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        await stack.enter_async_context(transport)
        running = asyncio.create_task(work())
        stopping = asyncio.create_task(stopped)
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        service.stop()
        # It is not waited for without end: while the engine or the database is away, it tries again.
        await asyncio.wait([running], timeout=GRACE_S)
        running.cancel()
        await asyncio.wait([running])
        if running.cancelled():
            say(f"{strategy_id} was interrupted; what it sent last may not be in the log")
            return runner.error or next(iter(lost), None)
        running.result()
    held = ", ".join(f"{account.book.position_qty(symbol):f} {symbol}" for symbol in job.symbols)
    say(f"{strategy_id} has ended; position {held}")
    return runner.error or next(iter(lost), None)
