"""Retries and conditions: the same command once, a command on one sequence only."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
from pydantic import SecretStr

from foldbook.config import Settings
from tests.api.conftest import AT, Engine, assert_problem, order, serving


async def test_a_retry_with_the_same_key_is_answered_with_the_first_result(engine: Engine) -> None:
    await engine.open()
    headers = {"Idempotency-Key": str(uuid4())}
    first = await engine.client.post(f"{AT}/orders", json=order(), headers=headers)
    assert first.status_code == 201
    again = await engine.client.post(f"{AT}/orders", json=order(), headers=headers)
    assert (again.status_code, again.headers["etag"]) == (200, first.headers["etag"])
    assert again.json() == {**first.json(), "replayed": True}
    assert first.json()["command_id"] == headers["Idempotency-Key"]


async def test_equal_amounts_are_equal_content(engine: Engine) -> None:
    await engine.open()
    headers = {"Idempotency-Key": str(uuid4())}
    await engine.client.post(f"{AT}/orders", json=order(quantity="1.50"), headers=headers)
    again = await engine.client.post(f"{AT}/orders", json=order(quantity="01.5"), headers=headers)
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    same_order = await engine.client.post(f"{AT}/orders", json=order(quantity="1.5"))
    assert (same_order.status_code, same_order.json()["replayed"]) == (200, True)


async def test_the_same_key_with_other_content_is_a_conflict(engine: Engine) -> None:
    await engine.open()
    headers = {"Idempotency-Key": str(uuid4())}
    await engine.client.post(f"{AT}/orders", json=order("o-1"), headers=headers)
    response = await engine.client.post(f"{AT}/orders", json=order("o-2"), headers=headers)
    assert_problem(response, 409, "idempotency-conflict")


async def test_a_refusal_is_repeated_too(engine: Engine) -> None:
    await engine.open()
    headers = {"Idempotency-Key": str(uuid4())}
    first = await engine.client.post(f"{AT}/orders/o-1/cancel", headers=headers)
    assert_problem(first, 404, "unknown-order")
    await engine.place("o-1")
    again = await engine.client.post(f"{AT}/orders/o-1/cancel", headers=headers)
    assert again.json() == first.json()


async def test_without_a_key_the_command_gets_an_id_of_its_own(engine: Engine) -> None:
    await engine.open()
    first, second = await engine.place("o-1"), await engine.place("o-2")
    assert UUID(first["command_id"]).version == UUID(second["command_id"]).version == 7
    assert first["command_id"] != second["command_id"]


async def test_a_command_is_conditional_on_the_sequence(engine: Engine) -> None:
    await engine.open()
    stale = await engine.client.post(f"{AT}/orders", json=order(), headers={"If-Match": '"0"'})
    assert_problem(stale, 412, "sequence-conflict", expected=0, actual=1)
    current = await engine.client.post(f"{AT}/orders", json=order(), headers={"If-Match": '"1"'})
    assert (current.status_code, current.headers["etag"]) == (201, '"2"')


async def test_of_100_commands_on_one_sequence_exactly_one_wins(engine: Engine) -> None:
    await engine.open()
    responses = await asyncio.gather(
        *(engine.client.post(f"{AT}/orders", json=order(f"o-{n}"), headers={"If-Match": '"1"'}) for n in range(100))
    )
    assert sorted(response.status_code for response in responses) == [201] + [412] * 99
    assert (await engine.get("/events"))["head"] == 2


async def test_more_than_the_queue_holds_is_refused_at_once(database: str) -> None:
    settings = Settings(database_url=SecretStr(database), queue_max=1)
    async with serving(settings) as engine:
        await engine.open()
        other_writer = await asyncpg.connect(database)
        await other_writer.execute("begin; select from eventstore.shards where shard = 0 for no key update")
        calls = [asyncio.create_task(engine.client.post(f"{AT}/orders", json=order(f"o-{n}"))) for n in range(100)]
        while sum(call.done() for call in calls) < 50:  # those that found no room; the others wait for the lock
            await asyncio.sleep(0.01)
        await other_writer.close()
        responses = await asyncio.gather(*calls)
        refused = [response for response in responses if response.status_code == 503]
        assert refused
        for response in refused:
            assert_problem(response, 503, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
        accepted = [response for response in responses if response.status_code == 201]
        assert len(accepted) + len(refused) == 100
        assert (await engine.get("/events", type="OrderCreated"))["head"] == 1 + len(accepted)
