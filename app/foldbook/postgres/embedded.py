"""The embedded PostgreSQL: one server for one data folder, created at the first start.

::

    <data folder>/
        pgpass.<role>       the password of each role, 0600
        postgres/           PostgreSQL's own folder, 0700, with its Unix socket and its log/
        postgres.start.log  what the server printed before it opened its log

Only the owner of the socket's folder can reach the server (there is no TCP), and nobody gets in without a password.
The role ``foldbook`` owns the database ``foldbook`` and is not a superuser; the set-up uses ``postgres``, which is one.

*Folders that the server's user may not enter.* Started by root, the server runs as an unprivileged user
(``binaries.py``), who often can't enter the folders above the server's own. So root enters that folder first, and the
server starts in it, with ``-D /proc/self/cwd``. PostgreSQL makes its folder its working directory anyway, and every
child inherits it, so this name is right for as long as the server lives, and no folder above has to be opened up.

*How it ends.* The server has its own session, so that a Ctrl-C in the terminal does not reach it. A watchdog with a
pipe to this process sends it a fast shutdown when this process is killed. Should that fail too, the next start finds
every process that works in the folder and ends it first; the caller must hold the data folder's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import psutil
import psycopg

from foldbook.postgres.binaries import (
    ENVIRONMENT,
    MAJOR_VERSION,
    EmbeddedPostgresError,
    ServerUser,
    server_programs,
    server_user,
)
from foldbook.postgres.data_folder import (
    HANDED_OVER,
    make_data_folder,
    open_own,
    read_plain,
    sync_folder,
    write_private,
)
from foldbook.postgres.roles import AUDITOR, ENGINE, OWNER

SUPERUSER = "postgres"
ROLES = (OWNER, ENGINE, AUDITOR)
PORT = 5432
SOCKET_PATH_BYTES_MAX = 107
START_TIMEOUT_S = 600  # replaying max_wal_size of write-ahead log after a crash takes long
STOP_TIMEOUT_S = 60
POLL_S = 0.02

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    # A command is acknowledged after COMMIT returns, and COMMIT returns after the disk has it.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    # One file per weekday, emptied before it is used again: a week of logs and no more.
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}

PREPARE = Path(__file__).with_name("prepare_server.sql")
"""For a superuser of any server: the roles, and the bounds of an auditor."""

ACCESS = "local all all scram-sha-256\n"


class EmbeddedPostgres:
    """The server of one data folder. It can be started again after it stopped or died. Its DSNs do not contain a
    password: they name the password file."""

    def __init__(self, data_folder: Path, settings: Mapping[str, str] = SETTINGS) -> None:
        self._settings = settings
        self.data_folder = data_folder if data_folder.is_relative_to(HANDED_OVER) else data_folder.resolve()
        self.folder = self.data_folder / "postgres"
        self._start_log = self.data_folder / "postgres.start.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The database ``foldbook`` as its owner, for libpq and asyncpg alike."""
        return self.dsn_of(OWNER)

    def dsn_of(self, role: str) -> str:
        """The database ``foldbook`` as one of ``ROLES``."""
        return self._dsn(role, "foldbook")

    def password_file(self, role: str) -> Path:
        """Has one line, with the password of this role. Another role's is in another file, so that who connects as one
        need not be able to read the others."""
        return self.data_folder / f"pgpass.{role}"

    @property
    def superuser_dsn(self) -> str:
        """The database ``postgres`` as the superuser."""
        return self._dsn(SUPERUSER, "postgres")

    @property
    def pid(self) -> int | None:
        """The process id of the running server, if this object started it."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How the server that this object started ended; None while it runs."""
        return self._server.poll() if self._server is not None else None

    def start(self) -> None:
        """Create the cluster if there is none, end leftover processes, start, and return when the server is ready.

        Raises :class:`EmbeddedPostgresError`, and :class:`UnsafeFolder` before anything is touched.
        """
        self.stop()
        make_data_folder(self.data_folder)
        user = server_user(self.folder)
        programs = server_programs(user)
        if not self.folder.exists():
            self._make_cluster(user, programs)
        self._check_cluster(user)
        end_processes_in(self.folder)
        self._check_that_nobody_serves()
        # No process is left, but a zombie, or a reused process id, would pass for the holder of these files.
        for left in (self.folder / "postmaster.pid", self._socket_folder / f".s.PGSQL.{PORT}.lock"):
            left.unlink(missing_ok=True)
        self._split_passwords(user)
        if not self._has_all_passwords():
            self._make_passwords(user, programs, self.folder)
        settings = {**self._settings, "unix_socket_directories": self._prepare_socket_folder(user)}
        with open_own(self._start_log, "wb") as log:
            self._server = subprocess.Popen(
                [
                    *(programs / "postgres", "-D", _name_for(user, self.folder)),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=ENVIRONMENT,
                start_new_session=True,
                **user.popen_arguments(),
            )
        self._watchdog = _watch(self._server.pid, user)
        try:
            self._wait_until_ready(self._server)
            self._prepare()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, a checkpoint is written. Returns when it has ended."""
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.communicate()
            self._watchdog = None
        server, self._server = self._server, None
        if server is None:
            return
        for how, patience_s in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
            if server.poll() is None:
                server.send_signal(how)
            try:
                server.wait(patience_s)
                return
            except subprocess.TimeoutExpired:
                continue

    def _dsn(self, role: str, database: str) -> str:
        options = {"host": str(self._socket_folder), "port": PORT, "passfile": str(self.password_file(role))}
        return f"postgresql://{role}@/{database}?{urlencode(options, quote_via=quote)}"

    @property
    def _socket_folder(self) -> Path:
        """The server's folder, or a short private one when that name is too long for a Unix socket."""
        name = os.fsencode(os.path.realpath(self.data_folder)) + b"/postgres"
        if len(name + f"/.s.PGSQL.{PORT}".encode()) <= SOCKET_PATH_BYTES_MAX:
            return self.folder
        return Path("/tmp") / f"foldbook-{hashlib.sha256(name).hexdigest()[:16]}"  # noqa: S108

    def _prepare_socket_folder(self, user: ServerUser) -> str:
        """The socket's folder as the server names it: its own, or the private one, which is created and checked."""
        folder = self._socket_folder
        if folder == self.folder:
            return "."
        try:
            folder.mkdir(mode=0o700)
            os.chown(folder, user.uid, -1, follow_symlinks=False)
        except FileExistsError:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.uid or stat.S_IMODE(found.st_mode) != 0o700:
                raise EmbeddedPostgresError(
                    f"{folder} is not a private folder of {user.name}: remove it, or choose a shorter FOLDBOOK_DATA_DIR"
                ) from None
        return str(folder)

    def _make_cluster(self, user: ServerUser, programs: Path) -> None:
        """Create cluster, roles and database. The folder has another name until it is complete, so that a partial
        cluster is never used."""
        for half in self.data_folder.glob("postgres.new-*"):
            end_processes_in(half)
            shutil.rmtree(half)
        half = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.data_folder))
        os.chown(half, user.uid, user.gid, follow_symlinks=False)
        initdb: list[Path | str] = [
            *(programs / "initdb", "-D", _name_for(user, half), "--username=postgres", "--auth=reject"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--data-checksums", "--no-clean", "--no-instructions"),
        ]
        _run(user, half, initdb)
        _run(user, half, ["/bin/sh", "-c", "cat > pg_hba.conf"], stdin=ACCESS)
        self._make_passwords(user, programs, half, f"create database foldbook owner {OWNER}")
        half.rename(self.folder)
        sync_folder(self.data_folder)

    def _make_passwords(self, user: ServerUser, programs: Path, folder: Path, *commands: str) -> None:
        """Create the roles that are missing, run ``commands``, then give every role a new password, in the server's
        single-user mode: no network, no password needed, one command per line."""
        passwords = {role: secrets.token_hex(24) for role in (SUPERUSER, *ROLES)}
        lines = [
            *(f"do $$ begin if to_regrole('{role}') is null then create role {role}; end if; end $$" for role in ROLES),
            *commands,
            *(f"alter role {role} login password '{word}'" for role, word in passwords.items()),
        ]
        single_user: list[Path | str] = [
            *(programs / "postgres", "--single", "-D", _name_for(user, folder)),
            *("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "postgres"),
        ]
        _run(user, folder, single_user, stdin="".join(f"{line}\n" for line in lines))
        for role, word in passwords.items():
            self._write_password(user, role, f"*:*:*:{role}:{word}")

    def _write_password(self, user: ServerUser, role: str, line: str) -> None:
        """What the engine's processes read belongs to the user that they run as, all else to this one."""
        owner = user.uid if user.is_other and role == ENGINE else None
        write_private(self.password_file(role), f"{line}\n", owner)

    def _has_all_passwords(self) -> bool:
        """Also false for a cluster that is older than one of the roles."""
        return all(self.password_file(role).exists() for role in (SUPERUSER, *ROLES))

    def _split_passwords(self, user: ServerUser) -> None:
        """Earlier versions kept all passwords in one file, which goes when every role has its own."""
        together = self.data_folder / "pgpass"
        if not together.exists():
            return
        for line in read_plain(together).splitlines():
            role = line.split(":")[3]
            if role in (SUPERUSER, *ROLES):
                self._write_password(user, role, line)
        together.unlink()
        sync_folder(self.data_folder)

    def _check_cluster(self, user: ServerUser) -> None:
        owner = self.folder.lstat().st_uid
        if owner != user.uid:
            raise EmbeddedPostgresError(
                f"{self.folder} belongs to user id {owner}, but PostgreSQL would run as {user.name}: "
                "run Foldbook as its owner or as root, or choose another FOLDBOOK_DATA_DIR"
            )
        version = read_plain(self.folder / "PG_VERSION").strip()
        if version != str(MAJOR_VERSION):
            raise EmbeddedPostgresError(
                f"{self.folder} was created by PostgreSQL {version}, but this is {MAJOR_VERSION}: "
                "dump it with the old version and restore it, or choose another FOLDBOOK_DATA_DIR"
            )

    def _prepare(self) -> None:
        """Roles, and what bounds an auditor; in the database ``foldbook``, whose owner is no superuser."""
        try:
            with psycopg.connect(self._dsn(SUPERUSER, "foldbook"), autocommit=True) as superuser:
                superuser.execute(PREPARE.read_bytes())
        except psycopg.Error as error:
            raise EmbeddedPostgresError(f"PostgreSQL cannot be prepared: {str(error).strip()}") from error

    def _check_that_nobody_serves(self) -> None:
        """A server that the process list does not show, in another container say, must keep its pid file."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, contextlib.suppress(OSError):
            client.connect(str(self._socket_folder / f".s.PGSQL.{PORT}"))
            raise EmbeddedPostgresError(
                f"a PostgreSQL that is no process of this machine serves {self.folder}: stop it first"
            )

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready(server.pid):
            if server.poll() is not None:
                output = self._start_log.read_text(errors="replace")[-2000:]
                raise EmbeddedPostgresError(f"PostgreSQL ended at once ({self.folder / 'log'} may say more): {output}")
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL was not ready within {START_TIMEOUT_S} s")
            time.sleep(POLL_S)

    def _is_ready(self, pid: int) -> bool:
        """Reads what pg_ctl reads: the first and the eighth line of postmaster.pid."""
        try:
            lines = read_plain(self.folder / "postmaster.pid").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def end_processes_in(folder: Path) -> None:
    """End the server that works in ``folder``, or the rest of one: gently at first, then by force.

    A backend whose server was killed keeps shared memory until it notices. The next server must not start before that.
    """
    for how, patience_s in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, 10), (signal.SIGKILL, 10)):
        found = _processes_in(folder)
        if not found:
            return
        pids = {process.pid for process in found}
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                # For a server this is a fast shutdown, in which it ends its own children.
                if how != signal.SIGINT or process.ppid() not in pids:
                    process.send_signal(how)
        psutil.wait_procs(found, patience_s)
    if left := _processes_in(folder):
        raise EmbeddedPostgresError(f"can't end the processes that use {folder}: {[process.pid for process in left]}")


def _processes_in(folder: Path) -> list[psutil.Process]:
    """The PostgreSQL processes whose working directory is ``folder``, as it is for its server and all its children."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() in ("postgres", "initdb") and Path(process.cwd()) == folder:
                found.append(process)
    return found


def _name_for(user: ServerUser, folder: Path) -> str:
    """The server's name for its folder; see the module's docstring."""
    return str(folder) if user.can_enter(folder) else "/proc/self/cwd"


def _run(user: ServerUser, folder: Path, arguments: list[Path | str], stdin: str = "") -> None:
    done = subprocess.run(
        arguments,
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=ENVIRONMENT,
        timeout=START_TIMEOUT_S,
        start_new_session=True,
        **user.popen_arguments(),
    )
    if done.returncode != 0:
        raise EmbeddedPostgresError(f"{arguments[0]} failed: {done.stdout.decode(errors='replace')[-2000:]}")


def _watch(server_pid: int, user: ServerUser) -> subprocess.Popen[bytes]:
    """Starts a process that ends the server when this process is gone: the pipe closes, however this one dies."""
    return subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill -INT {server_pid}"],
        stdin=subprocess.PIPE,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
        **user.popen_arguments(),
    )
