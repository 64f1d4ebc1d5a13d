"""A backtest whose account stays in PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from foldbook.audit.verify import verify
from foldbook.backtest.run import run
from foldbook.backtest.stream import AccountExists
from foldbook.resources import ROOT
from tests.backtest.data import bars
from tests.backtest.running import backtest, job
from tests.backtest.test_loop import RISING
from tests.readside.projecting import caught_up, projecting

ACCOUNT = "a/b/backtest"


async def test_the_account_is_there_like_any_other(tmp_path: Path, database: str) -> None:
    data = bars(tmp_path, RISING)
    result = run(job("Crossing", data, database=(database, 1)), {})
    assert result.stream_hash == backtest("Crossing", data).stream_hash
    assert result.store == "postgres"
    async with projecting(database):
        await caught_up(database)
    with psycopg.connect(database) as connection:
        (position,) = connection.execute("select quantity, cost from read.positions").fetchall()
        assert position == (Decimal(-1), Decimal(-98))
        assert connection.execute("select count(*) from read.orders where working_state = 'FILLED'").fetchone() == (3,)
        (cash,) = (
            connection.execute("select sum(cash) from read.ledger_entries where currency = 'USD'").fetchone() or ()
        )
        assert cash == result.cash
        last = connection.execute("select payload ->> 'reason' from eventstore.log order by position desc limit 1")
        assert last.fetchone() == ("the backtest is over",)
    report = await verify(database)
    assert report.ok


async def test_an_account_that_exists_is_refused(tmp_path: Path, database: str) -> None:
    data = bars(tmp_path, RISING)
    run(job("Crossing", data, database=(database, 1)), {})
    with psycopg.connect(database) as connection:
        before = connection.execute("select count(*) from eventstore.events").fetchone()
        with pytest.raises(AccountExists, match="choose another --account"):
            run(job("Crossing", data, database=(database, 1)), {})
        assert connection.execute("select count(*) from eventstore.events").fetchone() == before
    run(job("Crossing", data, database=(database, 1), account="a/second/backtest"), {})


def test_a_killed_run_leaves_the_beginning_of_its_stream(tmp_path: Path, database: str) -> None:
    """The account is not HALTED, which says that its run has not ended; another run takes another name."""
    rows = [(str(100 + n % 7), "110", "90", str(100 + n % 5)) for n in range(28)]
    path = tmp_path / "X.csv"
    with path.open("w") as file:
        file.write("time,open,high,low,close,volume\n")
        for n in range(60_000):
            opened, high, low, closed = rows[n % len(rows)]
            file.write(f"{1_700_000_000_000_000_000 + n * 60_000_000_000},{opened},{high},{low},{closed},1\n")
    program = (
        "import sys; from foldbook.backtest.run import run; from tests.backtest.running import job;"
        " run(job('Crossing', sys.argv[1], database=(sys.argv[2], 1)), {})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "app")])}
    process = subprocess.Popen([sys.executable, "-c", program, f"{path}:X", database], env=environment)
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in range(600):
            (count,) = connection.execute("select count(*) from eventstore.events").fetchone() or (0,)
            if count > 2_000:
                break
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        halted = "select count(*) from eventstore.log where type = 'TradingStateChanged'"
        assert connection.execute(halted).fetchone() == (0,)
        stored = connection.execute("select type, payload::text from eventstore.log order by position").fetchall()
    assert stored[0][0] == "OrderBookCreated"
    assert len(stored) > 2_000
    run(
        job(
            "Crossing",
            f"{path}:X",
            database=(database, 1),
            account="a/again/backtest",
            span_ns=(0, 1_700_001_000_000_000_000),
        ),
        {},
    )
