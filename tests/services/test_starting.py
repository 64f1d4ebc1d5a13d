"""What a strategy knows when it starts: the account as the log has it, however it is found out."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from uuid_utils.compat import uuid7

from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.market.records import time_of
from foldbook.services.strategy.account import read_tables
from foldbook.services.strategy.opening import id_in
from foldbook.strategies import (
    OrderCanceled,
)
from foldbook.strategies.errors import StrategyError
from foldbook.trading.commands import (
    AdjustAccount,
    OpenAccount,
    RecordPrice,
)
from foldbook.trading.events import OrderCreated
from foldbook.trading.values import (
    AdjustmentKind,
    ExecType,
)
from foldbook.venue.orders import Costs
from tests.market.feeding import NOON_NS
from tests.readside.projecting import caught_up, projecting
from tests.services.strategies import Buying, Noting
from tests.services.world import (
    ACCOUNT,
    SYMBOL,
    Broker,
    Log,
    move,
    names,
    open_cash,
    opened,
    placed,
    quote,
    report,
    started,
)

NOON = time_of(NOON_NS)


async def trade_a_little(log: Log) -> tuple[Noting, Decimal]:
    """An account with a position of 2, two open orders of the strategy, one of somebody else; and its cash."""
    await open_cash(log)
    broker = Broker(log, costs=Costs(taker=Decimal("0.001")))
    strategy = Buying(limit=False)
    runner = await started(log, strategy)
    await move(runner, broker, quote(1))
    await move(runner, broker, quote(2, size="1.5"))
    await log.execute(placed("by-hand", "other"))
    strategy.limit = True
    await move(runner, broker, quote(3, bid="99"))
    await move(runner, broker, quote(4, bid="98"))
    await log.execute(
        AdjustAccount(
            command_id=uuid7(),
            received_at=NOON,
            account=ACCOUNT,
            kind=AdjustmentKind.FEE,
            reference="data",
            currency="USD",
            amount=Decimal("7.5"),
        )
    )
    await runner.catch_up(10**9)
    return strategy, runner.world.cash


async def test_a_strategy_that_is_started_again_goes_on_where_it_was(database: str) -> None:
    async with opened(database) as log:
        before, cash = await trade_a_little(log)
        assert cash == Decimal(10000) - 2 * Decimal(101) * Decimal("1.001") - Decimal("7.5")
    told_before = len(before.events)
    async with opened(database) as log:
        events = await log.events()
        strategy = Buying()
        runner = await started(log, strategy)
        assert strategy.at_start == ((Decimal(2),), ("trend-3", "trend-4"), cash)
        assert len(await log.events()) == len(events), "a start adds nothing to the log"
        assert strategy.events == []
        await log.execute(report(ExecType.CANCELED, "trend-3"))
        await runner.catch_up(10**9)
        assert [type(event) for event in strategy.events] == [OrderCanceled]
        await runner.tell(quote(9, bid="90"))
        assert names(await log.events())[-1] == "OrderCreated trend-5"
    own = [e for e in events if e.subject and e.subject.startswith("trend-") and type(e) is not OrderCreated]
    assert told_before == len(own)
    assert before.events == own


@pytest.mark.parametrize("is_lagging", [False, True], ids=["caught up", "lagging"])
async def test_the_read_tables_and_a_snapshot_give_the_same_start_as_the_whole_log(
    database: str, is_lagging: bool
) -> None:
    async with opened(database, BusLimits(snapshot_every=5)) as log:
        if is_lagging:
            await open_cash(log)
            async with projecting(database):
                await caught_up(database, ["orders", "ledger"])
            await log.execute(placed("trend-1"))
            await log.execute(
                report(ExecType.TRADE, "trend-1", exec_id="e", last_qty=Decimal("0.5"), last_px=Decimal(2))
            )
        else:
            await trade_a_little(log)
            async with projecting(database):
                await caught_up(database, ["orders", "ledger"])
    with psycopg.connect(database) as connection:
        assert connection.execute("select count(*) from eventstore.snapshots").fetchone() == (1,)
    async with opened(database) as log:
        whole, quick = Noting(), Noting()
        slow_runner = await started(log, whole)
        quick_runner = await started(log, quick, read_tables(database))
        assert quick.at_start == whole.at_start
        assert quick_runner.account.last_number == slow_runner.account.last_number > 0
        assert quick_runner.account.book == slow_runner.account.book
        assert quick_runner.account.position == slow_runner.account.position


async def test_an_account_must_be_open_and_have_one_currency(database: str) -> None:
    async with opened(database) as log:
        with pytest.raises(StrategyError, match="no order book is open"):
            await started(log, Noting())
        await open_cash(log, symbols=("BTC-USDT",))
        with pytest.raises(StrategyError, match="needs one currency"):
            await started(log, Noting(), symbols=("BTC-USDT", "BTC-EUR"))
        with pytest.raises(StrategyError, match="one currency, not EUR, USDT"):
            await open_cash(log, symbols=("BTC-USDT", "BTC-EUR"), account="a/b/simulated")


async def test_opening_an_account_again_changes_nothing(database: str) -> None:
    async with opened(database) as log:
        assert await open_cash(log)
        events = await log.events()
        assert not await open_cash(log, cash="1", currency="EUR")
        assert await log.events() == events
        kinds = [type(event).__name__ for event in events]
        assert kinds == ["OrderBookCreated", "InstrumentDefined", "AccountAdjusted"]


async def test_an_account_that_somebody_else_opened_is_left_as_it_is(database: str) -> None:
    async with opened(database) as log:
        await log.execute(OpenAccount(command_id=uuid7(), received_at=NOON, account=ACCOUNT))
        assert not await open_cash(log)
        assert not await open_cash(log)
        assert len(await log.events()) == 1


async def test_an_opening_that_was_interrupted_is_finished(database: str) -> None:
    async with opened(database) as log:
        await log.execute(OpenAccount(command_id=id_in(ACCOUNT)("open"), received_at=NOON, account=ACCOUNT))
        assert not await open_cash(log)
        strategy = Noting()
        await started(log, strategy)
        assert strategy.at_start[2] == 10000


async def test_before_there_is_data_the_price_is_the_one_that_the_book_recorded(database: str) -> None:
    class Pricing(Noting):
        def on_start(self) -> None:
            super().on_start()
            self.told.append(f"{self.last_price(SYMBOL)} {self.equity}")

    async with opened(database) as log:
        await trade_a_little(log)
        await log.execute(
            RecordPrice(command_id=uuid7(), received_at=NOON, account=ACCOUNT, symbol=SYMBOL, price=Decimal(50))
        )
        strategy = Pricing()
        runner = await started(log, strategy)
        assert strategy.told == [f"50 {runner.world.cash + 100}"]
