"""Connections of the engine: codecs, keepalives, timeouts.

JSON travels as bytes in both directions, so that msgspec reads and writes it without a detour through ``str``. On the
wire, jsonb is its text after one version byte (``jsonb_send``, version 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeAlias

import asyncpg

from foldbook.errors import LogMismatch, StoreUnavailable

Connection: TypeAlias = "asyncpg.Connection[Any]"

COMMAND_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server that closes between two steps of one call confuses asyncpg
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,  # connections, disk, locks
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What a lost, restarting or exhausted server raises: nothing was wrong with the request."""


@contextmanager
def unreachable_as_unavailable() -> Iterator[None]:
    """Raises ``StoreUnavailable`` for everything that asyncpg raises if the database cannot be reached."""
    try:
        yield
    except UNREACHABLE as error:
        raise StoreUnavailable(f"the database cannot be reached: {error}") from error


# A session of the engine sets what it depends on when it connects, whatever the database or the role says.
_SERVER_SETTINGS = {
    "application_name": "foldbook",
    "timezone": "UTC",
    "jit": "off",
    # A command is answered after COMMIT: what was acknowledged must be on disk.
    "synchronous_commit": "on",
    # Both sides notice within some 20 s that the peer died without closing the connection.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "idle_in_transaction_session_timeout": "60000",
}


def _jsonb_to_wire(value: bytes) -> bytes:
    return b"\x01" + value


def _jsonb_from_wire(value: bytes) -> bytes:
    return bytes(value[1:])


async def set_codecs(connection: Connection) -> None:
    """jsonb and json as bytes."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_jsonb_to_wire, decoder=_jsonb_from_wire, format="binary"
    )
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


@contextmanager
def _in_its_role() -> Iterator[None]:
    """Translates the server's errors for a role that is missing, or that the login may not take on."""
    try:
        yield
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError) as error:
        raise LogMismatch(f"run `foldbook migrate` as the database's owner first: {error}") from error


async def connect(
    dsn: str, *, command_timeout_s: float = COMMAND_TIMEOUT_S, settings: Mapping[str, str] = MappingProxyType({})
) -> Connection:
    """One connection, for a reader or writer that keeps it.

    A statement that takes longer than ``command_timeout_s`` is canceled and raises ``TimeoutError``. ``settings`` are
    session settings that differ from the engine's defaults. Raises :class:`LogMismatch` if the role is missing.
    """
    with _in_its_role():
        connection: Connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=command_timeout_s,
            server_settings={**_SERVER_SETTINGS, **settings},
        )
    await set_codecs(connection)
    return connection


async def create_pool(dsn: str, *, min_size: int, max_size: int) -> asyncpg.Pool[Any]:
    """Connections for queries. ``max_size`` bounds how many run at once. Raises :class:`LogMismatch` if the role is
    missing."""
    with _in_its_role():
        pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
            dsn,
            min_size=min_size,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=_SERVER_SETTINGS,
            init=set_codecs,
        )
    return pool
