"""What ``foldbook up`` runs: parts that can be started, watched and stopped.

No part outlives the supervisor. Children watch their standard input, a pipe from the supervisor, and end when it
closes; PostgreSQL has its watchdog. Children also share the lock on the data folder: if the supervisor is killed, the
next one waits until they are gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import foldbook
from foldbook.config import LIVE_PREFIX
from foldbook.engine.privileges import Handover
from foldbook.postgres.embedded import EmbeddedPostgres

STOP_TIMEOUT_S = 15


class Part(Protocol):
    """Something that runs beside this process."""

    name: str

    def start(self) -> None: ...
    def exit_code(self) -> int | None: ...
    def stop(self) -> None: ...


@dataclass
class Child:
    """A subcommand of ``foldbook`` in its own process group, so that a Ctrl-C reaches only the supervisor.

    ``handover``: it becomes another user, once it has its code. ``has_credentials``: those of live accounts are in its
    environment, if they are in this one.
    """

    name: str
    arguments: tuple[str, ...]
    lock_fd: int
    handover: Handover | None = None
    has_credentials: bool = False
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = os.pathsep.join(filter(None, (str(Path(foldbook.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "foldbook.cli", *self.arguments, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            env=self._environment() | {"PYTHONPATH": path} | (self.handover.environment() if self.handover else {}),
            pass_fds=(self.lock_fd, *(self.handover.fds if self.handover else ())),
            process_group=0,
        )

    def _environment(self) -> dict[str, str]:
        names = [name for name in os.environ if self.has_credentials or not name.startswith(LIVE_PREFIX)]
        return {name: os.environ[name] for name in names}

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
