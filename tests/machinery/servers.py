"""Servers of PostgreSQL for tests that need more than one, an old one, or a replica.

Each has a folder and a port of 127.0.0.1 of its own, lets everybody on this machine in without a password, and is ended
by id. ``OWNER`` owns the database ``foldbook`` and may create roles; ``postgres`` is the superuser.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from foldbook.engine.rabbit import free_port
from foldbook.postgres.binaries import ENVIRONMENT, server_programs, server_user
from foldbook.postgres.roles import OWNER
from tests.leaving_out import leave_out
from tests.waiting import block_until

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "jit": "off",
    "wal_level": "replica",
    "hot_standby": "on",
}
ACCESS = "host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"
EMBEDDED = 18
MAJORS = tuple(map(int, os.environ.get("TEST_SERVERS", str(EMBEDDED)).split(",")))
"""The versions on which tests with servers of their own run: ``TEST_SERVERS``, as in ``make soak``, else ours alone."""


class Server:
    """A server that can be started, stopped, killed, copied and promoted."""

    def __init__(self, folder: Path, major: int = EMBEDDED) -> None:
        self._user = server_user()
        self._programs = programs(major)
        self.major = major
        self.folder = folder
        self.port = free_port()
        self.settings: dict[str, str] = dict(SETTINGS)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """The database ``foldbook`` as its owner."""
        return self.dsn_of(OWNER)

    def dsn_of(self, role: str, database: str = "foldbook") -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    @property
    def superuser_dsn(self) -> str:
        return self.dsn_of("postgres", "postgres")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def create(self) -> None:
        """A new cluster with an empty database ``foldbook``, started."""
        self._make_folder()
        self._run("initdb", "-D", ".", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        (self.folder / "pg_hba.conf").write_text(ACCESS)
        self.start()
        self.execute(f"create role {OWNER} login createrole")
        self.execute(f"create database foldbook owner {OWNER}")

    def copy(self, primary: Server, name: str = "replica") -> None:
        """Become a streaming replica of ``primary``, known to it as ``name``, and start."""
        self._make_folder()
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name={name}"
        self._run("pg_basebackup", "-D", ".", "-d", source, "--checkpoint=fast", "--write-recovery-conf")
        self.start()

    def start(self) -> None:
        """Return when it lets somebody in."""
        log = self.folder.with_suffix(".log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", "."),
                    *(f"--{name}={value}" for name, value in ({"port": str(self.port)} | self.settings).items()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=ENVIRONMENT,
                start_new_session=True,
                **self._user.popen_arguments(),
            )
        block_until(lambda: self._answers() or self._process is None or self._process.poll() is not None)
        assert self._process.poll() is None, self.folder.with_suffix(".log").read_text()[-2000:]

    def stop(self) -> None:
        """A fast shutdown."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def kill(self) -> None:
        """SIGKILL, the server and all its children: as if the machine lost power, but for what the kernel still has."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                for one in family:
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
                psutil.wait_procs(family, 30)
            process.wait(30)
            (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def promote(self) -> None:
        """Return when the replica is a primary."""
        self.execute("select pg_promote(true, 60)")

    def configure(self, **settings: str) -> None:
        """Change settings of the running server that need no restart."""
        for name, value in settings.items():
            self.execute(f"alter system set {name} = '{value}'")  # names and values of a test's own
        self.execute("select pg_reload_conf()")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the superuser, outside of a transaction."""
        with psycopg.connect(self.dsn_of("postgres", database), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type, unused-ignore]
            return cursor.fetchall() if cursor.description else []

    def has_replayed(self, primary: Server) -> bool:
        """Whether this replica shows what ``primary`` has written until now."""
        ((lsn,),) = primary.execute("select pg_current_wal_lsn()::text")
        ((done,),) = self.execute(f"select coalesce(pg_last_wal_replay_lsn() >= '{lsn}', false)")
        return bool(done)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.superuser_dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700)
        os.chown(self.folder, self._user.uid, self._user.gid)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            cwd=self.folder,
            env=ENVIRONMENT,
            timeout=120,
            **self._user.popen_arguments(),
        )
        assert done.returncode == 0, done.stderr.decode()


def programs(major: int) -> Path:
    """The folder of initdb and postgres in this version. Leaves the test out if this machine has none."""
    if major == EMBEDDED:
        return server_programs(server_user())
    folder = Path(f"/usr/lib/postgresql/{major}/bin")
    if not (folder / "postgres").exists():
        leave_out(f"PostgreSQL {major} is not installed: apt-get install postgresql-{major}")
    return folder


@contextmanager
def servers(major: int = EMBEDDED, settings: Mapping[str, str] | None = None) -> Iterator[Rack]:
    """Servers in a temporary folder, ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-rack-"))
    folder.chmod(0o711)
    rack = Rack(folder, major, settings or {})
    try:
        yield rack
    finally:
        rack.stop()
        shutil.rmtree(folder)


class Rack:
    """Where servers stand."""

    def __init__(self, folder: Path, major: int, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._major = major
        self._settings = settings
        self._servers: list[Server] = []

    def primary(self, **settings: str) -> Server:
        """A new server with an empty database."""
        server = self._place(settings)
        server.create()
        return server

    def replica(self, primary: Server, name: str = "replica", **settings: str) -> Server:
        """A streaming replica; synchronous once the primary's ``synchronous_standby_names`` has its name."""
        server = self._place(settings)
        server.copy(primary, name)
        return server

    def stop(self) -> None:
        with ExitStack() as stack:
            for server in self._servers:
                stack.callback(server.kill)

    def _place(self, settings: Mapping[str, str]) -> Server:
        server = Server(self._folder / f"server-{len(self._servers)}", self._major)
        server.settings |= {**self._settings, **settings}
        self._servers.append(server)
        return server
