"""``foldbook market run`` and ``foldbook strategy run`` as processes, with a real venue."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from foldbook.trading.events import (
    AccountAdjusted,
    OrderCanceled,
    OrderCancelRequested,
    OrderCreated,
    OrderEvent,
    PriceRecorded,
)
from tests.machinery.engine import answers
from tests.services.processes import Process, running, venue
from tests.services.world import ACCOUNT, opened
from tests.waiting import block_until

PLACING = "tests/services/placing.py:Placing"
FEED = ("market", "run", "sample", "--loop", "--speed", "20", "--no-prices")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with venue(tmp_path) as url:
        yield url


@pytest.fixture
def engine(tmp_path: Path, database: str) -> Iterator[dict[str, str]]:
    """A server that takes commands, and the variables with which it is found."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        variables = {"DATABASE_URL": database, "FOLDBOOK_PORT": str(free.getsockname()[1])}
    with running(tmp_path, "serve", **variables) as process:
        address = f"http://127.0.0.1:{variables['FOLDBOOK_PORT']}/health/live"
        block_until(lambda: answers(address) or process.process.poll() is not None)
        assert process.process.poll() is None, process.said
        yield variables


def strategy(url: str, *more: str) -> tuple[str, ...]:
    return (
        "strategy",
        "run",
        PLACING,
        "--account",
        ACCOUNT,
        "--symbols",
        "BTCUSDT",
        "--strategy-id",
        "p",
        "--venue",
        url,
        *more,
    )


def events_of(dsn: str) -> list[object]:
    async def read() -> list[object]:
        async with opened(dsn) as log:
            return list(await log.events())

    return asyncio.run(read())


def placed(events: list[object]) -> list[str]:
    return [event.order_id for event in events if isinstance(event, OrderCreated)]


def test_the_sample_goes_to_the_venue_as_fast_as_it_is_taken(url: str, tmp_path: Path) -> None:
    process = Process(tmp_path, "market", "run", "sample", "--speed", "max", "--no-prices", "--venue", url)
    assert process.wait() == 0, process.said
    assert process.lines == ["924 data, 924 sent to the venue, 0 prices told to books"]
    quotes = httpx.get(f"{url}/quotes").json()["quotes"]
    assert sorted(quote["symbol"] for quote in quotes) == ["BTCUSDT", "ETHUSDT"]


def test_only_some_symbols_of_a_file_from_the_venue_to_nobody(url: str, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("time,open,high,low,close,symbol\n1767344400000000000,1,2,1,2,A\n1767344460000000000,1,2,1,2,B\n")
    process = Process(
        tmp_path, "market", "run", str(path), "--symbols", "B", "--speed", "max", "--no-prices", "--to", "none"
    )
    assert process.wait() == 0, process.said
    assert process.lines == ["1 data, 0 sent to the venue, 0 prices told to books"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["venue", "--to", "venue"], "that is the source"),
        (["sample", "other.csv"], "only files can be several"),
        (["sample", "--speed", "0"], "neither a number greater than 0 nor max"),
        (["sample", "--to", "everywhere"], "is venue, amqp or none"),
        (["ccxt:nowhere", "--symbols", "A/B", "--no-prices"], "ccxt knows no exchange"),
        (["no-such-file.csv", "--no-prices"], "no-such-file.csv"),
    ],
)
def test_what_cannot_be_fed(arguments: list[str], said: str, tmp_path: Path) -> None:
    process = Process(tmp_path, "market", "run", *arguments)
    assert process.wait() in (1, 2)
    assert said in " ".join(process.said.split())
    assert "Traceback" not in process.said


def test_a_feed_ends_when_its_supervisor_is_gone(url: str, tmp_path: Path) -> None:
    with running(tmp_path, *FEED, "--venue", url, "--until-stdin-closes") as process:
        block_until(lambda: bool(httpx.get(f"{url}/quotes").json()["quotes"]))
        assert process.process.stdin is not None
        process.process.stdin.close()
        assert process.wait() == 0


def wait_for_orders(process: Process, database: str, goal: int) -> None:
    block_until(lambda: process.process.poll() is not None or len(placed(events_of(database))) >= goal)


def test_a_strategy_that_is_killed_goes_on_without_a_gap(
    url: str, tmp_path: Path, database: str, engine: dict[str, str]
) -> None:
    """Whatever it was doing: the ids go on, one by one, and every order but the last one is wanted away."""
    with running(tmp_path, *FEED, "--venue", url):
        for lap in range(3):
            goal = len(placed(events_of(database))) + 10
            with running(tmp_path, *strategy(url), **engine) as process:
                wait_for_orders(process, database, goal)
                assert process.process.poll() is None, process.said
                process.stop(signal.SIGKILL)
            assert ("opened with 10000" in process.lines[0]) is (lap == 0)
        with running(tmp_path, *strategy(url), **engine) as process:
            before = len(placed(events_of(database)))
            block_until(lambda: len(placed(events_of(database))) >= before + 2)
            assert process.stop() == 0, process.said
        assert process.lines[-1] == "p has ended; position 0 BTCUSDT"
        assert any(line.endswith("BUY 1 BTCUSDT LIMIT 1 GTC") for line in process.lines)
    events = events_of(database)
    ids = placed(events)
    assert ids == [f"p-{n}" for n in range(1, len(ids) + 1)]
    unwanted = [event.order_id for event in events if isinstance(event, OrderCancelRequested)]
    assert set(ids) - set(unwanted) <= {ids[-1]}
    assert len(unwanted) == len(set(unwanted)), "nothing was sent twice"
    assert [event.amount for event in events if isinstance(event, AccountAdjusted)] == [Decimal(10000)]
    assert not any(isinstance(event, OrderCanceled) for event in events), "no gateway works here"
    assert all(event.strategy_id == "p" for event in events if isinstance(event, OrderEvent))


def test_the_prices_of_the_venue_reach_the_books_of_who_trades_there(
    url: str, tmp_path: Path, database: str, engine: dict[str, str]
) -> None:
    told = ("market", "run", "venue", "--symbols", "BTCUSDT", "--price-interval", "0.2", "--venue", url)
    with (
        running(tmp_path, "projections", "run", DATABASE_URL=database),
        running(tmp_path, *FEED, "--venue", url),
        running(tmp_path, *strategy(url), **engine),
        running(tmp_path, *told, DATABASE_URL=database) as process,
    ):
        block_until(lambda: sum(isinstance(event, PriceRecorded) for event in events_of(database)) >= 2)
        assert process.stop() == 0, process.said
    prices = [event for event in events_of(database) if isinstance(event, PriceRecorded)]
    assert all(event.symbol == "BTCUSDT" and 64_240 < event.price < 64_260 for event in prices)


def test_a_strategy_that_raises_ends_with_a_code_and_why(
    url: str, tmp_path: Path, database: str, engine: dict[str, str]
) -> None:
    with (
        running(tmp_path, *FEED, "--venue", url),
        running(tmp_path, *strategy(url, "--param", "count_max=2", "--clock", "data"), **engine) as process,
    ):
        assert process.wait() == 1
        assert process.lines[-1] == "foldbook: the strategy was stopped: RuntimeError: enough"
    assert len(placed(events_of(database))) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--account", "nobody"], "is not user/exchange/broker"),
        (["--clock", "sun"], "is wall or data"),
        (["--cash", "much"], "is not a number"),
        (["--param", "x"], "is not NAME=VALUE"),
        (["--param", "x=1"], "has no parameter 'x'"),
    ],
)
def test_what_cannot_be_run(arguments: list[str], said: str, tmp_path: Path, database: str) -> None:
    process = Process(tmp_path, *strategy("http://127.0.0.1:1", *arguments), DATABASE_URL=database)
    assert process.wait() in (1, 2)
    assert said in " ".join(process.said.split())
