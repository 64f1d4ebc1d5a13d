"""The data folder: whose it is, and how its files are opened and written.

A program that works in a folder can be led astray by whoever may change that folder: by a link to somebody else's
cluster in place of ``postgres``, say, or by a pipe in place of a password file. So everything is looked at before
anything is touched (:func:`check_data_folder`), and refused (:class:`UnsafeFolder`) unless

- each folder from ``/`` on belongs to root or to this user, and others can put nothing in its place,
- the data folder itself belongs to this user, and nobody else may write to it,
- what Foldbook uses in it is a file or a folder, no link of any kind, and belongs to this user; for root also to the
  user that its server runs as.

The folders are opened one from the other, and no link is followed unless it belongs to root or to this user. Nobody
else can change a folder that was found in order, so what was checked stays true.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

from foldbook.errors import FoldbookError

FILES = ("foldbook.lock", "pgpass*", "operator.key*", "anchor.key*", "postgres.start.log")
FOLDERS = ("postgres", "postgres.new-*", "venue")
LINKS_MAX = 40
HANDED_OVER = Path("/proc/self/fd")
"""A data folder below this was opened by the supervisor, which has checked it, and left to its child."""

_OTHERS_WRITE = 0o002
_GROUP_WRITES = 0o020
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


class UnsafeFolder(FoldbookError, code="unsafe-folder", title="The data folder is not safe to use"):
    """Somebody else could lead this program astray there; nothing was touched. The text says who, and what to do."""


def make_data_folder(folder: Path) -> None:
    """Create the folder unless it exists, and check it. The server's user may enter root's folder, because its own
    private folder is in there. Raises :class:`UnsafeFolder`."""
    check_data_folder(folder)
    for missing in reversed([each for each in folder.parents if not each.exists()]):
        missing.mkdir(mode=0o755, exist_ok=True)  # nobody else may write there, whatever the umask says
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, exist_ok=True)
    check_data_folder(folder)


def check_data_folder(folder: Path) -> None:
    """Raises :class:`UnsafeFolder`, having touched nothing. A folder that does not exist yet is fine if nobody else can
    create it."""
    if folder.is_relative_to(HANDED_OVER):
        return
    with _opened(folder) as folder_fd:
        if folder_fd is None:
            return
        _check_is_own(folder, os.fstat(folder_fd))
        found = {name: os.lstat(name, dir_fd=folder_fd) for name in _names_in(folder_fd) if _is_used(name)}
        owners = {os.geteuid()} | ({found["postgres"].st_uid} if os.geteuid() == 0 and "postgres" in found else set())
        for name, facts in sorted(found.items()):
            _check_entry(folder / name, facts, owners)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file that only its owner may read, this user; an existing one is not followed if it is a link, and not
    emptied before it is known to be this user's. Raises :class:`UnsafeFolder`."""
    return open(path, mode, opener=_own_only)


def read_plain(path: Path) -> str:
    """The text of a file in a folder of somebody who may not be trusted: of a link or a pipe there is none. Raises
    ``OSError``."""
    with os.fdopen(os.open(path, _READ), encoding="utf-8", errors="replace") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is not a file", str(path))
        return file.read()


def write_private(path: Path, text: str, owner: int | None = None) -> None:
    """Replace a file atomically and durably. ``owner``: the user id that it is for, if not this user's."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open_own(new, "x") as file:
        file.write(text)
        file.flush()
        if owner is not None:
            os.fchown(file.fileno(), owner, -1)
        os.fsync(file.fileno())
    new.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder to disk: only then does a new name in it survive a power cut."""
    folder_fd = os.open(folder, os.O_RDONLY)
    os.fsync(folder_fd)
    os.close(folder_fd)


def _own_only(path: str, flags: int) -> int:
    try:
        fd = os.open(path, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):  # a link; a pipe that nobody reads; a folder
            raise _refusal(Path(path), "is not a file") from None
        raise
    try:
        _check_entry(Path(path), os.fstat(fd), {os.geteuid()}, is_file=True)
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """The folder, opened from ``/`` on, each folder above it checked. None: it does not exist."""
    here, seen = os.open("/", _ENTER), Path("/")
    parts = list(reversed(folder.parts[1:]))
    links, is_there = 0, True
    try:
        while parts:
            name = parts.pop()
            if seen != Path("/"):
                _check_is_above(seen, os.fstat(here))
            try:
                facts = os.lstat(name, dir_fd=here)
            except FileNotFoundError:
                parts.clear()
                is_there = False
                continue
            if stat.S_ISLNK(facts.st_mode):
                links += 1
                target = _target(seen / name, facts, os.readlink(name, dir_fd=here), links)
                parts += reversed([part for part in target.parts if part != "/"])
                if target.is_absolute():
                    here, seen = _enter("/", here), Path("/")
                continue
            here, seen = _enter(name, here), Path(os.path.normpath(seen / name))
    except (PermissionError, NotADirectoryError) as error:
        os.close(here)
        raise type(error)(error.errno, error.strerror, str(folder)) from None
    except BaseException:
        os.close(here)
        raise
    try:
        yield here if is_there else None
    finally:
        os.close(here)


def _enter(name: str, here: int) -> int:
    there = os.open(name, _ENTER, dir_fd=here)
    os.close(here)
    return there


def _target(path: Path, facts: os.stat_result, target: str, links: int) -> Path:
    if facts.st_uid not in (0, os.geteuid()):
        raise _refusal(path, f"is a symbolic link of {_name_of(facts.st_uid)}")
    if links > LINKS_MAX:
        raise _refusal(path, "is a symbolic link that leads nowhere")
    return Path(target)


def _check_is_above(folder: Path, facts: os.stat_result) -> None:
    if facts.st_uid not in (0, os.geteuid()):
        raise _refusal(folder, f"belongs to {_name_of(facts.st_uid)}, who could put another folder there")
    if not facts.st_mode & stat.S_ISVTX and _others_write(facts, is_group_of_root_fine=True):
        raise _refusal(folder, f"can be written by others (mode {stat.S_IMODE(facts.st_mode):04o})")


def _check_is_own(folder: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        owner, me = _name_of(facts.st_uid), _name_of(os.geteuid())
        raise _refusal(folder, f"belongs to {owner}, and this is {me}: run Foldbook as {owner}")
    if _others_write(facts, is_group_of_root_fine=False):
        raise _refusal(folder, f"can be written by others (mode {stat.S_IMODE(facts.st_mode):04o}): chmod go-w it")


def _others_write(facts: os.stat_result, *, is_group_of_root_fine: bool) -> bool:
    """A group counts as others, unless it is this user's own; above the data folder, root may have given a group its
    rights."""
    own_group = facts.st_gid in (os.getegid(), 0) or (is_group_of_root_fine and facts.st_uid == 0)
    return bool(facts.st_mode & _OTHERS_WRITE) or bool(facts.st_mode & _GROUP_WRITES and not own_group)


def _names_in(folder_fd: int) -> list[str]:
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_fd)
    try:
        return os.listdir(readable)  # noqa: PTH208 - Path knows no descriptors
    finally:
        os.close(readable)


def _is_used(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in (*FILES, *FOLDERS))


def _check_entry(path: Path, facts: os.stat_result, owners: set[int], *, is_file: bool | None = None) -> None:
    if is_file is None:
        is_file = not any(fnmatch(path.name, pattern) for pattern in FOLDERS)
    if is_file and (not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1):
        raise _refusal(path, "is not a file of its own" if stat.S_ISREG(facts.st_mode) else "is not a file")
    if not is_file and not stat.S_ISDIR(facts.st_mode):
        raise _refusal(path, "is not a folder")
    # What the server's user owns in root's folder was put there by root.
    if facts.st_uid not in owners and not (os.geteuid() == 0 and not is_file):
        raise _refusal(path, f"belongs to {_name_of(facts.st_uid)}, and this is {_name_of(os.geteuid())}")


def _refusal(path: Path, what: str) -> UnsafeFolder:
    return UnsafeFolder(f"{path} {what}. Nothing was touched: correct that, or choose another place")


def _name_of(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"
