"""``foldbook demo``: everything as separate processes, and two strategies that trade."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foldbook.engine.rabbit import rabbitmq_server
from tests.leaving_out import leave_out
from tests.services.processes import CHECKOUT, Process
from tests.waiting import block_until


@pytest.mark.parametrize("transport", ["local", "amqp"])
def test_two_strategies_trade_and_can_be_followed_and_nothing_stays(transport: str, tmp_path: Path) -> None:
    if transport == "amqp" and rabbitmq_server() is None:
        leave_out("needs a RabbitMQ: install rabbitmq-server, or set RABBITMQ_SERVER to the program that starts it")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    temporary.chmod(0o755)  # as root the database runs as another user, who has to get in
    process = Process(tmp_path, "demo", "--transport", transport, TMPDIR=str(temporary))
    try:
        process.wait_for("foldbook events follow")
        assert ("over RabbitMQ" in process.said) is (transport == "amqp")
        for name in ("maker", "twap"):
            block_until(lambda name=name: any(_trades(line, name) for line in process.lines))  # type: ignore[misc]
        filled = _first_followed(process)
        assert "OrderFilled" in filled
    finally:
        process.process.send_signal(signal.SIGINT)
        code = process.wait()
    assert code == 0, process.said
    assert any(line.startswith("twap has ended; position") for line in process.lines)
    assert list(temporary.iterdir()) == []


def _trades(line: str, name: str) -> bool:
    return line.startswith(f"{name}-") and ": traded " in line


def _first_followed(process: Process) -> str:
    """The first fill that is shown by what the demonstration says is to be run."""
    (line,) = [line for line in process.lines if line.endswith("foldbook events follow")]
    variables = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
    following = subprocess.Popen(
        [sys.executable, "-m", "foldbook.cli", "events", "follow", "--after", "0:0", "--type", "OrderFilled"],
        cwd=CHECKOUT,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert following.stdout is not None
        return following.stdout.readline()
    finally:
        following.kill()
        following.communicate()
