"""A runner in a real log, with a gateway and a venue that are driven step by step, as in a backtest.

The gateway's decisions and the matching are the real ones; what a gateway does over a network is done here in one call.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from foldbook.brokers import venue_calls
from foldbook.brokers.gateway import Action, Attempt, Cancel, Gateway, Replace, Submit, Withdraw, react
from foldbook.brokers.reports import execution_of
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import AggregateKey, Event, RecordedEvent
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.market.feeds.told import Opened, Source
from foldbook.market.records import Datum, Quote, Trade, time_of
from foldbook.services.strategy.account import Account, Start, Starts
from foldbook.services.strategy.opening import id_in, open_account
from foldbook.services.strategy.runner import Runner
from foldbook.services.strategy.world import Settings
from foldbook.strategies import Strategy
from foldbook.trading.book import ORDER_BOOK
from foldbook.trading.commands import BookCommand, PlaceOrder, RecordAttempt, RecordExecution
from foldbook.trading.events import EVENT_TYPES
from foldbook.trading.values import ExecType, OrderType, Side, TimeInForce
from foldbook.venue.matching import Matching
from foldbook.venue.orders import Costs, VenueInstrument, VenueReport
from tests.market.feeding import NOON_NS, S

ACCOUNT = "alice/binance/simulated"
SYMBOL = "BTCUSDT"


class Ids:
    """Command ids by counting, as a backtest's."""

    def __init__(self, account: str) -> None:
        self._base = int.from_bytes(hashlib.blake2b(account.encode(), digest_size=8).digest()) << 64
        self._count = 0

    def __call__(self) -> UUID:
        self._count += 1
        return UUID(int=self._base + self._count)


async def nothing_read(shard: int, account: str, strategy_id: str) -> Start:
    """As if the projections had never run."""
    return Start()


class Log:
    """A log and its bus."""

    def __init__(self, dsn: str, limits: BusLimits | None = None) -> None:
        self.dsn = dsn
        self.store = PostgresStore(dsn)
        self.bus = CommandBus(self.store, ORDER_BOOK, limits=limits)

    async def execute(self, command: BookCommand) -> CommandResult:
        return await self.bus.execute(command)

    async def events(self, account: str = ACCOUNT) -> list[Event]:
        return [decoded(recorded) for recorded in await self.recorded(account)]

    async def recorded(self, account: str = ACCOUNT, after: int = 0) -> list[RecordedEvent]:
        found: list[RecordedEvent] = []
        while page := await self.store.read_log(0, after, 5_000, AggregateKey(ORDER_BOOK.name, account)):
            found += page
            after = page[-1].position
        return found


@asynccontextmanager
async def opened(dsn: str, limits: BusLimits | None = None) -> AsyncIterator[Log]:
    log = Log(dsn, limits)
    await log.bus.start()
    try:
        yield log
    finally:
        await log.bus.stop()
        await log.store.close()


class Direct:
    """A transport for a service in this process: straight into the log."""

    def __init__(self, dsn: str, source: Source) -> None:
        self._store = PostgresStore(dsn)
        self.commands = CommandBus(self._store, ORDER_BOOK)
        self._source = source

    def market(self, symbols: Sequence[str]) -> Source:
        return self._source

    def listen(self, account: str, hint: Callable[[], None]) -> None:
        """It polls."""

    async def __aenter__(self) -> Direct:
        await self.commands.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.commands.stop()
        await self._store.close()


def decoded(recorded: RecordedEvent) -> Event:
    return EVENT_TYPES.decode(recorded.type, recorded.schema_version, recorded.payload)


async def open_cash(
    log: Log, cash: str = "10000", account: str = ACCOUNT, symbols: tuple[str, ...] = (SYMBOL,), **fields: Any
) -> bool:
    given = {
        "cash": Decimal(cash),
        "currency": None,
        "now": time_of(NOON_NS),
        "id_of": id_in(account),
        "reference": "backtest",
        **fields,
    }
    return await open_account(log.bus, account, symbols, **given)


def runner_of(
    log: Log,
    strategy: Strategy,
    *,
    account: str = ACCOUNT,
    strategy_id: str = "trend",
    symbols: tuple[str, ...] = (SYMBOL,),
    now_ns: Callable[[], int] | None = None,
    new_id: Callable[[], UUID] = uuid7,
    **options: Any,
) -> Runner:
    return Runner(
        strategy,
        log.bus,
        Account(log.store, account, strategy_id),
        Settings(strategy_id=strategy_id, symbols=symbols, history_max=type(strategy).history_max),
        now_ns=now_ns,
        new_id=new_id,
        **options,
    )


async def started(log: Log, strategy: Strategy, starts: Starts = nothing_read, **options: Any) -> Runner:
    runner = runner_of(log, strategy, **options)
    await runner.start(starts, NOON_NS)
    return runner


def quote(n: int, bid: str = "100", ask: str = "101", size: str | None = "1", symbol: str = SYMBOL) -> Quote:
    """``n`` seconds after noon."""
    return Quote(symbol, NOON_NS + n * S, bid, ask, size, size)


def names(events: Iterable[Event]) -> list[str]:
    """The type of each event about an order, and the order's id."""
    return [f"{type(event).__name__} {event.subject}" for event in events if event.subject is not None]


class Broker:
    """The gateway and the venue of one account."""

    def __init__(
        self,
        log: Log,
        account: str = ACCOUNT,
        symbols: Iterable[str] = (SYMBOL,),
        currency: str = "USD",
        costs: Costs | None = None,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        instruments = [VenueInstrument(symbol=symbol, quote_currency=currency) for symbol in symbols]
        self.venue = Matching(costs or Costs(), instruments=instruments, expects=symbols)
        self.position = 0
        self.now_ns = NOON_NS
        self._log = log
        self._account = account
        self._new_id = new_id
        self._gateway = Gateway()

    async def work(self) -> bool:
        """Do what the account's events ask for, until nothing more is asked for. False: nothing was."""
        did = False
        while commits := _commits(await self._log.recorded(self._account, self.position)):
            for commit in commits:
                self.position = commit[-1].position
                self._gateway, actions = react(self._gateway, [decoded(recorded) for recorded in commit])
                for action in actions:
                    did = True
                    await self._do(action)
        return did

    async def show(self, told: Datum | Opened) -> None:
        """Market data at the venue."""
        self.now_ns = max(self.now_ns, told.time_ns)
        if isinstance(told, Quote):
            await self.record(self.venue.on_quote(told))
        elif isinstance(told, Trade):
            await self.record(self.venue.on_trade(told))
        else:
            raise TypeError(type(told).__name__)

    async def record(self, reports: Iterable[VenueReport]) -> None:
        for report in reports:
            now = time_of(self.now_ns)
            await self._log.execute(execution_of(report, self._account, self._new_id(), now, self.now_ns))

    async def _do(self, action: Action) -> None:
        venue, now_ns = self.venue, self.now_ns
        if isinstance(action, Attempt):
            await self._log.execute(
                RecordAttempt(
                    command_id=self._new_id(),
                    received_at=time_of(now_ns),
                    account=self._account,
                    order_id=action.order_id,
                    request=action.request,
                    request_id=action.request_id,
                )
            )
        elif isinstance(action, Withdraw):
            await self._report(action.order_id, ExecType.CANCELED, action.request_id)
        elif isinstance(action, Submit):
            await self.record(venue_calls.submit(venue, action.order, action.order.order_id, now_ns))
        elif isinstance(action, Cancel):
            await self.record(venue_calls.cancel(venue, action.order_id, now_ns, action.request_id))
        else:
            assert isinstance(action, Replace)
            terms = action.quantity, action.limit_price, action.stop_price
            await self.record(venue_calls.replace(venue, action.order_id, now_ns, action.request_id, *terms))

    async def _report(self, order_id: str, exec_type: ExecType, request_id: str | None = None) -> None:
        await self._log.execute(
            RecordExecution(
                command_id=self._new_id(),
                received_at=time_of(self.now_ns),
                account=self._account,
                order_id=order_id,
                exec_type=exec_type,
                request_id=request_id,
            )
        )


def _commits(recorded: Sequence[RecordedEvent]) -> list[list[RecordedEvent]]:
    """The events of one command belong together."""
    commits: list[list[RecordedEvent]] = []
    for event in recorded:
        if commits and commits[-1][0].command_id == event.command_id:
            commits[-1].append(event)
        else:
            commits.append([event])
    return commits


async def settle(runner: Runner, broker: Broker) -> None:
    """Everything that follows, in the order of a backtest: the gateway first, then one event for the strategy."""
    broker.now_ns = max(broker.now_ns, runner.world.now_ns)
    while True:
        await broker.work()
        await runner.read(broker.position)
        if not await runner.tell_next():
            return


async def move(runner: Runner, broker: Broker, told: Datum) -> None:
    """One moment of the market, and everything that follows."""
    while await runner.fire_next(told.time_ns):
        await settle(runner, broker)
    await runner.show(told)
    await broker.show(told)
    await settle(runner, broker)
    await runner.tell(told)
    await settle(runner, broker)


# -- commands of others -------------------------------------------------------------------------------------------


def placed(order_id: str, strategy_id: str = "trend", limit_price: str = "1") -> PlaceOrder:
    return PlaceOrder(
        command_id=uuid7(),
        received_at=time_of(NOON_NS),
        account=ACCOUNT,
        order_id=order_id,
        strategy_id=strategy_id,
        symbol=SYMBOL,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=Decimal(1),
        limit_price=Decimal(limit_price),
        time_in_force=TimeInForce.GTC,
    )


def report(exec_type: ExecType, order_id: str, **fields: object) -> RecordExecution:
    return RecordExecution(
        command_id=uuid7(),
        received_at=time_of(NOON_NS),
        account=ACCOUNT,
        order_id=order_id,
        exec_type=exec_type,
        **fields,  # type: ignore[arg-type]
    )
