"""A RabbitMQ of our own, from a program that is installed: for the demonstration, the tests and the benchmarks.

It listens on 127.0.0.1 only, has its own port mapper, cookie and data, and everything that it started is ended by id.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from functools import cache
from pathlib import Path

import psutil

from foldbook.errors import FoldbookError

USER = "foldbook"
READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
POLL_S = 0.05

ERLANG_FLAGS = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
"""Schedulers that have nothing to do leave the processors to others; nodes are reached from this machine only."""


class RabbitError(FoldbookError, code="rabbitmq", status=500, title="RabbitMQ cannot be started"):
    pass


@cache
def rabbitmq_server() -> Path | None:
    """The program that starts a RabbitMQ without systemd: ``RABBITMQ_SERVER`` names it, else it is looked for."""
    if named := os.environ.get("RABBITMQ_SERVER"):
        return Path(named)
    installed = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    found = shutil.which("rabbitmq-server")
    return installed[-1] if installed else Path(found).resolve() if found else None


@cache
def _epmd() -> Path:
    """Erlang's port mapper, which is on the path or beside the runtime."""
    found = shutil.which("epmd") or next(iter(sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))), None)
    if found is None:
        raise RabbitError("epmd, which belongs to Erlang, is not installed")
    return Path(found)


def free_port() -> int:
    """A port of this machine for a process that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class RabbitServer:
    """A broker whose data are in ``folder``, which is its own."""

    name = "RabbitMQ"

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self.program = program
        self.port = free_port()
        self._password = secrets.token_hex(16)
        self._epmd_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            f"default_user = {USER}\n"
            f"default_pass = {self._password}\n"
            "disk_free_limit.absolute = 1MB\n"
            "log.file.level = warning\n"
        )
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"foldbook-{secrets.token_hex(4)}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_FLAGS,
            # The start script then becomes the broker, instead of its parent.
            "RABBITMQ_ALLOW_INPUT": "1",
        }

    @property
    def url(self) -> str:
        return self.url_of("%2F")

    def url_of(self, virtual_host: str) -> str:
        return f"amqp://{USER}:{self._password}@127.0.0.1:{self.port}/{virtual_host}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def exit_code(self) -> int | None:
        """None: it runs, or was not started."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, on the data that there is, and return when it takes connections."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it. Returns at once."""
        if self._mapper is None:
            self._mapper = subprocess.Popen(
                [str(_epmd()), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
            )
        with (self.folder / "said").open("ab") as said:
            self._process = subprocess.Popen(
                [str(self.program), "-noinput"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                process_group=0,
            )

    def wait(self) -> None:
        """Until it takes connections. Raises ``RabbitError``."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._listens():
            if self.exit_code() is not None or time.monotonic() > deadline_s:
                raise RabbitError(f"RabbitMQ did not start: {(self.folder / 'said').read_text()[-2000:]}")
            time.sleep(POLL_S)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """As if the power went off."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End everything that it started. There is nothing worth keeping, so nobody waits for a clean end."""
        if self._process is not None and self._process.poll() is None:
            helpers = psutil.Process(self._process.pid).children(recursive=True)
            self.kill()
            for helper in helpers:  # they end by themselves when the broker has gone
                helper.wait(STOP_TIMEOUT_S)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None
