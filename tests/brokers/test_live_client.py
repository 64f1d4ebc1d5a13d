"""The way to an exchange: nothing is sent twice, too much or too often, and nobody sees the credentials."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import pytest

from foldbook.brokers.live.broker import LiveBroker
from foldbook.brokers.live.client import own_url
from foldbook.brokers.live.credentials import Credentials
from foldbook.brokers.live.errors import LiveError, Said, Unclear
from foldbook.brokers.live.settings import LiveSettings
from foldbook.brokers.port import Acknowledged, BrokerUnavailable, InDoubt, Refused
from tests.brokers.binance_server import KEY, SECRET, binance_server
from tests.brokers.trader import ref
from tests.brokers.worlds.live import ACCOUNT, Clock, LiveWorld, live_world, opened, order, settings_of
from tests.builders import NOW


@pytest.fixture
async def world() -> AsyncIterator[LiveWorld]:
    async with live_world() as world:
        yield world


# -- nothing is sent twice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lose_request", "lose_ack", "status_500", "nonsense", "hang"])
async def test_a_request_is_sent_once(world: LiveWorld, fault: str) -> None:
    """Also over a connection that was used before, by which aiohttp would send a DELETE or GET again."""
    await world.broker.submit(order("order-0"))
    await world.faults(**{fault: 1, "hang_ms": 5_000}, scope="submit")
    assert isinstance(await world.broker.submit(order()), InDoubt)
    assert len(world.server.sent("POST")) == 2
    await world.faults(**{fault: 1, "hang_ms": 5_000}, scope="cancel")
    assert isinstance(await world.broker.cancel(ref(order("order-0")), "request-1"), InDoubt)
    assert len(world.server.sent("DELETE")) == 1
    await world.faults(**{fault: 1, "hang_ms": 5_000}, scope="question")
    with pytest.raises(BrokerUnavailable):
        await world.broker.order_by_client_id(ref(order()))
    assert len(world.server.sent("GET")) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(world: LiveWorld, status: int) -> None:
    """Where it leads nobody has signed for."""
    world.server.answer("POST order", status, "", Location=f"{world.server.rest_url}/api/v3/order")
    assert isinstance(await world.broker.submit(order()), InDoubt)
    assert len(world.server.sent("POST")) == 1
    assert world.server.exchange.orders == {}


# -- nor too often -----------------------------------------------------------------------------------------------------


async def test_what_the_rate_limit_leaves_no_room_for_is_not_sent() -> None:
    async with live_world(rate_wait_s=0.05) as world:
        asked = 0
        with contextlib.suppress(BrokerUnavailable):
            while True:
                await world.broker.open_orders(ACCOUNT)
                asked += 1
        sent = 0
        while isinstance(outcome := await world.broker.submit(order(f"order-{sent}")), Acknowledged):
            sent += 1
        assert isinstance(outcome, Refused) and "rate limit" in outcome.reason
        assert asked == len(world.server.sent("GET", "openOrders")) > 10
        assert sent == len(world.server.sent("POST"))


@pytest.mark.parametrize(("headers", "waits_s"), [({"Retry_After": "7"}, 7), ({}, 60)])
@pytest.mark.parametrize("status", [418, 429])
async def test_an_exchange_that_wants_silence_gets_it(
    world: LiveWorld, status: int, headers: dict[str, str], waits_s: int
) -> None:
    told = {"code": -1003, "msg": "Way too much request weight used; IP banned."}
    world.server.answer("POST order", status, told, **headers)
    assert isinstance(await world.broker.submit(order()), Refused)
    await world.advance(waits_s - 1)
    outcome = await world.broker.submit(order())
    assert isinstance(outcome, Refused) and "asked for silence" in outcome.reason
    with pytest.raises(BrokerUnavailable, match="asked for silence"):
        await world.broker.open_orders(ACCOUNT)
    assert len(world.server.sent("POST")) == 1
    await world.advance(1)
    assert isinstance(await world.broker.submit(order()), Acknowledged)


# -- nobody sees the credentials ---------------------------------------------------------------------------------------


def shown(*things: object) -> str:
    """All that one can see of them: an exception with its whole chain, anything else as text."""
    return "\n".join(
        "".join(traceback.format_exception(thing)) if isinstance(thing, BaseException) else f"{thing}\n{thing!r}"
        for thing in things
    )


async def failure(ask: Callable[[], Awaitable[Any]]) -> object:
    try:
        return await ask()
    except Exception as error:
        return error


ECHO = {"code": -1022, "msg": f"Signature for this request is not valid: apiKey={KEY}&signature=00ff {SECRET}"}
ANSWERS = [
    (400, ECHO),
    (500, f"<html>{KEY} {SECRET} signature=00ff</html>"),
    (502, ECHO),
    (403, f"{KEY}"),
    (200, f"{KEY} {SECRET}"),
    (200, {"orderId": KEY}),
]


@pytest.mark.parametrize(("status", "body"), ANSWERS)
async def test_an_answer_shows_no_credentials(
    world: LiveWorld, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], status: int, body: Any
) -> None:
    with caplog.at_level(logging.DEBUG):
        things: list[object] = [world.broker, vars(world.broker), world.broker.capabilities]
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "POST order": lambda: world.broker.submit(order()),
            "DELETE order": lambda: world.broker.cancel(ref(order()), "request-1"),
            "GET order": lambda: world.broker.order_by_client_id(ref(order())),
            "GET openOrders": lambda: world.broker.open_orders(ACCOUNT),
            "GET myTrades": lambda: world.broker.fills_since(ACCOUNT, '{"next":{"BTCUSDT":0}}'),
            "GET account": lambda: world.broker.balances(ACCOUNT),
        }
        for name, ask in calls.items():
            world.server.answer(name, status, body)
            things.append(await failure(ask))
            assert not world.server.answers[name], "it was not asked"
    _expect_nothing(shown(*things), caplog, capfd)


@pytest.mark.parametrize("fault", ["lose_request", "status_500", "nonsense", "hang"])
async def test_a_failure_shows_no_credentials(
    world: LiveWorld, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    """ccxt's own errors have the URL with its signature in them, its debug log the headers, too."""
    with caplog.at_level(logging.DEBUG):
        await world.faults(**{fault: 100, "hang_ms": 5_000})
        things = [
            await failure(lambda: world.broker.submit(order())),
            await failure(lambda: world.broker.cancel(ref(order()), "request-1")),
            await failure(lambda: world.broker.open_orders(ACCOUNT)),
        ]
    assert all(isinstance(thing, InDoubt | BrokerUnavailable) for thing in things)
    _expect_nothing(shown(*things), caplog, capfd)


async def test_an_exchange_that_is_gone_shows_no_credentials(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    with caplog.at_level(logging.DEBUG):
        async with binance_server(clock) as server:
            broker = LiveBroker(settings_of(server), Credentials(KEY, SECRET), clock)
            await broker.connect()
        things = [
            await failure(lambda: broker.submit(order())),
            await failure(lambda: broker.cancel(ref(order()), "request-1")),
            await failure(lambda: broker.open_orders(ACCOUNT)),
            await failure(lambda: _enter(broker)),
        ]
        await broker.close()
    assert all(isinstance(thing, InDoubt | BrokerUnavailable) for thing in things)
    _expect_nothing(shown(*things), caplog, capfd)


async def test_an_error_has_nothing_of_ccxt_in_its_chain(world: LiveWorld) -> None:
    for fault, kind in (("lose_request", Unclear), ("nonsense", Unclear), ("none", Said)):
        await world.faults(**({fault: 1} if fault != "none" else {}))
        with pytest.raises(kind) as caught:
            await world.broker._client.call("privateGetOrder", {"symbol": "BTCUSDT", "orderId": "1"})
        assert caught.value.__context__ is None and caught.value.__cause__ is None


async def test_the_start_shows_no_credentials(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    with caplog.at_level(logging.DEBUG):
        async with binance_server(clock) as server:
            server.answer("GET account", 400, ECHO)
            with pytest.raises(LiveError) as caught:
                async with opened(settings_of(server), Credentials(KEY, SECRET), clock):
                    pass
    _expect_nothing(shown(caught.value), caplog, capfd)


async def test_no_process_is_started_with_credentials(world: LiveWorld) -> None:
    await world.broker.submit(order())
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        assert not {KEY, SECRET} & set(process.cmdline())


async def _enter(broker: LiveBroker) -> None:
    async with broker.reports():
        pass


def _expect_nothing(text: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = capfd.readouterr()
    for seen in (text, caplog.text, out, err):
        assert KEY not in seen and SECRET not in seen
        assert "signature=" not in seen.replace("signature=***", "")
    assert "ccxt" not in {record.name.partition(".")[0] for record in caplog.records}


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://api.example.com", "http://127.0.0.1:8080", "http://localhost:1/"])
def test_an_address_for_credentials(url: str) -> None:
    assert own_url(url, "http", "https") == url.rstrip("/")


def test_the_sandbox_is_another_address() -> None:
    """Nothing is asked of it here: only where it would be asked."""
    for is_sandbox in (True, False):
        settings = LiveSettings(account=ACCOUNT, opened_at=NOW)
        broker = LiveBroker(settings, Credentials(KEY, SECRET, is_sandbox=is_sandbox), Clock())
        urls = broker._client.urls
        for url in (urls["public"], urls["private"], broker._profile.stream(broker._client)[0]):
            assert ("testnet.binance.vision" in url) is is_sandbox
