"""Snapshots: the cached fold of an aggregate, so that a long history need not be read to decide one command.

Only a cache. It can be deleted at any time. One whose fingerprint is not today's is ignored: the fingerprint covers the
shape of the state, down to the fields of every struct in it, the code that folds it, and the upcasters of its events.
The store ignores one that is not as it was written, or that was folded up to a commit that the log does not have.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from enum import Enum
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import immutables
import msgspec

from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.folds import fold_digest
from foldbook.eventstore.decider import Decider
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.store import EventStore, Snapshot

logger = logging.getLogger(__name__)

S = TypeVar("S")

WANTED_MAX = 1_000
"""Snapshots waiting to be taken."""


class StateCodec(Generic[S]):
    """A state as JSON and back. ``fold``: the digest of what folds it."""

    def __init__(self, state_type: type[S], fold: str = "") -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_to_builtin, order="deterministic")
        self._decoder = msgspec.json.Decoder(state_type, dec_hook=_from_builtin)
        digest = hashlib.sha256(msgspec.json.encode([fold, _shape(state_type)]))
        self.fingerprint = digest.hexdigest()

    def encode(self, state: S) -> bytes:
        return self._encoder.encode(state)

    def decode(self, state: bytes) -> S:
        return self._decoder.decode(state)


def codec_of(decider: Decider[S]) -> StateCodec[S]:
    """How the states of a decider are kept."""
    return StateCodec(decider.state_type, fold_digest(decider))


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
            except StoreUnavailable as error:
                logger.warning("no snapshot of %s at %d: %s", key.id, sequence, error)


def _to_builtin(value: object) -> object:
    if isinstance(value, immutables.Map):
        return dict(value)
    raise NotImplementedError(type(value))


def _from_builtin(expected: type, value: Any) -> object:
    if getattr(expected, "__origin__", None) is immutables.Map:  # get_origin takes several times as long
        if not isinstance(value, dict):
            raise msgspec.ValidationError(f"Expected `object`, got `{type(value).__name__}`")
        # One by one: to convert a dict, msgspec would first have to study its type, for each of very many maps.
        _key_type, value_type = get_args(expected)
        return immutables.Map({k: msgspec.convert(v, value_type, dec_hook=_from_builtin) for k, v in value.items()})
    raise NotImplementedError(expected)


def _shape(described: Any, seen: tuple[Any, ...] = ()) -> object:
    """What a type looks like as JSON-ready values: structs by their fields, enums by their members."""
    arguments = [_shape(argument, seen) for argument in get_args(described)]
    if arguments:
        return [str(get_origin(described)), *arguments]
    if not isinstance(described, type):
        return str(described)
    fields: object = None
    if described not in seen and issubclass(described, msgspec.Struct):
        hints = get_type_hints(described)
        fields = [[name, _shape(hints[name], (*seen, described))] for name in described.__struct_fields__]
    elif issubclass(described, Enum):
        fields = [member.name for member in described]
    return [described.__qualname__, fields]
