"""A process that was told another number of shards than the log has."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import psycopg
import pytest
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.engine.doctor.checks import shards
from foldbook.engine.doctor.finding import Patient
from foldbook.errors import LogMismatch
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.migrations import migrate
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account
from tests.eventstore.test_store_contract import opened

PROCESSES = {
    "serve": (),
    "project": (),
    "gateway": (),
    "relay": (),
    "intake": (),
    "strategy": ("run", "foldbook.strategies.examples.twap:Twap", "--account", "a/b/simulated", "--symbols", "X"),
}


async def test_a_shard_that_is_not_the_logs_takes_no_command(database: str) -> None:
    store = PostgresStore(database)
    with pytest.raises(LogMismatch, match="there is no shard 1"):
        await store.append(1, [opened()])
    with pytest.raises(LogMismatch, match="there is no shard 2"):
        await store.append(2, [opened(), opened("bob/x/live")])
    bus = CommandBus(store, ORDER_BOOK, shard_count=4)
    await bus.start()
    answers = await asyncio.gather(
        *(bus.execute(open_account(f"user-{n}/x/live")) for n in range(20)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {LogMismatch}, "also in shard 0, which does exist"
    await bus.stop()
    await store.close()
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from eventstore.commits").fetchone() == (0,)


def test_doctor_says_so(database: str) -> None:
    with psycopg.connect(database) as connection:
        told = list(shards.check(Patient(Settings(database_url=SecretStr(database), shards=4), connection)))
        assert [finding.mend for finding in told] == ["set FOLDBOOK_SHARDS=1"]
        connection.execute("delete from eventstore.shards")
        (finding,) = shards.check(Patient(Settings(database_url=SecretStr(database)), connection))
        assert finding.mend == "foldbook migrate"
    migrate(database, 1)


async def test_a_log_of_several_shards_takes_commands_in_each(empty_database: str) -> None:
    migrate(empty_database, 3)
    store = PostgresStore(empty_database)
    bus = CommandBus(store, ORDER_BOOK, shard_count=3)
    await bus.start()
    results = await asyncio.gather(*(bus.execute(open_account(f"user-{n}/x/live")) for n in range(20)))
    assert {result.shard for result in results} == {0, 1, 2}
    await bus.stop()
    await store.close()


@pytest.mark.parametrize("is_supervised", [False, True])
def test_no_process_begins_with_another_number_of_shards(database: str, is_supervised: bool) -> None:
    environment = os.environ | {
        "DATABASE_URL": database,
        "FOLDBOOK_SHARDS": "4",
        "FOLDBOOK_AMQP_URL": "amqp://127.0.0.1:1/",
        "FOLDBOOK_PORT": "1",
    }
    names = ["serve"] if is_supervised else list(PROCESSES)
    running = {
        name: subprocess.Popen(
            [
                *(sys.executable, "-m", "foldbook.cli", name, *PROCESSES[name]),
                *(("--until-stdin-closes",) if is_supervised else ()),
            ],
            env=environment,
            stdin=subprocess.PIPE if is_supervised else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in names
    }
    said = {name: process.stdout.read() for name, process in running.items() if process.stdout is not None}
    for process in running.values():
        process.wait(60)
        process.communicate()
    assert {name: process.returncode for name, process in running.items()} == dict.fromkeys(names, 6), said
    assert all("set FOLDBOOK_SHARDS=1" in text for text in said.values())
