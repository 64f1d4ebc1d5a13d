"""What the tests of the relay share: a log that grows, and a relay as a process that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg

from foldbook.messaging.relay_process import RelayProcess
from foldbook.postgres.roles import ENGINE, as_role
from tests.readside.histories import write_book

ORDERS_PER_COMMIT = 99
EVENTS_PER_COMMIT = 2 * ORDERS_PER_COMMIT + 2
TERM_S = 2.5


def grow(dsn: str, events: int) -> int:
    """Append so many events, ``EVENTS_PER_COMMIT`` in a commit; the log's new head."""
    head = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(0, events, EVENTS_PER_COMMIT):
            head = write_book(connection, ORDERS_PER_COMMIT)
    return head


def new_relay(dsn: str, amqp_url: str, holder: str = "the test's", *, shards: int = 1) -> RelayProcess:
    return RelayProcess(as_role(dsn, ENGINE), amqp_url, shards, holder, poll_interval_s=0.1, term_s=TERM_S)


@asynccontextmanager
async def relaying(dsn: str, amqp_url: str, *, shards: int = 1) -> AsyncIterator[RelayProcess]:
    relay = new_relay(dsn, amqp_url, shards=shards)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


class RelayCommand:
    """``foldbook relay`` as a process."""

    def __init__(self, dsn: str, amqp_url: str, folder: Path) -> None:
        self._environment = os.environ | {
            "DATABASE_URL": dsn,
            "FOLDBOOK_AMQP_URL": amqp_url,
            "FOLDBOOK_DATA_DIR": str(folder),
            "FOLDBOOK_POLL_INTERVAL_MS": "100",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.said = folder / "relay.txt"

    def start(self) -> None:
        with self.said.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "foldbook.cli", "relay"], env=self._environment, stdout=out, stderr=out
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)
