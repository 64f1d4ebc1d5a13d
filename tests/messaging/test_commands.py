"""``foldbook amqp``: what it prints and declares, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pamqp import commands as spec

from foldbook.cli.exits import Exit
from foldbook.messaging.connection import connected, underlay
from foldbook.messaging.dead_letters import Undelivered, bury
from foldbook.messaging.topology import COMMANDS, DEAD, EVENTS, MARKET, commands_queue, declare, topology

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def foldbook(tmp_path: Path) -> Run:
    def run(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "FOLDBOOK_AMQP_URL": url,
            "FOLDBOOK_DATA_DIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        return subprocess.run(
            [sys.executable, "-m", "foldbook.cli", "amqp", *arguments],
            env=os.environ | environment | variables,
            capture_output=True,
            text=True,
        )

    return run


def test_show_names_everything(foldbook: Run) -> None:
    shown = foldbook("", "show", FOLDBOOK_SHARDS="2")
    assert shown.returncode == Exit.DONE
    for name in (MARKET, COMMANDS, EVENTS, DEAD, commands_queue(0), commands_queue(1)):
        assert name in shown.stdout


def test_check_tells_what_is_missing_until_it_is_declared(foldbook: Run, amqp_url: str) -> None:
    before = foldbook(amqp_url, "check", "--json")
    assert before.returncode == Exit.DIFFERENT
    assert {each["state"] for each in json.loads(before.stdout)} == {"missing"}
    assert foldbook(amqp_url, "declare").returncode == Exit.DONE
    after = foldbook(amqp_url, "check", "--json")
    assert after.returncode == Exit.DONE
    assert {each["state"] for each in json.loads(after.stdout)} == {"equal"}


async def test_declare_leaves_what_is_there_with_other_arguments(foldbook: Run, amqp_url: str) -> None:
    async with connected(amqp_url, "test") as connection, connection.channel() as channel:
        await channel.declare_queue(DEAD, durable=True)
    declared = foldbook(amqp_url, "declare")
    assert declared.returncode == Exit.FAILED
    assert "other arguments" in declared.stderr
    assert "Traceback" not in declared.stderr


async def test_a_dead_letter_is_listed_shown_sent_again_and_dropped(foldbook: Run, amqp_url: str) -> None:
    properties = spec.Basic.Properties(message_id="m-1", message_type="PlaceOrder")
    async with connected(amqp_url, "test") as connection:
        async with connection.channel() as channel:
            await declare(channel, topology(1))
        grave = await underlay(connection).channel()
        message = Undelivered(COMMANDS, "0", properties, b'{"quantity": 1}')
        letters = [await bury(grave, message, "malformed", "quantity: no text") for _ in range(2)]

    listed = await asyncio.to_thread(foldbook, amqp_url, "dead", "list", "--json")
    assert [(each["id"], each["reason"]) for each in json.loads(listed.stdout)] == [
        (str(letter.id), "quantity: no text") for letter in letters
    ]
    shown = foldbook(amqp_url, "dead", "show", str(letters[0].id))
    assert json.loads(shown.stdout)["body"] == '{"quantity": 1}'
    again = foldbook(amqp_url, "dead", "retry", str(letters[0].id), FOLDBOOK_KEY="fbk_abc_secret")
    assert again.returncode == Exit.DONE, again.stderr
    assert "secret" not in again.stdout + again.stderr
    assert foldbook(amqp_url, "dead", "drop", str(letters[1].id)).returncode == Exit.DONE
    assert foldbook(amqp_url, "dead", "drop", str(letters[1].id)).returncode == Exit.FAILED
    assert json.loads(foldbook(amqp_url, "dead", "list", "--json").stdout) == []
    async with connected(amqp_url, "test") as connection, connection.channel() as channel:
        queue = await channel.get_queue(commands_queue(0))
        sent = await queue.get(no_ack=True)
        assert sent.headers["authorization"] == "Bearer fbk_abc_secret"


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("", Exit.USAGE, "FOLDBOOK_AMQP_URL is not set"),
        ("http://127.0.0.1", Exit.USAGE, "amqp://user:password@host:port"),
        ("amqp://foldbook:a-secret@127.0.0.1:1/", Exit.FAILED, "RabbitMQ at 127.0.0.1"),
    ],
)
def test_without_a_rabbitmq_it_says_so(foldbook: Run, url: str, code: Exit, says: str) -> None:
    checked = foldbook(url, "check")
    assert checked.returncode == code
    assert says in checked.stderr
    assert "a-secret" not in checked.stderr
    assert "Traceback" not in checked.stderr
