"""The same strategy, the same data: the log of a runner is, event by event, the stream of a backtest."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from foldbook.backtest.loop import Loop
from foldbook.backtest.world import Settings
from foldbook.eventstore.events import Event
from foldbook.market.files import merged, open_data
from foldbook.market.records import Datum, time_of
from foldbook.market.sample import FILES
from foldbook.market.timeline import timeline
from foldbook.strategies import Strategy
from foldbook.strategies.examples.market_maker import MarketMaker
from foldbook.strategies.examples.twap import Twap
from foldbook.trading.commands import BookCommand
from foldbook.venue.orders import Costs
from tests.backtest.scripted import Crossing
from tests.services.world import (
    ACCOUNT,
    SYMBOL,
    Broker,
    Ids,
    move,
    nothing_read,
    open_cash,
    opened,
    runner_of,
    settle,
)

ROWS = 120
COSTS = Costs(taker=Decimal("0.001"), maker=Decimal("-0.0001"))
STRATEGIES: list[tuple[type[Strategy], dict[str, Any]]] = [
    (
        MarketMaker,
        {
            "half_spread": Decimal("0.000002"),
            "size": Decimal("0.1"),
            "inventory_max": Decimal("0.5"),
            "tick": Decimal("0.1"),
        },
    ),
    (Crossing, {"quantity": Decimal("0.3")}),
    (Twap, {"quantity": Decimal(1), "slices": 10, "every_s": 1, "lot": Decimal("0.01")}),
]


class Kept:
    """A sink of a backtest that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def record(self, command: BookCommand, events: Sequence[Event]) -> None:
        self.events += (shown(event, event.occurred_at or command.business_time) for event in events)


def shown(event: Event, occurred_at: object) -> tuple[object, ...]:
    return type(event).__name__, event.subject, occurred_at, event.payload()


def data() -> list[Datum]:
    everything = merged(open_data(path) for path in FILES)
    return [datum for datum in everything if datum.symbol == SYMBOL][:ROWS]


@pytest.mark.parametrize(("cls", "parameters"), STRATEGIES, ids=lambda value: getattr(value, "__name__", ""))
async def test_the_events_are_those_of_the_backtest(
    cls: type[Strategy], parameters: dict[str, Any], database: str
) -> None:
    kept, rows = Kept(), data()
    settings = Settings(
        account=ACCOUNT, strategy_id="trend", symbols=(SYMBOL,), cash=Decimal(10000), currency="USD", costs=COSTS
    )
    loop = Loop(settings, cls(**parameters), kept)
    loop.run(timeline([rows]))
    ids = Ids(ACCOUNT)
    async with opened(database) as log:
        broker = Broker(log, costs=COSTS, new_id=ids)
        broker.now_ns = rows[0].time_ns
        await open_cash(log, now=time_of(rows[0].time_ns), id_of=lambda _: ids())
        runner = runner_of(log, cls(**parameters), new_id=ids)
        await runner.start(nothing_read, rows[0].time_ns)
        for datum in rows:
            await move(runner, broker, datum)
        await runner.stop()
        await settle(runner, broker)
        found = [
            shown(event, recorded.occurred_at)
            for event, recorded in zip(await log.events(), await log.recorded(), strict=True)
        ]
        expected = kept.events[: len(found)]
        assert found == expected
        # The backtest adds the last price and an end to trading.
        assert [name for name, *_ in kept.events[len(found) :]] == ["PriceRecorded", "TradingStateChanged"]
        assert loop.fills
        assert len(found) > 25
        assert (runner.world.cash, runner.world.equity) == (loop.cash, loop.equity)
