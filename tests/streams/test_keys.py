"""Streams are of who may see them, for as long as they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from foldbook.access.roles import Role
from foldbook.api.operations.keys import KeyAdmin, NewKey
from foldbook.engine.keys import key_admin
from foldbook.eventstore.events import Metadata
from tests.api.conftest import ACCOUNT, Engine, assert_problem, serving, settings_for
from tests.streams.conftest import listening, streams_of, told
from tests.waiting import until

BOB = "bob/binance/simulated"


@dataclass
class Locked:
    """An engine whose client is an operator."""

    engine: Engine
    admin: KeyAdmin

    async def issue(self, name: str, role: Role, *accounts: str, expires_at: datetime | None = None) -> dict[str, str]:
        """The headers of somebody with a key that the engine knows. Its id is the fourth character of the name on."""
        new = NewKey(name=name, roles=[role], accounts=accounts or ("*/*/*",), expires_at=expires_at)
        issued = await self.admin.issue(new, uuid7(), Metadata(actor="test"))
        headers = {"Authorization": f"Bearer {issued.key}"}

        async def is_known() -> bool:
            response = await self.engine.client.get("/events?limit=1", headers=headers)
            return bool(response.status_code in (200, 403))

        await until(is_known)
        return headers

    async def revoke(self, headers: dict[str, str]) -> None:
        key_id = headers["Authorization"].split("_")[1]
        await self.admin.revoke(key_id, None, uuid7(), Metadata(actor="test"))


@pytest.fixture
async def locked(database: str) -> AsyncIterator[Locked]:
    settings = settings_for(database).model_copy(update={"access": "keys", "streams_per_key_max": 3})
    async with serving(settings) as engine, key_admin(settings) as admin:
        locked = Locked(engine, admin)
        engine.client.headers.update(await locked.issue("operator", Role.OPERATOR))
        for account in (ACCOUNT, BOB):
            await engine.open(account)
            await engine.place("o-1", account)
        yield locked


async def test_a_key_sees_the_events_of_its_accounts_in_the_past_and_in_the_present(locked: Locked) -> None:
    engine = locked.engine
    own = await locked.issue("bob", Role.TRADER, "bob/*/*")
    async with listening(engine, headers=own) as client, listening(engine, "?after=now", own) as late:
        past = await client.until("caught-up")
        assert [message.event for message in past] == ["log", "OrderBookCreated", "OrderCreated", "caught-up"]
        await late.until("caught-up")
        await engine.place("o-2")
        placed = await engine.place("o-2", BOB)
        position = f"0:{placed['position']}"
        assert told([await client.next(), await late.next()]) == [(position, "OrderCreated")] * 2
    everything = dict(engine.client.headers)
    async with listening(engine, headers={"Authorization": everything["authorization"]}) as client:
        events = [message.event for message in await client.until("caught-up")]
    assert events.count("OrderBookCreated") == 2
    assert "KeyIssued" in events, "who may do what is in the log, too"


async def test_an_account_that_a_key_may_not_see_does_not_exist(locked: Locked) -> None:
    own = await locked.issue("bob", Role.READER, "bob/*/*")
    for account in (ACCOUNT, "nobody/x/live"):
        refused = await locked.engine.client.get(f"/stream/events?account={account}", headers=own)
        assert_problem(refused, 404, "unknown-account")
    async with listening(locked.engine, f"?account={BOB}", own) as client:
        assert client.status == 200


async def test_who_may_not_read_gets_no_stream(locked: Locked) -> None:
    broker = await locked.issue("feed", Role.BROKER)
    client = locked.engine.client
    assert_problem(await client.get("/stream/events", headers=broker), 403, "forbidden")
    assert_problem(await client.get("/stream/events", headers={"Authorization": "Bearer x"}), 401, "unauthenticated")
    assert_problem(await client.get("/stream/events", headers={"Host": "evil.example"}), 421, "wrong-host")
    assert_problem(await client.get("/stream/events", headers={"Origin": "http://evil.example"}), 403, "foreign-origin")
    async with listening(locked.engine) as nobody:
        assert (nobody.status, (await nobody.problem())["type"]) == (401, "urn:foldbook:problem:unauthenticated")


async def test_a_revoked_key_ends_its_streams_at_once_and_no_others(locked: Locked) -> None:
    engine = locked.engine
    revoked, kept = await locked.issue("one", Role.READER), await locked.issue("two", Role.READER)
    url = f"ws://127.0.0.1:{engine.address[1]}/stream/market"
    async with (
        listening(engine, headers=revoked) as first,
        listening(engine, headers=kept) as second,
        connect_websocket(url, additional_headers=revoked) as market,
    ):
        await first.until("caught-up")
        await second.until("caught-up")
        assert await market.recv()
        await locked.revoke(revoked)
        assert await first.ends() == []
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(30):
                while True:
                    await market.recv()
        await engine.place("o-2")
        assert (await second.until("OrderCreated"))[-1].event == "OrderCreated"
    refused = await engine.client.get("/stream/events", headers=revoked)
    assert_problem(refused, 401, "unauthenticated")


async def test_a_key_that_expires_gets_nothing_more(locked: Locked) -> None:
    engine = locked.engine
    soon = datetime.now(UTC) + timedelta(seconds=3)
    headers = await locked.issue("soon", Role.READER, expires_at=soon)
    async with listening(engine, headers=headers) as client:
        await client.until("caught-up")

        async def is_expired() -> bool:
            return bool((await engine.client.get("/events", headers=headers)).status_code == 401)

        await until(is_expired)
        await engine.place("o-2")
        assert await client.ends() == []


async def test_a_key_has_only_so_many_streams(locked: Locked) -> None:
    engine = locked.engine
    own, other = await locked.issue("one", Role.READER), await locked.issue("two", Role.READER)
    async with listening(engine, "", own), listening(engine, "", own), listening(engine, "", own) as last:
        await last.until("caught-up")
        assert_problem(await engine.client.get("/stream/events", headers=own), 429, "too-many-streams")
        async with listening(engine, "", other) as client:
            assert client.status == 200

    async def is_room() -> bool:
        return len(streams_of(engine).open) == 0

    await until(is_room)
    async with listening(engine, "", own) as client:
        assert client.status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer nonsense"}, 401), ({"Origin": "http://evil.example"}, 403)],
)
async def test_the_handshake_of_a_websocket_is_checked(locked: Locked, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect_websocket(
            f"ws://127.0.0.1:{locked.engine.address[1]}/stream/market", additional_headers=headers
        ):
            pass
    assert refused.value.response.status_code == status
    assert b"urn:foldbook:problem:" in (refused.value.response.body or b"")
