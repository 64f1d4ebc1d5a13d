"""Processes of the command line for a test: started, watched, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.brokers.venue_process import venue_process
from tests.waiting import block_until

CHECKOUT = Path(__file__).parents[2]


class Process:
    """A ``foldbook`` command, whose output goes to a file."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._said = folder / f"{'-'.join(arguments[:2])}-{len(list(folder.iterdir()))}.txt"
        with self._said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "foldbook.cli", *arguments],
                cwd=CHECKOUT,
                env=os.environ | variables,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    @property
    def lines(self) -> list[str]:
        return self.said.splitlines()

    def wait_for(self, text: str) -> None:
        """Until it has said that."""
        block_until(lambda: text in self.said or self.process.poll() is not None)
        assert text in self.said, self.said

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(60)
        if self.process.stdin is not None:
            self.process.stdin.close()
        return code


@contextmanager
def running(folder: Path, *arguments: str, **variables: str) -> Iterator[Process]:
    process = Process(folder, *arguments, **variables)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


@contextmanager
def venue(folder: Path) -> Iterator[str]:
    """A real venue; its address."""
    with venue_process(folder / "venue") as running_venue:
        yield running_venue.url
