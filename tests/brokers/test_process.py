"""The gateway at work: real PostgreSQL, a real venue over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import immutables
import pytest
from msgspec.structs import asdict
from uuid_utils.compat import uuid7

from foldbook.brokers import process
from foldbook.brokers.port import BrokerUnavailable
from foldbook.brokers.process import GatewayProcess
from foldbook.brokers.simulated import SimulatedBroker
from foldbook.eventstore.backoff import Backoff
from foldbook.eventstore.events import Event
from foldbook.postgres.connection import connect
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import AccountAdjusted, OrderAccepted
from foldbook.trading.values import AdjustmentKind, DoubtOutcome, OrdStatus, PendingRequest, RequestKind
from tests.brokers.gateway_world import GatewayWorld, gateway_world, now
from tests.brokers.venue_process import VenueProcess, venue_process
from tests.builders import (
    NOW,
    accepted,
    adjust,
    attempt,
    book_created,
    cancel,
    created,
    filled,
    in_doubt,
    open_account,
    place,
    replace_order,
    report,
    resolve,
    trade,
)
from tests.eventstore.test_store_contract import propose
from tests.waiting import until


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    with venue_process(tmp_path_factory.mktemp("venue"), "--fee", "taker=0.001") as running:
        yield running


@pytest.fixture
async def world(database: str, venue: VenueProcess) -> AsyncIterator[GatewayWorld]:
    async with gateway_world(database, venue) as world:
        yield world


def order(world: GatewayWorld, order_id: str = "o-1", **fields: Any) -> BookCommand:
    return place(order_id, world.account, **{"received_at": now(), "symbol": world.symbol, **fields})


async def test_an_order_is_accepted_filled_in_parts_and_booked(world: GatewayWorld) -> None:
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.quote("99", "100", "1", "0.5")
    await world.order_is("o-1", lambda o: o.cum_qty == Decimal("0.5"))
    await world.quote("99", "100", "1", "5")
    filled = await world.order_is("o-1", lambda o: o.is_filled)
    assert filled.broker_order_id is not None
    assert await world.types("o-1") == ["OrderCreated", "OrderSubmitted", "OrderAccepted", "OrderFilled", "OrderFilled"]
    assert (await world.book()).position_qty(world.symbol) == 2


async def test_an_acceptance_that_is_answered_and_told_is_recorded_once(world: GatewayWorld) -> None:
    await world.execute(order(world))
    accepted = await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    assert world.gateway is not None
    await world.caught_up()
    await world.idle()
    # What the venue tells next comes after both.
    await world.quote("99", "100")
    await world.order_is("o-1", lambda o: o.is_filled)
    await world.idle()
    assert world.gateway.term is not None
    assert world.gateway.term.status()["reports"] == 2
    assert accepted.broker_order_id is not None


async def test_an_order_that_the_venue_refuses_is_rejected_with_its_reason(world: GatewayWorld) -> None:
    await world.quote("99", "100")
    await world.execute(order(world, post_only=True, limit_price=Decimal(101)))
    rejected = await world.order_is("o-1", lambda o: o.final is OrdStatus.REJECTED)
    assert rejected.reason is not None
    assert "post-only" in rejected.reason


async def test_a_cancel_and_a_replace_are_answered(world: GatewayWorld) -> None:
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.execute(replace_order(account=world.account, quantity=Decimal(3), limit_price=Decimal(98)))
    replaced = await world.order_is("o-1", lambda o: o.quantity == 3)
    assert replaced.limit_price == 98
    assert not replaced.requests
    await world.execute(cancel(account=world.account))
    canceled = await world.order_is("o-1", lambda o: o.final is OrdStatus.CANCELED)
    assert canceled.pending_request is PendingRequest.NONE
    assert [each["status"] for each in world.venue.orders(world.account)] == ["CANCELED"]


async def test_a_cancel_whose_order_fills_before_it_is_sent_is_refused(database: str, venue: VenueProcess) -> None:
    async with gateway_world(database, venue, send_s=1.0) as world:
        await world.execute(order(world))
        await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
        await world.faults(hang=1, hang_ms=900, scope="replace")
        await world.execute(replace_order(account=world.account, limit_price=Decimal(101)))
        # The stream tells of it at once, and the answer is still on its way.
        await world.order_is("o-1", lambda o: o.limit_price == 101)
        await world.execute(cancel(account=world.account))
        await world.order_is("o-1", lambda o: o.requests[0].attempts == 1)
        await world.quote("100", "101")
        filled = await world.order_is("o-1", lambda o: not o.requests)
        assert filled.status is OrdStatus.FILLED


async def test_a_cancel_of_what_was_never_sent_is_answered_here(world: GatewayWorld) -> None:
    await world.stop_gateway()
    await world.execute(order(world))
    await world.execute(cancel(account=world.account))
    await world.start_gateway()
    await world.order_is("o-1", lambda o: o.final is OrdStatus.CANCELED)
    assert world.venue.orders(world.account) == []


@pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense", "hang"])
async def test_a_submit_in_doubt_is_found_or_sent_again_under_its_id(world: GatewayWorld, fault: str) -> None:
    await world.faults(**{fault: 1}, hang_ms=2_000, scope="submit")
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.idle()
    types = await world.types("o-1")
    if fault == "lose_request":
        # The stream tells nothing of it.
        assert types == [
            "OrderCreated", "OrderSubmitted", "OrderInDoubt", "OrderSubmitted", "OrderDoubtResolved", "OrderAccepted"
        ]  # fmt: skip
    assert (await world.order("o-1")).doubts == ()
    assert [each["client_order_id"] for each in world.venue.orders(world.account)] == ["o-1:1"]


@pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense", "hang"])
async def test_a_cancel_in_doubt_ends(world: GatewayWorld, fault: str) -> None:
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.faults(**{fault: 1}, hang_ms=2_000, scope="cancel")
    await world.execute(cancel(account=world.account))
    await world.order_is("o-1", lambda o: o.final is OrdStatus.CANCELED and not o.doubts)
    assert [each["status"] for each in world.venue.orders(world.account)] == ["CANCELED"]


@pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense", "hang"])
async def test_a_replace_in_doubt_ends(world: GatewayWorld, fault: str) -> None:
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.faults(**{fault: 1}, hang_ms=2_000, scope="replace")
    await world.execute(replace_order(account=world.account, quantity=Decimal(3)))
    await world.order_is("o-1", lambda o: o.quantity == 3 and not o.requests and not o.doubts)
    assert [each["quantity"] for each in world.venue.orders(world.account)] == ["3"]


async def test_a_fill_that_the_stream_drops_is_found_by_polling(world: GatewayWorld) -> None:
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.faults(drop=1)
    await world.quote("99", "100")
    await world.order_is("o-1", lambda o: o.is_filled)
    assert (await world.types("o-1")).count("OrderFilled") == 1


async def test_a_hundred_reconciliations_add_no_event(world: GatewayWorld) -> None:
    for order_id, price in (("o-1", 100), ("o-2", 90)):
        await world.execute(order(world, order_id, limit_price=Decimal(price)))
        await world.order_is(order_id, lambda o: o.stage is OrdStatus.NEW)
    await world.quote("99", "100", "1", "0.5")
    await world.order_is("o-1", lambda o: o.cum_qty == Decimal("0.5"))
    await world.idle()
    before = await world.events()
    for _ in range(100):
        await world.reconcile()
    assert await world.events() == before


# -- what is not ours ------------------------------------------------------------------------------------------------


async def bought(world: GatewayWorld) -> None:
    """A position of 2 at 100."""
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.quote("99", "100")
    await world.order_is("o-1", lambda o: o.is_filled)


def transfer(world: GatewayWorld, quantity: str, **fields: Any) -> BookCommand:
    """Something that the broker knows nothing of."""
    return adjust("TRANSFER", world.account, received_at=now(), symbol=world.symbol, quantity=quantity, **fields)


async def test_a_liquidation_is_booked_without_an_order_and_blocks_nothing_else(world: GatewayWorld) -> None:
    await bought(world)
    await asyncio.to_thread(world.venue.post, "/liquidations", {"account": world.account, "symbol": world.symbol})
    await world.position_is("0")
    assert "ExecutionBooked" in await world.types()
    await world.execute(order(world, "o-2", limit_price=Decimal(90)))
    await world.order_is("o-2", lambda o: o.stage is OrdStatus.NEW)
    assert "PositionMismatchDetected" not in await world.types()


async def test_a_funding_is_no_trade(world: GatewayWorld) -> None:
    await bought(world)
    funding = {"account": world.account, "symbol": world.symbol, "currency": "USD", "amount": "-1.5"}
    await asyncio.to_thread(world.venue.post, "/fundings", funding)
    await world.event_is("AccountAdjusted")
    events = await world.events()
    (adjusted,) = [event for event in events if isinstance(event, AccountAdjusted)]
    assert (adjusted.kind, adjusted.currency, adjusted.amount) == (AdjustmentKind.FUNDING, "USD", Decimal("-1.5"))
    assert (await world.book()).position_qty(world.symbol) == 2
    await world.reconcile()
    assert await world.events() == events


async def test_a_bust_and_a_correction_reach_the_book(world: GatewayWorld) -> None:
    await bought(world)
    (fill,) = await asyncio.to_thread(world.venue.fills, world.account)
    correction = {"account": world.account, "exec_id": fill["exec_id"], "last_qty": "1.5"}
    await asyncio.to_thread(world.venue.post, "/corrections", correction)
    await world.position_is("1.5")
    await asyncio.to_thread(world.venue.post, "/busts", {"account": world.account, "exec_id": fill["exec_id"]})
    await world.position_is("0")


async def test_a_position_that_differs_is_told_and_blocks_exposure_but_no_cancel(world: GatewayWorld) -> None:
    await bought(world)
    await world.execute(order(world, "o-2", limit_price=Decimal(90)))
    await world.order_is("o-2", lambda o: o.stage is OrdStatus.NEW)
    await world.execute(transfer(world, "1", price="100"))
    await world.caught_up()
    result = await world.reconcile()
    assert result.mismatches == {world.symbol: ("3", "2")}
    await world.execute(order(world, "o-3"))
    denied = await world.order("o-3")
    assert (denied.final, denied.reason) == (OrdStatus.DENIED, "position-mismatch")
    await world.execute(cancel("o-2", world.account))
    await world.order_is("o-2", lambda o: o.final is OrdStatus.CANCELED)
    await world.execute(transfer(world, "-1"))
    await world.caught_up()
    assert (await world.reconcile()).mismatches == {}
    await world.execute(order(world, "o-4", limit_price=Decimal(90)))
    await world.order_is("o-4", lambda o: o.stage is OrdStatus.NEW)


# -- other venues ----------------------------------------------------------------------------------------------------


async def test_a_replace_that_moves_the_id_is_not_ended_by_the_end_of_the_old_one(
    database: str, tmp_path: Path
) -> None:
    with venue_process(tmp_path, "--replace-moves-id") as venue:
        async with gateway_world(database, venue) as world:
            await world.execute(order(world))
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
            await world.execute(replace_order(account=world.account, quantity=Decimal(3)))
            moved = await world.order_is("o-1", lambda o: o.quantity == 3 and not o.requests)
            await world.idle()
            assert moved.is_open
            assert (await world.order("o-1")).is_open
            await world.quote("99", "100")
            await world.order_is("o-1", lambda o: o.cum_qty == 3)


async def test_where_the_venue_replaces_nothing_it_is_canceled_and_sent_anew(database: str, tmp_path: Path) -> None:
    with venue_process(tmp_path, "--no-replace") as venue:
        async with gateway_world(database, venue) as world:
            await world.execute(order(world))
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
            await world.quote("99", "100", "1", "0.5")
            await world.order_is("o-1", lambda o: o.cum_qty == Decimal("0.5"))
            await world.execute(replace_order(account=world.account, quantity=Decimal(3), limit_price=Decimal(98)))
            replaced = await world.order_is("o-1", lambda o: o.quantity == 3 and not o.requests)
            assert (replaced.limit_price, replaced.cum_qty) == (Decimal(98), Decimal("0.5"))
            assert replaced.is_open
            old, new = await asyncio.to_thread(world.venue.orders, world.account)
            assert (old["client_order_id"], old["status"], old["cum_qty"]) == ("o-1:1", "CANCELED", "0.5")
            assert (new["client_order_id"], new["status"], new["quantity"]) == ("o-1:2", "NEW", "2.5")
            await world.quote("97", "98")
            await world.order_is("o-1", lambda o: o.cum_qty == 3 and o.is_filled)
            assert (await world.book()).position_qty(world.symbol) == 3


@pytest.mark.parametrize("fault", ["lose_ack", "lose_request", "status_500", "nonsense", "hang"])
@pytest.mark.parametrize("scope", ["submit", "cancel"])
async def test_a_replace_by_a_new_order_survives_what_goes_wrong(
    database: str, tmp_path: Path, fault: str, scope: str
) -> None:
    with venue_process(tmp_path, "--no-replace") as venue:
        async with gateway_world(database, venue) as world:
            await world.execute(order(world))
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
            await world.faults(**{fault: 1}, hang_ms=2_000, scope=scope)
            await world.execute(replace_order(account=world.account, quantity=Decimal(3)))
            await world.order_is("o-1", lambda o: o.quantity == 3 and not o.requests and not o.doubts)
            orders = await asyncio.to_thread(world.venue.orders, world.account)
            assert [(o["client_order_id"], o["status"]) for o in orders] == [("o-1:1", "CANCELED"), ("o-1:2", "NEW")]


async def test_without_deduplication_nothing_is_sent_again_until_a_person_decides(
    database: str, tmp_path: Path
) -> None:
    with venue_process(tmp_path, "--no-dedup") as venue:
        async with gateway_world(database, venue) as world:
            await world.faults(lose_request=1, scope="submit")
            await world.execute(order(world))
            in_doubt = await world.order_is("o-1", lambda o: bool(o.doubts))
            await world.idle()
            assert await asyncio.to_thread(world.venue.orders, world.account) == []
            (doubt,) = in_doubt.doubts
            assert doubt.request is RequestKind.SUBMIT
            await world.execute(
                resolve(doubt.doubt_id, DoubtOutcome.RESEND, account=world.account, reason="it is not on the screen")
            )
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW and not o.doubts)
            assert len(await asyncio.to_thread(world.venue.orders, world.account)) == 1


@pytest.mark.parametrize("decision", [DoubtOutcome.RESEND, DoubtOutcome.REJECTED])
async def test_a_person_decides_about_a_new_leg_that_is_not_there(
    database: str, tmp_path: Path, decision: DoubtOutcome
) -> None:
    with venue_process(tmp_path, "--no-dedup", "--no-replace") as venue:
        async with gateway_world(database, venue) as world:
            await world.execute(order(world))
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
            await world.faults(lose_request=1, scope="submit")
            await world.execute(replace_order(account=world.account, quantity=Decimal(3)))
            (doubt,) = (await world.order_is("o-1", lambda o: bool(o.doubts))).doubts
            await world.idle()
            await world.execute(resolve(doubt.doubt_id, decision, account=world.account, reason="it is not there"))
            if decision is DoubtOutcome.RESEND:
                await world.order_is("o-1", lambda o: o.quantity == 3 and not o.requests and not o.doubts)
            else:
                await world.order_is("o-1", lambda o: o.final is OrdStatus.CANCELED)
            await world.idle()
            orders = await asyncio.to_thread(world.venue.orders, world.account)
            expected = [("o-1:1", "CANCELED"), ("o-1:2", "NEW")][: 2 if decision is DoubtOutcome.RESEND else 1]
            assert [(o["client_order_id"], o["status"]) for o in orders] == expected


async def test_a_replace_that_was_done_and_filled_before_anybody_knew_is_told_as_done(world: GatewayWorld) -> None:
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.faults(hang=1, hang_ms=2_000, drop=100, scope="replace")
    await world.execute(replace_order(account=world.account, quantity=Decimal(3), limit_price=Decimal(101)))
    await world.order_is("o-1", lambda o: bool(o.requests) and o.requests[0].attempts == 1)
    await until(lambda: world.venue.orders(world.account)[0]["limit_price"] == "101")
    await world.stop_gateway()
    await world.quote("100", "101")
    await world.start_gateway()
    filled = await world.order_is("o-1", lambda o: o.is_filled and not o.requests and not o.doubts)
    assert (filled.status, filled.quantity, filled.cum_qty) == (OrdStatus.FILLED, Decimal(3), Decimal(3))
    assert filled.limit_price == 101


# -- restarts --------------------------------------------------------------------------------------------------------


async def test_a_gateway_that_ends_while_orders_are_under_way_leaves_no_doubt_behind(world: GatewayWorld) -> None:
    await world.faults(delay_ms=100)
    for n in range(1, 6):
        await world.execute(order(world, f"o-{n}"))
    await world.order_is("o-1", lambda o: o.attempts == 1)
    await world.stop_gateway()
    await world.start_gateway()
    for n in range(1, 6):
        await world.order_is(f"o-{n}", lambda o: o.stage is OrdStatus.NEW and not o.doubts)
    await world.faults()
    ids = [each["client_order_id"] for each in await asyncio.to_thread(world.venue.orders, world.account)]
    assert sorted(ids) == [f"o-{n}:1" for n in range(1, 6)]


@pytest.mark.parametrize("known", ["asked for", "attempted", "in doubt", "acknowledged"])
@pytest.mark.parametrize("request_kind", [RequestKind.CANCEL, RequestKind.REPLACE])
async def test_a_successor_finds_the_answer_to_what_was_asked_of_an_order_that_has_filled(
    world: GatewayWorld, request_kind: RequestKind, known: str
) -> None:
    """Its predecessor ended when it had recorded the fill, and not the answer."""
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    await world.stop_gateway()
    await world.quote("99", "100")
    (fill,) = await asyncio.to_thread(world.venue.fills, world.account)
    account, is_cancel = world.account, request_kind is RequestKind.CANCEL
    asked = cancel(account=account) if is_cancel else replace_order(account=account, limit_price=Decimal(99))
    about: Any = {"request": request_kind, "request_id": str(asked.command_id), "attempt": 1, "account": account}
    await world.execute(asked)
    if known != "asked for":
        await world.execute(attempt(**about))
    if known == "in doubt":
        await world.execute(in_doubt(**about))
    if known == "acknowledged":
        pending = "PENDING_CANCEL" if is_cancel else "PENDING_REPLACE"
        await world.execute(report(pending, account=account, request_id=about["request_id"]))
    await world.execute(trade(fill["exec_id"], "2", account=account, transact_time=now()))
    assert (await world.order("o-1")).requests
    await world.start_gateway()
    filled = await world.order_is("o-1", lambda o: not o.requests and not o.doubts)
    assert (filled.status, filled.cum_qty) == (OrdStatus.FILLED, Decimal(2))
    assert (await world.types("o-1")).count("OrderFilled") == 1
    assert (await world.book()).filled == immutables.Map()


async def test_a_successor_knows_whole_orders_where_the_book_has_outlines(world: GatewayWorld) -> None:
    await bought(world)
    (fill,) = await asyncio.to_thread(world.venue.fills, world.account)
    await world.stop_gateway()
    account = world.account
    await world.execute(report("TRADE_CANCEL", account=account, exec_id="x-1", exec_ref_id=fill["exec_id"]))
    await world.execute(cancel(account=account))
    assert (await world.book()).orders["o-1"].is_outline
    await world.start_gateway()
    # The venue knows nothing of the bust: there, the order has filled.
    answered = await world.order_is("o-1", lambda o: not o.requests and not o.doubts)
    assert answered.is_open
    assert "OrderCancelSubmitted" in await world.types("o-1")


async def test_a_successor_asks_nothing_before_it_knows_what_the_venue_can_do(database: str, tmp_path: Path) -> None:
    with venue_process(tmp_path, "--no-replace") as venue:
        async with gateway_world(database, venue) as world:
            await world.execute(order(world))
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
            await world.faults(hang=1, hang_ms=2_000, scope="cancel")
            await world.execute(replace_order(account=world.account, quantity=Decimal(3)))
            await world.order_is("o-1", lambda o: o.requests[0].attempts == 1)
            await until(lambda: venue.orders(world.account)[0]["status"] == "CANCELED")
            await world.stop_gateway()
            await world.start_gateway()
            await world.order_is("o-1", lambda o: o.quantity == 3 and not o.requests and not o.doubts)
            orders = await asyncio.to_thread(world.venue.orders, world.account)
            assert [(o["client_order_id"], o["status"]) for o in orders] == [("o-1:1", "CANCELED"), ("o-1:2", "NEW")]


async def test_a_successor_knows_the_accounts_that_no_read_table_has_yet(world: GatewayWorld) -> None:
    """Here is no projector: the fills of an account that it does not know would be read, and lost."""
    connection = await connect(world.dsn)
    try:
        (row,) = await connection.fetch("select * from brokers.known_accounts('simulated')")
        assert (row["checkpoint"], row["accounts"], row["opened_at"]) == (0, [world.account], [NOW])
        (row,) = await connection.fetch("select * from brokers.known_accounts('live')")
        assert row["accounts"] == []
    finally:
        await connection.close()


class OrderTeleported(OrderAccepted, frozen=True, kw_only=True):
    """Of a program to come."""


@pytest.mark.parametrize(
    "odd", [filled("e-1", "1E+999999", cum="0.5", leaves="1.5"), OrderTeleported(**asdict(accepted()))]
)
@pytest.mark.parametrize("is_working", [True, False])
async def test_an_account_whose_events_cannot_be_folded_stops_no_other(
    world: GatewayWorld, odd: Event, is_working: bool
) -> None:
    """As those of a newer program, or of whoever doctors the log: it is left out, and said to be."""
    account = f"{world.account.split('/')[0]}-doctored/venue/simulated"
    if not is_working:
        await world.stop_gateway()
    await world.store.append(0, [propose(open_account(account), (book_created(account), created(), odd))])
    if not is_working:
        await world.start_gateway()

    def is_told() -> bool:
        assert world.gateway is not None
        return world.gateway.term is not None and account in world.gateway.term.status()["not_worked"]

    await until(is_told)
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)


async def test_what_happened_while_nobody_listened_is_caught_up_with(world: GatewayWorld) -> None:
    await world.execute(order(world))
    await world.execute(order(world, "o-2", limit_price=Decimal(90)))
    for order_id in ("o-1", "o-2"):
        await world.order_is(order_id, lambda o: o.stage is OrdStatus.NEW)
    await world.stop_gateway()
    await world.quote("99", "100")
    cancel_by_hand = {"account": world.account}
    await asyncio.to_thread(world.venue.post, "/orders/o-2:1/cancel", cancel_by_hand)
    await world.start_gateway()
    await world.order_is("o-1", lambda o: o.is_filled)
    await world.order_is("o-2", lambda o: o.final is OrdStatus.CANCELED)


async def test_the_venue_is_killed_and_comes_back(database: str, tmp_path: Path) -> None:
    with venue_process(tmp_path) as venue:
        async with gateway_world(database, venue) as world:
            await world.execute(order(world))
            await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
            venue.kill()
            await world.execute(order(world, "o-2"))
            await world.execute(cancel("o-1", world.account))
            await asyncio.to_thread(venue.start)
            await world.order_is("o-2", lambda o: o.stage is OrdStatus.NEW)
            await world.order_is("o-1", lambda o: o.final is OrdStatus.CANCELED and not o.doubts)
            await world.idle()
            assert (await world.order("o-2")).doubts == ()


async def test_two_gateways_take_turns(world: GatewayWorld) -> None:
    first = world.gateway
    assert first is not None
    broker = SimulatedBroker(world.venue.url, now, send_s=0.5)
    second = GatewayProcess(
        world.dsn, "simulated", 1, lambda _: broker, "second", now=now, new_id=uuid7, poll_interval_s=0.2, term_s=2.0
    )
    running = asyncio.create_task(second.run())
    await world.execute(order(world))
    await world.order_is("o-1", lambda o: o.stage is OrdStatus.NEW)
    assert not second.is_working
    await world.stop_gateway()
    await world.execute(order(world, "o-2"))
    await world.order_is("o-2", lambda o: o.stage is OrdStatus.NEW)
    await until(lambda: second.is_working)
    second.stop()
    await running
    await broker.close()


async def test_a_term_that_got_to_work_makes_the_next_pause_short_again(
    database: str, venue: VenueProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "Backoff", partial(Backoff, growth=1e6))
    monkeypatch.setattr(process, "PAUSE_S_MAX", 3_600.0)
    async with gateway_world(database, venue) as world:
        for _ in range(3):
            await next_term(world)


async def test_a_gateway_has_connected_only_once_there_is_an_account(database: str, venue: VenueProcess) -> None:
    world = GatewayWorld(database, venue)
    await world.bus.start()
    try:
        gateway = await world.start_gateway()
        assert gateway.term is not None
        assert gateway.term.status()["state"] == "idle"
        await world.execute(open_account(world.account))
        await until(lambda: gateway.term is not None and gateway.term.status()["state"] == "working")
    finally:
        await world.close()


async def next_term(world: GatewayWorld) -> None:
    gateway = world.gateway
    assert gateway is not None
    ended = gateway.term
    assert ended is not None
    ended.end(BrokerUnavailable("it was ended"))
    await until(lambda: gateway.is_working and gateway.term is not ended)


async def test_a_venue_that_begins_anew_is_read_from_its_beginning(database: str, tmp_path: Path) -> None:
    with venue_process(tmp_path / "old") as venue:
        async with gateway_world(database, venue) as world:
            await bought(world)
            await world.stop_gateway()
            venue.kill()
            venue.folder = tmp_path / "new"
            await asyncio.to_thread(venue.start)
            await world.start_gateway()
            await world.event_is("PositionMismatchDetected")
            await world.execute(transfer(world, "-2"))
            await world.caught_up()
            assert (await world.reconcile()).mismatches == {}
            await world.execute(order(world, "o-2"))
            await world.order_is("o-2", lambda o: o.stage is OrdStatus.NEW)
            await world.faults(drop=1)
            await world.quote("99", "100")
            await world.order_is("o-2", lambda o: o.is_filled)
