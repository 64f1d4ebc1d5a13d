"""Questions about accounts, orders and fills. The documents come ready from SQL; here they get their frame."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any

from litestar import Response, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from foldbook.api.paths import OF_ACCOUNT, OF_ORDER, account_of, order_id_of
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.documents import Account, Book, ExecutionExceptionPage, FillPage, History, Order, OrderPage
from foldbook.api.queries.reader import Reader, Row
from foldbook.trading.values import ACCOUNT_PATTERN, NAME, NAME_PATTERN, OrdStatus

POSITION_MAX = 2**63 - 1
LIMIT_DEFAULT = 100
LIMIT_MAX = 1000

MinPosition = Annotated[
    int | None,
    QueryParameter(ge=0, le=POSITION_MAX, description="Wait until the read tables show this position, 2 s at most."),
]
Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX)]
AfterPosition = Annotated[int, QueryParameter(ge=0, le=POSITION_MAX, description="`next` of the page before.")]
AfterSymbol = Annotated[str | None, QueryParameter(pattern=NAME_PATTERN, description="`next` of the page before.")]
NameFilter = Annotated[str | None, QueryParameter(pattern=NAME_PATTERN)]
AccountFilter = Annotated[str | None, QueryParameter(pattern=ACCOUNT_PATTERN, description="`user/exchange/broker`")]

POSITION = [ResponseHeader(name="X-Position", description="The position that it shows", documentation_only=True)]
QUERY_PROBLEMS = ("malformed", "unavailable", "projection-behind")
ACCOUNT_PROBLEMS = ("unknown-account", *QUERY_PROBLEMS)


def answer(body: bytes, position: int) -> Response[Any]:
    """A document from SQL, and the position that it shows."""
    return Response(body, media_type="application/json", headers={"X-Position": str(position)})


def page(name: str, row: Row, *, head: bytes = b"") -> Response[Any]:
    """A list under its name, and where the next page begins. ``head``: members before it, each with its comma."""
    following = row["next"]
    if isinstance(following, str):
        following = f'"{following}"'
    tail = b"" if following is None else f',"next":{following}'.encode()
    return answer(b'{%s"%s":%s%s}' % (head, name.encode(), row["items"], tail), row["position"])


@get(OF_ACCOUNT, tags=["queries"], responses=problem_responses(*ACCOUNT_PROBLEMS), response_headers=POSITION)
async def get_account(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    min_position: MinPosition = None,
) -> Response[Account]:
    """An account."""
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    await reader.reach("orders", shard, min_position)
    row = await reader.row("select * from trading.query_account($1, $2)", shard, account)
    if row["body"] is None:
        raise unknown_account(account)
    return answer(row["body"], row["position"])


@get(f"{OF_ACCOUNT}/book", tags=["queries"], responses=problem_responses(*ACCOUNT_PROBLEMS), response_headers=POSITION)
async def get_book(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[Book]:
    """The order book of an account: its pending orders, as they were created."""
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    await reader.reach("orders", shard, min_position)
    row = await reader.row("select * from trading.query_book($1, $2, $3, $4)", shard, account, after, limit)
    if row["body"] is None:
        raise unknown_account(account)
    return page("pending_orders", row, head=row["body"].strip().removeprefix(b"{").removesuffix(b"}") + b",")


@get(
    f"{OF_ACCOUNT}/orders", tags=["queries"], responses=problem_responses(*ACCOUNT_PROBLEMS), response_headers=POSITION
)
async def get_orders(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    status: Annotated[
        str | None, QueryParameter(description="Statuses, between commas; `open`: those that may still trade.")
    ] = None,
    symbol: NameFilter = None,
    strategy: NameFilter = None,
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[OrderPage]:
    """The orders of an account, as they were created."""
    account = account_of(user, exchange, broker)
    statuses = _statuses(status)
    shard = reader.shard_of(account)
    await reader.reach("orders", shard, min_position)
    row = await reader.row(
        "select * from trading.query_orders($1, $2, $3, $4, $5, $6, $7)",
        *(shard, account, statuses, symbol, strategy, after, limit),
    )
    if not row["is_account_known"]:
        raise unknown_account(account)
    return page("orders", row)


@get(
    OF_ORDER,
    tags=["queries"],
    responses=problem_responses("unknown-order", *ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_order(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    order_id: FromPath[str],
    min_position: MinPosition = None,
) -> Response[Order]:
    """An order."""
    account = account_of(user, exchange, broker)
    order_id = order_id_of(order_id)
    shard = reader.shard_of(account)
    await reader.reach("orders", shard, min_position)
    row = await reader.row("select * from trading.query_order($1, $2, $3)", shard, account, order_id)
    if row["body"] is None:
        raise _unknown_order(account, order_id) if row["is_account_known"] else unknown_account(account)
    return answer(row["body"], row["position"])


@get(
    f"{OF_ORDER}/history",
    tags=["queries"],
    responses=problem_responses("unknown-order", *ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_history(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    order_id: FromPath[str],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[History]:
    """How an order came to be: its events, from the log."""
    account = account_of(user, exchange, broker)
    order_id = order_id_of(order_id)
    shard = reader.shard_of(account)
    await reader.reach_head(shard, min_position)
    row = await reader.row(
        "select * from trading.query_history($1, $2, $3, $4, $5)", shard, account, order_id, after, limit
    )
    if not row["is_order_known"]:
        raise _unknown_order(account, order_id) if row["is_account_known"] else unknown_account(account)
    return page("events", row)


@get("/fills", tags=["queries"], responses=problem_responses(*QUERY_PROBLEMS), response_headers=POSITION)
async def get_fills(
    reader: NamedDependency[Reader],
    account: AccountFilter = None,
    strategy: NameFilter = None,
    symbol: NameFilter = None,
    group_by: Annotated[
        str | None, QueryParameter(description="`strategy`, `symbol` or both, between commas: totals instead of fills.")
    ] = None,
    after: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[FillPage]:
    """Fills in the order of the log, or their totals, in which a busted fill does not count.

    Without an account they come from all shards, and `min_position`, which belongs to one shard, needs an account
    unless the log has a single one.
    """
    shard = 0 if reader.shard_count == 1 else None if account is None else reader.shard_of(account)
    if shard is not None:
        await reader.reach("fills", shard, min_position)
    elif min_position is not None:
        raise _malformed("min_position", "needs an account: the log has several shards")
    if group_by is not None:
        groups = _words("group_by", group_by, ("strategy", "symbol"))
        after_strategy, after_symbol = _parse("after", after or "/", _AFTER_TOTAL)
        row = await reader.row(
            "select * from trading.query_fill_totals($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            *(shard, account, strategy, symbol, "strategy" in groups, "symbol" in groups),
            *(after_strategy or "", after_symbol or "", limit),
        )
        return page("totals", row)
    after_shard, after_position = _parse("after", after or "0:0", _AFTER_FILL)
    row = await reader.row(
        "select * from trading.query_fills($1, $2, $3, $4, $5, $6, $7)",
        *(shard, account, strategy, symbol, int(after_shard), int(after_position), limit),
    )
    return page("fills", row)


@get(
    f"{OF_ACCOUNT}/exceptions",
    tags=["queries"],
    responses=problem_responses(*ACCOUNT_PROBLEMS),
    response_headers=POSITION,
)
async def get_exceptions(
    reader: NamedDependency[Reader],
    user: FromPath[str],
    exchange: FromPath[str],
    broker: FromPath[str],
    after: AfterPosition = 0,
    limit: Limit = LIMIT_DEFAULT,
    min_position: MinPosition = None,
) -> Response[ExecutionExceptionPage]:
    """Executions that were reported and not applied: nothing is known that they belong to, or they contradict it."""
    account = account_of(user, exchange, broker)
    shard = reader.shard_of(account)
    await reader.reach("fills", shard, min_position)
    row = await reader.row(
        "select * from trading.query_execution_exceptions($1, $2, $3, $4)", shard, account, after, limit
    )
    if not row["is_account_known"]:
        raise unknown_account(account)
    return page("exceptions", row)


_AFTER_FILL = re.compile(r"([0-9]{1,4}):([0-9]{1,18})")
_AFTER_TOTAL = re.compile(rf"({NAME})?/({NAME})?")


def _statuses(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return sorted(_words("status", text, ("open", *OrdStatus)))


def _words(name: str, text: str, known: Collection[str]) -> set[str]:
    words = set(text.split(","))
    if not words <= set(known):
        raise _malformed(name, f"takes {', '.join(known)}, with commas between")
    return words


def _parse(name: str, text: str, pattern: re.Pattern[str]) -> tuple[Any, ...]:
    if (match := pattern.fullmatch(text)) is None:
        raise _malformed(name, "is `next` of another page")
    return match.groups()


def _malformed(name: str, what: str) -> Problem:
    return Problem("malformed", f"{name} {what}", field=name)


def unknown_account(account: str) -> Problem:
    return Problem("unknown-account", f"no order book is open for account {account}")


def _unknown_order(account: str, order_id: str) -> Problem:
    return Problem("unknown-order", f"account {account} has no order {order_id}")
