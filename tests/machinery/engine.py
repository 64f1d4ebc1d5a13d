"""A real ``foldbook up``, to be started, used and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from tests.waiting import block_until


class Engine:
    """A running ``foldbook up`` and what it printed."""

    def __init__(self, data_dir: Path, access: str = "keys") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
            self.port, self.venue_port = free.getsockname()[1], another.getsockname()[1]
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {
            "FOLDBOOK_PORT": str(self.port),
            "FOLDBOOK_VENUE_PORT": str(self.venue_port),
            "FOLDBOOK_DATA_DIR": str(data_dir),
            "DATABASE_URL": "",
            "FOLDBOOK_ACCESS": access,
        }
        self.process: subprocess.Popen[str] | None = None
        self.said = ""

    def start(self) -> None:
        """Return when it has printed that it is ready."""
        out = (self.data_dir.parent / "said").open("w+")
        with out:
            process = self.process = subprocess.Popen(
                [sys.executable, "-m", "foldbook.cli", "up"], env=self.environment, stdout=out, stderr=out, text=True
            )
        path = Path(out.name)
        block_until(lambda: "Ctrl-C stops everything" in path.read_text() or process.poll() is not None)
        self.said = path.read_text()
        assert process.poll() is None, self.said

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(60)

    def processes(self) -> list[psutil.Process]:
        """The supervisor and everything below it."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def part(self, *words: str) -> psutil.Process:
        """The process whose command line has ``words``."""
        (found,) = [process for process in self.processes() if set(words) <= set(command_line(process))]
        return found

    def postgres(self) -> psutil.Process:
        (found,) = [process for process in self.processes() if "-D" in command_line(process)]
        return found

    def line(self, start: str) -> str:
        """The first printed line that starts so."""
        return next(line.strip() for line in self.said.splitlines() if line.strip().startswith(start))

    def place_and_read(self, order_id: str) -> None:
        account = "/accounts/bob/binance/simulated"
        with httpx.Client(base_url=self.url, trust_env=False, headers=self.headers) as client:
            client.post("/accounts", json={"user": "bob", "exchange": "binance", "broker": "simulated"})
            order = {"strategy_id": "s", "symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "quantity": "1"}
            placed = client.post(f"{account}/orders", json=order | {"order_id": order_id, "time_in_force": "GTC"})
            assert placed.status_code == 201, placed.text
            self.read(order_id, min_position=placed.json()["position"])

    def read(self, order_id: str, min_position: int = 0) -> None:
        """Return when the order can be read: after a kill, the parts take a moment to reconnect."""
        url = f"{self.url}/accounts/bob/binance/simulated/orders/{order_id}"
        block_until(lambda: answers(f"{url}?min_position={min_position}", self.headers))

    @property
    def headers(self) -> dict[str, str]:
        """Those of the operator whose key the first start made."""
        return {"Authorization": f"Bearer {(self.data_dir / 'operator.key').read_text().strip()}"}


def command_line(process: psutil.Process) -> list[str]:
    """Empty once it has ended, as a server's backends do at any time."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def answers(url: str, headers: dict[str, str] | None = None) -> bool:
    try:
        return bool(httpx.get(url, trust_env=False, headers=headers).status_code == 200)
    except httpx.TransportError:
        return False
