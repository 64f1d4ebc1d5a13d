"""What one key may take, so that others are served."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from foldbook.access.rates import BUCKETS_MAX, RateLimited, Rates
from foldbook.access.roles import Role
from foldbook.api.commands.bulk import REQUESTS_OF_KEY_MAX
from foldbook.api.problems import problem_of
from tests.access.conftest import Guarded, bearer, guarded_settings, guarding
from tests.access.wire import JSON, json_body, read_answer, send

ACCOUNT = "alice/binance/simulated"
ORDER = {"strategy_id": "s", "symbol": "X", "side": "BUY", "order_type": "MARKET", "quantity": "1"}
LINE = json_body({"type": "PlaceOrder", "account": ACCOUNT, **ORDER}) + b"\n"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def taken(rates: Rates, key_id: str, times: int) -> int:
    """How many requests of so many are let through."""
    count = 0
    with suppress(RateLimited):
        for _ in range(times):
            rates.take(key_id)
            count += 1
    return count


def test_a_bucket_holds_a_second_and_fills_as_it_passes() -> None:
    clock = Clock()
    rates = Rates(10, clock)
    assert taken(rates, "a", 15) == 10
    assert taken(rates, "b", 15) == 10, "each key has its own"
    clock.now_s += 0.35
    assert taken(rates, "a", 15) == 3
    clock.now_s += 3600
    assert taken(rates, "a", 15) == 10


def test_who_is_refused_is_told_when_to_ask_again() -> None:
    clock = Clock()
    rates = Rates(1, clock)
    rates.take("a")
    with pytest.raises(RateLimited) as caught:
        rates.take("a")
    problem = problem_of(caught.value)
    assert (problem.status, problem.code) == (429, "rate-limited")
    clock.now_s += float(problem.headers["Retry-After"])
    rates.take("a")


def test_buckets_are_bounded() -> None:
    rates = Rates(1, Clock())
    for n in range(BUCKETS_MAX * 2):
        rates.take(str(n))
    assert len(rates._buckets) <= BUCKETS_MAX


async def test_a_flood_with_one_key_leaves_another_served(database: str) -> None:
    async with guarding(guarded_settings(database, key_requests_per_s=20)) as guarded:
        await guarded.open(ACCOUNT)
        flooding, quiet = await guarded.issue("flooding", Role.TRADER), await guarded.issue("quiet", Role.TRADER)
        path, shown = f"/accounts/{ACCOUNT}/orders", [*bearer(flooding).items(), JSON]

        async def flood(way: str) -> list[tuple[int, str | None]]:
            answers = [
                await send(guarded.engine, "POST", path, shown, json_body(ORDER), way)  # type: ignore[arg-type]
                for _ in range(40)
            ]
            return [(answer.status, answer.headers.get("retry-after")) for answer in answers]

        floods = [asyncio.create_task(flood(way)) for way in ("fast", "slow", "fast")]
        others = [await guarded.ask(quiet, "GET", "/session") for _ in range(10)]
        answers = [answer for task in floods for answer in await task]
        assert {answer.status_code for answer in others} == {200}
        assert {answer for answer in answers if answer[0] == 429} == {(429, "1")}
        assert {answer[0] for answer in answers} == {201, 429}
        # Pages and questions are requests too.
        assert (await guarded.ask(flooding, "GET", "/session")).status_code in (200, 429)


async def test_bulk_requests_of_one_key_leave_room_for_those_of_another(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    greedy, other = await guarded.issue("greedy", Role.TRADER), await guarded.issue("other", Role.TRADER)
    head = f"POST /commands HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {greedy}\r\n"
    head += "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    open_requests = [await asyncio.open_connection(*guarded.engine.address) for _ in range(REQUESTS_OF_KEY_MAX)]
    try:
        async with asyncio.timeout(30):
            for reader, writer in open_requests:
                writer.write(head.encode() + b"%x\r\n%b\r\n" % (len(LINE), LINE))
                await reader.readuntil(b"OrderCreated")
            one_more = await send(guarded.engine, "POST", "/commands", [*bearer(greedy).items(), JSON], LINE)
            assert (one_more.status, one_more.code, one_more.headers["retry-after"]) == (503, "overloaded", "1")
            served = await send(guarded.engine, "POST", "/commands", [*bearer(other).items(), JSON], LINE)
            assert (served.status, b"OrderCreated" in served.body) == (200, True)
            path = f"/accounts/{ACCOUNT}/orders"
            single = await send(guarded.engine, "POST", path, [*bearer(greedy).items(), JSON], json_body(ORDER))
            assert single.status == 201
            for _, writer in open_requests:
                writer.write(b"0\r\n\r\n")
            for reader, _ in open_requests:
                await reader.read()
    finally:
        for _, writer in open_requests:
            writer.close()
    again = await send(guarded.engine, "POST", "/commands", [*bearer(greedy).items(), JSON], LINE)
    assert again.status == 200


async def test_connections_of_one_key_leave_room_for_those_of_another(database: str) -> None:
    async with guarding(guarded_settings(database, connections_max=8)) as guarded:
        greedy, other = await guarded.issue("greedy", Role.READER), await guarded.issue("other", Role.READER)
        request = "GET /session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"
        held = [await asyncio.open_connection(*guarded.engine.address) for _ in range(4)]
        try:
            async with asyncio.timeout(30):
                for reader, writer in held:
                    writer.write(request.format(greedy).encode())
                    assert (await read_answer(reader)).status == 200
                refused = await send(guarded.engine, "GET", "/session", bearer(greedy).items())
                assert (refused.status, refused.headers["retry-after"]) == (429, "1")
                assert (await send(guarded.engine, "GET", "/session", bearer(other).items())).status == 200
        finally:
            for _, writer in held:
                writer.close()


HALF = {
    "no key": ("", "Content-Length: 10\r\n\r\n{"),
    "no key, in chunks": ("", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
    "a key that is none": ("Authorization: Bearer fbk_x\r\n", "Content-Length: 10\r\n\r\n{"),
    "a key that is none, in chunks": ("Authorization: Bearer fbk_x\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n{"),
    "no key, and 100-continue": ("Expect: 100-continue\r\n", "Content-Length: 10\r\n\r\n"),
}
PATHS = (f"/accounts/{ACCOUNT}/orders", f"/accounts/{ACCOUNT}/orders?", "/accounts", "/commands", "/keys", "/session")


async def test_who_has_no_key_is_told_before_a_body_is_read_and_keeps_nobody_out(database: str) -> None:
    async with guarding(guarded_settings(database, connections_max=8)) as guarded:
        key = await guarded.issue("own", Role.READER)
        own_reader, own_writer = await asyncio.open_connection(*guarded.engine.address)
        others = []
        request = f"GET /session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        try:
            async with asyncio.timeout(60):
                own_writer.write(request)
                assert (await read_answer(own_reader)).status == 200
                for what, (shown, body) in HALF.items():
                    for path in PATHS:
                        reader, writer = await asyncio.open_connection(*guarded.engine.address)
                        others.append(writer)
                        line = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        writer.write((line + shown + body).encode())
                        assert (await read_answer(reader)).status == 401, (what, path)
                # Who has a key, and says nothing, is not ended for who has none.
                silent = [await asyncio.open_connection(*guarded.engine.address) for _ in range(20)]
                others += [writer for _, writer in silent]
                own_writer.write(request)
                assert (await read_answer(own_reader)).status == 200
                served = await send(guarded.engine, "GET", "/session", bearer(key).items())
                assert served.status == 200
        finally:
            for writer in (own_writer, *others):
                writer.close()
