"""What a page of another site, a name that was pointed at us, or a liar can send: refused at each door.

The doors are the protocol's fast path, the front, the lines of ``POST /commands``, and Litestar's routes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import NamedTuple

import psycopg
import pytest
import pytest_asyncio

import foldbook.api.refusals
from foldbook.access.keys import key_of
from foldbook.access.roles import Role
from foldbook.api.sessions import COOKIE
from foldbook.echo import LINES_PER_S_MAX, LineLimit
from tests.access.conftest import Guarded, bearer
from tests.access.wire import JSON, Answer, Headers, Way, json_body, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = "alice/binance/simulated"
ORDER = {"strategy_id": "s", "symbol": "X", "side": "BUY", "order_type": "MARKET", "quantity": "1"}


class Door(NamedTuple):
    """``body`` is one that is done if it gets in."""

    method: str
    path: str
    body: bytes | None
    way: Way = "fast"

    async def knock(self, guarded: Guarded, headers: Headers, host: str | None = "localhost") -> Answer:
        return await send(guarded.engine, self.method, self.path, headers, self.body, self.way, host)


ORDERS = f"/accounts/{ACCOUNT}/orders"
LINE = {"type": "PlaceOrder", "account": ACCOUNT, **ORDER}
DOORS = {
    "fast": Door("POST", ORDERS, json_body(ORDER)),
    "front": Door("POST", ORDERS, json_body(ORDER), "slow"),
    "lines": Door("POST", "/commands", json_body(LINE)),
    "lines in chunks": Door("POST", "/commands", json_body(LINE), "slow"),
    "route": Door("POST", "/session", b"{}"),
    "route in chunks": Door("POST", "/session", b"{}", "slow"),
    "question": Door("GET", "/fills", None),
}
WITH_BODY = [name for name, door in DOORS.items() if door.body is not None]
COMMANDS = [name for name, door in DOORS.items() if door.path in (ORDERS, "/commands")]


NO_HOSTS = [None, "", "localhost:8000, evil.example", "localhost@evil.example", "evil.example#localhost"]
NOT_OURS = [
    *NO_HOSTS,
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.2",
    "0.0.0.0:8000",
    "[::2]:8000",
]
FOREIGN = [
    [("Origin", "http://evil.example")],
    [("Origin", "null")],
    [("Origin", "")],
    [("Origin", "http://localhost:9000")],
    [("Origin", "http://localhost.evil.example")],
    [("Origin", "ftp://localhost")],
    [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
    [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")],
    [("Sec-Fetch-Site", "cross-site")],
    [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Origin", "null")],
]
NO_KEY = [
    [],
    [("Cookie", f"{COOKIE}=made-up")],
    [("Cookie", f"{COOKIE}=")],
    [("Cookie", "=;;")],
    [("Authorization", "Bearer")],
    [("Authorization", "Bearer ")],
    [("Authorization", "Basic b3BlcmF0b3I6eA==")],
    [("Authorization", "Bearer " + key_of("0" * 12, bytes(32)))],
    [("Authorization", "Bearer " + "x" * 5000)],
    [("Authorization", "Bearer \xff\xfe")],
    [("X-Api-Key", "THE KEY")],
    [("Authorization", "THE KEY")],
    [("Authorization", "Bearer THE KEY, Bearer THE KEY")],
    [("Cookie", f"{COOKIE}=THE KEY")],
]
NOT_JSON = [
    None,
    "text/plain",
    "text/plain; charset=application/json",
    "application/x-www-form-urlencoded",
    "",
    "application/jsonp",
]


class World(NamedTuple):
    guarded: Guarded
    trader: str

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        return [*bearer(self.trader).items(), JSON, *more]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared: Guarded) -> World:
    await shared.open(ACCOUNT)
    return World(shared, await shared.issue("alice", Role.TRADER))


@pytest_asyncio.fixture(loop_scope="module")
async def untouched(world: World) -> AsyncIterator[None]:
    """Nothing was asked of the bus, when the test ends."""

    def asked() -> int:
        database = world.guarded.engine.settings.database_url
        assert database is not None
        with psycopg.connect(database.get_secret_value()) as connection:
            row = connection.execute("select count(*) from eventstore.commands").fetchone()
        assert row is not None
        count: int = row[0]
        return count

    before = asked()
    yield
    assert asked() == before


def doors(names: list[str] | dict[str, Door]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("door", [DOORS[name] for name in names], ids=list(names))


@doors(DOORS)
async def test_a_request_as_it_should_be_gets_in(world: World, door: Door) -> None:
    for host in ("localhost", "127.0.0.1:1", "LocalHost:8000", "[::1]:8000", "localhost."):
        assert (await door.knock(world.guarded, world.headers(), host)).status in (200, 201), host
    for more in (
        ("Origin", "http://localhost"),
        ("Origin", "https://localhost"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "none"),
        ("Cookie", f"{COOKIE}=made-up; other=1"),
    ):
        assert (await door.knock(world.guarded, world.headers(more))).status in (200, 201), more


@doors(DOORS)
@pytest.mark.usefixtures("untouched")
async def test_a_host_that_is_not_ours(world: World, door: Door) -> None:
    for host in NOT_OURS:
        answer = await door.knock(world.guarded, world.headers(), host)
        expected = (400, "malformed") if host in NO_HOSTS else (421, "wrong-host")
        assert (answer.status, answer.code) == expected, host


@doors(DOORS)
@pytest.mark.usefixtures("untouched")
async def test_a_page_of_another_origin(world: World, door: Door) -> None:
    for forged in FOREIGN:
        answer = await door.knock(world.guarded, world.headers(*forged))
        assert (answer.status, answer.code) == (403, "foreign-origin"), forged


@doors(DOORS)
@pytest.mark.usefixtures("untouched")
async def test_what_is_no_key(world: World, door: Door) -> None:
    for shown in NO_KEY:
        headers = [(name, value.replace("THE KEY", world.trader)) for name, value in shown]
        answer = await door.knock(world.guarded, [*headers, JSON])
        assert (answer.status, answer.code) == (401, "unauthenticated"), shown
        assert answer.headers["www-authenticate"] == "Bearer"
        assert world.trader not in answer.body.decode()


@doors(WITH_BODY)
@pytest.mark.usefixtures("untouched")
async def test_a_body_that_a_page_may_send_unasked(world: World, door: Door) -> None:
    for media_type in NOT_JSON:
        typed = [] if media_type is None else [("Content-Type", media_type)]
        answer = await door.knock(world.guarded, [*bearer(world.trader).items(), *typed])
        assert (answer.status, answer.code) == (415, "unsupported-media-type"), media_type


@doors(DOORS)
@pytest.mark.usefixtures("untouched")
async def test_a_header_that_is_there_twice(world: World, door: Door) -> None:
    origin = ("Origin", "http://localhost")
    for twice in ([world.headers()[0]], [JSON], [("Host", "localhost")], [origin, origin]):
        answer = await door.knock(world.guarded, world.headers(*twice))
        assert (answer.status, answer.code) == (400, "malformed"), twice
        assert json.loads(answer.body)["field"] == twice[0][0].lower()
        assert world.trader not in answer.body.decode()


@doors(COMMANDS)
@pytest.mark.usefixtures("untouched")
async def test_an_actor_that_a_trader_claims_to_be(world: World, door: Door) -> None:
    answer = await door.knock(world.guarded, world.headers(("X-Actor", "bob")))
    assert (answer.status, answer.code) == (403, "forbidden")


@doors(COMMANDS)
async def test_an_operator_says_for_whom_and_stays_the_actor(world: World, door: Door) -> None:
    operator = [*bearer(world.guarded.operator).items(), JSON, ("X-Actor", "carol"), ("X-Correlation-Id", "case-7")]
    answer = await door.knock(world.guarded, operator)
    assert answer.status in (200, 201)
    after = json.loads(answer.body)["position"] - 1
    events = await world.guarded.ask(world.guarded.operator, "GET", f"/events?after={after}&limit=1")
    (event,) = events.json()["events"]
    assert (event["actor"], event["on_behalf_of"]) == ("operator", "carol")
    plain = await door.knock(world.guarded, world.headers())
    after = json.loads(plain.body)["position"] - 1
    (event,) = (await world.guarded.ask(world.guarded.operator, "GET", f"/events?after={after}&limit=1")).json()[
        "events"
    ]
    assert (event["actor"], event["on_behalf_of"]) == ("alice", None)


@pytest.fixture
def few_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests before have written no lines in this second."""
    monkeypatch.setattr(foldbook.api.refusals, "_lines", LineLimit())


@pytest.mark.usefixtures("few_refusals")
async def test_who_is_refused_is_counted_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def counted(status: int) -> float:
        exposed = (await world.guarded.ask(world.guarded.operator, "GET", "/metrics")).text
        lines = [line for line in exposed.splitlines() if f'status="{status}"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = {status: await counted(status) for status in (401, 403, 421)}
    with caplog.at_level(logging.WARNING, "foldbook.api.refusals"):
        for door in DOORS.values():
            await door.knock(world.guarded, [JSON])
            await door.knock(world.guarded, world.headers(), "evil.example")
        await send(world.guarded.engine, "PUT", f"/accounts/{ACCOUNT}/risk", world.headers(), b"{}")
        await send(world.guarded.engine, "GET", "/admin/projections", world.headers())
    assert await counted(401) == before[401] + len(DOORS)
    assert await counted(421) == before[421] + len(DOORS)
    assert await counted(403) == before[403] + 2
    assert "to nobody: unauthenticated" in caplog.text
    assert world.trader not in caplog.text


@pytest.mark.usefixtures("few_refusals")
async def test_a_flood_of_refusals_is_no_flood_of_lines(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "foldbook.api.refusals"):
        for _ in range(300):
            await world.guarded.ask(None, "GET", "/fills")
    by_second = Counter(int(record.created) for record in caplog.records)
    # Its seconds are the monotonic clock's: one of the wall clock's may have parts of two.
    assert 0 < max(by_second.values()) <= 2 * LINES_PER_S_MAX
