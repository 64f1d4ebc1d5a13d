"""A primary is killed under load, and its replica takes over: what was answered, against what the log has then."""

from __future__ import annotations

import asyncio

import psycopg

from foldbook.audit.verify import verify
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.shard_bus import BusLimits
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.trading.book import ORDER_BOOK
from tests.builders import open_account, place
from tests.faults.failing_over import Pair
from tests.machinery.servers import servers
from tests.proof.soundness import assert_sound
from tests.readside.projecting import assert_equal_to_fresh_folds, caught_up, projecting
from tests.waiting import until

ENGINES = 2
CALLERS = 8
ANSWERS = 100

Answers = dict[str, CommandResult]


async def fail_over_under_load(*, is_synchronous: bool, major: int = 18) -> str:
    """Without synchronous replication, the replica is away for a while before. Returns what was seen."""
    with servers(major) as rack:
        pair = Pair(rack, is_synchronous=is_synchronous)
        stores = [PostgresStore(pair.dsn) for _ in range(ENGINES)]
        buses = [CommandBus(store, ORDER_BOOK, limits=BusLimits(outage_max_s=120)) for store in stores]
        for bus in buses:
            await bus.start()
        accounts = [f"user-{engine}/binance/simulated" for engine in range(ENGINES)]
        for bus, account in zip(buses, accounts, strict=True):
            await bus.execute(open_account(account))
        answers: list[Answers] = [{} for _ in buses]
        is_over = asyncio.Event()

        async def call(engine: int, caller: int) -> None:
            n = 0
            while not is_over.is_set():
                n += 1
                order_id = f"o-{engine}-{caller}-{n}"
                answers[engine][order_id] = await buses[engine].execute(place(order_id, accounts[engine]))

        async def answered(more: int) -> None:
            wanted = [len(each) + more for each in answers]
            await until(lambda: all(len(each) >= count for each, count in zip(answers, wanted, strict=True)))

        async with projecting(pair.dsn):
            calls = asyncio.gather(*(call(engine, n) for engine in range(ENGINES) for n in range(CALLERS)))
            await answered(ANSWERS)
            if not is_synchronous:
                await asyncio.to_thread(pair.replica.stop)
                await answered(ANSWERS)
            await asyncio.to_thread(pair.primary.kill)
            if not is_synchronous:
                await asyncio.to_thread(pair.replica.start)
            before = {order_id for each in answers for order_id in each}
            await asyncio.to_thread(pair.take_over)
            await answered(ANSWERS)
            is_over.set()
            await calls
            await caught_up(pair.dsn)
            for bus in buses:
                await bus.stop()
        lost = check_answers(pair, answers, buses, before)
        assert is_synchronous or lost, "nothing was lost: the replica had not been away"
        assert not is_synchronous or not any(bus.losses for bus in buses)
        assert (await verify(pair.dsn)).ok
        await assert_equal_to_fresh_folds(pair.dsn, ["orders"])
        await asyncio.gather(*(store.close() for store in stores))
        return f"{sum(map(len, answers))} answers, {lost} lost and told"


def check_answers(pair: Pair, answers: list[Answers], buses: list[CommandBus], before: set[str]) -> int:
    """Every answer is in the log as it was given, or was given before the failover and is among the positions that its
    engine says are lost. Returns how many are."""
    with psycopg.connect(pair.replica.dsn, autocommit=True) as connection:
        assert_sound(connection)
        in_log: dict[str, int] = dict(
            connection.execute("select subject, position from eventstore.events where subject is not null").fetchall()
        )
    lost = 0
    for told, bus in zip(answers, buses, strict=True):
        gone = {n for loss in bus.losses for n in range(loss.after_position + 1, loss.last_position + 1)}
        for order_id, result in told.items():
            if in_log.get(order_id) == result.position:
                continue
            assert order_id in before, f"{order_id} was answered by the new primary and is not in its log"
            assert order_id not in in_log, f"{order_id} is in the log at a position that nobody was told"
            assert result.position in gone, f"{order_id} is lost, and its engine does not know"
            lost += 1
        first_gone = min(gone, default=0)
        assert not gone or first_gone <= min(r.position for i, r in told.items() if i not in in_log)
    submitted = {order_id for told in answers for order_id in told}
    assert in_log.keys() <= submitted, "the log has something that nobody was told of"
    return lost
