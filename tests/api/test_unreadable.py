"""An account with an event that nobody can fold is answered with a code that says so, and stops no other."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.api.conftest import ACCOUNT, AT, assert_problem, order, serving, settings_for

OTHER = "bob/binance/simulated"
DOCTORED = {
    "sNaN": "payload = jsonb_set(payload, '{last_qty}', '\"sNaN\"')",
    "exponent": "payload = jsonb_set(payload, '{last_qty}', '\"1E+999999\"')",
    "deep": "payload = payload || jsonb_build_object('x', (repeat('[', 5000) || repeat(']', 5000))::jsonb)",
    "missing": "payload = payload - 'last_qty'",
}


@pytest.mark.parametrize("change", DOCTORED.values(), ids=DOCTORED)
async def test_what_is_said_of_it(database: str, change: str) -> None:
    async with serving(settings_for(database)) as engine:
        for account in (ACCOUNT, OTHER):
            await engine.open(account)
        await engine.place()
        await engine.trade("e-1", "1", "100")
    with psycopg.connect(database) as owner:
        owner.execute("alter table eventstore.events disable trigger refuse_change")
        owner.execute(f"update eventstore.events set {change} where type = 'OrderFilled'".encode())
    async with serving(settings_for(database)) as engine:
        refused, placed = await asyncio.gather(
            engine.client.post(f"{AT}/orders", json=order("o-2")), engine.place("o-2", OTHER)
        )
        assert_problem(refused, 500, "unreadable-event")
        assert placed["sequence"] == 2
