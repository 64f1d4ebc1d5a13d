"""The data folder of a venue: the exchange, written down.

``snapshot-<n>`` is the state of the exchange, ``journal-<n>.jsonl`` what it was told since, ``fills-<n>.jsonl`` the
fills up to a snapshot, and as far as the snapshot says. A new snapshot begins a new journal. Its files are complete
and on disk before the older ones go, so that at any moment the newest snapshot and the journals from its number on are
all there is to know. ``venue.lock`` keeps a second venue away.
"""

from __future__ import annotations

import fcntl
import logging
import os
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from foldbook.errors import FoldbookError
from foldbook.venue.exchange import FILLS_MAX, Exchange
from foldbook.venue.journal import Journal, VenueDataError, replay
from foldbook.venue.records import Report
from foldbook.venue.state import ExchangeState, exchange_of, state_of

logger = logging.getLogger(__name__)

LOCK_FILE = "venue.lock"
JOURNAL_BYTES_MAX = 64 << 20
"""After so much of a journal there is a new snapshot."""
FILLS_FILE_MAX = 2 * FILLS_MAX
"""When a file has so many fills, those that are remembered go into a new one."""
_MAGIC: Final = b"foldbook-venue-1"


class VenueAlreadyRuns(FoldbookError, code="venue-already-runs", title="A venue already runs on this data folder"):
    """One process at a time works on a data folder."""


class Snapshot(Struct, frozen=True, kw_only=True):
    """``fills_file``: the number of the file of fills, of which the first ``fills_bytes`` count."""

    state: ExchangeState
    fills_file: int
    fills_bytes: int


class Capture(Struct, frozen=True, kw_only=True):
    """A snapshot that is to be saved. ``fills``: what is to be added to the file of fills, after its first
    ``fills_from`` bytes."""

    number: int
    content: bytes
    fills_file: int
    fills_from: int
    fills: bytes


class Store:
    """An open data folder: ``exchange`` is as it was, ``journal`` is where to go on."""

    def __init__(self, folder: Path, journal_bytes_max: int = JOURNAL_BYTES_MAX) -> None:
        """Raises ``VenueAlreadyRuns``, ``VenueDataError`` and ``OSError``."""
        self._folder = folder
        self._journal_bytes_max = journal_bytes_max
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = _lock(folder)
        try:
            self._number, self.exchange = self._load()
            self.journal = Journal(self._journal_path(self._number))
            _sync_folder(folder)
            if self.journal.size_bytes:
                capture = self.capture()
                self.begin_journal()
                self.save(capture)
        except BaseException:
            os.close(self._lock_fd)
            raise

    # -- loading -------------------------------------------------------------------------------------------------------

    def _load(self) -> tuple[int, Exchange]:
        """The number of the journal to go on with, and the exchange."""
        numbers = sorted(_number(path) for path in self._folder.glob("snapshot-*") if path.suffix != ".new")
        if numbers:
            number = numbers[-1]
            exchange = self._load_snapshot(number)
        else:
            number, exchange = 0, Exchange()
            self._fills_file = self._fills_bytes = self._fills_count = self._fills_last_seq = 0
        while (path := self._journal_path(number)).exists():
            for message in replay(path, is_last=not self._journal_path(number + 1).exists()):
                exchange.apply(message)
            number += 1
        return max(number - 1, numbers[-1] if numbers else 0), exchange

    def _load_snapshot(self, number: int) -> Exchange:
        path = self._snapshot_path(number)
        head, _, content = path.read_bytes().partition(b"\n")
        if head != b"%b %08x" % (_MAGIC, zlib.crc32(content)):
            raise VenueDataError(f"{path} is damaged, or of another program")
        try:
            snapshot = msgspec.msgpack.decode(content, type=Snapshot)
        except msgspec.MsgspecError as error:
            raise VenueDataError(f"{path} cannot be read by this program: {error}") from None
        self._fills_file, self._fills_bytes = snapshot.fills_file, snapshot.fills_bytes
        fills = self._load_fills()
        self._fills_count, self._fills_last_seq = len(fills), fills[-1].seq if fills else 0
        return exchange_of(snapshot.state, [fill for fill in fills if fill.seq > snapshot.state.fills_dropped_seq])

    def _load_fills(self) -> list[Report]:
        path = self._fills_path(self._fills_file)
        if not self._fills_bytes:
            return []
        with path.open("rb") as file:
            content = file.read(self._fills_bytes)
        if len(content) < self._fills_bytes:
            raise VenueDataError(f"{path} is shorter than its snapshot says")
        try:
            return msgspec.json.Decoder(Report).decode_lines(content)
        except msgspec.MsgspecError as error:
            raise VenueDataError(f"{path} is damaged: {error}") from None

    # -- saving --------------------------------------------------------------------------------------------------------

    @property
    def is_snapshot_due(self) -> bool:
        return self.journal.size_bytes > self._journal_bytes_max

    def capture(self) -> Capture:
        """The exchange as it is now. What it is told from now on belongs into the next journal."""
        number = self._number + 1
        fills = self.exchange.fills
        fills_from = self._fills_bytes
        added = fills[bisect_right(fills, self._fills_last_seq, key=_seq) :]
        if self._fills_count + len(added) > FILLS_FILE_MAX:  # half of the file is of fills that nobody remembers
            self._fills_file, self._fills_count, fills_from, added = number, 0, 0, fills
        lines = msgspec.json.Encoder().encode_lines(added)
        self._fills_count += len(added)
        self._fills_bytes = fills_from + len(lines)
        self._fills_last_seq = fills[-1].seq if fills else self._fills_last_seq
        snapshot = Snapshot(state=state_of(self.exchange), fills_file=self._fills_file, fills_bytes=self._fills_bytes)
        return Capture(
            number=number,
            content=msgspec.msgpack.encode(snapshot),
            fills_file=self._fills_file,
            fills_from=fills_from,
            fills=lines,
        )

    def begin_journal(self) -> None:
        """From now on, write to the journal of the snapshot that was captured."""
        self.journal.close()
        self._number += 1
        self.journal = Journal(self._journal_path(self._number))
        _sync_folder(self._folder)

    def save(self, capture: Capture) -> None:
        """Write the snapshot, and remove what it replaces. Raises ``OSError``."""
        fills_path = self._fills_path(capture.fills_file)
        with os.fdopen(os.open(fills_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
            file.truncate(capture.fills_from)
            file.seek(capture.fills_from)
            file.write(capture.fills)
            file.flush()
            os.fsync(file.fileno())
        path = self._snapshot_path(capture.number)
        new = path.with_name(f"{path.name}.new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(b"%b %08x\n" % (_MAGIC, zlib.crc32(capture.content)))
            file.write(capture.content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        _sync_folder(self._folder)
        self._remove_before(capture)
        logger.info("%s: a snapshot of %d bytes", path, len(capture.content))

    def _remove_before(self, capture: Capture) -> None:
        for kind, keep in (("snapshot", capture.number), ("journal", capture.number), ("fills", capture.fills_file)):
            for path in self._folder.glob(f"{kind}-*"):
                if _number(path) < keep:
                    path.unlink()

    def close(self) -> None:
        """Leave the folder, with a snapshot that saves the next start from replaying the journal."""
        if self.journal.size_bytes:
            capture = self.capture()
            self.begin_journal()
            self.save(capture)
        self.leave()

    def leave(self) -> None:
        """Leave the folder as it is."""
        self.journal.close()
        os.close(self._lock_fd)

    # -- its files -----------------------------------------------------------------------------------------------------

    def _snapshot_path(self, number: int) -> Path:
        return self._folder / f"snapshot-{number}"

    def _journal_path(self, number: int) -> Path:
        return self._folder / f"journal-{number}.jsonl"

    def _fills_path(self, number: int) -> Path:
        return self._folder / f"fills-{number}.jsonl"


def _number(path: Path) -> int:
    return int(path.name.partition("-")[2].partition(".")[0])


def _seq(fill: Report) -> int:
    return fill.seq


def _lock(folder: Path) -> int:
    """Hold the folder until this process ends."""
    lock_fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_fd)
        raise VenueAlreadyRuns(f"another venue runs on {folder}") from None
    return lock_fd


def _sync_folder(folder: Path) -> None:
    """Only then does a new name in it survive a power cut."""
    folder_fd = os.open(folder, os.O_RDONLY)
    os.fsync(folder_fd)
    os.close(folder_fd)
