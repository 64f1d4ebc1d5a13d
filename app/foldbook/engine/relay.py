"""The relay that the settings ask for."""

from __future__ import annotations

from collections.abc import Awaitable

from foldbook.config import Settings
from foldbook.engine.holder import this_process
from foldbook.messaging.relay_process import RelayProcess


async def relay(settings: Settings, until: Awaitable[None]) -> None:
    """Relay the log until that is done."""
    assert settings.amqp_url is not None
    process = RelayProcess(
        settings.dsn,
        settings.amqp_url.get_secret_value(),
        settings.shards,
        this_process(),
        poll_interval_s=settings.poll_interval_ms / 1000,
    )
    await process.start()
    try:
        await until
    finally:
        await process.stop()
