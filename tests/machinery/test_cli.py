"""The command line answers with one line and a code that means something."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from foldbook.cli.exits import Exit
from foldbook.cli.lifetime import is_about_a_file, run
from foldbook.cli.main import main
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.readers.runner import LiveRounds
from foldbook.postgres.connection import connect
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.resources import projection_files
from foldbook.trading.book import ORDER_BOOK
from tests.builders import ACCOUNT, open_account, place, trade
from tests.machinery.cli import foldbook


async def trade_a_little(dsn: str) -> None:
    store = PostgresStore(dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    for command in (open_account(), place(), trade("e-1", "0.5")):
        await bus.execute(command)
    await bus.stop()
    await store.close()


def test_a_wrong_setting_is_named() -> None:
    done = foldbook("doctor", FOLDBOOK_PORT="many")
    assert done.returncode == 2
    assert "FOLDBOOK_PORT: " in done.stderr


def test_what_is_lost_is_told_until_it_is_settled(database: str) -> None:
    with psycopg.connect(database) as connection:
        for after, last in ((2, 4), (4, 4)):
            connection.execute("select eventstore.record_loss(0, %s, %s, 9, sha256('9'), 'process 7')", [after, last])

    def losses(*arguments: str) -> list[str]:
        done = foldbook("audit", "losses", *arguments, DATABASE_URL=database)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.partition("  ")[2] or line for line in done.stdout.splitlines()]

    told = [
        "positions 3 to 4 of shard 0, seen by process 7",
        "commands without events after position 4 of shard 0, seen by process 7",
    ]
    assert losses() == told
    assert losses("--settle") == [f"{one}: settled" for one in told]
    assert losses() == ["nothing is known to be lost"]


def test_who_may_not_settle_is_told_who_may(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("select eventstore.record_loss(0, 2, 4, 9, sha256('9'), 'process 7')")
    done = foldbook("audit", "losses", "--settle", DATABASE_URL=as_role(database, ENGINE))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "permission denied" in done.stderr


def test_doctor_on_a_database_whose_code_is_not_this_program_s(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("drop function brokers.query_doubts cascade")
        connection.execute("drop function access.query_keys cascade")
    done = foldbook("doctor", DATABASE_URL=database)
    assert done.returncode == 7
    assert "foldbook migrate" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--export", "--anchor", "--key", "--resume"])
def test_orders_are_verified_in_the_database_alone(database: str, option: str, tmp_path: Path) -> None:
    done = foldbook("audit", "verify", "--orders", option, str(tmp_path), DATABASE_URL=database)
    assert done.returncode == 2
    assert "--orders" in done.stderr


def test_the_first_anchor_makes_its_key_where_no_engine_ever_ran(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    done = foldbook("audit", "anchor", DATABASE_URL=database, FOLDBOOK_DATA_DIR=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["shard"] == 0
    assert (folder / "anchor.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("command", [["doctor"], ["migrate"]])
def test_a_database_that_is_not_there(command: list[str], tmp_path: Path) -> None:
    nowhere = f"postgresql://foldbook:secret@/foldbook?host={tmp_path}"
    done = foldbook(*command, DATABASE_URL=nowhere)
    assert done.returncode == 4
    assert "secret" not in done.stdout + done.stderr


def test_doctor_prints_everything_but_secrets(database: str) -> None:
    secret = f"{database}{'&' if '?' in database else '?'}sslpassword=secret"
    done = foldbook("doctor", "--json", DATABASE_URL=secret, FOLDBOOK_SHARD="2")
    report = json.loads(done.stdout)
    assert report["database"]["shard_count"] == 1
    assert report["database"]["events"] == 0
    assert report["database"]["roles"] == "separated"
    assert report["settings"]["unknown (misspelt?)"] == "FOLDBOOK_SHARD"
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


def test_a_password_is_not_among_the_arguments_of_psql(database: str) -> None:
    login = conninfo_to_dict(database)
    password = str(login.get("password") or Path(str(login["passfile"])).read_text().strip().rpartition(":")[2])
    url = f"{database}{'&' if '?' in database else '?'}password={quote(password)}"
    show = r"\! tr '\0' ' ' < /proc/$PPID/cmdline"
    done = foldbook("psql", "-c", show, "-c", r"\! echo; echo $PGPASSWORD", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    arguments, given = done.stdout.splitlines()
    assert "--dbname=" in arguments
    assert password not in arguments
    assert given == password


@pytest.mark.parametrize("program", ["psql", "pg_dump", "pg_restore"])
def test_a_passphrase_that_would_be_among_the_arguments_is_refused(database: str, program: str) -> None:
    secret = f"{database}{'&' if '?' in database else '?'}sslkey=/key&sslpassword=TOPSECRET"
    done = foldbook(program, DATABASE_URL=secret)
    assert (done.returncode, done.stdout) == (2, "")
    assert (done.stderr.count("\n"), "sslpassword" in done.stderr) == (1, True)
    assert "TOPSECRET" not in done.stderr


@pytest.mark.parametrize("program", ["psql", "pg_dump", "pg_restore"])
def test_a_client_program_explains_itself(program: str, tmp_path: Path) -> None:
    done = foldbook(program, "--help", FOLDBOOK_DATA_DIR=str(tmp_path / "none"), DATABASE_URL="")
    assert (done.returncode, done.stdout.split()[0]) == (0, program)
    assert not (tmp_path / "none").exists()


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


def test_a_misspelt_variable_is_named(database: str) -> None:
    done = foldbook("migrate", DATABASE_URL=database, FOLDBOOK_SHADRS="2")
    assert done.returncode == 0
    assert done.stderr == "foldbook: warning: FOLDBOOK_SHADRS is not a setting; did you mean FOLDBOOK_SHARDS?\n"


def test_the_version() -> None:
    assert foldbook("--version").stdout == f"{metadata.version('foldbook')}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["projections", "skip", "orders", "--reason", "r", "--position", "99999999999999999999"],
        ["projections", "skip", "orders", "--reason", "r", "--position", "1", "--shard", "2147483648"],
        ["events", "follow", "--url", "http://me:TOPSECRET@h"],
        ["events", "follow", "--url", "nowhere"],
        ["market", "run", "sample", "--venue", "http://h:port"],
        ["strategy", "run", "a:B", "--account", ACCOUNT, "--symbols", "X", "--venue", "http://["],
    ],
    ids=lambda command: command[-1],
)
def test_an_option_that_cannot_be_meant(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["foldbook", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == Exit.USAGE
    said = capsys.readouterr().err
    assert f"'{command[-2]}'" in said or command[-2] in said
    assert "TOPSECRET" not in said


def test_help_explains_every_exit_code() -> None:
    said = foldbook("--help").stdout
    assert [code for code in Exit if f"  {code.value}  {code.meaning}" not in said] == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["serve"], Exit.OTHER_LOG),
        (["projections", "verify"], Exit.OTHER_LOG),
        (["audit", "export", "folder"], Exit.FAILED),
    ],
)
def test_a_database_without_a_log(command: list[str], code: Exit, empty_database: str, tmp_path: Path) -> None:
    done = foldbook(*command, cwd=tmp_path, DATABASE_URL=empty_database)
    assert done.returncode == code
    assert "migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_serving_without_a_database(tmp_path: Path) -> None:
    done = foldbook("serve", DATABASE_URL=f"postgresql://foldbook@/foldbook?host={tmp_path}")
    assert done.returncode == 4


def test_serving_on_a_port_that_is_taken(database: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = foldbook("serve", DATABASE_URL=database, FOLDBOOK_PORT=port)
    assert done.returncode == 1
    assert f"port {port} (it is in use by process {os.getpid()}, " in done.stderr


@pytest.mark.parametrize(
    "command",
    [["audit", "export", "{}/folder"], ["audit", "anchor", "{}/anchors"], ["audit", "verify", "--resume", "{}/r"]],
)
def test_a_file_that_cannot_be_written_is_named(command: list[str], database: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = [word.format(tmp_path / "file") for word in command]
    done = foldbook(*arguments, DATABASE_URL=database, FOLDBOOK_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"foldbook: {arguments[-1]}: Not a directory\n"


@pytest.mark.parametrize(
    ("error", "is_file"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "anchors"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), False),  # a socket's folder
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), False),
        (TimeoutError(), False),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
    ],
)
def test_errors_about_files_and_about_connections(error: OSError, is_file: bool) -> None:
    async def fail() -> None:
        raise error

    assert is_about_a_file(error) is is_file
    with pytest.raises(OSError if is_file else StoreUnavailable):
        run(fail())


async def install(dsn: str) -> None:
    connection = await connect(dsn)
    await LiveRounds("orders", 0)(connection)
    await connection.close()


def test_verifying_every_projection(database: str) -> None:
    asyncio.run(trade_a_little(database))
    asyncio.run(install(database))
    done = foldbook("projections", "verify", DATABASE_URL=database)
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders: 2 rows, 0 different" in done.stdout.splitlines()
    with psycopg.connect(database) as connection:
        connection.execute("update read.orders set quantity = 7")
    assert foldbook("projections", "verify", "fills", DATABASE_URL=database).returncode == 0
    done = foldbook("projections", "verify", "--json", DATABASE_URL=database)
    assert done.returncode == 5
    found = json.loads(done.stdout)
    assert not found["equal"]
    assert [each["name"] for each in found["projections"] if not each["equal"]] == ["orders"]
    assert len(found["projections"]) == len(projection_files())


def test_exporting_as_json(database: str, tmp_path: Path) -> None:
    done = foldbook("audit", "export", str(tmp_path / "export"), "--json", DATABASE_URL=database)
    assert [shard["events"] for shard in json.loads(done.stdout)["shards"]] == [0]


def test_a_backup_is_restored_while_no_engine_runs(own_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    asyncio.run(trade_a_little(own_postgres.dsn))
    dump, restored = str(tmp_path / "dump"), str(tmp_path / "restored")
    done = foldbook("pg_dump", "--format=custom", f"--file={dump}", DATABASE_URL=own_postgres.dsn)
    assert (done.returncode, done.stderr) == (0, "")
    options = ("--exit-on-error", "--single-transaction", "--clean", "--if-exists")
    for _ in range(2):  # into an empty folder, and over what is there
        done = foldbook("pg_restore", *options, dump, FOLDBOOK_DATA_DIR=restored, DATABASE_URL="")
        assert (done.returncode, done.stderr) == (0, "")
    count = ("psql", "-A", "-t", "-c", "select count(*) from eventstore.events")
    assert foldbook(*count, FOLDBOOK_DATA_DIR=restored, DATABASE_URL="").stdout == "3\n"


def test_replay_prints_the_state_at_a_position_and_its_digest(database: str) -> None:
    asyncio.run(trade_a_little(database))
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


def test_replay_says_how_far_it_went(database: str) -> None:
    asyncio.run(trade_a_little(database))
    now = json.loads(foldbook("replay", ACCOUNT, "--json", DATABASE_URL=database).stdout)
    assert (now["up_to"], now["head"]) == (3, 3)
    assert now["state"]["positions"]["BTCUSDT"]["day"] == "2026-01-02"
    beyond = foldbook("replay", ACCOUNT, "--at", "4", DATABASE_URL=database)
    assert (beyond.returncode, beyond.stdout) == (1, "")
    assert beyond.stderr == "foldbook: shard 0 ends at position 3: position 4 does not exist yet\n"
    future = foldbook("replay", ACCOUNT, "--at", "2999-01-01T00:00:00Z", DATABASE_URL=database)
    assert (future.returncode, future.stdout) == (2, "")
    assert "is in the future" in future.stderr
    assert "up_to      2" in foldbook("replay", ACCOUNT, "--at", "2", DATABASE_URL=database).stdout


def test_a_dump_is_its_maker_s_alone_and_written_through_no_link(database: str, tmp_path: Path) -> None:
    dump, precious = tmp_path / "dump", tmp_path / "precious"
    dump.touch(mode=0o644)
    assert foldbook("pg_dump", "-Fc", "-f", str(dump), DATABASE_URL=database).returncode == 0
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    assert dump.read_bytes().startswith(b"PGDMP")
    precious.write_text("precious")
    for option in (["--file", "link"], ["-flink"], ["--file=link"]):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(precious)
        done = foldbook("pg_dump", *option, cwd=tmp_path, DATABASE_URL=database)
        assert (done.returncode, done.stderr.split(".")[0]) == (1, "foldbook: link is not a file")
    assert precious.read_text() == "precious"


def test_anchors_are_not_written_through_a_link(database: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "anchors").symlink_to(tmp_path / "precious")
    (tmp_path / "data").mkdir()
    for name, code in (("anchors", 1), ("new", 0)):
        done = foldbook("audit", "anchor", name, cwd=tmp_path, DATABASE_URL=database, FOLDBOOK_DATA_DIR="data")
        assert done.returncode == code, done.stderr
    assert (tmp_path / "precious").read_text() == "precious"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "at", ["9" * 5000, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01", "-1", "\0", "²"]
)
def test_replay_to_what_is_no_moment(
    at: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["foldbook", "replay", ACCOUNT, f"--at={at}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == Exit.USAGE
    assert "is neither a position nor an RFC 3339 time" in capsys.readouterr().err
