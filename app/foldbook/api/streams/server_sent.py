"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): how the log is told in them."""

from __future__ import annotations

from typing import Any

import msgspec

from foldbook.api.queries.responses import compact
from foldbook.eventstore.readers.tail.history import Start

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 1_000
"""When a browser connects again."""

_encode = msgspec.json.Encoder().encode


def event_frame(shard: int, row: Any) -> bytes:
    """A row of ``eventstore.read_events``, with the document that ``GET /events`` shows."""
    return b"id: %d:%d\nevent: %b\ndata: %b\n\n" % (
        shard,
        row["position"],
        row["type"].encode(),
        compact(row["document"]),
    )


def start_frame(start: Start) -> bytes:
    """Which log it is, and where the stream begins."""
    return b"retry: %d\nid: %d:%d\nevent: log\ndata: %b\n\n" % (RETRY_MS, start.shard, start.after, _encode(start))


def seal_frame(end: Start) -> bytes:
    """Which commit wrote the position up to which everything was told: what to send as ``after`` and ``hash`` later."""
    return b'id: %d:%d\nevent: sealed\ndata: {"position":%d,"commit":%d,"hash":"%b"}\n\n' % (
        end.shard,
        end.after,
        end.after,
        end.commit,
        end.hash.encode(),
    )


def caught_up_frame(shard: int, position: int) -> bytes:
    return b'id: %d:%d\nevent: caught-up\ndata: {"position":%d}\n\n' % (shard, position, position)


def idle_frame(shard: int, position: int) -> bytes:
    """A comment. The id moves, so that who comes back does not search the same part of the log again; without data,
    nothing is dispatched."""
    return b": idle\nid: %d:%d\n\n" % (shard, position)
