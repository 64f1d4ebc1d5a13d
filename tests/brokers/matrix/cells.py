"""A cell of the matrix: a gateway is killed at a step of a request, while the venue does what it should not.

Its order is placed, and canceled or replaced; the gateway dies at the step; the market moves; another gateway takes
over. In the end everything that was asked for has come about, once, and the book has what the venue has.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from foldbook.brokers.asking import STAY_PAUSE_S
from foldbook.errors import Refusal
from foldbook.trading.commands import BookCommand
from foldbook.trading.events import Doubt
from foldbook.trading.order import Order
from foldbook.trading.values import DoubtOutcome, ExecType, OrdStatus, PendingRequest, RequestKind
from tests.brokers.gateway_world import WAIT_S, now
from tests.brokers.matrix.stand import CaughtGateway, Stand
from tests.brokers.matrix.traps import Catch, Request, Step, Told, Trap
from tests.builders import cancel, place, replace_order, resolve

ORDER_ID = "o-1"
CATCH_S = 10.0
"""How long the gateway has until it must be in the trap."""

FAULTS: dict[str, dict[str, int]] = {
    "none": {},
    "lose_ack": {"lose_ack": 1},
    "lose_request": {"lose_request": 1},
    "delay": {"delay_ms": 100},
    "drop": {"drop": 3},
    "repeat": {"repeat": 5},
    "reorder": {"reorder": 3},
    "disconnect": {"disconnect": 1},
    "status_500": {"status_500": 1},
    "nonsense": {"nonsense": 1},
    "hang": {"hang": 1, "hang_ms": 700},
    "forget_dedup": {"forget_dedup": 1},
    "refuse_late": {"refuse_late": 1},
}

_SCOPES = {
    Request.SUBMIT: "submit",
    Request.CANCEL: "cancel",
    Request.REPLACE: "replace",
    Request.CANCEL_OF_LEG: "cancel",
    Request.NEW_LEG: "submit",
}

Row = dict[str, Any]


class Rules(NamedTuple):
    """What the venue does about ids and replaces."""

    deduplicates: bool
    replaces: str = "in place"

    @property
    def options(self) -> tuple[str, ...]:
        told = {"in place": (), "moves the id": ("--replace-moves-id",), "never": ("--no-replace",)}[self.replaces]
        return ("--fee", "taker=0.001", *told, *(() if self.deduplicates else ("--no-dedup",)))

    def __str__(self) -> str:
        return f"dedup {'on' if self.deduplicates else 'off'}, replaces {self.replaces}"


REQUESTS = {
    "in place": (Request.SUBMIT, Request.CANCEL, Request.REPLACE),
    "moves the id": (Request.REPLACE,),
    "never": (Request.CANCEL_OF_LEG, Request.NEW_LEG),
}
"""By what the venue does about replaces: the requests that are of interest there."""

RULES = tuple(Rules(deduplicates, replaces) for replaces in REQUESTS for deduplicates in (True, False))


class Cell(NamedTuple):
    rules: Rules
    request: Request
    step: Step
    fault: str

    def __str__(self) -> str:
        return f"{self.request}, {self.step}, {self.fault}; {self.rules}"

    @property
    def may_end_first(self) -> bool:
        """May the order be refused late before the request about it comes to the step?"""
        return self.fault == "refuse_late" and self.request not in (Request.SUBMIT, Request.NEW_LEG)

    @property
    def decision(self) -> DoubtOutcome:
        """What a person says about a doubt that stays: one cell this, the next one that."""
        is_odd = (list(FAULTS).index(self.fault) + list(Step).index(self.step)) % 2
        return DoubtOutcome.REJECTED if is_odd else DoubtOutcome.RESEND


def all_cells() -> Iterator[Cell]:
    for rules in RULES:
        for request in REQUESTS[rules.replaces]:
            for step in Step:
                for fault in FAULTS:
                    yield Cell(rules, request, step, fault)


class Result(NamedTuple):
    cell: Cell
    was_caught: bool
    doubts: int
    """All that there were, and all have ended."""
    decisions: int


class NotCaught(Exception):
    """The gateway lost its lease before it came to the step: nothing was tried."""


async def try_cell(stand: Stand, cell: Cell) -> Result:
    """Raises what did not hold, as an ``AssertionError``; ``NotCaught``."""
    await prepare(stand, cell)
    before = stand.working
    standby = await catch(stand, cell, Catch.KILL)
    was_caught = await before.is_gone(CATCH_S)
    if not was_caught:
        await before.end()
    await move_market(stand)
    if cell.step is Step.RECONCILING:
        if not await standby.is_gone(CATCH_S):
            was_caught = False
            await standby.end()
        standby = await stand.gateway()
    stand.working = standby
    await standby.works()
    if not was_caught and not cell.may_end_first:
        raise NotCaught(str(cell))
    decisions = await finish(stand, cell)
    events = await stand.world.types()
    return Result(cell, was_caught, events.count("OrderInDoubt"), decisions)


# -- its course --------------------------------------------------------------------------------------------------------


async def prepare(stand: Stand, cell: Cell) -> None:
    """The order, if the request is about one: a quarter of it has traded."""
    world = stand.world
    await world.faults()
    await stand.open_account()
    if cell.request is Request.SUBMIT or cell.may_end_first:
        return
    await stand.execute(place(ORDER_ID, world.account, symbol=world.symbol, received_at=now()))
    await world.order_is(ORDER_ID, lambda o: o.stage is OrdStatus.NEW)
    await world.quote("99", "100", "1", "0.5")
    await world.order_is(ORDER_ID, lambda o: o.cum_qty == Decimal("0.5"))


async def catch(stand: Stand, cell: Cell, how: Catch) -> CaughtGateway:
    """Set the traps, and ask. Returns the gateway that will take over."""
    account = stand.world.account
    is_twice = (
        cell.step is Step.RECONCILING
    )  # The first dies with the request on its way, the second when it reconciles.
    step = Step.DURING_SEND if is_twice else cell.step
    trap = Trap(account=account, step=step, request=cell.request, catch=how)
    second = Trap(account=account, step=Step.RECONCILING, request=cell.request, catch=how) if is_twice else None
    standby = await stand.gateway(second)
    await stand.working.tell(Told(trap=trap))
    await stand.world.faults(**FAULTS[cell.fault], scope=_SCOPES[cell.request])
    if cell.may_end_first:
        await stand.execute(place(ORDER_ID, account, symbol=stand.world.symbol, received_at=now()))
    try:
        await stand.execute(_asked(stand, cell))
    except Refusal:  # The venue has refused the order already.
        assert cell.may_end_first
    return standby


def _asked(stand: Stand, cell: Cell) -> BookCommand:
    world = stand.world
    if cell.request is Request.SUBMIT:
        return place(ORDER_ID, world.account, symbol=world.symbol, received_at=now())
    if cell.request is Request.CANCEL:
        return cancel(ORDER_ID, world.account)
    return replace_order(ORDER_ID, world.account, quantity=Decimal(3), limit_price=Decimal(101))


async def move_market(stand: Stand) -> None:
    """What works at the venue trades a little while nobody looks."""
    await stand.world.quote("99", "100", "1", "0.25")


async def finish(stand: Stand, cell: Cell) -> int:
    """Until all is quiet, decided and filled. Returns how many decisions a person had to make."""
    await stand.settle()
    await stand.world.faults()
    await stand.settle()
    decisions = await decide(stand, cell)
    await stand.world.quote("99", "100", "50", "50")
    await agrees(stand, cell, decisions)
    return decisions


async def decide(stand: Stand, cell: Cell) -> int:
    """The doubts that stay are those that only a person can end, and are there to be seen."""
    world = stand.world
    doubts = await _doubts_that_stay(stand, cell)
    decisions = 0
    for doubt in doubts:
        # Against a cancel nothing is sent.
        is_unwanted = (await world.order(ORDER_ID)).pending_request is PendingRequest.CANCEL
        outcome = DoubtOutcome.REJECTED if is_unwanted else cell.decision
        decision = resolve(doubt.doubt_id, outcome, account=world.account, reason="it is not on the screen")
        try:
            await stand.execute(decision)
        except Refusal:  # The venue's late refusal was quicker than the person.
            assert doubt not in (await world.order(ORDER_ID)).doubts
        else:
            decisions += 1
    if doubts:
        await stand.settle()
    return decisions


async def _doubts_that_stay(stand: Stand, cell: Cell) -> tuple[Doubt, ...]:
    """Once all others have ended, and these are there to be seen."""
    problem: AssertionError | None = None
    try:
        async with asyncio.timeout(STAY_PAUSE_S + WAIT_S):  # Until the gateway has asked again.
            while True:
                order = await stand.world.order(ORDER_ID)
                try:
                    for doubt in order.doubts:
                        await _assert_only_a_person_knows(stand, cell, order, doubt)
                    assert await stand.visible_doubts() == {doubt.doubt_id for doubt in order.doubts}
                    return order.doubts
                except AssertionError as error:
                    problem = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        assert problem is not None
        raise problem from None


async def _assert_only_a_person_knows(stand: Stand, cell: Cell, order: Order, doubt: Doubt) -> None:
    """Where an id is taken only once, what did not arrive is sent again; but nothing is sent against a cancel."""
    is_sent_again = cell.rules.deduplicates and order.pending_request is not PendingRequest.CANCEL
    assert not is_sent_again, f"{doubt} stays, although the venue deduplicates"
    assert doubt.request in (RequestKind.SUBMIT, RequestKind.REPLACE), f"{doubt} stays"
    leg = 1 if doubt.request is RequestKind.SUBMIT else order.leg if order.leg > 1 else 2
    known = [each["client_order_id"] for each in await asyncio.to_thread(stand.venue.orders, stand.world.account)]
    assert f"{ORDER_ID}:{leg}" not in known, f"{doubt} stays, although the venue has the order"


# -- what must hold ----------------------------------------------------------------------------------------------------


async def agrees(stand: Stand, cell: Cell, decisions: int) -> None:
    """Wait until nothing is left to say against it."""
    problems: list[str] = []
    try:
        async with asyncio.timeout(WAIT_S):
            while problems := await found_wrong(stand, cell, decisions):
                await asyncio.sleep(0.05)
    except TimeoutError:
        told = "\n  ".join((*problems, *await world_of(stand)))
        raise AssertionError(f"{cell}:\n  {told}") from None


async def world_of(stand: Stand) -> list[str]:
    """What there is to know, for who has to find out."""
    world = stand.world
    orders = await asyncio.to_thread(world.venue.orders, world.account)
    requests = await asyncio.to_thread(stand.venue.requests, world.account)
    at_venue = [f"venue: {o['client_order_id']} {o['status']} {o['cum_qty']}/{o['quantity']}" for o in orders]
    return [f"events: {' '.join(await world.types())}", *at_venue, f"requests: {requests}"]


async def found_wrong(stand: Stand, cell: Cell, decisions: int) -> list[str]:
    world, venue = stand.world, stand.venue
    orders = await asyncio.to_thread(venue.orders, world.account)
    fills = await asyncio.to_thread(venue.fills, world.account)
    requests = await asyncio.to_thread(venue.requests, world.account)
    positions = await asyncio.to_thread(venue.positions, world.account)
    order, book = await world.order(ORDER_ID), await world.book()
    wrong = [
        *doubled(cell, orders, requests, decisions),
        *lost(cell, order, orders, decisions),
        *different(order, orders, fills),
    ]
    held = {symbol: Decimal(quantity) for symbol, quantity in positions.items() if Decimal(quantity)}
    booked = {symbol: position.quantity for symbol, position in book.positions.items() if position.quantity}
    if held != booked:
        wrong.append(f"the book holds {booked}, the venue {held}")
    if book.risk.mismatches:
        wrong.append(f"there is a mismatch: {book.risk.mismatches}")
    return wrong


def doubled(cell: Cell, orders: Sequence[Row], requests: Sequence[str], decisions: int) -> Iterator[str]:
    """Never two orders at the venue that could trade for the one; nothing twice where that makes a second one."""
    for client_id, times in Counter(order["client_order_id"] for order in orders).items():
        if times > 1:
            yield f"{client_id} is {times} orders at the venue"
    spans = sorted(
        (order["created_at"], "9" if order["leaves_qty"] != "0" else order["updated_at"]) for order in orders
    )
    for (_, ended), (began, _) in pairwise(spans):
        if began < ended:
            yield f"two orders worked at once: one began at {began}, the other ended at {ended}"
    if not cell.rules.deduplicates:
        for asked, times in Counter(r for r in requests if r.startswith("submit ")).items():
            if times > 1 + decisions:
                yield f"{asked} was sent {times} times"


def lost(cell: Cell, order: Order, orders: Sequence[Row], decisions: int) -> Iterator[str]:
    """All that was asked for has come about, but for what the venue or a person refused."""
    if order.doubts:
        yield f"there is a doubt: {order.doubts}"
    if order.is_open:
        yield f"the order has not ended: {order.status}"
    if cell.fault == "refuse_late" or (decisions and cell.decision is DoubtOutcome.REJECTED):
        return
    if cell.request is Request.CANCEL:
        if order.final is not OrdStatus.CANCELED and not (decisions and order.final is OrdStatus.REJECTED):
            yield f"it was not canceled: {order.status}"
    else:
        wanted = Decimal(2) if cell.request is Request.SUBMIT else Decimal(3)
        if (order.status, order.quantity, order.cum_qty) != (OrdStatus.FILLED, wanted, wanted):
            yield f"it was not filled: {order.status}, {order.cum_qty} of {order.quantity}"


def different(order: Order, orders: Sequence[Row], fills: Sequence[Row]) -> Iterator[str]:
    """Book = venue."""
    if any(each["leaves_qty"] != "0" for each in orders) != order.is_open:
        yield f"the order is {order.status} in the book, and {[each['status'] for each in orders]} at the venue"
    if orders and order.status != orders[-1]["status"] and len(orders) == 1:
        yield f"the order is {order.status} in the book, and {orders[-1]['status']} at the venue"
    at_venue = sum((Decimal(each["cum_qty"]) for each in orders), Decimal(0))
    if order.cum_qty != at_venue:
        yield f"{order.cum_qty} has traded in the book, {at_venue} at the venue"
    booked = sorted(exec_id for exec_id, told in order.executions.items() if told.exec_type is ExecType.TRADE)
    traded = sorted(fill["exec_id"] for fill in fills)
    if booked != traded:
        yield f"the fills are {booked} in the book, {traded} at the venue"
    fees = sum((Decimal(fill["fee"]) for fill in fills if fill.get("fee")), Decimal(0))
    if sum(order.fees.values(), Decimal(0)) != fees:
        yield f"the fees are {order.fees} in the book, {fees} at the venue"
