"""The settings: one typed object, read from the environment and never changed afterwards.

Each field is read from ``FOLDBOOK_`` followed by its name in capitals; the database's URL from ``DATABASE_URL``.
``foldbook doctor`` prints them all.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from foldbook.addresses import check_amqp, check_http, is_host
from foldbook.postgres.data_folder import check_data_folder, read_plain
from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.roles import AUDITOR, ENGINE, OWNER, as_role_if_separated
from foldbook.postgres.urls import masked, parse

ENVIRONMENT_PREFIX = "FOLDBOOK_"


def default_data_dir() -> Path:
    """Below the user's data home (XDG Base Directory Specification). For root it is where system services keep their
    state, because root's PostgreSQL runs as another user, who cannot enter root's home."""
    if os.geteuid() == 0:
        return Path("/var/lib/foldbook")
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path("~/.local/share")) / "foldbook"


BROKER_KINDS = ("simulated", "live")

MARKET_WORDS = ("sample", "none", "venue")
CCXT, AMQP = "ccxt:", "amqp:"
"""These words, and what begins so, are sources of market data that are no files."""

LIVE_PREFIX = f"{ENVIRONMENT_PREFIX}LIVE_"
"""Of the credentials of live accounts, which are no settings."""


KEY_VARIABLE = f"{ENVIRONMENT_PREFIX}KEY"
"""Has the key of whoever runs a program, which is no setting."""


def _default_brokers() -> str:
    """An empty variable is not set, but for this one: to work no accounts is a decision."""
    return "" if os.environ.get(f"{ENVIRONMENT_PREFIX}BROKERS") == "" else "simulated"


Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""More of anything is a mistake, and too much for a clock or a socket."""


class Settings(BaseSettings):
    """What an operator decides about one engine."""

    # An empty variable counts as not set: nobody means the folder "".
    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # it may be a password
    )

    host: str = "127.0.0.1"
    """The address that the API listens on."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    data_dir: Path = Field(default_factory=default_data_dir)
    """The folder of the embedded PostgreSQL and of this engine's lock."""
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "FOLDBOOK_DATABASE_URL")
    )
    """A PostgreSQL 15 to 18 to use instead of the embedded one."""
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    """Independent logs in the database; fixed when the log is created."""

    brokers: str = Field(default_factory=_default_brokers)
    """The kinds of broker whose accounts this engine works, with commas: ``simulated``, ``live``. Set to nothing:
    none, and reports come from outside."""
    venue_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Where the simulated venue listens, on 127.0.0.1; by default the API's port + 1."""
    venue_url: str | None = None
    """A simulated venue that runs elsewhere; then ``up`` starts none."""
    market: str = "sample"
    """What ``up`` feeds to the venue: ``none``, or what ``foldbook market run`` takes; files by their absolute path."""

    access: Literal["keys", "open"] = "keys"
    """``keys``: every request needs one. ``open``: none does, for private use on a loopback address."""
    allowed_hosts: str = ""
    """Names, with commas, by which the API may be called, beside localhost and the address that it listens on."""
    key_requests_per_s: Count = 10_000
    """Requests of one key in a second; one more is refused (429)."""
    connections_max: Count = 1_024
    """Connections at once. One more takes the place of one that waits for its client; a key may have half of them."""
    request_timeout_s: Count = 30
    """How long a request may take to arrive, and in a bulk request the next command."""
    answer_timeout_s: Count = 60
    """How long an answer may wait for a client that does not take it."""

    amqp_url: SecretStr | None = None
    """The RabbitMQ that joins this engine with other processes, as ``amqp://user:password@host:port/virtual-host``."""

    queue_max: Count = 10_000
    """Commands that wait in the bus; the next one is refused (503)."""
    batch_max: Count = 128
    """Commands in one commit."""
    aggregates_max: Count = 20_000
    """Aggregates whose state is kept in memory."""
    body_bytes_max: Count = 1 << 20
    """The body of a request."""
    ndjson_bytes_max: Count = 64 << 20
    """The body of a bulk request, which is read as a stream."""
    streams_max: Count = 768
    """Streams of events and of market data at once; each is a connection."""
    streams_per_key_max: Count = 128
    """Those of one key."""

    projection_interval_ms: Count = 3
    """A projection writes its tables at most this often; events that arrive in between form one range."""
    poll_interval_ms: Count = 500
    """The longest time that a lost notification can hide an event from a reader."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("data_dir")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        try:
            return Path.cwd() / value.expanduser()
        except RuntimeError:
            raise ValueError("cannot be found: nobody has the home folder that ~ stands for") from None

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if not is_host(value):
            raise ValueError("is neither an address, such as 127.0.0.1, nor the name of a host")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _check_allowed_hosts(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        if not all(is_host(name.removeprefix("[").removesuffix("]")) for name in names):
            raise ValueError(
                "takes names of hosts and addresses, with commas, as in trade.example,10.0.0.7: write no scheme, port "
                "or path, and no stars"
            )
        return value

    @field_validator("market")
    @classmethod
    def _make_file_absolute(cls, value: str) -> str:
        """``FILE:SYMBOL`` too: whoever reads it may be in another folder."""
        is_file = value not in MARKET_WORDS and not value.startswith((CCXT, AMQP))
        return f"{Path.cwd()}/{value}" if is_file and not Path(value).is_absolute() else value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse(value.get_secret_value())
        return value

    @field_validator("amqp_url")
    @classmethod
    def _check_amqp_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_amqp(value.get_secret_value())
        return value

    @field_validator("brokers")
    @classmethod
    def _check_brokers(cls, value: str) -> str:
        kinds = [kind.strip() for kind in value.split(",") if kind.strip()]
        if not set(kinds) <= set(BROKER_KINDS):
            raise ValueError(f"takes {' and '.join(BROKER_KINDS)}, with commas, or nothing")
        return ",".join(kind for kind in BROKER_KINDS if kind in kinds)

    @field_validator("venue_url")
    @classmethod
    def _check_venue_url(cls, value: str | None) -> str | None:
        if value is not None:
            check_http(value)
        return value

    @model_validator(mode="after")
    def _check_access(self) -> Settings:
        if self.access == "open" and not is_loopback(self.host):
            raise ValueError(
                f"FOLDBOOK_ACCESS=open lets whoever reaches {self.host} do everything: only for a loopback address"
            )
        return self

    @property
    def key_file(self) -> Path:
        """Where the operator's key of the first start is."""
        return self.data_dir / "operator.key"

    @property
    def broker_kinds(self) -> tuple[str, ...]:
        return tuple(self.brokers.split(",")) if self.brokers else ()

    @property
    def venue_address(self) -> str:
        """The simulated venue's URL."""
        return self.venue_url or f"http://127.0.0.1:{self.port_of_venue}"

    @property
    def port_of_venue(self) -> int:
        return self.venue_port if self.venue_port is not None else self.port % 65535 + 1

    @property
    def is_embedded(self) -> bool:
        return self.database_url is None

    @property
    def owner_dsn(self) -> str:
        """The database's URL for its owner, who migrates; for libpq and asyncpg alike. It may contain a password: print
        it ``masked``."""
        return self._dsn_of(OWNER)

    @cached_property
    def dsn(self) -> str:
        """The database's URL for the engine. Asks a database that is not embedded whether the role exists."""
        return self._dsn_of(ENGINE)

    @cached_property
    def auditor_dsn(self) -> str:
        """The database's URL for an auditor, who only reads."""
        return self._dsn_of(AUDITOR)

    def _dsn_of(self, role: str) -> str:
        if self.database_url is None:
            check_data_folder(self.data_dir)
            return EmbeddedPostgres(self.data_dir).dsn_of(role)
        url = self.database_url.get_secret_value()
        return url if role == OWNER else as_role_if_separated(url, role)

    @property
    def url(self) -> str:
        """The API's address for a client on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def describe(self) -> dict[str, str | int]:
        """Every setting under the name of its environment variable, without secrets."""
        shown: dict[str, str | int] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            variable = "DATABASE_URL" if name == "database_url" else ENVIRONMENT_PREFIX + name.upper()
            shown[variable] = masked(value.get_secret_value()) if isinstance(value, SecretStr) else _shown(value)
        return shown


def _shown(value: object) -> str | int:
    return "" if value is None else value if isinstance(value, int) else str(value)


def is_loopback(address: str) -> bool:
    """Does the address lead to this machine only?"""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def own_key(settings: Settings) -> str | None:
    """The key of a program on this machine: that of ``FOLDBOOK_KEY``, else the one in the data folder. None: neither is
    there, or this user may not read it."""
    if given := os.environ.get(KEY_VARIABLE):
        return given.strip()
    return key_in_file(settings)


def key_in_file(settings: Settings) -> str | None:
    """The key in the data folder. None: it is not there, or this user may not read it."""
    with suppress(OSError):
        return read_plain(settings.key_file).strip()
    return None


def unknown_variables() -> list[str]:
    """Variables that look like settings but are not, probably because they are misspelt."""
    known = _variables()
    return sorted(
        name
        for name in os.environ
        if name.startswith(ENVIRONMENT_PREFIX)
        and not name.startswith(LIVE_PREFIX)
        and name != KEY_VARIABLE
        and name not in known
    )


def nearest_variable(name: str) -> str | None:
    """The variable that ``name`` was most likely meant to be; None if none is similar."""
    return next(iter(difflib.get_close_matches(name, _variables(), n=1, cutoff=0.75)), None)


def _variables() -> list[str]:
    return [ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields]
