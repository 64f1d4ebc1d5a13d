"""``foldbook up`` with a RabbitMQ: the relay is one of its parts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from foldbook.messaging.connection import connected
from foldbook.messaging.topology import EVENTS, declare, topology
from tests.machinery.engine import Engine
from tests.waiting import until


async def test_the_relay_is_started_restarted_and_examined(amqp_url: str, tmp_path: Path) -> None:
    engine = Engine(tmp_path / "data")
    engine.environment |= {"FOLDBOOK_AMQP_URL": amqp_url, "FOLDBOOK_BROKERS": ""}
    async with connected(amqp_url, "test") as connection, connection.channel() as channel:
        await declare(channel, topology(1))
        queue = await channel.declare_queue("everything", durable=True)
        await queue.bind(EVENTS, "#.OrderCreated")
        await asyncio.to_thread(engine.start)
        try:
            await asyncio.to_thread(engine.place_and_read, "o-1")
            async with asyncio.timeout(60):
                while await queue.get(no_ack=True, fail=False) is None:
                    await asyncio.sleep(0.05)
            first = _relay(engine)
            engine.part("relay").kill()
            await until(lambda: _relay(engine)["epoch"] > first["epoch"] and _relay(engine)["state"] == "working")
            await until(lambda: _relay(engine)["lag"] == 0)
            assert _doctor(engine)["relay"].startswith("working, 0 behind")
        finally:
            assert await asyncio.to_thread(engine.stop) == 0


def _relay(engine: Engine) -> dict[str, Any]:
    [relay] = httpx.get(f"{engine.url}/admin/relays", headers=engine.headers, trust_env=False).json()["relays"]
    found: dict[str, Any] = relay
    return found


def _doctor(engine: Engine) -> dict[str, str]:
    command = [sys.executable, "-m", "foldbook.cli", "doctor", "--json"]
    done = subprocess.run(command, env=engine.environment, capture_output=True, text=True)
    told: dict[str, str] = json.loads(done.stdout)["relay"]
    return told
