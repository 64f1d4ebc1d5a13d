"""The gateways: who works the accounts, what is in doubt, and a comparison with the broker on request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Raw, Struct, json
from uuid_utils.compat import uuid7

from foldbook.access.roles import AUDITORS, NOBODY, RECONCILERS
from foldbook.api.commands.calls import Bus
from foldbook.api.commands.envelope import OnBehalfOf
from foldbook.api.paths import OF_ACCOUNT
from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.addresses import ADDRESSES, AddressedAccount
from foldbook.api.queries.parameters import LIMIT_DEFAULT, AccountFilter, Limit
from foldbook.api.queries.reader import Reader
from foldbook.api.routes import may
from foldbook.brokers.port import LEASE_PREFIX
from foldbook.errors import register
from foldbook.eventstore.events import Metadata
from foldbook.postgres.calls import call
from foldbook.trading.commands import ResolveDoubt
from foldbook.trading.values import DoubtOutcome, RequestKind

RECONCILE_TIMEOUT_S = 15.0
RECONCILE_PAUSE_S = 0.05

_LEASES = call("eventstore.lease_status", 1)
_HEADS = call("eventstore.heads", 0)

register({"not-worked": (409, "No gateway works the account")})


class GatewayStatus(Struct, frozen=True, kw_only=True):
    """A gateway. ``state``: `working`, `starting`, `disconnected` from its broker, `idle`: there is no account to work
    yet, and it has not connected; or `dead`: nobody holds the lease.

    ``accounts`` are worked, and of them ``ready`` are reconciled; ``lag``: events that it has not read. ``problems``:
    what keeps it from its brokers; ``not_worked``: accounts, and why; ``mismatched``: positions that differ;
    ``orphans``: orders that are open at the broker and closed in the book. ``details``: everything else that it says of
    itself.
    """

    broker: str
    state: str
    holder: str
    epoch: int
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime
    accounts: int
    ready: int
    doubts: int
    mismatches: int
    lag: int
    problems: dict[str, str]
    not_worked: dict[str, str]
    mismatched: list[str]
    orphans: list[str]
    details: dict[str, Any]


class Gateways(Struct, frozen=True, kw_only=True):
    gateways: list[GatewayStatus]


class DoubtRow(Struct, frozen=True, kw_only=True):
    """A request of which nobody knows what became of it. ``status``: of the order, FIX OrdStatus."""

    id: str
    account: str
    order_id: str
    symbol: str
    side: str
    request: RequestKind
    request_id: str | None
    attempt: int
    reason: str | None
    since: datetime | None
    status: str


class Doubts(Struct, frozen=True, kw_only=True):
    doubts: list[DoubtRow]


class Resolution(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of the request: the broker did it (ACCEPTED), did not and will not (REJECTED), or it is to be sent
    again under the same id (RESEND)."""

    outcome: Literal["ACCEPTED", "REJECTED", "RESEND"]
    reason: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,1000}(?!\n)$")] | None = None


class Resolved(Struct, frozen=True, kw_only=True):
    account: str
    order_id: str
    position: int
    sequence: int
    events: tuple[str, ...]


class Reconciled(Struct, frozen=True, kw_only=True):
    """``result``: what the comparison came to; None: it is not done yet."""

    account: str
    number: int
    is_done: bool
    result: Raw | None


@get("/admin/gateways", tags=["admin"], responses=problem_responses("unavailable"), opt=may(AUDITORS))
async def get_gateways(reader: NamedDependency[Reader]) -> Gateways:
    """The gateways, and what each works."""
    return Gateways(gateways=await gateway_statuses(reader))


@get("/admin/doubts", tags=["admin"], responses=problem_responses("malformed", "unavailable"), opt=may(AUDITORS))
async def get_doubts(
    reader: NamedDependency[Reader], account: AccountFilter = None, limit: Limit = LIMIT_DEFAULT
) -> Doubts:
    """What is in doubt, the oldest orders first."""
    row = await reader.ask("brokers.query_doubts", account, limit)
    return json.decode(row[0], type=Doubts)


@post(
    "/admin/doubts/{doubt_id:str}/resolve",
    tags=["admin"],
    status_code=200,
    responses=problem_responses(
        "malformed", "unknown-doubt", "not-sent-again", "invalid-command", "overloaded", "unavailable"
    ),
    opt=may(NOBODY),
)
async def resolve_doubt(
    reader: NamedDependency[Reader],
    bus: NamedDependency[Bus],
    doubt_id: FromPath[str],
    data: JSONBody[Resolution],
    metadata: NamedDependency[Metadata],
    x_actor: OnBehalfOf = None,
) -> Resolved:
    """Decide what became of a request. The decision is a fact, with its actor."""
    row = await reader.ask("brokers.query_doubt", doubt_id)
    if row is None:
        raise Problem("unknown-doubt", f"nothing is in doubt under the id {doubt_id}: it may be resolved")
    command = ResolveDoubt(
        command_id=uuid7(),
        received_at=datetime.now(UTC),
        account=row["account"],
        order_id=row["order_id"],
        doubt_id=doubt_id,
        outcome=DoubtOutcome(data.outcome),
        reason=data.reason,
    )
    result = await bus.execute(command, metadata=metadata)
    return Resolved(
        account=row["account"],
        order_id=row["order_id"],
        position=result.position,
        sequence=result.sequence,
        events=result.events,
    )


@post(
    f"{OF_ACCOUNT}/reconcile",
    tags=["accounts"],
    status_code=200,
    dependencies=ADDRESSES,
    opt=may(RECONCILERS),
    responses=problem_responses("unknown-account", "not-worked", "unavailable"),
)
async def reconcile_account(
    reader: NamedDependency[Reader], account: NamedDependency[AddressedAccount]
) -> Response[Reconciled]:
    """Compare an account with its broker: fills, open orders, positions. 202: it is not done yet."""
    # The log knows it sooner than a read table.
    if await reader.ask("eventstore.aggregate_types_of", account.shard, account.id) is None:
        raise Problem("unknown-account", f"no order book is open for account {account.id}")
    kind = account.id.rpartition("/")[2]
    if not any(each.broker == kind and each.state != "dead" for each in await gateway_statuses(reader)):
        raise Problem("not-worked", f"no gateway works the {kind} accounts: is `foldbook gateway` running?")
    number = (await reader.ask("brokers.request_reconciliation", account.id))[0]
    deadline = asyncio.get_running_loop().time() + RECONCILE_TIMEOUT_S
    while True:
        row = await reader.ask("brokers.query_reconciliation", account.id)
        if row["done"] >= number or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(RECONCILE_PAUSE_S)
    is_done = row["done"] >= number
    result = Raw(bytes(row["result"])) if is_done and row["result"] is not None else None
    return Response(
        Reconciled(account=account.id, number=number, is_done=is_done, result=result),
        status_code=200 if is_done else 202,
    )


CALLS = (get_gateways, get_doubts, resolve_doubt, reconcile_account)


async def gateway_statuses(reader: Reader) -> list[GatewayStatus]:
    """Raises ``StoreUnavailable``."""
    async with reader.connection() as connection:
        leases = await connection.fetch(_LEASES, LEASE_PREFIX)
        heads = {row["shard"]: row["last_position"] for row in await connection.fetch(_HEADS)}
    return [_status(row, heads) for row in leases]


async def doubt_counts(reader: Reader) -> dict[str, int]:
    """Requests in doubt, by kind of broker. Raises ``StoreUnavailable``."""
    return {row["broker"]: row["doubts"] for row in await reader.ask_all("brokers.doubt_counts")}


def _status(row: Any, heads: dict[int, int]) -> GatewayStatus:
    told = json.decode(row["status"], type=dict[str, Any])
    checkpoints = told.pop("checkpoints", {})
    state = told.pop("state", "starting")
    return GatewayStatus(
        broker=row["name"].removeprefix(LEASE_PREFIX),
        state=state if row["is_held"] else "dead",
        holder=row["holder"],
        epoch=row["epoch"],
        acquired_at=row["acquired_at"],
        renewed_at=row["renewed_at"],
        expires_at=row["expires_at"],
        accounts=told.pop("accounts", 0),
        ready=told.pop("ready", 0),
        doubts=told.pop("doubts", 0),
        mismatches=told.pop("mismatches", 0),
        lag=sum(max(head - checkpoints.get(str(shard), 0), 0) for shard, head in heads.items()),
        problems=told.pop("problems", {}),
        not_worked=told.pop("not_worked", {}),
        mismatched=told.pop("mismatched", []),
        orphans=told.pop("orphans", []),
        details=told,
    )
