"""A command's id belongs to its account: nobody meets, or learns of, the ids of another's."""

from __future__ import annotations

import json
from uuid import uuid4

import httpx

from foldbook.access.roles import Role
from tests.access.conftest import Guarded
from tests.api.conftest import ACCOUNT, assert_problem, order

OTHER = "bob/binance/simulated"
NDJSON = {"Content-Type": "application/x-ndjson"}


async def place(guarded: Guarded, key: str, account: str, command_id: str, **fields: str) -> httpx.Response:
    headers = {"Idempotency-Key": command_id}
    return await guarded.ask(key, "POST", f"/accounts/{account}/orders", json=order(**fields), headers=headers)


async def test_traders_of_several_accounts_may_use_the_same_ids(guarded: Guarded) -> None:
    traders = {}
    for account in (ACCOUNT, OTHER):
        await guarded.open(account)
        traders[account] = await guarded.issue(account.partition("/")[0], Role.TRADER, accounts=[account])
    command_id = str(uuid4())
    for status, is_replayed in ((201, False), (200, True)):
        for account, key in traders.items():
            placed = await place(guarded, key, account, command_id, quantity="1" if account == ACCOUNT else "2")
            assert placed.status_code == status, placed.text
            assert {
                "account": account,
                "command_id": command_id,
                "replayed": is_replayed,
            }.items() <= placed.json().items()
    conflict = await place(guarded, traders[ACCOUNT], ACCOUNT, command_id, quantity="3")
    assert_problem(conflict, 409, "idempotency-conflict")
    # What an account that the key has not answers does not depend on what was sent there.
    for id_ in (command_id, str(uuid4())):
        assert_problem(await place(guarded, traders[ACCOUNT], OTHER, id_, quantity="2"), 404, "unknown-account")


async def test_a_retry_with_another_key_of_the_account_finds_its_result(guarded: Guarded) -> None:
    await guarded.open(ACCOUNT)
    first, second = [await guarded.issue(name, Role.TRADER, accounts=[ACCOUNT]) for name in ("laptop", "server")]
    command_id = str(uuid4())
    placed = await place(guarded, first, ACCOUNT, command_id)
    again = await place(guarded, second, ACCOUNT, command_id)
    assert (placed.status_code, again.status_code) == (201, 200)
    assert again.json() == placed.json() | {"replayed": True}


async def test_lines_and_accounts_are_told_apart(guarded: Guarded) -> None:
    """The order id is absent, so that it is the command's id, in each account."""
    command_ids = [str(uuid4()), str(uuid4())]
    lines = [
        {"type": "OpenAccount", "account": account, "command_id": command_ids[0]} for account in (ACCOUNT, OTHER)
    ] + [
        {"type": "PlaceOrder", "account": account, "command_id": command_ids[1], **order()}
        for account in (ACCOUNT, OTHER)
    ]
    for line in lines:
        line.pop("order_id", None)
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    for is_replayed in (False, True):
        answered = await guarded.ask(guarded.operator, "POST", "/commands", content=content, headers=NDJSON)
        results = [json.loads(line) for line in answered.text.splitlines()]
        assert [(one["account"], one["sequence"], one["replayed"]) for one in results] == [
            (ACCOUNT, 1, is_replayed),
            (OTHER, 1, is_replayed),
            (ACCOUNT, 2, is_replayed),
            (OTHER, 2, is_replayed),
        ]
    for account in (ACCOUNT, OTHER):
        at = f"/accounts/{account}/orders/{command_ids[1]}"
        position = results[-1]["position"]
        history = await guarded.ask(guarded.operator, "GET", f"{at}/history", params={"min_position": position})
        assert [event["command_id"] for event in history.json()["events"]] == [command_ids[1]]


async def test_keys_have_ids_of_their_own(guarded: Guarded) -> None:
    """The keys are an aggregate, too."""
    command_id = str(uuid4())
    await guarded.open(ACCOUNT)
    assert (await place(guarded, guarded.operator, ACCOUNT, command_id)).status_code == 201
    body = {"name": "new", "roles": ["trader"], "accounts": [ACCOUNT]}
    issued = await guarded.ask(guarded.operator, "POST", "/keys", json=body, headers={"Idempotency-Key": command_id})
    assert issued.status_code == 201, issued.text
