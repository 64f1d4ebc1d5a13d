"""The database server's clock was ahead, and was put back: questions by time are answered rightly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from foldbook.errors import LogClockAhead
from foldbook.eventstore.events import AggregateKey
from foldbook.eventstore.postgres_store import PostgresStore
from foldbook.eventstore.replay import replay
from foldbook.trading.book import ORDER_BOOK
from tests.api.conftest import ACCOUNT, AT, Engine, assert_problem

AHEAD = timedelta(hours=1)


def record_last_commit_at(dsn: str, moment: datetime) -> None:
    """As if the server's clock had said so."""
    with psycopg.connect(dsn) as connection:
        for table, last in (("commits", "max(number)"), ("events", "max(position)")):
            column = last.removeprefix("max(").removesuffix(")")
            connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
            connection.execute(
                f"update eventstore.{table} set recorded_at = %s where {column} ="
                f" (select {last} from eventstore.{table})".encode(),
                [moment],
            )
            connection.execute(f"alter table eventstore.{table} enable always trigger refuse_change".encode())


async def ahead(engine: Engine) -> list[datetime]:
    """An account with an order each: before the clock was ahead, while it was, since it was put back. Returns the
    moments in between."""
    await engine.open()
    await engine.place("o-1")
    moments = [datetime.now(UTC)]
    await engine.place("o-2")
    record_last_commit_at(engine.settings.owner_dsn, datetime.now(UTC) + AHEAD)
    moments.append(datetime.now(UTC))
    await engine.place("o-3")
    await engine.place("o-4")
    return moments


async def test_nobody_is_told_that_there_was_nothing(engine: Engine) -> None:
    before, during = await ahead(engine)
    for moment in (before, during, datetime.now(UTC)):
        for path in ("orders", "positions"):
            answer = await engine.client.get(f"{AT}/{path}", params={"as_of": moment.isoformat()})
            assert_problem(answer, 409, "log-clock-ahead")
    assert len((await engine.get(f"{AT}/orders", as_of_position=5))["orders"]) == 4
    early = (before - timedelta(hours=1)).isoformat()
    with psycopg.connect(engine.settings.owner_dsn) as connection:
        assert connection.execute("select eventstore.position_at(0, %s)", [early]).fetchone() == (0,)
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("select audit.log_position_at(%s, now())", [ACCOUNT])
        assert refused.value.sqlstate == "FB022"


async def test_what_shared_a_time_is_found_together(engine: Engine) -> None:
    await ahead(engine)
    with psycopg.connect(engine.settings.owner_dsn) as connection:
        times = connection.execute("select distinct recorded_at from eventstore.commits where number > 2").fetchall()
        assert len(times) == 1, "each commit carries the time of the one before it"
        steps = "select commits, first_position, last_position from audit.clock_steps()"
        assert connection.execute(steps).fetchall() == [(3, 3, 5)]
        assert connection.execute("select eventstore.position_at(0, %s)", times[0]).fetchone() == (5,)


async def test_it_is_told(engine: Engine) -> None:
    assert (await engine.get("/health/ready"))["log_clock_ahead_s"] == 0
    await ahead(engine)
    ready = await engine.get("/health/ready")
    assert 3000 < ready["log_clock_ahead_s"] < 3600
    metrics = dict(line.rsplit(" ", 1) for line in (await engine.client.get("/metrics")).text.splitlines())
    assert 3000 < float(metrics["foldbook_log_clock_ahead_seconds"]) < 3600


async def test_when_the_clock_gets_there_questions_are_answered(engine: Engine) -> None:
    await ahead(engine)
    with psycopg.connect(engine.settings.owner_dsn) as connection:
        for table in ("commits", "events"):
            connection.execute(f"alter table eventstore.{table} disable trigger refuse_change".encode())
            connection.execute(
                f"update eventstore.{table} set recorded_at = recorded_at - interval '1 hour'"
                " where recorded_at > now()".encode()
            )
            connection.execute(f"alter table eventstore.{table} enable always trigger refuse_change".encode())
    assert len((await engine.get(f"{AT}/orders", as_of=datetime.now(UTC).isoformat()))["orders"]) == 4


async def test_a_replay_does_not_guess(engine: Engine) -> None:
    await ahead(engine)
    store = PostgresStore(engine.settings.owner_dsn)
    try:
        key = AggregateKey(ORDER_BOOK.name, ACCOUNT)
        with pytest.raises(LogClockAhead):
            await replay(store, ORDER_BOOK, 0, key.id, to_time=datetime.now(UTC))
        assert (await replay(store, ORDER_BOOK, 0, key.id)).sequence == 5
    finally:
        await store.close()
