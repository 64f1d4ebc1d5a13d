"""Keys: who may do what. A key is shown once, in the answer to its being issued."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from foldbook.access.access import PATTERNS_MAX, Keys
from foldbook.access.commands import AGGREGATE_ID, REASON_PATTERN, HolderName, IssueKey, RevokeKey
from foldbook.access.keys import SECRET_BYTES, digest_of, is_key_id, key_id_of, key_of
from foldbook.access.roles import AUDITORS, EVERY_ACCOUNT, NOBODY, PATTERN, Role
from foldbook.api.commands.calls import Bus
from foldbook.api.commands.envelope import IdempotencyKey, OnBehalfOf, command_id_of
from foldbook.api.problems import problem_responses
from foldbook.api.queries.parameters import LIMIT_DEFAULT, AfterPosition, Limit
from foldbook.api.queries.reader import Reader
from foldbook.api.queries.responses import document_response
from foldbook.api.routes import may
from foldbook.errors import Refusal, StoreUnavailable
from foldbook.eventstore.events import Metadata
from foldbook.eventstore.readers.following import Following
from foldbook.eventstore.store import shard_of

REACH_TIMEOUT_S = 10.0
"""How long an answer waits until this process knows the keys that it made."""

Pattern = Annotated[str, Meta(pattern=rf"^{PATTERN}(?!\n)$")]


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``accounts``: patterns, in which a star stands for any name. Auditors and operators have every account."""

    name: HolderName
    roles: Annotated[list[Role], Meta(min_length=1, max_length=len(Role))]
    accounts: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=PATTERNS_MAX)] = (EVERY_ACCOUNT,)
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None

    def __post_init__(self) -> None:
        """It is kept and shown in UTC."""
        try:
            _ = self.expires_at and self.expires_at.astimezone(UTC)
        except OverflowError:
            raise ValueError("expires_at is outside the years 1 to 9999 in UTC") from None


class Issued(Struct, frozen=True, kw_only=True):
    """``key``: absent if the request was sent again, because it is kept nowhere."""

    id: str
    name: str
    key: str | None
    position: int
    replayed: bool


class KeyRow(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    roles: list[Role]
    accounts: list[str]
    expires_at: datetime | None
    issued_at: datetime
    issued_by: str | None
    revoked_at: datetime | None
    revoked_by: str | None
    reason: str | None


class KeyPage(Struct, frozen=True, kw_only=True):
    keys: list[KeyRow]
    next: int | None = None


class Revoked(Struct, frozen=True, kw_only=True):
    id: str
    position: int


class KeyAdmin:
    """``following``: what tells this process the keys; None: the engine is open."""

    def __init__(self, bus: Bus, following: Following[Keys] | None) -> None:
        self._bus = bus
        self._following = following

    async def issue(self, new: NewKey, command_id: UUID, metadata: Metadata) -> Issued:
        """Raises ``Refusal``, and what the bus raises."""
        key_id = key_id_of(command_id)
        key = key_of(key_id, secrets.token_bytes(SECRET_BYTES))
        command = IssueKey(
            command_id=command_id,
            received_at=datetime.now(UTC),
            key_id=key_id,
            name=new.name,
            roles=tuple(new.roles),
            accounts=tuple(new.accounts),
            expires_at=new.expires_at,
            digest=digest_of(key),
        )
        result = await self._bus.execute(command, metadata=metadata)
        with suppress(StoreUnavailable):  # The key is issued, and this is the only time that it can be shown.
            await self._reach(result.sequence)
        shown = None if result.replayed else key
        return Issued(id=key_id, name=new.name, key=shown, position=result.position, replayed=result.replayed)

    async def revoke(self, key_id: str, reason: str | None, command_id: UUID, metadata: Metadata) -> Revoked:
        """When this returns, this process refuses the key. Raises ``Refusal``, ``StoreUnavailable``, and what the bus
        raises."""
        if not is_key_id(key_id):  # It may be the key itself, which a refused command would keep.
            raise Refusal("unknown-key", "the id of a key is what stands between its two underscores")
        command = RevokeKey(command_id=command_id, received_at=datetime.now(UTC), key_id=key_id, reason=reason)
        result = await self._bus.execute(command, metadata=metadata)
        await self._reach(result.sequence)
        return Revoked(id=key_id, position=result.position)

    async def _reach(self, sequence: int) -> None:
        if self._following is None:
            return
        try:
            async with asyncio.timeout(REACH_TIMEOUT_S):
                await self._following.reach(sequence)
        except TimeoutError:
            raise StoreUnavailable("it is on record, and this process has not read it yet: ask again") from None


_PROBLEMS = ("malformed", "invalid-command", "idempotency-conflict", "overloaded", "unavailable")


@post(
    "/keys",
    tags=["keys"],
    status_code=201,
    responses={
        200: ResponseSpec(Issued, generate_examples=False, description="Issued before"),
        **problem_responses("key-name-taken", "too-many-keys", *_PROBLEMS),
    },
    opt=may(NOBODY),
)
async def issue_key(
    key_admin: NamedDependency[KeyAdmin],
    metadata: NamedDependency[Metadata],
    data: JSONBody[NewKey],
    idempotency_key: IdempotencyKey = None,
    x_actor: OnBehalfOf = None,
) -> Response[Issued]:
    """Issue a key. This answer is the only one that shows it."""
    issued = await key_admin.issue(data, command_id_of(idempotency_key), metadata)
    return Response(issued, status_code=200 if issued.replayed else 201, headers={"Cache-Control": "no-store"})


@get("/keys", tags=["keys"], responses=problem_responses("malformed", "unavailable"), opt=may(AUDITORS))
async def get_keys(
    reader: NamedDependency[Reader], after: AfterPosition = 0, limit: Limit = LIMIT_DEFAULT
) -> Response[KeyPage]:
    """The keys that were ever issued, in order."""
    row = await reader.ask("access.query_keys", shard_of(AGGREGATE_ID, reader.shard_count), after, limit)
    return document_response(row)


@delete(
    "/keys/{key_id:str}",
    tags=["keys"],
    status_code=200,
    responses=problem_responses("unknown-key", *_PROBLEMS),
    opt=may(NOBODY),
)
async def revoke_key(
    key_admin: NamedDependency[KeyAdmin],
    metadata: NamedDependency[Metadata],
    key_id: FromPath[str],
    reason: Annotated[str | None, QueryParameter(pattern=REASON_PATTERN)] = None,
    idempotency_key: IdempotencyKey = None,
    x_actor: OnBehalfOf = None,
) -> Revoked:
    """Revoke a key: from this answer on it is refused, and its streams have ended."""
    return await key_admin.revoke(key_id, reason, command_id_of(idempotency_key), metadata)


CALLS = (issue_key, get_keys, revoke_key)
