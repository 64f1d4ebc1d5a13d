"""The state that an order's last event carries, compared with the state that follows from the order's facts."""

from __future__ import annotations

import json
import subprocess
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
from tests.machinery.cli import foldbook
from tests.readside.histories import Happening, book_created, write
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
    "leaves_cash": "1",
    "exposed_qty": "1",
    "overfill_qty": "1.5",
    "fees": {"USDT": "0.1"},
    "broker_order_id": "b-9",
    "reason": "forged",
    "doubts": [{"doubt_id": "d-1", "request": "SUBMIT"}],
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
    # An event that does not say what is exposed says that it is what is left.
    assert set(carried) == set(folded) == ({field, "exposed_qty"} if field == "leaves_qty" else {field})
    assert carried[field] == DOCTORED[field]
    assert carried[field] != folded[field]
    assert differences(connection, head - 1) == []
    assert differences(connection, head, ACCOUNT) == differences(connection, head)


# -- the rules, one by one ---------------------------------------------------------------------------------------

NAMES = {"order_id": "o-1", "strategy_id": "s", "symbol": "BTC-USDT", "side": "BUY"}
TERMS = {"quantity": "10", "limit_price": "100"}
CREATED = ("OrderCreated", TERMS | {"order_type": "LIMIT", "time_in_force": "GTC"})
DAY = ("OrderCreated", TERMS | {"order_type": "LIMIT", "time_in_force": "DAY"})
FOR_MONEY = (
    "OrderCreated",
    {"order_type": "MARKET", "time_in_force": "GTC", "cash_quantity": "500", "estimated_quantity": "5"},
)
NEW = {"working_state": "NEW", "leaves_qty": "10"}

Told = tuple[str, dict[str, Any]]


def event(type_name: str, *said: dict[str, Any], **more: Any) -> Told:
    payload = dict(TERMS)
    for fields in said:
        payload |= fields
    return type_name, payload | more


def fill(exec_id: str, qty: str, *said: dict[str, Any], px: str = "100", **more: Any) -> Told:
    return event("OrderFilled", *said, exec_id=exec_id, last_qty=qty, last_px=px, **more)


def asked(request_id: str, quantity: str, *said: dict[str, Any], **more: Any) -> Told:
    terms = {"requested_quantity": quantity, "requested_limit_price": "100", "pending_request": "REPLACE"}
    return event("OrderReplaceRequested", terms, *said, request_id=request_id, **more)


FILLED = {"working_state": "FILLED", "cum_qty": "10", "cum_cost": "1000"}
ALL_OF_IT = fill("x-1", "10", FILLED)
LEG_1, LEG_2 = {"broker_order_id": "b-1"}, {"broker_order_id": "b-2"}
ACCEPTED = event("OrderAccepted", NEW, LEG_1)
CANCELED = {"working_state": "CANCELED", "reason": "by hand", "ended_order_id": "b-1"}
MOVED = {"superseded_order_id": "b-1"}
BUSTED = {"exec_id": "b-1", "exec_ref_id": "x-1", "last_qty": "10", "last_px": "100"}
MORE = {"exposed_qty": "14", "leaves_qty": "10", "working_state": "NEW"}
MONEY = {"quantity": "0", "limit_price": None}

RULES: dict[str, list[Told]] = {
    "what is filled before it ends is filled": [
        CREATED, ALL_OF_IT, event("OrderCanceled", FILLED, reason="too late"),
    ],
    "what is filled after it ended is filled": [
        CREATED, event("OrderExpired", working_state="EXPIRED"), ALL_OF_IT,
    ],
    "what has ended is not filled any more after a bust": [
        CREATED, ALL_OF_IT, event("OrderCanceled", FILLED),
        event("FillBusted", BUSTED, working_state="CANCELED"),
    ],
    "an end and a full fill are more than the end of the day": [
        CREATED, event("OrderDoneForDay", working_state="DONE_FOR_DAY", leaves_qty="10"),
        event("OrderCanceled", working_state="CANCELED"), ALL_OF_IT,
    ],
    "the end of the day is more than a full fill": [
        CREATED, event("OrderDoneForDay", working_state="DONE_FOR_DAY", leaves_qty="10"),
        fill("x-1", "10", FILLED, working_state="DONE_FOR_DAY"),
    ],
    "what was denied stays denied, whatever trades": [
        CREATED, event("OrderDenied", working_state="DENIED", reason="max-quantity", limit="1", observed="10"),
        fill("x-1", "10", FILLED, working_state="DENIED", reason="max-quantity"),
    ],
    "a replace that moves the order undoes the end of its old leg": [
        CREATED, ACCEPTED, event("OrderCanceled", CANCELED, LEG_1),
        event("OrderReplaced", NEW, LEG_2, MOVED),
    ],
    "and not the end of the new one": [
        CREATED, ACCEPTED, event("OrderReplaced", NEW, LEG_2, MOVED),
        event("OrderCanceled", LEG_2, working_state="CANCELED", ended_order_id="b-2"),
        event("OrderReplaced", LEG_2, MOVED, working_state="CANCELED"),
    ],
    "and not an end that named no leg": [
        CREATED, ACCEPTED, event("OrderCanceled", LEG_1, working_state="CANCELED", reason="by hand"),
        event("OrderReplaced", LEG_2, MOVED, working_state="CANCELED", reason="by hand"),
    ],
    "nor does a replace that moves nothing": [
        CREATED, ACCEPTED, event("OrderCanceled", CANCELED, LEG_1),
        event("OrderReplaced", LEG_1, working_state="CANCELED", reason="by hand"),
    ],
    "a new end after that counts": [
        CREATED, ACCEPTED, event("OrderCanceled", CANCELED, LEG_1), event("OrderReplaced", NEW, LEG_2, MOVED),
        event("OrderExpired", LEG_2, working_state="EXPIRED", ended_order_id="b-2"),
    ],
    "requests are not asked again when an end is undone": [
        CREATED, ACCEPTED, asked("r-1", "14", LEG_1, MORE),
        event("OrderCanceled", CANCELED, LEG_1),
        event("OrderReplaced", NEW, LEG_2, MOVED, request_id="r-1"),
    ],
    "an answer by id answers that request": [
        CREATED, asked("r-1", "14", MORE, working_state="CREATED"),
        asked("r-2", "12", MORE, working_state="CREATED"),
        event(
            "OrderReplaceRejected", MORE, working_state="CREATED", pending_request="REPLACE",
            requested_quantity="14", requested_limit_price="100", request_id="r-2",
        ),
        event("OrderReplaceRejected", leaves_qty="10", request_id="r-1"),
    ],
    "an answer to a request that is not asked any more answers none": [
        CREATED, asked("r-1", "14", MORE, working_state="CREATED"),
        asked("r-2", "14", MORE, working_state="CREATED"),
        event(
            "OrderReplaced", NEW, pending_request="REPLACE", exposed_qty="14", requested_quantity="14",
            requested_limit_price="100", request_id="r-2",
        ),
        event(
            "OrderReplaceRejected", NEW, pending_request="REPLACE", exposed_qty="14", requested_quantity="14",
            requested_limit_price="100", request_id="r-2",
        ),
        event("OrderReplaced", NEW),
    ],
    "an acknowledgement by id acknowledges that request": [
        CREATED,
        event("OrderCancelRequested", leaves_qty="10", pending_request="CANCEL", request_id="r-1"),
        event("OrderCancelRequested", leaves_qty="10", pending_request="CANCEL", request_id="r-2"),
        event("OrderCancelPending", leaves_qty="10", pending_request="CANCEL", request_id="r-2"),
        event("OrderCancelPending", leaves_qty="10", pending_request="CANCEL"),
        event("OrderCancelPending", leaves_qty="10", pending_request="CANCEL", request_id="r-3"),
        event("OrderCancelRejected", leaves_qty="10", pending_request="CANCEL", request_id="r-3"),
        event("OrderCancelRejected", leaves_qty="10", pending_request="CANCEL", request_id="r-1"),
        event("OrderCancelRejected", leaves_qty="10"),
    ],
    "the largest replace is what is exposed": [
        CREATED, asked("r-1", "14", leaves_qty="10", exposed_qty="14"),
        asked("r-2", "4", leaves_qty="10", exposed_qty="14"),
        fill(
            "x-1", "10", FILLED, pending_request="REPLACE", requested_quantity="4", requested_limit_price="100",
            exposed_qty="4",
        ),
        event("OrderCanceled", FILLED),
    ],
    "nothing is exposed after the day of a day order": [
        DAY, asked("r-1", "14", leaves_qty="10", exposed_qty="14"),
        event(
            "OrderDoneForDay", working_state="DONE_FOR_DAY", pending_request="REPLACE", requested_quantity="14",
            requested_limit_price="100",
        ),
    ],
    "an order for money is open until its money is spent": [
        FOR_MONEY,
        event("OrderAccepted", MONEY, working_state="NEW", leaves_cash="500", exposed_qty="5"),
        fill(
            "x-1", "3", MONEY, working_state="PARTIALLY_FILLED", cum_qty="3", cum_cost="300", leaves_cash="200",
            exposed_qty="2",
        ),
        fill(
            "x-2", "4", MONEY, px="40", working_state="PARTIALLY_FILLED", cum_qty="7", cum_cost="460", leaves_cash="40",
        ),
        fill("x-3", "1", MONEY, px="41", working_state="FILLED", cum_qty="8", cum_cost="501"),
        event("OrderCanceled", MONEY, working_state="FILLED", cum_qty="8", cum_cost="501"),
    ],
    "an order for money has ended as any other": [
        FOR_MONEY,
        event("OrderCanceled", MONEY, working_state="CANCELED"),
        fill("x-1", "3", MONEY, working_state="CANCELED", cum_qty="3", cum_cost="300"),
    ],
    "an order for money whose quantity was told is as any other": [
        FOR_MONEY,
        event("OrderRestated", limit_price=None, quantity="5", leaves_qty="5"),
        fill(
            "x-1", "3", limit_price=None, quantity="5", working_state="PARTIALLY_FILLED", cum_qty="3", cum_cost="300",
            leaves_qty="2",
        ),
        fill(
            "x-2", "3", limit_price=None, quantity="5", working_state="FILLED", cum_qty="6", cum_cost="600",
            overfill_qty="1",
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_rule(connection: psycopg.Connection[Any], rule: str) -> None:
    """Every event carries what its facts come to."""
    connection.execute("truncate eventstore.events, eventstore.commits")
    told = [Happening(ACCOUNT, type_name, NAMES | _said(payload)) for type_name, payload in RULES[rule]]
    head = write(connection, [book_created(ACCOUNT), *told])
    for position in range(2, head + 1):
        assert differences(connection, position) == [], told[position - 2]


def _said(payload: dict[str, Any]) -> dict[str, Any]:
    """As it is in the log: without what is 0 or nothing."""
    return {name: value for name, value in payload.items() if value not in ("0", None)}


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
    return foldbook("audit", "verify", "--orders", *arguments, DATABASE_URL=dsn, FOLDBOOK_DATA_DIR=str(folder))


def test_an_auditor_may_ask(connection: psycopg.Connection[Any], database: str) -> None:
    head = record(connection, a_life().events)
    with psycopg.connect(as_role(database, AUDITOR)) as auditor:
        assert differences(auditor, head) == []
