"""How services are connected to the engine: on this machine, or over RabbitMQ."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from foldbook.config import Settings, own_key

if TYPE_CHECKING:
    from foldbook.messaging.transport import Transport

SIMULATED = "simulated"
"""The broker of accounts that trade at the simulated venue, and the name of that venue."""


class Way(StrEnum):
    LOCAL = "local"
    AMQP = "amqp"


def default_way(settings: Settings) -> Way:
    return Way.LOCAL if settings.amqp_url is None else Way.AMQP


def transport_of(settings: Settings, way: Way, account: str, venue_url: str) -> Transport:
    """For a service that works ``account``, with the key of whoever runs it. ``venue_url``: where its market data are
    from on this machine; over RabbitMQ it is the venue at which the account trades."""
    from foldbook.messaging.amqp import AmqpTransport
    from foldbook.messaging.local import LocalTransport

    key = None if settings.access == "open" else own_key(settings)
    if way is Way.LOCAL:
        return LocalTransport(settings.url, key, settings.dsn, venue_url)
    assert settings.amqp_url is not None
    return AmqpTransport(settings.amqp_url.get_secret_value(), key, settings.shards, venue_of(account))


def venue_of(account: str) -> str:
    """The venue whose market data an account trades on."""
    _, exchange, broker = account.split("/")
    return SIMULATED if broker == SIMULATED else exchange
