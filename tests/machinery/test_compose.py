"""docker/compose.yaml: no default password, no superuser, nothing published beyond this machine.

No container is started here: the files are read, and the script that makes the database runs on a server.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from pydantic import SecretStr

from foldbook.config import Settings
from foldbook.engine.database import log_facts
from foldbook.postgres.binaries import client_program
from foldbook.postgres.embedded import PREPARE
from foldbook.postgres.migrations import migrate
from foldbook.postgres.roles import AUDITOR, ENGINE, OWNER
from tests.machinery.servers import MAJORS, servers

DOCKER = Path(__file__).parents[2] / "docker"
TEXT = (DOCKER / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]


def test_no_password_has_a_default() -> None:
    used = re.findall(r"\$\{(\w*(?:PASSWORD|PASS|SECRET)\w*)(.)", TEXT)
    assert {name for name, _ in used} == {
        f"FOLDBOOK_{who}_PASSWORD" for who in ("SUPERUSER", "OWNER", "ENGINE", "AUDITOR", "RABBITMQ")
    }
    assert [name for name, mark in used if mark != ":"] == []
    assert re.findall(r"PASSWORD:-", TEXT) == []
    assert re.findall(r"://\w+:[^$]", TEXT.replace("<FOLDBOOK_RABBITMQ_PASSWORD", "$")) == [], "a password in the file"


def test_every_port_is_of_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert "ports" not in SERVICES["postgres"]


def test_only_the_migration_connects_as_the_owner_and_nobody_as_a_superuser() -> None:
    logins = {
        name: re.match(r"postgresql://(\w+):", service["environment"]["DATABASE_URL"])
        for name, service in SERVICES.items()
        if "DATABASE_URL" in service.get("environment", {})
    }
    assert {name: found[1] for name, found in logins.items() if found} == {"migration": OWNER, "engine": ENGINE}
    assert "POSTGRES_USER" not in SERVICES["postgres"]["environment"], "the superuser is nobody else"


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    script = shutil.copy(DOCKER / "make-secrets.sh", tmp_path)
    subprocess.run([script], check=True)
    made = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    words = dict(line.split("=") for line in made.splitlines())
    assert set(words) == set(re.findall(r"\$\{(\w+PASSWORD)", TEXT))
    assert len(set(words.values())) == 5
    assert all(re.fullmatch("[0-9a-f]{48}", word) for word in words.values())
    subprocess.run([script], check=True)
    assert (tmp_path / ".env").read_text() == made


@pytest.mark.parametrize("major", MAJORS)
def test_the_script_makes_a_database_with_three_logins(major: int) -> None:
    with servers(major) as rack:
        server = rack.primary()
        server.execute(f"drop database {OWNER}")
        server.execute(f"drop role {OWNER}")
        who = ("OWNER", "ENGINE", "AUDITOR")
        subprocess.run(
            [
                client_program("psql"),
                "--no-psqlrc",
                "-q",
                f"--file={DOCKER / 'make-database.sql'}",
                server.superuser_dsn,
            ],
            env=os.environ
            | {f"FOLDBOOK_{name}_PASSWORD": f"it's {name}" for name in who}
            | {"FOLDBOOK_PREPARE_SERVER": str(PREPARE)},
            check=True,
        )
        logins = "select rolname from pg_authid where rolname ~ '^foldbook' and rolcanlogin and rolpassword is not null"
        logins += " and not rolsuper and not rolcreaterole and not rolcreatedb order by rolname"
        assert server.execute(logins) == [(OWNER,), (AUDITOR,), (ENGINE,)]
        assert migrate(server.dsn, shard_count=1), "engine and auditors have their own roles"
        for role in (ENGINE, AUDITOR):
            with psycopg.connect(server.dsn_of(role)) as connection:
                assert log_facts(connection) is not None
        engine = Settings(database_url=SecretStr(server.dsn_of(ENGINE)))
        assert f"role%3D{ENGINE}" in engine.dsn
        with psycopg.connect(engine.dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("drop table eventstore.events")
