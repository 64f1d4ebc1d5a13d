"""Admin of projections, health, metrics, the OpenAPI document and its page, stopping."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import psycopg
import pytest

from foldbook.postgres.embedded import EmbeddedPostgres
from foldbook.postgres.migrations import migrate
from foldbook.resources import projection_files
from tests.api.conftest import AT, Engine, assert_problem, order, projecting, serving, settings_for, until

PROJECTIONS = sorted(path.stem for path in projection_files())

READY = {"status": "ready", "gateways": {}, "doubts": 0, "relays": {}, "log_clock_ahead_s": 0.0, "lost": []}
"""No gateway has ever worked here."""


async def test_projections_are_listed_with_their_lag(engine: Engine) -> None:
    await engine.open()
    position = (await engine.place())["position"]
    await engine.get(f"{AT}/orders/o-1", min_position=position)
    projections = (await engine.get("/admin/projections"))["projections"]
    assert [projection["name"] for projection in projections] == PROJECTIONS
    (orders,) = [projection for projection in projections if projection["name"] == "orders"]
    assert (orders["checkpoint"], orders["head"], orders["lag"], orders["state"]) == (position, position, 0, "live")
    assert re.fullmatch("[0-9a-f]{64}", orders["definition_hash"])
    assert orders["error"] is None
    assert await engine.get("/admin/projections/orders") == orders


@pytest.mark.parametrize("kind", ["reset", "rebuild"])
async def test_a_projection_is_made_afresh(engine: Engine, kind: str) -> None:
    await engine.open()
    for n in range(20):
        position = (await engine.place(f"o-{n}"))["position"]
    before = await engine.get(f"{AT}/orders", min_position=position)

    response = await engine.client.post(f"/admin/projections/orders/{kind}")
    assert (response.status_code, response.headers["location"]) == (202, "/admin/projections/orders")
    assert response.json()["run"]["kind"] == kind

    async def is_finished() -> bool:
        run = (await engine.get("/admin/projections/orders"))["run"]
        assert run["error"] is None
        return bool(run["state"] == "finished")

    await until(is_finished)
    run = (await engine.get("/admin/projections/orders"))["run"]
    assert (run["kind"], run["events_done"], run["events_total"]) == (kind, 21, 21)
    assert await engine.get(f"{AT}/orders", min_position=position) == before


async def test_verification_finds_what_was_tampered_with(engine: Engine) -> None:
    await engine.open()
    position = (await engine.place())["position"]
    await engine.get(f"{AT}/orders/o-1", min_position=position)
    sound = await engine.client.post("/admin/projections/orders/verify")
    assert sound.status_code == 200
    assert sound.json() == {"equal": True, "rows": 2, "rows_different": 0, "differences": []}

    with psycopg.connect(engine.settings.dsn) as connection:
        connection.execute("update read.orders set quantity = 7")
    tampered = (await engine.client.post("/admin/projections/orders/verify")).json()
    assert (tampered["equal"], tampered["rows_different"]) == (False, 1)
    (difference,) = tampered["differences"]
    assert (str(difference["live"]["quantity"]), str(difference["fresh"]["quantity"])) == ("7", "2")


async def test_an_event_is_skipped(engine: Engine) -> None:
    skip = {"position": 1, "reason": "a broker's mistake"}
    call = "/admin/projections/orders/skip"
    not_stopped = await engine.client.post(call, json=skip)
    assert_problem(not_stopped, 409, "projection-not-stopped")
    assert_problem(await engine.client.post("/admin/projections/nothing/skip", json=skip), 404, "unknown-projection")
    for wrong in ({"position": 1}, skip | {"position": 0}, skip | {"reason": ""}, skip | {"why": "so"}):
        assert_problem(await engine.client.post(call, json=wrong), 400, "malformed")

    await engine.open()
    await engine.get(AT, min_position=1)
    with psycopg.connect(engine.settings.dsn) as connection:  # what a projector leaves that stopped there
        connection.execute(
            "update eventstore.subscriptions set checkpoint = 0, error = %s where name = 'orders'",
            ['{"position": 1, "sqlstate": "22012", "message": "m", "attempts": 1, "since": "2026-01-02T03:04:05Z"}'],
        )
    skipped = await engine.client.post(call, json=skip, headers={"X-Actor": "olivia"})
    assert skipped.status_code == 200, skipped.text
    projection = skipped.json()
    assert (projection["checkpoint"], projection["state"], projection["skipped"]) == (1, "live", 1)
    with psycopg.connect(engine.settings.dsn) as connection:
        letters = connection.execute("select position, reason, actor from eventstore.dead_letters").fetchall()
    assert letters == [(1, "a broker's mistake", "olivia")]


async def test_two_runs_of_one_projection_do_not_meet(engine: Engine) -> None:
    with psycopg.connect(engine.settings.dsn) as connection:
        # As a rebuild in another process holds it.
        row = connection.execute("select eventstore.projection_take_turn('fills')").fetchone()
        assert row == (True,)
        for call in ("reset", "rebuild", "verify"):
            assert_problem(await engine.client.post(f"/admin/projections/fills/{call}"), 409, "projection-busy")
    for call in ("reset", "rebuild", "verify"):
        response = await engine.client.post(f"/admin/projections/nothing/{call}")
        assert_problem(response, 404, "unknown-projection")


async def test_it_is_ready_once_the_read_tables_are_there(empty_database: str) -> None:
    migrate(empty_database, shard_count=1)
    settings = settings_for(empty_database)
    async with serving(settings) as engine:
        assert (await engine.get("/health/live")) == {"status": "live"}
        assert_problem(await engine.client.get("/health/ready"), 503, "not-ready")
        unready = await engine.client.get(f"{AT}/orders")
        assert_problem(unready, 503, "unavailable")
        assert unready.headers["retry-after"] == "1"
        async with projecting(settings):
            assert (await engine.get("/health/ready")) == READY


async def test_without_its_database_it_says_so_and_recovers(own_postgres: EmbeddedPostgres) -> None:
    settings = settings_for(own_postgres.dsn)
    async with projecting(settings), serving(settings) as engine:
        await engine.open()
        own_postgres.stop()
        assert_problem(await engine.client.get("/health/ready"), 503, "not-ready")
        unavailable = await engine.client.get("/events")
        assert_problem(unavailable, 503, "unavailable")
        assert unavailable.headers["retry-after"] == "1"
        assert await engine.get("/health/live") == {"status": "live"}
        assert "foldbook_commands_total" in (await engine.client.get("/metrics")).text

        waiting = asyncio.create_task(engine.client.post(f"{AT}/orders", json=order()))
        await asyncio.to_thread(own_postgres.start)
        answer = await waiting
        assert answer.status_code == 201
        order_read = await engine.client.get(f"{AT}/orders/o-1", params={"min_position": answer.json()["position"]})
        assert order_read.status_code == 200
        assert await engine.get("/health/ready") == READY


async def test_metrics_count_what_happened(engine: Engine) -> None:
    await engine.open()
    await engine.place()
    await engine.client.post(f"{AT}/orders", json=order("o-2", quantity="-1"))
    await engine.client.get("/nothing")
    response = await engine.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    found = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if not line.startswith("#"))
    orders = "/accounts/{user}/{exchange}/{broker}/orders"
    assert float(found["foldbook_commands_total"]) == 3
    assert 1 <= float(found["foldbook_commits_total"]) <= 3
    assert float(found[f'foldbook_http_requests_total{{method="POST",path="{orders}",status="201"}}']) == 1
    assert float(found[f'foldbook_http_requests_total{{method="POST",path="{orders}",status="422"}}']) == 1
    assert float(found['foldbook_http_requests_total{method="GET",path="unknown",status="404"}']) == 1
    assert {name for name in found if name.startswith("foldbook_projection_lag")} == {
        f'foldbook_projection_lag{{projection="{name}",shard="0"}}' for name in PROJECTIONS
    }
    assert {"foldbook_commands_queued", "foldbook_commands_in_flight", "foldbook_conflicts_total"} <= found.keys()


async def test_the_openapi_document_describes_every_call(engine: Engine) -> None:
    document = await engine.get("/openapi.json")
    assert document["openapi"].startswith("3.1")
    of_account = "/accounts/{user}/{exchange}/{broker}"
    assert set(document["paths"]) == {
        "/accounts",
        of_account,
        f"{of_account}/book",
        f"{of_account}/orders",
        f"{of_account}/orders/{{order_id}}",
        f"{of_account}/orders/{{order_id}}/cancel",
        f"{of_account}/orders/{{order_id}}/replace",
        f"{of_account}/orders/{{order_id}}/history",
        f"{of_account}/execution-reports",
        f"{of_account}/exceptions",
        f"{of_account}/positions",
        f"{of_account}/positions/{{symbol}}",
        f"{of_account}/positions/{{symbol}}/history",
        f"{of_account}/cycles",
        f"{of_account}/lots",
        f"{of_account}/ledger",
        f"{of_account}/ledger/balances",
        f"{of_account}/adjustments",
        f"{of_account}/risk",
        f"{of_account}/halt",
        f"{of_account}/reduce",
        f"{of_account}/resume",
        f"{of_account}/instruments",
        f"{of_account}/instruments/{{symbol}}",
        f"{of_account}/prices",
        f"{of_account}/prices/{{symbol}}",
        "/commands",
        "/stream/events",
        "/stream/market",
        "/fills",
        "/events",
        "/admin/projections",
        "/admin/projections/{name}",
        "/admin/projections/{name}/reset",
        "/admin/projections/{name}/rebuild",
        "/admin/projections/{name}/verify",
        "/admin/projections/{name}/skip",
        "/admin/log/verify",
        "/admin/gateways",
        "/admin/relays",
        "/admin/dead-letters",
        "/admin/dead-letters/{letter_id}/retry",
        "/keys",
        "/keys/{key_id}",
        "/session",
        "/admin/doubts",
        "/admin/doubts/{doubt_id}/resolve",
        f"{of_account}/reconcile",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    place = document["paths"][f"{of_account}/orders"]["post"]
    body = _resolved(document, place["requestBody"]["content"]["application/json"]["schema"])
    assert {"order_id", "side", "quantity", "limit_price", "expire_at"} <= set(body["properties"])
    assert set(body["required"]) == {"strategy_id", "symbol", "side", "order_type"}
    answer = _resolved(document, place["responses"]["201"]["content"]["application/json"]["schema"])
    assert {"account", "shard", "position", "sequence", "events", "command_id", "replayed"} == set(answer["properties"])
    assert {"400", "404", "409", "412", "413", "415", "422", "503"} <= set(place["responses"])
    problem = place["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert {"type", "title", "status", "detail"} <= set(_resolved(document, problem)["properties"])
    assert {parameter["name"] for parameter in place["parameters"]} == {
        "user",
        "exchange",
        "broker",
        "Idempotency-Key",
        "If-Match",
        "X-Actor",
        "X-Correlation-Id",
    }
    lines = document["paths"]["/commands"]["post"]["requestBody"]["content"]["application/x-ndjson"]["schema"]
    assert set(lines["discriminator"]["mapping"]) == {
        "AdjustAccount",
        "OpenAccount",
        "PlaceOrder",
        "RequestCancel",
        "RequestReplace",
        "RecordExecution",
        "RecordAttempt",
        "RecordDoubt",
        "ResolveDoubt",
        "RecordHolding",
        "DefineInstrument",
        "SetRiskLimits",
        "SetTradingState",
        "RecordPrice",
    }
    answers = document["paths"]["/commands"]["post"]["responses"]["200"]["content"]["application/x-ndjson"]["schema"]
    assert len(answers["anyOf"]) == 2
    assert set(place["responses"]["201"]["headers"]) == {"ETag", "Location"}
    assert set(document["paths"][of_account]["get"]["responses"]["200"]["headers"]) == {"X-Position"}
    assert _references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema["$ref"].removeprefix("#/components/schemas/")
    found: dict[str, Any] = document["components"]["schemas"][name]
    return found


def _references(document: object) -> set[str]:
    return set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))


async def test_the_page_comes_from_here_alone(engine: Engine) -> None:
    page = await engine.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    files = re.findall(r'(?:src|href)="(/[^"]*)"', page.text)
    assert len(files) == 3
    for path in files:
        response = await engine.client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
    assert '"/openapi.json"' in (await engine.client.get("/docs/docs.js")).text


async def test_what_was_asked_before_a_stop_is_answered(database: str) -> None:
    settings = settings_for(database)
    async with serving(settings) as engine:
        await engine.open()
        before = engine.server.server_state.total_requests
        asked = [asyncio.create_task(engine.client.post(f"{AT}/orders", json=order(f"o-{n}"))) for n in range(80)]

        async def is_one_answered() -> bool:
            return engine.server.server_state.total_requests > before

        await until(is_one_answered)
        engine.server.should_exit = True
        answers = await asyncio.gather(*asked, return_exceptions=True)
    # Late requests found the port closed; every request that was accepted was answered.
    late = [answer for answer in answers if isinstance(answer, httpx.TransportError)]
    accepted = [answer for answer in answers if isinstance(answer, httpx.Response) and answer.status_code == 201]
    assert len(late) + len(accepted) == 80
    assert len(accepted) >= 1
    with psycopg.connect(settings.dsn) as connection:
        row = connection.execute("select count(*) from eventstore.events where type = 'OrderCreated'").fetchone()
    assert row == (len(accepted),)
