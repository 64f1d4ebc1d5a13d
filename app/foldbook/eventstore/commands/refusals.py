"""A refusal as the log keeps it: JSON, in the ``reason`` of its command."""

from __future__ import annotations

import msgspec

from foldbook.errors import Refusal, SequenceConflict

_ENCODER = msgspec.json.Encoder()


def refusal_to_json(refusal: Refusal) -> bytes:
    return _ENCODER.encode({"code": refusal.code, "detail": refusal.detail, **refusal.details})


def refusal_from_json(reason: bytes) -> Refusal:
    fields = msgspec.json.decode(reason)
    code, detail = fields.pop("code"), fields.pop("detail")
    if code == SequenceConflict.CODE:
        return SequenceConflict(fields["expected"], fields["actual"])
    return Refusal(code, detail, **fields)
