"""The keys that are in force, as every way in looks them up: by the digest of what was shown.

It is told each state of the keys (``follow``). A key that is not in force any more is refused from then on, and who
follows its principal is told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from foldbook.access.access import Key, Keys
from foldbook.access.keys import digest_of, is_key
from foldbook.access.principal import Principal
from foldbook.access.roles import Unauthenticated
from foldbook.errors import StoreUnavailable

Changed = Callable[[], None]

_REFUSED = "the key is unknown, revoked or expired"


class Keyring:
    """``now``: the clock against which keys expire."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._by_digest: dict[str, _Held] = {}
        self._by_id: dict[str, _Held] = {}
        self._changed: list[Changed] = []
        self._is_told = False

    def __len__(self) -> int:
        return len(self._by_id)

    def follow(self, keys: Keys) -> None:
        """These keys are in force now. A principal of a key that stays is kept."""
        self._is_told = True
        held = {}
        for key_id, key in keys.live.items():
            known = self._by_id.get(key_id)
            held[key_id] = known if known is not None and known.key == key else _Held(key_id, key)
        is_same = held.keys() == self._by_id.keys() and all(held[key_id] is self._by_id[key_id] for key_id in held)
        self._by_id = held
        self._by_digest = {one.key.digest: one for one in held.values()}
        if not is_same:
            for changed in tuple(self._changed):
                changed()

    def on_change(self, changed: Changed) -> Callable[[], None]:
        """Call ``changed`` whenever keys were issued or revoked, until the function that this returns is called."""
        self._changed.append(changed)
        return lambda: self._changed.remove(changed)

    def principal_of(self, key: str) -> Principal:
        """Raises ``Unauthenticated``; ``StoreUnavailable`` if nobody knows the keys yet."""
        if not self._is_told:
            raise StoreUnavailable("the keys could not be read yet")
        held = self._by_digest.get(digest_of(key)) if is_key(key) else None
        if held is None or held.key.is_expired(self._now()):
            raise Unauthenticated(_REFUSED)
        return held.principal

    def is_live(self, principal: Principal) -> bool:
        """Is the key of a principal that was told earlier still in force?"""
        if principal.key_id is None:
            return True
        held = self._by_id.get(principal.key_id)
        return held is not None and held.principal is principal and not held.key.is_expired(self._now())


class _Held:
    def __init__(self, key_id: str, key: Key) -> None:
        self.key = key
        self.principal = Principal(key_id, key.name, frozenset(key.roles), key.accounts)
