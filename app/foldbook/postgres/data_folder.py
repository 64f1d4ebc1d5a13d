"""The data folder: made, and written into, in a way that is safe for root too.

Root may be asked to work in the folder of somebody it should not trust: nothing is opened through a link there, and
what root makes belongs to the folder's owner.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any


def make_data_folder(folder: Path) -> None:
    """An existing one stays as it is. Root's may be entered by the server's user, who has a closed folder in it."""
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file of the data folder that only the folder's owner may read, even when root opens it. Never through a
    link: the folder may belong to somebody whom root should not follow."""
    file = open(path, mode, opener=_without_links)  # noqa: SIM115
    folder = path.parent.stat()
    if os.fstat(file.fileno()).st_uid != folder.st_uid and os.fstat(file.fileno()).st_nlink == 1:
        os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
    return file


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, for good."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open_own(new, "x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A new name is there after a power cut only when its folder was written."""
    folder_fd = os.open(folder, os.O_RDONLY)
    os.fsync(folder_fd)
    os.close(folder_fd)
