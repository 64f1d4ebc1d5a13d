"""Several hosts in a URL: whichever library connects, it reaches the one that can be used, as libpq does."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import asyncpg
import psycopg
import pytest

from foldbook.engine.rabbit import free_port
from foldbook.postgres import blocking, hosts
from foldbook.postgres.connection import UNREACHABLE, connect, create_pool
from foldbook.postgres.urls import parse
from tests.conftest import prepare
from tests.machinery.pooler import pooler
from tests.machinery.servers import Server, servers
from tests.waiting import block_until

PLACE = "select inet_server_port(), pg_is_in_recovery()"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Server, Server]]:
    """A primary and its replica."""
    with servers() as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        replica = rack.replica(primary)
        block_until(lambda: replica.has_replayed(primary))
        yield primary, replica


@pytest.fixture(autouse=True)
def _nobody_was_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_silent", {})


async def _by_connect(dsn: str) -> tuple[int, bool]:
    connection = await connect(dsn)
    try:
        return tuple(await connection.fetchrow(PLACE) or ())
    finally:
        connection.terminate()


async def _by_pool(dsn: str) -> tuple[int, bool]:
    pool = await create_pool(dsn, min_size=1, max_size=2)
    try:
        for _ in range(2):  # what is returned to the pool stays as it is
            place = await pool.fetchrow(PLACE)
        assert await pool.fetchval("""select '{"a": 1}'::jsonb""") == b'{"a": 1}', "its codecs are set"
        return tuple(place or ())
    finally:
        pool.terminate()


def _by_psycopg(dsn: str) -> tuple[int, bool]:
    with blocking.connect(dsn) as connection:
        return connection.execute(PLACE).fetchone()  # type: ignore[return-value]


OPENERS: dict[str, Callable[[str], tuple[int, bool]]] = {
    "asyncpg": lambda dsn: asyncio.run(_by_connect(dsn)),
    "pool": lambda dsn: asyncio.run(_by_pool(dsn)),
    "psycopg": _by_psycopg,
}
SILENT, CLOSING, STARTING, PASSWORD = "silent", "closing", "57P03", "28P01"


@contextmanager
def host(says: str) -> Iterator[int]:
    """The port of something that accepts connections, and is no server that can be used."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    kept.append(taken)
                    if says == CLOSING:
                        taken.close()
                    elif says != SILENT:
                        _refuse(taken, says)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for taken in kept:
                taken.close()


def _refuse(taken: socket.socket, sqlstate: str) -> None:
    taken.recv(10_000)  # StartupMessage
    fields = b"".join(f"{kind}{text}\0".encode() for kind, text in (("S", "FATAL"), ("C", sqlstate), ("M", "refused")))
    taken.sendall(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
    taken.close()


def url_of(*ports: int, **parameters: object) -> str:
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    given = {"sslmode": "disable", "connect_timeout": 2, "target_session_attrs": "read-write"} | parameters
    return f"postgresql://foldbook@{places}/foldbook?" + "&".join(f"{name}={value}" for name, value in given.items())


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("says", [SILENT, CLOSING, STARTING])
def test_a_host_that_lets_nobody_in_leads_to_the_next_one(pair: tuple[Server, Server], says: str, opener: str) -> None:
    primary, _ = pair
    with host(says) as port:
        assert OPENERS[opener](url_of(port, primary.port)) == (primary.port, False)
        # Also while TLS is asked for.
        assert OPENERS[opener](url_of(port, primary.port, sslmode="prefer")) == (primary.port, False)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    ("attributes", "is_replica"),
    [
        ("any", True),
        ("read-write", False),
        ("primary", False),
        ("read-only", True),
        ("standby", True),
        ("prefer-standby", True),
    ],
)
def test_the_host_is_as_the_url_wants_it(
    pair: tuple[Server, Server], attributes: str, is_replica: bool, opener: str
) -> None:
    primary, replica = pair
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody: int = closed.getsockname()[1]
        wanted = url_of(nobody, replica.port, primary.port, target_session_attrs=attributes)
        assert OPENERS[opener](wanted) == ((replica if is_replica else primary).port, is_replica)
        if attributes == "prefer-standby":
            assert OPENERS[opener](url_of(primary.port, replica.port, target_session_attrs=attributes))[1]
            assert not OPENERS[opener](url_of(nobody, primary.port, target_session_attrs=attributes))[1]


async def test_a_refused_login_is_the_answer(pair: tuple[Server, Server]) -> None:
    """The next host is not asked: it would be asked with a wrong password for ever."""
    primary, _ = pair
    with host(PASSWORD) as port, pytest.raises(asyncpg.InvalidPasswordError):
        await connect(url_of(port, primary.port))


async def test_if_no_host_can_be_used_it_is_said_of_each_why(pair: tuple[Server, Server]) -> None:
    _, replica = pair
    nobody = free_port()
    with host(SILENT) as silent, host(STARTING) as starting:
        dsn = url_of(silent, nobody, starting, replica.port, connect_timeout=1, password="hunter2")
        for attempt in (connect, partial(create_pool, min_size=1, max_size=1)):
            with pytest.raises(UNREACHABLE) as refused:
                await attempt(dsn)
            told = str(refused.value)
            for words in (
                f"127.0.0.1:{silent}: no answer within 1 s",
                f"127.0.0.1:{nobody}: [Errno 111]",
                f"127.0.0.1:{starting}: refused",
                f"127.0.0.1:{replica.port}: it is not read-write",
            ):
                assert words in told
            assert "hunter2" not in told


async def test_whoever_has_little_patience_is_led_past_a_host_that_was_silent(pair: tuple[Server, Server]) -> None:
    """A reader gives up sooner than ``connect_timeout``: at first in vain, and not for ever."""
    primary, _ = pair
    with host(SILENT) as port:
        dsn = url_of(port, primary.port, connect_timeout=30)
        pool = await create_pool(dsn, min_size=0, max_size=1)
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=hosts.PATIENCE_S + 0.2)
        async with pool.acquire(timeout=hosts.PATIENCE_S) as connection:
            assert await connection.fetchval("select inet_server_port()") == primary.port
        pool.terminate()
        silent, other = parse(dsn).hosts()
        assert hosts._in_order([silent, other]) == [other, silent]
        assert hosts._in_order([silent]) == [silent], "it is still asked if there is no other"
        hosts._silent[other.address] = time.monotonic()
        assert hosts._in_order([other, silent]) == [silent, other]


async def test_a_host_that_is_back_has_its_place_again(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    hosts._silent[f"127.0.0.1:{primary.port}"] = time.monotonic()
    dsn = url_of(primary.port, replica.port, target_session_attrs="any")
    assert await _by_connect(dsn) == (replica.port, True)
    assert await _by_connect(url_of(primary.port)) == (primary.port, False)
    assert await _by_connect(dsn) == (primary.port, False)


@pytest.mark.parametrize("opener", OPENERS)
def test_the_probe_for_a_pooler_asks_the_host_that_was_reached(
    pair: tuple[Server, Server], opener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host lets nobody in at first, and then it does: a probe that went there would prove nothing."""
    primary, replica = pair
    asked: list[Any] = []
    whole = asyncpg.connect

    async def watched(**arguments: Any) -> Any:
        asked.append(arguments["port"])
        return await whole(**arguments)

    with pooler(primary.port, "session") as url:
        reached = parse(url).hosts()[0].parameters["port"]
        dsn = url_of(replica.port, int(reached))
        monkeypatch.setattr(asyncpg, "connect", watched)
        assert OPENERS[opener](dsn) == (primary.port, False)
    assert asked[-1] == int(reached)
    assert asked.count(replica.port) == (0 if opener == "psycopg" else 1)


def test_psycopg_says_it_of_each_host_too(pair: tuple[Server, Server]) -> None:
    _, replica = pair
    with host(SILENT) as silent, pytest.raises(psycopg.OperationalError) as refused:
        blocking.connect(url_of(silent, replica.port))
    assert str(silent) in str(refused.value) and str(replica.port) in str(refused.value)
