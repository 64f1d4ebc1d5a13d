"""A key that is revoked, or expires, stops at once: at each door, in what is under way, in other processes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psycopg
from uuid_utils.compat import uuid7

from foldbook.access.roles import Role
from foldbook.api.sessions import COOKIE, SESSIONS_OF_KEY_MAX
from tests.access.conftest import Guarded, bearer, guarded_settings, id_of
from tests.access.wire import JSON, Answer, json_body, read_answer, send
from tests.api.conftest import serving, until

ACCOUNT = "alice/binance/simulated"
ORDERS = f"/accounts/{ACCOUNT}/orders"
ORDER = {"strategy_id": "s", "symbol": "X", "side": "BUY", "order_type": "MARKET", "quantity": "1"}
LINE = {"type": "PlaceOrder", "account": ACCOUNT, **ORDER}


async def revoke(guarded: Guarded, key: str) -> None:
    gone = await guarded.ask(guarded.operator, "DELETE", f"/keys/{id_of(key)}?reason=lost")
    assert gone.status_code == 200, gone.text


async def session_of(guarded: Guarded, key: str) -> str:
    """The cookie."""
    begun = await guarded.ask(key, "POST", "/session")
    assert begun.status_code == 201, begun.text
    cookie: str = begun.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    guarded.engine.client.cookies.clear()
    return cookie.split(";", maxsplit=1)[0]


def every_way(guarded: Guarded, key: str, cookie: str) -> list[Callable[[], Awaitable[Answer]]]:
    engine, shown = guarded.engine, [*bearer(key).items(), JSON]
    in_session = [("Cookie", cookie), ("Origin", "http://localhost"), JSON]
    body, line = json_body(ORDER), json_body(LINE)
    return [
        lambda: send(engine, "POST", ORDERS, shown, body),
        lambda: send(engine, "POST", ORDERS, shown, body, "slow"),
        lambda: send(engine, "POST", "/commands", shown, line),
        lambda: send(engine, "GET", "/fills", shown),
        lambda: send(engine, "POST", "/session", shown, b"{}"),
        lambda: send(engine, "POST", ORDERS, in_session, body),
        lambda: send(engine, "POST", ORDERS, in_session, body, "slow"),
        lambda: send(engine, "GET", "/fills", in_session),
    ]


async def test_it_is_refused_at_each_door_when_its_revocation_is_answered(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    key, other = await guarded.issue("alice", Role.TRADER), await guarded.issue("also-alice", Role.TRADER)
    cookie = await session_of(guarded, key)
    for ask in every_way(guarded, key, cookie):
        assert (await ask()).status in (200, 201)
    await revoke(guarded, key)
    for ask in every_way(guarded, key, cookie):
        answer = await ask()
        assert (answer.status, answer.code) == (401, "unauthenticated")
    for ask in every_way(guarded, other, await session_of(guarded, other)):
        assert (await ask()).status in (200, 201)


async def test_it_is_refused_at_each_door_when_its_time_is_over(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    ends_at = datetime.now(UTC) + timedelta(seconds=2)
    key = await guarded.issue("alice", Role.TRADER, expires_at=ends_at)
    cookie = await session_of(guarded, key)
    while (answer := await send(guarded.engine, "GET", "/session", bearer(key).items())).status == 200:
        await asyncio.sleep(0.02)
    assert datetime.now(UTC) >= ends_at
    assert answer.code == "unauthenticated"
    for ask in every_way(guarded, key, cookie):
        assert (await ask()).status == 401
    # Its name is free again.
    assert await is_answered(guarded, await guarded.issue("alice", Role.TRADER), 200)


async def test_the_rest_of_a_bulk_request_is_refused(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    key = await guarded.issue("alice", Role.TRADER)
    line = json_body(LINE) + b"\n"
    reader, writer = await asyncio.open_connection(*guarded.engine.address)
    results = Lines(reader)
    try:
        async with asyncio.timeout(30):
            writer.write(head_of("/commands", key, "Transfer-Encoding: chunked") + chunk(line))
            await reader.readuntil(b"\r\n\r\n")
            assert (await results.next())["events"] == ["OrderCreated"]
            await revoke(guarded, key)
            writer.write(chunk(line * 2) + b"0\r\n\r\n")
            refused = [await results.next(), await results.next()]
    finally:
        writer.close()
    assert [one["type"] for one in refused] == ["urn:foldbook:problem:unauthenticated"] * 2
    created = await guarded.ask(guarded.operator, "GET", "/events?type=OrderCreated")
    assert len(created.json()["events"]) == 1


def head_of(path: str, key: str, framed: str) -> bytes:
    shown = f"Authorization: Bearer {key}"
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", shown, "Content-Type: application/json", framed]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


class Lines:
    """The lines of a chunked answer, as they come."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._left: list[bytes] = []

    async def next(self) -> dict[str, object]:
        while not self._left:
            size = int((await self._reader.readline()).strip(), 16)
            self._left += (await self._reader.readexactly(size + 2))[:-2].splitlines()
        document: dict[str, object] = json.loads(self._left.pop(0))
        return document


async def test_a_request_whose_body_takes_its_time_is_refused(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    for path, body in ((ORDERS, json_body(ORDER)), ("/keys", json_body({"name": "x", "roles": ["reader"]}))):
        for way in ("fast", "slow"):
            key = await guarded.issue(f"slow-{way}", Role.OPERATOR)
            framed = f"Content-Length: {len(body)}" if way == "fast" else "Transfer-Encoding: chunked"
            reader, writer = await asyncio.open_connection(*guarded.engine.address)
            first, rest = (body[:9], body[9:]) if way == "fast" else (chunk(body[:9]), chunk(body[9:]) + b"0\r\n\r\n")
            try:
                async with asyncio.timeout(30):
                    writer.write(head_of(path, key, framed) + first)
                    await was_admitted(guarded, key)
                    await revoke(guarded, key)
                    writer.write(rest)
                    answer = await read_answer(reader)
            finally:
                writer.close()
            assert (answer.status, answer.code) == (401, "unauthenticated"), (path, way)


async def was_admitted(guarded: Guarded, key: str) -> None:
    """Another request of the key was answered, so that the server has read what was sent before it."""
    assert (await guarded.ask(key, "GET", "/session")).status_code == 200


async def test_a_revocation_elsewhere_reaches_every_server(guarded: Guarded) -> None:
    """By the command line, in its own process; also when the server's connections were just lost."""
    settings = guarded_settings(dsn_of(guarded))
    async with serving(settings) as second:
        other = Guarded(second, guarded.operator)
        for is_cut_off in (False, True):
            key = await guarded.issue(f"alice-{is_cut_off}", Role.TRADER)
            for server in (guarded, other):
                await until(lambda server=server, key=key: is_answered(server, key, 200))  # type: ignore[misc]
            if is_cut_off:
                cut_off(dsn_of(guarded))
            await foldbook(guarded, "keys", "revoke", id_of(key))
            for server in (guarded, other):
                await until(lambda server=server, key=key: is_answered(server, key, 401))  # type: ignore[misc]


async def test_a_key_that_the_command_line_issued_is_known_to_a_running_server(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    said = await foldbook(guarded, "keys", "issue", "alice", "--role", "trader", "--account", "alice/*/*")
    key = said.strip()
    await until(lambda: is_answered(guarded, key, 200))
    assert (await send(guarded.engine, "POST", ORDERS, [*bearer(key).items(), JSON], json_body(ORDER))).status == 201
    listed = (await guarded.ask(guarded.operator, "GET", "/keys")).json()["keys"]
    assert [(one["name"], one["roles"], one["accounts"]) for one in listed] == [
        ("operator", ["operator"], ["*/*/*"]),
        ("alice", ["trader"], ["alice/*/*"]),
    ]
    assert listed[1]["issued_by"].endswith(" at the command line")
    assert "alice/*/*" in await foldbook(guarded, "keys", "list")
    await foldbook(guarded, "keys", "revoke", id_of(key), "--reason", "left the desk")
    assert "alice" not in await foldbook(guarded, "keys", "list")
    assert "revoked: left the desk" in await foldbook(guarded, "keys", "list", "--all")


async def test_a_key_that_ends_with_the_calendar_is_listed(guarded: Guarded) -> None:
    body = {"name": "long", "roles": ["reader"], "expires_at": "9999-12-31T23:59:59-01:00"}
    refused = await guarded.ask(guarded.operator, "POST", "/keys", json=body)
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:foldbook:problem:malformed")
    last = body | {"expires_at": "9999-12-31T23:59:59.999999Z"}
    assert (await guarded.ask(guarded.operator, "POST", "/keys", json=last)).status_code == 201
    assert "9999-12-31 23:59" in await foldbook(guarded, "keys", "list")


async def test_what_the_command_line_refuses(guarded: Guarded) -> None:
    key = await guarded.issue("alice", Role.TRADER)
    wrong: list[tuple[tuple[str, ...], str]] = [
        (("issue", "x", "--role", "boss"), "boss"),
        (("issue", "x", "--role", "trader", "--account", "alice"), "accounts"),
        (("issue", "alice", "--role", "trader"), "alice"),
        (("issue", "x", "--role", "trader", "--expires", "2001-01-01T00:00:00Z"), "future"),
        (("issue", "x", "--role", "trader", "--expires", "9999-12-31T23:59:59-01:00"), "years 1 to 9999"),
        (("issue", "x", "--role", "trader", "--expires", "0001-01-01T00:00:00+01:00"), "years 1 to 9999"),
        (("revoke", "0" * 12), "in force"),
        (("revoke", key), "underscores"),
    ]
    answers = await asyncio.gather(*(foldbook(guarded, "keys", *given, succeeds=False) for given, _ in wrong))
    for (_, told), said in zip(wrong, answers, strict=True):
        assert told in said
        assert key not in said
        assert "Traceback" not in said


async def test_keys_are_what_the_log_says_after_a_restart(guarded: Guarded) -> None:
    kept, lost = await guarded.issue("kept", Role.TRADER), await guarded.issue("lost", Role.TRADER)
    await revoke(guarded, lost)
    async with serving(guarded_settings(dsn_of(guarded))) as second:
        other = Guarded(second, guarded.operator)
        await until(lambda: is_answered(other, kept, 200))
        assert await is_answered(other, lost, 401)


async def test_a_key_is_shown_once(guarded: Guarded) -> None:
    body, again = {"name": "alice", "roles": ["trader"]}, {"Idempotency-Key": str(uuid7())}
    first = await guarded.ask(guarded.operator, "POST", "/keys", json=body, headers=again)
    second = await guarded.ask(guarded.operator, "POST", "/keys", json=body, headers=again)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["key"].startswith(f"fbk_{first.json()['id']}_")
    assert second.json() == first.json() | {"key": None, "replayed": True}
    assert await is_answered(guarded, first.json()["key"], 200)


async def test_sessions(guarded: Guarded) -> None:
    key = await guarded.issue("alice", Role.READER)
    cookie = await session_of(guarded, key)
    told = await guarded.ask(None, "GET", "/session", headers={"Cookie": cookie})
    assert told.json() == {"name": "alice", "roles": ["reader"], "accounts": ["alice/*/*"]}
    # A session neither begins another one, nor changes anything but from a page of ours.
    ours = {"Cookie": cookie, "Origin": f"http://{guarded.engine.client.base_url.netloc.decode()}"}
    assert (await guarded.ask(None, "POST", "/session", headers=ours)).status_code == 401
    assert (await guarded.ask(None, "POST", "/commands", headers={"Cookie": cookie})).status_code == 403
    assert (await guarded.ask(None, "POST", "/commands", headers=ours)).status_code == 200
    ended = await guarded.ask(None, "DELETE", "/session", headers=ours)
    assert (ended.status_code, "Max-Age=0" in ended.headers["set-cookie"]) == (204, True)
    assert (await guarded.ask(None, "GET", "/session", headers={"Cookie": cookie})).status_code == 401


async def test_a_key_that_begins_many_sessions_ends_its_own(guarded: Guarded) -> None:
    many, one = await guarded.issue("many", Role.READER), await guarded.issue("one", Role.READER)
    others = await session_of(guarded, one)
    cookies = [await session_of(guarded, many) for _ in range(SESSIONS_OF_KEY_MAX + 1)]
    statuses = [
        (await guarded.ask(None, "GET", "/session", headers={"Cookie": cookie})).status_code
        for cookie in (cookies[0], cookies[1], cookies[-1], others)
    ]
    assert statuses == [401, 200, 200, 200]


async def test_a_session_over_tls_is_for_tls(guarded: Guarded) -> None:
    key = await guarded.issue("alice", Role.READER)
    secure = {**bearer(key).copy(), "Host": "localhost", "Origin": "https://localhost"}
    answer = await send(guarded.engine, "POST", "/session", secure.items(), host=None)
    assert answer.headers["set-cookie"].endswith("; Secure")
    assert COOKIE in answer.headers["set-cookie"]


async def test_a_session_among_other_cookies(guarded: Guarded) -> None:
    cookie = await session_of(guarded, await guarded.issue("alice", Role.READER))
    for header in (f"a=1; {cookie}", f"{cookie};", f"{cookie} ; a", f'{cookie}; b="; x={cookie}"'):
        assert (await guarded.ask(None, "GET", "/session", headers={"Cookie": header})).status_code == 200, header


async def test_a_session_that_is_given_twice_is_none(guarded: Guarded) -> None:
    """One reader takes the first, another the last."""
    cookie = await session_of(guarded, await guarded.issue("alice", Role.READER))
    for header in (
        f"{cookie}; {COOKIE}=",
        f"{COOKIE}=x; {cookie}",
        f"{cookie}; {cookie}",
        f"x{cookie}",
        f'{COOKIE}="{cookie}"',
    ):
        assert (await guarded.ask(None, "GET", "/session", headers={"Cookie": header})).status_code == 401, header


async def is_answered(guarded: Guarded, key: str, status: int) -> bool:
    return (await guarded.ask(key, "GET", "/session")).status_code == status


def dsn_of(guarded: Guarded) -> str:
    url = guarded.engine.settings.database_url
    assert url is not None
    return url.get_secret_value()


def cut_off(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


async def foldbook(guarded: Guarded, *arguments: str, succeeds: bool = True) -> str:
    """What a command of the command line prints, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "foldbook.cli", *arguments),
        env=os.environ | {"DATABASE_URL": dsn_of(guarded), "FOLDBOOK_ACCESS": "keys"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert (process.returncode == 0) is succeeds, said.decode()
    return said.decode()
