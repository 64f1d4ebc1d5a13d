"""Where a run happens: one fresh embedded PostgreSQL, a database for each contestant, child processes for the load."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import psutil
import psycopg
from psycopg import sql

from foldbook.engine.rabbit import free_port
from foldbook.postgres.embedded import SETTINGS, EmbeddedPostgres
from foldbook.postgres.migrations import migrate

ROOT = Path(__file__).resolve().parents[1]
SQL = Path(__file__).resolve().parent / "sql"
ACCOUNTS = 10_000
"""Of a filled log, unless said otherwise."""
COMMIT_SIZE = 50
CONNECTIONS_MAX = "200"
"""Whoever takes turns stays connected meanwhile."""
READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30

T = TypeVar("T")


class Arena:
    """The server of one run and its databases. ``folder`` is the temporary folder that all of it lives in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = EmbeddedPostgres(folder / "data", {**SETTINGS, "max_connections": CONNECTIONS_MAX})
        self._filled: dict[tuple[int, int, int], str] = {}

    @property
    def dsn(self) -> str:
        """The database ``foldbook``, with nothing in it."""
        return self._server.dsn

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def create_database(self, template: str | None = None) -> str:
        """The DSN of a new database: a copy of the one at the DSN ``template``, which must have no connections, or a
        migrated, empty one."""
        if template is not None:
            return self._create_database(_name_of(template))
        dsn = self.create_empty_database()
        migrate(dsn, shard_count=1)
        return dsn

    def create_empty_database(self) -> str:
        """The DSN of a new database with nothing in it."""
        return self._create_database("template1")

    def _create_database(self, template: str) -> str:
        name = f"bench_{secrets.token_hex(4)}"
        statement = sql.SQL("create database {} template {} owner foldbook").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        self._administrate(statement)
        return urlsplit(self.dsn)._replace(path=f"/{name}").geturl()

    def filled_log(self, events: int, commit_size: int = COMMIT_SIZE, accounts: int = ACCOUNTS) -> str:
        """The DSN of a new database with a log of so many events (``sql/fill_log.sql``), vacuumed and at rest.

        The first of its kind is filled, which takes some 25 s per million events; the next ones are copies of it.
        """
        accounts = min(accounts, events // 5)
        kind = (events, commit_size, accounts)
        if kind not in self._filled:
            tell(f"filling a log of {events:,} events, {commit_size} in a commit, {accounts:,} accounts")
            dsn = self.create_database()
            apply_sql(dsn, "fill_log")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("select bench.fill_log(%s, %s, %s)", [events, accounts, commit_size])
            self.settle(dsn)
            self._filled[kind] = dsn
        return self.create_database(template=self._filled[kind])

    def cpu_us(self) -> float:
        """CPU microseconds that the server has used so far, its ended processes included."""
        assert self._server.pid is not None
        server = psutil.Process(self._server.pid)
        own = server.cpu_times()
        seconds = own.user + own.system + own.children_user + own.children_system
        for child in server.children():
            with suppress(psutil.NoSuchProcess):
                seconds += sum(child.cpu_times()[:2])
        return float(seconds) * 1e6

    def drop_database(self, dsn: str) -> None:
        self._administrate(sql.SQL("drop database {} with (force)").format(sql.Identifier(_name_of(dsn))))

    def settle(self, dsn: str) -> None:
        """After a bulk load, do what autovacuum and the checkpointer would otherwise do in the middle of a slice."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("vacuum (analyze)")
        self.checkpoint()

    def checkpoint(self) -> None:
        self._administrate(sql.SQL("checkpoint"))

    def _administrate(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._server.superuser_dsn, autocommit=True) as connection:
            connection.execute(statement)


def _name_of(dsn: str) -> str:
    return urlsplit(dsn).path.removeprefix("/")


@contextmanager
def arena() -> Iterator[Arena]:
    """A started server in a temporary folder (``TMPDIR``), ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-bench-"))
    folder.chmod(0o755)  # as root the server runs as another user, who has to get in
    place = Arena(folder)
    try:
        place.start()
        yield place
    finally:
        place.stop()
        shutil.rmtree(folder, ignore_errors=True)


def apply_sql(dsn: str, name: str) -> None:
    """Run a file of ``bench/sql``."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute((SQL / f"{name}.sql").read_bytes())


def run_child(module: str, task: msgspec.Struct, answer: type[T], environment: dict[str, str] | None = None) -> T:
    """Run ``python -m <module>`` with ``task`` as its JSON argument and decode the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, msgspec.json.encode(task).decode()],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        check=True,
    )
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=answer)


@contextmanager
def engine(dsn: str, folder: Path, *arguments: str, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a subcommand of ``foldbook`` on the database at ``dsn`` and stop it afterwards. ``settings`` are FOLDBOOK_*
    variables."""
    environment = {f"FOLDBOOK_{name.upper()}": str(value) for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "foldbook.cli", *arguments, "--until-stdin-closes"],
        cwd=ROOT,
        env=os.environ | _environment(dsn, folder) | environment,
        stdin=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()


def issue_key(dsn: str, folder: Path) -> str:
    """A key of an operator."""
    arguments = ("-m", "foldbook.cli", "keys", "issue", "bench", "--role", "operator")
    done = subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | _environment(dsn, folder),
        check=True,
    )
    return done.stdout.strip()


def _environment(dsn: str, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "FOLDBOOK_DATA_DIR": str(folder / "engine"),
        "FOLDBOOK_LOG_LEVEL": "warning",
        "FOLDBOOK_ACCESS": "open",
    }


def tell(text: str) -> None:
    """Progress, on standard error; the table goes to standard output."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def served(dsn: str, folder: Path, **settings: Any) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """``foldbook serve``, answering: its process and its port."""
    port = free_port()
    with engine(dsn, folder, "serve", port=port, **settings) as process:
        _wait_until_live(process, port)
        yield process, port


def _wait_until_live(process: subprocess.Popen[bytes], port: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"foldbook serve ended with code {process.returncode}")
        try:
            with opener.open(f"http://127.0.0.1:{port}/health/live", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("foldbook serve did not answer in time")
