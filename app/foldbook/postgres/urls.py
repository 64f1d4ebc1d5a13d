"""A database's URL: read once, in one way, for both libraries that connect.

libpq's own parser takes the URL apart, so it means what it means to psql. Each parameter that it knows is here: used by
psycopg and asyncpg in the same sense, or refused by name. No message contains a value of the URL, because a part of a
malformed URL may be the password.
"""

from __future__ import annotations

import re
import shlex
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from foldbook.addresses import is_host

CONNECT_TIMEOUT_S = 5
CONNECT_TIMEOUT_S_MAX = 60
KEEPALIVES = {"keepalives": "1", "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "2"}
"""Both sides notice within some 20 s that the peer died without closing the connection."""

FORM = "postgresql://user:password@host:port/database"
_SHAPE = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://(?:(?P<user>[^:@/?\s]*)(?::(?P<password>[^@/?\s]*))?@)?"
    r"(?P<hosts>[^@/?\s]*)(?:/(?P<database>[^@/?\s]*))?(?:\?(?P<query>[^@?\s]*))?"
)
_HOST = r"(?:\[[0-9a-fA-F:.%]*\]|[^:\[\],]*)(?::\d{0,5})?"
_HOSTS = re.compile(f"{_HOST}(?:,{_HOST})*")
_SETTING = re.compile(r"(?P<name>[a-zA-Z_][a-zA-Z0-9_.-]*)=(?P<value>.*)", re.DOTALL)

_TLS = (
    *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
    *("ssl_min_protocol_version", "ssl_max_protocol_version"),
)
_PLACE = ("host", "port", "user", "password", "dbname", "passfile", "target_session_attrs", "krbsrvname", "gsslib")
_OURS = ("options", "connect_timeout", "application_name", *KEEPALIVES, "tcp_user_timeout")
"""What Foldbook itself carries out, for both libraries."""

_SECRET = ("password", "sslpassword")
_WITHOUT_EFFECT = {
    "channel_binding": ("prefer", "disable"),
    "gssencmode": ("prefer", "disable"),
    "load_balance_hosts": ("disable",),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "sslcompression": ("0",),
    "sslsni": ("1",),
    "sslcertmode": ("allow",),
    "gssdelegation": ("0",),
    "fallback_application_name": None,
}
"""Parameters that only one library knows, with the values for which both do the same; None: every value."""

_INSTEAD = {
    "channel_binding": "channel binding cannot be required here: write channel_binding=prefer with sslmode=verify-full "
    "and sslrootcert=system, which proves by certificate whose server it is",
    "gssencmode": "encryption by GSSAPI cannot be required here: write sslmode=verify-full",
    "load_balance_hosts": "the engine needs the primary: write target_session_attrs=read-write",
    "client_encoding": "Foldbook speaks UTF-8: leave it out",
    "service": "a service file cannot be used: write host, port, user and database into the URL",
    "hostaddr": "write the address as the host",
    "require_auth": "leave it out, and restrict the method in the server's pg_hba.conf",
    "pgbouncer": "this is the URL of a pooler in transaction mode: use the direct connection, or session pooling",
}
_VALUES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "sslnegotiation": ("postgres", "direct"),
}
_INTEGERS = ("connect_timeout", *KEEPALIVES, "tcp_user_timeout")


class UrlError(ValueError):
    """The URL cannot be used. The text says why, without any part of it but names of parameters."""


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """``parameters``: by libpq's names. ``settings``: what its ``options`` set, the role included. ``startup_options``:
    what else is in there, such as the endpoint that some hosters want."""

    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    startup_options: str

    @property
    def role(self) -> str | None:
        """What a session runs as, if not as its login."""
        return self.settings.get("role")

    @property
    def connect_timeout_s(self) -> int:
        """How long each host may take to let somebody in."""
        given = int(self.parameters.get("connect_timeout", 0))
        return min(given, CONNECT_TIMEOUT_S_MAX) if given > 0 else CONNECT_TIMEOUT_S

    @property
    def application_name(self) -> str:
        return self.parameters.get("application_name", "foldbook")

    @property
    def keepalives(self) -> dict[str, str]:
        """TCP keepalives of this side, by libpq's names."""
        return {name: self.parameters.get(name, default) for name, default in KEEPALIVES.items()}

    def for_psycopg(self) -> dict[str, Any]:
        """The arguments of ``psycopg.connect``."""
        kept = {name: value for name, value in self.parameters.items() if name in (*_PLACE, *_TLS, "tcp_user_timeout")}
        return {
            **kept,
            **self.keepalives,
            "connect_timeout": self.connect_timeout_s,
            "application_name": self.application_name,
            "options": self.startup_options,  # also if it is empty: PGOPTIONS is for psql
            "client_encoding": "utf8",
            "gssencmode": "disable",
        }

    @property
    def address(self) -> str:
        """Where its hosts are, for a person."""
        return ":".join(filter(None, (self.parameters.get("host", "the local socket"), self.parameters.get("port"))))

    def at(self, host: str, port: str, **others: str) -> DatabaseUrl:
        """The same database on one host. Either may be empty: the library's default."""
        place = {"host": host, "port": port, **others}
        kept = {name: value for name, value in self.parameters.items() if name not in place}
        return replace(self, parameters=kept | {name: value for name, value in place.items() if value})

    def hosts(self) -> list[DatabaseUrl]:
        """The URL for each of its hosts alone, in the order in which libpq tries them."""
        names = self.parameters.get("host", "").split(",")
        ports = self.parameters.get("port", "").split(",")
        places = list(zip(names, ports if len(ports) > 1 else ports * len(names), strict=True))
        wanted = self.parameters.get("target_session_attrs", "")
        passes = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
        return [self.at(host, port, target_session_attrs=attrs) for attrs in passes for host, port in places]

    def for_asyncpg(self) -> dict[str, Any]:
        """The arguments of ``asyncpg.connect``, of a URL with one host (``hosts``). Raises ``OSError`` and
        ``ssl.SSLError`` for files of certificates."""
        given = self.parameters
        arguments: dict[str, Any] = {
            "host": given.get("host"),
            "port": int(given["port"]) if "port" in given else None,
            "database": given.get("dbname"),
            "timeout": self.connect_timeout_s,
            "server_settings": {"application_name": self.application_name}
            | ({"options": self.startup_options} if self.startup_options else {}),
        }
        same = ("user", "password", "passfile", "target_session_attrs", "krbsrvname", "gsslib")
        arguments |= {name: given[name] for name in same if name in given}
        tls = {name: given[name] for name in _TLS if name in given}
        if tls.get("sslrootcert") == "system":
            arguments["ssl"] = _trust_of_system(tls)
            arguments["direct_tls"] = tls.get("sslnegotiation") == "direct"
        elif tls:
            arguments["dsn"] = f"postgresql://?{urlencode(tls)}"
        return arguments


def parse(url: str) -> DatabaseUrl:
    """Raises :class:`UrlError`."""
    shape = _SHAPE.fullmatch(url)
    if shape is None or not _HOSTS.fullmatch(shape["hosts"]):
        raise UrlError(
            f"is not of the form {FORM}. Characters that have a meaning in a URL (: / ? # @ [ ] and spaces) are "
            "percent-encoded in user and password"
        )
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        raise UrlError(_why_refused(shape["query"] or "")) from None
    _check(given)
    settings, startup_options = _split_options(given.get("options", ""))
    return DatabaseUrl(given, settings, startup_options)


def with_setting(url: str, name: str, value: str) -> str:
    """The URL with one more setting among its ``options``, where psql takes it from, too."""
    parsed = parse(url)
    front, _, query = url.partition("?")
    others = [part for part in query.split("&") if part and not part.startswith("options=")]
    options = " ".join(filter(None, [parsed.parameters.get("options", ""), f"-c {name}={value}"]))
    return front + "?" + "&".join([*others, f"options={quote(options, safe='')}"])


def masked(url: str) -> str:
    """A URL of a database or of RabbitMQ with its passwords replaced by ``***``. Of one that cannot be taken apart with
    certainty, only the scheme is left."""
    scheme = re.match(r"(?:postgres(?:ql)?|amqps?)://", url)
    if scheme is None:
        return "***"
    shape = _SHAPE.fullmatch("postgresql://" + url[scheme.end() :])
    if shape is None or not _HOSTS.fullmatch(shape["hosts"]):
        return f"{scheme[0]}***"
    login = "" if shape["user"] is None else shape["user"] + ("" if shape["password"] is None else ":***") + "@"
    database = "" if shape["database"] is None else f"/{shape['database']}"
    shown = [_shown_parameter(part) for part in (shape["query"] or "").split("&")]
    query = "" if shape["query"] is None else "?" + "&".join(shown)
    return scheme[0] + login + shape["hosts"] + database + query


def _shown_parameter(part: str) -> str:
    name, equals, _ = part.partition("=")
    known = (*_PLACE, *_TLS, *_OURS, *_WITHOUT_EFFECT, *_INSTEAD, "ssl")
    return part if name in known and name not in _SECRET else f"{name if equals else ''}{equals}***"


def _why_refused(query: str) -> str:
    """A sentence about a URL that libpq does not take, whose own may repeat the URL."""
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | {"ssl"}
    names = [part.partition("=")[0] for part in query.split("&")]
    for name in names:
        if name not in known and re.fullmatch(r"\w{1,40}", name):
            return f"has the parameter {name}, which PostgreSQL does not know" + (
                f": {_INSTEAD[name]}" if name in _INSTEAD else ""
            )
    return f"cannot be read: it is not of the form {FORM}, or has a percent sign that begins no percent-encoding"


def _check(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name in _WITHOUT_EFFECT:
            allowed = _WITHOUT_EFFECT[name]
            if allowed is not None and value.lower() not in allowed:
                raise UrlError(f"cannot be used with this {name}: " + _INSTEAD.get(name, "leave it out"))
        elif name not in (*_PLACE, *_TLS, *_OURS):
            raise UrlError(f"has the parameter {name}, which cannot be used: {_INSTEAD.get(name, 'leave it out')}")
        elif name in _VALUES and value not in _VALUES[name]:
            raise UrlError(f"has a {name} that is none of {', '.join(_VALUES[name])}")
        elif name in _INTEGERS and not re.fullmatch(r"-?\d{1,9}", value):
            raise UrlError(f"has a {name} that is not a number")
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    if not all(host.startswith(("/", "@")) or is_host(host or "localhost") for host in hosts):
        raise UrlError("has a host that is neither a name nor an address")
    if not all(re.fullmatch(r"\d{0,5}", port) and int(port or 5432) in range(1, 65536) for port in ports):
        raise UrlError("has a port that is not a number from 1 to 65535")
    if len(ports) not in (1, len(hosts)):
        raise UrlError("has another number of ports than of hosts")
    if given.get("sslrootcert") == "system" and given.get("sslmode", "verify-full") != "verify-full":
        raise UrlError("has sslrootcert=system, which needs sslmode=verify-full")


def _split_options(options: str) -> tuple[dict[str, str], str]:
    """The settings among the options of a server's command line, and all others."""
    try:
        words = shlex.split(options)
    except ValueError:
        raise UrlError("has options that cannot be read") from None
    settings: dict[str, str] = {}
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        given = next(rest, "") if word == "-c" else word.removeprefix("-c").removeprefix("--")
        setting = _SETTING.fullmatch(given.strip())
        if word.startswith(("-c", "--")):
            if setting is None:
                raise UrlError("has options with a -c that is not followed by name=value")
            settings[setting["name"].lower().replace("-", "_")] = setting["value"]
        else:
            others.append(word)
    return settings, " ".join(others)


def _trust_of_system(tls: Mapping[str, str]) -> ssl.SSLContext:
    """TLS whose certificates the system's authorities vouch for, as libpq's ``sslrootcert=system``."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if "sslcert" in tls:
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), lambda: tls.get("sslpassword", ""))
    return context
