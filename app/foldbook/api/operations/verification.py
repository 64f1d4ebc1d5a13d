"""Verification of the log: whether any event, command or commit was changed after it was recorded."""

from __future__ import annotations

import asyncio

from litestar import get
from litestar.di import NamedDependency
from msgspec import Struct

from foldbook.access.roles import AUDITORS
from foldbook.api.problems import problem_responses
from foldbook.api.queries.parameters import Shard, check_shard
from foldbook.api.routes import may
from foldbook.audit.report import ShardReport
from foldbook.audit.verify import verify
from foldbook.errors import Overloaded
from foldbook.postgres.connection import unreachable_as_unavailable

RETRY_AFTER_S = 10


class LogVerification(Struct, frozen=True):
    """``events``: how many were verified. ``head_hash``: the hash that seals all of them, hexadecimal."""

    ok: bool
    events: int
    head_hash: str
    first_bad_position: int | None


class LogVerifier:
    """Verifies one shard at a time, because a verification keeps two database connections busy until it ends."""

    def __init__(self, dsn: str, shard_count: int) -> None:
        self.shard_count = shard_count
        self._dsn = dsn
        self._turn = asyncio.Lock()

    async def verify(self, shard: int) -> ShardReport:
        if self._turn.locked():
            raise Overloaded("another verification is under way", retry_after_s=RETRY_AFTER_S)
        async with self._turn:
            with unreachable_as_unavailable():
                (report,) = (await verify(self._dsn, shard=shard, compares_code=False)).shards
        return report


@get(
    "/admin/log/verify",
    tags=["admin"],
    responses=problem_responses("malformed", "overloaded", "unavailable"),
    opt=may(AUDITORS),
)
async def verify_log(verifier: NamedDependency[LogVerifier], shard: Shard = 0) -> LogVerification:
    """Compute every hash of a shard again, up to its current head: some seconds for a million events."""
    check_shard(shard, verifier.shard_count)
    report = await verifier.verify(shard)
    return LogVerification(report.ok, report.events, report.head_hash, report.first_bad_position)
