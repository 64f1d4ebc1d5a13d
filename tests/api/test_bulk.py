"""``POST /commands``: many commands in one request, answered line by line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import uuid4

import httpx

from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem, order, until

NDJSON = {"Content-Type": "application/x-ndjson"}
HEAD = b"POST /commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"


def line(type_name: str, account: str = ACCOUNT, **fields: Any) -> bytes:
    return json.dumps({"type": type_name, "account": account, **fields}).encode() + b"\n"


def place(order_id: str, account: str = ACCOUNT, **fields: Any) -> bytes:
    return line("PlaceOrder", account, **order(order_id, **fields))


async def bulk(engine: Engine, content: bytes | AsyncIterator[bytes], **headers: str) -> list[dict[str, Any]]:
    response = await engine.client.post("/commands", content=content, headers={**NDJSON, **headers})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson"), response.text
    return [json.loads(answer) for answer in response.text.splitlines()]


def codes(answers: Iterable[dict[str, Any]]) -> list[str]:
    """The problem of each answer, or the events."""
    return [a["type"].rpartition(":")[2] if "type" in a else ",".join(a["events"]) for a in answers]


async def test_each_line_has_its_answer_and_a_refusal_spoils_no_other(engine: Engine) -> None:
    command_id = str(uuid4())
    answers = await bulk(
        engine,
        b"".join(
            [
                line("OpenAccount"),
                place("o-1", command_id=command_id),
                place("o-1", quantity="3"),
                b"{not json\n",
                b"\xff\xfe\n",
                b"\n",
                b"   \r\n",
                line("RecordExecution", order_id="o-1", exec_type="TRADE", exec_id="e", last_qty="1", last_px="1.50"),
                line("RecordExecution", order_id="o-1", exec_type="TRADE", exec_id="f", last_qty="NaN", last_px="1"),
                line("RequestCancel", order_id="o-1", expected_sequence=1),
                line("RequestCancel", order_id="o-1", expected_sequence=3),
                line("RequestCancel", order_id="o-9"),
                line("RequestCancel", "nobody/x/live", order_id="o-1"),
                line("RequestCancel", "nobody/x/paper", order_id="o-1"),
                line("Dance", order_id="o-1"),
                line("RequestCancel", order_id="o-1", colour="red"),
                place("o-1", command_id="not-a-uuid"),
                place("o-1", command_id=command_id),
                place("o-2").rstrip(),
            ]
        ),
        **{"X-Actor": "desk"},
    )
    assert codes(answers) == [
        "OrderBookCreated",
        "OrderCreated",
        "duplicate-order",
        "malformed",
        "malformed",
        "OrderFilled",
        "invalid-command",
        "sequence-conflict",
        "OrderCancelRequested",
        "unknown-order",
        "unknown-account",
        "invalid-command",
        "invalid-command",
        "malformed",
        "invalid-command",
        "OrderCreated",
        "OrderCreated",
    ]
    assert [answer.get("field") for answer in answers if answer.get("status") == 422] == [
        "last_qty",
        "account",
        "type",
        "command_id",
    ]
    assert answers[1]["command_id"] == command_id
    assert (answers[-2]["replayed"], answers[-2]["position"]) == (True, answers[1]["position"])
    assert answers[-1]["sequence"] == 5
    history = await engine.get(f"{AT}/orders/o-1/history")
    assert {event["actor"] for event in history["events"]} == {"desk"}


async def test_the_commands_of_an_account_stay_in_order(engine: Engine) -> None:
    """More lines than go into the bus at once, each depending on the one before."""
    accounts = [f"u{n}/binance/simulated" for n in range(7)]
    lines = [line("OpenAccount", account) for account in accounts]
    for n in range(80):
        for account in accounts:
            lines.append(place(f"o-{n}", account))
            lines.append(
                line(
                    "RecordExecution",
                    account,
                    order_id=f"o-{n}",
                    exec_type="TRADE",
                    exec_id="e",
                    last_qty="2",
                    last_px="1",
                )
            )
            lines.append(line("RequestCancel", account, order_id=f"o-{n}"))
    answers = await bulk(engine, b"".join(lines))
    assert codes(answers) == ["OrderBookCreated"] * 7 + ["OrderCreated", "OrderFilled", "order-closed"] * 560
    for number, account in enumerate(accounts):
        own = [answer["sequence"] for answer in answers if answer.get("account") == account]
        assert own == list(range(1, 162)), number


async def test_a_line_is_answered_before_the_next_is_sent(engine: Engine) -> None:
    """Read and answered as a stream, not as a whole."""
    await engine.open()
    host, port = engine.address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for n in range(3):
        content = place(f"o-{n}")
        # A chunk boundary inside the line
        writer.write(b"5\r\n%b\r\n%x\r\n%b\r\n" % (content[:5], len(content) - 5, content[5:]))
        await writer.drain()
        answer = await asyncio.wait_for(reader.readuntil(b'"replayed":false}\n'), 10)
        assert b'"sequence":%d' % (n + 2) in answer
    writer.write(b"0\r\n\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    writer.close()
    await writer.wait_closed()


async def test_a_client_may_send_all_before_it_reads_anything(engine: Engine) -> None:
    """More answers than fit into the sockets' buffers."""
    await engine.open()
    count = 40_000
    content = b'{"type":"RequestCancel","account":"nobody/x/live","order_id":"o"}\n' * count
    host, port = engine.address
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 26)
    head = HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(content)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(head + content)
    await asyncio.wait_for(writer.drain(), 60)
    while writer.transport.get_write_buffer_size():
        await asyncio.sleep(0.01)
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    answered = await asyncio.wait_for(reader.read(), 60)
    assert answered.count(b"unknown-account") == count
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_goes_away_leaves_the_engine_well(engine: Engine) -> None:
    await engine.open()
    host, port = engine.address
    _, writer = await asyncio.open_connection(host, port)
    content = b"".join(place(f"o-{n}") for n in range(2000))
    writer.write(HEAD + b"Content-Length: 9999999\r\n\r\n" + content)
    await writer.drain()
    writer.transport.abort()

    async def is_something_recorded() -> bool:
        return bool((await engine.get("/events", type="OrderCreated"))["events"])

    await until(is_something_recorded)
    assert (await engine.place("after"))["events"] == ["OrderCreated"]


async def test_a_line_of_more_than_1_mib_is_too_large_and_the_next_is_not(engine: Engine) -> None:
    long = b'{"type":"' + b"x" * (1 << 20) + b'"}\n'
    answers = await bulk(engine, line("OpenAccount") + long + place("o-1") + long.rstrip())
    assert codes(answers) == ["OrderBookCreated", "body-too-large", "OrderCreated", "body-too-large"]


async def test_a_body_of_more_than_64_mib_is_too_large(engine: Engine) -> None:
    host, port = engine.address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % ((64 << 20) + 1))
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
    assert b'"urn:foldbook:problem:body-too-large"' in await asyncio.wait_for(reader.readuntil(b"}"), 10)
    writer.close()
    await writer.wait_closed()

    async def chunks() -> AsyncIterator[bytes]:
        yield line("OpenAccount")
        for _ in range(65):
            yield b"\n" * (1 << 20)
        yield place("never")

    # Without a length, it shows on the way: what came before is answered, the last line is the problem.
    assert codes(await bulk(engine, chunks())) == ["OrderBookCreated", "body-too-large"]


async def test_headers_of_one_command_are_not_taken_for_many(engine: Engine) -> None:
    for name, value in (("Idempotency-Key", str(uuid4())), ("If-Match", '"1"')):
        response = await engine.client.post("/commands", content=b"", headers={**NDJSON, name: value})
        assert_problem(response, 400, "malformed", field=name.lower())


async def test_an_empty_body_has_an_empty_answer(engine: Engine) -> None:
    response: httpx.Response = await engine.client.post("/commands", content=b"", headers=NDJSON)
    assert (response.status_code, response.content) == (200, b"")
