"""The keys that are in force, as each way in looks them up."""

from __future__ import annotations

from datetime import timedelta

import immutables
import pytest

from foldbook.access.access import Key, Keys
from foldbook.access.keyring import Keyring
from foldbook.access.keys import digest_of, key_of
from foldbook.access.principal import ANYONE, UNKNOWN, Principal
from foldbook.access.roles import Role, Unauthenticated
from foldbook.errors import StoreUnavailable
from tests.builders import NOW

ALICE, BOB = key_of("00000000000a", bytes(32)), key_of("00000000000b", bytes(32))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> object:
        return self.now


def key(text: str, name: str = "alice", **fields: object) -> Key:
    return Key(name, (Role.TRADER,), ("alice/*/*",), digest_of(text), **fields)  # type: ignore[arg-type]


def keys(**by_id: Key) -> Keys:
    return Keys(immutables.Map({key_id.removeprefix("k"): one for key_id, one in by_id.items()}))


BOTH = keys(k00000000000a=key(ALICE), k00000000000b=key(BOB, "bob"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keyring(clock: Clock) -> Keyring:
    return Keyring(clock)  # type: ignore[arg-type]


def is_refused(keyring: Keyring, text: str) -> bool:
    try:
        keyring.principal_of(text)
    except Unauthenticated as error:
        return not text or text not in str(error)
    return False


def test_before_the_keys_are_known_nobody_is_refused_and_nobody_let_in(keyring: Keyring) -> None:
    with pytest.raises(StoreUnavailable):
        keyring.principal_of(ALICE)
    keyring.follow(Keys())
    assert is_refused(keyring, ALICE)


def test_whose_a_key_is(keyring: Keyring) -> None:
    keyring.follow(BOTH)
    alice = keyring.principal_of(ALICE)
    assert (alice.key_id, alice.name, alice.roles, alice.accounts) == (
        "00000000000a",
        "alice",
        frozenset({Role.TRADER}),
        ("alice/*/*",),
    )
    assert alice.metadata.actor == "alice"
    assert keyring.principal_of(BOB).name == "bob"
    assert keyring.principal_of(ALICE) is alice
    assert len(keyring) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fbk_",
        ALICE[:-1],
        ALICE + "0",
        ALICE.upper(),
        key_of("00000000000a", bytes([1] * 32)),
        "ü" * 81,
        digest_of(ALICE),
    ],
)
def test_what_is_not_a_key_is_refused(keyring: Keyring, text: str) -> None:
    keyring.follow(BOTH)
    assert is_refused(keyring, text)


def test_a_revoked_key_is_refused_and_its_principal_is_dead(keyring: Keyring) -> None:
    keyring.follow(BOTH)
    alice, bob = keyring.principal_of(ALICE), keyring.principal_of(BOB)
    told: list[bool] = []
    stop = keyring.on_change(lambda: told.append(keyring.is_live(alice)))
    keyring.follow(keys(k00000000000b=BOTH.live["00000000000b"]))
    assert told == [False], "who follows a principal is told, when the key is refused already"
    assert is_refused(keyring, ALICE)
    assert not keyring.is_live(alice)
    assert keyring.is_live(bob)
    assert keyring.principal_of(BOB) is bob, "the principal of a key that stays is kept"
    stop()
    keyring.follow(Keys())
    assert told == [False]


def test_the_same_keys_again_are_no_change(keyring: Keyring) -> None:
    keyring.follow(BOTH)
    told: list[None] = []
    keyring.on_change(lambda: told.append(None))
    keyring.follow(BOTH)
    assert told == []


def test_another_key_of_the_same_id_is_another(keyring: Keyring) -> None:
    keyring.follow(keys(k00000000000a=key(ALICE)))
    alice = keyring.principal_of(ALICE)
    keyring.follow(keys(k00000000000a=key(BOB)))
    assert not keyring.is_live(alice)
    assert is_refused(keyring, ALICE)
    assert keyring.principal_of(BOB) is not alice


def test_an_expired_key_is_refused_without_being_told(keyring: Keyring, clock: Clock) -> None:
    keyring.follow(keys(k00000000000a=key(ALICE, expires_at=NOW + timedelta(seconds=2))))
    alice = keyring.principal_of(ALICE)
    clock.now += timedelta(seconds=1)
    assert keyring.is_live(alice)
    clock.now += timedelta(seconds=1)
    assert not keyring.is_live(alice)
    assert is_refused(keyring, ALICE)


def test_who_has_no_key_is_always_who_they_are(keyring: Keyring) -> None:
    assert keyring.is_live(ANYONE)
    assert keyring.is_live(UNKNOWN)
    assert not keyring.is_live(Principal("00000000000c", "carol", frozenset(), ()))
