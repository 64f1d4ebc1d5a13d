"""Strategies and the intake as processes that are killed, over RabbitMQ and on one machine."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Event
from foldbook.trading.commands import PlaceOrder
from foldbook.trading.events import OrderCreated
from foldbook.trading.values import ExecType
from tests.builders import open_account, place
from tests.messaging.sides import AmqpSide, LocalSide, amqp_side, local_side
from tests.services.processes import Process, running, venue
from tests.services.world import ACCOUNT, opened, report
from tests.waiting import block_until, until

KNOWING = "tests/services/knowing.py:Knowing"
ORDERS = 3_000


@pytest.fixture(params=["local", "amqp"])
def side(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[AmqpSide | LocalSide]:
    """An engine, a venue, and market data on their way to strategies."""
    with ExitStack() as stack:
        side: AmqpSide | LocalSide
        if request.param == "local":
            side = local = stack.enter_context(local_side(tmp_path, database))
            venue_url = local.venue_url
        else:
            url = request.getfixturevalue("amqp_url")
            side = stack.enter_context(amqp_side(tmp_path, database, url))
            venue_url = stack.enter_context(venue(tmp_path))
            published = ("market", "run", "venue", "--to", "amqp", "--no-prices", "--venue", venue_url)
            stack.enter_context(running(tmp_path, *published, **side.variables))
        feed = ("market", "run", "sample", "--loop", "--speed", "20", "--no-prices", "--venue", venue_url)
        stack.enter_context(running(tmp_path, *feed))
        yield side


def events_of(dsn: str) -> list[Event]:
    async def read() -> list[Event]:
        async with opened(dsn) as log:
            return await log.events()

    return asyncio.run(read())


def placed(dsn: str) -> list[str]:
    return [event.order_id for event in events_of(dsn) if isinstance(event, OrderCreated)]


def fill(dsn: str, order_id: str) -> None:
    async def execute() -> None:
        async with opened(dsn) as log:
            await log.execute(report(ExecType.TRADE, order_id, exec_id="e-1", last_qty=Decimal(1), last_px=Decimal(1)))

    asyncio.run(execute())


def test_a_strategy_that_was_killed_knows_its_position_and_its_orders_before_it_acts(
    side: AmqpSide | LocalSide, tmp_path: Path
) -> None:
    arguments = ["strategy", "run", KNOWING, "--account", ACCOUNT, "--symbols", "BTCUSDT", "--strategy-id", "p"]
    given = side.variables | {"FOLDBOOK_KEY": side.operator}
    if isinstance(side, LocalSide):
        arguments += ["--venue", side.venue_url]

    def start() -> Process:
        return Process(tmp_path, *arguments, **given)

    process = start()
    block_until(lambda: placed(side.dsn) == ["p-1", "p-2"] or process.process.poll() is not None)
    assert "starts with 0 BTCUSDT, and nothing at rest" in process.said
    fill(side.dsn, "p-1")
    block_until(lambda: placed(side.dsn) == ["p-1", "p-2", "p-3"])
    process.stop(signal.SIGKILL)

    process = start()
    process.wait_for("starts with 1 BTCUSDT, and p-2 p-3 at rest")
    assert process.stop() == 0, process.said
    assert process.lines[-1] == "p has ended; position 1 BTCUSDT"
    assert placed(side.dsn) == ["p-1", "p-2", "p-3"], "it had what it wants"


async def test_an_intake_that_is_killed_between_commit_and_acknowledgement_answers_with_the_first_result(
    amqp_url: str, database: str, tmp_path: Path
) -> None:
    """It is killed again and again in the middle of a stream of orders, until a command is known to have been committed
    without being acknowledged: its answer then says that it is the first one's."""
    with amqp_side(tmp_path, database, amqp_url) as side:
        async with side.transport(side.operator, answer_s=120) as transport, opened(database) as log:
            await transport.commands.execute(open_account())
            orders: list[PlaceOrder] = []
            answers: list[CommandResult] = []
            while not any(answer.replayed for answer in answers):
                lap = [place(f"o-{len(orders) + n}") for n in range(ORDERS)]
                orders += lap
                before = len(await log.recorded())
                waiting = [transport.commands.submit(order) for order in lap]

                async def is_under_way(before: int = before) -> bool:
                    return len(await log.recorded(after=before)) >= 200

                await until(is_under_way)
                await asyncio.to_thread(side.stop, signal.SIGKILL)
                await asyncio.to_thread(side.start)
                answers = await asyncio.gather(*waiting)
                assert [answer.command_id for answer in answers] == [order.command_id for order in lap]
            created = [event.order_id for event in await log.events() if isinstance(event, OrderCreated)]
            assert created == [order.order_id for order in orders], "each once, in their order"
