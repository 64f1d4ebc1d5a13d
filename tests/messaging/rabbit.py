"""A real RabbitMQ for tests, which they kill, start again on the same data, and alarm.

A test gets a virtual host of its own, which is a broker's broker: no queue of another test is in it.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foldbook.engine.rabbit import USER, RabbitServer

CTL_TIMEOUT_S = 60


class Rabbit(RabbitServer):
    """``virtual_host()`` makes another than the one of ``url``."""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ctl(self, *arguments: str) -> str:
        """What ``rabbitmqctl`` prints. Takes some two seconds."""
        done = subprocess.run(
            [str(self.program.with_name("rabbitmqctl")), "--quiet", *arguments],
            env=self.environment,
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

    def write_down(self) -> None:
        """What was declared outlives a kill afterwards.

        RabbitMQ 3.10 answers a declaration when its Mnesia has logged it, and a moment before the log says that it is
        decided; a transaction without its decision is undone at the next start.
        """
        self.ctl("eval", "mnesia:dump_log().")

    def remembers(self, queue: str) -> bool:
        """Would it know a quorum queue after a kill? It takes RabbitMQ a second to write down that there is one."""
        return any(queue.encode() in written.read_bytes() for written in self.folder.rglob("names.dets"))

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
