"""The program in docs/messaging.md counts what there is to count, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.errors import UndefinedTable

from tests.api.conftest import serving, settings_for
from tests.messaging.relaying import ORDERS_PER_COMMIT, grow, relaying
from tests.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "messaging.md"


@contextmanager
def counting(program: Path, said: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join(folder for folder in sys.path if folder)
    with said.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, str(program)], env=os.environ | variables | {"PYTHONPATH": path}, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_the_program_counts_each_fill_once(amqp_url: str, database: str, tmp_path: Path) -> None:
    [text] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    program, said = tmp_path / "fill_counter.py", tmp_path / "said"
    program.write_text(text)
    grow(database, 200)
    async with serving(settings_for(database)) as engine, relaying(database, amqp_url) as relay:
        # What is relayed before the queue is there is for no queue.
        await until(lambda: relay.status.unrouted > 0)
        variables = {
            "FOLDBOOK_AMQP_URL": amqp_url,
            "FOLDBOOK_URL": str(engine.client.base_url),
            "COUNTER_DATABASE_URL": database,
        }
        with counting(program, said, **variables) as process:
            while _counted(database) == 0:
                assert process.poll() is None, said.read_text()
                grow(database, 200)
                await asyncio.sleep(0.2)
            grow(database, 1_000)
        # It was killed while it counted. Now it counts the rest, without another event.
        with counting(program, said, **variables) as process:
            await until(lambda: _counted(database) == _fills(database) or process.poll() is not None)
            assert process.poll() is None, said.read_text()
        assert _counted(database) == _fills(database) > 6 * ORDERS_PER_COMMIT


def _counted(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        try:
            row = connection.execute("select sum(fills)::bigint from fill_counts").fetchone()
        except UndefinedTable:
            return 0
    return (row and row[0]) or 0


def _fills(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*) from eventstore.events where type = 'OrderFilled'").fetchone()
    assert row is not None
    return int(row[0])
