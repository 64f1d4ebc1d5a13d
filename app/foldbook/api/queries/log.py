"""The log over HTTP."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.documents import EventPage
from foldbook.api.queries.orders import LIMIT_MAX, POSITION, QUERY_PROBLEMS, AfterPosition, Limit, MinPosition, page
from foldbook.api.queries.reader import Reader

TextFilter = Annotated[str | None, QueryParameter(pattern=r"^[^\x00-\x1f\x7f]{1,200}(?!\n)$")]


@get("/events", tags=["queries"], responses=problem_responses(*QUERY_PROBLEMS), response_headers=POSITION)
async def get_events(
    reader: NamedDependency[Reader],
    shard: Annotated[int, QueryParameter(ge=0, le=1023)] = 0,
    after: AfterPosition = 0,
    limit: Limit = LIMIT_MAX,
    type: TextFilter = None,  # noqa: A002 - the name it has in the interface
    aggregate_id: TextFilter = None,
    subject: TextFilter = None,
    min_position: MinPosition = None,
) -> Response[EventPage]:
    """The log of a shard, ascending, with its head."""
    if shard >= reader.shard_count:
        raise Problem("malformed", f"shard is less than {reader.shard_count}", field="shard")
    await reader.reach_head(shard, min_position)
    row = await reader.row(
        "select * from eventstore.query_events($1, $2, $3, $4, $5, $6)",
        *(shard, after, limit, type, aggregate_id, subject),
    )
    return page("events", row, head=f'"head":{row["position"]},'.encode())
