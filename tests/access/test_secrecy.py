"""No key and no password stands where it does not belong: a whole engine, used well and badly, and then searched."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from pydantic import ValidationError

from foldbook.access.keys import digest_of, key_of
from foldbook.cli.exits import Exit
from foldbook.config import Settings
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import OWNER
from tests.access.conftest import bearer, secret_of
from tests.machinery.cli import foldbook
from tests.machinery.engine import Engine, command_line

ACCOUNT = "alice/binance/simulated"
AT = f"/accounts/{ACCOUNT}"
ORDER = {"strategy_id": "s", "symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "quantity": "1"}
TRADE = {"order_id": "o-1", "exec_type": "TRADE", "exec_id": "e-1", "last_qty": "1", "last_px": "1"}
TABLES = """
    select format('select t::text from %I.%I t', n.nspname, c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    engine = Engine(private / "data")
    engine.environment |= {"FOLDBOOK_LOG_LEVEL": "debug"}
    yield engine
    if engine.process is not None and engine.process.poll() is None:
        engine.stop()


def badly(key: str) -> list[dict[str, Any]]:
    """Requests that carry a key where it does not belong."""
    line = {"type": "PlaceOrder", "account": ACCOUNT, **ORDER}
    post: dict[str, Any] = {"method": "POST", "headers": {"Content-Type": "application/json"}}
    return [
        {"method": "GET", "url": f"/fills?key={key}"},
        {"method": "GET", "url": f"/fills?{key}=1"},
        {"method": "GET", "url": f"/fills?account={key}"},
        {"method": "GET", "url": f"/events?subject={key}"},
        {"method": "GET", "url": f"/stream/events?{key}=1"},
        {"method": "GET", "url": f"/stream/events?type={key}"},
        {"method": "GET", "url": f"/{key}"},
        {"method": "GET", "url": f"/docs/{key}"},
        {"method": "GET", "url": f"{AT}/orders/{key}"},
        {"method": "GET", "url": f"/accounts/{key}/binance/simulated"},
        {"method": "GET", "url": f"/admin/projections/{key}"},
        {"method": "GET", "url": f"/admin/doubts?account={key}"},
        {"method": "GET", "url": "/fills", "headers": {"Cookie": f"foldbook_session={key}"}},
        {"method": "GET", "url": "/fills", "headers": {"Host": key}},
        {"method": "GET", "url": "/fills", "headers": {"Origin": f"http://{key}"}},
        {"method": "DELETE", "url": f"/keys/{key}"},
        {"method": "DELETE", "url": f"/keys/000000000000?reason={key}"},
        {**post, "url": "/keys", "json": {"name": key, "roles": ["reader"]}},
        {**post, "url": "/keys", "json": {"name": "x", "roles": [key]}},
        {**post, "url": "/session", "json": {"key": key}},
        {**post, "url": f"{AT}/orders", "json": {**ORDER, "order_id": key}},
        {**post, "url": f"{AT}/orders", "json": {**ORDER, "side": key}},
        {**post, "url": f"{AT}/orders", "json": {**ORDER, "quantity": key}},
        {**post, "url": f"{AT}/orders", "json": {**ORDER, key: "1"}},
        {**post, "url": f"{AT}/orders/{key}/cancel"},
        {**post, "url": f"{AT}/halt", "json": {"reason": f"the key is {key}"}},
        {
            **post,
            "url": f"{AT}/execution-reports",
            "json": {**TRADE, "raw_message": key},
        },
        {**post, "url": f"{AT}/orders", "json": ORDER, "headers": {"X-Actor": key}},
        {**post, "url": f"{AT}/orders", "json": ORDER, "headers": {"X-Correlation-Id": key}},
        {**post, "url": f"{AT}/orders", "json": ORDER, "headers": {"Idempotency-Key": key}},
        {**post, "url": f"{AT}/orders", "json": ORDER, "headers": {"Content-Type": key}},
        {**post, "url": "/commands", "content": json.dumps({**line, "order_id": key}).encode()},
        {**post, "url": "/commands", "content": json.dumps({**line, "key": key}).encode()},
        {**post, "url": "/commands", "content": f'{{"type": "{key}"}}\n{key}\n{{"{key}": '.encode()},
        {**post, "url": "/admin/projections/orders/skip", "json": {"position": 1, "reason": key}},
        {**post, "url": "/admin/doubts/none/resolve", "json": {"outcome": key, "reason": key}},
    ]


def test_secrets_stand_nowhere(engine: Engine) -> None:
    engine.start()
    operator = (engine.data_dir / "operator.key").read_text().strip()
    assert stat.S_IMODE((engine.data_dir / "operator.key").stat().st_mode) == 0o600
    never_issued = key_of("0" * 12, bytes(range(32)))
    answers: list[httpx.Response] = []
    with httpx.Client(base_url=engine.url, trust_env=False) as client:

        def ask(key: str | None, **request: Any) -> httpx.Response:
            headers = {**({} if key is None else bearer(key)), **request.pop("headers", {})}
            answers.append(client.request(**request, headers=headers))
            client.cookies.clear()
            return answers[-1]

        name = {"user": "alice", "exchange": "binance", "broker": "simulated"}
        ask(operator, method="POST", url="/accounts", json=name)
        issued = client.post("/keys", json={"name": "alice", "roles": ["trader", "risk"]}, headers=bearer(operator))
        key: str = issued.json()["key"]
        assert ask(key, method="POST", url=f"{AT}/orders", json={**ORDER, "order_id": "o-1"}).status_code == 201
        begun = client.post("/session", headers=bearer(key))
        cookie = begun.cookies["foldbook_session"]
        for wrong in (key, never_issued):
            for request in badly(wrong):
                for shown in (operator, key, None, never_issued):
                    answer = ask(shown, **request)
                    if shown == operator and "X-Correlation-Id" in request.get("headers", {}):
                        assert answer.status_code == 400, "it would have been recorded"
        ask(key[:-1] + ("0" if key[-1] != "0" else "1"), method="GET", url="/fills")
        client.delete(f"/keys/{issued.json()['id']}", headers=bearer(operator))
        ask(key, method="GET", url="/fills")
        metrics = ask(operator, method="GET", url="/metrics").text
        cli = [sys.executable, "-m", "foldbook.cli"]
        for arguments in (("keys", "list", "--all"), ("doctor",), ("doctor", "--json"), ("projections", "list")):
            done = subprocess.run([*cli, *arguments], env=engine.environment, capture_output=True, text=True)
            metrics += done.stdout + done.stderr
        running = [(command_line(each), environ_of(each)) for each in engine.processes()]
    recorded = rows_of(engine)
    passwords = [file.read_text().strip().split(":")[4] for file in engine.data_dir.glob("pgpass.*")]
    assert len(passwords) == 4
    assert engine.stop() == 0

    said = (engine.data_dir.parent / "said").read_text()
    assert "refused" in said, "what is searched is there"
    secrets = [secret_of(key), secret_of(operator), secret_of(never_issued), cookie, *passwords]
    places = {
        "the log of every part": said,
        "metrics and the command line": metrics,
        "answers": "\n".join(f"{one.headers} {one.text}" for one in answers),
        "rows": recorded,
        "processes": repr(running),
    }
    found = [(what, n) for what, text in places.items() for n, secret in enumerate(secrets) if secret in text]
    assert found == []
    assert digest_of(key) in recorded, "what is kept of a key"
    for path in files_below(engine.data_dir):
        content = path.read_bytes()
        for secret in (secret_of(key), secret_of(never_issued), cookie):
            assert secret.encode() not in content, path
        assert path.name == "operator.key" or secret_of(operator).encode() not in content, path


def environ_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:  # it has ended, as a server's backends do at any time
        return {}


def rows_of(engine: Engine) -> str:
    """Every row of every table, as text."""
    server = EmbeddedPostgres(engine.data_dir)
    with psycopg.connect(server.dsn_of(OWNER)) as connection:
        tables = [row[0] for row in connection.execute(TABLES)]
        assert any("eventstore.events" in table for table in tables)
        return "\n".join(str(row[0]) for table in tables for row in connection.execute(table))


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


# -- the first start ---------------------------------------------------------------------------------------------


def test_the_first_start_makes_a_key_and_later_ones_keep_it(engine: Engine) -> None:
    engine.start()
    first = (engine.data_dir / "operator.key").read_text()
    assert f"made an operator's key: {engine.data_dir / 'operator.key'}" in engine.said
    assert engine.stop() == 0
    # The key of somebody else in the environment is not this folder's business.
    engine.environment |= {"FOLDBOOK_KEY": key_of("0" * 12, bytes(32))}
    engine.start()
    assert (engine.data_dir / "operator.key").read_text() == first
    assert "made an operator's key" not in engine.said
    assert httpx.get(f"{engine.url}/session", headers=engine.headers, trust_env=False).json()["name"] == "operator"
    # A key that is lost, or not in force any more, is replaced.
    key_id = first.split("_")[1]
    httpx.delete(f"{engine.url}/keys/{key_id}", headers=engine.headers, trust_env=False)
    assert engine.stop() == 0
    engine.start()
    assert (engine.data_dir / "operator.key").read_text() != first
    assert httpx.get(f"{engine.url}/session", headers=engine.headers, trust_env=False).json()["name"] == "operator"
    assert engine.stop() == 0
    (engine.data_dir / "operator.key").unlink()
    engine.start()
    assert httpx.get(f"{engine.url}/session", headers=engine.headers, trust_env=False).json()["name"] == "operator-2"


# -- open to all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "host"), [("serve", "0.0.0.0"), ("up", "192.168.0.7")])
def test_an_open_engine_off_loopback_is_refused(engine: Engine, command: str, host: str) -> None:
    environment = engine.environment | {"FOLDBOOK_ACCESS": "open", "FOLDBOOK_HOST": host}
    done = subprocess.run(
        [sys.executable, "-m", "foldbook.cli", command], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "FOLDBOOK_ACCESS=open" in line
    assert host in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "foldbook.example", "127.0.0.1.example"])
def test_what_is_off_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("FOLDBOOK_ACCESS", "open")
    with pytest.raises(ValidationError, match="only for a loopback address"):
        Settings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_what_is_on_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("FOLDBOOK_ACCESS", "open")
    assert Settings(host=host).access == "open"


def doctor(**variables: str) -> dict[str, Any]:
    done = foldbook("doctor", "--json", **variables)
    assert done.returncode in (Exit.DONE, Exit.UNWELL), done.stderr  # The tests' server does not wait for its disk.
    access: dict[str, Any] = json.loads(done.stdout)["access"]
    return access


def test_doctor_says_who_may_come_in(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    variables = {"DATABASE_URL": database, "FOLDBOOK_DATA_DIR": str(folder)}
    told = doctor(FOLDBOOK_ACCESS="open", FOLDBOOK_PORT="8123", **variables)
    assert told == {
        "mode": "open: whoever reaches 127.0.0.1 port 8123 may do everything, without a key",
        "key file": f"{folder / 'operator.key'}: not there; `foldbook up` makes one",
        "keys in force": 0,
    }
    folder.mkdir()
    file = folder / "operator.key"
    file.write_text("x")
    file.chmod(0o600)
    told = doctor(FOLDBOOK_ACCESS="keys", **variables)
    assert told["mode"] == "keys: every request needs one"
    assert told["key file"] == f"{file}: there, mode 0600"
    file.chmod(0o644)
    assert "others may read it" in doctor(FOLDBOOK_ACCESS="keys", **variables)["key file"]
