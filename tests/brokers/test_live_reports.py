"""What the live adapter tells: answers, the stream, and whose fills they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foldbook.brokers.live import binance, client, fills
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.port import (
    Acknowledged,
    BrokerUnavailable,
    Completeness,
    OrderRef,
    Refused,
    ReportKind,
)
from foldbook.trading.values import ExecType, TimeInForce
from tests.brokers.binance_server import KEY, SECRET
from tests.brokers.trader import WAIT_S, read, ref
from tests.brokers.worlds.live import (
    ACCOUNT,
    Clock,
    LiveWorld,
    at_market,
    elsewhere,
    live_world,
    opened,
    order,
    settings_of,
)


@pytest.fixture
async def world() -> AsyncIterator[LiveWorld]:
    async with live_world() as world:
        yield world


# -- what is told ------------------------------------------------------------------------------------------------------


async def test_an_answer_tells_what_was_traded_at_once(world: LiveWorld) -> None:
    await world.quote("99", "100", ask_size="0.25")
    async with world.broker.reports() as stream:
        outcome = await world.broker.submit(order(time_in_force=TimeInForce.IOC))
        (streamed,) = await read(stream, 1)
        await read(stream, 1, ExecType.EXPIRED)
    assert isinstance(outcome, Acknowledged)
    new, trade, expired = outcome.reports
    assert [report.exec_type for report in outcome.reports] == [ExecType.NEW, ExecType.TRADE, ExecType.EXPIRED]
    assert (trade.kind, trade.last_qty, trade.last_px) == (ReportKind.TRADE, Decimal("0.25"), Decimal(100))
    assert trade.exec_id == streamed.exec_id
    assert {report.client_order_id for report in (new, trade, expired)} == {"order-1"}
    assert outcome.raw is not None and '"clientOrderId":"order-1"' in outcome.raw


async def test_an_answer_and_the_stream_tell_the_same_in_the_same_words(world: LiveWorld) -> None:
    """A report's content is its identity: what is told twice is recorded once."""
    await world.quote("99", "100", ask_size="0.25")
    resting = order("order-2", limit_price=Decimal(90))
    async with world.broker.reports() as stream:
        outcomes = [
            await world.broker.submit(order("order-1", time_in_force=TimeInForce.IOC)),
            await world.broker.submit(resting),
            await world.broker.cancel(ref(resting), "request-1"),
        ]
        told = [report for outcome in outcomes if isinstance(outcome, Acknowledged) for report in outcome.reports]
        async with asyncio.timeout(WAIT_S):
            streamed = [await anext(stream) for _ in told]
    assert len(told) == 5
    assert [replace(report, raw=None) for report in told] == [replace(report, raw=None) for report in streamed]


async def test_a_fee_is_told_in_what_it_was_paid_in(world: LiveWorld) -> None:
    await world.quote("100", "100")
    async with world.broker.reports() as stream:
        outcomes = [await world.broker.submit(at_market(f"order-{side}", side)) for side in ("BUY", "SELL")]
        streamed = await read(stream, 2)
    polled = (await world.broker.fills_since(ACCOUNT, None)).reports
    answered = [report for outcome in outcomes if isinstance(outcome, Acknowledged)
                for report in outcome.reports if report.kind is ReportKind.TRADE]  # fmt: skip
    for told in (answered, streamed, polled):
        fees = [(report.fee, report.fee_currency) for report in told]
        assert fees == [(Decimal("0.001"), "BTC"), (Decimal("0.1"), "USDT")]


async def test_a_cancel_is_told_with_the_orders_own_id(world: LiveWorld) -> None:
    await world.broker.submit(order())
    async with world.broker.reports() as stream:
        outcome = await world.broker.cancel(ref(order()), "request-1")
        (streamed,) = await read(stream, 1, ExecType.CANCELED)
    assert isinstance(outcome, Acknowledged)
    for told in (*outcome.reports, streamed):
        assert (told.client_order_id, told.request_id) == ("order-1", "request-1")


async def test_a_cancel_by_somebody_else_answers_no_request(world: LiveWorld) -> None:
    await world.broker.submit(order())
    async with world.broker.reports() as stream:
        world.server.exchange.cancel({"symbol": "BTCUSDT", "origClientOrderId": "order-1"})
        (streamed,) = await read(stream, 1, ExecType.CANCELED)
    assert (streamed.client_order_id, streamed.request_id) == ("order-1", None)


async def test_a_cancel_names_the_order_by_both_ids(world: LiveWorld) -> None:
    """With a client id that was used twice, the exchange's id says which one."""
    outcome = await world.broker.submit(order())
    assert isinstance(outcome, Acknowledged)
    other = OrderRef(account=ACCOUNT, symbol="BTCUSDT", client_order_id="order-1", broker_order_id="17")
    assert isinstance(await world.broker.cancel(other, "request-1"), Refused)
    assert isinstance(await world.broker.cancel(ref(order(), outcome.broker_order_id), "request-2"), Acknowledged)


async def test_frames_about_something_else_are_passed_over(world: LiveWorld) -> None:
    async with world.broker.reports() as stream:
        world.server.tell({"e": "outboundAccountPosition", "E": 1, "u": 1, "B": []})
        world.server.tell({"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "1.0", "T": 1})
        await world.broker.submit(order())
        (told,) = await read(stream, 1, ExecType.NEW)
    assert told.client_order_id == "order-1"


@pytest.mark.parametrize(
    "event",
    [
        {"e": "eventStreamTerminated", "E": 1},
        {"e": "executionReport", "x": "NEW"},
        {"e": "executionReport", "x": None},
    ],
)
async def test_a_frame_that_makes_no_sense_ends_the_stream(world: LiveWorld, event: dict[str, Any]) -> None:
    async with world.broker.reports() as stream:
        world.server.tell(event)
        with pytest.raises(BrokerUnavailable, match="the stream of reports has ended"):
            async with asyncio.timeout(WAIT_S):
                await anext(stream)


async def test_a_stream_that_is_dead_without_having_ended_is_noticed(
    world: LiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "HEARTBEAT_S", 0.05)
    world.server.is_deaf = True
    async with world.broker.reports() as stream:
        with pytest.raises(BrokerUnavailable, match="the stream of reports has ended"):
            async with asyncio.timeout(WAIT_S):
                await anext(stream)


async def test_a_stream_with_a_wrong_signature_is_not_entered(world: LiveWorld) -> None:
    world.server.ahead_s = -10  # of the stream's request it finds that it comes from the future
    with pytest.raises(BrokerUnavailable, match="refused"):
        async with world.broker.reports():
            pass
    assert world.server.stream_count == 0


# -- whose fills -------------------------------------------------------------------------------------------------------


async def test_a_fill_of_somebody_elses_order_has_that_orders_id(world: LiveWorld) -> None:
    elsewhere(world, "web_1")
    await world.broker.submit(at_market("order-1"))
    polled = await world.broker.fills_since(ACCOUNT, None)
    assert [report.client_order_id for report in polled.reports] == ["web_1", "order-1"]


async def test_symbols_are_learnt_from_open_orders_and_the_stream(world: LiveWorld) -> None:
    assert (await world.broker.fills_since(ACCOUNT, None)).reports == ()
    world.server.exchange.place(
        {"symbol": "ETHUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "100",
         "newClientOrderId": "web_1"}
    )  # fmt: skip
    await world.broker.open_orders(ACCOUNT)
    world.server.exchange.quote("ETHUSDT", "99", "100")
    async with world.broker.reports() as stream:
        elsewhere(world, "web_2", "ETHBTC", "0.5")
        await read(stream, 1)
    polled = await world.broker.fills_since(ACCOUNT, None)
    assert polled.completeness is Completeness.PARTIAL
    assert [(report.symbol, report.client_order_id) for report in polled.reports] == [
        ("ETHBTC", "web_2"),
        ("ETHUSDT", "web_1"),
    ]
    assert len({report.exec_id for report in polled.reports}) == 2, "trade ids count within a symbol"


async def test_another_process_goes_on_at_the_cursor(world: LiveWorld) -> None:
    await world.quote("99", "100")
    await world.broker.submit(at_market("order-1"))
    before = await world.broker.fills_since(ACCOUNT, None)
    await world.broker.submit(at_market("order-2"))
    async with opened(settings_of(world.server), Credentials(KEY, SECRET), Clock()) as successor:
        after = await successor.fills_since(ACCOUNT, before.cursor)
    assert [report.client_order_id for report in (*before.reports, *after.reports)] == ["order-1", "order-2"]


async def test_a_symbol_in_which_nothing_has_traded_is_asked_for_by_another_process_too(world: LiveWorld) -> None:
    await world.broker.submit(order(symbol="ETHUSDT"))
    before = await world.broker.fills_since(ACCOUNT, None)
    world.server.exchange.quote("ETHUSDT", "99", "100", ask_size="0.5")
    await world.broker.cancel(ref(order(symbol="ETHUSDT")), "cancel-1")
    async with opened(settings_of(world.server), Credentials(KEY, SECRET), Clock()) as successor:
        after = await successor.fills_since(ACCOUNT, before.cursor)
    assert before.reports == ()
    assert [(report.client_order_id, report.last_qty) for report in after.reports] == [("order-1", Decimal("0.5"))]


async def test_the_symbols_of_the_orders_in_the_log_are_asked_for(world: LiveWorld) -> None:
    """But for those that the exchange does not have: their order was never sent."""
    elsewhere(world, "web_1", "ETHUSDT")

    async def symbols() -> list[str]:
        return ["ETHUSDT", "NOSUCH"]

    another = opened(settings_of(world.server), Credentials(KEY, SECRET), Clock(), symbols)
    async with another as broker, broker.reports():
        polled = await broker.fills_since(ACCOUNT, None)
    assert [report.client_order_id for report in polled.reports] == ["web_1"]


async def test_a_symbol_that_was_delisted_ends_no_questions_about_others(world: LiveWorld) -> None:
    """The exchange refuses each question about it, and the cursor keeps it."""
    await world.quote("99", "100")
    await world.broker.submit(at_market("order-1"))
    polled = await world.broker.fills_since(ACCOUNT, '{"next":{"GONEUSDT":7}}')
    assert [report.client_order_id for report in polled.reports] == ["order-1"]
    assert '"GONEUSDT":7' in (polled.cursor or "")


async def test_many_fills_come_in_pages(world: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance, "TRADES_PAGE", 3)
    for number in range(7):
        elsewhere(world, f"web_{number}")
    await world.broker.order_by_client_id(ref(order()))
    told, sizes, cursor = [], [], None
    while True:
        page = await world.broker.fills_since(ACCOUNT, cursor)
        told += [report.client_order_id for report in page.reports]
        sizes.append(len(page.reports))
        cursor = page.cursor
        if not page.has_more:
            break
    assert sizes == [3, 3, 1]
    assert told == [f"web_{number}" for number in range(7)]


async def test_a_page_ends_where_too_many_orders_are_unknown(world: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills, "LOOKUPS_MAX", 2)
    for number in range(3):
        elsewhere(world, f"web_{number}")
    await world.broker.order_by_client_id(ref(order()))
    first = await world.broker.fills_since(ACCOUNT, None)
    second = await world.broker.fills_since(ACCOUNT, first.cursor)
    assert [report.client_order_id for report in first.reports] == ["web_0", "web_1"]
    assert [report.client_order_id for report in second.reports] == ["web_2"]
    assert (first.has_more, second.has_more) == (True, False)


async def test_a_fill_whose_order_is_not_known_yet_is_not_told_yet(world: LiveWorld) -> None:
    """It would be taken for somebody else's."""
    elsewhere(world, "web_1")
    unknown = {"code": -2013, "msg": "Order does not exist."}
    await world.broker.order_by_client_id(ref(order()))
    world.server.answer("GET order", 400, unknown)
    early = await world.broker.fills_since(ACCOUNT, None)
    later = await world.broker.fills_since(ACCOUNT, early.cursor)
    assert early.reports == ()
    assert [report.client_order_id for report in later.reports] == ["web_1"]


async def test_a_fill_of_an_order_that_was_archived_is_foreign(world: LiveWorld) -> None:
    elsewhere(world, "web_1")
    await world.broker.order_by_client_id(ref(order()))
    await world.advance(2 * 86_400)
    world.server.answer("GET order", 400, {"code": -2013, "msg": "Order does not exist."})
    polled = await world.broker.fills_since(ACCOUNT, None)
    assert [(report.kind, report.client_order_id) for report in polled.reports] == [(ReportKind.FOREIGN_ORDER, None)]


@pytest.mark.parametrize("cursor", [None, '{"next":{"BTCUSDT":0}}'])
async def test_fills_from_before_the_account_was_opened_are_not_told(cursor: str | None) -> None:
    """But for as much as the exchange's clock may be behind: an order may be sent as soon as its account is open."""
    clock = Clock()
    async with live_world(opened_at=clock.time, symbols=("BTCUSDT",)) as world:
        for number, seconds in enumerate((-10, 9.5, 20)):
            await world.advance(seconds)
            elsewhere(world, f"web_{number}")
        polled = await world.broker.fills_since(ACCOUNT, cursor)
    assert [report.client_order_id for report in polled.reports] == ["web_1", "web_2"]


@pytest.mark.parametrize("cursor", ["", "7", "{}", '{"next": {"BTCUSDT": "x"}}', '{"next": {}, "more": 1}'])
async def test_a_cursor_of_somebody_else_is_refused(world: LiveWorld, cursor: str) -> None:
    with pytest.raises(BrokerUnavailable):
        await world.broker.fills_since(ACCOUNT, cursor)
