"""Orders over WebSocket: the same as over HTTP, but many under way on one connection."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from tests.venue.running import RunningVenue, Session, Stream, order, running

Client = httpx.AsyncClient


@pytest.fixture
def account() -> str:
    return uuid4().hex


def submit(number: int | str, account: str, order_id: str) -> dict[str, Any]:
    return {"id": number, "method": "submit", "params": order(order_id, account=account, limit_price="1")}


async def orders(client: Client, account: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/orders", params={"account": account})).json()["orders"]
    return found


async def found(client: Client, account: str) -> list[tuple[str, str, str]]:
    return [(each["client_order_id"], each["status"], each["quantity"]) for each in await orders(client, account)]


async def test_an_answer_is_the_order_as_over_http(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.session() as session:
        taken = await session.ask("submit", **order("o", account=account, limit_price="1"))
        assert taken == {"id": 0, "result": (await orders(client, account))[0]}
        again = await session.ask("submit", **order("o", account=account, limit_price="1"))
        assert again["result"] == taken["result"] | {"duplicate": True}
        over_http = await client.post("/orders", json=order("o", account=account, limit_price="1"))
        assert over_http.json() == again["result"]
        key = {"account": account, "client_order_id": "o"}
        replaced = await session.ask("replace", **key, quantity="3", request_id="r-1")
        assert replaced == {"id": 0, "result": (await orders(client, account))[0]}
        assert replaced["result"]["quantity"] == "3"
        canceled = await session.ask("cancel", **key, request_id="r-2")
        assert canceled == {"id": 0, "result": (await orders(client, account))[0]}
        assert canceled["result"]["status"] == "CANCELED"


async def test_a_refusal_is_the_problem_as_over_http(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.session() as session:
        rejected = await session.ask("submit", **order("o", account=account, symbol="NOBODY-QUOTES-IT"))
        late = await session.ask("cancel", account=account, client_order_id="o")
        unknown = await session.ask("replace", account=account, client_order_id="never")
    assert "result" not in rejected and rejected["error"]["type"] == "urn:foldbook:problem:order-rejected"
    assert late["error"] == (await client.post("/orders/o/cancel", json={"account": account})).json()
    assert late["error"]["order_status"] == "REJECTED"
    assert unknown["error"] == (await client.post("/orders/never/replace", json={"account": account})).json()


async def test_requests_of_one_frame_are_answered_each(venue: RunningVenue, client: Client, account: str) -> None:
    accounts = [f"{account}-{number}" for number in range(50)]
    async with venue.session() as session:
        await session.send(*(submit(f"a{number}", name, "o") for number, name in enumerate(accounts)))
        answers = [await session.answer() for _ in accounts]
    assert [answer["id"] for answer in answers] == [f"a{number}" for number in range(50)]
    assert [answer["result"]["account"] for answer in answers] == accounts
    for name in accounts:
        assert await found(client, name) == [("o", "NEW", "10")]


@pytest.mark.parametrize(
    ("line", "request_id"),
    [
        ("not JSON", None),
        ("[]", None),
        ('{"id": 1.5, "method": "cancel", "params": {"account": "a", "client_order_id": "o"}}', None),
        ('{"id": "x", "method": "buy", "params": {}}', "x"),
        ('{"id": 8, "method": "cancel", "params": {"account": "a"}}', 8),
        ('{"id": 9, "method": "cancel", "params": {"account": "a", "client_order_id": "o", "why": ""}}', 9),
        ('{"id": 10, "method": "cancel", "params": {"account": "a", "client_order_id": "o"}, "and": 1}', 10),
    ],
)
async def test_what_cannot_be_read_is_malformed_and_nothing_else_is(
    venue: RunningVenue, client: Client, account: str, line: str, request_id: int | str | None
) -> None:
    async with venue.session() as session:
        await session.send(submit(1, account, "o"), line, "", submit(2, account, "p"))
        first, malformed, second = [await session.answer() for _ in range(3)]
    assert (first["id"], second["id"]) == (1, 2)
    assert malformed["id"] == request_id
    assert (malformed["error"]["type"], malformed["error"]["status"]) == ("urn:foldbook:problem:malformed", 400)
    assert await found(client, account) == [("o", "NEW", "10"), ("p", "NEW", "10")]


async def test_frames_may_be_binary(venue: RunningVenue, account: str) -> None:
    async with venue.session() as session:
        await session.connection.send(msgspec.json.encode(submit(1, account, "o")))
        assert (await session.answer())["result"]["status"] == "NEW"


async def test_what_was_answered_survives(tmp_path: Path, account: str) -> None:
    with running(tmp_path) as venue:
        async with venue.session() as session:
            await session.send(*(submit(number, account, f"o-{number}") for number in range(100)))
            answers = [await session.answer() for _ in range(100)]
            await asyncio.to_thread(venue.restart, signal.SIGKILL)
        async with venue.client() as client:
            assert [each["venue_order_id"] for each in await orders(client, account)] == [
                answer["result"]["venue_order_id"] for answer in answers
            ]


async def test_a_session_ends_when_the_venue_does(tmp_path: Path, account: str) -> None:
    with running(tmp_path) as venue:
        async with venue.session() as session:
            assert "result" in await session.ask("submit", **order("o", account=account, limit_price="1"))
            await asyncio.to_thread(venue.end, signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                await session.line()


# -- faults ------------------------------------------------------------------------------------------------------------


async def set_faults(client: Client, **faults: Any) -> None:
    assert (await client.put("/faults", json=faults)).status_code == 200


REQUESTS = {
    "submit": ({"client_order_id": "new"}, [("o", "NEW", "10"), ("new", "NEW", "10")]),
    "cancel": ({"client_order_id": "o"}, [("o", "CANCELED", "10")]),
    "replace": ({"client_order_id": "o", "quantity": "3"}, [("o", "NEW", "3")]),
}


@pytest.mark.parametrize("scope", REQUESTS)
@pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense"])
async def test_an_answer_that_tells_nothing(
    venue: RunningVenue, client: Client, account: str, scope: str, fault: str
) -> None:
    changed, done = REQUESTS[scope]
    body = order("new", limit_price="1") if scope == "submit" else {}
    async with venue.session() as session:
        await session.ask("submit", **order("o", account=account, limit_price="1"))
        await set_faults(client, **{fault: 1}, scope=scope)
        await session.send({"id": 7, "method": scope, "params": {**body, "account": account, **changed}})
        match fault:
            case "status_500":
                answer = await session.answer()
                assert (answer["id"], answer["error"]["status"]) == (7, 500)
            case "nonsense":
                with pytest.raises(msgspec.DecodeError):
                    await session.answer()
            case _:
                with pytest.raises(ConnectionClosed):
                    await session.line()
    assert (await client.get("/faults")).json()[fault] == 0
    assert await found(client, account) == ([("o", "NEW", "10")] if fault == "lose_request" else done)


@pytest.mark.parametrize("fault", ["lose_ack", "lose_request"])
async def test_when_it_hangs_up_what_came_before_is_answered_and_what_comes_after_is_not_done(
    venue: RunningVenue, client: Client, account: str, fault: str
) -> None:
    async with venue.session() as session:
        await set_faults(client, **{fault: 1}, scope="cancel")
        cancel = {"id": 2, "method": "cancel", "params": {"account": account, "client_order_id": "o"}}
        await session.send(submit(1, account, "o"), cancel, submit(3, account, "p"))
        assert (await session.answer())["id"] == 1
        with pytest.raises(ConnectionClosed):
            await session.line()
    assert await found(client, account) == [("o", "CANCELED" if fault == "lose_ack" else "NEW", "10")]


async def test_an_answer_hangs_while_others_do_not(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.session() as session:
        await set_faults(client, hang=1, hang_ms=300, scope="submit")
        await session.send(submit(1, account, "o"), submit(2, account, "p"))
        assert [(await session.answer())["id"] for _ in range(2)] == [2, 1]


async def test_delayed_answers_come(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.session() as session:
        await set_faults(client, delay_ms=100)
        await session.send(submit(1, account, "o"), submit(2, account, "p"))
        assert sorted([(await session.answer())["id"] for _ in range(2)]) == [1, 2]


async def test_dedup_is_forgotten_and_an_order_refused_late(venue: RunningVenue, client: Client, account: str) -> None:
    async with venue.session() as session, venue.stream(f"/reports?account={account}") as stream:
        await session.ask("submit", **order("o", account=account, limit_price="1"))
        await set_faults(client, forget_dedup=1, refuse_late=1)
        again = await session.ask("submit", **order("o", account=account, limit_price="1"))
        assert again["result"]["duplicate"] is False
        assert await stream.told(3) == [("o", "NEW"), ("o", "NEW"), ("o", "REJECTED")]


# -- reports, several in a frame ---------------------------------------------------------------------------------------


async def lines(stream: Stream, count: int) -> tuple[list[dict[str, Any]], int]:
    """So many reports, and in how many frames they came."""
    told: list[dict[str, Any]] = []
    frames = 0
    while len(told) < count:
        async with asyncio.timeout(20):
            told += [msgspec.json.decode(line) for line in str(await stream.connection.recv()).split("\n")]
        frames += 1
    return told, frames


async def test_who_asks_for_it_gets_several_reports_in_a_frame(
    venue: RunningVenue, client: Client, account: str
) -> None:
    path = f"/reports?account={account}"
    async with venue.session() as session, venue.stream(path) as one_each, venue.stream(f"{path}&batch=true") as some:
        await session.send(*(submit(number, account, f"o-{number}") for number in range(100)))
        told, frames = await lines(some, 100)
        assert frames < 100
        assert told == [await one_each.next() for _ in range(100)]
    assert [report["client_order_id"] for report in told] == [f"o-{number}" for number in range(100)]


async def test_faults_of_reports_count_reports_whoever_takes_several(
    venue: RunningVenue, client: Client, account: str
) -> None:
    async def ids(session: Session, *names: str) -> None:
        await session.send(*(submit(name, account, name) for name in names))

    async with venue.session() as session, venue.stream(f"/reports?account={account}&batch=true") as stream:
        await set_faults(client, drop=1, repeat=1)
        await ids(session, "a", "b", "c")
        told, _ = await lines(stream, 3)
        assert [report["client_order_id"] for report in told] == ["b", "b", "c"]
        await set_faults(client, reorder=1)
        await ids(session, "d", "e")
        told, _ = await lines(stream, 2)
        assert [report["client_order_id"] for report in told] == ["e", "d"]
        await set_faults(client, disconnect=1)
        await ids(session, "f")
        with pytest.raises(ConnectionClosed):
            await stream.next()
