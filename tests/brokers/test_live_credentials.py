"""The credentials of a live account: where they come from, and that nobody sees them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from foldbook.brokers.live.credentials import FILE_VARIABLE, Credentials, credentials_of
from foldbook.brokers.live.errors import LiveError

ALICE = "alice/binance/live"
TABLE = '["alice/binance/live"]\nkey = "the-key"\nsecret = "the-secret"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.toml"
    path.write_text(TABLE)
    path.chmod(0o600)
    return path


def test_they_come_from_the_environment() -> None:
    given = {"FOLDBOOK_LIVE_BINANCE_ALICE_KEY": "the-key", "FOLDBOOK_LIVE_BINANCE_ALICE_SECRET": "the-secret"}
    credentials = credentials_of(ALICE, given)
    assert (credentials.key, credentials.secret, credentials.is_sandbox) == ("the-key", "the-secret", False)
    assert credentials_of(ALICE, given | {"FOLDBOOK_LIVE_BINANCE_ALICE_SANDBOX": "true"}).is_sandbox


def test_they_come_from_a_file(file: Path) -> None:
    credentials = credentials_of(ALICE, {FILE_VARIABLE: str(file)})
    assert (credentials.key, credentials.secret, credentials.is_sandbox) == ("the-key", "the-secret", False)
    file.write_text(TABLE + "sandbox = true\n")
    assert credentials_of(ALICE, {FILE_VARIABLE: str(file)}).is_sandbox


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(LiveError, match="chmod 600"):
        credentials_of(ALICE, {FILE_VARIABLE: str(file)})


def test_none_are_told_where_to_put_them() -> None:
    with pytest.raises(LiveError, match="FOLDBOOK_LIVE_BINANCE_ALICE_KEY"):
        credentials_of(ALICE, {})


@pytest.mark.parametrize("user", ["Alice", "al.ice", "al-ice", "al:ice"])
def test_two_users_never_share_a_variable(user: str, file: Path) -> None:
    """``al.ice`` and ``al-ice`` would both be AL_ICE."""
    given = {
        f"FOLDBOOK_LIVE_BINANCE_{name}_{member}": "x" for name in ("ALICE", "AL_ICE") for member in ("KEY", "SECRET")
    }
    with pytest.raises(LiveError, match=FILE_VARIABLE):
        credentials_of(f"{user}/binance/live", given)
    with pytest.raises(LiveError, match="no table"):
        credentials_of(f"{user}/binance/live", given | {FILE_VARIABLE: str(file)})


@pytest.mark.parametrize(
    "table",
    [
        '["alice/binance/live"]\nkey = "the-key"\n',
        '["alice/binance/live"]\nkey = "the-key"\nsecret = ""\n',
        '["alice/binance/live"]\nkey = 1\nsecret = "the-secret"\n',
        '["alice/binance/live"]\nkey = "the-key"\nsecret = "the-secret"\nsandbox = "yes"\n',
        '["alice/binance/live"]\nkey = "the-key"\nsecret = "the-secret"\npassword = "x"\n',
        '["alice/binance/live"]\nkey = "the-key"\nsecret = "the-secret\n',
        "the-secret",
    ],
)
def test_a_wrong_file_is_told_without_what_is_in_it(file: Path, table: str) -> None:
    file.write_text(table)
    with pytest.raises(LiveError) as caught:
        credentials_of(ALICE, {FILE_VARIABLE: str(file)})
    assert "the-key" not in str(caught.value) and "the-secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_switch_that_is_neither_is_an_error() -> None:
    given = {"KEY": "the-key", "SECRET": "the-secret", "SANDBOX": "1"}
    with pytest.raises(LiveError, match="SANDBOX must be true or false"):
        credentials_of(ALICE, {f"FOLDBOOK_LIVE_BINANCE_ALICE_{name}": value for name, value in given.items()})


def test_they_show_nothing() -> None:
    credentials = Credentials("the-key", "the-secret")
    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert "the-key" not in text and "the-secret" not in text
    with pytest.raises(TypeError):
        pickle.dumps(credentials)


def test_a_text_is_told_without_them_and_without_signatures() -> None:
    credentials = Credentials("the-key", "the-secret")
    text = 'GET /order?apiKey=the-key&signature=0a1b2c was refused: {"signature": "0A1B2C=="} the-secret'
    assert credentials.hidden_in(text) == ('GET /order?apiKey=***&signature=*** was refused: {"signature": "***"} ***')
