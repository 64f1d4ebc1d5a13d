"""The live adapter beyond the contract: what is a refusal, what is sent, whose trade it was, and the clock."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from foldbook.brokers.live import broker
from foldbook.brokers.live.binance import BinanceSpot
from foldbook.brokers.live.broker import CHECK_AGE_MAX, CHECK_EVERY, LiveBroker
from foldbook.brokers.live.client import _class_of
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import (
    Acknowledged,
    BrokerUnavailable,
    Completeness,
    InDoubt,
    Refused,
    client_order_id,
)
from foldbook.brokers.term import Opened
from foldbook.config import Settings
from foldbook.engine.gateways import Gateways
from foldbook.market.records import ns_of
from foldbook.trading.values import ExecType, OrderType, TimeInForce
from tests.brokers.binance_server import KEY, SECRET, binance_server
from tests.brokers.binance_shapes import Listed
from tests.brokers.trader import read, ref
from tests.brokers.worlds.live import ACCOUNT, Clock, LiveWorld, live_world, opened, order, settings_of
from tests.builders import NOW
from tests.waiting import until


@pytest.fixture
async def world() -> AsyncIterator[LiveWorld]:
    async with live_world() as world:
        yield world


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


def test_the_engine_tells_when_the_account_was_opened() -> None:
    """What traded before that is in what the account held then."""
    variables = {"FOLDBOOK_LIVE_BINANCE_ALICE_KEY": KEY, "FOLDBOOK_LIVE_BINANCE_ALICE_SECRET": SECRET}
    made = Gateways(Settings(), variables)._live(Opened(ACCOUNT, NOW))
    assert isinstance(made, LiveBroker) and made._settings.opened_at == NOW


def test_client_ids_of_foldbook_fit() -> None:
    capabilities = BinanceSpot().capabilities(LiveSettings(account=ACCOUNT, opened_at=NOW))
    made = client_order_id(ACCOUNT, "order-1", 1, capabilities)
    assert set(made) <= set(capabilities.id_alphabet) and len(made) <= capabilities.id_length_max


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [3.0, -3.0])
async def test_a_clock_that_is_off_at_the_start_ends_it(ahead_s: float) -> None:
    clock = Clock()
    async with binance_server(clock) as server:
        server.ahead_s = ahead_s
        with pytest.raises(LiveError, match=r"3\.000 s (ahead of|behind) this machine's: nothing is traded"):
            async with opened(settings_of(server), Credentials(KEY, SECRET), clock):
                pass


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
            async with opened(settings_of(server), Credentials(key, secret), clock):
                pass
    assert secret not in str(caught.value)


async def test_an_exchange_that_is_not_there_may_come_later() -> None:
    clock = Clock()
    async with binance_server(clock) as server:
        settings = settings_of(server)
    with pytest.raises(BrokerUnavailable):
        async with opened(settings, Credentials(KEY, SECRET), clock):
            pass


@pytest.mark.parametrize("account", ["alice/kraken/live", "alice/binance/simulated", "alice/binance/backtest"])
def test_an_exchange_that_was_not_tested_is_refused(account: str) -> None:
    with pytest.raises(LiveError, match="cannot be worked live"):
        LiveBroker(LiveSettings(account=account, opened_at=NOW), Credentials(KEY, SECRET), Clock())


@pytest.mark.parametrize("url", ["http://api.example.com", "http://10.0.0.1", "ftp://127.0.0.1", "api.example.com"])
def test_credentials_do_not_leave_the_machine_unencrypted(url: str) -> None:
    with pytest.raises(LiveError, match="no address for credentials"):
        LiveBroker(LiveSettings(account=ACCOUNT, opened_at=NOW, rest_url=url), Credentials(KEY, SECRET), Clock())


def test_without_ccxt_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    _class_of.cache_clear()
    with pytest.raises(LiveError, match=r"foldbook\[live\]"):
        LiveBroker(LiveSettings(account=ACCOUNT, opened_at=NOW), Credentials(KEY, SECRET), Clock())


async def test_it_connects_when_its_reports_are_wanted_and_tries_again() -> None:
    clock = Clock()
    async with binance_server(clock) as server:
        server.ahead_s = 3
        fresh = LiveBroker(settings_of(server), Credentials(KEY, SECRET), clock)
        try:
            assert isinstance(await fresh.submit(order()), Refused)
            with pytest.raises(BrokerUnavailable, match=r"3\.000 s ahead"):
                async with fresh.reports():
                    pass
            server.ahead_s = 0
            async with fresh.reports() as stream:
                assert isinstance(await fresh.submit(order()), Acknowledged)
                await read(stream, 1, ExecType.NEW)
        finally:
            await fresh.close()
