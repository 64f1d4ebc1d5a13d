"""Connections of the engine: codecs, keepalives, timeouts, and the settings that a session must have (``sessions``).

JSON travels as bytes in both directions, so that msgspec reads and writes it without a detour through ``str``. On the
wire, jsonb is its text after one version byte (``jsonb_send``, version 1).
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import asyncpg

from foldbook.errors import LogMismatch
from foldbook.postgres import sessions
from foldbook.postgres.hosts import reach
from foldbook.postgres.pooling import Probe, pooled
from foldbook.postgres.program import WHOSE_CODE, refuse_newer
from foldbook.postgres.sqlstates import UNREACHABLE, unreachable_as_unavailable
from foldbook.postgres.urls import DatabaseUrl, parse

__all__ = ["COMMAND_TIMEOUT_S", "UNREACHABLE", "Connection", "connect", "create_pool", "unreachable_as_unavailable"]

Connection: TypeAlias = "asyncpg.Connection[Any]"

COMMAND_TIMEOUT_S = 30.0

_SET = sessions.SET.format(names="$1", values="$2")
_LOOK = sessions.LOOK.format(names="$1")


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


async def connect(
    dsn: str, *, command_timeout_s: float = COMMAND_TIMEOUT_S, settings: Mapping[str, str] = MappingProxyType({})
) -> Connection:
    """One connection, for a reader or writer that keeps it.

    A statement that takes longer than ``command_timeout_s`` is canceled and raises ``TimeoutError``. ``settings`` are
    session settings that differ from the pinned ones, as ``SHOW`` shows them. Raises :class:`LogMismatch` if the role
    is missing or a newer program has migrated the database, :class:`~foldbook.errors.SessionRefused` if the database
    does not give such a session, and ``UrlError``.
    """
    return await _open(parse(dsn), settings, command_timeout=command_timeout_s)


async def create_pool(
    dsn: str, *, min_size: int, max_size: int, admit: Callable[[Connection], Awaitable[object]] | None = None
) -> asyncpg.Pool[Any]:
    """Connections for queries. ``max_size`` bounds how many run at once. ``admit`` is called with each new one, and may
    raise. Raises what ``connect`` does."""
    url = parse(dsn)

    async def open_one(dsn: str | None = None, **of_pool: Any) -> Any:
        return await _open(url, {}, **of_pool)

    async def begin(connection: Connection) -> None:
        if admit is not None:
            await admit(connection)

    pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
        min_size=min_size,
        max_size=max_size,
        command_timeout=COMMAND_TIMEOUT_S,
        connect=open_one,
        init=begin,
        reset=_keep,
    )
    return pool


async def _open(url: DatabaseUrl, settings: Mapping[str, str], **arguments: Any) -> Connection:
    connection, host = await reach(url, **arguments)
    try:
        await _prepare(connection, url=host, settings=settings)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _keep(connection: Any) -> None:
    """Between two users of a pool: what a session has set stays. An open transaction has been rolled back before."""


async def _prepare(connection: Any, *, url: DatabaseUrl, settings: Mapping[str, str]) -> None:
    """Makes a connection the session that is asked for, and makes sure of it. ``url``: of the host that it leads to."""
    asked = sessions.wanted(url.settings, settings, url.role)
    try:
        await _set(connection, asked)
        found = await _look(connection, asked)
        if found.backend != connection.get_server_pid():
            # What answered is not what the connection was made to: there is a pooler.
            found = await _refuse_pooling(connection, asked, url)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        raise pooled(error) from error
    sessions.check(asked, found)
    if found.knows_program:
        refuse_newer(await connection.fetchval(WHOSE_CODE))
    _keep_alive(connection, url)
    await set_codecs(connection)


async def _set(connection: Connection, asked: sessions.Wanted) -> None:
    try:
        await connection.execute(_SET, *asked.to_set)
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError) as error:
        if asked.role is None:
            raise
        raise LogMismatch(f"run `foldbook migrate` as the database's owner first: {error}") from error


async def _look(connection: Connection, asked: sessions.Wanted) -> sessions.Found:
    row = await connection.fetchrow(_LOOK, asked.to_look_at)
    assert row is not None
    return sessions.Found(*row)


async def _refuse_pooling(connection: Connection, asked: sessions.Wanted, url: DatabaseUrl) -> sessions.Found:
    other, _ = await reach(url, command_timeout=COMMAND_TIMEOUT_S)
    try:
        return await Probe(other, partial(_look, connection, asked)).run()
    finally:
        other.terminate()


def _keep_alive(connection: Connection, url: DatabaseUrl) -> None:
    """TCP keepalives of this side, which asyncpg leaves at the system's two hours."""
    sock: socket.socket | None = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    wanted = {name: int(value) for name, value in url.keepalives.items()}
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, wanted["keepalives"])
    for name, option in _SOCKET_OPTIONS.items():
        if (value := wanted.get(name, int(url.parameters.get(name, 0)))) > 0:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


_SOCKET_OPTIONS = {
    libpq: getattr(socket, name)
    for libpq, name in {
        "keepalives_idle": "TCP_KEEPIDLE",
        "keepalives_interval": "TCP_KEEPINTVL",
        "keepalives_count": "TCP_KEEPCNT",
        "tcp_user_timeout": "TCP_USER_TIMEOUT",
    }.items()
    if hasattr(socket, name)
}
