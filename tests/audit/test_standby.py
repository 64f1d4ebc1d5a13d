"""A replica is verified, exported and asked like its primary; what writes says that it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from foldbook.audit.export import export
from foldbook.audit.files import Format
from foldbook.audit.offline import verify_export
from foldbook.audit.orders import order_differences
from foldbook.audit.verify import current_checkpoints, verify
from foldbook.config import Settings
from foldbook.engine.doctor.examine import examine
from foldbook.errors import ProjectionError, StoreUnavailable
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.postgres.roles import AUDITOR, ENGINE, as_role
from tests.audit.ledger import write_ledger
from tests.conftest import prepare
from tests.machinery.servers import MAJORS, Server, servers
from tests.readside.projecting import administering
from tests.waiting import block_until


@pytest.fixture(scope="module", params=MAJORS)
def standby(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Of a primary whose log has grown since its commands were summarized."""
    with servers(request.param) as rack:
        primary = rack.primary()
        prepare(primary.dsn)
        asyncio.run(write_ledger(primary.dsn))
        with psycopg.connect(primary.dsn) as connection:  # a rebuild that goes on elsewhere
            connection.execute("select eventstore.projection_begin('fills', 'rebuild')")
        replica = rack.replica(primary)
        block_until(lambda: replica.has_replayed(primary))
        yield replica


async def test_it_is_verified(standby: Server) -> None:
    report = await verify(as_role(standby.dsn, AUDITOR))
    assert report.ok and report.shards[0].events > 0
    assert await order_differences(as_role(standby.dsn, AUDITOR)) == []


async def test_it_is_exported(standby: Server, tmp_path: Path) -> None:
    dsn = as_role(standby.dsn, AUDITOR)
    await export(dsn, tmp_path / "export", Format.NDJSON)
    report = verify_export(tmp_path / "export")
    (head,) = await current_checkpoints(dsn)
    assert report.ok and report.shards[0].head_hash == head.hash


async def test_what_writes_says_so(standby: Server) -> None:
    dsn = as_role(standby.dsn, ENGINE)
    async with administering(dsn) as admin:
        assert {status.state for status in await admin.status() if status.name != "fills"} == {"live"}
        (fills,) = await admin.status("fills")
        assert fills.run is not None and fills.run.state == "running"
        for work in (admin.rebuild, admin.reset, admin.verify):
            with pytest.raises(ProjectionError, match="the server is a replica"):
                await work("orders")
    store = PostgresStore(dsn)
    with pytest.raises(StoreUnavailable, match="replica"):
        await store.prove(0)
    await store.close()


def test_doctor_says_what_it_is(standby: Server) -> None:
    report = examine(Settings(database_url=SecretStr(standby.dsn)))
    assert report.is_reachable
    assert "the server is a replica" in [finding.problem for finding in report.findings]
