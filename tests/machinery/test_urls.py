"""A database's URL is read in one way: both libraries use it in the same sense, or it is refused by name."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from asyncpg import connect_utils
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from psycopg import pq
from pydantic import ValidationError

from foldbook.config import Settings
from foldbook.postgres import urls
from foldbook.postgres.connection import connect
from foldbook.postgres.roles import ENGINE, as_role
from foldbook.postgres.urls import UrlError, masked, parse, with_setting
from tests.machinery.cli import foldbook
from tests.machinery.servers import servers

SECRET = "hunter2"

HOSTERS = {
    "neon": f"postgresql://neondb_owner:{SECRET}@ep-cool-rain-a1b2.eu-central-1.aws.neon.tech/neondb?sslmode=require",
    "neon endpoint": f"postgres://me:{SECRET}@ep-cool.neon.tech/neondb?sslmode=require&options=endpoint%3Dep-cool-rain",
    "neon verified": f"postgresql://me:{SECRET}@ep-cool.neon.tech/neondb?sslmode=verify-full&sslrootcert=system"
    "&channel_binding=prefer",
    "supabase direct": f"postgresql://postgres:{SECRET}@db.abcdefgh.supabase.co:5432/postgres",
    "supabase session": f"postgres://postgres.abcdefgh:{SECRET}@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
    "supabase 6543": f"postgres://postgres.abcdefgh:{SECRET}@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
    "rds": f"postgresql://admin:{SECRET}@mydb.abc123.eu-west-1.rds.amazonaws.com:5432/foldbook?sslmode=verify-full"
    "&sslrootcert=/etc/ssl/rds.pem",
    "cloud sql": f"postgresql://me:{SECRET}@/foldbook?host=/cloudsql/project:europe-west1:instance",
    "cloud sql, in the host": f"postgresql://me:{SECRET}@%2Fcloudsql%2Fproject%3Aeurope-west1%3Ainstance/foldbook",
    "azure": f"postgres://me%40server:{SECRET}@server.postgres.database.azure.com:5432/foldbook?sslmode=require",
    "heroku": f"postgres://abc:{SECRET}@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1a2b3?sslmode=require",
    "digitalocean": f"postgresql://doadmin:{SECRET}@db-do-user-1-0.b.db.ondigitalocean.com:25060/defaultdb"
    "?sslmode=require",
    "aiven": f"postgres://avnadmin:{SECRET}@pg-1.aivencloud.com:12345/defaultdb?sslmode=require",
    "crunchy": f"postgres://application:{SECRET}@p.abc.db.postgresbridge.com:5432/postgres",
    "render": f"postgres://me:{SECRET}@dpg-abc-a.frankfurt-postgres.render.com/foldbook",
    "fly": f"postgres://postgres:{SECRET}@top2.nearest.of.foldbook-db.internal:5432/foldbook?sslmode=disable",
    "timescale": f"postgres://tsdbadmin:{SECRET}@abc.tsdb.cloud.timescale.com:33333/tsdb?sslmode=require",
    "tuned": f"postgresql://me:{SECRET}@h/db?connect_timeout=10&keepalives=1&keepalives_idle=30&keepalives_interval=10"
    "&keepalives_count=5&tcp_user_timeout=30000&gssencmode=disable&application_name=mine",
    "several": f"postgresql://me:{SECRET}@one:5432,two:5433/db?target_session_attrs=read-write",
    "ipv6": f"postgresql://me:{SECRET}@[2001:db8::1]:5433/db",
    "jdbc": f"postgresql://me:{SECRET}@h/db?ssl=true",
    "socket": "postgresql:///db",
}

REFUSED = {
    "neon, as given": (
        f"postgresql://me:{SECRET}@h/db?sslmode=require&channel_binding=require",
        "channel_binding",
    ),
    "prisma": (f"postgres://me:{SECRET}@h:6543/postgres?pgbouncer=true", "pgbouncer.*session pooling"),
    "encryption by GSSAPI": (f"postgres://me:{SECRET}@h/db?gssencmode=require", "gssencmode"),
    "service": ("postgresql://?service=mine", "service"),
    "hostaddr": (f"postgresql://me:{SECRET}@h/db?hostaddr=10.0.0.1", "hostaddr.*as the host"),
    "require_auth": (f"postgresql://me:{SECRET}@h/db?require_auth=scram-sha-256", "require_auth"),
    "load_balance_hosts": (f"postgresql://me:{SECRET}@h,i/db?load_balance_hosts=random", "load_balance_hosts"),
    "encoding": (f"postgresql://me:{SECRET}@h/db?client_encoding=latin1", "client_encoding"),
    "unknown": (f"postgresql://me:{SECRET}@h/db?schema=public", "parameter schema"),
    "asyncpg's own": (f"postgresql://me:{SECRET}@h/?database=db", "parameter database"),
    "weaker trust": (
        f"postgresql://me:{SECRET}@h/db?sslrootcert=system&sslmode=require",
        "verify-full",
    ),
    "sslmode": (f"postgresql://me:{SECRET}@h/db?sslmode=yes", "sslmode"),
    "timeout": (f"postgresql://me:{SECRET}@h/db?connect_timeout=soon", "connect_timeout"),
    "attributes": (f"postgresql://me:{SECRET}@h/db?target_session_attrs=best", "target_session_attrs"),
    "ports": (f"postgresql://me:{SECRET}@h:1,i:2,j:3/db?host=h", "ports"),
    "options": (f"postgresql://me:{SECRET}@h/db?options=-c%20jit", "options"),
}

MALFORMED = [
    f"postgresql://me:{SECRET}/x@h/db",
    f"postgresql://me:{SECRET}?x@h/db",
    f"postgresql://me:{SECRET}@x@h/db",
    f"postgresql://me:{SECRET}%zz@h/db",
    f"postgresql://me: {SECRET}@h/db",
    f"postgresql://me:{SECRET}",
    f"postgresql://me:{SECRET}@h:port/db",
    f"postgresql://me:{SECRET}@h:99999/db",
    f"postgresql://me@server:{SECRET}@h/db",
    f"postgresql://me:{SECRET}@[::1/db",
    f"postgresql://me:x@h/db?password={SECRET}&nonsense=1",
    f"postgresql:me:{SECRET}@h/db",
    f"me:{SECRET}@h/db",
    f"mysql://me:{SECRET}@h/db",
    f"host=h user=me password={SECRET}",
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a certificate: asyncpg reads it at once."""
    key, name = Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    path = tmp_path_factory.mktemp("authority") / "rds.pem"
    path.write_bytes(builder.sign(key, None).public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize("url", HOSTERS.values(), ids=HOSTERS)
def test_both_libraries_understand_the_same(url: str, authority: Path) -> None:
    parsed = parse(as_role(url.replace("/etc/ssl/rds.pem", str(authority)), ENGINE))
    libpq: dict[str, Any] = parsed.for_psycopg()
    made = psycopg.conninfo.conninfo_to_dict("", **libpq)
    each = [host.for_asyncpg() for host in parsed.hosts()]
    read = [_asyncpg(arguments) for arguments in each]
    arguments, understood = each[0], read[0][1]

    hosts = str(made.get("host") or "").split(",")
    ports = [int(port or 5432) for port in str(made.get("port") or "").split(",")]
    ports = ports if len(ports) == len(hosts) else ports * len(hosts)
    if hosts != [""]:
        expected = [f"{h}/.s.PGSQL.{p}" if h[0] == "/" else (h, p) for h, p in zip(hosts, ports, strict=True)]
        assert [address for addresses, _ in read for address in addresses] == expected
    assert understood.database == made["dbname"]
    assert understood.user == made.get("user", understood.user)
    assert understood.password == made.get("password", understood.password)
    assert understood.target_session_attrs.value == made.get("target_session_attrs", "any")
    assert {arguments["timeout"] for arguments in each} == {int(made["connect_timeout"] or 0)}
    mode = made.get("sslmode")
    if hosts[0].startswith("/") or mode is None:
        assert mode is None
    elif mode == "disable":
        assert not understood.ssl
    else:
        assert understood.ssl is not None
        assert understood.ssl.check_hostname == (mode == "verify-full")
    assert parsed.settings == {"role": ENGINE}, "set after connecting, because poolers drop options"
    assert "role" not in str(libpq["options"]) + str(arguments["server_settings"])
    assert ("endpoint=ep-cool-rain" in libpq["options"]) == ("endpoint" in url)
    assert arguments["server_settings"].get("options", "") == libpq["options"]


def _asyncpg(arguments: dict[str, Any]) -> tuple[list[Any], Any]:
    names = "dsn host port user password passfile database ssl direct_tls server_settings target_session_attrs"
    given = {name: arguments.get(name) for name in names.split()}
    return connect_utils._parse_connect_dsn_and_args(  # type: ignore[no-any-return,attr-defined]
        **given, service=None, servicefile=None, krbsrvname=None, gsslib=None
    )


@pytest.mark.parametrize(("url", "why"), REFUSED.values(), ids=REFUSED)
def test_what_the_two_would_understand_differently_is_refused_by_name(url: str, why: str) -> None:
    with pytest.raises(UrlError, match=why) as refused:
        parse(url)
    assert SECRET not in str(refused.value)
    assert SECRET not in masked(url)


def test_every_parameter_of_libpq_is_decided_on() -> None:
    """A newer libpq may know more, which is refused until somebody decides."""
    for option in pq.Conninfo.get_defaults():
        name = option.keyword.decode()
        known = (*urls._PLACE, *urls._TLS, *urls._OURS, *urls._WITHOUT_EFFECT)
        if name not in known:
            with pytest.raises(UrlError, match=name):
                parse(f"postgresql://h/db?{name}=1")


@pytest.mark.parametrize("url", MALFORMED)
def test_a_password_of_a_malformed_url_stands_nowhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UrlError) as refused:
        parse(url)
    assert SECRET not in str(refused.value) + repr(refused.value) + repr(refused.value.__context__ and "")
    assert refused.value.__suppress_context__ or refused.value.__context__ is None, "libpq's own text repeats the URL"
    assert SECRET not in masked(url)
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ValidationError) as invalid:
        Settings()
    assert SECRET not in str(invalid.value)


@pytest.mark.parametrize("command", ["doctor", "migrate", "up"])
def test_a_malformed_url_ends_a_command_with_code_2(command: str) -> None:
    for url in (MALFORMED[0], REFUSED["unknown"][0]):
        done = foldbook(command, DATABASE_URL=url)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith("foldbook: DATABASE_URL: ") and done.stderr.count("\n") == 1
        assert SECRET not in done.stderr


def test_the_hosts_of_a_url_are_tried_in_the_order_of_libpq() -> None:
    hosts = parse("postgresql://me@one,two:5433/db?target_session_attrs=prefer-standby").hosts()
    assert [host.address for host in hosts] == ["one", "two:5433"] * 2
    assert [host.parameters["target_session_attrs"] for host in hosts] == ["standby"] * 2 + ["any"] * 2
    same_port = parse("postgresql:///db?host=one,two&port=6000").hosts()
    assert [host.address for host in same_port] == ["one:6000", "two:6000"]
    (nowhere,) = parse("postgresql:///db").hosts()
    assert (nowhere.for_asyncpg()["host"], nowhere.for_asyncpg()["port"]) == (None, None)


def test_options_become_settings_of_the_session() -> None:
    parsed = parse(
        "postgresql://h/db?options=-c%20jit%3Don%20-cwork_mem%3D1MB%20--time-zone%3DCET%20-c%20a.b%3D'x%20y'"
    )
    assert parsed.settings == {"jit": "on", "work_mem": "1MB", "time_zone": "CET", "a.b": "x y"}
    assert parsed.startup_options == ""
    twice = as_role(as_role("postgresql://me:p%40ss@h/db?sslmode=require", "first"), "second")
    assert (parse(twice).role, parse(twice).parameters["password"]) == ("second", "p@ss")
    assert with_setting("postgresql://h", "a", "b") == "postgresql://h?options=-c%20a%3Db"


async def test_keepalives_are_of_this_side_too() -> None:
    with servers() as rack:
        dsn = rack.primary().dsn
        connection = await connect(f"{dsn}?keepalives_idle=33&tcp_user_timeout=4000")
        sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 2
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000
        await connection.close()
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await connect(f"{dsn}?sslmode=require")
