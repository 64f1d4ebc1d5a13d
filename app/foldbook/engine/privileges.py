"""Who the engine's processes are when root starts them: the unprivileged user that the embedded PostgreSQL runs as.

The supervisor stays root. Each child begins as root, imports its code, and then becomes that user for good, with no
group of root's. It may be unable to enter the folders above the code, the Python installation or the data folder, below
``/root`` say. So the supervisor opens those, and the child reaches them through its descriptors, as
``/proc/self/fd/<number>``: just what lies in them, and of that what everybody may read or what belongs to the user. No
permissions are changed.

What a child may read besides: its role's password. Root's other files, the operator's key among them, it may not.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict

import foldbook
from foldbook.config import Settings
from foldbook.postgres.binaries import EmbeddedPostgresError, ServerUser, server_user
from foldbook.postgres.data_folder import HANDED_OVER, make_data_folder

RUN_AS = "FOLDBOOK_RUN_AS"
"""What a supervisor tells its child: the user's id, the group's, and the descriptors of the standard library."""

_FILES_OF_LIBPQ = ("service", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir")
_FILES_OF_AMQP = re.compile(r"[?&](?:cafile|capath|certfile|keyfile)=")
_ENTER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class Handover(NamedTuple):
    """``user``: who the children become. The descriptors are of folders."""

    user: ServerUser
    code_fds: tuple[int, ...]
    library_fds: tuple[int, ...]
    data_fd: int

    @property
    def fds(self) -> tuple[int, ...]:
        return (*self.code_fds, *self.library_fds, self.data_fd)

    @property
    def data_dir(self) -> Path:
        """The data folder's name for a child."""
        return HANDED_OVER / str(self.data_fd)

    def environment(self) -> dict[str, str]:
        """What a child's environment has in addition."""
        library = ",".join(map(str, self.library_fds))
        code = [str(HANDED_OVER / str(fd)) for fd in self.code_fds]
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, (*code, os.environ.get("PYTHONPATH")))),
            "FOLDBOOK_DATA_DIR": str(self.data_dir),
            "HOME": "/",
            RUN_AS: f"{self.user.uid}:{self.user.gid}:{library}",
        }


def hand_over(settings: Settings) -> Handover | None:
    """Who the children become, and what they reach; None: they stay who this process is. ``why_not`` has the reason, if
    this is root."""
    if os.geteuid() != 0 or why_not(settings) is not None:
        return None
    make_data_folder(settings.data_dir)
    return Handover(
        _user(settings),
        tuple(os.open(folder, _ENTER) for folder in _code()),
        tuple(os.open(folder, _ENTER) for folder in _library()),
        os.open(settings.data_dir, _ENTER),
    )


def why_not(settings: Settings) -> str | None:
    """What keeps root's children root; None: nothing does, or this is not root."""
    if os.geteuid() != 0:
        return None
    try:
        user = _user(settings)
    except EmbeddedPostgresError as error:
        return str(error)
    if settings.database_url is not None and _needs_root(settings.database_url.get_secret_value(), user):
        return "DATABASE_URL has no password, or needs files of root's"
    if settings.amqp_url is not None and _FILES_OF_AMQP.search(settings.amqp_url.get_secret_value()):
        return "FOLDBOOK_AMQP_URL needs files of root's"
    marks = (Path("foldbook/__init__.py"), Path("msgspec/__init__.py"), Path("os.py"))
    for mark in marks:
        folders = [folder for folder in (*_code(), *_library()) if (folder / mark).is_file()]
        if not folders or not _may_read(user, folders[0], mark):
            return f"user {user.name} may not read {(folders or [mark])[0]}"
    return None


def parts_run_as(settings: Settings) -> str:
    """For people."""
    if (reason := why_not(settings)) is not None:
        return f"root: {reason}; run Foldbook as an ordinary user, or where all users can read its code"
    return _user(settings).name


def give(folder: Path, user: ServerUser) -> None:
    """A folder in root's data folder, and all in it, becomes the user's."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid == user.uid:
        return
    for _, folders, files, folder_fd in os.fwalk(folder):
        for name in (*folders, *files):
            os.chown(name, user.uid, user.gid, dir_fd=folder_fd, follow_symlinks=False)
    os.chown(folder, user.uid, user.gid, follow_symlinks=False)


def may_read(user: ServerUser, path: Path) -> bool:
    """Whether the user may read a file by its name."""
    ask = ["/bin/sh", "-c", 'test -r "$1"', "sh", str(path)]
    return subprocess.run(ask, cwd="/", **user.popen_arguments()).returncode == 0


def is_dropped_later(environment: Mapping[str, str]) -> bool:
    """Whether ``drop`` will make this process another user."""
    return RUN_AS in environment


def drop(environment: Mapping[str, str]) -> None:
    """Become the user that the supervisor told, for good. Does nothing if it told none."""
    if not is_dropped_later(environment):
        return
    uid, gid, library = environment[RUN_AS].split(":")
    os.chdir("/")
    os.setgroups([])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))
    _reach({os.path.realpath(HANDED_OVER / fd): str(HANDED_OVER / fd) for fd in library.split(",")})


def _reach(places: Mapping[str, str]) -> None:
    """Modules that are imported later are looked for under the second name, too. ``places``: by a folder's own name."""

    def names(paths: list[str]) -> list[str]:
        found = [(path, real, via) for path in paths for real, via in places.items()]
        return [via + path[len(real) :] for path, real, via in found if path == real or path.startswith(f"{real}/")]

    sys.path += names([os.path.realpath(path) for path in sys.path])
    for module in list(sys.modules.values()):
        if isinstance(path := getattr(module, "__path__", None), list):
            path += names([str(each) for each in path])
    importlib.invalidate_caches()


def _user(settings: Settings) -> ServerUser:
    return server_user(settings.data_dir / "postgres", settings.data_dir / "venue")


def _code() -> list[Path]:
    """The folders of this package and of those that it uses."""
    paths = sysconfig.get_paths()
    folders = (Path(foldbook.__file__).parents[1], Path(paths["purelib"]), Path(paths["platlib"]))
    return list(dict.fromkeys(folders))


def _library() -> list[Path]:
    """The folders of Python's own modules."""
    paths = sysconfig.get_paths()
    dynamic = Path(sysconfig.get_config_var("DESTSHARED") or paths["platstdlib"])
    return [folder for folder in dict.fromkeys((Path(paths["stdlib"]), dynamic)) if folder.is_dir()]


def _may_read(user: ServerUser, folder: Path, name: Path) -> bool:
    fd = os.open(folder, _ENTER)
    try:
        ask = ["/bin/sh", "-c", 'test -r "$1"', "sh", str(HANDED_OVER / str(fd) / name)]
        return subprocess.run(ask, cwd="/", pass_fds=(fd,), **user.popen_arguments()).returncode == 0
    finally:
        os.close(fd)


def _needs_root(url: str, user: ServerUser) -> bool:
    """libpq reads a password that it is not told from a file of the user's, and certificates in any case; and a socket
    may be in a folder that the user can't enter. What the URL does not say, libpq takes from the environment."""
    defaults = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults()}
    try:
        told = {name: value.decode() for name, value in defaults.items() if value} | conninfo_to_dict(url)
    except ProgrammingError:
        return True
    sockets = [Path(host) for host in str(told.get("host") or "").split(",") if host.startswith("/")]
    return (
        not told.get("password")
        or (Path.home() / ".postgresql").exists()
        or any(told.get(name, "system") != "system" for name in _FILES_OF_LIBPQ)
        or not all(user.can_enter(folder) for folder in sockets)
    )
