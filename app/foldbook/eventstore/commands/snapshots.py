"""Snapshots: the cached fold of an aggregate, so that a long history need not be read to decide one command.

Only a cache. It can be deleted at any time. One whose fingerprint is not today's is ignored (``states/codec.py``); and
the store ignores one that is not as it was written, or that was folded up to a commit that the log does not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from foldbook.errors import reason_of
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.states.codec import StateCodec
from foldbook.eventstore.store import EventStore, Snapshot

logger = logging.getLogger(__name__)

WANTED_MAX = 1_000
"""Snapshots waiting to be taken."""


class Snapshotter:
    """Takes the snapshots of one shard, one after the other, beside everything else. ``codecs``: by aggregate type."""

    def __init__(self, store: EventStore, shard: int, codecs: Mapping[str, StateCodec[Any]]) -> None:
        self._store = store
        self._shard = shard
        self._codecs = codecs
        self._wanted: dict[AggregateKey, tuple[Any, int]] = {}
        self._task: asyncio.Task[None] | None = None

    def want(self, key: AggregateKey, state: Any, sequence: int) -> bool:
        """Ask for a snapshot of ``state``, which is stored. False: too many are wanted already, ask another time."""
        if len(self._wanted) >= WANTED_MAX and key not in self._wanted:
            return False
        self._wanted[key] = (state, sequence)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._take_all(), name=f"snapshots-{self._shard}")
        return True

    async def finish(self) -> None:
        """Take those that are wanted."""
        if self._task is not None:
            await self._task

    async def _take_all(self) -> None:
        while self._wanted:
            key, (state, sequence) = next(iter(self._wanted.items()))
            del self._wanted[key]
            codec = self._codecs[key.type]
            # A large state takes a while to encode; it is immutable, so another thread may read it.
            encoded = await asyncio.to_thread(codec.encode, state)
            try:
                await self._store.write_snapshot(self._shard, Snapshot(key, sequence, codec.fingerprint, encoded))
            except Exception as error:  # Without one, the next start reads more events: nothing is wrong with the log.
                logger.warning("no snapshot of %s at %d: %s", key.id, sequence, reason_of(error))
