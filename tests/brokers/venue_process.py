"""A venue as a process of its own, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from foldbook.engine.rabbit import free_port

READY_TIMEOUT_S = 60


class VenueProcess:
    """A running venue on a data folder; it can be killed and started again on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self) -> None:
        arguments = ["venue", "--port", str(self.port), "--data-dir", str(self.folder), *self.options]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "foldbook.cli", *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, "the venue has ended"
            try:
                if self.client.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError("the venue is not ready")

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    # -- what it is told and asked -------------------------------------------------------------------------------

    def put(self, path: str, body: Any) -> Any:
        answer = self.client.put(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def quote(self, symbol: str, bid: str, ask: str, bid_size: str | None = None, ask_size: str | None = None) -> None:
        sizes = {"bid_size": bid_size, "ask_size": ask_size}
        given = {name: size for name, size in sizes.items() if size is not None}
        self.put("/quotes", {"symbol": symbol, "bid": bid, "ask": ask, **given})

    def faults(self, **faults: int | str) -> None:
        self.put("/faults", faults)

    def orders(self, account: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            parameters: dict[str, Any] = {"after": after, **({} if account is None else {"account": account})}
            page = self.client.get("/orders", params=parameters).json()
            found += page["orders"]
            if page.get("next") is None:
                return found
            after = page["next"]

    def fills(self, account: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = 0
        while True:
            parameters: dict[str, Any] = {"after": after, **({} if account is None else {"account": account})}
            page = self.client.get("/fills", params=parameters).json()
            found += page["fills"]
            if not page["has_more"]:
                return found
            after = page["next"]


@contextmanager
def venue_process(folder: Path, *options: str) -> Iterator[VenueProcess]:
    venue = VenueProcess(folder, *options)
    try:
        venue.start()
        yield venue
    finally:
        venue.stop()
