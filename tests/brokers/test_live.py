"""The live adapter beyond the contract: what is a refusal, what is sent, whose trade it was, and the clock."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from foldbook.brokers.live import binance, broker, fills
from foldbook.brokers.live.broker import CHECK_AGE_MAX, CHECK_EVERY, LiveBroker
from foldbook.brokers.live.client import _class_of
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError
from foldbook.brokers.port import (
    Acknowledged,
    BrokerUnavailable,
    Completeness,
    InDoubt,
    NewOrder,
    OrderRef,
    Refused,
    ReportKind,
    client_order_id,
)
from foldbook.market.records import ns_of
from foldbook.trading.values import ExecType, OrderType, Side, TimeInForce
from tests.brokers.binance_exchange import Listed
from tests.brokers.binance_server import KEY, SECRET, binance_server
from tests.brokers.contract import WAIT_S, read, ref, until
from tests.brokers.worlds.live import ACCOUNT, Clock, LiveWorld, live_world, settings_of


@pytest.fixture
async def world() -> AsyncIterator[LiveWorld]:
    async with live_world() as world:
        yield world


def order(client_id: str = "order-1", side: str = "BUY", **changed: Any) -> NewOrder:
    given: dict[str, Any] = {
        "account": ACCOUNT,
        "client_order_id": client_id,
        "symbol": "BTCUSDT",
        "side": Side(side),
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(1),
        "limit_price": Decimal(100),
    }
    return NewOrder(**(given | changed))


def at_market(client_id: str, side: str = "BUY", **changed: Any) -> NewOrder:
    return order(client_id, side, order_type=OrderType.MARKET, limit_price=None, **changed)


def elsewhere(world: LiveWorld, client_id: str, symbol: str = "BTCUSDT", quantity: str = "1") -> dict[str, Any]:
    """An order at market that somebody places at the exchange's own screen."""
    world.server.exchange.quote(symbol, "99", "100")
    return world.server.exchange.place(
        {"symbol": symbol, "side": "BUY", "type": "MARKET", "quantity": quantity, "newClientOrderId": client_id}
    )


# -- refusal or doubt --------------------------------------------------------------------------------------------------

REFUSALS = [
    (400, {"code": -2010, "msg": "Account has insufficient balance for requested action."}),
    (400, {"code": -1013, "msg": "Filter failure: NOTIONAL"}),
    (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}),
    (400, {"code": -1111, "msg": "Parameter 'quantity' has too much precision."}),
    (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
    (429, {"code": -1003, "msg": "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."}),
    (429, {"code": -1015, "msg": "Too many new orders; current limit is 100 orders per 10 SECOND."}),
]

DOUBTS = [
    (400, {"code": -2010, "msg": "Duplicate order sent."}),
    (400, {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
    (400, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
    (400, {"code": -1006, "msg": "An unexpected response was received. Execution status unknown."}),
    (408, {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown."}),
    (400, {"code": -4711, "msg": "A code that nobody knows."}),
    (400, {"msg": "no code"}),
    (400, "<html>Bad Request</html>"),
    (403, "<html>the firewall</html>"),
    (429, "<html>slow down</html>"),
    (500, {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
    (500, {"code": -2010, "msg": "Account has insufficient balance for requested action."}),
    (502, "<html>Bad Gateway</html>"),
    (503, {"code": -1008, "msg": "Server is currently overloaded with other requests."}),
    (504, "Gateway Timeout"),
    (200, {"code": -2010, "msg": "Account has insufficient balance for requested action."}),
    (200, {}),
    (200, []),
    (200, "null"),
    (200, ""),
    (200, '{"orderId": '),
    (200, {"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "another", "transactTime": 1, "status": "NEW",
           "side": "BUY"}),
    (200, {"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "order-1", "transactTime": 1, "status": "WHATEVER",
           "side": "BUY"}),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), REFUSALS)
async def test_what_the_exchange_says_in_so_many_words_is_a_refusal(world: LiveWorld, status: int, body: Any) -> None:
    world.server.answer("POST order", status, body)
    outcome = await world.broker.submit(order())
    assert isinstance(outcome, Refused)
    assert outcome.reason == f"{body['msg']} ({body['code']})"
    assert outcome.raw is not None and body["msg"] in outcome.raw


@pytest.mark.parametrize(("status", "body"), DOUBTS)
async def test_anything_else_is_a_doubt(world: LiveWorld, status: int, body: Any) -> None:
    world.server.answer("POST order", status, body)
    outcome = await world.broker.submit(order())
    assert isinstance(outcome, InDoubt) and outcome.reason
    assert len(world.server.sent("POST")) == 1


async def test_a_duplicate_is_the_order_that_was_sent_before(world: LiveWorld) -> None:
    first = await world.broker.submit(order())
    assert isinstance(await world.broker.submit(order()), InDoubt)
    answer = await world.broker.order_by_client_id(ref(order()))
    assert isinstance(first, Acknowledged)
    assert [state.broker_order_id for state in answer.items] == [first.broker_order_id]


async def test_a_client_id_is_free_again_once_its_order_is_closed(world: LiveWorld) -> None:
    """Which is why it counts as no deduplication: an order that was filled at once could be sent twice."""
    await world.quote("99", "100")
    outcomes = [await world.broker.submit(order()) for _ in range(2)]
    assert all(isinstance(outcome, Acknowledged) for outcome in outcomes)
    assert world.broker.capabilities.dedup_s is None
    answer = await world.broker.order_by_client_id(ref(order()))
    assert answer.completeness is Completeness.PARTIAL


@pytest.mark.parametrize("fault", ["lose_request", "lose_ack", "status_500", "nonsense"])
async def test_a_question_without_an_answer_says_so(world: LiveWorld, fault: str) -> None:
    await world.broker.submit(order())
    await world.faults(**{fault: 100})
    for ask in (
        lambda: world.broker.order_by_client_id(ref(order())),
        lambda: world.broker.open_orders(ACCOUNT),
        lambda: world.broker.fills_since(ACCOUNT, None),
        lambda: world.broker.balances(ACCOUNT),
    ):
        with pytest.raises(BrokerUnavailable):
            await ask()


async def test_closing_leaves_what_is_under_way_in_doubt(world: LiveWorld) -> None:
    await world.faults(hang=1, hang_ms=60_000)
    sending = asyncio.create_task(world.broker.submit(order()))

    async def is_under_way() -> bool:
        return bool(world.server.sent("POST"))

    await until(is_under_way)
    await world.broker.close()
    assert isinstance(await sending, InDoubt)


# -- what is sent ------------------------------------------------------------------------------------------------------


async def test_amounts_are_sent_in_plain_notation(world: LiveWorld) -> None:
    outcome = await world.broker.submit(order(quantity=Decimal("1E-8"), limit_price=Decimal("1E+2")))
    assert isinstance(outcome, Acknowledged)
    params = world.server.sent("POST")[0].params
    assert (params["quantity"], params["price"], params["newClientOrderId"]) == ("0.00000001", "100", "order-1")
    assert int(params["timestamp"]) == ns_of(world.now()) // 1_000_000


UNFIT: list[dict[str, Any]] = [
    {"quantity": Decimal("0.000000001")},
    {"quantity": Decimal(0)},
    {"quantity": Decimal(-1)},
    {"quantity": Decimal("1e12")},
    {"limit_price": Decimal("100.001")},
    {"limit_price": Decimal("0.001")},
    {"symbol": "ETHUSDT", "quantity": Decimal("0.0001")},
    {"symbol": "BTC/USDT"},
    {"symbol": "btcusdt"},
    {"symbol": "BTCUSD"},
    {"limit_price": None},
    {"stop_price": Decimal(100)},
    {"time_in_force": TimeInForce.DAY},
    {"time_in_force": TimeInForce.AT_THE_CLOSE},
    {"reduce_only": True},
    {"trailing_offset": Decimal(1)},
    {"display_quantity": Decimal("0.1")},
    {"cash_quantity": Decimal(100)},
    {"client_order_id": "with:colon"},
    {"client_order_id": "x" * 37},
    {"client_order_id": ""},
    {"post_only": True, "time_in_force": TimeInForce.IOC},
    {"order_type": OrderType.MARKET_TO_LIMIT},
    {"order_type": OrderType.MARKET, "limit_price": None, "quantity": Decimal("2e6")},
    {"order_type": OrderType.MARKET, "limit_price": None, "time_in_force": TimeInForce.FOK},
]


@pytest.mark.parametrize("changed", UNFIT)
async def test_what_would_have_to_be_changed_is_refused_and_not_sent(world: LiveWorld, changed: Any) -> None:
    outcome = await world.broker.submit(order(**changed))
    assert isinstance(outcome, Refused) and outcome.reason
    assert world.server.sent("POST") == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {"type": "LIMIT", "timeInForce": "GTC", "price": "100"}),
        ({"post_only": True}, {"type": "LIMIT_MAKER", "timeInForce": None, "price": "100"}),
        ({"time_in_force": TimeInForce.IOC}, {"type": "LIMIT", "timeInForce": "IOC"}),
        (
            {"order_type": OrderType.STOP, "limit_price": None, "stop_price": Decimal(110)},
            {"type": "STOP_LOSS", "timeInForce": None, "price": None, "stopPrice": "110"},
        ),
        (
            {"order_type": OrderType.STOP_LIMIT, "stop_price": Decimal(110)},
            {"type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "price": "100", "stopPrice": "110"},
        ),
    ],
)
async def test_orders_in_the_words_of_the_exchange(world: LiveWorld, changed: Any, expected: dict[str, Any]) -> None:
    outcome = await world.broker.submit(order(**changed))
    assert isinstance(outcome, Acknowledged), outcome
    params = world.server.sent("POST")[0].params
    assert {name: params.get(name) for name in expected} == expected


async def test_a_symbol_that_is_listed_later_is_learnt(world: LiveWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    new = order(symbol="SOLUSDT")
    assert isinstance(await world.broker.submit(new), Refused)
    listed = world.server.exchange.exchange_info()
    listed["symbols"].append(Listed("SOLUSDT", "SOL", "USDT").info())
    monkeypatch.setattr(world.server.exchange, "exchange_info", lambda: listed)
    await world.advance(CHECK_EVERY.total_seconds())
    await world.broker.fills_since(ACCOUNT, None)
    outcome = await world.broker.submit(new)
    assert isinstance(outcome, Refused) and "Invalid symbol" in outcome.reason, (
        "the book of this server has no such symbol"
    )
    assert [sent.params["symbol"] for sent in world.server.sent("POST")] == ["SOLUSDT"]


def test_client_ids_of_foldbook_fit() -> None:
    capabilities = binance.BinanceSpot().capabilities(settings_of_nothing())
    made = client_order_id(ACCOUNT, "order-1", 1, capabilities)
    assert set(made) <= set(capabilities.id_alphabet) and len(made) <= capabilities.id_length_max


def settings_of_nothing() -> Any:
    from foldbook.brokers.live.settings import LiveSettings

    return LiveSettings(account=ACCOUNT)


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
    successor = await LiveBroker.open(settings_of(world.server), Credentials(KEY, SECRET), world.now)
    try:
        after = await successor.fills_since(ACCOUNT, before.cursor)
    finally:
        await successor.close()
    assert [report.client_order_id for report in (*before.reports, *after.reports)] == ["order-1", "order-2"]


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


async def test_fills_before_the_accounts_time_here_are_not_told() -> None:
    clock = Clock()
    async with live_world(since=clock.time, symbols=("BTCUSDT",)) as world:
        await world.advance(-10)
        elsewhere(world, "web_1")
        await world.advance(20)
        elsewhere(world, "web_2")
        polled = await world.broker.fills_since(ACCOUNT, None)
    assert [report.client_order_id for report in polled.reports] == ["web_2"]


@pytest.mark.parametrize("cursor", ["", "7", "{}", '{"next": {"BTCUSDT": "x"}}', '{"next": {}, "more": 1}'])
async def test_a_cursor_of_somebody_else_is_refused(world: LiveWorld, cursor: str) -> None:
    with pytest.raises(BrokerUnavailable):
        await world.broker.fills_since(ACCOUNT, cursor)


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [3.0, -3.0])
async def test_a_clock_that_is_off_at_the_start_ends_it(ahead_s: float) -> None:
    clock = Clock()
    async with binance_server(clock) as server:
        server.ahead_s = ahead_s
        with pytest.raises(LiveError, match=r"3\.000 s (ahead of|behind) this machine's: nothing is traded"):
            await LiveBroker.open(settings_of(server), Credentials(KEY, SECRET), clock)


async def test_how_far_the_clocks_differ_is_told(world: LiveWorld) -> None:
    world.server.ahead_s = 0.25
    await world.advance(CHECK_EVERY.total_seconds())
    await world.broker.fills_since(ACCOUNT, None)
    check = world.broker.clock_check
    assert check is not None and (check.difference_s, check.is_off, check.at) == (0.25, False, world.now())


async def test_clocks_are_compared_though_nobody_asks_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "LOOK_EVERY_S", 0.01)
    async with live_world() as world:
        await world.advance(CHECK_EVERY.total_seconds())

        async def is_compared() -> bool:
            check = world.broker.clock_check
            return check is not None and check.at == world.now()

        await until(is_compared)


async def test_a_clock_that_goes_wrong_stops_orders_but_no_cancels(world: LiveWorld) -> None:
    await world.broker.submit(order())
    world.server.ahead_s = 3
    await world.advance(CHECK_EVERY.total_seconds())
    await world.broker.fills_since(ACCOUNT, None)
    outcome = await world.broker.submit(order("order-2"))
    assert isinstance(outcome, Refused) and "3.000 s ahead" in outcome.reason
    assert len(world.server.sent("POST")) == 1
    assert isinstance(await world.broker.cancel(ref(order()), "request-1"), Acknowledged)
    world.server.ahead_s = 0
    await world.broker.fills_since(ACCOUNT, None)
    assert isinstance(await world.broker.submit(order("order-2")), Acknowledged)


async def test_without_a_comparison_nothing_is_traded(world: LiveWorld) -> None:
    for _ in range(100):
        world.server.answer("GET time", 503, "<html>maintenance</html>")
    await world.advance(CHECK_EVERY.total_seconds())
    await world.broker.fills_since(ACCOUNT, None)
    assert isinstance(await world.broker.submit(order("order-1")), Acknowledged)
    await world.advance(CHECK_AGE_MAX.total_seconds())
    await world.broker.fills_since(ACCOUNT, None)
    outcome = await world.broker.submit(order("order-2"))
    assert isinstance(outcome, Refused) and "have not been compared" in outcome.reason


# -- who is let in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "secret", "told"), [(KEY, "another", "Signature for this request"), ("another", SECRET, "Invalid API-key")]
)
async def test_wrong_credentials_are_told_at_the_start(key: str, secret: str, told: str) -> None:
    clock = Clock()
    async with binance_server(clock) as server:
        with pytest.raises(LiveError, match=told) as caught:
            await LiveBroker.open(settings_of(server), Credentials(key, secret), clock)
    assert secret not in str(caught.value)


async def test_an_exchange_that_is_not_there_may_come_later() -> None:
    clock = Clock()
    async with binance_server(clock) as server:
        settings = settings_of(server)
    with pytest.raises(BrokerUnavailable):
        await LiveBroker.open(settings, Credentials(KEY, SECRET), clock)


@pytest.mark.parametrize("account", ["alice/kraken/live", "alice/binance/simulated", "alice/binance/backtest"])
async def test_an_exchange_that_was_not_tested_is_refused(account: str) -> None:
    async with binance_server(Clock()) as server:
        with pytest.raises(LiveError, match="cannot be worked live"):
            await LiveBroker.open(settings_of(server, account=account), Credentials(KEY, SECRET), Clock())


@pytest.mark.parametrize("url", ["http://api.example.com", "http://10.0.0.1", "ftp://127.0.0.1", "api.example.com"])
async def test_credentials_do_not_leave_the_machine_unencrypted(url: str) -> None:
    async with binance_server(Clock()) as server:
        with pytest.raises(LiveError, match="no address for credentials"):
            await LiveBroker.open(settings_of(server, rest_url=url), Credentials(KEY, SECRET), Clock())


async def test_without_ccxt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    _class_of.cache_clear()
    async with binance_server(Clock()) as server:
        with pytest.raises(LiveError, match=r"foldbook\[live\]"):
            await LiveBroker.open(settings_of(server), Credentials(KEY, SECRET), Clock())
