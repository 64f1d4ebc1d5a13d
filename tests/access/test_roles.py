"""Every way in, asked with every role: what is answered is what the table in ``docs/access.md`` says.

A way in without a row, or a row without an example here, fails. "Allowed" is every answer that access has nothing to do
with, such as that a projection of this name does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from foldbook.access.roles import Role
from foldbook.api.access_table import ALLOWED, HIDDEN, IN_PATH, Way, ways_in
from foldbook.api.commands import bulk
from foldbook.api.streams import market
from foldbook.engine.domains import DOMAINS, commands_of
from tests.access.conftest import OF_EVERYTHING, Guarded, bearer
from tests.access.wire import JSON, WAYS, Answer, json_body, send
from tests.access.wire import Way as Taken

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLE = ways_in(commands_of(DOMAINS))

OWN = "alice/binance/simulated"
FOREIGN = "bob/binance/simulated"

IN_PATHS = {
    "order_id": "o-1",
    "symbol": "BTC-USDT",
    "name": "none",
    "key_id": "0" * 12,
    "doubt_id": "none",
    "letter_id": "019a0000-0000-7000-8000-000000000000",
}
ORDER = {"strategy_id": "s", "symbol": "BTC-USDT", "side": "BUY", "order_type": "MARKET", "quantity": "1"}
OF_ACCOUNT = "/accounts/{user}/{exchange}/{broker}"
BODIES: dict[str, Any] = {
    "POST /accounts": {"user": "NEW", "exchange": "binance", "broker": "simulated"},
    f"POST {OF_ACCOUNT}/orders": ORDER,
    f"POST {OF_ACCOUNT}/orders/{{order_id}}/cancel": {},
    f"POST {OF_ACCOUNT}/orders/{{order_id}}/replace": {"quantity": "2"},
    f"POST {OF_ACCOUNT}/execution-reports": {
        "order_id": "o-1",
        "exec_type": "TRADE",
        "exec_id": "NEW",
        "last_qty": "1",
        "last_px": "1",
    },
    f"POST {OF_ACCOUNT}/adjustments": {"kind": "CASH", "currency": "USDT", "amount": "1", "reference": "NEW"},
    f"PUT {OF_ACCOUNT}/instruments/{{symbol}}": {"tick_size": "0.01"},
    f"PUT {OF_ACCOUNT}/prices/{{symbol}}": {"price": "1"},
    f"PUT {OF_ACCOUNT}/risk": {"max_open_orders": 1000},
    f"POST {OF_ACCOUNT}/halt": {},
    f"POST {OF_ACCOUNT}/reduce": {},
    f"POST {OF_ACCOUNT}/resume": {},
    f"POST {OF_ACCOUNT}/reconcile": {},
    "POST /commands": {"type": "RequestCancel", "account": OWN, "order_id": "o-1"},
    "POST /admin/projections/{name}/reset": {},
    "POST /admin/projections/{name}/rebuild": {},
    "POST /admin/projections/{name}/verify": {},
    "POST /admin/projections/{name}/skip": {"position": 1, "reason": "x"},
    "POST /admin/doubts/{doubt_id}/resolve": {"outcome": "REJECTED"},
    "POST /admin/dead-letters/{letter_id}/retry": {},
    "POST /keys": {"name": "NEW", "roles": ["reader"]},
    "DELETE /keys/{key_id}": None,
    "POST /session": {},
    "DELETE /session": None,
}
UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
]
QUERIES = {f"{OF_ACCOUNT}/cycles": {"symbol": "BTC-USDT"}}

_numbers = count(1)


class Example(NamedTuple):
    """A request that makes use of a way in."""

    method: str
    path: str
    body: bytes | None

    @classmethod
    def of(cls, way: Way, account: str) -> Example:
        """One of its own: what it makes is new."""
        user, exchange, broker = account.split("/")
        path = way.path.format(user=user, exchange=exchange, broker=broker, **IN_PATHS)
        parameters = QUERIES.get(way.path, {}) | ({} if way.account in (None, IN_PATH) else {way.account: account})
        text = None
        if way.method not in ("GET", "HEAD"):
            body = BODIES[f"{way.method} {way.path}"]
            text = None if body is None else json_body(body).replace(b"NEW", b"n%d" % next(_numbers))
        return cls(way.method, f"{path}?{urlencode(parameters)}" if parameters else path, text)

    async def ask(self, guarded: Guarded, key: str | None, taken: Taken) -> Answer:
        headers = [*({} if key is None else bearer(key)).items(), *([] if self.body is None else [JSON])]
        if self.path == market.PATH:
            headers += UPGRADE
        return await send(guarded.engine, self.method, self.path, headers, self.body, taken)


def class_of(answer: Answer) -> str:
    """The word of the table for an answer."""
    if answer.status == 404:
        return HIDDEN if answer.code == "unknown-account" else ALLOWED
    return str(answer.status) if answer.status in (401, 403) else ALLOWED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held(shared: Guarded) -> dict[Role, str]:
    """A key of each role, for alice's accounts."""
    return {role: await shared.issue(f"the-{role}", role) for role in Role}


async def test_every_role_may_do_what_the_table_says(shared: Guarded, held: dict[Role, str]) -> None:
    await shared.open(OWN)
    await shared.open(FOREIGN)
    await shared.ask(shared.operator, "POST", f"/accounts/{OWN}/orders", json={**ORDER, "order_id": "o-1"})
    wrong = []
    for way in TABLE:
        for role, account, taken in questions(way):
            answer = await Example.of(way, account).ask(shared, None if role is None else held[role], taken)
            expected = way.answer(role, is_own=account == OWN)
            if class_of(answer) != expected:
                wrong.append((way.method, way.path, role, account, taken, expected, answer.status, answer.body))
    assert wrong == []


def questions(way: Way) -> Iterator[tuple[Role | None, str, Taken]]:
    for role in (None, *Role):
        for account in (OWN, FOREIGN) if way.account is not None else (OWN,):
            for taken in WAYS if BODIES.get(f"{way.method} {way.path}") is not None else WAYS[:1]:
                yield role, account, taken


async def test_what_a_role_may_do_succeeds(shared: Guarded, held: dict[Role, str]) -> None:
    """So that "allowed" in the table is worth something."""
    at = f"/accounts/{OWN}"
    done: dict[Role, list[tuple[str, str, Any]]] = {
        Role.TRADER: [("POST", f"{at}/orders", {**ORDER, "order_id": "mine"}), ("GET", f"{at}/book", None)],
        Role.RISK: [("PUT", f"{at}/risk", {"max_open_orders": 1000}), ("GET", f"{at}/risk", None)],
        Role.BROKER: [("PUT", f"{at}/prices/BTC-USDT", {"price": "2"})],
        Role.READER: [("GET", "/fills", None), ("GET", "/events", None)],
        Role.AUDITOR: [("GET", "/admin/log/verify", None), ("GET", "/keys", None), ("GET", f"{at}/book", None)],
        Role.OPERATOR: [("POST", f"{at}/orders/mine/cancel", {}), ("GET", "/keys", None)],
    }
    for role, requests in done.items():
        for method, path, body in requests:
            answer = await shared.ask(held[role], method, path, json=body)
            assert answer.status_code in (200, 201), (role, method, path, answer.text)


async def test_the_account_of_somebody_else_is_one_that_does_not_exist(shared: Guarded, held: dict[Role, str]) -> None:
    """Byte for byte: before it exists, and as an operator is told of an account that does not."""
    hidden = "hidden/binance/simulated"
    asked = [
        (way, role, taken)
        for way in TABLE
        if way.account is not None
        for role, account, taken in questions(way)
        if account == FOREIGN and role is not None and role not in OF_EVERYTHING
    ]
    before = [await Example.of(way, hidden).ask(shared, held[role], taken) for way, role, taken in asked]
    missing = [await Example.of(way, hidden).ask(shared, held[Role.OPERATOR], taken) for way, _, taken in asked]
    await shared.open(hidden)
    after = [await Example.of(way, hidden).ask(shared, held[role], taken) for way, role, taken in asked]
    for (way, role, taken), first, absent, last in zip(asked, before, missing, after, strict=True):
        assert class_of(last) == way.answer(role, is_own=False) != ALLOWED, (way, role, taken, last)
        assert last.seen == first.seen, (way, role, taken)
        if way.account == IN_PATH:
            assert last.seen == absent.seen, (way, role, taken)


async def test_a_line_is_answered_as_its_call_would_be(shared: Guarded, held: dict[Role, str]) -> None:
    lines = [
        {"type": "RequestCancel", "account": OWN, "order_id": "none"},
        {"type": "RequestCancel", "account": FOREIGN, "order_id": "none"},
        {"type": "RequestCancel", "account": "nobody/binance/simulated", "order_id": "none"},
        {"type": "SetTradingState", "account": OWN, "state": "ACTIVE"},
        {"type": "OpenAccount", "account": "new/binance/simulated"},
    ]
    expected: dict[Role, list[str | None]] = {
        Role.TRADER: ["unknown-order", "unknown-account", "unknown-account", "forbidden", "unknown-account"],
        Role.RISK: ["forbidden", "unknown-account", "unknown-account", None, "unknown-account"],
        Role.READER: ["forbidden", "unknown-account", "unknown-account", "forbidden", "unknown-account"],
        Role.AUDITOR: ["forbidden", "forbidden", "forbidden", "forbidden", "forbidden"],
        Role.OPERATOR: ["unknown-order", "unknown-order", "unknown-account", None, None],
    }
    body = b"\n".join(map(json_body, lines))
    for role, codes in expected.items():
        answer = await send(shared.engine, "POST", bulk.PATH, [*bearer(held[role]).items(), JSON], body)
        told = [json.loads(line).get("type") for line in answer.body.splitlines()]
        assert told == [None if code is None else f"urn:foldbook:problem:{code}" for code in codes], role


async def test_a_question_to_all_accounts_shows_those_of_the_key(shared: Guarded, held: dict[Role, str]) -> None:
    everything = (await shared.ask(held[Role.AUDITOR], "GET", "/events")).json()["events"]
    assert {"keys", OWN, FOREIGN} <= {event["aggregate_id"] for event in everything}
    for query in ("", "?type=OrderBookCreated", "?subject=o-1", "?aggregate_type=access"):
        seen = (await shared.ask(held[Role.READER], "GET", f"/events{query}")).json()["events"]
        assert {event["aggregate_id"] for event in seen} <= {OWN}, query
    assert [event for event in everything if event["aggregate_id"] == OWN] == (
        await shared.ask(held[Role.READER], "GET", "/events")
    ).json()["events"]
    every_account = await shared.issue("every-account", Role.READER, accounts=("*/*/*",))
    seen = (await shared.ask(every_account, "GET", "/events")).json()["events"]
    assert {OWN, FOREIGN} <= {event["aggregate_id"] for event in seen}
    assert "keys" not in {event["aggregate_id"] for event in seen}


async def test_fills_are_those_of_the_key(shared: Guarded, held: dict[Role, str]) -> None:
    order = {**ORDER, "order_id": "f", "symbol": "FILLED"}
    for account in (OWN, FOREIGN):
        await shared.ask(shared.operator, "POST", f"/accounts/{account}/orders", json=order)
        report = {"order_id": "f", "exec_type": "TRADE", "exec_id": "f", "last_qty": "1", "last_px": "10"}
        last = await shared.ask(shared.operator, "POST", f"/accounts/{account}/execution-reports", json=report)
    asked = f"symbol=FILLED&min_position={last.json()['position']}"
    fills = (await shared.ask(held[Role.READER], "GET", f"/fills?{asked}")).json()["fills"]
    assert [fill["account"] for fill in fills] == [OWN]
    totals = f"/fills?group_by=symbol&{asked}"
    assert [row["bought_qty"] for row in (await shared.ask(held[Role.READER], "GET", totals)).json()["totals"]] == ["1"]
    assert [row["bought_qty"] for row in (await shared.ask(held[Role.AUDITOR], "GET", totals)).json()["totals"]] == [
        "2"
    ]
