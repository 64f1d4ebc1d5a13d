"""What every transport promises, over both: a command's answer is the command bus's, and market data is as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from foldbook.errors import FoldbookError, IdempotencyConflict, Refusal, SequenceConflict, StoreUnavailable
from foldbook.eventstore.events import Metadata
from foldbook.market.feeds.told import Lost, Opened
from foldbook.market.records import Bar, Datum, Quote, Trade
from foldbook.messaging.answers import CommandFailed
from foldbook.messaging.transport import Transport
from foldbook.services.strategy.outbox import send
from foldbook.trading.events import OrderCreated
from foldbook.trading.values import Side as OrderSide
from tests.builders import cancel, open_account, place
from tests.conftest import Postgres
from tests.market.feeding import NOON_NS, S
from tests.messaging.sides import Side, amqp_side, local_side
from tests.messaging.taking import UNKNOWN
from tests.services.world import opened
from tests.waiting import until


@pytest.fixture(scope="module", params=["local", "amqp"])
def side(
    request: pytest.FixtureRequest, postgres: Postgres, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Side]:
    """One for all tests here: each uses an account of its own."""
    dsn, folder = postgres.create_database(template_database), tmp_path_factory.mktemp(request.param)
    if request.param == "local":
        with local_side(folder, dsn) as side:
            yield side
    else:
        broker = request.getfixturevalue("rabbitmq")
        with amqp_side(folder, dsn, broker.virtual_host()) as side:
            yield side
    postgres.drop_database(dsn)


@pytest.fixture
async def transport(side: Side) -> AsyncIterator[Transport]:
    async with side.transport(side.operator) as transport:
        yield transport


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    return f"{request.node.originalname[5:60]}/binance/simulated"


# -- commands ----------------------------------------------------------------------------------------------------


async def test_a_command_has_its_result_and_the_same_one_again(transport: Transport, account: str) -> None:
    command = open_account(account)
    result = await transport.commands.execute(command)
    assert (result.aggregate_id, result.sequence, result.events) == (account, 1, ("OrderBookCreated",))
    assert (result.command_id, result.replayed) == (command.command_id, False)
    again = await transport.commands.execute(command)
    assert again == type(result)(
        **{name: getattr(result, name) for name in result.__struct_fields__} | {"replayed": True}
    )


async def test_errors_are_those_of_the_bus(transport: Transport, account: str) -> None:
    with pytest.raises(Refusal) as refused:
        await transport.commands.execute(place("o-1", account=account))
    assert refused.value.code == "unknown-account"
    opening = await transport.commands.execute(command := open_account(account))
    order = place("o-1", account=account)
    with pytest.raises(SequenceConflict) as conflict:
        await transport.commands.execute(order, expected_sequence=7)
    assert conflict.value.details == {"expected": 7, "actual": opening.sequence}
    with pytest.raises(IdempotencyConflict):
        await transport.commands.execute(place("o-1", account=account, command_id=command.command_id))
    with pytest.raises(Refusal) as invalid:
        await transport.commands.execute(place("o-2", account=account, quantity="-1"))
    assert (invalid.value.code, invalid.value.details["field"]) == ("invalid-command", "quantity")


async def test_commands_keep_their_order_and_a_refusal_spoils_no_other(
    side: Side, transport: Transport, account: str
) -> None:
    orders = [place(f"o-{n}", account=account) for n in range(200)]
    given = [open_account(account), *orders[:100], cancel("nothing", account=account), *orders[100:]]
    sent = await send(transport.commands, given, Metadata())
    assert [refusal.code for _, refusal in sent.refused] == ["unknown-order"]
    async with opened(side.dsn) as log:
        created = [event.order_id for event in await log.events(account) if isinstance(event, OrderCreated)]
        assert created == [order.order_id for order in orders]
        assert sent.position >= (await log.recorded(account))[-1].position


async def test_the_key_says_who_asks(side: Side, transport: Transport, account: str) -> None:
    said = Metadata(actor="nobody special", on_behalf_of="carol", correlation_id="c-1")
    await transport.commands.execute(open_account(account), metadata=said)
    trader = await asyncio.to_thread(side.issue, f"{side.name}-trader", "--role", "trader", "--account", account)
    async with side.transport(trader) as other:
        await other.commands.execute(place("o-1", account=account))
        for command, code in ((open_account(account), "forbidden"), (place("o-2"), "unknown-account")):
            with pytest.raises(FoldbookError) as refused:
                await other.commands.execute(command)
            assert refused.value.code == code
            assert isinstance(refused.value, Refusal if code == "unknown-account" else CommandFailed)
        with pytest.raises(CommandFailed, match="on whose behalf"):
            await other.commands.execute(place("o-2", account=account), metadata=said)
    async with opened(side.dsn) as log:
        metadata = [json.loads(bytes(recorded.metadata)) for recorded in await log.recorded(account)]
    assert metadata == [
        {"actor": "operator", "on_behalf_of": "carol", "correlation_id": "c-1"},
        {"actor": f"{side.name}-trader"},
    ]


@pytest.mark.parametrize("key", [None, UNKNOWN], ids=["no key", "an unknown key"])
async def test_who_is_unknown_is_told_so(side: Side, account: str, key: str | None) -> None:
    async with side.transport(key) as transport:
        with pytest.raises(CommandFailed) as refused:
            await transport.commands.execute(open_account(account))
    assert refused.value.code == "unauthenticated"


async def test_while_nobody_takes_commands_they_are_in_doubt_or_were_not_sent(side: Side, account: str) -> None:
    command = open_account(account)
    options: dict[str, Any] = {"answer_s": 1.0} if side.name == "amqp" else {}
    async with side.transport(side.operator, **options) as transport:
        await asyncio.to_thread(side.stop)
        try:
            with pytest.raises(StoreUnavailable) as error:
                await transport.commands.execute(command)
            assert error.value.in_doubt is (side.name == "amqp"), "it may be in RabbitMQ"
        finally:
            await asyncio.to_thread(side.start)
        sent = await send(transport.commands, [command, place("o-1", account=account)], Metadata())
        assert (sent.refused, sent.position > 0) == ([], True)


# -- hints and market data ---------------------------------------------------------------------------------------


async def test_a_hint_comes_when_the_log_has_something_new(side: Side, account: str) -> None:
    hints = 0

    def hint() -> None:
        nonlocal hints
        hints += 1

    async with opened(side.dsn) as log:
        listening = side.transport(side.operator)
        listening.listen(account, hint)
        async with listening:
            await until(lambda: hints > 0)  # when it has begun to listen
            before = hints
            await log.execute(open_account(account))
            await until(lambda: hints > before)


DATA: list[Datum] = [
    Quote("BTCUSDT", NOON_NS, "100.10", "101", "1.5", None),
    Trade("BTCUSDT", NOON_NS + S, "100.5", "0.00000001", OrderSide.SELL),
    Quote("ETHUSDT", NOON_NS + 2 * S, "9", "10", "1", "2"),
    Bar("BTCUSDT", NOON_NS + 60 * S, "1", "2", "0.5", "1.5", "1000", 60 * S),
    Quote("BTCUSDT", NOON_NS + 61 * S, "102", "103"),
]


async def test_market_data_is_as_it_was(side: Side, transport: Transport) -> None:
    found: dict[str, list[Any]] = {"BTCUSDT": [], "ETHUSDT": []}

    async def read() -> None:
        async for told in transport.market(("BTCUSDT", "ETHUSDT")).stream():
            if not isinstance(told, Lost | Opened):
                found[told.symbol].append(told)

    reading = asyncio.create_task(read())
    async with side.out() as sink:
        marker = 0

        async def is_heard() -> bool:
            """Who subscribes late may miss what came before."""
            nonlocal marker
            marker += 1
            sink.put(Quote("ETHUSDT", NOON_NS - S + marker, "1", "2"))
            return bool(found["ETHUSDT"])

        await until(is_heard)
        for datum in DATA:
            sink.put(datum)
        await until(lambda: DATA[-1] in found["BTCUSDT"] and DATA[2] in found["ETHUSDT"])
    reading.cancel()
    await asyncio.wait([reading])
    assert found["BTCUSDT"] == [datum for datum in DATA if datum.symbol == "BTCUSDT"]
