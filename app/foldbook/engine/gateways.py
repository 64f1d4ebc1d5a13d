"""Who works the accounts: the gateways that the settings ask for, and the brokers that they work at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from uuid_utils.compat import uuid7

from foldbook.brokers.port import Broker
from foldbook.brokers.process import TERM_S, GatewayProcess
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.brokers.term import Opened
from foldbook.config import Settings
from foldbook.engine.holder import this_process

VENUE = "venue"

LIVE_TERM_S = 30.0
"""An exchange may take long to answer, and the lease must outlast that."""


class Gateways:
    """One process for each kind of broker that the settings name. ``environment``: where the credentials of live
    accounts are; ``tables``: what was read from their file before."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], tables: Mapping[str, Any] | None = None
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._environment = environment
        self._brokers: dict[str, Broker] = {}
        self._processes = [self._process(kind) for kind in settings.broker_kinds]

    async def run(self, until: Awaitable[None]) -> None:
        """Work until that is done."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for process in self._processes:
                    tasks.create_task(process.run(), name="gateway")
                await until
                for process in self._processes:
                    process.stop()
        finally:
            for broker in self._brokers.values():
                await broker.close()

    def _process(self, kind: str) -> GatewayProcess:
        return GatewayProcess(
            self._settings.dsn,
            kind,
            self._settings.shards,
            self._simulated if kind == "simulated" else self._live,
            this_process(),
            now=now,
            new_id=uuid7,
            poll_interval_s=self._settings.poll_interval_ms / 1000,
            term_s=TERM_S if kind == "simulated" else LIVE_TERM_S,
        )

    def _simulated(self, _: Opened) -> Broker:
        """All accounts share the connection to the venue."""
        if VENUE not in self._brokers:
            self._brokers[VENUE] = SimulatedBroker(self._settings.venue_address, now)
        return self._brokers[VENUE]

    def _live(self, opened: Opened) -> Broker:
        """Each account has its own."""
        from foldbook.brokers.live.broker import LiveBroker
        from foldbook.brokers.live.credentials import credentials_of
        from foldbook.brokers.live.settings import LiveSettings
        from foldbook.brokers.live.symbols import symbols_of

        account, opened_at = opened
        if account not in self._brokers:
            credentials = credentials_of(account, self._environment, self._tables)
            settings = LiveSettings(account=account, opened_at=opened_at)
            symbols = partial(symbols_of, self._settings.dsn, account)
            self._brokers[account] = LiveBroker(settings, credentials, now, symbols)
        return self._brokers[account]


def now() -> datetime:
    return datetime.now(UTC)
