"""Given these keys, when one is issued or revoked, then this happened, or it is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from uuid_utils.compat import uuid7

from foldbook.access.access import ACCESS, KEYS_MAX, PATTERNS_MAX, Keys
from foldbook.access.commands import AGGREGATE_ID, HolderName, IssueKey, RevokeKey
from foldbook.access.events import KeyIssued, KeyRevoked
from foldbook.access.keys import digest_of, holds_key, is_key, key_id_of, key_of, without_keys
from foldbook.access.roles import EVERY_ACCOUNT, Role
from foldbook.eventstore.specification import Specification
from foldbook.eventstore.store import shard_of
from tests.builders import NOW

ACCESS_KEYS = Specification(ACCESS)
LATER = NOW + timedelta(hours=1)


def issue(key_id: str = "000000000001", name: str = "alice", **fields: Any) -> IssueKey:
    given: dict[str, Any] = {
        "command_id": uuid7(),
        "received_at": NOW,
        "roles": (Role.TRADER,),
        "accounts": ("alice/*/*",),
        "digest": "d" * 64,
        **fields,
    }
    return IssueKey(key_id=key_id, name=name, **given)


def revoke(key_id: str = "000000000001", reason: str | None = None) -> RevokeKey:
    return RevokeKey(command_id=uuid7(), received_at=NOW, key_id=key_id, reason=reason)


def issued(key_id: str = "000000000001", name: str = "alice", **fields: Any) -> KeyIssued:
    given: dict[str, Any] = {"roles": (Role.TRADER,), "accounts": ("alice/*/*",), "digest": "d" * 64, **fields}
    return KeyIssued(key_id=key_id, name=name, **given)


def test_a_key_is_issued_with_what_was_asked_for() -> None:
    command = issue(roles=(Role.TRADER, Role.RISK), accounts=("alice/*/*", "*/*/simulated"), expires_at=LATER)
    ACCESS_KEYS.when(command).then(
        issued(roles=(Role.TRADER, Role.RISK), accounts=("alice/*/*", "*/*/simulated"), expires_at=LATER)
    )


def test_a_revoked_key_is_not_in_force() -> None:
    outcome = ACCESS_KEYS.given(issued()).when(revoke(reason="lost"))
    outcome.then(KeyRevoked(key_id="000000000001", reason="lost"))
    assert outcome.state == Keys()


def test_what_is_not_in_force_cannot_be_revoked() -> None:
    ACCESS_KEYS.when(revoke()).then_refused("unknown-key")
    ACCESS_KEYS.given(issued(), KeyRevoked(key_id="000000000001")).when(revoke()).then_refused("unknown-key")


def test_a_name_has_one_key_at_a_time() -> None:
    held = ACCESS_KEYS.given(issued())
    held.when(issue("000000000002")).then_refused("key-name-taken")
    held.when(revoke(), issue("000000000002")).then(issued("000000000002"))
    held.when(issue("000000000002", "bob")).then(issued("000000000002", "bob"))


def test_an_id_has_one_key_at_a_time() -> None:
    ACCESS_KEYS.given(issued()).when(issue(name="bob")).then_refused("key-name-taken")


def test_an_expired_key_gives_its_name_free_when_another_is_issued() -> None:
    held = ACCESS_KEYS.given(issued(expires_at=NOW), issued("000000000002", "bob", expires_at=LATER))
    outcome = held.when(issue("000000000003"))
    outcome.then(KeyRevoked(key_id="000000000001", reason="expired"), issued("000000000003"))
    assert set(outcome.state.live) == {"000000000002", "000000000003"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"roles": ()}, "roles"),
        ({"roles": (Role.TRADER, Role.TRADER)}, "roles"),
        ({"accounts": ()}, "accounts"),
        ({"accounts": ("alice/*/*",) * (PATTERNS_MAX + 1)}, "accounts"),
        ({"accounts": ("alice/*",)}, "accounts"),
        ({"accounts": ("alice/*/*/*",)}, "accounts"),
        ({"accounts": ("alice/**/*",)}, "accounts"),
        ({"accounts": ("al*/binance/live",)}, "accounts"),
        ({"accounts": ("alice/*/*\n",)}, "accounts"),
        ({"accounts": ("al%ce/*/*",)}, "accounts"),
        ({"accounts": ("_/*/*",)}, "accounts"),
        ({"accounts": ("",)}, "accounts"),
        ({"roles": (Role.AUDITOR,)}, "accounts"),
        ({"roles": (Role.TRADER, Role.OPERATOR)}, "accounts"),
        ({"expires_at": NOW}, "expires_at"),
        ({"expires_at": NOW - timedelta(days=1)}, "expires_at"),
    ],
)
def test_what_cannot_be_issued(fields: dict[str, Any], field: str) -> None:
    ACCESS_KEYS.when(issue(**fields)).then_refused("invalid-command", field=field)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
def test_who_sees_everything_has_every_account(role: Role) -> None:
    command = issue(roles=(role,), accounts=(EVERY_ACCOUNT,))
    ACCESS_KEYS.when(command).then(issued(roles=(role,), accounts=(EVERY_ACCOUNT,)))


def test_there_is_room_for_so_many_keys() -> None:
    full = ACCESS_KEYS.given(*(issued(f"{n:012x}", f"n{n}") for n in range(KEYS_MAX)))
    full.when(issue("f" * 12, "one-more")).then_refused("too-many-keys")
    full.when(revoke("0" * 12), issue("f" * 12, "one-more")).then(issued("f" * 12, "one-more"))


def test_sent_again_with_another_secret_it_is_the_same_command() -> None:
    first, again = issue(digest="a" * 64), issue(digest="b" * 64)
    assert first.fingerprint() == again.fingerprint()
    for other in (issue(name="bob"), issue(roles=(Role.RISK,)), issue(accounts=("b/*/*",)), issue(expires_at=LATER)):
        assert other.fingerprint() != first.fingerprint()


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        ("alice", True),
        ("alice@desk.example", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("foldbook up", False),
        (".alice", False),
        ("alice\n", False),
        ("al\x00ice", False),
    ],
)
def test_names_of_holders(name: str, is_valid: bool) -> None:
    if is_valid:
        assert msgspec.convert(name, HolderName) == name
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(name, HolderName)


def test_the_id_of_a_key_is_the_same_if_its_command_is_sent_again() -> None:
    assert key_id_of(UUID("019a0000-0000-7000-8000-0123456789ab")) == "0123456789ab"


def test_what_a_key_looks_like() -> None:
    key = key_of("0123456789ab", bytes(range(32)))
    assert is_key(key)
    assert digest_of(key) != digest_of(key_of("0123456789ab", bytes(32)))
    for other in (key.upper(), key + "0", key[:-1], key + "\n", " " + key, key.replace("_", "-"), "", "fbk__"):
        assert not is_key(other), other


def test_where_a_key_is_found() -> None:
    key = key_of("0123456789ab", bytes(32)).encode()
    for text in (key, b'{"reason":"' + key + b'"}', b"x" + key, key + b"0"):
        assert holds_key(text), text
        assert without_keys(text) == text.replace(key, b"fbk_***")
    for text in (b"", b"fbk_", key[:-1], key.replace(b"_", b" ")):
        assert not holds_key(text), text
        assert without_keys(text) == text


def test_all_keys_are_one_aggregate() -> None:
    assert {issue().aggregate_key, revoke().aggregate_key} == {("access", AGGREGATE_ID)}
    assert shard_of(AGGREGATE_ID, 1) == 0
