"""``GET /stream/events``: what a client is told, and from where."""

from __future__ import annotations

import msgspec
import pytest

from tests.api.conftest import ACCOUNT, Engine, assert_problem, serving, settings_for
from tests.conftest import prepare
from tests.streams.conftest import beat_often, listening, told

BOB = "bob/binance/simulated"


async def test_history_and_present_are_the_documents_of_the_log(engine: Engine) -> None:
    await engine.open()
    await engine.place("o-1")
    async with listening(engine) as client:
        assert (client.status, client.headers["content-type"]) == (200, "text/event-stream")
        log, created, placed, caught_up = await client.take(4)
        await engine.place("o-2")
        live = await client.next()
    page = await engine.client.get("/events")
    documents = [msgspec.json.encode(event) for event in msgspec.json.decode(page.content)["events"]]
    assert [created.data, placed.data, live.data] == documents
    assert told((log, created, placed, caught_up, live)) == [
        ("0:0", "log"),
        ("0:1", "OrderBookCreated"),
        ("0:2", "OrderCreated"),
        ("0:2", "caught-up"),
        ("0:3", "OrderCreated"),
    ]


async def test_it_says_which_log_it_is_and_which_commit_was_read_last(engine: Engine) -> None:
    await engine.open()
    await engine.place("o-1")
    async with listening(engine) as first, listening(engine, "?after=0:2") as second:
        begin = msgspec.json.decode((await first.next()).data)
        placed = msgspec.json.decode((await second.next()).data)
    assert begin["log_id"] == placed["log_id"]
    assert (begin["after"], begin["commit"], begin["head"]) == (0, 0, 2)
    assert begin["hash"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "of nothing"
    verified = await engine.get("/admin/log/verify")
    assert (placed["after"], placed["commit"], placed["hash"]) == (2, 2, verified["head_hash"])


async def test_a_refused_command_has_a_commit_of_its_own_and_no_event(engine: Engine) -> None:
    await engine.open()
    for _ in range(2):
        await engine.client.post(f"/accounts/{ACCOUNT}/orders/nothing/cancel")
    await engine.place("o-1")
    async with listening(engine, "?after=0:1") as client:
        log, placed = await client.take(2)
    assert msgspec.json.decode(log.data)["commit"] == 1
    assert placed.id == "0:2"


@pytest.mark.parametrize(
    ("query", "last_event_id", "first"),
    [
        ("", None, ("0:0", "0:1")),
        ("?after=0:2", None, ("0:2", "0:3")),
        ("?after=0:1", "0:3", ("0:3", "0:4")),
        ("?after=nonsense", "0:3", ("0:3", "0:4")),
        ("?after=0:2", "", ("0:2", "0:3")),
    ],
)
async def test_the_last_event_id_wins_over_after(
    engine: Engine, query: str, last_event_id: str | None, first: tuple[str, str]
) -> None:
    await engine.open()
    for n in range(4):
        await engine.place(f"o-{n}")
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    async with listening(engine, query, headers) as client:
        assert (await client.next()).id == first[0]
        assert (await client.next()).id == first[1]


async def test_one_can_begin_now(engine: Engine) -> None:
    await engine.open()
    for query in ("?after=now", "?after=0:now"):
        async with listening(engine, query) as client:
            head = (await engine.get("/events"))["head"]
            assert told(await client.take(2)) == [(f"0:{head}", "log"), (f"0:{head}", "caught-up")]
            await engine.place(f"o{head}")
            assert told([await client.next()]) == [(f"0:{head + 1}", "OrderCreated")]


async def test_an_account_and_a_type_can_be_chosen(engine: Engine) -> None:
    for account in (ACCOUNT, BOB):
        await engine.open(account)
        await engine.place("o-1", account)
    queries = (f"?account={BOB}", "?type=OrderCreated", f"?account={BOB}&type=OrderBookCreated")
    async with (
        listening(engine, queries[0]) as bob,
        listening(engine, queries[1]) as created,
        listening(engine, queries[2]) as opened,
    ):
        assert told(await bob.until("caught-up"))[1:-1] == [("0:3", "OrderBookCreated"), ("0:4", "OrderCreated")]
        assert told(await created.until("caught-up"))[1:-1] == [("0:2", "OrderCreated"), ("0:4", "OrderCreated")]
        assert told(await opened.until("caught-up"))[1:-1] == [("0:3", "OrderBookCreated")]
        await engine.place("o-2")
        await engine.place("o-2", BOB)
        await engine.trade("e-1", "1", "100", "o-2", account=BOB)
        assert told(await bob.take(2)) == [("0:6", "OrderCreated"), ("0:7", "OrderFilled")]
        assert told(await created.take(2)) == [("0:5", "OrderCreated"), ("0:6", "OrderCreated")]
        assert opened.messages == []


async def test_an_account_that_is_not_open_yet_can_be_followed(engine: Engine) -> None:
    async with listening(engine, f"?account={BOB}") as client:
        await client.until("caught-up")
        await engine.open()
        await engine.open(BOB)
        assert told([await client.next()]) == [("0:2", "OrderBookCreated")]


async def test_a_comment_comes_while_nothing_does_and_moves_the_id(engine: Engine) -> None:
    beat_often(engine)
    await engine.open()
    async with listening(engine, f"?account={BOB}") as client:
        await client.until("caught-up")
        await engine.place("o-1")
        idle = await client.next()
        while idle.id != "0:2":
            idle = await client.next()
        assert (idle.event, idle.data) == ("", b"")
    async with listening(engine, f"?account={BOB}", {"Last-Event-ID": idle.id}) as client:
        await engine.open(BOB)
        assert told(await client.until("OrderBookCreated"))[-1] == ("0:3", "OrderBookCreated")


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("?after=1", 400, "malformed", "after"),
        ("?after=0:-1", 400, "malformed", "after"),
        ("?after=1:0", 400, "malformed", "after"),
        ("?after=0:9999999999999999999", 400, "malformed", "after"),
        ("?after=0:0&after=0:0", 400, "malformed", "after"),
        ("?type=a%20b", 400, "malformed", "type"),
        ("?type=NoSuchEvent", 400, "malformed", "type"),
        ("?typ=OrderFilled", 400, "malformed", "typ"),
        ("?type=%ff", 400, "malformed", None),
        ("?account=nobody", 404, "unknown-account", None),
        ("?after=0:1", 409, "position-ahead", None),
    ],
)
async def test_what_cannot_be_followed_is_refused(
    engine: Engine, query: str, status: int, code: str, field: str | None
) -> None:
    fields = {} if field is None else {"field": field}
    assert_problem(await engine.client.get(f"/stream/events{query}"), status, code, **fields)


async def test_the_path_supports_no_other_method(engine: Engine) -> None:
    response = await engine.client.post("/stream/events")
    assert_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, OPTIONS"
    assert (await engine.client.options("/stream/events")).headers["allow"] == "GET, OPTIONS"


async def test_a_stream_is_of_one_shard(empty_database: str) -> None:
    prepare(empty_database, 3)
    settings = settings_for(empty_database).model_copy(update={"shards": 3})
    async with serving(settings) as engine:
        shards = {account: (await engine.open(account))["shard"] for account in (f"u{n}/x/live" for n in range(12))}
        assert set(shards.values()) == {0, 1, 2}
        account = next(account for account, shard in shards.items() if shard == 2)
        async with listening(engine, f"?account={account}") as own, listening(engine, "?after=1:0") as other:
            assert {message.id.partition(":")[0] for message in await own.until("caught-up")} == {"2"}
            assert len(await other.until("caught-up")) == 2 + list(shards.values()).count(1)
            await engine.place("o-1", account)
            assert told([await own.next()])[0][1] == "OrderCreated"
        refused = await engine.client.get(f"/stream/events?account={account}&after=1:0")
        assert_problem(refused, 400, "malformed", field="after")
        assert_problem(await engine.client.get("/stream/events?after=3:0"), 400, "malformed", field="after")
