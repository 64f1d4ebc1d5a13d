"""A state as JSON and back, and its fingerprint: what a kept state must have been made by, to be used today.

The fingerprint covers the shape of the state, down to the fields of every struct in it, the code that folds it, and the
upcasters of its events.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import immutables
import msgspec

from foldbook.eventstore.decider import Decider
from foldbook.eventstore.states.folds import fold_digest

S = TypeVar("S")


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
        """Raises ``msgspec.DecodeError``."""
        try:
            return self._decoder.decode(state)
        except RecursionError as error:
            raise msgspec.DecodeError("it is nested too deeply") from error


def codec_of(decider: Decider[S]) -> StateCodec[S]:
    """How the states of a decider are kept."""
    return StateCodec(decider.state_type, fold_digest(decider))


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
