"""The streams that are open: how many there may be, and who ends them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from foldbook.access.principal import Principal
from foldbook.api.problems import Problem
from foldbook.errors import register

register({"too-many-streams": (429, "The key has too many streams open")})


class OpenStreams:
    """Those of this process. A stream is known by what ends it, which must not wait."""

    def __init__(self, *, total_max: int, per_key_max: int) -> None:
        self._ends: dict[Callable[[], object], Principal] = {}
        self._of_key: Counter[str] = Counter()
        self._total_max = total_max
        self._per_key_max = per_key_max
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._ends)

    def check_room(self, principal: Principal) -> None:
        """Raises ``Problem`` if there is no room for one more."""
        if self.is_closed:
            raise Problem("overloaded", "the server is stopping")
        if len(self._ends) >= self._total_max:
            raise Problem("overloaded", f"{self._total_max} streams are open already")
        if principal.key_id is not None and self._of_key[principal.key_id] >= self._per_key_max:
            raise Problem("too-many-streams", f"a key may have at most {self._per_key_max} streams")

    @contextmanager
    def entered(self, principal: Principal, end: Callable[[], object]) -> Iterator[None]:
        """Inside, the stream is open. Raises what ``check_room`` raises."""
        self.check_room(principal)
        self._ends[end] = principal
        self._count(principal, 1)
        try:
            yield
        finally:
            del self._ends[end]
            self._count(principal, -1)

    def end_dead(self, is_live: Callable[[Principal], bool]) -> None:
        """End the streams of keys that are no longer valid. To be called when keys have changed."""
        for end, principal in list(self._ends.items()):
            if not is_live(principal):
                end()

    def close(self) -> None:
        """End all, and let no more in: the server stops."""
        self.is_closed = True
        for end in list(self._ends):
            end()

    def _count(self, principal: Principal, change: int) -> None:
        if principal.key_id is not None:
            self._of_key[principal.key_id] += change
            if not self._of_key[principal.key_id]:
                del self._of_key[principal.key_id]
