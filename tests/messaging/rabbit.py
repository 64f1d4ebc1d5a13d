"""A real RabbitMQ for tests: started on ports of its own, killed, started again on the same data, alarmed.

It listens on 127.0.0.1 only, has its own port mapper, cookie and data, and everything that it started is ended by id.
A test gets a virtual host of its own, which is a broker's broker: no queue of another test is in it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from tests.waiting import block_until, free_port

USER = "foldbook"
PASSWORD = "a-password-for-tests"
CTL_TIMEOUT_S = 60

ERLANG_FLAGS = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
"""Schedulers that have nothing to do leave the processors to the tests; nodes are reached from this machine only."""


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
    found = shutil.which("epmd") or next(iter(sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))))
    return Path(found)


class Rabbit:
    """A broker on ``folder``. ``virtual_host()`` makes another."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self._program = program
        self.port = free_port()
        self._epmd_port = free_port()
        self._node = f"foldbook-{secrets.token_hex(4)}@localhost"
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None
        cookie = folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            f"default_user = {USER}\n"
            f"default_pass = {PASSWORD}\n"
            "disk_free_limit.absolute = 1MB\n"
            "log.file.level = warning\n"
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
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
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{virtual_host}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # -- its life ------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start it, on the data that there is. Returns at once."""
        if self._mapper is None:
            self._mapper = subprocess.Popen(
                [str(_epmd()), "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        with (self.folder / "said").open("ab") as said:
            self._process = subprocess.Popen(
                [str(self._program), "-noinput"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def start(self) -> None:
        """The same, and return when it takes connections."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Until it takes connections."""
        process = self._process
        assert process is not None

        def listens() -> bool:
            assert process.poll() is None, (self.folder / "said").read_text()
            with socket.socket() as probe:
                probe.settimeout(1)
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        block_until(listens)

    def kill(self) -> None:
        """As if the power went off."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End everything that it started. There is nothing worth keeping, so nobody waits for a clean end."""
        if self.is_running:
            helpers = psutil.Process(self.pid).children(recursive=True)
            self.kill()
            for helper in helpers:  # they end by themselves when the broker has gone
                helper.wait(CTL_TIMEOUT_S)
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
            self._mapper = None

    # -- what it is told -----------------------------------------------------------------------------------------

    def ctl(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` prints. Takes some two seconds."""
        done = subprocess.run(
            [str(self._program.with_name("rabbitmqctl")), "--quiet", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CTL_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def virtual_host(self) -> str:
        """The URL of a new virtual host."""
        name = f"test-{secrets.token_hex(6)}"
        self.ctl(
            "eval",
            f'rabbit_vhost:add(<<"{name}">>, <<"test">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"{USER}">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).',
        )
        return self.url_of(name)

    def raise_disk_alarm(self) -> None:
        """No publisher is read from until the alarm is over."""
        self.ctl("set_disk_free_limit", "100000GB")

    def clear_disk_alarm(self) -> None:
        self.ctl("set_disk_free_limit", "1MB")

    def raise_memory_alarm(self) -> None:
        self.ctl("set_vm_memory_high_watermark", "0")

    def clear_memory_alarm(self) -> None:
        self.ctl("set_vm_memory_high_watermark", "0.4")

    def delete_queue(self, name: str, virtual_host: str = "/") -> None:
        self.ctl("delete_queue", "--vhost", virtual_host, name)

    def queues(self, virtual_host: str = "/") -> dict[str, int]:
        """How many messages each queue holds."""
        listed = self.ctl("list_queues", "--vhost", virtual_host, "--no-table-headers", "name", "messages")
        return {name: int(count) for name, count in (line.split("\t") for line in listed.splitlines())}


@contextmanager
def rabbit(program: Path) -> Iterator[Rabbit]:
    """A started broker in a temporary folder, ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="foldbook-rabbit-"))
    broker = Rabbit(folder, program)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder)
