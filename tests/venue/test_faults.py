"""Everything that the venue does wrong on request."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from tests.venue.running import RunningVenue, Stream, order, quote

Client = httpx.AsyncClient


@pytest.fixture
def account() -> str:
    return uuid4().hex


async def set_faults(client: Client, **faults: Any) -> None:
    answer = await client.put("/faults", json=faults)
    assert answer.status_code == 200
    assert (await client.get("/faults")).json() == answer.json()


async def left(client: Client) -> set[str]:
    """What is still to go wrong."""
    faults = (await client.get("/faults")).json()
    return {name for name, count in faults.items() if count and name != "scope"}


async def statuses(client: Client, account: str) -> list[tuple[str, str]]:
    orders = (await client.get("/orders", params={"account": account})).json()["orders"]
    return [(each["client_order_id"], each["status"]) for each in orders]


async def request(client: Client, scope: str, account: str) -> httpx.Response:
    """The request that a scope names."""
    match scope:
        case "submit":
            return await client.post("/orders", json=order("new", account=account, limit_price="1"))
        case "cancel":
            return await client.post("/orders/o/cancel", json={"account": account})
        case "replace":
            return await client.post("/orders/o/replace", json={"account": account, "quantity": "3"})
    return await client.get("/orders", params={"account": account})


def done(scope: str) -> list[tuple[str, str, str]]:
    """The orders after it."""
    return {
        "submit": [("o", "NEW", "10"), ("new", "NEW", "10")],
        "cancel": [("o", "CANCELED", "10")],
        "replace": [("o", "NEW", "3")],
    }.get(scope, [("o", "NEW", "10")])


async def found(client: Client, account: str) -> list[tuple[str, str, str]]:
    orders = (await client.get("/orders", params={"account": account})).json()["orders"]
    return [(each["client_order_id"], each["status"], each["quantity"]) for each in orders]


SCOPES = pytest.mark.parametrize("scope", ["submit", "cancel", "replace", "question"])


@SCOPES
@pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense"])
async def test_an_answer_that_tells_nothing(client: Client, account: str, scope: str, fault: str) -> None:
    await client.post("/orders", json=order("o", account=account, limit_price="1"))
    await set_faults(client, **{fault: 1, "scope": scope})
    if fault in ("lose_ack", "lose_request"):
        with pytest.raises(httpx.TransportError):
            await request(client, scope, account)
    else:
        answer = await request(client, scope, account)
        assert answer.status_code == (500 if fault == "status_500" else 200)
        with pytest.raises(ValueError, match="JSON"):
            msgspec.json.decode(answer.content)
    assert await left(client) == set()
    assert await found(client, account) == (done("question") if fault == "lose_request" else done(scope))


async def test_a_fault_concerns_its_scope_only(client: Client, account: str) -> None:
    await set_faults(client, status_500=1, scope="cancel")
    assert (await request(client, "submit", account)).status_code == 201
    assert (await request(client, "question", account)).status_code == 200
    assert (await client.put("/quotes", json=quote("1", "2", symbol="Q"))).status_code == 200
    assert await left(client) == {"status_500"}
    assert (await request(client, "cancel", account)).status_code == 500
    assert await left(client) == set()


async def test_any_is_every_request_about_orders(client: Client, account: str) -> None:
    await set_faults(client, status_500=3)
    assert (await client.get("/health")).status_code == 200
    assert (await client.put("/quotes", json=quote("1", "2", symbol="Q"))).status_code == 200
    for scope in ("submit", "replace", "question"):
        assert (await request(client, scope, account)).status_code == 500
    assert await left(client) == set()


async def test_an_answer_hangs_while_others_do_not(client: Client, account: str) -> None:
    await set_faults(client, hang=1, hang_ms=500, scope="submit")
    hanging = asyncio.create_task(request(client, "submit", account))
    while not await statuses(client, account):
        assert not hanging.done()
    assert await statuses(client, account) == [("new", "NEW")]
    assert (await hanging).status_code == 201


async def test_a_client_may_give_up_on_an_answer_that_hangs(client: Client, account: str) -> None:
    await set_faults(client, hang=1, hang_ms=60_000)
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/orders", json=order("o", account=account, limit_price="1"), timeout=0.2)
    assert await statuses(client, account) == [("o", "NEW")]


async def test_delayed_reports_keep_their_order(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.stream(f"/reports?account={account}") as stream:
        await set_faults(client, delay_ms=200)
        waiting = asyncio.create_task(stream.told(2))
        answer = asyncio.create_task(client.post("/orders", json=order("o", account=account, limit_price="1")))
        await client.post("/orders", json=order("p", account=account, limit_price="1"))
        assert sorted(await waiting) == [("o", "NEW"), ("p", "NEW")]
        assert (await answer).status_code == 201
        await set_faults(client)
        await client.post("/orders", json=order("q", account=account, limit_price="1"))
        assert await stream.told(1) == [("q", "NEW")]


async def charge(client: Client, account: str, *amounts: str) -> None:
    for amount in amounts:
        body = {"account": account, "currency": "USD", "amount": amount}
        assert (await client.post("/fees", json=body)).status_code == 201


async def amounts(stream: Stream, count: int) -> list[str]:
    return [(await stream.next())["amount"] for _ in range(count)]


async def test_a_dropped_report_is_among_the_fills(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.stream() as stream, venue.stream() as another:
        await set_faults(client, drop=2)
        await charge(client, account, "1", "2", "3")
        assert await amounts(stream, 1) == await amounts(another, 1) == ["3"]
    fills = (await client.get("/fills", params={"account": account})).json()["fills"]
    assert [fill["amount"] for fill in fills] == ["1", "2", "3"]
    assert await left(client) == set()


async def test_a_report_is_repeated(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.stream() as stream:
        await set_faults(client, repeat=2)
        await charge(client, account, "1", "2", "3")
        assert await amounts(stream, 5) == ["1", "1", "2", "2", "3"]


async def test_a_report_comes_after_its_successor(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.stream() as stream:
        await set_faults(client, reorder=1)
        await charge(client, account, "1", "2", "3")
        assert await amounts(stream, 3) == ["2", "1", "3"]
        await set_faults(client, reorder=2)
        await charge(client, account, "4", "5", "6")
        assert await amounts(stream, 3) == ["6", "5", "4"]
        await set_faults(client, reorder=1)
        await charge(client, account, "7")
        assert await amounts(stream, 1) == ["7"]  # there is no successor, and it does not wait for ever


async def test_streams_are_disconnected_instead(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.stream() as stream, venue.stream(f"/reports?account={account}") as own:
        await set_faults(client, disconnect=1)
        await charge(client, account, "1")
        for each in (stream, own):
            with pytest.raises(ConnectionClosed):
                await each.next()
    async with venue.stream() as stream:
        await charge(client, account, "2")
        assert await amounts(stream, 1) == ["2"]


async def test_dedup_is_forgotten_when_it_would_matter(client: Client, account: str) -> None:
    await set_faults(client, forget_dedup=1)
    answers = [await client.post("/orders", json=order("o", account=account, limit_price="1")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 200]
    assert await statuses(client, account) == [("o", "NEW"), ("o", "NEW")]


async def test_an_order_is_refused_late(venue: RunningVenue, client: Client, account: str) -> None:
    await client.put("/quotes", json=quote("1", "2", symbol="R"))
    async with venue.stream(f"/reports?account={account}") as stream:
        await set_faults(client, refuse_late=1)
        taken = await client.post("/orders", json=order("o", account=account, symbol="R", limit_price="9"))
        assert (taken.status_code, taken.json()["status"]) == (201, "NEW")
        await client.put("/quotes", json=quote("1", "2", symbol="R"))
        assert await stream.told(2) == [("o", "NEW"), ("o", "REJECTED")]
    assert await statuses(client, account) == [("o", "REJECTED")]
    fine = await client.post("/orders", json=order("p", account=account, symbol="R", limit_price="0.5"))
    assert fine.status_code == 201 and await statuses(client, account) == [("o", "REJECTED"), ("p", "NEW")]
