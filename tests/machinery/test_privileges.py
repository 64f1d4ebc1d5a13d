"""Started by root, nothing of the engine but the supervisor is root; code and data lie where nobody else may enter."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from foldbook.brokers.live.credentials import credentials_of, tables_of
from foldbook.config import Settings
from foldbook.engine.privileges import give, hand_over, parts_run_as, why_not
from foldbook.postgres.binaries import server_user
from tests.leaving_out import leave_out
from tests.machinery.engine import Engine, command_line
from tests.waiting import block_until


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        leave_out("needs root, who can become another user", can_be_had=False)


def test_only_the_supervisor_is_root(engine: Engine) -> None:
    """Its folder lies in one that only root may enter."""
    secret = {"FOLDBOOK_LIVE_BINANCE_ALICE_KEY": "k", "FOLDBOOK_LIVE_BINANCE_ALICE_SECRET": "s"}
    engine.environment |= secret
    engine.start()
    engine.place_and_read("as-somebody-else")
    assert httpx.get(f"{engine.url}/docs", trust_env=False).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{engine.venue_port}/docs", trust_env=False).status_code == 200
    supervisor, *below = engine.processes()
    # PostgreSQL's backends come and go.
    others = [engine.postgres(), *(process for process in below if "foldbook.cli" in command_line(process))]
    assert len(others) == 6
    user = server_user(engine.data_dir / "postgres")
    assert supervisor.uids().real == 0
    assert user.uid != 0
    for process in others:
        assert ids_of(process) == ({user.uid}, {user.gid}), command_line(process)
    holders = [process for process in others if secret.keys() & process.environ().keys()]
    assert holders == [engine.part("gateway")], "the credentials of live accounts are for the gateway alone"
    mine = {"operator.key", "foldbook.lock", "pgpass.postgres", "pgpass.foldbook", "pgpass.foldbook_auditor"}
    for name in mine:
        facts = (engine.data_dir / name).stat()
        assert (facts.st_uid, stat.S_IMODE(facts.st_mode)) == (0, 0o600), name
    assert (engine.data_dir / "pgpass.foldbook_engine").stat().st_uid == user.uid
    assert engine.stop() == 0

    engine.start()  # again, on what the others have written
    engine.read("as-somebody-else")


def ids_of(process: psutil.Process) -> tuple[set[int], set[int]]:
    """Every user and every group of every thread."""
    text = "".join(task.read_text() for task in Path(f"/proc/{process.pid}/task").glob("*/status"))
    users = re.findall(r"^Uid:(.*)", text, re.MULTILINE)
    groups = re.findall(r"^(?:Gid|Groups):(.*)", text, re.MULTILINE)
    return {int(word) for line in users for word in line.split()}, {
        int(word) for line in groups for word in line.split()
    }


CHILD = """
import os, sys
from foldbook.engine.privileges import drop
drop(os.environ)
assert os.getresuid() == (int(sys.argv[1]),) * 3, os.getresuid()
import xmlrpc.client, decimal, tomllib, wave  # modules that nothing has imported before
import certifi, foldbook.engine.wiring
assert certifi.where().startswith("/proc/self/fd/"), certifi.where()
open(certifi.where()).close()
from foldbook.resources import projection_files
assert len(projection_files()) > 5 and all(path.read_text() for path in projection_files())
for path in sys.argv[2:]:
    try:
        open(path).close()
    except PermissionError:
        continue
    sys.exit(f"may read {path}")
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""


def test_a_child_reaches_its_code_and_nothing_of_root_s(tmp_path: Path) -> None:
    """``tmp_path`` may be entered by root alone."""
    (tmp_path / "secret").write_text("root's")
    data = tmp_path / "data"
    handover = hand_over(Settings(data_dir=data, database_url=None))
    assert handover is not None
    (data / "operator.key").touch(mode=0o600)
    secrets = [tmp_path / "secret", data / "operator.key", handover.data_dir / "operator.key", Path("/etc/shadow")]
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, str(handover.user.uid), *map(str, secrets)],
        env=os.environ | handover.environment(),
        pass_fds=handover.fds,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "for good\n"), done.stderr


@pytest.mark.parametrize(
    ("url", "is_dropped"),
    [
        ("postgresql://me:secret@127.0.0.1/foldbook", True),
        ("postgresql://me@127.0.0.1/foldbook", False),
        ("postgresql://me:secret@127.0.0.1/foldbook?sslmode=verify-full&sslrootcert=system", True),
        ("postgresql://me:secret@127.0.0.1/foldbook?sslcert=/root/client.crt&sslkey=/root/client.key", False),
        ("postgresql://me:secret@/foldbook?host={closed}", False),
    ],
)
def test_what_needs_files_of_root_s_stays_root_and_is_told(
    url: str, is_dropped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    settings = Settings(data_dir=tmp_path / "data", database_url=SecretStr(url.format(closed=tmp_path)))
    assert (why_not(settings) is None) == is_dropped
    assert (hand_over(settings) is not None) == is_dropped
    told = parts_run_as(settings)
    assert told == server_user().name if is_dropped else told.startswith("root: DATABASE_URL has no password, or needs")


@pytest.mark.parametrize("variable", ["PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSSLCRL"])
def test_certificates_that_the_environment_names_stay_root_s(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as ``ca.pem``, in this folder."""
    monkeypatch.setenv("HOME", "/nonexistent")
    settings = Settings(data_dir=tmp_path / "data", database_url=SecretStr("postgresql://me:secret@127.0.0.1/foldbook"))
    assert why_not(settings) is None
    monkeypatch.setenv(variable, "ca.pem")
    assert why_not(settings) == "DATABASE_URL has no password, or needs files of root's"


@pytest.mark.parametrize("parameter", ["cafile", "capath", "certfile", "keyfile"])
def test_certificates_for_rabbitmq_stay_root_s(parameter: str, tmp_path: Path) -> None:
    url = "amqps://me:secret@127.0.0.1/?no_verify_ssl=0"
    assert why_not(Settings(data_dir=tmp_path / "data", database_url=None, amqp_url=SecretStr(url))) is None
    url += f"&{parameter}=ca.pem"
    told = why_not(Settings(data_dir=tmp_path / "data", database_url=None, amqp_url=SecretStr(url)))
    assert told == "FOLDBOOK_AMQP_URL needs files of root's"


def test_market_data_of_this_folder_are_fed_by_another_user(
    engine: Engine, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_folder / "quotes.csv").write_text("time,bid,ask\n2026-01-02T09:00:00Z,99,100\n2026-01-02T09:00:01Z,98,101\n")
    monkeypatch.chdir(open_folder)
    engine.environment |= {"FOLDBOOK_MARKET": "quotes.csv:HERE/USD"}
    engine.start()
    user = server_user(engine.data_dir / "postgres")
    assert ids_of(engine.part("market", "run")) == ({user.uid}, {user.gid})

    def is_fed() -> bool:
        shown = httpx.get(f"http://127.0.0.1:{engine.venue_port}/quotes", trust_env=False).json()
        return [quote["symbol"] for quote in shown["quotes"]] == ["HERE/USD"]

    block_until(is_fed)


def test_a_folder_of_root_s_is_given_with_all_in_it_and_no_link_is_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch()
    (tmp_path / "venue" / "below").mkdir(parents=True)
    (tmp_path / "venue" / "below" / "journal").touch()
    (tmp_path / "venue" / "link").symlink_to(precious)
    give(tmp_path / "venue", server_user())
    owners = {path.lstat().st_uid for path in (tmp_path / "venue", *(tmp_path / "venue").rglob("*"))}
    assert owners == {server_user().uid}
    assert precious.stat().st_uid == 0


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "live.toml"
    file.touch(mode=0o600)
    file.write_text('["alice/binance/live"]\nkey = "k"\nsecret = "s"\n')
    return file


def test_credentials_are_read_before_the_file_is_out_of_reach(credentials: Path) -> None:
    environment = {"FOLDBOOK_LIVE_CREDENTIALS": str(credentials)}
    tables = tables_of(environment)
    credentials.unlink()
    assert credentials_of("alice/binance/live", environment, tables).secret == "s"
