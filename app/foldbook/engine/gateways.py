"""Who works the accounts: the gateways that the settings ask for, and the brokers that they work at."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import psutil
from uuid_utils.compat import uuid7

from foldbook.brokers.port import Broker
from foldbook.brokers.process import TERM_S, GatewayProcess
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.config import Settings

LIVE_TERM_S = 30.0
"""An exchange may take long to answer, and the lease must outlast that."""


def gateways(settings: Settings, environment: Mapping[str, str]) -> list[GatewayProcess]:
    """One for each kind of broker. ``environment``: where the credentials of live accounts are."""
    return [_gateway(settings, kind, environment) for kind in settings.broker_kinds]


def _gateway(settings: Settings, kind: str, environment: Mapping[str, str]) -> GatewayProcess:
    return GatewayProcess(
        settings.dsn,
        kind,
        settings.shards,
        _simulated(settings) if kind == "simulated" else _live(environment),
        f"process {os.getpid()} on {socket.gethostname()}, started {_started_at()}",
        now=now,
        new_id=uuid7,
        poll_interval_s=settings.poll_interval_ms / 1000,
        term_s=TERM_S if kind == "simulated" else LIVE_TERM_S,
    )


def now() -> datetime:
    return datetime.now(UTC)


def _started_at() -> str:
    return datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(timespec="seconds")


def _simulated(settings: Settings) -> Callable[[str], Broker]:
    """All accounts share the connection to the venue."""
    broker = SimulatedBroker(settings.venue_address, now)
    return lambda account: broker


def _live(environment: Mapping[str, str]) -> Callable[[str], Broker]:
    """Each account has its own."""
    from foldbook.brokers.live.broker import LiveBroker
    from foldbook.brokers.live.credentials import credentials_of
    from foldbook.brokers.live.settings import LiveSettings

    known: dict[str, Broker] = {}

    def of(account: str) -> Broker:
        if account not in known:
            credentials = credentials_of(account, environment)
            known[account] = LiveBroker(LiveSettings(account=account), credentials, now)
        return known[account]

    return of
