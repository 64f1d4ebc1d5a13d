"""The counter as its users meet it: its calls, its lines, its read model, beside a book with the same id."""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import psycopg
import pytest

from foldbook.audit.verify import verify
from foldbook.engine.domains import TRADING, Domain
from foldbook.engine.wiring import projection_admin
from tests.api.conftest import Engine, assert_problem, projecting, serving, settings_for, until
from tests.eventstore.counter import counter
from tests.eventstore.counter.counter import COUNTER

FOLDER = Path(__file__).parent
COUNTING = Domain(COUNTER, [FOLDER / "counters.sql"])
BOTH = (TRADING, COUNTING)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    settings = settings_for(database)
    async with projecting(settings, BOTH), serving(settings, BOTH) as running:
        yield running


def total_of(dsn: str, counter_id: str) -> int | None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select total from read.counters where counter_id = %s", [counter_id]).fetchone()
        return None if row is None else row[0]


async def test_a_counter_is_counted_over_http(engine: Engine, database: str) -> None:
    done = await engine.post("/counters/c1/add", {"amount": 3})
    assert (done["counter_id"], done["sequence"], done["events"]) == ("c1", 1, ["Added"])
    again = {"Idempotency-Key": "0190a7c5-0000-7000-8000-000000000001"}
    assert not (await engine.post("/counters/c1/add", {"amount": 4}, **again))["replayed"]
    assert (await engine.post("/counters/c1/add", {"amount": 4}, **again))["replayed"]
    assert_problem(await engine.client.post("/counters/c1/add", json={"amount": 999}), 409, "counter-too-high", total=7)
    assert_problem(await engine.client.post("/counters/c1/add", json={"amount": "1"}), 400, "malformed", path="amount")
    assert_problem(await engine.client.post("/counters/C/add", json={"amount": 1}), 422, "invalid-command")
    assert_problem(await engine.client.get("/counters/c1/add"), 405, "method-not-allowed")

    lines = [
        {"type": "Add", "counter_id": "c1", "amount": 1},
        {"type": "OpenAccount", "account": "alice/binance/simulated"},
        {"type": "Add", "counter_id": "alice/binance/simulated", "amount": 9},
        {"type": "Add", "counter_id": "c1", "amount": 1000},
    ]
    body = b"\n".join(map(msgspec.json.encode, lines))
    response = await engine.client.post("/commands", content=body, headers={"Content-Type": "application/x-ndjson"})
    first, opened, same_id, refused = map(msgspec.json.decode, response.content.splitlines())
    assert (first["sequence"], opened["account"], same_id["sequence"]) == (3, "alice/binance/simulated", 1)
    assert refused["type"] == "urn:foldbook:problem:counter-too-high"

    async def is_projected() -> bool:
        return total_of(database, "c1") == 8 and total_of(database, "alice/binance/simulated") == 9

    await until(is_projected)
    await engine.place()
    account = await engine.get("/accounts/alice/binance/simulated", min_position=6)
    assert (account["open_orders"], account["sequence"]) == (1, 2), "the book's own events"
    events = await engine.get("/events", aggregate_id="alice/binance/simulated", aggregate_type="counter")
    assert [event["type"] for event in events["events"]] == ["Added"]


async def test_what_is_kept_of_it_is_verified_and_rebuilt(engine: Engine, database: str) -> None:
    await engine.open()
    for _ in range(5):
        await engine.post("/counters/c1/add", {"amount": 2})
    assert all(shard.ok for shard in (await verify(database)).shards)
    admin = projection_admin(engine.settings, BOTH)
    for name in ("counters", "orders", "positions"):
        assert (await admin.verify(name)).equal
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update read.counters set total = 11")
    found = await admin.verify("counters")
    assert (found.equal, found.rows_different) == (False, 1)
    await admin.rebuild("counters")
    assert total_of(database, "c1") == 10
    await admin.stop()


async def test_it_is_documented_like_any_other(engine: Engine) -> None:
    document = (await engine.client.get("/openapi.json")).json()
    call: dict[str, Any] = document["paths"]["/counters/{counter_id}/add"]["post"]
    assert call["description"] == "Add to a counter, which begins at 0."
    assert "counter-too-high" in call["responses"]["409"]["description"]


def test_it_takes_forty_lines_and_none_of_trading() -> None:
    lines = code_lines(counter) + [
        line for line in (FOLDER / "counters.sql").read_text().splitlines() if line and not line.startswith("--")
    ]
    assert len(lines) <= 40
    assert "trading" not in inspect.getsource(counter)


def code_lines(module: ModuleType) -> list[int]:
    """The lines of a module that hold code, imports and docstrings aside."""
    source = inspect.getsource(module)
    found: dict[int, None] = {}
    is_start = True
    skipped = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            continue
        if is_start:
            skipped = token.string in ("import", "from") or token.type == tokenize.STRING
        is_start = token.type == tokenize.NEWLINE
        if not skipped and not is_start:
            found |= dict.fromkeys(range(token.start[0], token.end[0] + 1))
    return list(found)
