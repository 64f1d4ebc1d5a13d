"""What operators see of the gateways, and decide about doubts."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.postgres_store import LeaseEpoch, LeaseLost, PostgresStore
from foldbook.postgres.connection import connect
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.values import RequestKind
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem
from tests.builders import attempt, in_doubt
from tests.eventstore.test_store_contract import fates, opened


async def lease(engine: Engine, status: str = "{}", duration_ms: int = 60_000) -> int:
    """A gateway takes the simulated accounts."""
    connection = await connect(engine.settings.dsn)
    try:
        epoch: int = await connection.fetchval(
            "select eventstore.acquire_lease('gateway:simulated', 'process 1', $1)", duration_ms
        )
        await connection.execute(
            "select eventstore.renew_lease('gateway:simulated', 'process 1', $1, $2, $3)",
            epoch,
            duration_ms,
            status.encode(),
        )
        return epoch
    finally:
        await connection.close()


async def doubt(engine: Engine, order_id: str = "o-1") -> dict[str, Any]:
    """An order of which nobody knows whether it arrived."""
    store = PostgresStore(engine.settings.dsn)
    bus = CommandBus(store, ORDER_BOOK)
    await bus.start()
    try:
        await bus.execute(attempt(order_id, client_order_id=f"{order_id}:1"))
        result = await bus.execute(in_doubt(order_id, reason="no answer within 2 s"))
    finally:
        await bus.stop()
        await store.close()
    return await engine.get(f"{AT}/orders/{order_id}", min_position=result.position)


async def test_an_order_shows_its_doubt_and_an_operator_resolves_it(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    shown = await doubt(engine)
    (in_order,) = shown["doubts"]
    assert (in_order["request"], in_order["attempt"], in_order["reason"]) == ("SUBMIT", 1, "no answer within 2 s")
    (listed,) = (await engine.get("/admin/doubts"))["doubts"]
    assert (listed["id"], listed["account"], listed["order_id"]) == (in_order["doubt_id"], ACCOUNT, "o-1")
    assert (listed["status"], listed["request"]) == ("PENDING_NEW", RequestKind.SUBMIT)
    assert (await engine.get("/admin/doubts", account="bob/binance/simulated"))["doubts"] == []
    for account in ("alice", "alice/binance", "alice/binance/nobody", "\0", "a" * 200):
        assert_problem(await engine.client.get("/admin/doubts", params={"account": account}), 400, "malformed")
    assert (await engine.get("/health/ready"))["doubts"] == 1
    assert 'foldbook_doubts{broker="simulated"} 1.0' in (await engine.client.get("/metrics")).text

    decision = {"outcome": "REJECTED", "reason": "it is not on the screen"}
    resolved = await engine.post(f"/admin/doubts/{listed['id']}/resolve", decision, **{"X-Actor": "operator-1"})
    assert resolved["events"] == ["OrderDoubtResolved", "OrderRejected"]
    after = await engine.get(f"{AT}/orders/o-1", min_position=resolved["position"])
    assert (after["status"], after["doubts"], after["reason"]) == ("REJECTED", [], "it is not on the screen")
    history = await engine.get(f"{AT}/orders/o-1/history")
    assert history["events"][-1]["actor"] == "operator-1"
    again = await engine.client.post(f"/admin/doubts/{listed['id']}/resolve", json=decision)
    assert_problem(again, 404, "unknown-doubt")


async def test_what_is_no_decision_is_refused(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    await doubt(engine)
    (listed,) = (await engine.get("/admin/doubts"))["doubts"]
    bodies: list[Any] = [{}, {"outcome": "ANSWERED"}, {"outcome": "REJECTED", "because": "x"}, {"outcome": None}, []]
    for body in bodies:
        answer = await engine.client.post(f"/admin/doubts/{listed['id']}/resolve", json=body)
        assert answer.status_code in (400, 422), answer.text
    unknown = await engine.client.post(f"/admin/doubts/{uuid4()}/resolve", json={"outcome": "REJECTED"})
    assert_problem(unknown, 404, "unknown-doubt")
    assert len((await engine.get("/admin/doubts"))["doubts"]) == 1


async def test_gateways_are_shown_with_what_they_say(engine: Engine) -> None:
    await engine.open()
    assert (await engine.get("/admin/gateways"))["gateways"] == []
    await lease(engine, '{"state": "working", "accounts": 3, "ready": 2, "checkpoints": {"0": 0}, "sent": 7}')
    (gateway,) = (await engine.get("/admin/gateways"))["gateways"]
    assert (gateway["broker"], gateway["state"], gateway["holder"]) == ("simulated", "working", "process 1")
    assert (gateway["accounts"], gateway["ready"], gateway["lag"], gateway["epoch"]) == (3, 2, 1, 1)
    assert gateway["details"] == {"sent": 7}
    assert (await engine.get("/health/ready"))["gateways"] == {"simulated": "working"}
    metrics = (await engine.client.get("/metrics")).text
    assert 'foldbook_gateway_is_working{broker="simulated"} 1.0' in metrics
    assert 'foldbook_gateway_lag{broker="simulated"} 1.0' in metrics


async def test_a_gateway_whose_lease_is_over_is_dead(engine: Engine) -> None:
    await lease(engine, '{"state": "working"}', duration_ms=1)
    await asyncio.sleep(0.01)
    (gateway,) = (await engine.get("/admin/gateways"))["gateways"]
    assert gateway["state"] == "dead"
    await engine.open()
    assert_problem(await engine.client.post(f"{AT}/reconcile"), 409, "not-worked")


async def test_a_reconciliation_is_asked_for_and_answered(engine: Engine) -> None:
    assert_problem(await engine.client.post(f"{AT}/reconcile"), 404, "unknown-account")
    await engine.open()
    assert_problem(await engine.client.post(f"{AT}/reconcile"), 409, "not-worked")
    await lease(engine, '{"state": "working"}')
    asking = asyncio.create_task(engine.client.post(f"{AT}/reconcile"))
    connection = await asyncpg.connect(engine.settings.dsn)
    try:
        while not (rows := await connection.fetch("select * from brokers.open_reconciliations('simulated')")):
            await asyncio.sleep(0.01)
        ((account, number),) = rows
        assert account == ACCOUNT
        result = '{"mismatches": {}}'
        await connection.execute("select brokers.finish_reconciliation($1, $2, $3)", account, number, result)
        assert await connection.fetch("select * from brokers.open_reconciliations('simulated')") == []
    finally:
        await connection.close()
    answer = await asking
    assert answer.status_code == 200
    assert answer.json() == {"account": ACCOUNT, "number": 1, "is_done": True, "result": {"mismatches": {}}}


async def test_a_lease_has_one_holder_and_an_append_under_an_old_epoch_is_refused(engine: Engine) -> None:
    connection = await connect(engine.settings.dsn)
    old, current = (
        PostgresStore(engine.settings.dsn, lease=LeaseEpoch("gateway:simulated", holder, epoch))
        for holder, epoch in (("one", 1), ("two", 2))
    )
    # After a failover to a replica that lagged behind, two may have had the same epoch.
    namesake = PostgresStore(engine.settings.dsn, lease=LeaseEpoch("gateway:simulated", "one", 2))
    try:
        take = "select eventstore.acquire_lease('gateway:simulated', $1, $2)"
        assert await connection.fetchval(take, "one", 60_000) == 1
        assert await connection.fetchval(take, "two", 60_000) is None
        renew = "select eventstore.renew_lease('gateway:simulated', $1, $2, $3, '{}')"
        assert await connection.fetchval(renew, "one", 1, 1) is True
        while (epoch := await connection.fetchval(take, "two", 60_000)) is None:
            await asyncio.sleep(0.01)
        assert epoch == 2
        for other in (("one", 1), ("one", 2), ("two", 1)):
            assert await connection.fetchval(renew, *other, 1000) is False
            await connection.execute("select eventstore.release_lease('gateway:simulated', $1, $2)", *other)
        assert await connection.fetchval(renew, "two", 2, 1000) is True
        for store in (old, namesake):
            with pytest.raises(LeaseLost):
                await store.append(0, [opened()])
        assert fates(await current.append(0, [opened()])) == ["appended"]
    finally:
        for store in (old, namesake, current):
            await store.close()
        await connection.close()
