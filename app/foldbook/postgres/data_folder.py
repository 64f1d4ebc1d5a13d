"""The data folder: created and written in a way that is safe for root too.

Root may have to work in the folder of a user whom it should not trust. So nothing there is opened through a link, and
the files that root creates belong to the folder's owner.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any


def make_data_folder(folder: Path) -> None:
    """Create the folder; an existing one is not changed. The server's user may enter root's folder, because its own
    private folder is in there."""
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file of the data folder that only the folder's owner may read, even when root opens it. Links are not
    followed: the folder may belong to a user whom root should not trust."""
    file = open(path, mode, opener=_without_links)  # noqa: SIM115
    folder = path.parent.stat()
    if os.fstat(file.fileno()).st_uid != folder.st_uid and os.fstat(file.fileno()).st_nlink == 1:
        os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
    return file


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically and durably."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open_own(new, "x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder to disk: only then does a new name in it survive a power cut."""
    folder_fd = os.open(folder, os.O_RDONLY)
    os.fsync(folder_fd)
    os.close(folder_fd)
