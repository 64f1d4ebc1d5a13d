"""Last prices told to the books: to whom it matters, when they have changed, and not too often."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from foldbook.errors import Refusal
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import Command, Metadata
from foldbook.market.records import Trade, time_of
from foldbook.services import prices
from foldbook.services.prices import PriceTeller
from foldbook.trading.commands import OpenAccount, RecordPrice
from foldbook.trading.events import PriceRecorded
from foldbook.trading.values import ExecType
from tests.market.feeding import NOON_NS, S
from tests.readside.projecting import caught_up, projecting
from tests.services.world import Log, opened, placed, report
from tests.waiting import until

NOON = time_of(NOON_NS)
PROJECTIONS = ["orders", "positions", "settings"]
IN_SYMBOL = "a/b/simulated"
ACCOUNTS = (
    IN_SYMBOL,
    "flat/b/simulated",
    "done/b/simulated",
    "other/b/simulated",
    "a/b/backtest",
    "a/b/live",
    "a/c/live",
)


async def make_accounts(log: Log) -> None:
    """One with an open order, one that has none, one whose order has ended, one in another symbol, a backtest, two
    live ones."""
    for account in ACCOUNTS:
        await log.execute(OpenAccount(command_id=uuid7(), received_at=NOON, account=account))
        if account.startswith("flat"):
            continue
        order = {"account": account, "symbol": "ELSE" if account.startswith("other") else "X"}
        await log.execute(changed(placed("o-1"), **order))
        if account.startswith("done"):
            await log.execute(changed(report(ExecType.CANCELED, "o-1"), account=account))


def changed(command: Any, **fields: Any) -> Any:
    said = {name: getattr(command, name) for name in command.__struct_fields__}
    return type(command)(**{**said, **fields})


def trade(price: str, n: int = 0, symbol: str = "X") -> Trade:
    return Trade(symbol, NOON_NS + n * S, price)


async def told(log: Log) -> list[tuple[str, str]]:
    events = [(account, event) for account in ACCOUNTS for event in await log.events(account)]
    return [(account, f"{event.symbol} {event.price}") for account, event in events if isinstance(event, PriceRecorded)]


def teller_of(log: Log, **options: Any) -> PriceTeller:
    return PriceTeller(log.dsn, log.bus, lambda: NOON, **options)


async def test_only_accounts_that_are_in_the_symbol_are_told_and_only_what_has_changed(database: str) -> None:
    async with opened(database) as log, projecting(database):
        await make_accounts(log)
        await caught_up(database, PROJECTIONS)
        teller = teller_of(log)
        await teller.tell()
        assert await told(log) == []
        teller.put(trade("99"))
        teller.put(trade("100", 1))
        await teller.tell()
        assert await told(log) == [(IN_SYMBOL, "X 100")]
        await caught_up(database, PROJECTIONS)
        teller.put(trade("100", 2))
        await teller.tell()
        assert teller.told == 1, "the book knows that price"
        teller.put(trade("101", 3))
        await teller.tell()
        assert await told(log) == [(IN_SYMBOL, "X 100"), (IN_SYMBOL, "X 101")]


async def test_a_position_is_as_good_as_an_order(database: str) -> None:
    async with opened(database) as log, projecting(database):
        await make_accounts(log)
        traded = {"exec_id": "e", "last_qty": Decimal(1), "last_px": Decimal(1)}
        await log.execute(changed(report(ExecType.TRADE, "o-1", **traded), account=IN_SYMBOL))
        await caught_up(database, PROJECTIONS)
        teller = teller_of(log)
        teller.put(trade("7"))
        await teller.tell()
        assert await told(log) == [(IN_SYMBOL, "X 7")]


async def test_prices_of_an_exchange_go_to_the_live_accounts_there_too(database: str) -> None:
    async with opened(database) as log, projecting(database):
        await make_accounts(log)
        await caught_up(database, PROJECTIONS)
        teller = teller_of(log, exchange="b")
        teller.put(trade("7"))
        await teller.tell()
        assert {account for account, _ in await told(log)} == {IN_SYMBOL, "a/b/live"}


async def test_many_accounts_are_told_page_by_page(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "PAGE", 3)
    async with opened(database) as log, projecting(database):
        accounts = [f"u{n}/b/simulated" for n in range(8)]
        for account in accounts:
            await log.execute(OpenAccount(command_id=uuid7(), received_at=NOON, account=account))
            await log.execute(changed(placed("o-1"), account=account, symbol="X"))
            await log.execute(changed(placed("o-2"), account=account, symbol="Y"))
        await caught_up(database, PROJECTIONS)
        teller = teller_of(log, commands_per_s_max=10_000)
        teller.put(trade("7"))
        teller.put(trade("8", symbol="Y"))
        await teller.tell()
        assert teller.told == 16
        for account in accounts:
            found = [event for event in await log.events(account) if isinstance(event, PriceRecorded)]
            assert {(event.symbol, str(event.price)) for event in found} == {("X", "7"), ("Y", "8")}


class Bus:
    """A bus that keeps what it is given, and refuses what it is told to."""

    def __init__(self) -> None:
        self.executed: list[RecordPrice] = []
        self.refused: set[str] = set()

    async def execute(self, command: Command, *, metadata: Metadata) -> CommandResult | None:
        assert isinstance(command, RecordPrice)
        if command.account in self.refused:
            raise Refusal("too-many-symbols", "no room")
        self.executed.append(command)
        return None


HOLDERS = ["a/b/simulated", "b/b/simulated", "c/b/simulated"]


@pytest.fixture
async def holders(database: str) -> list[str]:
    """A database whose read tables have three accounts with an order in X."""
    async with opened(database) as log, projecting(database):
        for account in HOLDERS:
            await log.execute(OpenAccount(command_id=uuid7(), received_at=NOON, account=account))
            await log.execute(changed(placed("o-1"), account=account, symbol="X"))
        await caught_up(database, PROJECTIONS)
    return HOLDERS


async def test_one_that_is_refused_does_not_keep_the_others_from_being_told(
    database: str, holders: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    bus.refused.add(holders[1])
    teller = PriceTeller(database, bus, lambda: NOON)  # type: ignore[arg-type]
    teller.put(trade("7"))
    await teller.tell()
    assert [command.account for command in bus.executed] == [holders[0], holders[2]]
    assert "b/b/simulated was not told the price of X: no room" in caplog.text


async def test_between_two_prices_of_a_book_is_at_least_the_interval(
    database: str, holders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a loop whose sleeps only count: rounds of three accounts, each at most so fast, and a pause between."""
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real_sleep(0)

    bus = Bus()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    teller = PriceTeller(database, bus, lambda: NOON, interval_s=10, commands_per_s_max=4)  # type: ignore[arg-type]
    async with teller:
        for n in range(100):
            teller.put(trade(str(100 + n), n))

        async def three_rounds() -> bool:
            return slept.count(10) >= 3

        await until(three_rounds)
    assert [seconds for seconds in slept if seconds in (0.25, 10)][:8] == [0.25, 0.25, 0.25, 10, 0.25, 0.25, 0.25, 10]
    assert {str(command.price) for command in bus.executed} == {"199"}


@pytest.mark.parametrize("database_name", ["no_such", None])
async def test_what_cannot_be_asked_is_asked_again(
    database: str, database_name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    bus = Bus()
    dsn = "postgresql://127.0.0.1:1/x" if database_name is None else database.replace("/foldbook_test", "/no_such")
    async with PriceTeller(dsn, bus, lambda: NOON, interval_s=0.01) as teller:  # type: ignore[arg-type]
        teller.put(trade("7"))

        async def is_told() -> bool:
            return "prices are not told" in caplog.text

        await until(is_told)
    assert bus.executed == []
