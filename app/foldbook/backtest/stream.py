"""Where the events of a backtest go: into a hash that names the stream, and, if asked for, into PostgreSQL.

The hash covers what happened and when, event by event: type, subject, payload, business time. It does not cover what
only a database adds, positions and times of recording, so that memory and PostgreSQL give the same one.
"""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
from collections.abc import Sequence
from datetime import datetime

from foldbook.errors import FoldbookError
from foldbook.eventstore.events import Event
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Fate, Proposal
from foldbook.trading.commands import BookCommand

BATCH = 512
"""Commands in one append."""

BATCHES_AHEAD_MAX = 8
"""Batches that wait for the database; then the backtest waits."""

_METADATA = b'{"actor":"backtest"}'


class StreamHash:
    """The hash of a stream of events."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._time: datetime | None = None
        self._time_text = ""
        self.events = 0

    def record(self, command: BookCommand, events: Sequence[Event]) -> None:
        update = self._hash.update
        for event in events:
            occurred_at = event.occurred_at or command.business_time
            if occurred_at is not self._time:
                known = self._time
                if known is None or occurred_at != known or occurred_at.tzinfo is not known.tzinfo:
                    self._time_text = occurred_at.isoformat()
                self._time = occurred_at
            said = f"{type(event).__name__}\0{event.subject}\0{self._time_text}\0"
            update(b"%b%b\n" % (said.encode(), event.payload()))
        self.events += len(events)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class AccountExists(FoldbookError, code="account-exists", status=409, title="The account has events already"):
    """The log already has events of the account: a backtest needs one of its own."""


class LogWriter:
    """Writes a stream behind the backtest, in batches, from a thread of its own.

    ``record`` waits while too much waits for the database. The account must be new: ``close`` raises ``AccountExists``
    or the store's error. A batch is appended completely or not at all: a killed run leaves a beginning of the stream.
    """

    def __init__(self, dsn: str, shard: int, account: str, hashed: StreamHash) -> None:
        self._dsn = dsn
        self._shard = shard
        self._account = account
        self._hashed = hashed
        self._sequence = 0
        self._batch: list[Proposal] = []
        self._queue: queue.Queue[list[Proposal] | None] = queue.Queue(BATCHES_AHEAD_MAX)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="backtest-log", daemon=True)
        self._thread.start()

    def record(self, command: BookCommand, events: Sequence[Event]) -> None:
        """Raises what the database raised."""
        self._hashed.record(command, events)
        self._batch.append(
            Proposal(
                command=command,
                fingerprint=command.fingerprint(),
                expected_sequence=self._sequence,
                absent_subject=None,
                actor="backtest",
                metadata=_METADATA,
                events=events,
                reason=None,
            )
        )
        self._sequence += len(events)
        if len(self._batch) >= BATCH:
            self._send()

    def close(self) -> None:
        """Wait until everything is committed. Raises what the database raised."""
        if self._batch:
            self._send()
        self._put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _send(self) -> None:
        self._put(self._batch)
        self._batch = []

    def _put(self, batch: list[Proposal] | None) -> None:
        while self._error is None:
            try:
                self._queue.put(batch, timeout=1.0)
                return
            except queue.Full:
                continue
        if batch is not None:
            raise self._error

    def _work(self) -> None:
        try:
            asyncio.run(self._append_all())
        except BaseException as error:
            self._error = error

    async def _append_all(self) -> None:
        store = PostgresStore(self._dsn)
        try:
            while (batch := await asyncio.to_thread(self._queue.get)) is not None:
                verdicts = await store.append(self._shard, batch)
                if any(verdict.fate is not Fate.APPENDED for verdict in verdicts):
                    raise AccountExists(
                        f"the log already has events of account {self._account}: choose another --account"
                    )
        finally:
            await store.close()
