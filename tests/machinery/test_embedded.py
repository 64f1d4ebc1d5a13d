"""The embedded server survives what happens to it, and lets nobody in who should stay out."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from urllib.parse import quote

import psutil
import psycopg
import pytest

from foldbook.postgres.binaries import EmbeddedPostgresError, server_user
from foldbook.postgres.connection import connect
from foldbook.postgres.data_folder import UnsafeFolder
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import AUDITOR, ENGINE, OWNER
from tests.waiting import block_until


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server whose folder lies in one that only its maker may enter; tests leave it as it happens."""
    private = tmp_path_factory.mktemp("above") / "private"
    private.mkdir(mode=0o700)
    server = EmbeddedPostgres(private / "data")
    yield server
    server.stop()


@pytest.fixture
def server(used: EmbeddedPostgres) -> EmbeddedPostgres:
    """The same, started."""
    if used.pid is None:
        used.start()
    return used


def ask(dsn: str, question: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return row[0]


def remember(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.dsn) as connection:
        connection.execute(
            "drop schema if exists kept cascade; create schema kept; create table kept.fact as select 42 as answer"
        )


def test_folders_above_stay_closed(server: EmbeddedPostgres) -> None:
    assert stat.S_IMODE(server.data_folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    for role in ("postgres", OWNER, ENGINE, AUDITOR):
        file = server.password_file(role)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert [line.split(":")[3] for line in file.read_text().splitlines()] == [role]
    assert ask(server.dsn, "select 1") == 1


def test_the_role_owns_its_database_and_is_not_a_superuser(server: EmbeddedPostgres) -> None:
    assert ask(server.dsn, "select current_user::text") == "foldbook"
    assert ask(server.dsn, "select usesuper from pg_user where usename = current_user") is False
    assert (
        ask(server.dsn, "select pg_get_userbyid(datdba)::text from pg_database where datname = 'foldbook'")
        == "foldbook"
    )


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    without = server.dsn.replace(quote(str(server.password_file(OWNER)), safe=""), "/nonexistent")
    assert without != server.dsn
    with pytest.raises(psycopg.OperationalError, match="no password"):
        psycopg.connect(without)
    assert "listen_addresses=" in " ".join(psutil.Process(server.pid).cmdline())


def test_durability_is_on(server: EmbeddedPostgres) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert ask(server.dsn, f"select current_setting('{name}')") == "on"
    assert ask(
        server.dsn, "select datlocprovider::text || datlocale from pg_database where datname = current_database()"
    ) == ("bC.UTF-8")


@pytest.mark.parametrize("of", ["role current_user", "database foldbook"])
def test_durability_is_on_in_our_sessions_whatever_role_and_database_say(server: EmbeddedPostgres, of: str) -> None:
    async def in_a_session() -> object:
        session = await connect(server.dsn)
        try:
            return await session.fetchval("select current_setting('synchronous_commit')")
        finally:
            await session.close()

    with psycopg.connect(server.dsn, autocommit=True) as owner:
        owner.execute(f"alter {of} set synchronous_commit = off".encode())
        try:
            assert ask(server.dsn, "select current_setting('synchronous_commit')") == "off"
            assert asyncio.run(in_a_session()) == "on"
        finally:
            owner.execute(f"alter {of} reset synchronous_commit".encode())


def test_it_recovers_after_a_kill(server: EmbeddedPostgres) -> None:
    remember(server)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    block_until(lambda: server.exit_code is not None)

    server.start()

    assert ask(server.dsn, "select answer from kept.fact") == 42


def test_it_waits_for_a_busy_backend_of_a_killed_server(server: EmbeddedPostgres) -> None:
    remember(server)
    assert server.pid is not None
    busy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, psycopg; psycopg.connect(sys.argv[1]).execute('select pg_sleep(3600)')",
            server.dsn,
        ],
        stderr=subprocess.DEVNULL,
    )
    sleeping = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and wait_event = 'PgSleep'"
    block_until(lambda: ask(server.superuser_dsn, sleeping) == 1)
    os.kill(server.pid, signal.SIGKILL)

    server.start()

    assert ask(server.dsn, "select answer from kept.fact") == 42
    assert busy.wait(30) != 0


def test_lost_passwords_are_replaced(server: EmbeddedPostgres) -> None:
    remember(server)
    server.stop()
    server.password_file(OWNER).unlink()

    server.start()

    assert ask(server.dsn, "select answer from kept.fact") == 42


def test_passwords_that_were_in_one_file_are_kept_and_get_one_each(server: EmbeddedPostgres) -> None:
    server.stop()
    files = [server.password_file(role) for role in ("postgres", OWNER, ENGINE, AUDITOR)]
    lines = [file.read_text() for file in files]
    together = server.data_folder / "pgpass"
    together.write_text("".join(lines))
    for file in files[1:]:
        file.unlink()

    server.start()

    assert [file.read_text() for file in files] == lines
    assert not together.exists()
    assert ask(server.dsn_of(AUDITOR), "select current_user::text") == AUDITOR


def test_lock_files_whose_number_is_another_process_s_by_now_do_no_harm(server: EmbeddedPostgres) -> None:
    remember(server)
    server.stop()
    with subprocess.Popen(["/bin/sh", "-c", "read _"], stdin=PIPE, **server_user().popen_arguments()) as bystander:
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (server.folder / name).write_text(f"{bystander.pid}\n{server.folder}\n0\n5432\n.\n\n0 0\nready\n")

        server.start()

        assert bystander.poll() is None
        bystander.communicate()

    assert ask(server.dsn, "select answer from kept.fact") == 42


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new-half"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(tmp_path)
    server.start()
    assert ask(server.dsn, "select 1") == 1
    server.stop()
    assert not half.exists()


def orphan(folder: Path, *, and_watchdog: bool) -> int:
    """Start a server from a process that is then killed; the server's pid."""
    program = (
        "import os, signal, sys; from pathlib import Path; from foldbook.postgres.embedded import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start()\n"
        "if sys.argv[2] == 'True': server._watchdog.kill()\n"
        "print(server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, folder, str(and_watchdog)], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    return int(done.stdout)


def test_it_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    pid = orphan(tmp_path, and_watchdog=False)
    block_until(lambda: not psutil.pid_exists(pid))


def test_an_orphan_is_ended_before_the_next_start(tmp_path: Path) -> None:
    pid = orphan(tmp_path, and_watchdog=True)
    assert psutil.pid_exists(pid)
    server = EmbeddedPostgres(tmp_path)
    server.start()
    assert not psutil.pid_exists(pid)
    assert ask(server.dsn, "select 1") == 1
    server.stop()


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("long-" * 20) / 'it\'s, "quoted" & spaced')
    server.start()
    socket_folder = Path(psycopg.conninfo.conninfo_to_dict(server.dsn)["host"])  # type: ignore[arg-type]
    assert ask(server.dsn, "select 1") == 1
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    server.stop()

    socket_folder.chmod(0o777)
    with pytest.raises(EmbeddedPostgresError, match="not a private folder"):
        server.start()
    socket_folder.rmdir()


def test_another_version_s_cluster_is_left_alone(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.folder / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 17"):
        server.start()
    (server.folder / "PG_VERSION").write_text("18\n")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "postgres.start.log").symlink_to(elsewhere)
    with pytest.raises(UnsafeFolder, match=r"postgres\.start\.log is not a file"):
        EmbeddedPostgres(folder).start()
    assert elsewhere.read_text() == "precious"
