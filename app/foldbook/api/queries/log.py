"""The log over HTTP."""

from __future__ import annotations

from litestar import Response
from litestar.di import NamedDependency

from foldbook.access.principal import Principal
from foldbook.access.roles import READERS
from foldbook.api.queries.documents import EventPage
from foldbook.api.queries.parameters import (
    LIMIT_MAX,
    AfterPosition,
    CommitHash,
    Limit,
    LogTypes,
    MinPosition,
    Shard,
    TextFilter,
    check_known,
    check_shard,
)
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import document_response, query
from foldbook.eventstore.readers.tail.history import Start, check_hash

EVENTS = "/events"


@query(EVENTS, "log-changed")
async def get_events(
    reader: NamedDependency[Reader],
    principal: NamedDependency[Principal],
    log_types: NamedDependency[LogTypes],
    shard: Shard = 0,
    after: AfterPosition = 0,
    limit: Limit = LIMIT_MAX,
    type: TextFilter = None,  # noqa: A002 - the name it has in the interface
    aggregate_type: TextFilter = None,
    aggregate_id: TextFilter = None,
    subject: TextFilter = None,
    min_position: MinPosition = None,
    hash: CommitHash = None,  # noqa: A002 - likewise
) -> Response[EventPage]:
    """The log of a shard, ascending, with its head.

    A key that does not have every account sees the events of those that it has.

    With a `type`, an `aggregate_type`, or a `subject` that very many events have, a call examines at most 100,000
    events, because no index finds them. The page may then be short or empty, and `next` says where to continue. Only
    a page without `next` is the last. A type that does not exist is 400.

    `sealed` says which commit wrote the last event of the page. A reader that sends its `position` as `after` and its
    `hash` is told (409) if the log is not the one that it read, as after a failover to a replica that lagged behind.
    """
    check_shard(shard, reader.shard_count)
    check_known("type", type, log_types.events)
    check_known("aggregate_type", aggregate_type, log_types.aggregates)
    if aggregate_id is not None:
        principal.check(READERS, aggregate_id)
    await reader.reach_head(shard, min_position)
    if hash is not None:
        check_hash(Start(shard=shard, **await reader.ask("eventstore.stream_start", shard, after)), hash)
    row = await reader.ask(
        "eventstore.query_events",
        *(shard, after, limit, type, aggregate_type, aggregate_id, subject),
        principal.patterns,
    )
    return document_response(row)


CALLS = (get_events,)
