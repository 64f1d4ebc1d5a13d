"""Settings come from the environment, are checked, and are shown without secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from pydantic import SecretStr, ValidationError

from foldbook.api.hosts import hosts_of
from foldbook.cli.exits import Exit
from foldbook.cli.terminal import read_settings
from foldbook.config import Settings, nearest_variable, unknown_variables
from foldbook.postgres.urls import masked


def test_each_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOLDBOOK_ACCESS", "keys")
    monkeypatch.setenv("FOLDBOOK_HOST", "0.0.0.0")
    monkeypatch.setenv("FOLDBOOK_PORT", "8123")
    monkeypatch.setenv("FOLDBOOK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("FOLDBOOK_SHARDS", "4")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/foldbook")
    settings = Settings()
    assert (settings.host, settings.port, settings.data_dir, settings.shards) == ("0.0.0.0", 8123, tmp_path, 4)
    assert settings.owner_dsn == "postgresql://me:secret@127.0.0.1:1/foldbook"
    assert settings.dsn == "postgresql://me:secret@127.0.0.1:1/foldbook?options=-c%20role%3Dfoldbook_engine"
    assert not settings.is_embedded
    assert settings.url == "http://127.0.0.1:8123"


NO_NUMBERS = ["many", "0", "-1", "1.5", "1e3", "nan", "9" * 5000, str(2**31), "\u0662", "1 2", "0x10", "a\nb"]
NO_NAMES = [
    "a..b",
    ".",
    "x" * 64,
    "a." * 127 + "a",
    "1::2::3",
    ":",
    "a b",
    "\u2100",
    "a\nb",
    "*",
    "xn--a",
    "127.1",
    "256.1.1.1",
    "1.",
    "1::%\\",
]
NO_HOSTS = [*NO_NAMES, "[::1]", "a/b", "me@h", "h:1"]
NO_PORTS = ["0", "65536", "99999", "-1", "notaport", "9" * 5000, "80/x@h"]
NO_URLS = [
    *("TOPSECRET", "h:1", "://h", "{0}:h", "{0}:/h", "{0}//h", "{0}://", "{0}:///x", "x{0}://h", "{0}://h/a b"),
    *("{0}://[", "{0}://[::1", "{0}://::1/", "{0}://[h]/", "{0}://[1::2::3]/", "{0}://h/\nx", "{0}://h#TOPSECRET"),
    *(f"{{0}}://{name}/" for name in NO_NAMES),
    *(f"{{0}}://h:{port}" for port in NO_PORTS),
    *("{0}://u:TOPSECRET@h:notaport/", "{0}://u:TOPSECRET@h:99999/", "{0}://u:TOPSECRET@[::1/"),
    *("{0}://u:TOP/SECRET@h/", "{0}://u:TOP?SECRET@h/", "{0}://u:TOP@SECRET@h/"),
    *("{0}://u:TOPSECRET@a..b/", "{0}://u:TOP SECRET@h/", "{0}://u:TOP\u2100SECRET@[h/"),
    *("{0}://u:1/TOPSECRET@h/", "{0}://u:TOP%zzSECRET@h/", "{0}://u:TOP%SECRET@h/"),
]
FINE_FOR_LIBPQ = [*(f"{{0}}://u:TOP{c}SECRET@h/" for c in "\\#:"), "{0}://u:TOPSECRET@"]
NONSENSE = {
    **{
        name: NO_NUMBERS
        for name in Settings().describe()
        if name.endswith(("_MAX", "_S", "_MS")) or name in ("FOLDBOOK_PORT", "FOLDBOOK_VENUE_PORT", "FOLDBOOK_SHARDS")
    },
    "FOLDBOOK_HOST": NO_HOSTS,
    "FOLDBOOK_DATA_DIR": ["~nosuchuser", "~nosuchuser/x"],
    "DATABASE_URL": [
        *("host=db password=TOPSECRET", "postgresql://u:TOPSECRET@db?sslmode=x", "mysql://u:TOPSECRET@db/foldbook"),
        *("postgresql://u:TOPSECRET@[::1", "postgresql://u:TOPSECRET@db?x"),
        *(url.format("postgresql") for url in NO_URLS if "TOP" in url),
        *(f"postgresql://u:TOPSECRET@db:{port}" for port in NO_PORTS),
        *(f"postgresql://u:TOPSECRET@a,{host}/db" for host in NO_NAMES if host != ":"),
        *(f"postgresql://u:TOPSECRET@/db?host={host}" for host in ("a..b", "/run,x..y", "x%20y", "[::1]")),
    ],
    "FOLDBOOK_BROKERS": ["paper", "simulated,paper", "simulated;live", "a\nb", "Live"],
    "FOLDBOOK_VENUE_URL": [url.format("http") for url in NO_URLS + FINE_FOR_LIBPQ]
    + ["http://h:port", "http://me:TOPSECRET@h:1", "http://h:1?x=TOPSECRET", "ftp://h", "http://h/\u2100"],
    "FOLDBOOK_MARKET": [],  # It is a file's name, which says later that it is not there.
    "FOLDBOOK_ACCESS": ["closed", "keys,open", "OPEN", "a\nb"],
    "FOLDBOOK_ALLOWED_HOSTS": [
        *("trade.example:8443", "https://trade.example", "a,https://u:TOPSECRET@trade.example/", "*.example", "a;b"),
        *("trade.example/", "a,[::1]:8000", *NO_NAMES),
    ],
    "FOLDBOOK_AMQP_URL": [url.format(scheme) for url in NO_URLS + FINE_FOR_LIBPQ for scheme in ("amqp", "amqps")]
    + ["http://u:TOPSECRET@h", "amqp://u:TOPSECRET%ff@h", "amqp://u:%00TOPSECRET@h", "amqp://u:TOPSECRET@h/x@y"]
    + [f"amqp://u:TOPSECRET@h?{query}" for query in ("heartbeat=x", "timeout=", "auth=TOPSECRET", "TOPSECRET=1", "x")],
    "FOLDBOOK_LOG_LEVEL": ["loud", "INFO", "10", "a\nb"],
}


@pytest.mark.parametrize("variable", Settings().describe())
def test_nonsense_ends_with_one_line_about_it(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in NONSENSE[variable]:
        monkeypatch.setenv(variable, value)
        with pytest.raises(typer.Exit) as ended:
            read_settings()
        (line,) = capsys.readouterr().err.splitlines()
        assert ended.value.exit_code == Exit.USAGE
        assert line.startswith(f"foldbook: {variable}: "), value
        assert not re.search("TOP|SECRET", line), value


@pytest.mark.parametrize(
    ("variable", "values"),
    [
        (
            "FOLDBOOK_HOST",
            ["0.0.0.0", "::", "::1", "fe80::1%lo", "localhost", "a_b.example.", "x" * 63, "xn--mnchen-3ya.de"],
        ),
        ("FOLDBOOK_ALLOWED_HOSTS", ["trade.example", " a , b ,,[::1],::1,10.0.0.7 ", "trade.example."]),
        ("FOLDBOOK_VENUE_URL", ["http://venue", "HTTPS://venue:1/", "http://[::1]:8001", "http://a.b:1/venue/1"]),
        ("FOLDBOOK_QUEUE_MAX", ["1", str(2**31 - 1)]),
    ],
)
def test_sense_is_taken(variable: str, values: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDBOOK_ACCESS", "keys")
    for value in values:
        monkeypatch.setenv(variable, value)
        assert Settings().describe()[variable] in (value, int(value) if value.isdecimal() else value)


def test_the_end_of_a_name_of_a_host_does_not_matter() -> None:
    """A request's is left out, too."""
    assert {"trade.example", "::1"} <= hosts_of("127.0.0.1", ["trade.example.", "[::1]"])


def test_nobody_has_a_home_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def unknown(_: object) -> None:
        raise KeyError

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_DATA_HOME", "FOLDBOOK_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(typer.Exit) as ended:
        read_settings()
    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.exit_code, line.split(": ")[1]) == (Exit.USAGE, "FOLDBOOK_DATA_DIR")
    monkeypatch.setenv("FOLDBOOK_DATA_DIR", "/data")
    assert read_settings().data_dir == Path("/data")


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOLDBOOK_ACCESS")
    variables = Settings().describe()
    for name in (*variables, "FOLDBOOK_DATABASE_URL"):
        monkeypatch.setenv(name, "")
    assert Settings().describe() == variables | {"FOLDBOOK_BROKERS": ""}
    assert Settings().is_embedded


def test_no_brokers_are_a_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOLDBOOK_BROKERS", raising=False)
    assert Settings().broker_kinds == ("simulated",)
    monkeypatch.setenv("FOLDBOOK_BROKERS", "")
    assert Settings().broker_kinds == ()
    monkeypatch.setenv("FOLDBOOK_BROKERS", " live , simulated,live")
    assert Settings().broker_kinds == ("simulated", "live")


def test_the_venue_is_beside_the_api_unless_it_is_elsewhere() -> None:
    assert Settings(port=8000).venue_address == "http://127.0.0.1:8001"
    assert Settings(port=8000, venue_port=9).venue_address == "http://127.0.0.1:9"
    assert Settings(port=65535).port_of_venue == 1
    assert Settings(venue_url="http://venue:1").venue_address == "http://venue:1"


def test_credentials_of_live_accounts_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDBOOK_LIVE_BINANCE_ALICE_KEY", "x")
    assert "FOLDBOOK_LIVE_BINANCE_ALICE_KEY" not in unknown_variables()


def test_a_host_that_is_empty_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(host="")


def test_secrets_are_not_shown() -> None:
    settings = Settings(database_url=SecretStr("postgresql://me:secret@127.0.0.1:1/foldbook"))
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings.describe())
    assert settings.describe()["DATABASE_URL"] == "postgresql://me:***@127.0.0.1:1/foldbook"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me@db:5432/foldbook", "postgresql://me@db:5432/foldbook"),
        ("postgresql://me:se@cr:et@db/foldbook", "postgresql://***"),
        ("postgresql:///foldbook?host=/run&password=secret", "postgresql:///foldbook?host=/run&password=***"),
        ("postgresql://me@/foldbook?sslpassword=secret&port=1", "postgresql://me@/foldbook?sslpassword=***&port=1"),
    ],
)
def test_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize("variable", ["DATABASE_URL", "FOLDBOOK_AMQP_URL", "FOLDBOOK_VENUE_URL"])
@pytest.mark.parametrize("scheme", ["", "ftp://", "amqp:", "http:"])
def test_a_malformed_url_is_not_repeated(variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, f"{scheme}me:hunter2\u2100@h/x")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "hunter2" not in str(refused.value) + repr(refused.value)


def test_a_relative_data_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("data")).data_dir == tmp_path / "data"


@pytest.mark.parametrize(
    ("market", "handed_over"),
    [
        ("bars.csv", "{}/bars.csv"),
        ("./data/bars.csv:BTC/USDT:USDT", "{}/./data/bars.csv:BTC/USDT:USDT"),
        ("/data/bars.csv:BTC/USDT", "/data/bars.csv:BTC/USDT"),
        ("sample", "sample"),
        ("none", "none"),
        ("venue", "venue"),
        ("ccxt:binance", "ccxt:binance"),
        ("amqp:binance", "amqp:binance"),
    ],
)
def test_a_file_of_market_data_is_named_for_other_folders(
    market: str, handed_over: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sample").touch()
    monkeypatch.chdir(tmp_path)
    assert Settings(market=market).market == handed_over.format(tmp_path)


def test_the_default_folder_is_below_the_data_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / "foldbook"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / ".local" / "share" / "foldbook"


def test_misspelt_variables_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDBOOK_SHARD", "4")
    assert unknown_variables() == ["FOLDBOOK_SHARD"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("FOLDBOOK_PROT", "FOLDBOOK_PORT"),
        ("FOLDBOOK_DATADIR", "FOLDBOOK_DATA_DIR"),
        ("FOLDBOOK_SHARD", "FOLDBOOK_SHARDS"),
        ("FOLDBOOK_LOGLEVEL", "FOLDBOOK_LOG_LEVEL"),
        ("FOLDBOOK_COLOUR_OF_THE_SKY", None),
    ],
)
def test_the_variable_that_was_meant(name: str, nearest: str | None) -> None:
    assert nearest_variable(name) == nearest
