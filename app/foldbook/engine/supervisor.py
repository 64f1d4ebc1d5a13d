"""``foldbook up``: PostgreSQL, the API and the projector as one thing that starts, recovers and stops together.

Nothing outlives this process. The children watch their standard input, a pipe from here, and end when it closes;
PostgreSQL has its watchdog. The API and the projector share this process's lock on the data folder: should it be
killed, the next one waits until they are gone, and never runs beside them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

import foldbook
from foldbook.config import Settings
from foldbook.engine.console import tell
from foldbook.engine.lock import lock
from foldbook.engine.welcome import welcome
from foldbook.errors import FoldbookError
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import NOT_SEPARATED

READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 15
POLL_S = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RESTARTS_MAX = 5
RESTARTS_WINDOW_S = 60


class SupervisorError(FoldbookError, code="supervisor", title="A part of the engine cannot be kept running"):
    """A part can't be started or kept running; the text says which and what to do."""


class Stopped(BaseException):
    """A signal asked this process to stop."""


class Part(Protocol):
    """Something that runs beside this process."""

    name: str

    def start(self) -> None: ...
    def exit_code(self) -> int | None: ...
    def stop(self) -> None: ...


@dataclass
class Child:
    """A subcommand of ``foldbook`` in a process group of its own: a Ctrl-C is for the supervisor alone."""

    name: str
    arguments: tuple[str, ...]
    lock_fd: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = os.pathsep.join(filter(None, (str(Path(foldbook.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "foldbook.cli", *self.arguments, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            pass_fds=(self.lock_fd,),
            process_group=0,
        )

    def exit_code(self) -> int | None:
        return self.process.poll() if self.process is not None else None

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@dataclass
class Database:
    """The embedded PostgreSQL as a part."""

    server: EmbeddedPostgres
    name: str = "PostgreSQL"

    def start(self) -> None:
        self.server.start()

    def exit_code(self) -> int | None:
        return self.server.exit_code

    def stop(self) -> None:
        self.server.stop()


@dataclass
class Supervisor:
    """Starts parts in order, restarts one that ends, stops them in reverse order."""

    parts: list[Part] = field(default_factory=list)
    restarts: dict[str, list[float]] = field(default_factory=dict)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        tell("stopping")
        while self.parts:
            self.parts.pop().stop()
        tell("stopped")

    def start(self, part: Part) -> None:
        self.parts.append(part)
        part.start()

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """A part that ends before everything was ready once would do so again: no restarts yet."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not is_ready():
            for part in self.parts:
                if (code := part.exit_code()) is not None:
                    raise SupervisorError(f"{part.name} ended with code {code} while starting; see above")
            if time.monotonic() > deadline:
                raise SupervisorError(f"the API did not get ready within {READY_TIMEOUT_S} s; see above")
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Restart what ends, until a signal ends this; :class:`SupervisorError` when that makes no sense any more."""
        while True:
            time.sleep(POLL_S)
            for part in self.parts:
                if (code := part.exit_code()) is not None:
                    self._restart(part, code)

    def _restart(self, part: Part, code: int) -> None:
        now = time.monotonic()
        recent = [at for at in self.restarts.get(part.name, []) if at > now - RESTARTS_WINDOW_S]
        if len(recent) >= RESTARTS_MAX:
            raise SupervisorError(
                f"{part.name} ended {RESTARTS_MAX + 1} times within {RESTARTS_WINDOW_S} s, now with code {code}"
            )
        delay_s = 0.0 if not recent else 0.5 * 2 ** (len(recent) - 1)
        tell(f"{part.name} ended with code {code}; starting it again" + (f" in {delay_s:g} s" if delay_s else ""))
        time.sleep(delay_s)
        self.restarts[part.name] = [*recent, time.monotonic()]
        part.start()


def up(settings: Settings) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; then stop everything and return.

    Raises :class:`AlreadyRunning`, :class:`SupervisorError`, and what the embedded server and the migrations raise.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    with contextlib.suppress(Stopped), lock(settings.data_dir, settings.url) as lock_fd, Supervisor() as supervisor:
        _check_address(settings)
        if settings.is_embedded:
            supervisor.start(Database(EmbeddedPostgres(settings.data_dir)))
        if not migrate(settings.owner_dsn, settings.shards):
            tell(f"roles: {NOT_SEPARATED}")
        supervisor.start(Child("the projector", ("projections", "run"), lock_fd))
        supervisor.start(Child("the API", ("serve",), lock_fd))
        supervisor.wait_until(lambda: _answers(f"{settings.url}/health/ready"))
        print(welcome(settings), flush=True)
        supervisor.watch()


def _check_address(settings: Settings) -> None:
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        raise SupervisorError(
            f"can't listen on {settings.host} port {settings.port} ({error.strerror}): "
            "set FOLDBOOK_HOST and FOLDBOOK_PORT to an address that is free"
        ) from error


def _answers(url: str) -> bool:
    """Whether a GET gives 200. Asked directly, whatever proxy the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=READY_TIMEOUT_S) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
