"""The data folder of a venue: the lock, and the journal of the exchange that it makes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from foldbook.errors import FoldbookError
from foldbook.venue.exchange import Exchange
from foldbook.venue.journal import Journal, replay

LOCK_FILE = "venue.lock"


class VenueAlreadyRuns(FoldbookError, code="venue-already-runs", title="A venue already runs on this data folder"):
    """One process at a time works on a data folder."""


class Store:
    """An open data folder: ``exchange`` is as it was, ``journal`` is where to go on."""

    def __init__(self, folder: Path) -> None:
        """Raises ``VenueAlreadyRuns``, ``VenueDataError`` and ``OSError``."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = _lock(folder)
        path = folder / "journal.jsonl"
        self.exchange = Exchange()
        if path.exists():
            for message in replay(path):
                self.exchange.apply(message)
        self.journal = Journal(path)
        sync_folder(folder)

    def close(self) -> None:
        self.journal.close()
        os.close(self._lock_fd)


def _lock(folder: Path) -> int:
    """Hold the folder until this process ends."""
    lock_fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_fd)
        raise VenueAlreadyRuns(f"another venue runs on {folder}") from None
    return lock_fd


def sync_folder(folder: Path) -> None:
    """Only then does a new name in it survive a power cut."""
    folder_fd = os.open(folder, os.O_RDONLY)
    os.fsync(folder_fd)
    os.close(folder_fd)
