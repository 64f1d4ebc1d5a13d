"""The command line answers with one line and a code that means something."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.trading.book import ORDER_BOOK
from tests.builders import ACCOUNT, open_account, place, trade


def foldbook(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "foldbook.cli", *arguments], env=os.environ | variables, capture_output=True, text=True
    )


def test_a_wrong_setting_is_named() -> None:
    done = foldbook("doctor", FOLDBOOK_PORT="many")
    assert done.returncode == 2
    assert "FOLDBOOK_PORT: " in done.stderr


@pytest.mark.parametrize("command", [["doctor"], ["migrate"]])
def test_a_database_that_is_not_there(command: list[str], tmp_path: Path) -> None:
    nowhere = f"postgresql://foldbook:secret@/foldbook?host={tmp_path}"
    done = foldbook(*command, DATABASE_URL=nowhere)
    assert done.returncode == 4
    assert "secret" not in done.stdout + done.stderr


def test_doctor_tells_all_but_secrets(database: str) -> None:
    secret = f"{database}{'&' if '?' in database else '?'}sslpassword=secret"
    done = foldbook("doctor", "--json", DATABASE_URL=secret, FOLDBOOK_SHARD="2")
    report = json.loads(done.stdout)
    assert report["database"]["shard_count"] == 1
    assert report["database"]["events"] == 0
    assert report["database"]["roles"] == "separated"
    assert report["settings"]["not known (misspelt?)"] == "FOLDBOOK_SHARD"
    assert "secret" not in done.stdout
    plain = foldbook("doctor", DATABASE_URL=secret)
    assert "FOLDBOOK_PORT" in plain.stdout
    assert "secret" not in plain.stdout


def test_another_number_of_shards(database: str) -> None:
    done = foldbook("migrate", DATABASE_URL=database, FOLDBOOK_SHARDS="2")
    assert done.returncode == 6
    assert "FOLDBOOK_SHARDS=1" in done.stderr


def test_psql_passes_arguments_on(database: str) -> None:
    done = foldbook("psql", "-A", "-t", "-c", "select 40 + 2", DATABASE_URL=database)
    assert (done.returncode, done.stdout) == (0, "42\n")


def test_migrate_without_a_running_engine(tmp_path: Path) -> None:
    done = foldbook("migrate", FOLDBOOK_DATA_DIR=str(tmp_path), DATABASE_URL="")
    assert (done.returncode, done.stdout) == (0, "migrated\n")
    server = EmbeddedPostgres(tmp_path)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn)
    server.start()
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("select shard_count from eventstore.log_info").fetchone() == (1,)
    server.stop()


def test_replay_tells_the_state_at_a_position_and_its_digest(database: str) -> None:
    async def trade_a_little() -> None:
        store = PostgresStore(database)
        bus = CommandBus(store, ORDER_BOOK)
        await bus.start()
        for command in (open_account(), place(), trade("e-1", "0.5")):
            await bus.execute(command)
        await bus.stop()
        await store.close()

    asyncio.run(trade_a_little())
    whole = foldbook("replay", ACCOUNT, "--json", DATABASE_URL=database)
    found = json.loads(whole.stdout)
    assert (found["sequence"], found["state"]["orders"]["o-1"]["cum_qty"]) == (3, "0.5")
    earlier = json.loads(foldbook("replay", ACCOUNT, "--at", "2", "--json", DATABASE_URL=database).stdout)
    assert (earlier["sequence"], earlier["state"]["orders"]["o-1"]["cum_qty"]) == (2, "0")
    assert earlier["sha256"] != found["sha256"]
    assert foldbook("replay", ACCOUNT, "--json", DATABASE_URL=database).stdout == whole.stdout
    assert foldbook("replay", "bob/binance/live", DATABASE_URL=database).returncode == 1
    assert foldbook("replay", "bob", DATABASE_URL=database).returncode == 2
    assert foldbook("replay", ACCOUNT, "--at", "noon", DATABASE_URL=database).returncode == 2
