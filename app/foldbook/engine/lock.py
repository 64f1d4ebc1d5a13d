"""One engine at a time on a data folder: a lock that says who holds it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from foldbook.errors import FoldbookError
from foldbook.postgres.data_folder import check_data_folder, make_data_folder, open_own, read_plain

LOCK_FILE = "foldbook.lock"
ORPHANS_TIMEOUT_S = 30
POLL_S = 0.1


class AlreadyRunning(FoldbookError, code="already-running", title="An engine already runs on this data folder"):
    """Another engine runs on this data folder; the text says which."""


class LockError(FoldbookError, code="lock", title="The data folder is in use"):
    """Something other than a running engine holds the folder's lock."""


@contextlib.contextmanager
def lock(data_dir: Path, url: str) -> Iterator[int]:
    """Hold the data folder's lock, as a file descriptor that children may share."""
    make_data_folder(data_dir)
    with open_own(data_dir / LOCK_FILE, "a+") as file:
        _take(file.fileno(), data_dir)
        me = psutil.Process()
        file.truncate(0)
        json.dump({"pid": me.pid, "created": me.create_time(), "url": url}, file)
        file.flush()
        yield file.fileno()


def _take(lock_fd: int, data_dir: Path) -> None:
    deadline = time.monotonic() + ORPHANS_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if holder := running_on(data_dir):
                raise AlreadyRunning(
                    f"already running on {data_dir}: process {holder['pid']}, {holder['url']}"
                ) from None
        if time.monotonic() > deadline:
            raise LockError(f"processes of an earlier engine still use {data_dir}: see `foldbook doctor`")
        time.sleep(POLL_S)


def running_on(data_dir: Path) -> dict[str, Any] | None:
    """``pid`` and ``url`` of the engine that runs on a data folder; None if none does. Raises ``UnsafeFolder``."""
    check_data_folder(data_dir)
    try:
        holder: dict[str, Any] = json.loads(read_plain(data_dir / LOCK_FILE))
        # The process id alone may belong to another process by now.
        is_alive = abs(psutil.Process(holder["pid"]).create_time() - holder["created"]) < 5
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return holder if is_alive else None
