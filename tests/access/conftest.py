"""An engine that asks for keys, and keys for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from foldbook.access.roles import Role
from foldbook.api.operations.keys import NewKey
from foldbook.config import Settings
from foldbook.engine.keys import key_admin
from foldbook.eventstore.events import Metadata
from tests.api.conftest import Engine, projecting, serving
from tests.conftest import Postgres

OWN = "alice/*/*"
"""The accounts of every key that is not an auditor's or an operator's."""
OF_EVERYTHING = (Role.AUDITOR, Role.OPERATOR)


@dataclass
class Guarded:
    """``engine.client`` shows no key; ``operator`` is one."""

    engine: Engine
    operator: str

    async def ask(self, key: str | None, method: str, path: str, **given: Any) -> httpx.Response:
        headers = {**({} if key is None else bearer(key)), **given.pop("headers", {})}
        return await self.engine.client.request(method, path, headers=headers, **given)

    async def issue(
        self,
        name: str,
        *roles: Role,
        accounts: Iterable[str] | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """A key that the server knows."""
        own = ("*/*/*",) if set(roles) & set(OF_EVERYTHING) else (OWN,)
        body = {"name": name, "roles": list(roles), "accounts": list(own if accounts is None else accounts)}
        if expires_at is not None:
            body["expires_at"] = expires_at.isoformat()
        issued = await self.ask(self.operator, "POST", "/keys", json=body)
        assert issued.status_code == 201, issued.text
        key: str = issued.json()["key"]
        return key

    async def open(self, account: str) -> None:
        user, exchange, broker = account.split("/")
        body = {"user": user, "exchange": exchange, "broker": broker}
        opened = await self.ask(self.operator, "POST", "/accounts", json=body)
        assert opened.status_code == 201, opened.text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def id_of(key: str) -> str:
    return key.split("_")[1]


def secret_of(key: str) -> str:
    return key.split("_")[2]


def guarded_settings(dsn: str, **given: Any) -> Settings:
    return Settings(database_url=SecretStr(dsn), access="keys", **given)


async def first_key(settings: Settings) -> str:
    """An operator's, made as the first start makes it."""
    async with key_admin(settings) as admin:
        issued = await admin.issue(NewKey(name="operator", roles=[Role.OPERATOR]), uuid7(), Metadata(actor="test"))
    assert issued.key is not None
    return issued.key


@asynccontextmanager
async def guarding(settings: Settings) -> AsyncIterator[Guarded]:
    key = await first_key(settings)
    async with projecting(settings), serving(settings) as engine:
        guarded = Guarded(engine, key)
        async with asyncio.timeout(30):  # it reads the keys as soon as it runs
            while (await guarded.ask(key, "GET", "/session")).status_code != 200:
                await asyncio.sleep(0.02)
        yield guarded


@pytest.fixture
async def guarded(database: str) -> AsyncIterator[Guarded]:
    async with guarding(guarded_settings(database)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(postgres: Postgres, template_database: str) -> AsyncIterator[Guarded]:
    """One for all tests of a module, which run in the module's event loop."""
    dsn = postgres.create_database(template_database)
    async with guarding(guarded_settings(dsn)) as running:
        yield running
    postgres.drop_database(dsn)
