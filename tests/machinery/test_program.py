"""A database whose code a newer program has replaced is refused by an older one, whichever command it runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import psycopg
import pytest

from foldbook.cli.exits import Exit
from foldbook.engine.rabbit import free_port
from foldbook.errors import LogMismatch
from foldbook.postgres import migrations, program
from foldbook.postgres.connection import connect, create_pool
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role


def set_program(dsn: str, version: str | None) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("update eventstore.log_info set program = %s", [version])


def program_of(dsn: str) -> str | None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select program from eventstore.log_info").fetchone()
        assert row is not None
        return None if row[0] is None else str(row[0])


def forget_code(dsn: str) -> None:
    """As if a file had changed since the last migration."""
    with psycopg.connect(dsn) as connection:
        connection.execute("update eventstore.code set sha256 = 'other' where path like '%/head.sql'")


def test_a_migration_writes_down_whose_code_it_is(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program_of(database) == program.VERSION
    set_program(database, "0.0.1")
    migrate(database, shard_count=1)
    assert program_of(database) == "0.0.1", "the files are the same: the older program may go on"
    forget_code(database)
    migrate(database, shard_count=1)
    assert program_of(database) == program.VERSION


@pytest.mark.parametrize("version", ["99.0", "0.1.1", "0.10.0"])
def test_an_older_program_leaves_it_alone(database: str, version: str) -> None:
    set_program(database, version)
    forget_code(database)
    with pytest.raises(LogMismatch, match=f"Foldbook {version}.*Foldbook {program.VERSION}"):
        migrate(database, shard_count=1)
    for role in (ENGINE, AUDITOR):
        with pytest.raises(LogMismatch, match=version):
            asyncio.run(connect(as_role(database, role)))
        with pytest.raises(LogMismatch, match=version):
            asyncio.run(_pool(as_role(database, role)))
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from eventstore.code where sha256 = 'other'").fetchone() == (1,)


async def _pool(dsn: str) -> None:
    pool = await create_pool(dsn, min_size=1, max_size=1)
    pool.terminate()


@pytest.mark.parametrize("version", [None, program.VERSION, "0.0.9", "0.1.0.dev1"])
def test_a_program_of_the_same_version_with_other_files_works(database: str, version: str | None) -> None:
    set_program(database, version)
    forget_code(database)
    migrate(database, shard_count=1)
    assert program_of(database) == program.VERSION
    asyncio.run(connect_and_close(as_role(database, ENGINE)))


async def connect_and_close(dsn: str) -> None:
    await (await connect(dsn)).close()


def test_an_engine_that_runs_is_refused_at_its_next_connection(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not stopped before the upgrade."""

    async def upgraded_under_it() -> None:
        before = await connect(as_role(database, ENGINE))
        monkeypatch.setattr(migrations, "VERSION", "99.0")
        forget_code(database)
        migrate(database, shard_count=1)
        with pytest.raises(LogMismatch, match=r"99\.0"):
            await connect(as_role(database, ENGINE))
        await before.close()

    asyncio.run(upgraded_under_it())


COMMANDS = [
    *(["migrate"], ["up"], ["serve"], ["projections", "run"], ["projections", "rebuild", "orders"]),
    *(["audit", "verify"], ["gateway"], ["keys", "list"]),
]


def test_every_command_ends_with_code_6(database: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    set_program(database, "99.0")
    folder = tmp_path_factory.mktemp("data")
    environment = os.environ | {
        "DATABASE_URL": database,
        "FOLDBOOK_DATA_DIR": str(folder),
        "FOLDBOOK_AMQP_URL": "amqp://127.0.0.1:1/",
        "FOLDBOOK_PORT": str(free_port()),
        "FOLDBOOK_VENUE_PORT": str(free_port()),
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "foldbook.cli", *command], env=environment, stderr=subprocess.PIPE, text=True
        )
        for command in COMMANDS
    ]
    for command, process in zip(COMMANDS, running, strict=True):
        _, told = process.communicate(timeout=120)
        assert (command, process.returncode) == (command, Exit.OTHER_LOG), told
        assert "99.0" in told and "Traceback" not in told
