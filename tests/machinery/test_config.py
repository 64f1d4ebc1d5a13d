"""Settings come from the environment, are checked, and are shown without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from foldbook.config import Settings, default_data_dir, nearest_variable, unknown_variables
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


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FOLDBOOK_PORT", "0"),
        ("FOLDBOOK_PORT", "http"),
        ("FOLDBOOK_SHARDS", "1025"),
        ("FOLDBOOK_QUEUE_MAX", "-1"),
        ("FOLDBOOK_LOG_LEVEL", "loud"),
        ("FOLDBOOK_BROKERS", "simulated,paper"),
        ("FOLDBOOK_VENUE_PORT", "0"),
        ("FOLDBOOK_VENUE_URL", "localhost:8001"),
        ("FOLDBOOK_AMQP_URL", "localhost:5672"),
        ("DATABASE_URL", "host=db dbname=foldbook"),
    ],
)
def test_a_wrong_value_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError):
        Settings()


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
    assert default_data_dir() == tmp_path / "foldbook"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / ".local" / "share" / "foldbook"


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
