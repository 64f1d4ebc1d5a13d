"""``foldbook up``: the real thing, started, used, killed and started again."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import psutil
import psycopg

from foldbook.engine.lock import LOCK_FILE
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import ENGINE
from tests.machinery.engine import Engine, answers, command_line
from tests.waiting import block_until


def shell(line: str) -> str:
    done = subprocess.run(["/bin/sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_printed_lines_work_and_ctrl_c_ends_everything(engine: Engine) -> None:
    engine.start()
    assert "/docs" in engine.line("its OpenAPI")
    assert answers(f"{engine.url}/docs")

    printed = re.search(r"^A first order.*?\n(.*?)^Ctrl-C", engine.said, re.DOTALL | re.MULTILINE)
    assert printed is not None
    assert printed[1].count("call $") == 4
    assert "fbk_" not in engine.said
    said = shell(printed[1])
    assert '["OrderCreated"]' in said
    assert '"cum_qty":"1.5"' in said.replace(" ", "")
    again = shell(printed[1])
    assert again.splitlines()[-1] == said.splitlines()[-1], "the lines can be pasted again"

    psql = re.search(r"^In psql, .*:\n +(.*)$", engine.said, re.MULTILINE)
    assert psql is not None
    history = shell(f"{psql[1]} -A -t -c \"select type from eventstore.log where subject = 'o-1' order by position\"")
    types = history.split()
    assert types[:3] == ["OrderCreated", "OrderSubmitted", "OrderAccepted"], "it went out, and was accepted"
    assert types[3:] == ["OrderFilled"] * len(types[3:]), "the venue filled it"
    assert len(types) > 4, "in parts"
    passwords = [file.read_text().strip().split(":")[4] for file in engine.data_dir.glob("pgpass.*")]
    assert len(passwords) == 4
    assert not any(password in engine.said for password in passwords)

    processes = engine.processes()
    assert engine.stop(signal.SIGINT) == 0
    assert psutil.wait_procs(processes, timeout=10)[1] == []


def test_a_second_one_on_the_same_folder_is_refused(engine: Engine) -> None:
    engine.start()
    assert engine.process is not None
    second = subprocess.run(
        [sys.executable, "-m", "foldbook.cli", "up"], env=engine.environment, capture_output=True, text=True
    )
    assert second.returncode == 3
    assert str(engine.process.pid) in second.stderr
    assert engine.url in second.stderr
    engine.place_and_read("after-the-second")


def test_every_part_holds_the_lock_of_the_folder(engine: Engine) -> None:
    """So a part that outlives its supervisor, and still writes, keeps the next engine away."""
    engine.start()
    parts = [part for part in engine.processes()[1:] if "--until-stdin-closes" in command_line(part)]
    assert len(parts) >= 5
    for part in parts:
        assert str(engine.data_dir / LOCK_FILE) in {file.path for file in part.open_files()}, command_line(part)


def test_a_port_that_is_taken_is_named(engine: Engine) -> None:
    engine.environment |= {"FOLDBOOK_PROT": "8001"}
    with socket.create_server(("127.0.0.1", engine.port)):
        done = subprocess.run(
            [sys.executable, "-m", "foldbook.cli", "up"], env=engine.environment, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert "FOLDBOOK_PORT" in done.stderr
    assert f"by process {os.getpid()}, " in done.stderr
    assert "FOLDBOOK_PROT is not a setting; did you mean FOLDBOOK_PORT?" in done.stderr


def test_each_part_comes_back_when_it_is_killed(engine: Engine) -> None:
    engine.start()
    engine.place_and_read("first")
    words = (("serve",), ("projections", "run"), ("gateway",), ("venue",), ("market", "run"))
    finds: list[Callable[[], psutil.Process]] = [partial(engine.part, *of_part) for of_part in words]
    for find in (*finds, engine.postgres):
        find().kill()
        block_until(lambda: engine_is_whole(engine))
    engine.read("first")
    engine.place_and_read("second")


def engine_is_whole(engine: Engine) -> bool:
    try:
        engine.part("serve"), engine.part("projections", "run"), engine.postgres()
        engine.part("gateway"), engine.part("venue"), engine.part("market", "run")
    except (ValueError, psutil.NoSuchProcess):
        return False
    return answers(f"{engine.url}/health/ready")


def test_a_killed_supervisor_leaves_nothing_that_the_next_one_minds(engine: Engine) -> None:
    engine.start()
    engine.place_and_read("before")
    left = engine.processes()
    assert engine.stop(signal.SIGKILL) == -signal.SIGKILL

    engine.start()

    engine.read("before")
    engine.place_and_read("after")
    assert psutil.wait_procs(left, timeout=30)[1] == []


def test_everything_killed_at_once(engine: Engine) -> None:
    engine.start()
    engine.place_and_read("before")
    for process in engine.processes():
        process.kill()
    assert engine.process is not None
    engine.process.wait()

    engine.start()

    engine.read("before")


def test_on_a_database_whose_owner_may_make_no_roles(engine: Engine, own_postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(own_postgres.superuser_dsn, autocommit=True) as superuser:
        superuser.execute("create role tenant login password 'x'")
        superuser.execute("create database tenancy owner tenant")
    engine.environment |= {"DATABASE_URL": own_postgres.dsn.replace("foldbook@/foldbook", "tenant:x@/tenancy")}
    engine.start()
    assert engine.said.count("roles: not separated") >= 6, "by the migration, and by who connects: five processes"
    assert "grant foldbook_engine, foldbook_auditor to <login>" in engine.said
    engine.place_and_read("all-the-same")
    doctor = [sys.executable, "-m", "foldbook.cli", "doctor"]
    said = subprocess.run(doctor, env=engine.environment, stdout=subprocess.PIPE, text=True, check=False).stdout
    assert "not separated: " in said


def test_on_a_database_of_ones_own_with_several_shards(engine: Engine, empty_database: str) -> None:
    engine.environment |= {"DATABASE_URL": empty_database, "FOLDBOOK_SHARDS": "3"}
    engine.start()
    assert "foldbook psql" in engine.said
    assert not (engine.data_dir / "postgres").exists()
    engine.place_and_read("elsewhere")


def test_with_a_login_of_the_engine_s_own(engine: Engine, own_postgres: EmbeddedPostgres) -> None:
    """It can't migrate, and need not know the owner's password."""
    engine.environment |= {"DATABASE_URL": own_postgres.dsn_of(ENGINE)}
    engine.start()
    assert "not separated" not in engine.said
    engine.place_and_read("with-fewer-rights")
