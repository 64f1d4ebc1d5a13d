"""Asks whether the log is what it was."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Struct

from foldbook.api.problems import Problem, problem_responses
from foldbook.api.queries.reader import reaching
from foldbook.audit.report import ShardReport
from foldbook.audit.verify import verify
from foldbook.errors import Overloaded

RETRY_AFTER_S = 10


class LogVerification(Struct, frozen=True):
    """``events``: how many were verified; ``head_hash``: hexadecimal, stands for all of them."""

    ok: bool
    events: int
    head_hash: str
    first_bad_position: int | None


class LogVerifier:
    """Verifies one shard at a time: it costs the database two connections' work for as long as the log is."""

    def __init__(self, dsn: str, shard_count: int) -> None:
        self.shard_count = shard_count
        self._dsn = dsn
        self._turn = asyncio.Lock()

    async def verify(self, shard: int) -> ShardReport:
        if self._turn.locked():
            raise Overloaded("a verification is under way", retry_after_s=RETRY_AFTER_S)
        async with self._turn:
            with reaching():
                (report,) = (await verify(self._dsn, shard=shard)).shards
        return report


@get("/admin/log/verify", tags=["admin"], responses=problem_responses("malformed", "overloaded", "unavailable"))
async def verify_log(
    verifier: NamedDependency[LogVerifier], shard: Annotated[int, QueryParameter(ge=0, le=1023)] = 0
) -> LogVerification:
    """Compute every hash of a shard anew, up to where it is now; takes some 10 s for a million events."""
    if shard >= verifier.shard_count:
        raise Problem("malformed", f"shard is less than {verifier.shard_count}", field="shard")
    report = await verifier.verify(shard)
    return LogVerification(report.ok, report.events, report.head_hash, report.first_bad_position)
