"""The state that an order's last event carries, compared with the state that follows from the order's facts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from foldbook.eventstore.events import Event
from foldbook.postgres.roles import AUDITOR, as_role
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import OrderUpdate
from tests.builders import ACCOUNT, cancel, open_account, place, replace_order, report, trade
from tests.readside.histories import Happening, write
from tests.trading.lives import Life, commands

DIFFERENCES = "select position, account, order_id, carried, folded from audit.order_state_differences(0, %s, %s)"


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as opened:
        for table in ("events", "commits"):
            opened.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
        yield opened


def record(connection: psycopg.Connection[Any], events: Sequence[Event], **doctored: Any) -> int:
    """The log made of these events, the last of them with another payload; its head."""
    history = [Happening(ACCOUNT, type(e).__name__, json.loads(e.payload())) for e in events]
    history[-1] = Happening(ACCOUNT, history[-1].type, history[-1].payload | doctored)
    connection.execute("truncate eventstore.events, eventstore.commits")
    return write(connection, history)


def differences(connection: psycopg.Connection[Any], to: int, account: str | None = None) -> list[Any]:
    return connection.execute(DIFFERENCES, [account, to]).fetchall()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=commands())
def test_every_event_of_a_random_history_carries_what_its_facts_come_to(
    connection: psycopg.Connection[Any], asked: list[BookCommand]
) -> None:
    head = record(connection, Life().try_all(asked).events)
    for position in range(1, head + 1):
        assert differences(connection, position) == []


def a_life() -> Life:
    """With everything in it that a random history may miss."""
    life = Life()
    for command in (
        open_account(),
        place(quantity="10", symbol="BTC-USDT"),
        report("PENDING_NEW"),
        report("NEW", broker_order_id="b-1"),
        trade("e-1", "4", "100", fee=Decimal("0.1"), fee_currency="USDT"),
        replace_order(quantity=Decimal(12), limit_price=Decimal(101)),
        replace_order(quantity=Decimal(14)),
        report("PENDING_REPLACE"),
        report("REPLACED", quantity=Decimal(12), broker_order_id="b-2"),
        report("PENDING_CANCEL"),
        report("REPLACE_REJECTED"),
        report("DONE_FOR_DAY"),
        report("RESTATED", quantity=Decimal(8)),
        trade("e-2", "4", "101", fee=Decimal("0.004"), fee_currency="BTC"),
        report("TRADE_CORRECT", exec_id="e-3", exec_ref_id="e-1", last_qty=Decimal(3), last_px=Decimal(99)),
        report("CANCEL_REJECTED", reason="too late"),
        report("TRADE_CANCEL", exec_id="e-4", exec_ref_id="e-2"),
        report("SUSPENDED"),
        cancel(),
        report("EXPIRED", reason="end of day"),
        trade("e-5", "6", "98"),
    ):
        assert life.execute(command), command
    return life


def test_a_life_with_everything_in_it(connection: psycopg.Connection[Any]) -> None:
    head = record(connection, a_life().events)
    for position in range(1, head + 1):
        assert differences(connection, position) == []
    assert differences(connection, head, "bob/kraken/live") == []


DOCTORED: dict[str, Any] = {
    "quantity": "7",
    "limit_price": "1",
    "stop_price": "1",
    "working_state": "FILLED",
    "pending_request": "CANCEL",
    "requested_quantity": "3",
    "requested_limit_price": "3",
    "requested_stop_price": "3",
    "cum_qty": "8.999",
    "cum_cost": "1",
    "leaves_qty": "1",
    "overfill_qty": "1.5",
    "fees": {"USDT": "0.1"},
    "broker_order_id": "b-9",
    "reason": "forged",
}


def test_every_field_of_the_state_can_be_doctored() -> None:
    own = set(OrderUpdate.__struct_fields__) - {"order_id", "strategy_id", "symbol", "side"}
    assert set(DOCTORED) == own


@pytest.mark.parametrize("field", DOCTORED)
def test_a_doctored_state_is_found(connection: psycopg.Connection[Any], field: str) -> None:
    life = a_life()
    life.execute(report("TRADE_CANCEL", exec_id="e-6", exec_ref_id="e-5"))
    head = record(connection, life.events, **{field: DOCTORED[field]})
    ((position, account, order_id, carried, folded),) = differences(connection, head)
    assert (position, account, order_id) == (head, ACCOUNT, "o-1")
    assert set(carried) == set(folded) == {field}
    assert carried[field] == DOCTORED[field]
    assert carried[field] != folded[field]
    assert differences(connection, head - 1) == []
    assert differences(connection, head, ACCOUNT) == differences(connection, head)


def test_an_event_of_an_order_that_was_never_created_is_found(connection: psycopg.Connection[Any]) -> None:
    events = [event for event in a_life().events if type(event).__name__ != "OrderCreated"]
    head = record(connection, events[:3])
    assert [order_id for _, _, order_id, _, _ in differences(connection, head)] == ["o-1"]


def test_the_command_ends_with_code_5_on_a_difference(
    database: str, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    record(connection, a_life().events)
    fine = verify_orders(database, tmp_path)
    assert (fine.returncode, fine.stdout) == (0, "ok: every order is what its last event says\n")

    record(connection, a_life().events, cum_qty="8.5")
    wrong = verify_orders(database, tmp_path)
    assert wrong.returncode == 5
    assert "order o-1 of alice/binance/simulated" in wrong.stdout
    (found,) = json.loads(verify_orders(database, tmp_path, "--json").stdout)
    assert (found["carried"], found["folded"]) == ({"cum_qty": "8.5"}, {"cum_qty": "9"})


def verify_orders(dsn: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "foldbook.cli", "audit", "verify", "--orders", *arguments],
        env=os.environ | {"DATABASE_URL": dsn, "FOLDBOOK_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_auditor_may_ask(connection: psycopg.Connection[Any], database: str) -> None:
    head = record(connection, a_life().events)
    with psycopg.connect(as_role(database, AUDITOR)) as auditor:
        assert differences(auditor, head) == []
