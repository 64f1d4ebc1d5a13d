"""Many writers on one log: real connections, real processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from foldbook.eventstore.events import RecordedEvent
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.store import Fate
from tests.builders import ACCOUNT
from tests.eventstore.test_store_contract import opened, placed

ROOT = Path(__file__).parents[2]


async def whole_log(store: PostgresStore) -> list[RecordedEvent]:
    return await store.read_log(0, 0, 1_000_000)


def assert_sound(log: Sequence[RecordedEvent]) -> None:
    """Positions and sequences without a gap, no command's event twice."""
    assert [e.position for e in log] == list(range(1, len(log) + 1))
    assert [e.sequence for e in log if e.aggregate_id == ACCOUNT] == list(range(1, len(log) + 1))
    assert len({e.command_id for e in log}) == len(log)


async def test_of_100_appends_with_the_same_expected_sequence_exactly_one_wins(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(20)]
    await stores[0].append(0, [opened()])
    verdicts = await asyncio.gather(*(stores[n % 20].append(0, [placed(f"o-{n}", expected=1)]) for n in range(100)))
    assert [verdict.fate for (verdict,) in verdicts].count(Fate.APPENDED) == 1
    assert {verdict.sequence for (verdict,) in verdicts} == {2}
    assert_sound(await whole_log(stores[0]))
    await asyncio.gather(*(store.close() for store in stores))


async def test_20_appends_that_expect_nothing_give_20_events(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(20)]
    await stores[0].append(0, [opened()])
    await asyncio.gather(*(store.append(0, [placed(f"o-{n}", expected=None)]) for n, store in enumerate(stores)))
    log = await whole_log(stores[0])
    assert len(log) == 21
    assert_sound(log)
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_reader_that_polls_while_10_writers_append_sees_no_gap(database: str) -> None:
    writers = [PostgresStore(database) for _ in range(10)]
    reader = PostgresStore(database)
    await reader.append(0, [opened()])

    async def write(n: int) -> None:
        for m in range(20):
            await writers[n].append(0, [placed(f"o-{n}-{m}", expected=None)])

    seen: list[int] = []
    writing = asyncio.gather(*(write(n) for n in range(10)))
    while len(seen) < 201:
        seen += [e.position for e in await reader.read_log(0, len(seen), 1_000)]
        assert seen == list(range(1, len(seen) + 1))
    await writing
    await asyncio.gather(*(store.close() for store in (*writers, reader)))


async def test_two_engine_processes_hammer_one_account(database: str) -> None:
    count = 320
    engines = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.hammer",
            database,
            name,
            str(count),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    outputs = [(await engine.communicate())[0].decode() for engine in engines]
    assert [engine.returncode for engine in engines] == [0, 0]
    acknowledged = {
        order_id: (int(position), int(sequence))
        for output in outputs
        for order_id, position, sequence in (line.split() for line in output.splitlines())
    }
    store = PostgresStore(database)
    log = await whole_log(store)
    await store.close()
    assert len(acknowledged) == 2 * count
    assert {e.subject: (e.position, e.sequence) for e in log if e.subject} == acknowledged
    assert_sound(log)
