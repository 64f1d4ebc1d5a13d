"""The hosts of a URL, tried one after the other as libpq does, each for ``connect_timeout``.

asyncpg tries them under one timeout, so that a host that says nothing would keep it from all others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import asyncpg

from foldbook.errors import reason_of
from foldbook.postgres.urls import DatabaseUrl

NEXT_HOST = (
    OSError,  # TimeoutError, too
    asyncpg.PostgresConnectionError,  # class 08: it was closed before it was one
    asyncpg.CannotConnectNowError,  # 57P03: starting up, shutting down, recovering
    asyncpg.TargetServerAttributeNotMatched,
)
"""What leads to the next host. Whatever else a server answers, such as that the password is wrong, is the answer."""

PATIENCE_S = 1.0
_silent: dict[str, float] = {}
"""When a host last let somebody wait in vain. Until it lets somebody in, it is tried after the others: whoever has less
patience than its ``connect_timeout`` would otherwise never reach them."""


async def reach(url: DatabaseUrl, **others: Any) -> tuple[asyncpg.Connection[Any], DatabaseUrl]:
    """A connection to the first host that is as the URL wants it, and the URL of that host alone. ``others``: more
    arguments of ``asyncpg.connect``.

    Raises ``ConnectionError`` with what each host said, and what a server answered to the login.
    """
    said: list[str] = []
    for host in _in_order(url.hosts()):
        try:
            return await _connect(host, others), host
        except NEXT_HOST as error:
            said.append(f"{host.address}: {_why(host, error)}")
            last = error
    raise ConnectionError("; ".join(said)) from last


async def _connect(host: DatabaseUrl, others: dict[str, Any]) -> asyncpg.Connection[Any]:
    began_s = time.monotonic()
    try:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(**host.for_asyncpg(), **others)
    except BaseException:  # also if whoever waited has given up
        if time.monotonic() - began_s >= PATIENCE_S:
            _silent[host.address] = time.monotonic()
        raise
    _silent.pop(host.address, None)
    return connection


def _in_order(hosts: Iterable[DatabaseUrl]) -> list[DatabaseUrl]:
    return sorted(hosts, key=lambda host: _silent.get(host.address, 0.0))


def _why(host: DatabaseUrl, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {host.connect_timeout_s} s"
    wanted = host.parameters.get("target_session_attrs")  # asyncpg also takes it from PGTARGETSESSIONATTRS
    if wanted is not None and isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return f"it is not {wanted}"
    return reason_of(error)
