"""Connections of the engine: codecs, keepalives, timeouts.

JSON travels as bytes in both directions, so that msgspec reads and writes it without a detour through ``str``. jsonb
on the wire is its text behind one version byte (``jsonb_send``, version 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from foldbook.errors import LogMismatch

COMMAND_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server's farewell between two steps of one call leaves asyncpg confused
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TransactionRollbackError,
    asyncpg.DiskFullError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What a lost, restarting or exhausted server raises: nothing was wrong with what was asked."""

_SERVER_SETTINGS = {
    "application_name": "foldbook",
    "timezone": "UTC",
    "jit": "off",
    # A peer that died without a word is noticed within some 20 s, on both sides.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
    "idle_in_transaction_session_timeout": "60000",
}


def _jsonb_to_wire(value: bytes) -> bytes:
    return b"\x01" + value


def _jsonb_from_wire(value: bytes) -> bytes:
    return bytes(value[1:])


async def set_codecs(connection: asyncpg.Connection[Any]) -> None:
    """jsonb and json as bytes."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_jsonb_to_wire, decoder=_jsonb_from_wire, format="binary"
    )
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


@contextmanager
def _in_its_role() -> Iterator[None]:
    """What a server says to a role that is not there, or that the login may not take on."""
    try:
        yield
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError) as error:
        raise LogMismatch(f"run `foldbook migrate` as the database's owner first: {error}") from error


async def connect(dsn: str) -> asyncpg.Connection[Any]:
    """One connection, for a reader or writer that keeps it. Raises :class:`LogMismatch` if its role is missing."""
    with _in_its_role():
        connection: asyncpg.Connection[Any] = await asyncpg.connect(
            dsn, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S, server_settings=_SERVER_SETTINGS
        )
    await set_codecs(connection)
    return connection


async def create_pool(dsn: str, *, min_size: int, max_size: int) -> asyncpg.Pool[Any]:
    """Connections for questions. ``max_size`` bounds how many are asked at once. Raises :class:`LogMismatch` if its
    role is missing."""
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
